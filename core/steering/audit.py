"""The taxonomy audit: which facts of a catalogue the neurons of an SAE see, and which of them move lists.

The items are cut in two by a hash of their ids. On one half the neuron of each concept is chosen; on the other half,
which the choice never looked at, it is measured: does it fire more on the concept's items than on others of the same
popularity, and does promoting it bring these items into the lists of viewers the SAE never saw, more than random
directions do? Every figure is of items and viewers that had no part in the choice.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtr

from core.neurons.concepts import Concept, mean_ranks
from core.neurons.contrast import adjusted
from core.neurons.separation import auc_interval
from core.recommenders.base import Recommender
from core.sae.model import SAE
from core.seeding import generator
from core.steering.lists import N_LISTED, Panel, shares, steered_lists
from core.steering.responses import LEAST_RISE, N_PARTS, N_RESAMPLES, STRENGTHS, mean_and_spread, mixtures

STEERED, SEEN, UNSEEN, FEW = "can be steered", "seen, not steered", "not seen", "too few items"
VERDICTS = (STEERED, SEEN, UNSEEN, FEW)
FEWEST_ITEMS = 10
"""Of a concept in each half of the catalogue; with fewer it is not judged."""
LEAST_AUC = 0.6
"""Below, a neuron that is better than chance is still too little to say that a concept is seen."""
FDR = 0.05
"""Of the concepts that pass a test, the share that may do so by chance, on average."""
N_PLACEBOS = 40
"""Random directions beside each neuron."""
N_CANDIDATES = 10
"""Neurons that are tried on lists, at most, before a concept's is chosen."""
N_STRATA = 10
"""Groups of equal popularity within which items are compared."""
DOSES = (0.0, 0.5, STRENGTHS[-1])
"""Strengths that are measured, in strong activations: none, that of the slope, the largest."""

EFFECTS = {"slope": (1, DOSES[1]), "rise": (2, 1.0)}
"""What is measured of an edit: a share gained, at which of the doses, and what it is divided by."""
OF_EFFECTS = tuple(f"{e}{part}" for e in EFFECTS for part in ("", "_low", "_high", "_placebo", "_spread", "_p"))
FIGURES = ("auc_chosen", "auc", "auc_low", "auc_high", "auc_p", "share", *OF_EFFECTS)


class Items(NamedTuple):
    """The items that an audit looks at."""

    acts: np.ndarray
    """(n_items, d_sae) activations of the items' probes."""
    explore: np.ndarray
    """(n_items,) bool: the half in which neurons are chosen."""
    strata: np.ndarray
    """(n_items,) int: the group of like popularity that each is in."""


class Lens(NamedTuple):
    """What steers, and on whom it is measured."""

    sae: SAE
    model: Recommender
    viewers: Panel
    strong: np.ndarray
    """(d_sae,) strong activation of each neuron; NaN or 0 for one that cannot be chosen."""


def popularity_strata(counts: np.ndarray, n_strata: int = N_STRATA) -> np.ndarray:
    """Give the (n_items,) group of each item, of equal sizes by popularity, the rarest first."""
    order = np.argsort(counts, kind="stable")
    out = np.empty(len(counts), np.int64)
    out[order] = np.arange(len(counts)) * n_strata // max(len(counts), 1)
    return out


