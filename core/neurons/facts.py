"""What is known of items and of viewers, as rows that have a fact or have not, cut in two by a hash of their ids."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from core.data.dataset import Dataset
from core.neurons.concepts import concepts_of
from core.neurons.groups import CONSUMED, LISTED, Of, kinds_of

LEAST = 5
"""Rows of each half that have a fact, and that have not, for it to be looked at."""
POPULARITY = "popularity"
CONCEPTS = ("genre", "tag", "decade")
"""Kinds of facts that come from the catalogue."""


class Fact(NamedTuple):
    """Something that is true of some rows."""

    name: str
    """For people. Untrusted text."""
    kind: str
    """`genre`, `tag`, `decade`, `popularity`, or the title of a kind of `core.neurons.groups`."""
    mask: np.ndarray
    """(n_rows,) bool."""


class Side(NamedTuple):
    """The items, or the viewers, with what is known of them."""

    of: Of
    facts: Sequence[Fact]
    first: np.ndarray
    """(n_rows,) bool: the rows on which facts are chosen; the others judge."""

    @classmethod
    def make(cls, of: Of, dataset: Dataset, rows: np.ndarray) -> "Side":
        """Give the facts of some rows; those that too few rows of a half have, or have not, are left out."""
        ids = dataset.items.ids if of == "items" else dataset.users.ids
        first = first_half(ids[row] for row in rows)

        def enough(mask: np.ndarray) -> bool:
            return all(LEAST <= part.sum() <= len(part) - LEAST for part in (mask[first], mask[~first]))

        facts = [fact._replace(mask=fact.mask[rows]) for fact in facts_of(dataset, of)]
        return cls(of, [fact for fact in facts if enough(fact.mask)], first)

    @property
    def masks(self) -> np.ndarray:
        """Give the (n_rows, f) bool rows that have each fact."""
        return np.array([fact.mask for fact in self.facts], bool).reshape(len(self.facts), len(self.first)).T


def first_half(ids: Iterable[str]) -> np.ndarray:
    """Say which rows are in the first half: by a hash of the id alone, so in whatever order they come."""
    return np.array([hashlib.blake2b(i.encode(), digest_size=1).digest()[0] & 1 for i in ids], bool)


def facts_of(dataset: Dataset, of: Of) -> list[Fact]:
    """Give every fact of items or of viewers: genres, tags, decades and tenths by popularity; or taste, attributes."""
    if of == "viewers":
        kinds = [kind for kind in kinds_of(dataset, "viewers") if kind.key not in (CONSUMED, LISTED)]
        return [Fact(kind.name(value), kind.title, kind.group(value)) for kind in kinds for value in kind.choices]
    facts = [Fact(c.name, c.kind, c.mask) for c in concepts_of(dataset)]
    if not dataset.n_interactions:
        return facts
    place = np.empty(dataset.n_items, np.int64)
    place[np.argsort(-dataset.item_counts, kind="stable")] = np.arange(dataset.n_items)
    tenth = place * 10 // dataset.n_items
    names = ("most popular tenth", *(f"tenth {i} of 10 by popularity" for i in range(2, 10)), "least popular tenth")
    return facts + [Fact(name, POPULARITY, tenth == i) for i, name in enumerate(names)]
