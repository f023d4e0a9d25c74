"""Logistic regressions by the thousand: one side of a matrix factorisation, given the other.

Row r has a vector v and a bias b and minimises, over the known rows f_j (bias β_j) of the other side,

    sum_{j in positives(r)} softplus(-s_j) + sum_j w_rj softplus(s_j) + λ_r / 2 (|v|² + b²),   s_j = v · f_j + b + β_j

with weights that are a product, `w_rj = row_weight[r] * column_weight[j]`, by Newton's method. A step is shortened by
log(1 + M) / M, where M is the most that it moves any s_j: the loss then falls at every step from any start, and the
last steps are full ones (the loss is self-concordant-like with constant 1: Bach 2010, Tran-Dinh et al. 2015).
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import expit

CELLS = 1_000_000
"""Rows times columns that are solved at a time: bounds the memory at about 60 MB."""
TOLERANCE = 1e-6
"""A row is solved when its last step moved no s_j by more than this."""


class Side(NamedTuple):
    """The vectors and biases of the viewers, or of the items."""

    vectors: np.ndarray
    """(n, d)."""
    biases: np.ndarray
    """(n,)."""


class Regressions:
    """The regressions on one known side.

    Args:
        known: Its m rows.
        column_weight: (m,) weight of each of them among the negatives.
    """

    def __init__(self, known: Side, column_weight: np.ndarray) -> None:
        self._features = np.column_stack([known.vectors, np.ones(len(known.biases))]).astype(np.float64)
        self._offset = known.biases.astype(np.float64)
        self._column_weight = column_weight
        self._triangle = np.triu_indices(self._features.shape[1])
        left, right = self._triangle
        # f fᵀ of each known row, upper triangle: the Hessians of many rows are then one matrix product. Single
        # precision is enough, it changes the path and not the minimum.
        self._outer = (self._features[:, left] * self._features[:, right]).astype(np.float32)

    def solve(
        self,
        positives: sparse.csr_matrix,
        row_weight: np.ndarray,
        regularisation: np.ndarray,
        *,
        start: Side | None = None,
        n_steps: int = 50,
    ) -> Side:
        """Give the minimising vectors and biases, each row for itself.

        Args:
            positives: (n, m) binary.
            row_weight: (n,).
            regularisation: (n,) λ of each row, above 0.
            start: Where to begin; zeros by default.
            n_steps: Newton steps at most; one is enough where the two sides take turns.
        """
        n, m = positives.shape
        width = self._features.shape[1]
        out = np.zeros((n, width)) if start is None else np.column_stack(start)
        rows = max(1, CELLS // m)
        for first in range(0, n, rows):
            part = slice(first, first + rows)
            x = positives[part].toarray().astype(np.float64)
            out[part] = self._newton(x, row_weight[part], regularisation[part, None], out[part], n_steps)
        return Side(out[:, :-1], out[:, -1])

    def _newton(
        self, x: np.ndarray, row_weight: np.ndarray, regularisation: np.ndarray, v: np.ndarray, n_steps: int
    ) -> np.ndarray:
        weight = row_weight[:, None] * self._column_weight + x
        left, right = self._triangle
        diagonal = np.arange(v.shape[1])
        hessian = np.empty((*v.shape, v.shape[1]))
        scores = v @ self._features.T + self._offset
        for _ in range(n_steps):
            p = expit(scores)
            gradient = (weight * p - x) @ self._features + regularisation * v
            curvature = (weight * p * (1 - p)).astype(np.float32) @ self._outer
            hessian[:, left, right] = hessian[:, right, left] = curvature
            hessian[:, diagonal, diagonal] += regularisation
            step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
            move = step @ self._features.T
            most = np.abs(move).max(axis=1, keepdims=True)
            share = np.log1p(most) / np.maximum(most, 1e-300)
            v = v - share * step
            if not most.max() >= TOLERANCE:  # also on NaN: the caller looks
                break
            scores -= share * move
        return v
