"""RecSAE's numbers for a whole SAE: how much of a catalogue its labels name, how alike what a neuron fires on is."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from core.labels.rules import Rule
from core.seeding import generator

N_COHERENT = 10
"""Strongest items whose facts are compared."""
_KINDS = ("genre", "tag")


class Coverage(NamedTuple):
    """Of the catalogue's genres and tags, how many a trusted label names."""

    named: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def share(self) -> float:
        """In [0, 1]; NaN where the catalogue has none."""
        n = len(self.named) + len(self.missing)
        return len(self.named) / n if n else float("nan")


class Texture(NamedTuple):
    """How alike the facts of items are, as TF-IDF cosines."""

    coherence: float
    """Mean cosine of two of the 10 strongest items of a neuron, mean over neurons."""
    chance: float
    """The same for random items."""
    distinctness: float
    """1 - mean cosine of the mean facts of two neurons."""
    n: int


def coverage(facts: Iterable[tuple[str, str]], rules: Iterable[Rule]) -> Coverage:
    """Give the genres and tags that rules name (RecSAE, arXiv 2411.06112 v3: concept coverage of item features).

    Args:
        facts: Names and kinds of all facts of the catalogue.
        rules: Labels that held on items that they were not made from.
    """
    known = [name for name, kind in facts if kind in _KINDS]
    said = {fact.name for rule in rules for fact in rule.facts if fact.kind in _KINDS}
    return Coverage(tuple(n for n in known if n in said), tuple(n for n in known if n not in said))


def texture(top_items: np.ndarray, neurons: Sequence[int], likeness: sparse.csr_matrix, seed: int) -> Texture:
    """Give coherence and distinctness (RecSAE v3: text similarity within and between latents).

    With rows of unit length, the mean cosine of the n (n - 1) pairs is (|sum|^2 - sum |x|^2) / n (n - 1).

    Args:
        top_items: (d_sae, >= 10), strongest first, -1 padded.
        neurons: Those that fire on 10 items.
        likeness: (n_items, n_facts) unit rows of `core.neurons.examples.facts_of`.
        seed: Of the run, for random items.
    """
    full = [j for j in neurons if (top_items[j, :N_COHERENT] >= 0).all()]
    if len(full) < 2 or not likeness.shape[1]:
        return Texture(float("nan"), float("nan"), float("nan"), len(full))
    tops = top_items[full, :N_COHERENT]
    draw = generator(seed, "texture")
    random = np.stack([draw.choice(likeness.shape[0], N_COHERENT, replace=False) for _ in full])
    sums = _sums(tops, likeness)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    unit = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    n = len(full)
    between = (np.linalg.norm(unit.sum(axis=0)) ** 2 - (unit**2).sum()) / (n * (n - 1))
    return Texture(_within(tops, likeness), _within(random, likeness), float(1 - between), n)


def _sums(lists: np.ndarray, likeness: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(likeness[lists.ravel()].toarray(), np.float64).reshape(*lists.shape, -1).sum(axis=1)


def _within(lists: np.ndarray, likeness: sparse.csr_matrix) -> float:
    own = np.asarray(likeness.multiply(likeness).sum(axis=1)).ravel()[lists].sum(axis=1)
    n = lists.shape[1]
    return float((((_sums(lists, likeness) ** 2).sum(axis=1) - own) / (n * (n - 1))).mean())
