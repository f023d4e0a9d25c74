"""Head, mid and tail: items by how much they are consumed."""

from typing import Literal

import numpy as np

from core.configs import check

GROUPS = ("head", "mid", "tail")
"""Names of the groups; the position is the code that `popularity_groups` gives."""


def popularity_groups(
    item_counts: np.ndarray, by: Literal["interactions", "items"] = "interactions", share: float = 0.2
) -> np.ndarray:
    """Give the popularity group of each item: 0 head, 1 mid, 2 tail.

    By interactions (as the code of PopSteer does): the head is the smallest set of the most popular items that covers
    `share` of all interactions, the tail the smallest set of the least popular ones that does. By items (as its paper
    says): the most and the least popular `share` of the items. Items of equal count are in the order of their index,
    the earlier one is the more popular; an item nobody consumed is tail; where head and tail meet, head wins.

    >>> popularity_groups(np.array([60, 20, 10, 5, 5, 0]), share=0.2)
    array([0, 1, 2, 2, 2, 2], dtype=int8)
    >>> popularity_groups(np.array([9, 8, 7, 6, 5]), by="items", share=0.2)
    array([0, 1, 1, 1, 2], dtype=int8)

    Args:
        item_counts: (n_items,) number of users of each item, >= 0.
        by: What `share` is a share of.
        share: In (0, 0.5].

    Returns:
        (n_items,) int8.
    """
    check(0 < share <= 0.5, f"share is {share}, expected more than 0 and at most 0.5.", "Use 0.2, for example.")
    counts = np.asarray(item_counts, dtype=np.int64)
    order = np.argsort(-counts, kind="stable")
    groups = np.ones(len(counts), dtype=np.int8)
    weight = counts[order] if by == "interactions" else np.ones(len(counts), dtype=np.int64)
    target = share * weight.sum()
    ahead = np.cumsum(weight) - weight  # of the more popular items
    behind = weight.sum() - ahead - weight  # of the less popular items
    groups[order[behind < target - 1e-9]] = 2
    groups[order[ahead < target - 1e-9]] = 0
    groups[counts == 0] = 2
    return groups
