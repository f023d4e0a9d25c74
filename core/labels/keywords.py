"""Names for neurons in the catalogue's own words, offline and deterministic: "Horror · 1980s", "Mainstream hits".

A name is a rule (`core.labels.rules`): it says of each item whether it belongs, so it can be wrong, and is tested on
items that it was not made from (`core.labels.split`).
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from scipy import sparse

from core.data.dataset import Dataset
from core.labels.facts import Fact, facts_known, like, short_title
from core.labels.rules import SEPARATOR, Fit, Rule, fit_rules
from core.labels.split import explaining
from core.neurons.concepts import Concept, concepts_of
from core.neurons.examples import facts_of
from core.seeding import generator

DEAD_LABEL, MIXED, UNCLEAR = "Never fires", "Mixed", "Unclear"

PRIOR_ITEMS = 10.0
"""Strength of the prior, in items: how many items of the plain catalogue are mixed into each neuron's evidence."""
SIGNIFICANT_Z = 1.96
"""A name begins with a term that differs from the catalogue at the two-sided level of 5 %."""
TELLING_Z = 1.64
"""One that follows an "or" must differ at the one-sided level of 5 %."""
MIN_SHARE = 0.25
"""A term must hold for this share of the top items, by activation: a name is a description, not a rarity."""
MIN_SCORE = 0.55
"""Balanced accuracy below which, on the items that it was made from, a name is none."""
MIN_NAMED = 3
"""A neuron with fewer items to be named from is "Unclear"."""
MAX_WORSE = 0.05
"""How much worse a name may part the items than the neuron's best one, so that no two neurons share a name."""
N_LIKE = 10
"""Strongest titles that a name may point to: "like Alien"."""
N_APART, N_NEAR, NEAR_SHARE = 1500, 30, 0.2
"""Items that a name should not hold for: others of the catalogue, and those most like the neuron's own; what share of
the weight the latter have."""


class Named(NamedTuple):
    """A neuron's name, and what it says of the catalogue's items."""

    label: str
    rule: Rule | None
    """None where the name claims nothing: "Mixed", "Unclear", "Never fires"."""


def keyword_labels(
    top_items: np.ndarray,
    top_item_acts: np.ndarray,
    dataset: Dataset,
    *,
    concepts: Sequence[Concept] | None = None,
    alive: np.ndarray | None = None,
    audience: np.ndarray | None = None,
) -> list[str]:
    """Give the labels of `name_neurons`."""
    named = name_neurons(top_items, top_item_acts, dataset, concepts=concepts, alive=alive, audience=audience)
    return [name.label for name in named]


