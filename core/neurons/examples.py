"""What makes a neuron fire, from every side: items from all over its range, near ones that do not fire, and viewers."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from core.neurons.concepts import Concept
from core.neurons.series import at_most
from core.recommenders.base import Recommender
from core.sae.model import SAE
from core.seeding import generator

BANDS: dict[str, tuple[float, float]] = {"90-99": (0.90, 0.99), "50-90": (0.50, 0.90), "1-50": (0.01, 0.50)}
"""Name to the percentiles of the items that fire: from the first, below the second."""
N_LEFT_OUT = 64
"""Items of a history that are left out in turn: bounds what a long history costs."""


class Band(NamedTuple):
    """Some items out of one part of a neuron's range."""

    items: np.ndarray
    """(n,) int64, strongest first."""
    acts: np.ndarray
    """(n,) float32 activations; of near misses 0."""
    n_all: int
    """How many items lie in this part."""


class Examples(NamedTuple):
    """Items that show what a neuron answers to. No item is in two bands."""

    n_firing: int
    top: Band
    bands: dict[str, Band]
    """By the names of `BANDS`."""
    near: Band
    """Most like the top items by what the catalogue says of them, and yet it does not fire."""


def facts_of(concepts: Sequence[Concept], n_items: int) -> sparse.csr_matrix:
    """Give (n_items, n_concepts) rows of unit length (0 where nothing is known): genres, tags and decades.

    Rare facts weigh more, by `ln(n_items / n_having)`: two heist films are more alike than two dramas.
    """
    masks = np.array([c.mask for c in concepts], bool).reshape(len(concepts), n_items)
    weight = np.log(n_items / np.maximum(masks.sum(axis=1), 1)) + 1e-9
    rows = sparse.csr_matrix(masks.T * weight.astype(np.float32))
    length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(length, 1e-12)) @ rows, dtype=np.float32)


def examples_of(
    acts: np.ndarray,
    series: np.ndarray,
    facts: sparse.csr_matrix,
    counts: np.ndarray,
    seed: int,
    neuron: int,
    n_top: int = 8,
    n: int = 5,
) -> Examples:
    """Choose examples of one neuron; the same seed gives the same ones.

    The percentile of a firing item is the share of the firing items that it is above, ties half. `top` are the
    strongest; of each band some are drawn at random, so that they stand for it. Near misses have the highest cosine of
    `facts` with the mean of the top items, more consumed ones first among equals. Over all of them together at most two
    titles of a series are chosen.

    Args:
        acts: (n_items,) activations of the items.
        series: (n_items,) of `core.neurons.series.series_of`.
        facts: Of `facts_of`.
        counts: (n_items,) how often each item was consumed.
        seed: Of the run.
        neuron: Its index, for the seed.
        n_top: How many of the strongest.
        n: How many of each band, and of the near misses.
    """
    firing = np.flatnonzero(acts > 0)
    order = firing[np.argsort(-acts[firing], kind="stable")]
    shown: Counter[int] = Counter()
    top = at_most(order, series, n_top, shown)
    above = 1 - (np.arange(order.size) + 0.5) / max(order.size, 1)
    bands = {}
    for name, (low, high) in BANDS.items():
        inside = order[(above >= low) & (above < high)]
        drawn = generator(seed, "examples", str(neuron), name).permutation(inside[~np.isin(inside, top)])
        bands[name] = _band(at_most(drawn, series, n, shown), acts, inside.size)
    likeness = facts @ np.asarray(facts[top].mean(axis=0)).ravel() if top else np.zeros(len(acts))
    silent = np.flatnonzero((acts <= 0) & (likeness > 0))
    nearest = silent[np.lexsort((silent, -counts[silent], -likeness[silent].round(6)))]
    near = np.array(at_most(nearest, series, n, shown), np.int64)
    return Examples(
        int(order.size), _band(top, acts, len(top)), bands, Band(near, np.zeros(near.size, np.float32), silent.size)
    )


class LeftOut(NamedTuple):
    """How much of a viewer's activation rests on which items of the history."""

    activation: float
    """With the whole history, folded in."""
    items: np.ndarray
    """(n,) those that were left out in turn, in the order of the history."""
    lost: np.ndarray
    """(n,) the share of the activation that goes with each; negative where it grows; NaN where there is none."""


def leave_one_out(
    model: Recommender, sae: SAE, history: np.ndarray, neuron: int, item_acts: np.ndarray, most: int = N_LEFT_OUT
) -> LeftOut:
    """Embed a history without each of its items in turn: `lost_i = 1 - a(h without i) / a(h)`.

    This holds for any recommender. The shares need not sum to 1: items stand in for each other, and the neuron may lose
    its place among the k that are active. A viewer that a brought model knows by a vector of its own is folded in here.

    Args:
        model: Fitted.
        sae: On its embeddings.
        history: The items of a viewer, oldest first.
        neuron: Which.
        item_acts: (n_items,) activation of each item alone. Of a history with more than `most` items those are left out
            that fire most alone, the latest first among equals.
        most: See `item_acts`.
    """
    history = np.asarray(history, np.int64)
    latest = np.arange(len(history))[::-1]
    places = np.sort(np.lexsort((latest, -item_acts[history]))[:most])
    rows = [history, *(np.delete(history, place) for place in places)]
    acts = sae.encode(model.embed(rows))[:, neuron].astype(np.float64)
    lost = 1 - acts[1:] / acts[0] if acts[0] > 0 else np.full(len(places), np.nan)
    return LeftOut(float(acts[0]), history[places], lost)


def _band(items: Sequence[int], acts: np.ndarray, n_all: int) -> Band:
    chosen = np.array(items, np.int64)
    chosen = chosen[np.argsort(-acts[chosen], kind="stable")]
    return Band(chosen, acts[chosen], int(n_all))
