"""What the points of the map are: their names, how large and of which colour, for concepts and for items.

Values in, values out: `dashboard.charts_map` draws them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from core.data.dataset import Dataset
from core.neurons.table import NeuronTable
from dashboard.listing import named

MOST_CLASSES = 7
"""Genres that have a colour of their own; the rest is `OTHER`: eight kinds are as many as can be told apart."""
OTHER, NONE = "Other", "None"
N_BESIDE = 3


class Colour(NamedTuple):
    """One thing by which the points of a map can be coloured: kinds, or a score."""

    title: str
    help: str
    """One sentence."""
    kinds: Sequence[str] = ()
    """The kinds, most frequent first, then `OTHER` and `NONE`; untrusted. Empty for a score."""
    of: np.ndarray = np.empty(0)
    """(n,) place of each point's kind in `kinds`; (n,) score, NaN where it is not known."""
    said: Sequence[str] = ()
    """(n,) the kind of each point itself, also where it is one of the rest; untrusted. Empty for a score."""
    log: bool = False
    percent: bool = False
    digits: int = 0
    """Of a score."""


class Atlas(NamedTuple):
    """The points of a map."""

    ids: np.ndarray
    """(n,) neurons or items."""
    xy: np.ndarray
    """(n, 2)."""
    names: list[str]
    """Untrusted."""
    size: np.ndarray
    """(n,) share of viewers, NaN where it is not known."""
    order: np.ndarray
    """(n,) places of the points, in the order in which they are worth a label and stand in the table."""
    beside: list[str]
    """The names of the three points that stand nearest on the map, in one text."""
    colours: dict[str, Colour]


def concept_atlas(neurons: np.ndarray, xy: np.ndarray, listed: pd.DataFrame, table: NeuronTable) -> Atlas:
    """Give the points of the concepts.

    Args:
        neurons: (n,) neurons that are placed.
        xy: (n, 2).
        listed: The list of concepts (see `dashboard.listing.list_concepts`): labels, scores, order.
        table: For the genres.
    """
    rows = listed.set_index("neuron").loc[neurons]
    place = pd.Series(np.arange(len(listed)), index=listed["neuron"])
    names = [named(str(label), int(neuron)) for label, neuron in zip(rows["label"], neurons, strict=True)]
    genres, of = dominant_genres(table)
    sentence = "The genre that its 20 strongest titles hold most beyond its share of the catalogue, or none."
    colours = {"genre": _kinds("Dominant genre", sentence, np.array([*genres, NONE], object)[of[neurons]])}
    for key, column, title, text, how in SCORES:
        if column in rows and rows[column].notna().any():
            colours[key] = Colour(title, text, of=rows[column].to_numpy(float), **how)
    if "verdict" in rows:
        said = rows["verdict"].replace("", NONE).to_numpy(object)
        sentence = "What the taxonomy audit says of the genre, tag or decade that it is the best concept of, if any."
        colours["verdict"] = _kinds("Verdict", sentence, said)
    order = np.argsort(place.loc[neurons].to_numpy(), kind="stable")
    density = rows["density_users"].to_numpy(float)
    return Atlas(neurons, xy, names, density, order, beside(xy, rows["label"].tolist()), colours)


_SHARE: dict[str, Any] = {"percent": True}
SCORES: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("auc", "held_out_auc_low", "Held-out AUC", "Of its surest fact, lower end of 95 %: 0.5 is chance.", {"digits": 2}),
    ("slope", "slope", "Steer slope", "Share of the top 20 gained per strong activation.", {**_SHARE, "digits": 1}),
    ("evidence", "evidence", "Evidence", "How far its strongest titles are from chance.", {}),
    ("purity", "purity_at_20", "Purity@20", "Share of its 20 strongest titles that fit its best match.", _SHARE),
    ("lift", "lift", "Purity lift", "Purity against the base rate.", {"log": True, "digits": 1}),
    ("density", "density_users", "Density", "Share of viewers in whom it fires.", {**_SHARE, "log": True, "digits": 2}),
    ("head", "head_share", "Head share", "Share of its activation on the most popular titles.", _SHARE),
    ("stability", "stability", "Stability", "Whether it comes again from another seed: 1 is the same.", {"digits": 2}),
    ("level", "level", "Level", "Of nested neurons: 1 is the coarsest.", {}),
)
"""Key in the address, column of the list, title, sentence, and how its values are written."""


