"""Why scores changed: what each edit adds to each item's score. The parts sum to the change.

A linear scorer splits by itself: edit j adds `scale(u) delta_j <W_dec[j], v_i>` whatever the others do. Any other
scorer is split by Shapley values over the edits (Shapley 1953): the mean of what an edit adds, over all orders in which
the edits could be made. They sum to the change exactly, treat equal edits equally, and equal the linear split where
the scorer is linear.
"""

from itertools import product
from math import comb
from typing import NamedTuple

import numpy as np

from core.recommenders.base import Recommender
from core.sae.model import SAE
from core.seeding import generator
from core.steering.steering import Steering, deltas

EXACT = 8
"""Edits up to which every order is looked at, by way of all 2^n_edits sets of edits; beyond, `N_ORDERS` drawn ones."""
N_ORDERS = 64
CHUNK = 64
"""Sets of edits scored at a time: bounds the memory at CHUNK x n_items."""


class Contributions(NamedTuple):
    """Why scores changed, in units of the score."""

    neurons: np.ndarray
    """(n_edits,) indices of the edited neurons."""
    by_neuron: np.ndarray
    """(n_edits, n_items) float32: what each edit adds to each item's score. Its sum over edits is the score change."""


def contributions(u: np.ndarray, steering: Steering, sae: SAE, model: Recommender) -> Contributions:
    """Give what each edit adds to each item's score for ONE viewer.

    Args:
        u: (1, d_in) or (d_in,).
        steering: The edits.
        sae: The SAE whose neurons are edited.
        model: The recommender that scores.

    Raises:
        ConfigError: An edit names a neuron that the SAE does not have.
    """
    steering.check_against(sae.config.d_sae)
    u = np.atleast_2d(np.asarray(u, np.float32))
    neurons = np.array([e.neuron for e in steering.edits], np.int64)
    weight = deltas(sae.encode(u), steering)[0] * sae.normalise(u).scale[0, 0]
    moves = weight[:, None] * sae.W_dec[neurons]
    if model.linear is not None:
        return Contributions(neurons, moves @ model.linear.V.T)
    chosen, weights = shapley_weights(len(neurons))
    parts = np.zeros((len(neurons), model.n_items))
    for start in range(0, len(chosen), CHUNK):
        rows = slice(start, start + CHUNK)
        parts += weights[:, rows] @ model.score(u + chosen[rows].astype(np.float32) @ moves)
    return Contributions(neurons, parts.astype(np.float32))


def shapley_weights(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Give sets of `n` players and how much the worth of each set counts for each player's Shapley value.

    Returns:
        (n_sets, n) bool, and (n, n_sets) float64 whose product with the worths is the Shapley values. Up to `EXACT`
        players they are exact; beyond, the mean over drawn orders and their reverses, which still sums exactly.

    >>> shapley_weights(1)[1].tolist()
    [[-1.0, 1.0]]
    """
    if n <= EXACT:
        chosen = np.array(list(product((False, True), repeat=n)), bool).reshape(2**n, n)
        size = chosen.sum(axis=1)
        joining = np.array([1 / (n * comb(n - 1, s)) if s < n else 0.0 for s in range(n + 1)])
        return chosen, np.where(chosen.T, joining[np.maximum(size - 1, 0)], -joining[size])
    half = generator(n, "shapley").permuted(np.tile(np.arange(n), (N_ORDERS // 2, 1)), axis=1)
    orders = np.concatenate([half, half[:, ::-1]])
    # Every order gives a path of n + 1 sets, from none to all.
    place = np.argsort(orders, axis=1)
    chosen = (place[:, None, :] < np.arange(n + 1)[None, :, None]).reshape(-1, n)
    weights = np.zeros((n, len(orders), n + 1))
    for row, order in enumerate(orders):
        weights[order, row, np.arange(1, n + 1)] += 1 / len(orders)
        weights[order, row, np.arange(n)] -= 1 / len(orders)
    return chosen, weights.reshape(n, -1)
