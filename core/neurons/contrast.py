"""Which concepts set two groups of viewers, or of items, apart: an effect size a neuron, with what chance can do.

PopSteer (arXiv 2601.15122) scores each neuron by Cohen's d between viewers of popular and of unpopular titles. This is
the same figure for any two groups.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import gammainc, gammaincc, ndtr, stdtr, stdtrit

from core.errors import DataError

FDR = 0.05
"""Of the neurons that are called different, the share that may be so by chance, on average."""
LEVEL = 0.95
"""Of the intervals."""
_CHUNK = 512
"""Neurons at a time: bounds the memory."""


class Contrast(NamedTuple):
    """How far two groups are apart in every neuron."""

    n_a: int
    """Members of group A."""
    n_b: int
    """Members of group B."""
    n_both: int
    """Members of both: the test takes the groups as independent, and finds too little where many are."""
    frame: pd.DataFrame
    """One row a neuron: `neuron`, `d`, `low`, `high` (of its 95 % interval), `p`, `q`, `p_welch`, `mean_a`, `mean_b`
    (mean activation, those in whom it does not fire count 0). All but the means are NaN for a neuron that does not
    vary within the groups, for example a dead one."""

    @property
    def n_compared(self) -> int:
        """Give the number of neurons that vary."""
        return int(self.frame["d"].notna().sum())

    @property
    def n_called(self) -> int:
        """Give the number of neurons that differ at a false discovery rate of 5 %."""
        return int((self.frame["q"] <= FDR).sum())

    def largest(self, n: int) -> pd.DataFrame:
        """Give the rows of the `n` neurons that differ most either way, highest d first."""
        known = self.frame[self.frame["d"].notna()]
        order = np.lexsort((known["neuron"], -known["d"].abs()))[:n]
        return known.iloc[order].sort_values(["d", "neuron"], ascending=[False, True])


def contrast(acts: np.ndarray | sparse.csc_matrix, a: np.ndarray, b: np.ndarray) -> Contrast:
    """Compare the activations of two groups, neuron by neuron.

        d = (mean_A - mean_B) / s,   s^2 = ((n_A - 1) s_A^2 + (n_B - 1) s_B^2) / (n_A + n_B - 2)

    Cohen (1988, ch. 2) with the pooled standard deviation; PopSteer's code weighs both groups alike, which is the same
    for groups of one size. The interval is `d ± t SE`, analytic, by the delta method (van der Vaart 1998, ch. 3) from
    the first four moments of each group, since activations are mostly 0 and neither normal nor equally spread:

        SE^2 = sum over g of [s_g^2 / s^2 ∓ d w_g m3_g / s^3 + d^2 w_g^2 (m4_g - m2_g^2) / (4 s^4)] / n_g

    with `w_g = (n_g - 1) / (n_A + n_B - 2)` and - for A, + for B. For normal groups of one spread it is the variance
    of Hedges, Olkin (1985), `1/n_A + 1/n_B + d^2 / (2 n)`. t has the degrees of freedom of Welch (1947). In groups of
    fewer than 60 it is too narrow (see DECISIONS.md).

    `p` is two-sided, for "who is in which group is chance": the mean of A under all permutations of the groups has a
    known mean, variance and third moment, which a gamma law follows (Pearson's type III, as Mielke, Berry 2007); where
    the normal law gives more, that. `q` is `p` adjusted over the neurons by Benjamini, Hochberg (1995). `p_welch` is
    Welch's test, which asks for equal means alone but calls far too much in small groups of skewed activations.

    Args:
        acts: (n, d_sae) activations of viewers or of items, dense or by columns.
        a: (n,) bool: group A.
        b: (n,) bool: group B.

    Raises:
        DataError: A group has fewer than 2 members.
        ValueError: The masks are not of as many rows as `acts`.
    """
    masks = [np.asarray(mask, bool) for mask in (a, b)]
    if any(mask.shape != (acts.shape[0],) for mask in masks):
        raise ValueError(f"groups of shapes {masks[0].shape} and {masks[1].shape} for {acts.shape[0]} rows")
    n_a, n_b = (int(mask.sum()) for mask in masks)
    for name, n in (("A", n_a), ("B", n_b)):
        if n < 2:
            raise DataError(
                f"Group {name} has {n} member{'s' * (n != 1)}: a spread needs at least 2.",
                "Choose a larger group.",
            )
    rows = [np.flatnonzero(mask) for mask in masks]
    parts = []
    for start in range(0, acts.shape[1], _CHUNK):
        chunk = acts[:, start : start + _CHUNK]
        dense = chunk if isinstance(chunk, np.ndarray) else chunk.toarray()
        parts.append(_compare(_moments(dense[rows[0]]), _moments(dense[rows[1]]), n_a, n_b))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}
    frame = pd.DataFrame({"neuron": np.arange(acts.shape[1]), **columns})
    frame.insert(frame.columns.get_loc("p") + 1, "q", adjusted(frame["p"].to_numpy()))
    return Contrast(n_a, n_b, int((masks[0] & masks[1]).sum()), frame)


def adjusted(p: np.ndarray) -> np.ndarray:
    """Give q-values: the least false discovery rate at which each is called (Benjamini, Hochberg 1995). NaN stays out.

    >>> adjusted(np.array([0.01, np.nan, 0.04, 0.03])).round(3).tolist()
    [0.03, nan, 0.04, 0.04]
    """
    q = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    raised = p[order] * known.size / np.arange(1, known.size + 1)
    q[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1)
    return q


def chance(z: np.ndarray, skew: np.ndarray) -> np.ndarray:
    """Give the two-sided chance of a statistic of known skewness that lies `z` deviations from its mean.

    By a gamma law of that skewness (Pearson's type III, as Mielke, Berry 2007, have it for permutations); where the
    normal law gives more, that.
    """
    normal = 2 * ndtr(-np.abs(z))
    skew = np.where(np.abs(skew) > 1e-4, skew, np.nan)  # else the normal law, to all digits that matter
    shape = 4 / skew**2
    place = np.maximum(shape + np.sign(skew) * z * np.sqrt(shape), 0)
    return np.fmax(normal, 2 * np.minimum(gammainc(shape, place), gammaincc(shape, place)))


class _Moments(NamedTuple):
    mean: np.ndarray
    m2: np.ndarray
    """Central moments, each divided by n."""
    m3: np.ndarray
    m4: np.ndarray


def _moments(acts: np.ndarray) -> _Moments:
    mean = acts.mean(axis=0, dtype=np.float64)
    apart = acts - mean
    square = apart**2
    return _Moments(mean, square.mean(axis=0), (square * apart).mean(axis=0), (square**2).mean(axis=0))


def _compare(a: _Moments, b: _Moments, n_a: int, n_b: int) -> dict[str, np.ndarray]:
    free = n_a + n_b - 2
    weights = ((n_a - 1) / free, (n_b - 1) / free)
    var = [m.m2 * n / (n - 1) for m, n in ((a, n_a), (b, n_b))]
    pooled = weights[0] * var[0] + weights[1] * var[1]
    s = np.sqrt(np.where(pooled > (1e-9 * np.maximum(np.abs(a.mean), np.abs(b.mean))) ** 2, pooled, np.nan))
    d = (a.mean - b.mean) / s
    error = np.zeros_like(d)
    for m, v, n, w, sign in ((a, var[0], n_a, weights[0], -1), (b, var[1], n_b, weights[1], 1)):
        error += (v / s**2 + sign * d * w * m.m3 / s**3 + d**2 * w**2 * (m.m4 - m.m2**2) / (4 * s**4)) / n
    by_group = var[0] / n_a, var[1] / n_b
    squared = by_group[0] + by_group[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        degrees = squared**2 / (by_group[0] ** 2 / (n_a - 1) + by_group[1] ** 2 / (n_b - 1))
        welch = 2 * stdtr(degrees, -np.abs(a.mean - b.mean) / np.sqrt(squared))
        half = stdtrit(degrees, (1 + LEVEL) / 2) * np.sqrt(np.maximum(error, 0))
        p = _permuted(a, b, n_a, n_b)
    unknown = np.isnan(d)
    tests = {name: np.where(unknown, np.nan, values) for name, values in (("p", p), ("p_welch", welch))}
    return {"d": d, "low": d - half, "high": d + half, **tests, "mean_a": a.mean, "mean_b": b.mean}


def _permuted(a: _Moments, b: _Moments, n_a: int, n_b: int) -> np.ndarray:
    """Give the two-sided chance that a group of `n_a`, drawn from all without replacement, has so extreme a mean."""
    n = n_a + n_b
    mean = (n_a * a.mean + n_b * b.mean) / n
    m2, m3 = np.zeros_like(mean), np.zeros_like(mean)
    for m, n_g in ((a, n_a), (b, n_b)):
        apart = m.mean - mean
        m2 += n_g / n * (m.m2 + apart**2)
        m3 += n_g / n * (m.m3 + 3 * apart * m.m2 + apart**3)
    left = 1 / n_a - 1 / n
    spread = np.sqrt(m2 * n / (n - 1) * left)
    skew = m3 * n**2 / ((n - 1) * (n - 2)) * left * (1 / n_a - 2 / n) / spread**3
    z = (a.mean - mean) / spread
    return chance(z, skew)
