"""The list of concepts: one row a neuron, filtered and ordered as people ask.

Values in, values out: the pages Concepts and Concept share it, so that previous and next follow the list.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.neurons.table import NeuronTable
from dashboard.escape import for_csv
from dashboard.state import AUDIENCES, BANDS, SORTS, Filters

N_TITLES = 3
MOST_TITLES = 50
"""A search that more titles hold says too little to ask which concepts fire for them."""
STABILITY, LEVEL, AUC, SLOPE, VERDICT = "stability", "level", "held_out_auc_low", "slope", "verdict"
FIRES_FOR, STRENGTH = "fires_for", "strength"
OPTIONAL = (STABILITY, LEVEL, AUC, SLOPE, VERDICT, FIRES_FOR, STRENGTH)
"""Columns that are there only where they are known: with a second SAE, nested neurons, analyses, a search."""
EXPORTED = (
    "neuron", "label", "label_source", AUC, SLOPE, "evidence", "density_users", "density_items", "head_share",
    "best_concept", "purity_at_20", "base_rate", "lift", STABILITY, LEVEL, VERDICT, FIRES_FOR, STRENGTH, "top_titles",
)  # fmt: skip
_TEXTS = ("label", "label_source", "best_concept", VERDICT, FIRES_FOR, "top_titles")
_ORDERS = {
    "Evidence": ("evidence", False), "Held-out AUC": (AUC, False), "Steer slope": (SLOPE, False),
    "Purity": ("purity_at_20", False), "Lift": ("lift", False), "Most viewers": ("density_users", False),
    "Fewest viewers": ("density_users", True), "Most mainstream": ("head_share", False),
    "Most niche": ("head_share", True), "Stability": (STABILITY, False), "Label A to Z": ("label", True),
}  # fmt: skip
"""Column, and whether the least comes first."""


class Firing(NamedTuple):
    """How strongly concepts fire for some titles, or in a viewer."""

    strength: np.ndarray
    """(d_sae,) share of what each neuron reaches at most; 0 where it is silent."""
    names: Sequence[str] = ()
    """(d_sae,) the title that fires each neuron most; untrusted. Empty for a viewer."""
    found: Sequence[str] = ()
    """The titles that were found; untrusted."""


class Found(NamedTuple):
    """What a search and the filters find."""

    rows: pd.DataFrame
    """See `select`."""
    titles: Firing | None
    """What the search found among the titles."""
    viewer: str | None
    """The id of the viewer whose concepts are shown. Untrusted."""


def list_concepts(table: NeuronTable, titles: list[str], known: dict[str, np.ndarray] | None = None) -> pd.DataFrame:
    """Give the frame of a `NeuronTable` with more columns, most evidence first, dead ones last.

    Args:
        table: What is known of the neurons.
        titles: Titles in item order.
        known: Further columns, (d_sae,) each: what analyses found.

    Returns:
        The columns of `table.frame`; `audience` (one of `AUDIENCES`, "" for dead neurons); `top_titles` (the first
        three top items, one text); `searched`, the texts that a search looks in; those of `known`.
    """
    frame = table.frame.assign(**(known or {}))
    frame["audience"] = audience_of(frame["head_share"].to_numpy(float), frame["alive"].to_numpy(bool))
    names = np.array([*titles, ""], dtype=object)  # -1, no item, points at the last one
    first = names[table.top_items[:, :N_TITLES]]
    frame["top_titles"] = [" · ".join(t for t in row if t) for row in first]
    best_last = np.lexsort((frame["neuron"], -frame["density_users"], -frame["evidence"].fillna(-1.0), ~frame["alive"]))
    listed = frame.iloc[best_last].reset_index(drop=True)
    return listed.assign(searched=searched(listed))


def known_columns(
    associations: pd.DataFrame | None, slope: np.ndarray | None, audit: pd.DataFrame | None, d_sae: int
) -> dict[str, np.ndarray]:
    """Give the columns that analyses add to the list, as far as they are there.

    Args:
        associations: `best` of `core.neurons.associations.Associations`.
        slope: (d_sae,) of `core.steering.responses.Responses`.
        audit: Of `core.steering.audit`: a row for each genre, tag and decade.
        d_sae: Number of neurons.

    Returns:
        `held_out_auc_low`: the lower end of the 95 % interval of the held-out AUC of a neuron's surest fact, NaN
        without one; `slope`; `verdict` on the fact that it is the best neuron of, on the surest of several, "" where
        it is none's.
    """
    known: dict[str, np.ndarray] = {}
    if associations is not None:
        first = associations[associations["first"]]
        known[AUC] = first.set_index("neuron")["low"].reindex(range(d_sae)).to_numpy(float)
    if slope is not None:
        known[SLOPE] = slope
    if audit is not None:
        known[VERDICT] = np.full(d_sae, "", object)
        surest_last = audit[audit["neuron"] >= 0].sort_values("auc_low", na_position="first", kind="stable")
        known[VERDICT][surest_last["neuron"]] = surest_last["verdict"]
    return known


def searched(concepts: pd.DataFrame) -> pd.Series:
    """Give the text of each concept that a search looks in, once for all searches."""
    columns = (concepts[name].fillna("") for name in ("label", "top_titles", "best_concept"))
    texts = ["\n".join(row).casefold() for row in zip(*columns, strict=True)]
    return pd.Series(texts, index=concepts.index, dtype="str")


def audience_of(head_share: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Name the third of the living concepts, by head share, that each one is in; "" where it is dead or unknown."""
    known = alive & np.isfinite(head_share)
    out = np.full(len(head_share), "", dtype=object)
    if known.any():
        low, high = np.quantile(head_share[known], [1 / 3, 2 / 3])
        names = np.array(AUDIENCES, dtype=object)[np.where(head_share >= high, 0, np.where(head_share > low, 1, 2))]
        out[known] = names[known]
    return out


