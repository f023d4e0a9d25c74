"""Groups that a person can name: viewers by what is known of them or what they consumed, items by the catalogue."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from core.data.dataset import Dataset, IdMap
from core.data.groups import GROUPS, popularity_groups
from core.errors import DataError, near, one_line
from core.neurons.concepts import Kind as Fact
from core.neurons.concepts import concepts_of

Of = Literal["viewers", "items"]
LISTED, CONSUMED, SAVED = "ids", "title", "saved"
"""Keys of the kinds whose value is written by a person, is an item, and is the number of a saved list."""
MOST_VALUES = 60
"""An attribute with more values, for example a postcode, makes no groups."""
MOST_NUMBERS = 12
"""A numeric attribute with more values is cut into fifths, unless its values are codes."""
MOST_CODES = 30
"""So many whole numbers without a gap from 0 or 1 on are codes, of occupations for example, and not amounts."""
_LEAST = 2
_MOST_LISTED = 100_000
"""Names in a pasted list."""


@dataclass(frozen=True)
class Kind:
    """One way to make groups.

    Attributes:
        key: As addresses write it.
        title: As a person chooses it.
        sentence: What exactly a group is.
        choices: Value -> how it is shown, in the order of the choice; empty where a person writes the value.
        members: Value -> (n,) bool. Raises `DataError` for a value that is none.
        phrase: How a group is called, with `{}` for the shown value.
    """

    key: str
    title: str
    sentence: str
    choices: Mapping[str, str]
    members: Callable[[str], np.ndarray]
    phrase: str

    def group(self, value: str) -> np.ndarray:
        """Give the members.

        Raises:
            DataError: There is no such group here.
        """
        if self.key != LISTED and value not in self.choices:
            raise DataError(
                f"There is no group {one_line(value, 60)!r} by “{self.title}”{near(value, self.choices)}.",
                "Choose one of the list.",
            )
        return self.members(value)

    def name(self, value: str) -> str:
        """Call a group, as a part of a sentence. Untrusted text."""
        return self.phrase.format(self.choices.get(value, ""))


def kinds_of(dataset: Dataset, of: Of) -> list[Kind]:
    """Give the ways to make groups of viewers or of items that this dataset allows."""
    made = _viewer_kinds(dataset) if of == "viewers" else _item_kinds(dataset)
    return [kind for kind in made if kind.choices or kind.key == LISTED]


def listed(text: str, ids: IdMap, titles: list[str] | None = None) -> np.ndarray:
    """Give the (n,) mask of a pasted list: a line each, an id or a whole title; a line may also hold several ids.

    Raises:
        DataError: A name is not known, or there are too many of them.
    """
    by_title: dict[str, list[int]] = {}
    for index, title in enumerate(titles or ()):
        by_title.setdefault(one_line(title).casefold(), []).append(index)
    mask = np.zeros(len(ids), bool)
    names = 0
    for line in filter(None, map(str.strip, text.splitlines())):
        found = [ids.index(line)] if line in ids else by_title.get(one_line(line).casefold(), [])
        if not found:
            words = line.replace(",", " ").replace(";", " ").split()
            several = any(word in ids for word in words)
            found = [ids.index(word) for word in (words if several else [line])]
        mask[found] = True
        names += len(found)
        if names > _MOST_LISTED:
            raise DataError(f"The list holds more than {_MOST_LISTED:,} names.", "Paste a shorter one.")
    return mask


def saved_kind(names: Mapping[str, str], ids_of: Callable[[str], list[str]], known: IdMap) -> Kind:
    """Give the kind of the lists that people saved; members that this dataset does not have are left out.

    Args:
        names: Number of a list -> its name.
        ids_of: Gives the members of a list.
        known: The viewers, or the items.
    """

    def members(key: str) -> np.ndarray:
        mask = np.zeros(len(known), bool)
        mask[[known.index(i) for i in ids_of(key) if i in known]] = True
        return mask

    sentence = "A list that somebody saved on this dataset; see “Lists and notes”."
    return Kind(SAVED, "A saved list", sentence, names, members, "the list “{}”")


def _viewer_kinds(dataset: Dataset) -> list[Kind]:
    lengths = np.diff(dataset.indptr).astype(np.float64)
    head = popularity_groups(dataset.item_counts) == 0
    n_head = np.bincount(dataset.user_index[head[dataset.item_index]], minlength=dataset.n_users)
    share = np.divide(n_head, lengths, out=np.full(dataset.n_users, np.nan), where=lengths > 0)
    consumed = {
        dataset.items.ids[i]: one_line(title, 80)
        for i, title in enumerate(dataset.titles())
        if _LEAST <= dataset.item_counts[i] <= dataset.n_users - _LEAST
    }
    return [
        _fifths(
            "taste", "Mainstream or niche",
            "The fifth of the viewers with the highest, or lowest, share of head titles in the history (PopSteer); "
            "head: the most popular titles, which together make 20 % of the interactions.",
            share, ("mainstream", "niche"), "the most {} fifth of viewers",
        ),
        _fifths(
            "history", "History length", "The fifth of the viewers with the longest, or shortest, history.",
            np.where(lengths > 0, lengths, np.nan), ("longest", "shortest"), "viewers of the {} histories",
        ),
        *_attributes(dataset),
        Kind(
            CONSUMED, "Has consumed a title", "Viewers whose history, without what was held out, has the title.",
            consumed, partial(_consumers, dataset), "viewers of “{}”",
        ),
        Kind(
            LISTED, "A list of ids", "Viewers whose ids were pasted, one a line or parted by commas.",
            {}, partial(listed, ids=dataset.users), "the listed viewers",
        ),
    ]  # fmt: skip


def _item_kinds(dataset: Dataset) -> list[Kind]:
    facts = concepts_of(dataset, _LEAST)
    popular = popularity_groups(dataset.item_counts)
    places = {name: popular == g for g, name in enumerate(GROUPS)} if dataset.n_interactions else {}
    return [
        *(
            _by_mask(
                kind, kind.capitalize(), f"Items whose {kind} in the catalogue it is.",
                {c.name: c.mask for c in facts if c.kind == kind}, _PHRASES[kind],
            )
            for kind in _PHRASES
        ),
        _by_mask(
            "popularity", "Popularity",
            "Head: the most popular titles, which together make 20 % of the interactions. Tail: the least popular ones "
            "that do. Mid: the others.",
            places, "{} titles",
        ),
        Kind(
            LISTED, "A list of ids or titles", "Items that were pasted, one a line.",
            {}, partial(listed, ids=dataset.items, titles=dataset.titles()), "the listed titles",
        ),
    ]  # fmt: skip


_PHRASES: dict[Fact, str] = {"genre": "{} titles", "tag": "titles tagged “{}”", "decade": "titles of the {}"}


def _attributes(dataset: Dataset) -> list[Kind]:
    """Give a kind for every attribute of the viewers that makes groups of some size."""
    if dataset.user_table is None:
        return []
    kinds = []
    for column in map(str, dataset.user_table.columns):
        masks = _values(dataset.user_table[column])
        masks = {value: mask for value, mask in masks.items() if _LEAST <= mask.sum() <= dataset.n_users - _LEAST}
        if 0 < len(masks) <= MOST_VALUES:
            name = one_line(column, 40)
            sentence = f"Viewers by “{name}” of the table of viewers."
            phrase = f"viewers with {_literal(name)} {{}}"
            kinds.append(_by_mask(f"by {name}", name.capitalize(), sentence, masks, phrase))
    return kinds


def _values(column: pd.Series) -> dict[str, np.ndarray]:
    """Give each value's viewers: fifths of numbers, else the values themselves, of which a cell may hold several."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    known = numbers[np.isfinite(numbers)]
    if known.size and known.size == column.notna().sum():
        distinct = np.unique(known)
        if len(distinct) <= MOST_NUMBERS or _are_codes(distinct):
            return {f"{value:g}": numbers == value for value in distinct}
        fifth = np.searchsorted(np.quantile(known, [0.2, 0.4, 0.6, 0.8]), numbers)
        masks = [np.isfinite(numbers) & (fifth == i) for i in range(5)]
        return {_span(numbers[mask]): mask for mask in masks if mask.any()}
    texts = [[] if pd.isna(cell) else _parts(str(cell)) for cell in column]
    names = sorted({name for row in texts for name in row}, key=str.casefold)
    if len(names) > MOST_VALUES:
        return {}
    place = {name: i for i, name in enumerate(names)}
    has = np.zeros((len(names), len(texts)), bool)
    for user, row in enumerate(texts):
        has[[place[name] for name in row], user] = True
    return dict(zip(names, has, strict=True))


