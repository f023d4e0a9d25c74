"""What lists are like apart from being right: who is shown, how evenly, and how alike two lists are.

A list is a row of item indices, best first, -1 where it ran out.
"""

import numpy as np


def coverage(lists: np.ndarray, n_items: int) -> float:
    """Give the share of the catalogue that is in at least one list.

    >>> coverage(np.array([[0, 1], [1, -1]]), 4)
    0.5
    """
    return float(np.unique(lists[lists >= 0]).size / n_items)


def gini(lists: np.ndarray, n_items: int) -> float:
    """Give how unevenly the places are spread over the catalogue: 0 evenly, (n_items - 1) / n_items all to one item.

    `sum_i (2 i - n - 1) c_i / (n sum c)`, c ascending, i from 1; items that are in no list count. NaN without a place.

    >>> gini(np.array([[0], [1]]), 2)
    0.0
    """
    counts = np.sort(np.bincount(lists[lists >= 0], minlength=n_items)).astype(np.float64)
    total = counts.sum()
    if total == 0:
        return float("nan")
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((weights * counts).sum() / (n_items * total))


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Give (n_rows,): the share of places of the longer list whose item is in both; NaN for two empty lists."""
    common = _common(a, b).sum(axis=(1, 2))
    longer = np.maximum((a >= 0).sum(axis=1), (b >= 0).sum(axis=1))
    return np.divide(common, longer, out=np.full(len(a), np.nan), where=longer > 0)


def rbo(a: np.ndarray, b: np.ndarray, p: float = 0.9) -> np.ndarray:
    """Give (n_rows,): rank-biased overlap (Webber et al. 2010) of two lists, over its value for identical lists.

    `(1 - p) sum_d p^(d-1) |a[:d] & b[:d]| / d / (1 - p^n)`: truncated at n, so identical lists would have 1 - p^n.

    >>> rbo(np.array([[4, 7]]), np.array([[4, 7]]))
    array([1.])
    """
    n = min(a.shape[1], b.shape[1])
    common = _common(a[:, :n], b[:, :n])
    # An item at places i of a and j of b is common to all depths from max(i, j) on.
    depth = np.maximum(np.arange(n)[:, None], np.arange(n)[None, :])
    joined = np.stack([common[:, depth == d].sum(axis=1) for d in range(n)], axis=1)
    shared = np.cumsum(joined, axis=1) / np.arange(1, n + 1)
    weights = (1 - p) * p ** np.arange(n)
    return np.asarray(shared @ weights / (1 - p**n))


def kendall(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Give (n_rows,): Kendall's tau-b over the union of two lists.

    An item that a list lacks stands at place n of it (places count from 0), tied with the others that it lacks. 1 for
    identical lists, below 0 for disjoint ones; NaN where there is nothing to compare.
    """
    out = np.full(len(a), np.nan)
    for row, (x, y) in enumerate(zip(a, b, strict=True)):
        n = max(len(x), len(y))
        items = np.union1d(x[x >= 0], y[y >= 0])
        first, second = _places(x, items, n), _places(y, items, n)
        upper = np.triu_indices(items.size, k=1)
        s = np.sign(first[:, None] - first[None, :])[upper]
        t = np.sign(second[:, None] - second[None, :])[upper]
        untied = np.sqrt(float((s != 0).sum()) * float((t != 0).sum()))
        if untied > 0:
            out[row] = (s * t).sum() / untied
    return out


def _places(listed: np.ndarray, items: np.ndarray, absent: int) -> np.ndarray:
    """Give the place of each of the sorted `items` in a list, `absent` where it is not there."""
    places = np.full(items.size, absent, np.int64)
    there = listed >= 0
    places[np.searchsorted(items, listed[there])] = np.flatnonzero(there)
    return places


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Give (n_rows, n_a, n_b) bool: place i of `a` and place j of `b` hold the same item."""
    return (a[:, :, None] == b[:, None, :]) & (a >= 0)[:, :, None]
