"""How well each neuron tells the rows with a fact from those without: AUC with its error, precision, correlation."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit, logit, ndtri

from core.neurons.contrast import chance
from core.recommenders.base import resolve

N_TOP = 20
"""Of the rows in which a neuron fires most."""
LEVEL = 0.95
"""Of the intervals."""
_Z = float(ndtri((1 + LEVEL) / 2))
_CELLS = 2**24
"""Activations that are sorted at a time, if all fire."""
_HALVINGS = 16
"""Of the bounds of an interval: to 1/65,536."""


@dataclass(frozen=True, eq=False)
class Separation:
    """Every neuron against every fact, in the same rows. Row j of everything is neuron j.

    Attributes:
        n_rows: How many rows.
        n_with: (f,) int64 rows that have the fact.
        n_firing: (d,) int64 rows in which the neuron fires.
        auc: (d, f): the chance that it fires more in a row with the fact than in one without, ties counted half; NaN
            for a neuron that never fires, and for a fact of all rows or none.
        error: (d, f) its standard error (DeLong).
        p: (d, f) two-sided, for "who has the fact is chance".
        hits: (d, f) int32 rows with the fact among those that fire.
        top_hits: (d, f) int32 those among the 20 in which it fires most.
        correlation: (d, f) point-biserial correlation, rows in which it does not fire counted 0; NaN as for `auc`.
    """

    n_rows: int
    n_with: np.ndarray
    n_firing: np.ndarray
    auc: np.ndarray
    error: np.ndarray
    p: np.ndarray
    hits: np.ndarray
    top_hits: np.ndarray
    correlation: np.ndarray

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the ends of the 95 % intervals of `auc`; see `auc_interval`."""
        return auc_interval(self.auc, self.error, self.n_with, self.n_rows - self.n_with)


