"""The list of concepts: one row a neuron, ordered by how well its meaning is supported, filtered as people ask.

Values in, values out: the pages Concepts and Concept share it, so that previous and next follow the list.
"""

from difflib import get_close_matches

import numpy as np
import pandas as pd

from core.neurons.table import NeuronTable
from dashboard.escape import for_csv
from dashboard.state import AUDIENCES, BANDS, Filters

N_TITLES = 3
STABILITY, LEVEL = "stability", "level"
CSV_COLUMNS = (
    "neuron", "label", "label_source", "evidence", "density_users", "density_items", "head_share", "best_concept",
    "purity_at_20", "base_rate", "lift", "stability", "level", "top_titles",
)  # fmt: skip
"""`stability` is there only where the run was built with a second SAE, `level` where neurons are nested."""


def list_concepts(table: NeuronTable, titles: list[str]) -> pd.DataFrame:
    """Give the frame of a `NeuronTable` with two more columns, most evidence first, dead ones last.

    Args:
        table: What is known of the neurons.
        titles: Titles in item order.

    Returns:
        The columns of `table.frame` and `audience` (one of `AUDIENCES`, "" for dead neurons) and `top_titles` (the
        first three top items, one text).
    """
    frame = table.frame.copy()
    frame["audience"] = audience_of(frame["head_share"].to_numpy(float), frame["alive"].to_numpy(bool))
    names = np.array([*titles, ""], dtype=object)  # -1, no item, points at the last one
    first = names[table.top_items[:, :N_TITLES]]
    frame["top_titles"] = [" · ".join(t for t in row if t) for row in first]
    best_last = np.lexsort((frame["neuron"], -frame["density_users"], -frame["evidence"].fillna(-1.0), ~frame["alive"]))
    return frame.iloc[best_last].reset_index(drop=True)


def audience_of(head_share: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Name the third of the living concepts, by head share, that each one is in; "" where it is dead or unknown."""
    known = alive & np.isfinite(head_share)
    out = np.full(len(head_share), "", dtype=object)
    if known.any():
        low, high = np.quantile(head_share[known], [1 / 3, 2 / 3])
        names = np.array(AUDIENCES, dtype=object)[np.where(head_share >= high, 0, np.where(head_share > low, 1, 2))]
        out[known] = names[known]
    return out


def search(concepts: pd.DataFrame, text: str) -> pd.Series:
    """Say which concepts a search finds: `#17` by index; else a part of a label, of a top title or of the genre."""
    text = text.strip().casefold()
    if text.startswith("#") and (number := text[1:].strip()).isdecimal():
        return concepts["neuron"] == int(number[:9])
    if not text:
        return pd.Series(True, index=concepts.index)
    found = pd.Series(False, index=concepts.index)
    for column in ("label", "top_titles", "best_concept"):
        found |= concepts[column].fillna("").str.casefold().str.contains(text, regex=False)
    return found


def select(concepts: pd.DataFrame, filters: Filters) -> pd.DataFrame:
    """Give the rows that pass the filters, in their order."""
    keep = search(concepts, filters.text)
    if filters.kinds:
        keep &= concepts["best_kind"].fillna("").str.casefold().isin([k.casefold() for k in filters.kinds])
    if filters.purity:
        keep &= concepts["purity_at_20"] >= filters.purity - 1e-9
    if filters.audiences:
        keep &= concepts["audience"].isin(filters.audiences)
    if filters.bands:
        density = concepts["density_users"]
        keep &= np.logical_or.reduce([(density > BANDS[b][0]) & (density <= BANDS[b][1]) for b in filters.bands])
    if not filters.dead:
        keep &= concepts["alive"]
    return concepts[keep]


def named(label: str, neuron: int) -> str:
    """Give a label without the number that keeps it apart from others, for where the number stands beside it anyway.

    >>> named("Mixed · #17", 17)
    'Mixed'
    """
    return label.removesuffix(f" · #{neuron}")


def nearest_labels(concepts: pd.DataFrame, text: str, n: int = 5) -> list[str]:
    """Give labels that are spelt like a search that found nothing."""
    spelt = {label.casefold(): label for label in concepts.loc[concepts["alive"], "label"].fillna("") if label}
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


def to_csv(shown: pd.DataFrame) -> bytes:
    """Write the shown rows as CSV (UTF-8 with its mark, for spreadsheets); no cell can run as a formula."""
    table = shown[[column for column in CSV_COLUMNS if column in shown or column not in (STABILITY, LEVEL)]].copy()
    for column in ("label", "label_source", "best_concept", "top_titles"):
        table[column] = [for_csv("" if pd.isna(v) else v) for v in table[column]]
    return table.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")
