"""How a history becomes a viewer's vector in a model of which only the vectors are known.

    u(h) = W m(h) + c,   m(h) = sum_{i in h} v_i / |h|^power

`ridge`, where the vectors and the histories of enough users are known: W and c are their ridge regression, so the
fold-in does what the model itself does, as far as a linear map can.

`discriminant`, where they are not: W = (S + tr(S) / d I)^-1 and c = -W v̄, with S the covariance of the item vectors and
v̄ their mean: Fisher's linear discriminant of the consumed items against the catalogue, with as much of the identity in
the covariance as of S (Friedman 1989, "Regularized discriminant analysis"). It knows directions only, so the result is
brought to a fixed length.
"""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np

from core.data.dataset import Histories, to_matrix

POWERS = (0.0, 0.5, 1.0)
"""A sum (ELSA, ALS), something between, a mean."""
PENALTIES = (1e-5, 1e-3, 1e-1)
"""Of the ridge regression, in units of the mean variance of m(h)."""
SET_ASIDE = 5
"""Every fifth known user is set aside: the power and the penalty that foretell these best are taken."""
USERS_A_WEIGHT = 2
"""A regression is tried where at least so many users are known for each number of a vector."""
TASTE = 2.0
"""Without known users, the scores of a viewer spread so many times as far over the catalogue as the biases."""


class FoldIn(NamedTuple):
    """The parameters of a fold-in."""

    W: np.ndarray
    """(d_in, d_in) float32."""
    c: np.ndarray
    """(d_in,) float32."""
    power: float
    """0 for a sum of the item vectors, 1 for their mean."""
    length: float
    """Of every vector that it gives; 0 leaves the length as it is."""

    def embed(self, histories: Histories, V: np.ndarray) -> np.ndarray:
        """Give (len(histories), d_in) float32; an empty history gives 0."""
        x = to_matrix(histories, len(V))
        sizes = np.diff(x.indptr)
        vectors = _pooled(x @ V, sizes, self.power) @ self.W + self.c
        if self.length:
            vectors = self.length * unit(vectors)
        vectors[sizes == 0] = 0
        return np.asarray(vectors, np.float32)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the parameters for saving."""
        return {"fold_W": self.W, "fold_c": self.c, "fold_shape": np.array([self.power, self.length], np.float64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "FoldIn":
        """Restore what `to_arrays` gave."""
        power, length = (float(x) for x in arrays["fold_shape"])
        W, c = (np.asarray(arrays[name], np.float32) for name in ("fold_W", "fold_c"))
        return cls(W, c, power, length)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Give float32 vectors of length 1 in the same directions; a vector of length 0 stays, and so does one of NaN.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)
    """
    length = lengths(vectors)
    length[length == 0] = 1
    return np.asarray(vectors / length[:, None].astype(np.float32), np.float32)


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Give the (n,) float64 lengths of vectors; NaN for one of NaN."""
    return np.sqrt(np.einsum("id,id->i", vectors, vectors, dtype=np.float64))


def enough_users(n_users: int, d_in: int) -> bool:
    """Say whether so many known users carry a regression to vectors of this width."""
    return n_users >= USERS_A_WEIGHT * (d_in + 1)


def regression(V: np.ndarray, histories: Histories, users: np.ndarray, length: float) -> FoldIn:
    """Fit `ridge` to known users.

    Args:
        V: (n_items, d_in) item vectors.
        histories: Of the known users, none empty.
        users: (len(histories), d_in) their vectors.
        length: To which every result is brought; 0 leaves it.
    """
    x = to_matrix(histories, len(V))
    sums, sizes = (x @ V).astype(np.float64), np.diff(x.indptr)
    aside = np.arange(len(users)) % SET_ASIDE == 0
    errors = {}
    for power, penalty in product(POWERS, PENALTIES):
        m = _pooled(sums, sizes, power)
        W, c = _ridge(m[~aside], users[~aside], penalty)
        errors[power, penalty] = float(((m[aside] @ W + c - users[aside]) ** 2).sum())
    # Histories of one length do not tell the powers apart: of equal choices a mean is the safest for other lengths.
    power, penalty = max(choice for choice in errors if errors[choice] <= (1 + 1e-6) * min(errors.values()))
    W, c = _ridge(_pooled(sums, sizes, power), users, penalty)
    return FoldIn(W.astype(np.float32), c.astype(np.float32), power, length)


def discriminant(V: np.ndarray, b: np.ndarray, length: float | None) -> FoldIn:
    """Give `discriminant` from the item vectors alone.

    Args:
        V: (n_items, d_in) item vectors.
        b: (n_items,) biases.
        length: Of known users, on average; None where there are none.
    """
    mean = V.mean(axis=0, dtype=np.float64)
    centred = V - mean.astype(np.float32)
    S = (centred.T @ centred).astype(np.float64) / len(V)
    width = np.trace(S) / len(S)
    W = np.linalg.inv(S + (width or 1.0) * np.eye(len(S)))
    if length is None:
        # The mean spread of the scores of the viewers with one item, were their vectors of length 1.
        directions = unit(centred @ W)
        spread = np.sqrt(np.einsum("id,id->i", directions @ S, directions).mean())
        length = TASTE * float(b.std(dtype=np.float64)) / spread if b.any() and spread > 0 else 1.0
    return FoldIn(W.astype(np.float32), (-mean @ W).astype(np.float32), 1.0, length or 1.0)


def _pooled(sums: np.ndarray, sizes: np.ndarray, power: float) -> np.ndarray:
    return sums / (np.maximum(sizes, 1) ** power)[:, None].astype(sums.dtype)


def _ridge(m: np.ndarray, users: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Give (W, c) of the least `|m W + c - users|² + penalty tr(cov m) n / d |W|²`; `c` is not penalised."""
    mean_m, mean_u = m.mean(axis=0), users.mean(axis=0, dtype=np.float64)
    centred = m - mean_m
    gram = centred.T @ centred
    weight = penalty * np.trace(gram) / len(gram) or 1.0
    W = np.linalg.solve(gram + weight * np.eye(len(gram)), centred.T @ (users - mean_u))
    return W, mean_u - mean_m @ W