def item_atlas(items: np.ndarray, xy: np.ndarray, dataset: Dataset, n_concepts: np.ndarray) -> Atlas:
    """Give the points of the items.

    Args:
        items: (n,) items that are placed.
        xy: (n, 2).
        dataset: Titles, genres, years and how many viewers each item has.
        n_concepts: (n_items,) how many concepts each item fires.
    """
    table = dataset.item_table.iloc[items]
    names, counts = [str(title) for title in table["title"]], dataset.item_counts[items]
    all_genres = pd.Series([genre for genres in dataset.item_table["genres"] for genre in genres], dtype="str")
    rarity = {name: place for place, name in enumerate(all_genres.value_counts().index[:MOST_CLASSES])}
    kind = [
        max((g for g in genres if g in rarity), key=rarity.__getitem__, default=genres[0]) if len(genres) else NONE
        for genres in table["genres"]
    ]
    sentence = f"Of its genres among the {len(rarity)} most common ones, the rarest."
    colours = {"genre": _kinds("Genre", sentence, np.array(kind, object))}
    years = table["year"].to_numpy(float, na_value=np.nan)
    if np.isfinite(years).any():
        colours["year"] = Colour("Year", "When it came out.", of=years)
    if dataset.n_interactions:
        colours["viewers"] = Colour(
            "Viewers", "How many viewers of the log have it.", of=counts.astype(float), log=True
        )
    active = n_concepts[items].astype(float)
    colours["concepts"] = Colour("Concepts", "How many concepts it fires, seen alone.", of=active)
    size = counts / max(dataset.n_users, 1) if dataset.n_interactions else np.full(len(items), np.nan)
    return Atlas(items, xy, names, size, np.argsort(-counts, kind="stable"), beside(xy, names), colours)


def dominant_genres(table: NeuronTable) -> tuple[list[str], np.ndarray]:
    """Give the genres of the catalogue, and for each neuron the place of the one that sets its top items apart most.

    By `p ln(p / b) + (1 - p) ln((1 - p) / (1 - b))`, p the purity at 20 (at 10 where fewer items fire), b the base
    rate, over the genres with p > b; the number of genres stands for none. Without genres tags, without tags decades.
    """
    kinds = table.concepts["kind"]
    rows = next(
        (np.flatnonzero(kinds == k) for k in ("genre", "tag", "decade") if (kinds == k).any()), np.empty(0, int)
    )
    if not len(rows):
        return [], np.zeros(len(table.frame), np.int64)
    p = np.where(np.isnan(table.purity[1, rows]), table.purity[0, rows], table.purity[1, rows]).astype(float)
    b = table.concepts["base_rate"].to_numpy()[rows, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.nan_to_num(p * np.log(p / b)) + np.nan_to_num((1 - p) * np.log((1 - p) / (1 - b)))
    gain = np.where(p > b, gain, 0.0)
    best = gain.argmax(axis=0)
    found = gain[best, np.arange(gain.shape[1])] > 0
    return table.concepts["name"].iloc[rows].tolist(), np.where(found, best, len(rows))


def beside(xy: np.ndarray, names: Sequence[str]) -> list[str]:
    """Name the points that stand nearest to each one, nearest first."""
    n = min(N_BESIDE, len(xy) - 1)
    if n < 1:
        return [""] * len(xy)
    near = cKDTree(xy).query(xy, n + 1)[1]
    return ["; ".join(names[j] for j in row if j != i)[:200] for i, row in enumerate(near)]


def _kinds(title: str, sentence: str, of: np.ndarray) -> Colour:
    """Give the kinds of points: the most frequent ones, the rest as `OTHER`."""
    counts: Mapping[str, int] = pd.Series(of, dtype="str").value_counts().to_dict()
    own = [name for name in counts if name not in (OTHER, NONE)][:MOST_CLASSES]
    place = {name: i for i, name in enumerate([*own, OTHER, NONE])}
    places = np.array([place.get(name, len(own)) for name in of], int)
    return Colour(title, sentence, (*own, OTHER, NONE), places, list(of))
