"""Figures of neurons that need no concepts: when they fire, how popular and how alike their items are, neighbours."""

import numpy as np
import pandas as pd
from scipy import sparse

from core.data.dataset import Dataset
from core.data.groups import popularity_groups
from core.neurons.concepts import LENGTHS, top_firing
from core.neurons.shards import Stats

STRONG_QUANTILE = 0.95
_CHUNK = 512
"""Neurons at a time where a step needs memory for each pair."""


def firing(item_acts: np.ndarray, users: Stats) -> pd.DataFrame:
    """Give how often and how strongly each neuron fires: the first columns of `NeuronTable.frame`."""
    n_items, n_users, total = (item_acts > 0).sum(axis=0), users.n_firing, users.total
    highest = np.maximum(item_acts.max(axis=0, initial=0), users.highest).astype(np.float64)
    alive = (n_items > 0) | (n_users > 0)
    return pd.DataFrame(
        {
            "neuron": np.arange(item_acts.shape[1]),
            "alive": alive,
            "density_items": n_items / max(len(item_acts), 1),
            "density_users": n_users / max(users.n_rows, 1),
            "n_items_firing": n_items,
            "n_users_firing": n_users,
            "mean_activation": np.divide(total, n_users, out=np.full(len(total), np.nan), where=n_users > 0),
            "max_activation": np.where(alive, highest, np.nan),
            "strong_activation": np.where(n_users > 0, users.quantile(STRONG_QUANTILE), _strong(item_acts)),
        }
    )


def popularity(
    item_acts: np.ndarray, top_items: np.ndarray, top_users: np.ndarray, dataset: Dataset
) -> dict[str, np.ndarray]:
    """Give the columns of `NeuronTable.frame` about popularity: of the items and of the top viewers' histories.

    Without any interaction nothing is known of popularity: NaN.
    """
    names = ("head", "mid", "tail")
    if not dataset.n_interactions:
        columns = [f"{name}_share" for name in names] + [f"viewer_{name}_share" for name in names]
        columns += [f"popularity_percentile_at_{n}" for n in LENGTHS]
        return {name: np.full(len(top_items), np.nan) for name in columns}
    groups = popularity_groups(dataset.item_counts)
    member = np.stack([groups == g for g in range(3)], axis=1).astype(np.float64)
    mass = np.maximum(item_acts, 0).T.astype(np.float64) @ member
    total = mass.sum(axis=1, keepdims=True)
    shares = np.divide(mass, total, out=np.full(mass.shape, np.nan), where=total > 0)
    histories = dataset.matrix()
    lengths = np.diff(histories.indptr)[:, None]
    of_user = np.divide(histories @ member, lengths, out=np.full((dataset.n_users, 3), np.nan), where=lengths > 0)
    out = {f"{name}_share": shares[:, g] for g, name in enumerate(names)}
    for g, name in enumerate(names):
        out[f"viewer_{name}_share"] = _mean_at(of_user[:, g], top_users, top_users.shape[1], 1)
    place = np.empty(dataset.n_items)
    place[np.argsort(-dataset.item_counts, kind="stable")] = np.arange(dataset.n_items) / max(dataset.n_items, 1)
    for n in LENGTHS:
        out[f"popularity_percentile_at_{n}"] = _mean_at(place, top_items, n, n)
    return out


