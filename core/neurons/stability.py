"""Which neurons come again when the same SAE is trained from another seed.

One-to-one matching of SAEs that differ in their seed as in Paulo, Belrose 2025 (arXiv 2501.16615), who match by the
weights alone: here the viewers that two neurons fire for count as much as the direction in which they push.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from core.seeding import generator

SURVIVES = 0.7
"""A neuron came again when its match scores so much: both parts are about .7, or one is 1 and the other .4 at least. No
part alone is enough (a half), and what chance reaches is measured beside it."""
N_DRAWS = 3
"""How often the matching is repeated on what has nothing in common."""
_CHUNK = 4096
"""Viewers whose activations are added up at a time."""


class Code(NamedTuple):
    """What the matching looks at of an SAE."""

    W_dec: np.ndarray
    """(d_sae, d_in)."""
    acts: np.ndarray
    """(n_users, d_sae) activations of the viewers, the same ones for both SAEs."""

    @property
    def firing(self) -> np.ndarray:
        """Give the neurons that fire for a viewer, ascending."""
        return np.flatnonzero((self.acts > 0).any(axis=0))

    def of(self, neurons: np.ndarray) -> "Code":
        """Give some neurons alone."""
        return Code(self.W_dec[neurons], self.acts[:, neurons])


class Stability(NamedTuple):
    """How each neuron of one SAE comes again in another."""

    scores: np.ndarray
    """(d_sae,) in [-1, 1]: the similarity to its match; 0 without one, NaN for a neuron that fires for no viewer."""
    partners: np.ndarray
    """(d_sae,) int64: its match in the other SAE, -1 without one."""
    chance: np.ndarray
    """(n_draws, n_firing): the scores of the same search in SAEs that have nothing in common."""

    def summary(self) -> dict[str, Any]:
        """Give the share of neurons that come again, their mean score, and what chance reaches."""
        known = self.scores[~np.isnan(self.scores)]
        if not known.size:
            return {"n_neurons": 0}
        return {
            "n_neurons": int(known.size),
            "mean": float(known.mean()),
            "threshold": SURVIVES,
            "surviving_share": float((known >= SURVIVES).mean()),
            "chance_mean": float(self.chance.mean()),
            "chance_95th": float(np.percentile(self.chance, 95)),
            "chance_surviving_share": float((self.chance >= SURVIVES).mean()),
        }


def similarity(a: Code, b: Code) -> np.ndarray:
    """Give how alike each neuron of one SAE is to each of another: `(cos(W_a[i], W_b[j]) + corr(z_a[i], z_b[j])) / 2`.

    The cosine of decoder rows says that the two push lists the same way, Pearson's correlation of the activations over
    viewers that they fire for the same ones. Where a row is 0 or an activation the same for all, that part counts 0.

    Returns:
        (d_a, d_b) float64 in [-1, 1].
    """
    return (_unit(a.W_dec) @ _unit(b.W_dec).T + _correlation(a.acts, b.acts)) / 2


def match(similar: np.ndarray) -> np.ndarray:
    """Give each row its own column so that the sum of the similarities is the largest (Kuhn 1955).

    Returns:
        (n_rows,) int64 columns, -1 for rows beyond the number of columns that had to go without.

    >>> match(np.array([[0.9, 0.8], [0.9, 0.1]])).tolist()
    [1, 0]
    """
    partners = np.full(len(similar), -1, np.int64)
    rows, columns = linear_sum_assignment(similar, maximize=True)
    partners[rows] = columns
    return partners


def stability(a: Code, b: Code, seed: int) -> Stability:
    """Match the neurons of an SAE one to one with those of another of the same embeddings and viewers.

    Neurons that fire for no viewer stay out. What chance reaches is measured by the same search after the dimensions of
    the other's decoder and the order of its viewers were permuted: everything within each SAE stays, and nothing
    between them is left.

    Args:
        a: The SAE whose neurons are judged.
        b: The other one, for example of another seed.
        seed: Of the permutations.

    Raises:
        ValueError: They are not of the same viewers or embeddings.
    """
    if len(a.acts) != len(b.acts) or a.W_dec.shape[1] != b.W_dec.shape[1]:
        raise ValueError(
            f"{a.acts.shape[0]} viewers of width {a.W_dec.shape[1]} on one side, "
            f"{b.acts.shape[0]} of width {b.W_dec.shape[1]} on the other"
        )
    own, others = a.firing, b.firing
    scores, partners = np.full(len(a.W_dec), np.nan), np.full(len(a.W_dec), -1, np.int64)
    found, scores[own] = _matched(a.of(own), b.of(others))
    partners[own] = np.where(found >= 0, others[found] if len(others) else -1, -1)
    chance = [_matched(a.of(own), _permuted(b.of(others), seed, draw))[1] for draw in range(N_DRAWS)]
    return Stability(scores, partners, np.array(chance))


def _matched(a: Code, b: Code) -> tuple[np.ndarray, np.ndarray]:
    """Give each neuron's match and their similarity, 0 where it has none."""
    similar = similarity(a, b)
    partners = match(similar)
    scores = np.zeros(len(partners))
    there = partners >= 0
    scores[there] = similar[there, partners[there]]
    return partners, scores


def _permuted(code: Code, seed: int, draw: int) -> Code:
    rng = generator(seed, "stability", str(draw))
    return Code(code.W_dec[:, rng.permutation(code.W_dec.shape[1])], code.acts[rng.permutation(len(code.acts))])


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Give the (d_a, d_b) Pearson correlations of columns, 0 where one does not vary; never whole copies in float64."""
    n = max(len(a), 1)
    mean_a, mean_b = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    shared, own_a, own_b = np.zeros((a.shape[1], b.shape[1])), np.zeros(a.shape[1]), np.zeros(b.shape[1])
    for start in range(0, len(a), _CHUNK):
        part_a, part_b = a[start : start + _CHUNK] - mean_a, b[start : start + _CHUNK] - mean_b
        shared += part_a.T @ part_b
        own_a += np.square(part_a).sum(axis=0)
        own_b += np.square(part_b).sum(axis=0)
    length = np.sqrt(np.outer(own_a, own_b))
    return np.divide(shared, length, out=np.zeros_like(shared), where=length > 1e-12 * n)