def name_neurons(
    top_items: np.ndarray,
    top_item_acts: np.ndarray,
    dataset: Dataset,
    *,
    concepts: Sequence[Concept] | None = None,
    alive: np.ndarray | None = None,
    audience: np.ndarray | None = None,
    n_like: int = N_LIKE,
) -> list[Named]:
    """Give each neuron a readable name; no two alive neurons share one.

    Only the explaining items among the neuron's top items are looked at. A name is the rule of at most three facts
    (genres, tags, eras, popularity, words of titles, "like" a title) that parts them best from the other explaining
    items, of which those most like them weigh more; it begins with a fact that `term_scores` calls clear. Of neurons
    with the same best name the one that it fits best keeps it; others take their next one while it is nearly as good,
    else add a title of their own as an example ("Horror · e.g. Alien"). Escape names: they hold text of the data.

    Args:
        top_items: (d_sae, n_top) item indices, strongest first, -1 padded (see `core.neurons.concepts.top_firing`).
        top_item_acts: (d_sae, n_top) their activations.
        dataset: The catalogue and its popularity.
        concepts: Genres, tags and decades; all of `concepts_of(dataset)` by default.
        alive: (d_sae,) bool; by default, neurons with any top item. The others are called "Never fires".
        audience: (d_sae,) bool: neurons whose items stand for their viewers, called "Fans of …" and never by
            popularity, which such items have by their choice; none by default.
        n_like: How many of its strongest titles a name may point to: 0 for names of the catalogue's facts alone.

    Returns:
        d_sae names. "Mixed · #17" is a neuron whose items have nothing in common that the catalogue knows,
        "Unclear · #17" one with too few items to tell.
    """
    alive = top_items[:, 0] >= 0 if alive is None else alive
    fans = np.zeros(len(alive), bool) if audience is None else audience
    explain = explaining(dataset.items.ids)
    shown = (top_items >= 0) & explain[top_items]
    acts = np.where(shown, np.nan_to_num(top_item_acts), 0)
    fitter = _Fitter(dataset, concepts_of(dataset) if concepts is None else concepts, explain, n_like)
    titles = dataset.titles()
    fits = [
        fitter.fit(j, top_items[j][shown[j]], acts[j][shown[j]], top_items[j], bool(fans[j])) if alive[j] else []
        for j in range(len(alive))
    ]
    named, taken = [Named(DEAD_LABEL, None)] * len(alive), {DEAD_LABEL}
    for j in sorted(np.flatnonzero(alive).tolist(), key=lambda j: -fits[j][0].score if fits[j] else 0):
        blank = MIXED if shown[j].sum() >= MIN_NAMED else UNCLEAR
        examples = [short_title(titles[i]) for i in top_items[j][shown[j]]]
        names = _names(fits[j], examples, j, blank, "Fans of " if fans[j] else "")
        named[j] = next(name for name in names if name.label not in taken)
        taken.add(named[j].label)
    return named


