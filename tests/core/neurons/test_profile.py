"""Where an item stands in its neurons, and which items are like it: against loops that cannot be wrong."""

import numpy as np
from scipy import sparse

from core.neurons.profile import alike, places, shared


def random_codes(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 4, size=(30, 8)) * (rng.random((30, 8)) < 0.5)).astype(np.float32)


def test_by_hand_the_place_of_an_item_in_its_neurons() -> None:
    acts = sparse.csc_matrix(np.array([[3.0, 0.0, 1.0], [5.0, 2.0, 4.0], [3.0, 0.0, 0.0], [1.0, 0.0, 6.0]]))
    found = places(acts, 0)
    assert found.neurons.tolist() == [0, 2]
    assert found.acts.tolist() == [3.0, 1.0]
    assert np.allclose(found.shares, [3 / 5, 1 / 6])
    assert found.ranks.tolist() == [2, 3]  # equal ones share a place
    assert found.n_firing.tolist() == [4, 3]


def test_places_are_those_of_a_loop() -> None:
    codes = random_codes()
    for item in range(len(codes)):
        found = places(sparse.csc_matrix(codes), item)
        naive = {j: 1 + sum(codes[i, j] > codes[item, j] for i in range(30)) for j in range(8) if codes[item, j] > 0}
        assert dict(zip(found.neurons.tolist(), found.ranks.tolist(), strict=True)) == naive
        share = [codes[item, j] / codes[:, j].max() for j in found.neurons]
        assert np.allclose(found.shares, share) and share == sorted(share, reverse=True)


def test_an_item_that_fires_nothing_has_no_place_and_no_like() -> None:
    codes = random_codes()
    codes[3] = 0
    assert not len(places(sparse.csc_matrix(codes), 3).neurons)
    assert not len(alike(sparse.csr_matrix(codes), 3, 5).items)
    assert 3 not in alike(sparse.csr_matrix(codes), 0, 30).items


def test_the_most_alike_are_those_of_a_loop_sparse_or_dense() -> None:
    codes = random_codes(1)
    for rows in (codes, sparse.csr_matrix(codes)):
        found = alike(rows, 4, 6)
        cosines = {
            i: float(row @ codes[4] / np.linalg.norm(row) / np.linalg.norm(codes[4]))
            for i, row in enumerate(codes)
            if i != 4 and row.any()
        }
        best = sorted(cosines.values(), reverse=True)[:6]
        assert np.allclose(found.cosines, best) and 4 not in found.items
        assert np.allclose([cosines[i] for i in found.items], best)


def test_what_two_items_share_comes_by_what_makes_them_alike() -> None:
    codes = sparse.csr_matrix(np.array([[1.0, 2.0, 0.0, 3.0], [4.0, 1.0, 9.0, 2.0]]))
    assert shared(codes, 0, 1, 5).tolist() == [3, 0, 1]  # 6, 4, 2
    assert shared(codes, 0, 1, 1).tolist() == [3]