def permuted(masks: np.ndarray, strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give (n_masks, n_items) concepts that mean nothing: as many items of each popularity, drawn at random."""
    out = np.zeros_like(masks)
    for stratum in np.unique(strata):
        items = np.flatnonzero(strata == stratum)
        for row in range(len(masks)):
            out[row, rng.permutation(items)[: int(masks[row, items].sum())]] = True
    return out


def stratified_auc(values: np.ndarray, masks: np.ndarray, strata: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give how much more neurons fire on the items of a concept than on others of the same popularity.

    The chance that the one of a pair that has the concept fires more, ties counted half, over all pairs of one stratum:
    the rank-sum statistics U of the strata, added up (van Elteren 1960, all pairs weighing alike). `z` is their sum in
    standard deviations of a permutation of the concept's items within strata, which knows of ties.

    Args:
        values: (n_items, n_neurons) activations.
        masks: (n_masks, n_items) bool.
        strata: (n_items,) int.

    Returns:
        (n_masks, n_neurons) AUC in [0, 1] and z; NaN where there is no pair, z also where nothing varies.
    """
    shape = (len(masks), values.shape[1])
    total, variance, pairs = np.zeros(shape), np.zeros(shape), np.zeros((len(masks), 1))
    for stratum in np.unique(strata):
        items = np.flatnonzero(strata == stratum)
        n = len(items)
        ranks = mean_ranks(np.maximum(values[items], 0))
        member = masks[:, items].astype(np.float64)
        n_with = member.sum(axis=1, keepdims=True)
        these = n_with * (n - n_with)
        total += member @ ranks - n_with * (n_with + 1) / 2
        variance += these / (n * max(n - 1, 1)) * np.square(ranks - (n + 1) / 2).sum(axis=0)
        pairs += these
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / pairs, np.where(variance > 0, (total - pairs / 2) / np.sqrt(variance), np.nan)


def audit(
    concepts: Sequence[Concept], items: Items, lens: Lens, seed: int, n_placebos: int = N_PLACEBOS
) -> pd.DataFrame:
    """Judge every concept.

    Args:
        concepts: Genres, tags and decades, with (n_items,) masks.
        items: Their activations, halves and popularity.
        lens: The SAE, the recommender, the viewers.
        seed: Of random directions and of the bootstrap.
        n_placebos: Random directions beside each neuron.

    Returns:
        One row a concept: `concept`, `kind`, `n_items`, `n_held_out`, `base_rate`; `neuron` (-1 where there is none),
        `auc_chosen` (on the half in which it was chosen); held out: `auc`, `auc_low`, `auc_high`, `auc_q`; `share` of
        the unsteered lists; `slope` (share gained per strong activation, between 0 and half of one) and `rise` (share
        gained at the largest strength), each with `_low`, `_high` (95 %, percentile bootstrap over viewers), `_placebo`
        and `_spread` (mean and standard deviation over random directions of the same norm) and `_q`; `verdict`. Shares
        are of lists of held-out items only: no item that had a part in the choice of the neuron is ranked. q-values are
        adjusted over the concepts (Benjamini, Hochberg 1995): of the permutation behind `stratified_auc`, and of
        Student's t of a slope or rise among those of the random directions.
    """
    masks = np.array([c.mask for c in concepts], bool).reshape(len(concepts), len(items.explore))
    in_half = np.stack([(masks & half).sum(axis=1) for half in (items.explore, ~items.explore)])
    enough = (in_half >= FEWEST_ITEMS).all(axis=0) & (in_half.sum(axis=0) < len(items.explore))
    usable = np.flatnonzero(np.nan_to_num(lens.strong) > 0)
    judged = np.flatnonzero(enough)
    frame = pd.DataFrame(
        {
            "concept": pd.Series([c.name for c in concepts], dtype="str"),
            "kind": pd.Series([c.kind for c in concepts], dtype="str"),
            "n_items": masks.sum(axis=1),
            "n_held_out": in_half[1],
            "base_rate": masks.mean(axis=1),
            "neuron": np.full(len(concepts), -1),
        }
    )
    found: dict[str, np.ndarray] = {}
    if judged.size and usable.size:
        found = _choose(masks[judged], items, lens, usable)
        frame.loc[judged, "neuron"] = found["neuron"]
        found |= _held_out(masks[judged], items, found["neuron"])
        found |= _steer(masks[judged], items.explore, found["neuron"], lens, seed, n_placebos)
    for name in FIGURES:
        frame[name] = np.nan
        if name in found:
            frame.loc[judged, name] = found[name]
    for name in ("auc", *EFFECTS):
        frame[f"{name}_q"] = adjusted(frame[f"{name}_p"].to_numpy())
    return frame.assign(verdict=_verdicts(frame, enough))


def _verdicts(frame: pd.DataFrame, enough: np.ndarray) -> pd.Series:
    seen = (frame["auc_q"] <= FDR) & (frame["auc"] >= LEAST_AUC)
    moved = (frame["rise_q"] <= FDR) & (frame["rise_low"] > 0) & (frame["rise"] >= LEAST_RISE)
    verdict = np.where(seen & moved, STEERED, np.where(seen, SEEN, UNSEEN))
    return pd.Series(np.where(enough, verdict, FEW), index=frame.index, dtype="str")


def _choose(masks: np.ndarray, items: Items, lens: Lens, usable: np.ndarray) -> dict[str, np.ndarray]:
    """Choose a neuron for each concept on one half of the items: of those that see it best the one that moves it most.

    Two neurons may tell the items apart as well, and one of them move lists ten times as far. Candidates are the first
    few by AUC whose AUC is within the 95 % interval of the best one's; what each gains at the largest strength is
    counted in lists of that half of the items.
    """
    there, n = items.explore, min(N_CANDIDATES, usable.size)
    first, _ = stratified_auc(items.acts[there][:, usable], masks[:, there], items.strata[there])
    first = np.nan_to_num(first, nan=0.0)
    candidates = np.argsort(-first, axis=1, kind="stable")[:, :n]
    aucs = np.take_along_axis(first, candidates, axis=1)
    gains = np.full(aucs.shape, -np.inf)
    n_with = masks[:, there].sum(axis=1)
    least, _ = auc_interval(aucs[:, 0], np.zeros(len(aucs)), n_with, there.sum() - n_with)
    near = aucs >= least[:, None]
    viewers = lens.viewers.without(~there)
    for column in np.unique(candidates[near]):
        neuron = usable[column]
        steps = float(lens.strong[neuron]) * np.array([0.0, DOSES[-1]])
        lists = steered_lists(lens.model, viewers, lens.sae.W_dec[neuron], steps, N_LISTED)
        for c, place in np.argwhere((candidates == column) & near):
            share = _shares(lists, masks[c])
            gains[c, place] = (share[:, 1] - share[:, 0]).mean()
    rows, best = np.arange(len(masks)), gains.argmax(axis=1)
    return {"neuron": usable[candidates[rows, best]], "auc_chosen": aucs[rows, best]}


def _held_out(masks: np.ndarray, items: Items, neurons: np.ndarray) -> dict[str, np.ndarray]:
    """Give how well each concept's neuron tells its items from others on the half that the choice never looked at."""
    there, rows = ~items.explore, np.arange(len(masks))
    distinct, place = np.unique(neurons, return_inverse=True)
    aucs, z = stratified_auc(items.acts[there][:, distinct], masks[:, there], items.strata[there])
    auc, z = aucs[rows, place], z[rows, place]
    n_with = masks[:, there].sum(axis=1)
    low, high = auc_interval(auc, np.zeros(len(auc)), n_with, there.sum() - n_with)
    return {"auc": auc, "auc_low": low, "auc_high": high, "auc_p": ndtr(-np.nan_to_num(z, nan=-np.inf))}


def _steer(
    masks: np.ndarray, explore: np.ndarray, neurons: np.ndarray, lens: Lens, seed: int, n_placebos: int
) -> dict[str, np.ndarray]:
    """Measure what promoting its neuron does to the held-out items of each concept, beside random directions."""
    sae, viewers = lens.sae, lens.viewers.without(explore)
    out = {name: np.full(len(masks), np.nan) for name in ("share", *OF_EFFECTS)}
    draws = generator(seed, "audit", "bootstrap").multinomial(
        viewers.n, np.full(viewers.n, 1 / viewers.n), N_RESAMPLES
    ) / viewers.n  # fmt: skip
    rows = sae.W_dec[np.nan_to_num(lens.strong) > 0]
    parts = [part for d in range(n_placebos) if (part := viewers.part(slice(d % N_PARTS, None, N_PARTS))).n]
    for neuron in np.unique(neurons):
        steps = float(lens.strong[neuron]) * np.array(DOSES)
        own = steered_lists(lens.model, viewers, sae.W_dec[neuron], steps, N_LISTED)
        rng = generator(seed, "audit", "placebo", str(neuron))
        directions = mixtures(rows, float(np.linalg.norm(sae.W_dec[neuron])), len(parts), rng)
        random = [
            steered_lists(lens.model, part, direction, steps, N_LISTED)
            for part, direction in zip(parts, directions, strict=True)
        ]
        for c in np.flatnonzero(neurons == neuron):
            share = _shares(own, masks[c])
            changes = np.array([_gains(_shares(lists, masks[c])).mean(axis=0) for lists in random])
            out["share"][c] = share[:, 0].mean()
            for column, (name, gain) in enumerate(zip(EFFECTS, _gains(share).T, strict=True)):
                centre, spread = mean_and_spread(changes[:, column])
                out[name][c], out[f"{name}_placebo"][c], out[f"{name}_spread"][c] = gain.mean(), centre, spread
                out[f"{name}_low"][c], out[f"{name}_high"][c] = np.quantile(draws @ gain, (0.025, 0.975))
                out[f"{name}_p"][c] = _beyond(float(gain.mean()), centre, spread, len(changes))
    return out


def _shares(lists: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give (n_viewers, n_doses) shares; for a viewer who has seen everything 0, whom nothing moves."""
    return np.nan_to_num(shares(lists, mask)).astype(np.float64)


def _gains(share: np.ndarray) -> np.ndarray:
    """Give (n_viewers, n_effects) of (n_viewers, n_doses) shares."""
    return np.stack([(share[:, dose] - share[:, 0]) / unit for dose, unit in EFFECTS.values()], axis=1)


def _beyond(value: float, centre: float, spread: float, n: int) -> float:
    """Give the one-sided chance of one more draw as large, among `n` of this mean and deviation (Student's t)."""
    if n < 2:
        return 1.0
    if spread == 0:
        return 0.0 if value > centre else 1.0
    return float(stdtr(n - 1, -(value - centre) / (spread * np.sqrt(1 + 1 / n))))
