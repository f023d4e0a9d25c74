"""What two neurons have in common: for whom, and on what, they fire together."""

from typing import NamedTuple

import numpy as np
from scipy import sparse


class Together(NamedTuple):
    """How two neurons fire over some viewers, or over some titles."""

    n_a: int
    """Rows in which the first fires."""
    n_b: int
    n_both: int
    n: int
    """All rows."""

    @property
    def jaccard(self) -> float:
        """Give the rows in which both fire, of those in which any does; NaN where none does."""
        either = self.n_a + self.n_b - self.n_both
        return self.n_both / either if either else float("nan")

    @property
    def lift(self) -> float:
        """Give how many times more often both fire than if they had nothing to do with each other."""
        by_chance = self.n_a * self.n_b / self.n if self.n else 0.0
        return self.n_both / by_chance if by_chance else float("nan")


def together(acts: sparse.csc_matrix, a: int, b: int) -> Together:
    """Count where two neurons fire.

    Args:
        acts: (n, d_sae) activations, by columns.
        a: One neuron.
        b: Another one.
    """
    first, second = firing(acts, a), firing(acts, b)
    return Together(int(first.sum()), int(second.sum()), int((first & second).sum()), acts.shape[0])


def firing(acts: sparse.csc_matrix, neuron: int) -> np.ndarray:
    """Give the (n,) mask of the rows in which a neuron fires."""
    place = slice(acts.indptr[neuron], acts.indptr[neuron + 1])
    mask = np.zeros(acts.shape[0], bool)
    mask[acts.indices[place][acts.data[place] > 0]] = True
    return mask


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Give the cosine of two vectors; NaN where one is 0.

    >>> cosine(np.array([1.0, 0.0]), np.array([-2.0, 0.0]))
    -1.0
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else float("nan")