def audience_items(
    top_users: np.ndarray, top_user_acts: np.ndarray, dataset: Dataset, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give the items that the top viewers of each neuron have in common and other viewers have not.

    By their excess: the share of the top viewers, weighted by activation, whose history holds the item, less the share
    of all viewers whose history does.

    Returns:
        (n_neurons, n) int32 items of the largest excess above 0, -1 padded; (n_neurons, n) float32 excess, NaN padded.
    """
    acts = np.nan_to_num(top_user_acts).astype(np.float64)
    total, there = acts.sum(axis=1, keepdims=True), top_users >= 0
    weight = np.divide(acts, total, out=np.zeros_like(acts), where=total > 0)[there]
    chosen = sparse.csr_matrix((weight, (np.nonzero(there)[0], top_users[there])), (len(top_users), dataset.n_users))
    excess = (chosen @ dataset.matrix()).toarray() - dataset.item_counts / max(dataset.n_users, 1)
    top = top_firing(excess.T, n)
    return top, values_at(excess.T, top)


def monosemanticity(item_acts: np.ndarray, X_items: np.ndarray, n: int = 30) -> np.ndarray:
    """Give how alike the items are that fire each neuron most (Pach et al. 2025, as used by Arviv et al. 2026).

    `sum_{i != k} a_i a_k cos(x_i, x_k) / sum_{i != k} a_i a_k` over the `n` top firing items, `a` min-max scaled over
    all items. With s = sum a_i x_i / |x_i| the numerator is |s|^2 - sum a_i^2, so no pair is ever formed.

    Args:
        item_acts: (n_items, d_sae).
        X_items: (n_items, d_in) original embeddings, not the reconstructed ones.
        n: How many top items.

    Returns:
        (d_sae,) in [-1, 1]; NaN where fewer than two items fire or all fire alike.
    """
    low, high = item_acts.min(axis=0).astype(np.float64), item_acts.max(axis=0).astype(np.float64)
    length = np.linalg.norm(X_items.astype(np.float64), axis=1, keepdims=True)
    unit = np.divide(X_items, length, out=np.zeros(X_items.shape), where=length > 0)
    top = top_firing(item_acts, n)
    values = values_at(item_acts, top).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        a = np.nan_to_num((values - low[:, None]) / (high - low)[:, None])
    score = np.full(len(top), np.nan)
    for start in range(0, len(top), _CHUNK):
        rows, weight = top[start : start + _CHUNK], a[start : start + _CHUNK]
        s = np.einsum("jt,jtd->jd", weight, unit[rows])
        own = np.einsum("jt,jt->j", weight**2, (unit**2).sum(axis=1)[rows])
        pairs = weight.sum(axis=1) ** 2 - (weight**2).sum(axis=1)
        numerator = (s**2).sum(axis=1) - own
        np.divide(numerator, pairs, out=score[start : start + _CHUNK], where=pairs > 1e-12)
    return score


def nearest(W_dec: np.ndarray, alive: np.ndarray, n: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Give the `n` alive neurons whose decoder rows have the highest cosine with each alive neuron's row; exact.

    Returns:
        (d_sae, n) int32 neurons, nearest first, -1 padded; (d_sae, n) float32 cosines, NaN padded. Dead ones have none.
    """
    length = np.linalg.norm(W_dec, axis=1, keepdims=True)
    unit = np.divide(W_dec, length, out=np.zeros_like(W_dec), where=length > 0)
    neurons = np.flatnonzero(alive)
    neighbours = np.full((len(W_dec), n), -1, np.int32)
    cosine = np.full((len(W_dec), n), np.nan, np.float32)
    for start in range(0, neurons.size, _CHUNK):
        rows = neurons[start : start + _CHUNK]
        similar = unit[rows] @ unit[neurons].T
        similar[np.arange(rows.size), np.arange(start, start + rows.size)] = -np.inf
        order = np.argsort(-similar, axis=1, kind="stable")[:, : min(n, neurons.size - 1)]
        neighbours[rows, : order.shape[1]] = neurons[order]
        cosine[rows, : order.shape[1]] = np.take_along_axis(similar, order, axis=1)
    return neighbours, cosine


def histogram(acts: np.ndarray, highest: np.ndarray, n_bins: int) -> np.ndarray:
    """Give the (d_sae, n_bins) counts of values above 0 in equal bins from 0 to each neuron's `highest`."""
    rows, neurons = np.nonzero(acts > 0)
    bins = np.minimum(acts[rows, neurons] / highest[neurons] * n_bins, n_bins - 1).astype(np.int64)
    counts = np.bincount(neurons * n_bins + bins, minlength=acts.shape[1] * n_bins)
    return counts.reshape(acts.shape[1], n_bins)


def values_at(acts: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Give the (d_sae, n) float32 activations of (d_sae, n) top lists, NaN where a list is padded."""
    values = acts[top, np.arange(len(top))[:, None]].astype(np.float32)
    values[top < 0] = np.nan
    return values


def _strong(acts: np.ndarray) -> np.ndarray:
    """Give the 95th percentile of each neuron's values above 0, between two values linearly; NaN where none is."""
    out = np.full(acts.shape[1], np.nan)
    for j in np.flatnonzero((acts > 0).any(axis=0)):
        column = acts[:, j]
        out[j] = np.quantile(column[column > 0], STRONG_QUANTILE)
    return out


def _mean_at(values: np.ndarray, top: np.ndarray, n: int, at_least: int) -> np.ndarray:
    """Give the mean of known `values` over the first `n` of each list; NaN where fewer than `at_least` are there."""
    chosen = np.where(top[:, :n] >= 0, values[top[:, :n]], np.nan)
    there = (~np.isnan(chosen)).sum(axis=1)
    return np.divide(np.nansum(chosen, axis=1), there, out=np.full(len(top), np.nan), where=there >= max(at_least, 1))
