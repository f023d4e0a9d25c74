"""What lists look like together, and how alike two lists of a viewer are.

Lists are (n_rows, n) item indices, best first, distinct, -1 where a list ended.
"""

import numpy as np

ROWS = 256
"""Rows compared at a time: bounds the memory at ROWS * (2 n)² small numbers."""


def coverage(lists: np.ndarray, n_items: int) -> float:
    """Give the share of the catalogue that is in at least one list.

    >>> coverage(np.array([[0, 1], [1, -1]]), 4)
    0.5
    """
    return len(np.unique(lists[lists >= 0])) / n_items


def gini(lists: np.ndarray, n_items: int) -> float:
    """Give how unequally the places in the lists are given to the items: 0 is equal, near 1 all to one item.

    `G = sum_i (2 i - n_items - 1) c_i / (n_items sum c)` with the counts c in ascending order, i from 1. NaN without
    any place.

    >>> gini(np.array([[0], [0]]), 4)
    0.75
    """
    counts = np.sort(np.bincount(lists[lists >= 0], minlength=n_items))
    total = counts.sum()
    if not total:
        return float("nan")
    return float((2 * np.arange(1, n_items + 1) - n_items - 1) @ counts / (n_items * total))


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Give the share of items that two lists have in common, of the longer list.

    Returns:
        (n_rows,) float64, NaN where both are empty.
    """
    _same_rows(a, b)
    common = np.concatenate([(_place(a[i : i + ROWS], b[i : i + ROWS]) >= 0).sum(axis=1) for i in _starts(a)])
    return _ratio(common, np.maximum((a >= 0).sum(axis=1), (b >= 0).sum(axis=1)))


def rbo(a: np.ndarray, b: np.ndarray, p: float = 0.9) -> np.ndarray:
    """Give the rank-biased overlap of two lists (Webber, Moffat, Zobel 2010), 1 for identical lists.

    `(1 - p) / (1 - p^n) sum_{d=1..n} p^(d-1) |a[:d] ∩ b[:d]| / d`, n being the length of the longer list. The sum
    alone, as some papers print it, gives identical lists of 30 items 1 - 0.9^30 = 0.958.

    Args:
        a: (n_rows, n).
        b: (n_rows, n).
        p: Persistence in (0, 1): how much the next place counts of this one.

    Returns:
        (n_rows,) float64 in [0, 1], NaN where both are empty.
    """
    _same_rows(a, b)
    n = a.shape[1]
    lengths = np.maximum((a >= 0).sum(axis=1), (b >= 0).sum(axis=1))
    weight = p ** np.arange(n) * (np.arange(n) < lengths[:, None])
    both = np.zeros((len(a), n))
    for first in _starts(a):
        place = _place(a[first : first + ROWS], b[first : first + ROWS])
        rows, columns = np.nonzero(place >= 0)
        np.add.at(both, (rows + first, np.maximum(columns, place[rows, columns])), 1)
    agreement = both.cumsum(axis=1) / np.arange(1, n + 1)
    return _ratio((agreement * weight).sum(axis=1), weight.sum(axis=1))


def kendall(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Give Kendall's tau-b of two lists over the items of either; an item that a list lacks comes last there, tied.

    Returns:
        (n_rows,) float64 in [-1, 1], NaN where there is no pair to order (fewer than two items).
    """
    _same_rows(a, b)
    parts = [_tau(a[first : first + ROWS], b[first : first + ROWS]) for first in _starts(a)]
    return np.concatenate(parts)


def _tau(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    n = a.shape[1]
    in_b, in_a = _place(a, b), _place(b, a)
    ranks = np.broadcast_to(np.arange(n), a.shape)
    # The union: all of a, then those of b that a lacks.
    exists = np.concatenate([a >= 0, (b >= 0) & (in_a < 0)], axis=1)
    rank_a = np.concatenate([ranks, np.full_like(a, n)], axis=1)
    rank_b = np.concatenate([np.where(in_b < 0, n, in_b), ranks], axis=1)
    first, second = np.triu_indices(2 * n, 1)
    counts = exists[:, first] & exists[:, second]
    order_a = np.sign(rank_a[:, first] - rank_a[:, second]) * counts
    order_b = np.sign(rank_b[:, first] - rank_b[:, second]) * counts
    untied_a, untied_b = ((order != 0).sum(axis=1).astype(np.float64) for order in (order_a, order_b))
    return _ratio((order_a * order_b).sum(axis=1), np.sqrt(untied_a * untied_b))


def _place(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Give (n_rows, n): where in the row of `b` each item of `a` is, -1 where it is not."""
    same = (a[:, :, None] == b[:, None, :]) & (a >= 0)[:, :, None]
    return np.where(same.any(axis=2), same.argmax(axis=2), -1)


def _starts(a: np.ndarray) -> range:
    return range(0, max(len(a), 1), ROWS)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _same_rows(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"lists of shape {a.shape} and {b.shape} cannot be compared row by row")
