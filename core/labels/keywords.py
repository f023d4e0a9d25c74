"""Names for neurons in the catalogue's own words, offline and deterministic: "Horror · 1980s", "Mainstream hits"."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from scipy import sparse

from core.data.dataset import Dataset
from core.data.groups import popularity_groups
from core.errors import one_line
from core.neurons.concepts import Concept, concepts_of

DEAD_LABEL = "Never fires"
SEPARATOR = " · "
MAX_PARTS = 3

PRIOR_ITEMS = 10.0
"""Strength of the prior, in items: how many items of the plain catalogue are mixed into each neuron's evidence."""
SIGNIFICANT_Z = 2.58
"""A term must differ from the catalogue at the two-sided level of 1 %."""
MIN_SHARE = 0.25
"""A term must hold for this share of the top items, by activation: a name is a description, not a rarity."""

_POPULARITY_NAMES = {0: "Mainstream hits", 2: "Niche"}


class _Term(NamedTuple):
    name: str
    kind: str
    z: float


def keyword_labels(
    top_items: np.ndarray,
    top_item_acts: np.ndarray,
    dataset: Dataset,
    *,
    concepts: Sequence[Concept] | None = None,
    alive: np.ndarray | None = None,
    audience: np.ndarray | None = None,
) -> list[str]:
    """Give each neuron a readable name; no two alive neurons share one.

    A name has at most three parts: the terms (genres, tags, decades, popularity) that set the neuron's top items apart
    from the catalogue by `term_scores`, at least half as clearly as the first does; at most one decade, popularity only
    where it leads. Of neurons with the same name the one with the clearest evidence keeps it; the others add their next
    telling term, then the title that fires them most ("Horror · like Alien"). Escape names: they hold text of the data.

    Args:
        top_items: (d_sae, n_top) item indices, strongest first, -1 padded (see `core.neurons.concepts.top_firing`).
        top_item_acts: (d_sae, n_top) their activations.
        dataset: The catalogue and its popularity.
        concepts: The terms; all of `concepts_of(dataset)` by default.
        alive: (d_sae,) bool; by default, neurons with any top item. The others are called "Never fires".
        audience: (d_sae,) bool: neurons whose items stand for their viewers, called "Fans of …" and never by
            popularity, which such items have by their choice; none by default.

    Returns:
        d_sae names. "Mixed · #17" is a neuron whose items have nothing in common that the catalogue knows.
    """
    alive = top_items[:, 0] >= 0 if alive is None else alive
    concepts = concepts_of(dataset) if concepts is None else concepts
    groups = popularity_groups(dataset.item_counts)
    named = [(c.name, str(c.kind)) for c in concepts] + [(name, "popularity") for name in _POPULARITY_NAMES.values()]
    masks = np.stack([c.mask for c in concepts] + [groups == g for g in _POPULARITY_NAMES])
    z, share = term_scores(top_items, top_item_acts, masks)
    z = np.where((share >= MIN_SHARE) & (z >= SIGNIFICANT_Z), z, -np.inf)
    if audience is not None:
        z[np.ix_(np.array([kind == "popularity" for _, kind in named]), audience)] = -np.inf
    order = np.argsort(-z, axis=0, kind="stable")
    titles = dataset.titles()
    prefix = [""] * len(alive) if audience is None else ["Fans of " if fans else "" for fans in audience]
    labels, taken = [DEAD_LABEL] * len(alive), {DEAD_LABEL}
    for j in sorted(np.flatnonzero(alive).tolist(), key=lambda j: -z[order[0, j], j]):
        terms = [_Term(named[t][0], named[t][1], float(z[t, j])) for t in order[:, j] if np.isfinite(z[t, j])]
        likes = [one_line(titles[i], 40) for i in top_items[j] if i >= 0]
        names = (f"{prefix[j]}{name}" if terms else name for name in _names(terms, likes, j))
        labels[j] = next(name for name in names if name not in taken)
        taken.add(labels[j])
    return labels


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
    prior = PRIOR_ITEMS * (base * n_items + 0.5) / (n_items + 1)  # a term of all items or none: finite
    with_term, without = share * size + prior, (1 - share) * size + PRIOR_ITEMS - prior
    catalogue_with, catalogue_without = base * n_items + prior, (1 - base) * n_items + PRIOR_ITEMS - prior
    log_odds = np.log(with_term / without) - np.log(catalogue_with / catalogue_without)
    deviation = np.sqrt(1 / with_term + 1 / without + 1 / catalogue_with + 1 / catalogue_without)
    return np.where(size > 0, log_odds / deviation, 0), share


def _names(terms: Sequence[_Term], likes: Sequence[str], neuron: int) -> Iterator[str]:
    """Give the names that a neuron could have, best first and without end, from its terms, most telling first."""
    if not terms:
        yield f"Mixed{SEPARATOR}#{neuron}"
    lead = terms[:1]
    others = [t for t in terms[1:] if t.kind != "popularity"]
    decades = [t for t in (*lead, *others) if t.kind == "decade"]
    fitting = [t for t in (*lead, *others) if t.kind != "decade" or t is decades[0]]
    parts = [t for t in fitting if t.z >= lead[0].z / 2][:MAX_PARTS]
    if parts:
        yield _join(parts)
    if len(parts) < MAX_PARTS:
        yield from (_join([*parts, t]) for t in fitting if t not in parts)
    short = [_join(parts[: MAX_PARTS - 1])] if parts else ["Mixed"]
    yield from (SEPARATOR.join([*short, f"like {title}"]) for title in likes)
    yield from (SEPARATOR.join([*short, f"#{neuron}{'′' * n}"]) for n in count())


def _join(parts: Sequence[_Term]) -> str:
    """Give the parts as one name: what it is, then when, in the order of their evidence, each with a capital."""
    return SEPARATOR.join(t.name[:1].upper() + t.name[1:] for t in sorted(parts, key=lambda t: t.kind == "decade"))