def _are_codes(distinct: np.ndarray) -> bool:
    n = len(distinct)
    return n <= MOST_CODES and distinct[0] in (0, 1) and bool((distinct == distinct[0] + np.arange(n)).all())


def _span(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low:g} to {high:g}" if low < high else f"{low:g}"


def _parts(cell: str) -> list[str]:
    return [part for part in (one_line(text, 60) for text in cell.replace("|", ", ").split(", ")) if part]


def _fifths(key: str, title: str, sentence: str, values: np.ndarray, names: tuple[str, str], phrase: str) -> Kind:
    """Give the kind of the highest and the lowest fifth; none where a border runs through everybody."""
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, [0.2, 0.8]) if known.size else (0.0, 0.0)
    masks = dict(zip(names, (values >= high, values <= low), strict=True)) if low < high else {}
    return _by_mask(key, title, sentence, masks, phrase)


def _by_mask(key: str, title: str, sentence: str, masks: Mapping[str, np.ndarray], phrase: str) -> Kind:
    return Kind(key, title, sentence, {name: name for name in masks}, lambda value: masks[value], phrase)


def _consumers(dataset: Dataset, item_id: str) -> np.ndarray:
    mask = np.zeros(dataset.n_users, bool)
    mask[dataset.user_index[dataset.item_index == dataset.items.index(item_id)]] = True
    return mask


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