def term_scores(top_items: np.ndarray, top_item_acts: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give how far each term is more frequent among a neuron's top items than in the catalogue.

    The log-odds ratio with an informative Dirichlet prior, divided by its deviation (Monroe, Colaresi and Quinn 2008,
    "Fightin' Words"). Departures: an item carries several terms, so each term is a table of its own (items with it and
    without it) whose prior has the catalogue's share as its mean; and items count by their activation, scaled so that
    they sum to the effective number of items (sum a)^2 / sum a^2.

    Returns:
        (n_terms, d_sae) z-scores, positive where more frequent; (n_terms, d_sae) activation-weighted shares of the top
        items. Both 0 where the neuron fires on no item.
    """
    n_neurons, n_items = len(top_items), masks.shape[1]
    acts = np.where(top_items >= 0, top_item_acts, 0).astype(np.float64)
    total, square = acts.sum(axis=1), (acts**2).sum(axis=1)
    size = np.divide(total**2, square, out=np.zeros(n_neurons), where=square > 0)
    weight = np.divide(acts, total[:, None], out=np.zeros_like(acts), where=total[:, None] > 0)
    firing = acts > 0
    chosen = sparse.csr_matrix((weight[firing], (np.nonzero(firing)[0], top_items[firing])), shape=(n_neurons, n_items))
    share = np.asarray(chosen @ masks.T.astype(np.float64)).T

    base = masks.mean(axis=1)[:, None]
    return np.where(size > 0, log_odds_z(share, base, size, n_items), 0), share


def log_odds_z(share: np.ndarray, base: np.ndarray, size: np.ndarray, n_items: int) -> np.ndarray:
    """Give the z-scores of `term_scores`.

    Args:
        share: Of the top items, for each term.
        base: Of the catalogue.
        size: Effective number of top items, above 0.
        n_items: Of the catalogue.
    """
    prior = PRIOR_ITEMS * (base * n_items + 0.5) / (n_items + 1)  # a term of all items or none: finite
    with_term, without = share * size + prior, (1 - share) * size + PRIOR_ITEMS - prior
    catalogue_with, catalogue_without = base * n_items + prior, (1 - base) * n_items + PRIOR_ITEMS - prior
    log_odds = np.log(with_term / without) - np.log(catalogue_with / catalogue_without)
    deviation = np.sqrt(1 / with_term + 1 / without + 1 / catalogue_with + 1 / catalogue_without)
    return np.asarray(log_odds / deviation)


class _Fitter:
    """Finds the rules of one neuron after the other."""

    def __init__(self, dataset: Dataset, concepts: Sequence[Concept], explain: np.ndarray, n_like: int) -> None:
        self.known: list[Fact] = facts_known(dataset, concepts)
        masks = [fact.mask for fact in self.known]
        self.masks = np.asfortranarray(np.array(masks, np.float32).reshape(len(masks), dataset.n_items))
        self.base = self.masks.mean(axis=1)
        self.histories = sparse.csc_matrix(dataset.matrix())
        self.titles, self.explain = dataset.titles(), np.flatnonzero(explain)
        self.likeness = facts_of(concepts, dataset.n_items)
        self.n_like = n_like

    def fit(self, neuron: int, items: np.ndarray, acts: np.ndarray, top: np.ndarray, fans: bool) -> list[Fit]:
        """Give the rules of a neuron, best first; none where nothing is clear.

        Args:
            neuron: Its index, for the seed.
            items: Its explaining items, strongest first.
            acts: Their activations.
            top: Its top items of both parts.
            fans: Whether they stand for viewers.
        """
        if len(items) < MIN_NAMED:
            return []
        alike = like(items[: self.n_like].tolist(), self.histories, self.titles)
        facts = [*self.known, *alike]
        base = np.append(self.base, [fact.mask.mean() for fact in alike])
        held = self._held(alike, items)
        size, share = acts.sum() ** 2 / (acts**2).sum(), held @ (acts / acts.sum())
        z = log_odds_z(share, base, size, len(self.titles))
        leads = (z >= SIGNIFICANT_Z) & (share >= MIN_SHARE)
        telling = (z >= TELLING_Z) & (share >= MIN_SHARE / 2)
        if fans:
            leads[[fact.kind in ("popularity", "like") for fact in facts]] = False
            telling &= leads
        others, other_weight = self._apart(neuron, items, acts, top)
        found = fit_rules(
            facts, leads, telling, (held, acts * size / acts.sum()), (self._held(alike, others), other_weight)
        )
        return [fit for fit in found if fit.score >= max(MIN_SCORE, found[0].score - MAX_WORSE)]

    def _held(self, alike: Sequence[Fact], items: np.ndarray) -> np.ndarray:
        """Give (n_facts, n_items) float32: which fact holds for which of some items."""
        return np.vstack([self.masks[:, items], *(fact.mask[None, items] for fact in alike)]).astype(np.float32)

    def _apart(
        self, neuron: int, items: np.ndarray, acts: np.ndarray, top: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give explaining items that are not among the top ones, and what each counts."""
        others = self.explain[~np.isin(self.explain, top)]
        closeness = self.likeness[others] @ (self.likeness[items].T @ (acts / acts.sum()))
        near = others[np.lexsort((others, -closeness.round(6)))[:N_NEAR]]
        far = others[~np.isin(others, near)]
        if len(far) > N_APART:
            far = np.sort(generator(0, "keywords", str(neuron)).choice(far, N_APART, replace=False))
        if not len(far):
            return near, np.ones(len(near))
        of_near = NEAR_SHARE / (1 - NEAR_SHARE) * len(far) / max(len(near), 1)
        return np.concatenate([far, near]), np.concatenate([np.ones(len(far)), np.full(len(near), of_near)])


def _names(fits: Sequence[Fit], examples: Sequence[str], neuron: int, blank: str, prefix: str) -> Iterator[Named]:
    """Give the names that a neuron could have, best first and without end."""
    for fit in fits:
        yield Named(prefix + fit.rule.name, fit.rule)
    if not fits:
        yield Named(f"{blank}{SEPARATOR}#{neuron}", None)
    rule = fits[0].rule if fits else None
    short = prefix + rule.name if rule else blank
    if rule:
        yield from (Named(f"{short}{SEPARATOR}e.g. {title}", rule) for title in examples)
    yield from (Named(f"{short}{SEPARATOR}#{neuron}{'′' * n}", rule) for n in count())
