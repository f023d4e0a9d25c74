"""How well an SAE rebuilds embeddings and how sparse its code is, in NumPy.

`X` and `X_hat` are (n, d_in), `acts` are (n, d_sae) with values >= 0.
"""

import numpy as np

from core.sae.model import SAE

N_CHUNK = 4096
"""Rows that are encoded at a time: bounds the memory."""


def fvu(X: np.ndarray, X_hat: np.ndarray) -> float:
    """Give the fraction of variance unexplained, `sum (X - X_hat)**2 / sum (X - mean(X))**2`.

    About the MEAN of each dimension: predicting the mean gives 1, a perfect reconstruction 0. NaN where no row differs.

    >>> fvu(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]]))
    1.0
    """
    X = np.asarray(X, np.float64)
    if not len(X):
        return float("nan")
    variance = np.square(X - X.mean(axis=0)).sum()
    return float(np.square(X - X_hat).sum() / variance) if variance > 0 else float("nan")


def cosine(X: np.ndarray, X_hat: np.ndarray) -> float:
    """Give the mean cosine of rows with their reconstruction. A row of zeros has no direction and is left out."""
    values = cosines(X, X_hat)
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def cosines(X: np.ndarray, X_hat: np.ndarray) -> np.ndarray:
    """Give the (n,) cosine of each row with its reconstruction; NaN where one of them is a row of zeros."""
    X, X_hat = np.asarray(X, np.float64), np.asarray(X_hat, np.float64)
    lengths = np.linalg.norm(X, axis=1) * np.linalg.norm(X_hat, axis=1)
    return np.divide((X * X_hat).sum(axis=1), lengths, out=np.full(len(X), np.nan), where=lengths > 0)


def l0(acts: np.ndarray) -> float:
    """Give the mean number of active neurons of a row; NaN without a row.

    >>> l0(np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0]]))
    1.5
    """
    return float((acts > 0).sum(axis=1).mean()) if len(acts) else float("nan")


def density(acts: np.ndarray) -> np.ndarray:
    """Give (d_sae,): the share of rows in which each neuron is active, in [0, 1]; NaN without a row."""
    return np.asarray((acts > 0).mean(axis=0)) if len(acts) else np.full(acts.shape[1], np.nan)


def alive(*acts: np.ndarray) -> np.ndarray:
    """Give (d_sae,) bool: the neurons that fire above 0 on some row of some of these real activations."""
    return np.logical_or.reduce([(a > 0).any(axis=0) for a in acts])


def threshold_at(sae: SAE, X: np.ndarray, k: int) -> float:
    """Give the threshold, one number for every neuron, above which the rows of `X` have `k` active neurons on average.

    It lies half-way between the (n k)-th and the (n k + 1)-th largest value before the gate, so that rounding moves no
    neuron across it; below the (n k)-th where the two are equal (what ties, stays), and at 0 where fewer are positive.

    Args:
        sae: Its gate does not matter.
        X: (n, d_in).
        k: Active neurons an embedding, at least 1.
    """
    n_kept = len(X) * k
    largest = np.zeros(0, np.float32)
    for start in range(0, len(X), N_CHUNK):
        values = sae.pre_acts(X[start : start + N_CHUNK])
        largest = np.concatenate([largest, values[values > 0]])
        if len(largest) > n_kept + 1:
            largest = np.partition(largest, -(n_kept + 1))[-(n_kept + 1) :]
    if len(largest) <= n_kept:
        return 0.0
    below, least_kept = (float(v) for v in np.sort(np.partition(largest, 1)[:2]))
    middle = np.float32((below + least_kept) / 2)
    return float(middle if middle < least_kept else np.nextafter(np.float32(least_kept), np.float32(0)))
