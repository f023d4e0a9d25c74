"""What a neuron can stand for, as the catalogue's facts know it, and how well it does: purity, lift, evidence, AUC."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from core.data.dataset import Dataset
from core.errors import one_line
from core.recommenders.base import rank

Kind = Literal["genre", "tag", "decade"]
Masks = np.ndarray | Sequence[np.ndarray]
"""(n_masks, n_items) bool, or that many (n_items,) masks."""

LENGTHS = (10, 20, 50)
"""The list lengths n at which purity is reported (Arviv et al. 2026, Table 1)."""

_CHUNK = 256
"""Neurons ranked at a time: bounds the memory of `auc`."""

_PAPER_GENRES: dict[str, tuple[str, ...]] = {
    "mf": (
        "Children's", "Drama", "Action", "Adventure", "Animation", "Comedy", "Horror", "Romance", "Sci-Fi", "Thriller",
        "Crime",
    ),
    "ncf": ("Children's", "Drama", "Animation", "Comedy", "Horror", "Romance", "Sci-Fi", "Thriller", "Crime"),
}  # fmt: skip
_PAPER_ERAS: dict[str, tuple[tuple[str, int], ...]] = {
    "mf": (("Drama", 1990), ("Comedy", 1990), ("Action", 1990)),
    "ncf": (("Drama", 1990), ("Comedy", 1990), ("Action", 1990), ("Comedy", 1980)),
}
_SPELLINGS = {"children's": ("children's", "children"), "sci-fi": ("sci-fi", "science fiction")}


class Concept(NamedTuple):
    """One fact that an item can have."""

    name: str
    """For people: "Horror", "heist", "1980s". No two concepts of a dataset have the same name in any case."""
    kind: Kind
    mask: np.ndarray
    """(n_items,) bool: the items that have it."""


def concepts_of(dataset: Dataset, min_items: int = 10) -> list[Concept]:
    """Give every genre, tag and decade that at least `min_items` items have: genres, then tags, then decades, by name.

    Spellings that differ in case or outer white space are one concept, named as most items spell it. A tag with the
    name of a genre joins the genre; one with the name of a decade becomes "1980s (tag)". No year, no decade.
    """
    genres, tags = (_members(dataset.item_table[column]) for column in ("genres", "tags"))
    for key in genres.keys() & tags.keys():
        genres[key] = genres[key] + tags.pop(key)
    years = _years(dataset)
    decades = {f"{d}s": years // 10 * 10 == d for d in np.unique(years[years >= 0] // 10 * 10)}
    found = [Concept(_spelling(spelt), "genre", _mask(spelt, dataset.n_items)) for _, spelt in sorted(genres.items())]
    found += [Concept(_spelling(spelt), "tag", _mask(spelt, dataset.n_items)) for _, spelt in sorted(tags.items())]
    found = [c._replace(name=f"{c.name} ({c.kind})") if c.name.casefold() in decades else c for c in found]
    found += [Concept(name, "decade", mask) for name, mask in decades.items()]
    return [c for c in found if c.mask.sum() >= min_items]


def paper_concepts(dataset: Dataset, model: str = "mf") -> dict[str, np.ndarray]:
    """Give the film concepts of the monosemantic paper's Table 1 that this dataset has: name to (n_items,) mask.

    For `mf` 15: eleven genres, Golden-Age (the paper's text: before 1970), and the 90's Drama, Comedy and Action. For
    `ncf` 14: without Action and Adventure, with 80's Comedy. Concepts of fewer than 10 items are left out.

    Raises:
        ValueError: `model` is neither `mf` nor `ncf`.
    """
    if model not in _PAPER_GENRES:
        raise ValueError(f"model is {model!r}, expected one of {', '.join(_PAPER_GENRES)}")
    members = _members(dataset.item_table["genres"])

    def genre(name: str) -> np.ndarray:
        keys = _SPELLINGS.get(name.casefold(), (name.casefold(),))
        return _mask([pair for key in keys for pair in members.get(key, [])], dataset.n_items)

    years = _years(dataset)
    masks = {name: genre(name) for name in _PAPER_GENRES[model]}
    masks["Golden-Age"] = (years >= 0) & (years < 1970)
    for name, decade in _PAPER_ERAS[model]:
        masks[f"{decade % 100}'s {name}"] = genre(name) & (years // 10 * 10 == decade)
    return {name: mask for name, mask in masks.items() if mask.sum() >= 10}


def top_firing(acts: np.ndarray, n: int) -> np.ndarray:
    """Give the `n` rows in which each neuron fires most, strongest first, equal values in the order of the row.

    Args:
        acts: (n_rows, d_sae) activations. Only values above 0 count.
        n: How many.

    Returns:
        (d_sae, n) int32 row indices, -1 where fewer fire.

    >>> top_firing(np.array([[0.0, 1.0], [2.0, 1.0]]), 2).tolist()
    [[1, -1], [0, 1]]
    """
    if not len(acts):
        return np.full((acts.shape[1], n), -1, np.int32)
    firing = np.array(acts.T, dtype=np.float32, order="C")
    firing[~(firing > 0)] = -np.inf
    return rank(firing, n)


def top_counts(top: np.ndarray, masks: Masks, n: int) -> np.ndarray:
    """Give the (n_masks, d_sae) number of items with each concept among the first `n` of (d_sae, >= n) lists."""
    lists = top[:, :n]
    rows, _ = np.nonzero(lists >= 0)
    if not len(masks):
        return np.zeros((0, len(top)), np.float32)
    masks = np.atleast_2d(np.asarray(masks, bool))
    ones = np.ones(rows.size, np.float32)
    chosen = sparse.csr_matrix((ones, (rows, lists[lists >= 0])), shape=(len(top), masks.shape[1]))
    return (chosen @ masks.T.astype(np.float32)).T


def purity(acts_items: np.ndarray, masks: Masks, n: int) -> np.ndarray:
    """Give the share of items with each concept among the `n` that fire each neuron most (Arviv et al. 2026, Table 1).

    Args:
        acts_items: (n_items, d_sae) activations of the items.
        masks: The concepts.
        n: How many items; ties go by the item's index.

    Returns:
        (n_masks, d_sae) in [0, 1]; NaN for a neuron that fires on fewer than `n` items. (The paper also counts items
        that do not fire; a share of those says nothing about the neuron.)
    """
    return purity_of(top_firing(acts_items, n), masks, n)


def purity_of(top: np.ndarray, masks: Masks, n: int) -> np.ndarray:
    """Give `purity` from the (d_sae, >= n) lists of `top_firing`."""
    share = top_counts(top, masks, n).astype(np.float64) / n
    share[:, top[:, n - 1] < 0] = np.nan
    return share


def evidence(top: np.ndarray, masks: Masks, lengths: Sequence[int] = (20, 50)) -> np.ndarray:
    """Give how strongly each neuron's top items speak for each concept: the choice of a neuron's best concept.

    The sum over n of the binomial log-likelihood ratio `m KL(p || b)` in nats, where p is the share of the concept
    among the top m = min(n, firing) items and b its share of the catalogue; negative where p < b. A concept of 40 % of
    the catalogue must be nearly pure to win, and two lucky hits of a rare one are not enough: at n = 20, b = 0.4 with
    p = 0.7 gives 3.7, b = 0.003 with p = 0.1 gives 5.2, b = 0.1 with p = 0.7 gives 20.7.

    Returns:
        (n_masks, d_sae); 0 for a neuron that fires on no item and for a concept that all items or none have.
    """
    masks = np.atleast_2d(np.asarray(masks, bool))
    base = masks.mean(axis=1, dtype=np.float64)[:, None]
    total = np.zeros((len(masks), len(top)))
    for n in lengths:
        m = np.maximum((top[:, :n] >= 0).sum(axis=1), 1)[None, :]
        p = top_counts(top, masks, n).astype(np.float64) / m
        with np.errstate(divide="ignore", invalid="ignore"):
            having, lacking = p * np.log(p / base), (1 - p) * np.log((1 - p) / (1 - base))
        ratio = np.where(p > 0, having, 0) + np.where(p < 1, lacking, 0)
        total += np.sign(p - base) * m * np.where((base > 0) & (base < 1), ratio, 0)
    return np.where(top[None, :, 0] >= 0, total, 0)


def auc(acts_items: np.ndarray, masks: Masks) -> np.ndarray:
    """Give the chance that a neuron fires more on an item with the concept than on one without, ties counted half.

    The rank-sum form, U / (n_with n_without), mean ranks for ties: a neuron's items are ranked once for all concepts.

    Returns:
        (n_masks, d_sae) in [0, 1]; NaN for a neuron that fires on no item, and for a concept of all items or none.
    """
    masks = np.asarray(masks, bool).reshape(-1, len(acts_items))
    n_with = masks.sum(axis=1, dtype=np.float64)[:, None]
    pairs = n_with * (masks.shape[1] - n_with)
    out = np.full((len(masks), acts_items.shape[1]), np.nan, np.float32)
    floats = masks.astype(np.float64)
    for start in range(0, acts_items.shape[1], _CHUNK):
        part = np.maximum(acts_items[:, start : start + _CHUNK], 0)
        ranks = mean_ranks(part)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = (floats @ ranks - n_with * (n_with + 1) / 2) / pairs
        value[:, ~(part > 0).any(axis=0)] = np.nan
        out[:, start : start + _CHUNK] = np.where(pairs > 0, value, np.nan)
    return out


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Give the rank of each value within its column, from 1, equal values sharing the mean of their ranks."""
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    position = np.arange(len(values))[:, None]
    differs = ordered[1:] != ordered[:-1]
    edge = np.ones((1, values.shape[1]), bool)
    first = np.maximum.accumulate(np.where(np.vstack([edge, differs]), position, 0), axis=0)
    last = np.where(np.vstack([differs, edge]), position, len(values))[::-1]
    shared = (first + np.minimum.accumulate(last, axis=0)[::-1]) / 2 + 1
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, shared, axis=0)
    return ranks


def _members(column: Iterable[Sequence[str]]) -> dict[str, list[tuple[int, str]]]:
    """Give each name, case folded, with the items that have it and how each spells it."""
    members: dict[str, list[tuple[int, str]]] = {}
    for item, names in enumerate(column):
        for name in names:
            clean = one_line(str(name), 60)
            if clean:
                members.setdefault(clean.casefold(), []).append((item, clean))
    return members


def _spelling(spelt: list[tuple[int, str]]) -> str:
    """Give the most used spelling; of equally used ones the first in the alphabet."""
    counts = Counter(name for _, name in spelt)
    return min(counts, key=lambda name: (-counts[name], name))


def _mask(spelt: list[tuple[int, str]], n_items: int) -> np.ndarray:
    mask = np.zeros(n_items, bool)
    mask[[item for item, _ in spelt]] = True
    return mask


def _years(dataset: Dataset) -> np.ndarray:
    """Give (n_items,) int64 years, -1 where there is none."""
    return pd.to_numeric(dataset.item_table["year"]).astype("Int64").fillna(-1).to_numpy(np.int64)
