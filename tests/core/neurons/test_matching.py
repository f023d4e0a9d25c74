"""Two SAEs, concept by concept: an SAE in another order is found again, one that has nothing in common is not."""

import numpy as np
import pytest
from scipy import sparse

from core.neurons import matching
from core.neurons.matching import Side, correlation, match_saes
from core.neurons.stability import SURVIVES, Code, similarity


def a_side(seed: int, n: int = 20, d_in: int = 6) -> Side:
    rng = np.random.default_rng(seed)
    viewers = rng.random((200, n)) * (rng.random((200, n)) < 0.2)
    items = rng.random((120, n)) * (rng.random((120, n)) < 0.2)
    return Side(rng.normal(size=(n, d_in)), sparse.csc_matrix(viewers), sparse.csc_matrix(items))


def reordered(side: Side, order: np.ndarray) -> Side:
    return Side(side.W_dec[order], side.viewers[:, order], side.items[:, order])


def test_correlation_is_that_of_numpy() -> None:
    a, b = a_side(0), a_side(1)
    naive = np.corrcoef(a.viewers.toarray().T, b.viewers.toarray().T)[:20, 20:]
    assert np.allclose(correlation(a.viewers, b.viewers), naive)


def test_columns_that_do_not_vary_correlate_with_nothing() -> None:
    a = sparse.csc_matrix(np.column_stack([np.full(50, 0.1), np.zeros(50), np.arange(50.0)]))
    assert correlation(a, a)[:2].tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("most", [4_096, 5])
def test_an_sae_in_another_order_is_found_again(same: bool, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MOST", most)
    monkeypatch.setattr(matching, "_CHUNK", 7)
    a, order = a_side(2), np.random.default_rng(0).permutation(20)
    found = match_saes(a, reordered(a, order), same_recommender=same, seed=0)
    assert (order[found.pairs["b"]] == found.pairs["a"]).all() and len(found.pairs) == 20
    assert np.allclose(found.pairs["likeness"], 1) and found.n_again == 20
    assert not len(found.alone_a) and not len(found.alone_b)
    assert (found.chance < SURVIVES).all()


def test_what_has_nothing_in_common_is_not_found_again() -> None:
    found = match_saes(a_side(3), a_side(4), same_recommender=False, seed=0)
    assert found.n_again == 0
    assert abs(found.pairs["likeness"].mean() - found.chance.mean()) < 0.05


def test_on_one_recommender_likeness_is_that_of_stability() -> None:
    a, b = a_side(5), a_side(6, n=15)
    found = match_saes(a, b, same_recommender=True, seed=0)
    naive = similarity(Code(a.W_dec, a.viewers.toarray()), Code(b.W_dec, b.viewers.toarray()))
    assert np.allclose(found.pairs["likeness"], naive[found.pairs["a"], found.pairs["b"]])
    assert found.pairs["likeness"].is_monotonic_decreasing
    assert len(found.pairs) == 15 and len(found.alone_a) == 5
    assert set(found.alone_a) | set(found.pairs["a"]) == set(range(20))


def test_on_two_recommenders_directions_do_not_count() -> None:
    a, b = a_side(7), a_side(8, d_in=9)
    found = match_saes(a, b, same_recommender=False, seed=0)
    assert found.pairs["direction"].isna().all() and found.by == "viewers and titles"
    assert np.allclose(found.pairs["likeness"], (found.pairs["viewers"] + found.pairs["titles"]) / 2)
    for row in found.pairs.itertuples():
        x, y = a.viewers[:, [row.a]].toarray().ravel(), b.viewers[:, [row.b]].toarray().ravel()
        assert np.isclose(row.viewers, np.corrcoef(x, y)[0, 1])


def test_neurons_that_never_fire_are_in_no_pair() -> None:
    a = a_side(9)
    mask = np.ones(20)
    mask[[2, 5]] = 0
    dead = Side(a.W_dec, sparse.csc_matrix(a.viewers.multiply(mask)), sparse.csc_matrix(a.items.multiply(mask)))
    dead.viewers.eliminate_zeros()
    dead.items.eliminate_zeros()
    found = match_saes(dead, a, same_recommender=True, seed=0)
    assert not {2, 5} & set(found.pairs["a"]) and {2, 5} <= set(found.alone_b)


def test_saes_of_other_viewers_are_refused() -> None:
    a, b = a_side(0), a_side(1)
    with pytest.raises(ValueError, match="199 and 120 on the other"):
        match_saes(a, b._replace(viewers=b.viewers[1:]), same_recommender=False, seed=0)
    with pytest.raises(ValueError, match="6 and of 9 numbers"):
        match_saes(a, a_side(1, d_in=9), same_recommender=True, seed=0)
