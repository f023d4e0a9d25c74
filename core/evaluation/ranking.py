"""How well ranked lists find the held-out items. One number a viewer; NaN for a viewer without held-out items."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.seeding import generator

Targets = Sequence[np.ndarray]
"""Held-out item indices of each viewer, distinct, in any order."""

DRAWS = 1_000_000
"""Viewers drawn at a time for the resamples: bounds the memory at a few times DRAWS numbers."""


class Interval(NamedTuple):
    """A mean, or the change of one, and how far to trust it."""

    mean: float
    """As measured; a change is relative, e.g. -0.02 for two percent less."""
    low: float
    """2.5th percentile over resampled viewers."""
    high: float
    """97.5th percentile."""


def recall_at_n(lists: np.ndarray, targets: Targets, n: int) -> np.ndarray:
    """Give the share of the held-out items among the first `n`, of those that fit: `hits / min(n, |targets|)`.

    Args:
        lists: (n_users, >= n) item indices, best first, distinct, -1 where a list ended.
        targets: Of each user.
        n: List length.

    Returns:
        (n_users,) float64 in [0, 1], NaN for a user without targets.

    >>> recall_at_n(np.array([[4, 2, 7]]), [np.array([2, 9])], 3)
    array([0.5])
    """
    return _ratio(_hits(lists, targets, n).sum(axis=1), np.minimum(_sizes(targets), n))


def ndcg_at_n(lists: np.ndarray, targets: Targets, n: int) -> np.ndarray:
    """Give the normalised discounted gain with binary gains: a hit at position r = 1, 2, .. counts 1 / log2(r + 1).

    Divided by the gain of a list that starts with the targets. Arguments and result as in `recall_at_n`.
    """
    discount = 1 / np.log2(np.arange(2, n + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    return _ratio(_hits(lists, targets, n) @ discount, ideal[np.minimum(_sizes(targets), n)])


def hit_at_n(lists: np.ndarray, targets: Targets, n: int) -> np.ndarray:
    """Give 1 where one of the first `n` is a held-out item, else 0 (He et al. 2017, sec. 4.1: HR@n).

    Arguments and result as in `recall_at_n`. With one target each it is the recall.
    """
    return _ratio(_hits(lists, targets, n).max(axis=1), np.minimum(_sizes(targets), 1))


def precision_at_n(lists: np.ndarray, targets: Targets, n: int) -> np.ndarray:
    """Give the share of the first `n` places that hold a held-out item: `hits / n`, also where the list is shorter.

    (Manning, Raghavan, Schütze 2008, sec. 8.4.) Arguments and result as in `recall_at_n`.
    """
    return _ratio(_hits(lists, targets, n).sum(axis=1), n * np.minimum(_sizes(targets), 1))


def mrr_at_n(lists: np.ndarray, targets: Targets, n: int) -> np.ndarray:
    """Give the reciprocal rank of the first hit: 1 / r for the first target at place r = 1, 2, .. n, 0 without one.

    (Voorhees 1999; its mean is the MRR.) Arguments and result as in `recall_at_n`.

    >>> mrr_at_n(np.array([[4, 2, 7]]), [np.array([2, 7])], 3)
    array([0.5])
    """
    hits = _hits(lists, targets, n)
    first = np.where(hits.any(axis=1), 1 / (1 + hits.argmax(axis=1)), 0.0)
    return _ratio(first, np.minimum(_sizes(targets), 1))


def map_at_n(lists: np.ndarray, targets: Targets, n: int) -> np.ndarray:
    """Give the average precision: the sum over the hits' places r of `hits up to r / r`, over `min(n, |targets|)`.

    (Its mean is the MAP: Manning, Raghavan, Schütze 2008, sec. 8.4; cut at `n` and divided by what `n` places can hold
    as in McFee et al. 2012.) Arguments and result as in `recall_at_n`.

    >>> map_at_n(np.array([[4, 2, 7]]), [np.array([2, 7])], 3).round(4)
    array([0.5833])
    """
    hits = _hits(lists, targets, n)
    precision = hits.cumsum(axis=1) / np.arange(1, n + 1)
    return _ratio((precision * hits).sum(axis=1), np.minimum(_sizes(targets), n))


def mpr(scores: np.ndarray, targets: Targets, seen: Sequence[np.ndarray]) -> np.ndarray:
    """Give the mean percentile rank of the held-out items among the unseen ones: 0 is best, 1 is last, chance is 0.5.

    (Hu, Koren, Volinsky 2008, eq. 8, with binary feedback and without the seen items.) Equal scores share their ranks.

    Args:
        scores: (n_users, n_items), seen items not masked.
        targets: Of each user, none of them seen.
        seen: Item indices of each user.

    Returns:
        (n_users,) float64, NaN for a user without targets.
    """
    _same_length(scores, targets)
    _same_length(scores, seen)
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN")
    out = np.full(len(scores), np.nan)
    for user, wanted in enumerate(targets):
        if not len(wanted):
            continue
        unseen = np.ones(scores.shape[1], bool)
        unseen[seen[user]] = False
        if not unseen[wanted].all():
            raise ValueError(f"user {user} has seen a target")
        others = np.sort(scores[user, unseen])
        values = scores[user, wanted]
        above = len(others) - np.searchsorted(others, values, side="right")
        tied = len(others) - np.searchsorted(others, values, side="left") - above - 1
        out[user] = np.mean((above + tied / 2) / max(len(others) - 1, 1))
    return out


def mean_interval(values: np.ndarray, seed: int, n_boot: int = 2000) -> Interval:
    """Give the mean with its 95 % bootstrap interval over viewers (Efron, Tibshirani 1993, ch. 13: percentiles).

    Args:
        values: (n_users,). A NaN is left out.
        seed: Of the resampling.
        n_boot: Resamples.

    Returns:
        NaNs without users.
    """
    known = np.asarray(values, np.float64)[~np.isnan(values)]
    if not known.size:
        return Interval(np.nan, np.nan, np.nan)
    means = _resampled_means(known[:, None], seed, n_boot)[:, 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(known.mean()), float(low), float(high))


def paired_interval(before: np.ndarray, after: np.ndarray, seed: int, n_boot: int = 2000) -> Interval:
    """Give the relative change of the mean from `before` to `after`, with a 95 % bootstrap interval over viewers.

    Viewers are resampled with both of their values, so what makes a viewer easy or hard cancels.

    Args:
        before: (n_users,) values.
        after: (n_users,) values of the same users. A user with a NaN in either is left out.
        seed: Of the resampling.
        n_boot: Resamples.

    Returns:
        NaNs without users or with a mean of 0 before.
    """
    _same_length(before, after)
    both = ~(np.isnan(before) | np.isnan(after))
    pairs = np.column_stack([before[both], after[both]]).astype(np.float64)
    if not pairs[:, 0].sum():
        return Interval(np.nan, np.nan, np.nan)
    means = _resampled_means(pairs, seed, n_boot)
    # A resample with a mean of 0 before has no relative change, as the whole has none.
    low, high = np.nanpercentile(_ratio(means[:, 1], means[:, 0]) - 1, [2.5, 97.5])
    return Interval(float(pairs[:, 1].mean() / pairs[:, 0].mean() - 1), float(low), float(high))


def _resampled_means(values: np.ndarray, seed: int, n_boot: int) -> np.ndarray:
    """Give (n_boot, n_columns): the mean of each column over as many rows, drawn anew with replacement."""
    random, n = generator(seed, "bootstrap"), len(values)
    columns = np.ascontiguousarray(values.T)
    block = max(1, DRAWS // n)
    parts = []
    for first in range(0, n_boot, block):
        drawn = random.integers(n, size=(min(block, n_boot - first), n))
        parts.append(np.column_stack([column[drawn].mean(axis=1) for column in columns]))
    return np.concatenate(parts)


def _hits(lists: np.ndarray, targets: Targets, n: int) -> np.ndarray:
    """Give (n_users, n) bool: is the item at this place of the list a target of the user."""
    _same_length(lists, targets)
    if lists.shape[1] < n:
        raise ValueError(f"lists of length {lists.shape[1]} say nothing about the first {n}")
    top = lists[:, :n].astype(np.int64)
    wanted = np.concatenate([np.asarray(t, np.int64) for t in targets]) if len(targets) else np.empty(0, np.int64)
    # One number for each (user, item): base is beyond every item.
    base = max(top.max(initial=0), wanted.max(initial=0)) + 1
    user = np.repeat(np.arange(len(targets)), _sizes(targets))
    return np.isin(top + base * np.arange(len(top))[:, None], wanted + base * user) & (top >= 0)


def _sizes(targets: Targets) -> np.ndarray:
    return np.fromiter((len(t) for t in targets), np.int64, len(targets))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _same_length(a: Sequence | np.ndarray, b: Sequence | np.ndarray) -> None:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} rows on one side, {len(b)} on the other")