def titles_with(text: str, folded: Sequence[str]) -> list[int]:
    """Find the titles that a text is, with or without the year behind, or else those that it is a part of.

    Args:
        text: What is searched for.
        folded: The titles, case-folded.

    Returns:
        Their places; none where more than `MOST_TITLES` fit.

    >>> titles_with("Alien", ["alien (1979)", "aliens (1986)"]), titles_with("lie", ["alien (1979)", "aliens (1986)"])
    ([0], [0, 1])
    """
    wanted = text.strip().casefold()
    if not wanted or wanted.startswith("#"):
        return []
    rows = [i for i, title in enumerate(folded) if wanted in title]
    rows = [i for i in rows if wanted in (folded[i], folded[i].rpartition(" (")[0])] or rows
    return rows if len(rows) <= MOST_TITLES else []


def firing_for(titles: Sequence[str], acts: np.ndarray, highest: np.ndarray) -> Firing:
    """Say how strongly concepts fire for some titles: for the one that fires each of them most.

    Args:
        titles: At least one.
        acts: (n_titles, d_sae) activations of each title alone.
        highest: (d_sae,) the largest activation of each neuron; NaN where it is dead.
    """
    best = acts.argmax(axis=0)
    strength = relative(acts[best, np.arange(acts.shape[1])], highest)
    names = np.where(strength > 0, np.array(titles, object)[best], "")
    return Firing(strength, names.tolist(), list(titles))


def viewer_of(text: str) -> str | None:
    """Give the viewer that a search names; None where it names none.

    >>> viewer_of("viewer: 42"), viewer_of("horror")
    ('42', None)
    """
    word, colon, rest = text.strip().partition(":")
    return rest.strip() if colon and word.strip().casefold() == "viewer" else None