def separation(acts: sparse.csc_matrix, masks: np.ndarray) -> Separation:
    """Measure how well each neuron tells rows apart.

        AUC = U / (m n),   SE^2 = S_10 / m + S_01 / n

    S_10 and S_01 are the variances, over the m rows with the fact and the n without, of the share of the others that a
    row stands above or below (DeLong, DeLong, Clarke-Pearson 1988): right for ties, of which most rows are one, and for
    spreads that differ. `p` is that of the rank sum under all permutations of the fact, whose first three moments are
    known; see `core.neurons.contrast.chance`.

    Args:
        acts: (n_rows, d) activations; only those above 0 count.
        masks: (n_rows, f) bool, the rows with each fact.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    n_rows, d = acts.shape
    if len(masks) != n_rows:
        raise ValueError(f"facts of {len(masks)} rows for activations of {n_rows}")
    acts = sparse.csc_matrix(acts, dtype=np.float32)
    n_firing, n_with = np.zeros(d, np.int64), masks.sum(axis=0, dtype=np.int64)
    m, n = n_with.astype(np.float64), (n_rows - n_with).astype(np.float64)
    facts = sparse.csr_matrix(masks)
    out, hits = np.empty((d, len(m), 3)), np.zeros((d, len(m), 2), np.int32)
    moments, size = np.empty((d, 2)), max(1, _CELLS // max(n_rows, 1))
    separate = resolve("core.neurons.separation_loops:separate")
    for start in range(0, d, size):
        part = slice(start, start + size)
        firing = _strongest_first(acts[:, part])
        n_firing[part] = np.diff(firing[0])
        separate(firing, (facts.indptr, facts.indices, m), n_rows, N_TOP, out[part], hits[part], moments[part])
    with np.errstate(divide="ignore", invalid="ignore"):
        auc = np.where((n_firing[:, None] > 0) & (m > 0) & (n > 0), out[:, :, 0], np.nan)
        square = auc**2
        # Sample variances; a single row has none, and DeLong's error no value.
        s_10, s_01 = (out[:, :, 1] - square) * m / (m - 1), (out[:, :, 2] - square) * n / (n - 1)
        error = np.sqrt(np.maximum(s_10, 0) / m + np.maximum(s_01, 0) / n)
        # Of the mean rank of m rows that are drawn without replacement; AUC is that over n.
        total = np.float64(n_rows)
        left = 1 / m - 1 / total
        spread = np.sqrt(moments[:, :1] * total / (total - 1) * left)
        skew = moments[:, 1:] * total**2 / ((total - 1) * (total - 2)) * left * (1 / m - 2 / total) / spread**3
        p = np.where(np.isnan(auc), np.nan, chance((auc - 0.5) * n / spread, skew))
        correlation = np.where(np.isnan(auc), np.nan, _correlation(acts, masks))
    return Separation(n_rows, n_with, n_firing, auc, error, p, hits[:, :, 1], hits[:, :, 0], correlation)


def auc_interval(
    auc: np.ndarray, error: np.ndarray, n_with: np.ndarray, n_without: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give 95 % intervals of AUCs: at each end the wider of two.

    The one of DeLong's error on the logit scale is right for ties and any spread, but too narrow for a few rows that
    are nearly parted: there the error is 0. The one of Hanley, McNeil 1982, solved for the AUC as Wilson does for a
    share (Newcombe 2006, method 5), is right there, but knows neither ties nor spreads.

    Args:
        auc: NaN where there is none, which stays; of any shape that goes with the others, by broadcasting.
        error: DeLong's.
        n_with: Rows with the fact.
        n_without: Rows without.
    """
    inside = np.clip(auc, 1e-9, 1 - 1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = np.nan_to_num(_Z * error / (inside * (1 - inside)))
        low, high = expit(logit(inside) - half), expit(logit(inside) + half)
        low = np.minimum(low, _newcombe(auc, n_with, n_without, -1))
        return low, np.maximum(high, _newcombe(auc, n_with, n_without, 1))


def wilson(hits: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the ends of the 95 % intervals of shares `hits / n` (Wilson 1927); NaN where n is 0.

    >>> [round(float(end), 3) for end in wilson(np.array(18), np.array(20))]
    [0.699, 0.972]
    """
    n = np.asarray(n, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = hits / n
        middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return middle - half, middle + half


def _newcombe(auc: np.ndarray, n_with: np.ndarray, n_without: np.ndarray, side: int) -> np.ndarray:
    """Give the AUC furthest below (-1) or above (1) of which `auc` is within the level's deviations, by bisection."""
    others = (n_with + n_without) / 2 - 1
    near, far = np.array(auc, np.float64), np.where(np.isnan(auc), np.nan, float(side > 0))
    for _ in range(_HALVINGS):
        t = (near + far) / 2
        variance = t * (1 - t) * (1 + others * (1 - t) / (2 - t) + others * t / (1 + t)) / (n_with * n_without)
        within = (auc - t) ** 2 <= _Z**2 * variance
        near, far = np.where(within, t, near), np.where(within, far, t)
    return far


def _strongest_first(acts: sparse.csc_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give where each neuron's rows start, the rows by falling activation, equal ones in order, and the values."""
    acts.sort_indices()
    neurons = np.repeat(np.arange(acts.shape[1]), np.diff(acts.indptr))
    fires = acts.data > 0
    rows, values, neurons = acts.indices[fires], acts.data[fires], neurons[fires]
    order = np.lexsort((-values, neurons))
    starts = np.concatenate([[0], np.cumsum(np.bincount(neurons, minlength=acts.shape[1]))])
    return starts, rows[order].astype(np.int64), values[order]


def _correlation(acts: sparse.csc_matrix, masks: np.ndarray) -> np.ndarray:
    firing = sparse.csc_matrix(acts, dtype=np.float64).maximum(0)
    n = np.float64(acts.shape[0])
    share = masks.sum(axis=0) / n
    mean = np.asarray(firing.sum(axis=0)).reshape(-1, 1) / n
    spread = np.sqrt(np.maximum(np.asarray(firing.multiply(firing).sum(axis=0)).reshape(-1, 1) / n - mean**2, 0))
    both = (firing.T @ masks.astype(np.float64)) / n
    spread = np.where(spread > 1e-9 * np.abs(mean), spread, np.nan)
    return (both - mean * share) / (spread * np.sqrt(share * (1 - share)))
