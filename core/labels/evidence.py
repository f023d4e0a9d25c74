"""What a neuron is shown by to whoever names it: facts of the catalogue alone, nothing of any viewer.

Only items of the explaining part (`core.labels.split`) are ever shown. A neuron has 18 items that fire it, from its
strongest to a quarter of that, and 8 that do not: 4 as like them as the catalogue can tell, 2 that fire the most
similar neuron, 2 as popular. Of a series at most two items are shown.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse

from core.data.dataset import Dataset
from core.data.groups import popularity_groups
from core.labels.screen import FACT_CHARS, clean, gives_orders, words
from core.labels.split import explaining
from core.neurons.concepts import concepts_of
from core.neurons.examples import facts_of
from core.neurons.series import at_most, series_of
from core.seeding import generator

MIN_ACTIVE = 12
"""A neuron that fires on fewer items is not named from items."""
MIN_SHOWN = 4
N_ACTIVE, N_HARD, N_SIMILAR, N_POPULAR = 18, 4, 2, 2
BANDS = (0.75, 0.5, 0.25)
"""Lower ends of the parts of a neuron's range that are shown alike, as shares of its highest activation."""
N_COUNTED = 50
"""Strongest items whose facts are counted."""
N_CANDIDATES = 50
"""Items among which those that do not fire are chosen, so that no series fills them."""
N_TERMS = 10
MIN_CARRIERS = 3
"""A fact that fewer of the counted items have is not counted."""
_POPULAR = ("widely known", "known to some", "little known")


class Shown(NamedTuple):
    """One item as a prompt shows it."""

    id: str
    """A1, A2, ... for items that fire the neuron, N1, N2, ... for those that do not: nothing of the catalogue."""
    item: int
    strength: int
    """Tenths of the highest activation of an explaining item, 1 to 10; 0 where it does not fire."""


class Term(NamedTuple):
    """How often a fact holds for the counted items."""

    name: str
    n: int
    of: int
    base_rate: float

    @property
    def lift(self) -> float:
        """How many times as often as in the catalogue."""
        return self.n / self.of / self.base_rate


class Evidence(NamedTuple):
    """What one neuron is shown by."""

    neuron: int
    active: tuple[Shown, ...]
    silent: tuple[Shown, ...]
    terms: tuple[Term, ...]
    """Most telling first."""
    firing: np.ndarray
    """(n,) int64: every explaining item that fires it, strongest first."""


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items of a dataset as prompts show them.

    Attributes:
        titles: Cleaned titles; None where one gives orders, and is never shown.
        years: Or None.
        fact_names: Cleaned names of genres, tags and decades that at least ten items have.
        has: (n_items, n_facts) bool, sparse rows: which item has which.
        facts: The same with rare facts weighing more, rows of unit length.
        series: (n_items,) the series of each title.
        counts: (n_items,) how often each was consumed; nothing but its third of the catalogue is shown.
        groups: (n_items,) 0 head, 1 mid, 2 tail.
        explain: (n_items,) bool, see `core.labels.split`.
        ids: The items' ids in the catalogue.
    """

    titles: tuple[str | None, ...]
    years: tuple[int | None, ...]
    fact_names: tuple[str, ...]
    has: sparse.csr_matrix
    facts: sparse.csr_matrix
    series: np.ndarray
    counts: np.ndarray
    groups: np.ndarray
    explain: np.ndarray
    ids: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Dataset) -> "Catalogue":
        """Prepare a dataset's items."""
        raw = dataset.titles()
        concepts = [c for c in concepts_of(dataset) if not gives_orders(c.name)]
        masks = np.array([c.mask for c in concepts], bool).reshape(len(concepts), dataset.n_items)
        years = dataset.item_table["year"]
        return cls(
            titles=tuple(None if gives_orders(title) else clean(title) for title in raw),
            years=tuple(None if missing else int(year) for year, missing in zip(years, years.isna(), strict=True)),
            fact_names=tuple(clean(c.name, FACT_CHARS) for c in concepts),
            has=sparse.csr_matrix(masks.T),
            facts=facts_of(concepts, dataset.n_items),
            series=series_of(raw),
            counts=dataset.item_counts,
            groups=popularity_groups(dataset.item_counts),
            explain=explaining(dataset.items.ids),
            ids=dataset.items.ids,
        )

    def facts_about(self, item: int) -> list[str]:
        """Give the names of the facts of an item."""
        return [self.fact_names[f] for f in self.has.indices[self.has.indptr[item] : self.has.indptr[item + 1]]]

    def popularity(self, item: int) -> str:
        """Say how widely an item is known."""
        return _POPULAR[self.groups[item]]

    def count(self, items: np.ndarray) -> np.ndarray:
        """Give the (n_facts,) number of some items that have each fact."""
        chosen = [self.has.indices[self.has.indptr[i] : self.has.indptr[i + 1]] for i in items]
        return np.bincount(np.concatenate(chosen) if chosen else [], minlength=len(self.fact_names))

    def likeness(self, items: Sequence[int]) -> np.ndarray:
        """Give the (n_items,) mean cosine of each item's facts with those of some items."""
        inside = [slice(self.facts.indptr[i], self.facts.indptr[i + 1]) for i in items]
        profile = np.zeros(len(self.fact_names), np.float32)
        for part in inside:
            profile[self.facts.indices[part]] += self.facts.data[part]
        return np.asarray(self.facts @ (profile / max(len(items), 1)))

    @cached_property
    def n_explaining(self) -> int:
        """How many items are of the explaining part."""
        return int(self.explain.sum())

    @cached_property
    def log_counts(self) -> np.ndarray:
        """(n_items,) ln(1 + how often each was consumed)."""
        return np.log1p(self.counts)

    @cached_property
    def base_rates(self) -> np.ndarray:
        """(n_facts,) the share of the explaining items that have each fact."""
        return np.asarray(self.has[self.explain].mean(axis=0)).ravel()

    @cached_property
    def carriers(self) -> dict[str, frozenset[int]]:
        """The explaining items that carry each word, in their title or in one of their facts."""
        found: dict[str, list[int]] = {}
        spoken = [set(words(name)) for name in self.fact_names]
        for item in np.flatnonzero(self.explain).tolist():
            facts = self.has.indices[self.has.indptr[item] : self.has.indptr[item + 1]]
            for word in set(words(self.titles[item] or "")).union(*(spoken[f] for f in facts)):
                found.setdefault(word, []).append(item)
        return {word: frozenset(items) for word, items in found.items()}


