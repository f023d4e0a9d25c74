"""Head, mid and tail on counts that a hand can sum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.groups import popularity_groups
from core.errors import ConfigError


def test_by_interactions_counts_interactions_from_both_ends() -> None:
    counts = np.array([5, 20, 0, 40, 15, 10, 10])  # 100 in all; head: 40; tail: 5 + 10 + 10 (to reach 20), and 0
    assert popularity_groups(counts).tolist() == [2, 1, 2, 0, 1, 2, 2]


def test_by_items_counts_items_from_both_ends() -> None:
    assert popularity_groups(np.array([1, 9, 5, 7, 3]), by="items").tolist() == [2, 0, 1, 1, 1]


def test_equal_counts_are_in_the_order_of_the_index() -> None:
    assert popularity_groups(np.full(5, 3)).tolist() == [0, 1, 1, 1, 2]


def test_items_that_nobody_consumed_are_tail_even_when_no_item_was() -> None:
    assert popularity_groups(np.zeros(3)).tolist() == [2, 2, 2]
    assert popularity_groups(np.array([4, 0, 0, 0]), by="items", share=0.5).tolist() == [0, 2, 2, 2]


def test_a_single_item_is_head() -> None:
    assert popularity_groups(np.array([7])).tolist() == [0]


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError):
        popularity_groups(np.array([1, 2]), share=0.6)


@given(st.lists(st.integers(0, 500), min_size=3, max_size=80), st.sampled_from([0.1, 0.2, 0.5]))
def test_groups_are_ordered_by_popularity_and_head_is_the_smallest_cover(counts: list[int], share: float) -> None:
    values = np.array(counts)
    groups = popularity_groups(values, share=share)
    order = np.argsort(-values, kind="stable")
    assert (np.diff(groups[order]) >= 0).all()
    head = np.sort(values[groups == 0])[::-1]
    if values.sum():
        assert head.sum() >= share * values.sum() - 1e-6
        assert head[:-1].sum() < share * values.sum()
