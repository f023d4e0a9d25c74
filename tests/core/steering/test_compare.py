import numpy as np
import pytest

from core.steering.compare import Move, compare
from tests.core.catalogues import catalogue

DATASET = catalogue([[]] * 10)


def test_moves_of_two_hand_made_lists():
    found = compare(np.array([3, 5, 7, 9]), np.array([5, 3, 1, 9]), DATASET)
    assert found.moves == [Move(5, 2, 1), Move(3, 1, 2), Move(1, None, 3), Move(9, 4, 4)]
    assert found.departed == [Move(7, 3, None)]
    assert found.overlap == 0.75
    assert [m.places_up for m in found.moves] == [1, -1, 0, 0]
    assert [m.is_new for m in found.moves] == [False, False, True, False]


def test_shares_of_the_target_before_and_after():
    target = np.isin(np.arange(10), [1, 2, 5])
    found = compare(np.array([3, 5, 7, 9]), np.array([5, 2, 1, 9]), DATASET, target)
    assert (found.target_share_before, found.target_share_after) == (0.25, 0.75)


def test_without_a_target_the_shares_are_not_known():
    found = compare(np.array([1]), np.array([1]), DATASET)
    assert np.isnan(found.target_share_before) and np.isnan(found.target_share_after)


def test_equal_lists_have_no_departed_and_full_overlap():
    found = compare(np.array([[4, 2, 0]]), np.array([[4, 2, 0]]), DATASET)
    assert found.overlap == 1 and found.departed == []
    assert all(m.rank_before == m.rank_after for m in found.moves)


def test_padding_is_no_item_and_lists_may_differ_in_length():
    found = compare(np.array([1, 2, -1, -1]), np.array([2, 3, 4, -1]), DATASET)
    assert [m.item for m in found.moves] == [2, 3, 4]
    assert found.departed == [Move(1, 1, None)]
    assert found.overlap == pytest.approx(1 / 3)


def test_empty_lists_have_no_overlap_to_speak_of():
    found = compare(np.array([-1, -1]), np.array([-1]), DATASET, np.ones(10, bool))
    assert found.moves == [] and np.isnan(found.overlap) and np.isnan(found.target_share_after)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ([10], [1], "before holds 10..10"),
        ([1], [-2], "after holds -2..-2"),
        ([1, 1], [1], "before holds an item twice"),
    ],
)
def test_lists_that_cannot_be_are_refused(before, after, message):
    with pytest.raises(ValueError, match=message):
        compare(np.array(before), np.array(after), DATASET)


def test_a_target_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"target_mask has shape \(3,\)"):
        compare(np.array([1]), np.array([1]), DATASET, np.ones(3, bool))