def evidence_of(
    neuron: int, acts: np.ndarray, similar: np.ndarray | None, catalogue: Catalogue, seed: int
) -> Evidence | None:
    """Choose what a neuron is shown by; the same seed gives the same. None where it fires on too few items.

    Args:
        neuron: Its index, for the seed.
        acts: (n_items,) its activations.
        similar: (n_items,) activations of the most similar neuron, or None.
        catalogue: The items.
        seed: Of the run.
    """
    explain = catalogue.explain
    if (acts > 0).sum() < MIN_ACTIVE:
        return None
    floor = _floor(acts[explain])
    firing = np.flatnonzero(explain & (acts > floor))
    firing = firing[np.argsort(-acts[firing], kind="stable")]
    if not firing.size:
        return None
    highest = float(acts[firing[0]])
    seen: Counter[int] = Counter()
    draw = generator(seed, "labels", str(neuron))
    active = _bands(firing, acts / highest, catalogue.series, seen, draw)
    if len(active) < MIN_SHOWN:
        return None
    active.sort(key=lambda i: (-acts[i], i))
    silent = np.flatnonzero(explain & (acts <= floor))
    chosen = _contrast(silent, active, similar, catalogue, seen, draw)
    return Evidence(
        neuron,
        tuple(Shown(f"A{n}", i, max(1, round(10 * float(acts[i]) / highest))) for n, i in enumerate(active, 1)),
        tuple(Shown(f"N{n}", i, 0) for n, i in enumerate(sorted(chosen), 1)),
        terms_of(firing[:N_COUNTED], catalogue),
        firing,
    )


def terms_of(items: np.ndarray, catalogue: Catalogue) -> tuple[Term, ...]:
    """Count the facts of some items against the explaining part of the catalogue; those that speak most come first.

    In the order of the binomial log-likelihood ratio `m KL(p || b)`, those above their base rate only.
    """
    base = catalogue.base_rates
    n, m = catalogue.count(items), max(len(items), 1)
    p = n / m
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(p > 0, p * np.log(p / base), 0) + np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - base)), 0)
    telling = np.flatnonzero((n >= MIN_CARRIERS) & (p > base) & np.isfinite(ratio))
    order = telling[np.argsort(-ratio[telling], kind="stable")][:N_TERMS]
    return tuple(Term(catalogue.fact_names[f], int(n[f]), len(items), float(base[f])) for f in order)


def _floor(acts: np.ndarray) -> float:
    """Give the activation up to which an item counts as silent: 0, or for a neuron that is never silent its tenth."""
    enough = N_HARD + N_SIMILAR + N_POPULAR
    return 0.0 if (acts <= 0).sum() >= enough else max(0.0, float(np.quantile(acts, 0.1)))


def _bands(
    firing: np.ndarray, share: np.ndarray, series: np.ndarray, seen: Counter[int], draw: np.random.Generator
) -> list[int]:
    """Choose a third of the items from each band, the strongest of the first one, and fill up from the strongest."""
    chosen: list[int] = []
    upper = np.inf
    for band, lower in enumerate(BANDS):
        inside = firing[(share[firing] >= lower) & (share[firing] < upper)]
        order: Iterable[int] = inside if band == 0 else draw.permutation(inside)
        chosen += at_most(order, series, N_ACTIVE // len(BANDS), seen)
        upper = lower
    left = firing[~np.isin(firing, chosen)]
    return chosen + at_most(left, series, N_ACTIVE - len(chosen), seen)


def _contrast(
    silent: np.ndarray,
    active: Sequence[int],
    similar: np.ndarray | None,
    catalogue: Catalogue,
    seen: Counter[int],
    draw: np.random.Generator,
) -> list[int]:
    """Choose the items that do not fire the neuron: hard, of the most similar neuron, as popular."""
    likeness = catalogue.likeness(active)[silent].round(6)
    alike = silent[_first(-likeness, N_CANDIDATES)]
    chosen = at_most(alike[: (likeness > 0).sum()], catalogue.series, N_HARD, seen)
    if similar is not None:
        theirs = silent[(similar[silent] > 0) & ~np.isin(silent, chosen)]
        chosen += at_most(theirs[np.argsort(-similar[theirs], kind="stable")], catalogue.series, N_SIMILAR, seen)
    n_left = N_HARD + N_SIMILAR + N_POPULAR - len(chosen)
    left = silent[~np.isin(silent, chosen)]
    apart = np.abs(catalogue.log_counts[left] - np.median(catalogue.log_counts[list(active)]))
    near = left[_first(apart, N_CANDIDATES)]
    return chosen + at_most(draw.permutation(near), catalogue.series, n_left, seen)


def _first(values: np.ndarray, n: int) -> np.ndarray:
    """Give the positions of the `n` smallest values, smallest first, equal ones in their order."""
    if len(values) > n:
        among = np.flatnonzero(values <= np.partition(values, n - 1)[n - 1])
        return among[np.argsort(values[among], kind="stable")][:n]
    return np.argsort(values, kind="stable")
