"""What people think of labels, 0 to 4, kept beside what else they write; and how far they agree with each other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import inspect, select

from core.errors import ConfigError
from core.store.store import Store
from core.store.tables import MAX_LABEL
from core.store.tables import ratings as _table
from core.store.values import author, basis_of, checked_name, now

SCALE = {
    0: "wrong", 1: "mostly wrong", 2: "partly right", 3: "mostly right", 4: "right",
}  # fmt: skip
"""What a number says of a label, beside the titles that fire the concept."""


class Rating(NamedTuple):
    """What one person thought of one label. Label and author are untrusted text."""

    neuron: int
    label: str
    rating: int
    author: str
    at: str


def rate(store: Store, run_id: str, neuron: int, label: str, rating: int, by: str | None = None) -> None:
    """Keep a rating; a later one of the same person for the same label takes its place.

    Raises:
        ConfigError: It is no whole number from 0 to 4, or the label is empty or too long.
        MissingStageError: There is no such run.
    """
    if isinstance(rating, bool) or rating not in SCALE:
        raise ConfigError(f"A rating is a whole number from 0 to 4, not {rating!r}.", "Choose one of the five.")
    values = {
        "sae": basis_of(store.workspace.meta("neurons", run_id).parents, "neurons"), "neuron": int(neuron),
        "label": checked_name(label, MAX_LABEL, "label"), "rating": int(rating), "author": by or author(), "at": now(),
    }  # fmt: skip
    with store.database.writing() as connection:
        _table.create(connection, checkfirst=True)
        connection.execute(_table.insert().values(**values))


def ratings(store: Store, sae: str) -> list[Rating]:
    """Give the last rating that each person gave to each label of an SAE, the oldest first."""
    with store.database.reading() as connection:
        if connection is None or not inspect(connection).has_table(_table.name):
            return []
        query = select(_table).where(_table.c.sae == sae).order_by(_table.c.at, _table.c.id)
        rows = connection.execute(query).all()
    last = {(row.neuron, row.label, row.author): Rating(*(getattr(row, f) for f in Rating._fields)) for row in rows}
    return list(last.values())


def matrix(given: Sequence[Rating]) -> np.ndarray:
    """Give (n_people, n_labels) ratings, NaN where a person did not rate a label."""
    people = sorted({r.author for r in given})
    units = sorted({(r.neuron, r.label) for r in given})
    out = np.full((len(people), len(units)), np.nan)
    for r in given:
        out[people.index(r.author), units.index((r.neuron, r.label))] = r.rating
    return out


def krippendorff_alpha(values: np.ndarray) -> float:
    """Give how far people agree beyond chance: Krippendorff's alpha for ordered categories (2011).

        alpha = 1 - D_o / D_e,   delta(c, k) = (sum of n_g for g from c to k - (n_c + n_k) / 2)^2

    over the coincidences of pairs within each label that two people or more rated.

    Args:
        values: (n_people, n_units), NaN where there is none.

    Returns:
        1 for perfect agreement, 0 for chance, negative below; NaN with fewer than two people on any label, or where all
        ratings are the same.
    """
    paired = (~np.isnan(values)).sum(axis=0) >= 2
    kinds = np.unique(values[:, paired][~np.isnan(values[:, paired])])
    if len(kinds) < 2:
        return float("nan")
    together = np.zeros((len(kinds), len(kinds)))
    for unit in values[:, paired].T:
        counts = (unit[:, None] == kinds).sum(axis=0).astype(float)
        together += (np.outer(counts, counts) - np.diag(counts)) / (counts.sum() - 1)
    n_of = together.sum(axis=0)
    reach = np.concatenate([[0.0], np.cumsum(n_of)])
    distance = np.zeros_like(together)
    for c in range(len(kinds)):
        for k in range(c, len(kinds)):
            between = reach[k + 1] - reach[c] - (n_of[c] + n_of[k]) / 2
            distance[c, k] = distance[k, c] = between**2
    expected = (np.outer(n_of, n_of) * distance).sum() / (n_of.sum() - 1)
    return float(1 - (together * distance).sum() / expected)
