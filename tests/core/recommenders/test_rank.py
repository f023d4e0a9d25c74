"""How scores become a list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.recommenders.base import rank


def test_equal_scores_come_in_the_order_of_the_item() -> None:
    assert rank(np.array([[1.0, 2.0, 1.0, 2.0]]), 3).tolist() == [[1, 3, 0]]


def test_seen_items_are_left_out_and_scores_stay_as_they_are() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], np.float32)
    assert rank(scores, 2, [np.array([0]), np.array([1])]).tolist() == [[1, 2], [0, 2]]
    assert scores[0, 0] == 3.0


def test_a_list_longer_than_the_catalogue_is_filled_up() -> None:
    assert rank(np.array([[1.0, 2.0]]), 4).tolist() == [[1, 0, -1, -1]]


def test_a_viewer_who_has_seen_all_gets_an_empty_list() -> None:
    assert rank(np.array([[1.0, 2.0]]), 2, [np.array([0, 1])]).tolist() == [[-1, -1]]


def test_a_single_row_may_be_given_as_a_vector() -> None:
    assert rank(np.array([1.0, 5.0]), 1).tolist() == [[1]]


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        rank(np.array([[np.nan, 1.0]]), 1)


@given(st.integers(1, 8), st.integers(1, 10), st.integers(0, 2**32))
def test_rank_equals_a_stable_sort(n_items: int, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(-2, 3, (3, n_items)).astype(np.float32)
    seen = [np.flatnonzero(random.random(n_items) < 0.4) for _ in range(3)]
    for row, best in enumerate(rank(scores, n, seen)):
        left = sorted(set(range(n_items)) - set(seen[row].tolist()), key=lambda i: (-scores[row, i], i))[:n]
        assert best.tolist() == left + [-1] * (n - len(left))
