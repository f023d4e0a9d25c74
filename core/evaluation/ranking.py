"""How well lists bring back held-out items, one number a viewer, and how sure a difference is.

A list is a row of item indices, best first, -1 where it ran out. A viewer without held-out items has NaN.
"""

from collections.abc import Sequence

import numpy as np

Targets = Sequence[np.ndarray]
"""The held-out item indices of each viewer, none twice."""


def recall_at_n(lists: np.ndarray, targets: Targets, n: int) -> np.ndarray:
    """Give (n_rows,): held-out items among the first n, over min(n, number of held-out items).

    >>> recall_at_n(np.array([[3, 1, 2]]), [np.array([1, 9])], 2)
    array([0.5])
    """
    hits, counts = _hits(lists, targets, n)
    return np.divide(hits.sum(axis=1), np.minimum(counts, n), out=np.full(len(lists), np.nan), where=counts > 0)


def ndcg_at_n(lists: np.ndarray, targets: Targets, n: int) -> np.ndarray:
    """Give (n_rows,): binary nDCG, `sum_hits 1 / log2(rank + 1)` over its largest possible value.

    >>> ndcg_at_n(np.array([[3, 1]]), [np.array([1])], 2).round(4)
    array([0.6309])
    """
    hits, counts = _hits(lists, targets, n)
    gains = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    best = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(n) + 2))])[np.minimum(counts, n)]
    return np.divide(hits @ gains, best, out=np.full(len(lists), np.nan), where=counts > 0)


def mpr(scores: np.ndarray, targets: Targets, seen: Sequence[np.ndarray]) -> np.ndarray:
    """Give (n_rows,): the mean percentile rank of held-out items among the unseen ones; 0 is first, 0.5 is chance.

    Items of one score share their mean rank.

    Args:
        scores: (n_rows, n_items).
        targets: The held-out items.
        seen: The items of each row that are not ranked.
    """
    out = np.full(len(scores), np.nan)
    for row, (line, wanted, known) in enumerate(zip(scores, targets, seen, strict=True)):
        if len(wanted):
            unseen = np.ones(line.size, bool)
            unseen[known] = False
            others = np.sort(line[unseen])
            above = others.size - np.searchsorted(others, line[wanted], side="right")
            equal = others.size - above - np.searchsorted(others, line[wanted], side="left") - 1
            out[row] = np.mean((above + equal / 2) / max(others.size - 1, 1))
    return out


def paired_interval(
    before: np.ndarray, after: np.ndarray, *, seed: int, n_boot: int = 2000
) -> tuple[float, float, float]:
    """Give the relative change of a mean, `mean(after) / mean(before) - 1`, and the ends of its 95 % interval.

    Percentile bootstrap over viewers, the two values of a viewer drawn together; viewers with NaN are left out.

    Returns:
        (change, low, high); NaN where nobody is left or `before` is 0.
    """
    there = ~(np.isnan(before) | np.isnan(after))
    before, after = before[there], after[there]
    if not before.size or before.mean() == 0:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    changes = np.empty(n_boot)
    for start in range(0, n_boot, 100):
        rows = rng.integers(before.size, size=(min(100, n_boot - start), before.size))
        low_mean = before[rows].mean(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            changes[start : start + len(rows)] = after[rows].mean(axis=1) / low_mean - 1
    low, high = np.nanquantile(changes, [0.025, 0.975])
    return float(after.mean() / before.mean() - 1), float(low), float(high)


def _hits(lists: np.ndarray, targets: Targets, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Give (n_rows, <= n) bool: which places hold a held-out item; and (n_rows,) how many there are."""
    first = lists[:, :n]
    counts = np.fromiter((len(t) for t in targets), dtype=np.int64, count=len(targets))
    width = int(max(first.max(initial=0), max((t.max(initial=0) for t in targets), default=0))) + 2
    keys = np.repeat(np.arange(len(targets)), counts) * width
    wanted = keys + (np.concatenate(list(targets)).astype(np.int64) if counts.sum() else 0)
    places = np.arange(len(first))[:, None] * width + np.where(first >= 0, first, width - 1)
    return np.isin(places, wanted), counts
