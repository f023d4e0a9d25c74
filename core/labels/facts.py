"""What can be said of an item without listening to any neuron: the words that keyword labels are made of."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import sparse

from core.data.dataset import Dataset
from core.errors import one_line
from core.neurons.concepts import Concept

Kind = Literal["genre", "tag", "word", "like", "era", "popularity"]

MIN_ITEMS = 10
"""A fact of fewer items, or one that fewer lack, is no fact to name neurons by."""
POPULARITY: dict[str, tuple[float, float]] = {
    "mainstream hits": (0.0, 0.1),
    "widely known": (0.0, 0.3),
    "little known": (0.5, 1.0),
    "niche": (0.8, 1.0),
}
"""Name to the deciles of the catalogue in the order of consumption, most consumed first, as shares of the items."""
LIKE_SHARE = 0.1
"""Share of the catalogue that counts as like a title: those that are consumed together with it most."""
_DAMPING = 10.0
"""Viewers that each title is taken to have beside its own, none of whom saw the other: two viewers are no audience."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_SMALL = {
    "the", "and", "for", "from", "with", "you", "your", "are", "not", "all", "that", "this", "one", "two", "who",
    "what", "when", "his", "her", "him", "its", "our", "out", "les", "des", "der", "die", "das", "los", "las", "del",
}  # fmt: skip


class Fact(NamedTuple):
    """Something that holds for some items."""

    name: str
    """Text of strangers: escape it."""
    kind: Kind
    mask: np.ndarray
    """(n_items,) bool."""


def facts_known(dataset: Dataset, concepts: Sequence[Concept]) -> list[Fact]:
    """Give what the catalogue knows: genres, tags, eras out of decades, popularity, and words of titles.

    Args:
        dataset: Titles, and how often each was consumed.
        concepts: Of `core.neurons.concepts.concepts_of`.
    """
    named = [Fact(c.name, c.kind, c.mask) for c in concepts if c.kind != "decade"]
    named += _eras([c for c in concepts if c.kind == "decade"]) + _popularity(dataset.item_counts)
    taken = {fact.name.casefold() for fact in named}
    named += [fact for fact in _words(dataset.titles()) if fact.name not in taken]
    enough = (MIN_ITEMS, dataset.n_items - MIN_ITEMS)
    return [fact for fact in named if enough[0] <= fact.mask.sum() <= enough[1]]


def like(items: Sequence[int], histories: sparse.csc_matrix, titles: Sequence[str]) -> list[Fact]:
    """Give, for some titles, which items are consumed by the same viewers: "like Alien".

        closeness(i, k) = n_ik / sqrt((n_i + 10) (n_k + 10))

    with n_ik viewers of both. Nothing of a neuron enters: it is a fact of the log. The title itself is left out.

    Args:
        items: Which titles.
        histories: (n_users, n_items) 1 where a viewer consumed an item.
        titles: Of all items.
    """
    counts = np.diff(histories.indptr).astype(np.float64) + _DAMPING
    both = np.asarray((histories.T @ histories[:, list(items)]).todense(), np.float64)
    close = both / np.sqrt(counts[:, None] * counts[list(items)][None, :])
    found = []
    for column, item in enumerate(items):
        values = close[:, column].copy()
        values[item] = 0
        edge = np.sort(values)[-int(LIKE_SHARE * len(counts)) - 1]  # where all are equally close, none is like it
        found.append(Fact(f"like {short_title(titles[item])}", "like", values > edge))
    return found


def short_title(title: str) -> str:
    """Give a title on one short line, without what stands in brackets.

    >>> short_title("The Blue Angel (Der blaue Engel)")
    'The Blue Angel'
    """
    return one_line(_ASIDE.sub("", title), 32) or one_line(title, 32)


def _eras(decades: Sequence[Concept]) -> list[Fact]:
    """Give single decades, two or three in a row, and all before or since one."""
    found = [Fact(c.name, "era", c.mask) for c in decades]
    for first in range(len(decades)):
        for last in range(first + 1, len(decades)):
            if first == 0 and last == len(decades) - 1:
                continue
            mask = np.any([c.mask for c in decades[first : last + 1]], axis=0)
            if first == 0:
                found.append(Fact(f"before {decades[last + 1].name.removesuffix('s')}", "era", mask))
            elif last == len(decades) - 1:
                found.append(Fact(f"since {decades[first].name.removesuffix('s')}", "era", mask))
            elif last - first <= 2:
                found.append(Fact(f"{decades[first].name} to {decades[last].name}", "era", mask))
    return found


def _popularity(counts: np.ndarray) -> list[Fact]:
    if not counts.any():
        return []
    ordered = np.sort(counts)
    more = len(counts) - np.searchsorted(ordered, counts, side="right")
    at_least = len(counts) - np.searchsorted(ordered, counts, side="left")
    place = (more + at_least) / 2 / len(counts)  # equal counts, equal places
    return [Fact(name, "popularity", (place >= low) & (place < high)) for name, (low, high) in POPULARITY.items()]


def _words(titles: Sequence[str]) -> list[Fact]:
    found = [set(_WORD.findall(title.casefold())) - _SMALL for title in titles]
    counts = Counter(word for words in found for word in words)
    often = sorted(word for word, n in counts.items() if n >= MIN_ITEMS)
    return [Fact(one_line(word, 30), "word", np.array([word in words for words in found], bool)) for word in often]
