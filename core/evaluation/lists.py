"""What lists look like together, and how alike two lists of a viewer are.

Lists are (n_rows, n) item indices, best first, distinct, -1 where a list ended.
"""

import numpy as np
from scipy import sparse

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


def long_tail_coverage(lists: np.ndarray, tail: np.ndarray) -> float:
    """Give the share of the tail's items that are in at least one list (as the code of PopSteer does).

    Args:
        lists: (n_rows, n).
        tail: (n_items,) bool, the items that count: those of the least popular group, or any others.

    Returns:
        NaN where no item counts.

    >>> long_tail_coverage(np.array([[0, 1], [1, -1]]), np.array([False, True, True, True]))
    0.3333333333333333
    """
    shown = np.zeros(len(tail), bool)
    shown[lists[lists >= 0]] = True
    return float(shown[tail].mean()) if tail.any() else float("nan")


def average_popularity(lists: np.ndarray, popularity: np.ndarray) -> float:
    """Give the mean popularity of what is shown, over all places of all lists (Yin et al. 2012: ARP).

    An item in many lists counts as often as it is shown. (PopSteer's code takes the mean over the distinct items, which
    says nothing about exposure.)

    Args:
        lists: (n_rows, n).
        popularity: (n_items,) of any unit, for example the share of viewers who consumed it.

    Returns:
        In the unit of `popularity`; NaN without any place.

    >>> average_popularity(np.array([[0, 1], [0, -1]]), np.array([0.75, 0.0]))
    0.5
    """
    shown = lists[lists >= 0]
    return float(popularity[shown].mean()) if shown.size else float("nan")


def novelty(lists: np.ndarray, counts: np.ndarray, n_viewers: int) -> float:
    """Give the mean self-information of what is shown, in bits, over all places (Zhou et al. 2010, PNAS 107).

    `-log2(counts[i] / n_viewers)`: 0 for an item that everybody knows, 10 for one of a viewer in 1,024. An item that
    nobody consumed counts as if one viewer had: its own self-information has no bound.

    Args:
        lists: (n_rows, n).
        counts: (n_items,) number of viewers who consumed each item.
        n_viewers: Of how many.

    Returns:
        NaN without any place or viewer.

    >>> novelty(np.array([[0, 1], [0, -1]]), np.array([4, 1]), 4)
    0.6666666666666666
    """
    return average_popularity(lists, -np.log2(np.maximum(counts, 1) / n_viewers)) if n_viewers else float("nan")


def intra_list_diversity(lists: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Give how unlike the items of each list are: 1 - the mean cosine of its pairs (Zhang, Hurley 2008).

    (Ziegler et al. 2005 sum the likeness instead.) With unit vectors `u` of a list of m items the pairs' cosines sum to
    `(|sum u|² - sum |u|²) / 2`. An item without a direction (a vector of zeros) is like no other.

    Args:
        lists: (n_rows, n).
        vectors: (n_items, d) of the items: embeddings, or masks of genres.

    Returns:
        (n_rows,) float64 in [0, 2], NaN for a list of fewer than two items. The memory is bounded at ROWS * d numbers
        beyond `vectors`.

    >>> intra_list_diversity(np.array([[0, 1, 2]]), np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])).round(4)
    array([0.6667])
    """
    vectors = vectors if np.issubdtype(vectors.dtype, np.floating) else vectors.astype(np.float32)
    length = np.sqrt(np.einsum("id,id->i", vectors, vectors))
    inverse = np.divide(1, length, out=np.zeros(len(vectors)), where=length > 0)
    sizes, likeness = (lists >= 0).sum(axis=1), np.zeros(len(lists))
    for first in range(0, len(lists), ROWS):
        part, size = lists[first : first + ROWS], sizes[first : first + ROWS]
        items = part[part >= 0]
        pick = sparse.csr_matrix(
            (inverse[items].astype(vectors.dtype), items, np.concatenate([[0], size.cumsum()])),
            shape=(len(part), len(vectors)),
        )
        total = pick @ vectors
        directed = ((inverse[part] > 0) & (part >= 0)).sum(axis=1)
        likeness[first : first + ROWS] = np.einsum("rd,rd->r", total, total) - directed
    return 1 - _ratio(likeness, sizes * (sizes - 1))


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
