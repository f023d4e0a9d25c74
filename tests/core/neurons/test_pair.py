"""Two neurons: where they fire together, and how alike they push."""

import numpy as np
from scipy import sparse

from core.neurons.pair import cosine, firing, together


def test_by_hand_who_has_both() -> None:
    acts = sparse.csc_matrix(np.array([[1.0, 1.0], [1.0, 0.0], [2.0, 3.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    found = together(acts, 0, 1)
    assert (found.n_a, found.n_b, found.n_both, found.n) == (4, 3, 2, 6)
    assert found.jaccard == 2 / 5
    assert found.lift == 2 / (4 * 3 / 6)
    assert firing(acts, 1).tolist() == [True, False, True, False, True, False]


def test_independent_neurons_have_a_lift_of_one_and_equal_ones_share_all() -> None:
    rows = np.array([[a, b] for a in (0.0, 1.0) for b in (0.0, 1.0)] * 5)
    assert together(sparse.csc_matrix(rows), 0, 1).lift == 1.0
    assert together(sparse.csc_matrix(rows), 0, 0).jaccard == 1.0


def test_a_stored_zero_does_not_fire() -> None:
    acts = sparse.csc_matrix((np.array([0.0, 1.0]), (np.array([0, 1]), np.array([0, 0]))), shape=(2, 1))
    assert firing(acts, 0).tolist() == [False, True]


def test_neurons_that_never_fire_have_no_ratios() -> None:
    found = together(sparse.csc_matrix((4, 2)), 0, 1)
    assert np.isnan(found.jaccard) and np.isnan(found.lift)
    assert np.isnan(cosine(np.zeros(3), np.ones(3)))
    assert cosine(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == np.float64(1 / np.sqrt(2))