def relative(acts: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Give activations as a share of the highest one of each neuron; 0 where that is not known."""
    return np.divide(acts, highest, out=np.zeros(len(acts)), where=np.nan_to_num(highest) > 0)


def search(concepts: pd.DataFrame, text: str, firing: Firing | None = None) -> np.ndarray:
    """Say which concepts a search finds: `#17` by index; else a part of a label, of a top title or of the genre.

    With `firing` also those that fire for a title that was found. One that names a viewer finds all.
    """
    text = text.strip().casefold()
    if text.startswith("#") and (number := text[1:].strip()).isdecimal():
        return (concepts["neuron"] == int(number[:9])).to_numpy()
    if not text or viewer_of(text) is not None:
        return np.ones(len(concepts), bool)
    texts = concepts["searched"] if "searched" in concepts else searched(concepts)
    found = texts.str.contains(text, regex=False).to_numpy(bool)
    return found if firing is None else found | (firing.strength[concepts["neuron"]] > 0)


def select(
    concepts: pd.DataFrame, filters: Filters, firing: Firing | None = None, viewer: Firing | None = None
) -> pd.DataFrame:
    """Give the rows that pass the filters, in the order that is asked for.

    Args:
        concepts: See `list_concepts`.
        filters: What is asked for.
        firing: For the titles that the search found: joins the columns `fires_for` and `strength`.
        viewer: In the viewer whose concepts are asked for: leaves the others out, and joins `strength`.
    """
    keep = np.array(search(concepts, filters.text, firing))  # pandas gives some that cannot be written to
    if filters.kinds:
        keep &= concepts["best_kind"].fillna("").str.casefold().isin([k.casefold() for k in filters.kinds]).to_numpy()
    if filters.purity:
        keep &= concepts["purity_at_20"].to_numpy() >= filters.purity - 1e-9
    if filters.auc and AUC in concepts:
        keep &= concepts[AUC].to_numpy() >= filters.auc
    if filters.audiences:
        keep &= concepts["audience"].isin(filters.audiences).to_numpy()
    if filters.sources:
        keep &= concepts["label_source"].isin(filters.sources).to_numpy()
    density = concepts["density_users"].to_numpy()
    if filters.bands:
        keep &= np.logical_or.reduce([(density > BANDS[b][0]) & (density <= BANDS[b][1]) for b in filters.bands])
    if filters.density is not None:
        keep &= (density >= filters.density[0] - 1e-12) & (density <= filters.density[1] + 1e-12)
    if not filters.dead:
        keep &= concepts["alive"].to_numpy()
    neurons = concepts["neuron"].to_numpy()
    if viewer is not None:
        keep &= viewer.strength[neurons] > 0
    found = concepts[keep]
    asked = viewer or firing
    if asked is not None:
        found = found.assign(**{STRENGTH: asked.strength[neurons[keep]]})
    if firing is not None and viewer is None:
        found[FIRES_FOR] = np.array(firing.names, object)[neurons[keep]]
    return found.iloc[_order(found, filters, by_strength=asked is not None)]


def available_sorts(concepts: pd.DataFrame) -> list[str]:
    """Give the orders whose figures are there."""
    columns = {name: column for name, (column, _) in _ORDERS.items()}
    return [s for s in SORTS if s not in columns or (columns[s] in concepts and concepts[columns[s]].notna().any())]


def sorted_by(concepts: pd.DataFrame) -> str:
    """Say in words what the default order goes by, as far as its figures are there."""
    if AUC in concepts and SLOPE in concepts:
        return "held-out AUC × steer slope"
    return "held-out AUC; the steer slope is not computed yet" if AUC in concepts else "evidence"


def worth(concepts: pd.DataFrame) -> np.ndarray:
    """Give what the default order goes by: held-out AUC above chance times steer slope above 0, as far as known.

    `(2 AUC - 1) * slope`, AUC the lower end of its interval, each at least 0; what could not be measured comes last.
    """
    if AUC not in concepts:
        return concepts["evidence"].to_numpy(float)
    above = np.maximum(2 * concepts[AUC].to_numpy(float) - 1, 0)
    return above * np.maximum(concepts[SLOPE].to_numpy(float), 0) if SLOPE in concepts else above


def named(label: str, neuron: int) -> str:
    """Give a label without the number that keeps it apart from others, for where the number stands beside it anyway.

    >>> named("Mixed · #17", 17)
    'Mixed'
    """
    return label.removesuffix(f" · #{neuron}")


def nearest_labels(concepts: pd.DataFrame, text: str, n: int = 5) -> list[str]:
    """Give labels that are spelt like a search that found nothing."""
    alive = concepts[concepts["alive"]]
    labels = dict.fromkeys(map(named, alive["label"].fillna(""), alive["neuron"]))
    spelt = {label.casefold(): label for label in labels if label}
    words = {word: label for key, label in reversed(spelt.items()) for word in key.replace("·", " ").split()}
    wanted = text.strip().casefold()
    close = get_close_matches(wanted, list(spelt), n=n, cutoff=0.4)
    close_words = get_close_matches(wanted, list(words), n=n, cutoff=0.6)
    return list(dict.fromkeys([words[w] for w in close_words] + [spelt[c] for c in close]))[:n]


def around(shown: pd.DataFrame, neuron: int) -> tuple[int | None, int | None, int | None]:
    """Give a concept's place in the list (from 0) and the neurons before and after it; None where there is none."""
    order = shown["neuron"].to_numpy()
    places = np.flatnonzero(order == neuron)
    if not len(places):
        return None, None, int(order[0]) if len(order) else None
    place = int(places[0])
    before = int(order[place - 1]) if place else None
    after = int(order[place + 1]) if place + 1 < len(order) else None
    return place, before, after


def exported(shown: pd.DataFrame) -> pd.DataFrame:
    """Give the rows and the columns that leave the page as files."""
    return shown[[column for column in EXPORTED if column in shown or column not in OPTIONAL]].reset_index(drop=True)


def to_csv(shown: pd.DataFrame) -> bytes:
    """Write the shown rows as CSV (UTF-8 with its mark, for spreadsheets); no cell can run as a formula."""
    table = exported(shown)
    for column in (name for name in _TEXTS if name in table):
        table[column] = [for_csv("" if pd.isna(v) else v) for v in table[column]]
    return table.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")


def to_parquet(shown: pd.DataFrame) -> bytes:
    """Write the shown rows as Parquet: the texts as they are."""
    table = exported(shown)
    for column in (name for name in _TEXTS if name in table):
        table[column] = table[column].astype("str")
    return bytes(table.to_parquet(index=False))


def _order(found: pd.DataFrame, filters: Filters, *, by_strength: bool) -> np.ndarray:
    """Give the places of rows in their order; equal ones stay in the order of evidence, unknown ones come last."""
    column, least_first = _ORDERS.get(filters.sort or SORTS[0], ("", False))
    if column == "label":
        keys = pd.Series([label.casefold() for label in found["label"].fillna("")], dtype="str").rank().to_numpy()
        values = np.where(found["alive"], keys, np.nan)
    elif column:
        values = found[column].to_numpy(float) if column in found else np.zeros(len(found))
    else:
        values = found[STRENGTH].to_numpy() if by_strength else worth(found)
    values = values if least_first else -values
    keys = [np.nan_to_num(values, nan=np.inf), ~found["alive"].to_numpy(bool)]
    if not column and by_strength and FIRES_FOR in found and filters.text:
        wanted = filters.text.strip().casefold()
        label = [
            wanted in f"{name}\n{best}".casefold()
            for name, best in zip(found["label"], found["best_concept"], strict=True)
        ]
        keys = [np.where(label, -worth(found), keys[0]), ~np.array(label, bool), keys[1]]
    return np.lexsort(tuple(np.nan_to_num(key, nan=np.inf) for key in keys))
