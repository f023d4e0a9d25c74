"""How well an SAE rebuilds embeddings and how sparse its code is, in NumPy.

`X` and `X_hat` are (n, d_in), `acts` are (n, d_sae) with values >= 0.
"""

import numpy as np


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
    X, X_hat = np.asarray(X, np.float64), np.asarray(X_hat, np.float64)
    lengths = np.linalg.norm(X, axis=1) * np.linalg.norm(X_hat, axis=1)
    directed = lengths > 0
    return float(((X * X_hat).sum(axis=1)[directed] / lengths[directed]).mean()) if directed.any() else float("nan")


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
