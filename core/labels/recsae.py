"""RecSAE's way to name and test a latent (Wang et al. 2024, arXiv 2411.06112): TF-IDF terms, a name, a verification.

The paper's code for this is not released; this follows its text. A latent is shown by the 10 items that activate it
most and 10 drawn from those that do not, with the terms of highest TF-IDF among its strongest items. A second prompt,
which shows the name alone, then judges 5 activating and 5 other items that were kept apart: precision, recall and F1
are the confidence in the name. Departure: the paper's latents are of sequences; here items are probed one by one.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
from scipy import sparse

from core.labels.evidence import MIN_ACTIVE, MIN_SHOWN, N_COUNTED, N_TERMS, Catalogue, Evidence, Shown, Term
from core.neurons.series import at_most
from core.seeding import generator

N_SHOWN, N_HELD_OUT = 10, 5


class HeldOut(NamedTuple):
    """Items for the second step, in random order."""

    items: tuple[int, ...]
    active: frozenset[int]


class Confidence(NamedTuple):
    """How well a name told held-out items that activate a latent from others; NaN where there were too few."""

    precision: float
    recall: float
    f1: float


UNKNOWN = Confidence(np.nan, np.nan, np.nan)


def tf_idf(acts: sparse.csc_matrix, catalogue: Catalogue) -> np.ndarray:
    """Give (n_facts, d_sae) TF-IDF of each fact in each neuron's 50 strongest explaining items, a neuron a document.

    `M_tj = sum_i P_ti a_ij` with P an item's facts as shares; `tf = M / sum_t M`; `idf = ln((D + 1) / (df + 1)) + 1`
    over the D neurons with any such item.
    """
    n_facts = np.maximum(np.diff(catalogue.has.indptr), 1)
    shares = sparse.csr_matrix(sparse.diags(1 / n_facts) @ catalogue.has.astype(np.float64))
    mass = np.zeros((len(catalogue.fact_names), acts.shape[1]))
    for j in range(acts.shape[1]):
        column = acts[:, [j]].tocoo()
        items, values = column.row[catalogue.explain[column.row]], column.data[catalogue.explain[column.row]]
        strongest = np.argsort(-values, kind="stable")[:N_COUNTED]
        strongest = strongest[values[strongest] > 0]
        mass[:, j] = shares[items[strongest]].T @ values[strongest].astype(np.float64)
    total = mass.sum(axis=0)
    tf = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    idf = np.log(((total > 0).sum() + 1) / ((mass > 0).sum(axis=1) + 1)) + 1
    return tf * idf[:, None]


def recsae_evidence(
    neuron: int, acts: np.ndarray, weights: np.ndarray, catalogue: Catalogue, seed: int
) -> tuple[Evidence, HeldOut | None] | None:
    """Choose what a neuron is shown by and verified on; the same seed gives the same. None where too few items fire it.

    Args:
        neuron: Its index.
        acts: (n_items,) its activations.
        weights: (n_facts,) its column of `tf_idf`.
        catalogue: The items.
        seed: Of the run.
    """
    if (acts > 0).sum() < MIN_ACTIVE:
        return None
    draw = generator(seed, "recsae", str(neuron))
    order = np.argsort(-acts, kind="stable")
    firing = order[(acts[order] > 0) & catalogue.explain[order]]
    silent = draw.permutation(np.flatnonzero((acts <= 0) & catalogue.explain))
    seen: Counter[int] = Counter()
    active = at_most(firing, catalogue.series, N_SHOWN, seen)
    if len(active) < MIN_SHOWN:
        return None
    others = at_most(silent, catalogue.series, N_SHOWN, seen)
    highest = float(acts[active[0]])
    evidence = Evidence(
        neuron,
        tuple(Shown(f"A{n}", i, max(1, round(10 * float(acts[i]) / highest))) for n, i in enumerate(active, 1)),
        tuple(Shown(f"N{n}", i, 0) for n, i in enumerate(others, 1)),
        _terms(firing[:N_COUNTED], weights, catalogue),
        firing,
    )
    return evidence, _held_out(acts, order, catalogue, draw)


def confidence(held_out: HeldOut, fits: set[int]) -> Confidence:
    """Give precision, recall and F1 of the items that were judged to fit; no item that fits is a precision of 0.

    >>> confidence(HeldOut((1, 2, 3, 4), frozenset({1, 2})), {1, 3})
    Confidence(precision=0.5, recall=0.5, f1=0.5)
    """
    right = len(fits & held_out.active)
    precision, recall = right / max(len(fits), 1), right / len(held_out.active)
    return Confidence(precision, recall, 2 * right / (len(fits) + len(held_out.active)))


def _terms(items: np.ndarray, weights: np.ndarray, catalogue: Catalogue) -> tuple[Term, ...]:
    n, base = catalogue.count(items), catalogue.base_rates
    order = [int(f) for f in np.argsort(-weights, kind="stable")[:N_TERMS] if weights[f] > 0 and n[f] > 0]
    return tuple(Term(catalogue.fact_names[f], int(n[f]), len(items), float(base[f])) for f in order)


def _held_out(acts: np.ndarray, order: np.ndarray, catalogue: Catalogue, draw: np.random.Generator) -> HeldOut | None:
    apart = ~catalogue.explain
    firing = order[(acts[order] > 0) & apart[order]][:N_COUNTED]
    silent = np.flatnonzero((acts <= 0) & apart)
    if min(len(firing), len(silent)) < N_HELD_OUT:
        return None
    active = draw.choice(firing, N_HELD_OUT, replace=False)
    items = draw.permutation(np.concatenate([active, draw.choice(silent, N_HELD_OUT, replace=False)]))
    return HeldOut(tuple(items.tolist()), frozenset(active.tolist()))
