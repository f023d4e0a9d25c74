"""What an edit did to a list: what moved, what came, what left, and how much of the target is in it."""

from typing import NamedTuple

import numpy as np

from core.data.dataset import Dataset


class Move(NamedTuple):
    """One item of either list."""

    item: int
    rank_before: int | None
    """From 1; None where the item was not in the list before."""
    rank_after: int | None
    """From 1; None where the item is not in the list any more."""

    @property
    def is_new(self) -> bool:
        """The item came into the list."""
        return self.rank_before is None

    @property
    def places_up(self) -> int:
        """How many places it climbed: negative where it fell, 0 where it came or left."""
        return 0 if self.rank_before is None or self.rank_after is None else self.rank_before - self.rank_after


class Comparison(NamedTuple):
    """Two lists, side by side."""

    moves: list[Move]
    """The items of the list after, in its order."""
    departed: list[Move]
    """The items that left, in the order of the list before."""
    overlap: float
    """Share of the longer list that is in both, in [0, 1]; NaN for two empty lists."""
    target_share_before: float
    """Share of the list before that is target; NaN without a target or for an empty list."""
    target_share_after: float
    """The same for the list after."""


def compare(
    before: np.ndarray, after: np.ndarray, dataset: Dataset, target_mask: np.ndarray | None = None
) -> Comparison:
    """Compare the list before an edit with the list after it.

    Args:
        before: (n,) or (1, n) item indices, best first, -1 padded.
        after: The same after the edit; may have another length.
        dataset: Whose items they are.
        target_mask: (n_items,) bool: the items that the edit is about, if any.

    Raises:
        ValueError: An index is no item, an item is in a list twice, or the mask has another length.
    """
    old, new = _items(before, dataset.n_items, "before"), _items(after, dataset.n_items, "after")
    if target_mask is not None and np.shape(target_mask) != (dataset.n_items,):
        raise ValueError(f"target_mask has shape {np.shape(target_mask)}, expected {(dataset.n_items,)}")
    rank_before = {item: place for place, item in enumerate(old, start=1)}
    rank_after = {item: place for place, item in enumerate(new, start=1)}
    longer = max(len(old), len(new))
    return Comparison(
        moves=[Move(item, rank_before.get(item), place) for item, place in rank_after.items()],
        departed=[Move(item, place, None) for item, place in rank_before.items() if item not in rank_after],
        overlap=len(rank_before.keys() & rank_after.keys()) / longer if longer else float("nan"),
        target_share_before=_share(old, target_mask),
        target_share_after=_share(new, target_mask),
    )


def _items(ranked: np.ndarray, n_items: int, name: str) -> list[int]:
    items = np.asarray(ranked).reshape(-1)
    items = items[items != -1]
    if items.size and (items.min() < 0 or items.max() >= n_items):
        raise ValueError(f"{name} holds {items.min()}..{items.max()}, expected items in 0..{n_items - 1}")
    if np.unique(items).size != items.size:
        raise ValueError(f"{name} holds an item twice")
    return [int(item) for item in items]


def _share(items: list[int], target_mask: np.ndarray | None) -> float:
    return float(np.mean(target_mask[items])) if target_mask is not None and items else float("nan")
