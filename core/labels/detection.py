"""Can a label tell, of items that it was not made from, which ones fire the neuron? Samples, and what comes of them.

The positives of a sample are held-out items among the neuron's 20 strongest: the list that every page shows, whose
purity is reported, and that a label claims to describe. A neuron that fires on half of a catalogue fires weakly on most
of it; what its label has to say of those is reported beside it, for the 50 strongest.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from core.neurons.separation import wilson
from core.seeding import generator

STRONGEST, WIDE = 20, 50
MIN_ACTIVE = 12
"""A neuron that fires on fewer items is not tested."""
MIN_POSITIVES = 3
N_POSITIVES, N_RANDOM, N_ALIKE, N_SIMILAR, N_POPULAR = 16, 8, 3, 3, 2
N_HARD = N_ALIKE + N_SIMILAR + N_POPULAR
_NEAR = 50
"""Silent items of the nearest popularity, out of which some are drawn."""


class Sample(NamedTuple):
    """Held-out items on which the labels of one neuron are tested, whoever gave them."""

    positives: np.ndarray
    """(<= 16,) int64 items among the strongest."""
    random: np.ndarray
    """(<= 8,) int64 items that do not fire it."""
    hard: np.ndarray
    """(<= 8,) int64 items that do not fire it and could: like its own ones, of its neighbour, as popular."""

    @property
    def items(self) -> np.ndarray:
        """All of them, positives first."""
        return np.concatenate([self.positives, self.random, self.hard])


class Share(NamedTuple):
    """A balanced accuracy with its 95 % interval."""

    value: float
    low: float
    high: float


class Detection(NamedTuple):
    """How well a label told the positives of a sample from its two kinds of negatives."""

    random: Share
    hard: Share
    n_positives: int
    n_random: int
    n_hard: int


def sample_of(
    neuron: int,
    acts: np.ndarray,
    similar: np.ndarray | None,
    likeness: sparse.csr_matrix,
    counts: np.ndarray,
    explain: np.ndarray,
    seed: int,
    strongest: int = STRONGEST,
) -> Sample | None:
    """Draw the sample of a neuron; the same seed gives the same one. None where there is too little to test on.

    Half of the negatives are random among held-out items that do not fire it. The others are hard: the silent items
    most like the positives by what the catalogue says of them, those that fire the most similar neuron most, and some
    as popular as the positives. For a neuron that next to nothing leaves silent, the weakest tenth counts as silent.

    Args:
        neuron: Its index, for the seed.
        acts: (n_items,) its activations.
        similar: (n_items,) those of the most similar neuron, or None.
        likeness: (n_items, n_facts) of `core.neurons.examples.facts_of`.
        counts: (n_items,) how often each was consumed.
        explain: (n_items,) of `core.labels.split.explaining`: items that are never drawn.
        seed: Of the run.
        strongest: How many of its strongest items are positives.
    """
    order = np.argsort(-acts, kind="stable")
    order = order[acts[order] > 0]
    top = order[:strongest]
    positives = top[~explain[top]][:N_POSITIVES]
    if len(order) < MIN_ACTIVE or len(positives) < MIN_POSITIVES:
        return None
    silent = np.flatnonzero(~explain & (acts <= 0))
    if len(silent) < N_RANDOM + N_HARD:
        silent = np.flatnonzero(~explain & (acts <= np.quantile(acts[~explain], 0.1)))
        silent = silent[~np.isin(silent, top)]
    if len(silent) < 2 * MIN_POSITIVES:
        return None
    draw = generator(seed, "detection", str(neuron))
    random = np.sort(draw.choice(silent, min(N_RANDOM, len(silent) // 2), replace=False))
    left = silent[~np.isin(silent, random)]
    closeness = likeness[left] @ np.asarray(likeness[positives].mean(axis=0)).ravel()
    hard = left[np.lexsort((left, -np.round(closeness, 6)))[:N_ALIKE]]
    if similar is not None:
        left = left[~np.isin(left, hard)]
        theirs = left[np.lexsort((left, -similar[left]))[:N_SIMILAR]]
        hard = np.concatenate([hard, theirs[similar[theirs] > 0]])
    left = left[~np.isin(left, hard)]
    apart = np.abs(np.log1p(counts[left]) - np.median(np.log1p(counts[positives])))
    near = left[np.argsort(apart, kind="stable")][:_NEAR]
    n_left = min(N_HARD - len(hard), len(near))
    return Sample(positives, random, np.concatenate([hard, draw.choice(near, n_left, replace=False)]))


def detect(sample: Sample, says: np.ndarray) -> Detection:
    """Give what a label achieves on a sample.

    Args:
        sample: Of a neuron.
        says: (len(sample.items),) bool: whether the label says of each item that it fires the neuron.
    """
    n, m = len(sample.positives), len(sample.positives) + len(sample.random)
    hits = int(says[:n].sum())
    quiet = int((~says[n:m]).sum()), int((~says[m:]).sum())
    return Detection(
        balanced(hits, n, quiet[0], len(sample.random)), balanced(hits, n, quiet[1], len(sample.hard)),
        n, len(sample.random), len(sample.hard),
    )  # fmt: skip


def balanced(hits: int, n_positives: int, quiet: int, n_negatives: int) -> Share:
    """Give the balanced accuracy (hits / n_positives + quiet / n_negatives) / 2 with a 95 % interval.

    The interval of Wilson (1927) for one share of n = 4 / (1 / n_positives + 1 / n_negatives) trials, as many as make
    the variance that two shares of a half have: n_positives + n_negatives where both are equal.

    >>> [round(v, 3) for v in balanced(8, 8, 6, 8)]
    [0.875, 0.64, 0.965]
    """
    if not n_positives or not n_negatives:
        return Share(float("nan"), float("nan"), float("nan"))
    value = (hits / n_positives + quiet / n_negatives) / 2
    n = 4 / (1 / n_positives + 1 / n_negatives)
    low, high = wilson(np.array(value * n), np.array(n))
    return Share(value, float(low), float(high))
