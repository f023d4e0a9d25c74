"""Why a viewer's list is what it is: each item's score, split over the concepts that fire in the viewer.

The embedding is `u = base + sum_j z_j scale W_dec[j] + rest`, with `base = b_dec scale + shift` what the SAE gives a
viewer in whom nothing fires, and `rest = u - x_hat` what it cannot explain. A linear scorer splits along:

    score_i = (<base, v_i> + b_i)  +  sum_j z_j scale <W_dec[j], v_i>  +  <rest, v_i>

Any other scorer is split by Shapley values (see `core.steering.contributions`) over as many parts as all orders can be
looked at for: the concepts whose loss changes the scores most, all others as one part, and `rest`. They sum to the
score too.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from core.recommenders.base import Recommender
from core.sae.model import SAE
from core.steering.contributions import CHUNK, EXACT, shapley_weights


class Split(NamedTuple):
    """The parts of the scores of some items for ONE viewer: `base + by_neuron.sum(0) + others + rest` is the score."""

    neurons: np.ndarray
    """(n_neurons,) int64 active neurons with a part of their own, ascending."""
    base: np.ndarray
    """(n_items,) float64: of a viewer in whom nothing fires, bias of the item included."""
    by_neuron: np.ndarray
    """(n_neurons, n_items) float64."""
    others: np.ndarray
    """(n_items,) float64: of the active neurons without a part of their own; 0 for a linear scorer."""
    rest: np.ndarray
    """(n_items,) float64: of what the SAE cannot explain."""
    n_others: int
    """How many active neurons `others` stands for."""
    exact: bool
    """Whether each part is what it is whatever the others do: a linear scorer. Else parts are means over all orders in
    which they could join."""

    @property
    def score(self) -> np.ndarray:
        """Give the (n_items,) sums of the parts."""
        return np.asarray(self.base + self.by_neuron.sum(axis=0) + self.others + self.rest)


def split_scores(u: np.ndarray, sae: SAE, model: Recommender, items: np.ndarray) -> Split:
    """Split the scores of some items for one viewer.

    Args:
        u: (1, d_in) or (d_in,) embedding.
        sae: The SAE whose neurons are the parts.
        model: The recommender that scores.
        items: (n_items,) item indices.
    """
    u = np.atleast_2d(np.asarray(u, np.float32))
    normalised = sae.normalise(u)
    acts = sae.encode(u)[0].astype(np.float64)
    active = np.flatnonzero(acts > 0)
    scale, shift = float(normalised.scale[0, 0]), float(normalised.shift[0, 0])
    base = sae.b_dec.astype(np.float64) * scale + shift
    moves = (acts[active] * scale)[:, None] * sae.W_dec[active].astype(np.float64)
    rest = u[0] - base - moves.sum(axis=0)
    if model.linear is not None:
        V = model.linear.V[items].astype(np.float64)
        none = np.zeros(len(items))
        return Split(active, V @ base + model.linear.b[items], moves @ V.T, none, V @ rest, 0, True)
    return _by_shapley(active, base, moves, rest, model, items)


def _by_shapley(
    active: np.ndarray, base: np.ndarray, moves: np.ndarray, rest: np.ndarray, model: Recommender, items: np.ndarray
) -> Split:
    """Split over at most `EXACT` parts: the rest, the neurons that count most, and the other ones together."""
    full = base + moves.sum(axis=0) + rest
    whole = _scores(full[None], model, items)
    without = np.abs(whole - _scores(full - moves, model, items)).mean(axis=1) if len(active) else np.zeros(0)
    n_own = len(active) if len(active) < EXACT else EXACT - 2
    own = np.sort(np.argsort(-without, kind="stable")[:n_own])
    grouped = np.setdiff1d(np.arange(len(active)), own)
    parts = np.vstack([moves[own], moves[grouped].sum(axis=0)[None], rest[None]])
    parts = parts if len(grouped) else np.delete(parts, len(own), axis=0)
    chosen, weights = shapley_weights(len(parts))
    values = weights @ _scores(base + chosen.astype(np.float64) @ parts, model, items)
    others = values[len(own)] if len(grouped) else np.zeros(len(items))
    start = _scores(base[None], model, items)[0]
    return Split(active[own], start, values[: len(own)], others, values[-1], len(grouped), False)


def _scores(embeddings: np.ndarray, model: Recommender, items: np.ndarray) -> np.ndarray:
    """Give the (n, len(items)) float64 scores, some embeddings at a time."""
    rows = embeddings.astype(np.float32)
    parts = [model.score(rows[start : start + CHUNK])[:, items] for start in range(0, len(rows), CHUNK)]
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros((0, len(items)))


class Active(NamedTuple):
    """The concepts that fire in one viewer, the most telling ones first."""

    neurons: np.ndarray
    """(n_active,) int64."""
    acts: np.ndarray
    """(n_active,) activations."""
    base_rates: np.ndarray
    """(n_active,) share of all viewers in whom each fires."""
    percentiles: np.ndarray
    """(n_active,) share, in [0, 1], of the viewers in whom it fires that it fires in no more strongly; equal ones count
    half. NaN where it fires in no other viewer."""


def active_concepts(acts: np.ndarray, viewers: sparse.csc_matrix) -> Active:
    """Give the concepts that fire in a viewer, by how high the activation is among the viewers in whom each fires.

    Args:
        acts: (d_sae,) of the viewer.
        viewers: (n_users, d_sae) activations of all viewers, this one included or not.
    """
    active = np.flatnonzero(acts > 0)
    rates, places = np.zeros(len(active)), np.full(len(active), np.nan)
    for row, j in enumerate(active):
        column = viewers.data[viewers.indptr[j] : viewers.indptr[j + 1]]
        others = column[column > 0]
        rates[row] = len(others) / max(viewers.shape[0], 1)
        if len(others):
            places[row] = ((others < acts[j]).sum() + (others == acts[j]).sum() / 2) / len(others)
    order = np.lexsort((active, -acts[active], -np.nan_to_num(places, nan=-1.0)))
    return Active(active[order], acts[active][order], rates[order], places[order])
