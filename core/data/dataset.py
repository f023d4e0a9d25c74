"""Users, items and who consumed what: the one value that every later stage starts from."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from core.errors import DataError, near, one_line

Histories = Sequence[np.ndarray]
"""Item indices of each viewer, oldest first: one integer array a viewer. May be of viewers that nobody knows."""


ID_COLUMN = "__id__"
"""The column of a saved table that holds the ids."""


@dataclass(frozen=True)
class Columns:
    """The names of the columns of a table of interactions or items."""

    user: str = "user_id"
    item: str = "item_id"
    rating: str = "rating"
    timestamp: str = "timestamp"
    title: str = "title"
    year: str = "year"
    genres: str = "genres"
    tags: str = "tags"


class IdMap:
    """The ids of a table as people write them, and their positions 0..n-1.

    Args:
        ids: Distinct ids in the order of their positions; kept as text.
        kind: What an id stands for in messages: "user" or "item".

    Raises:
        DataError: An id occurs twice.
    """

    def __init__(self, ids: Iterable[object], kind: str) -> None:
        listed = ids.tolist() if isinstance(ids, pd.Series | pd.Index | np.ndarray) else ids  # ten times as fast
        self.ids: tuple[str, ...] = tuple(map(str, listed))
        self.kind = kind
        self._index = {name: position for position, name in enumerate(self.ids)}
        if len(self._index) != len(self.ids):
            seen: set[str] = set()
            twice = next(i for i in self.ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise DataError(f"The {kind} id {twice!r} occurs twice.", f"Give each {kind} one row.")

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, name: object) -> bool:
        return str(name) in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and self.ids == other.ids and self.kind == other.kind

    __hash__ = None  # type: ignore[assignment]

    def index(self, name: object) -> int:
        """Give the position of an id.

        Raises:
            DataError: There is no such id; near ids are suggested.
        """
        try:
            return self._index[str(name)]
        except KeyError:
            text = one_line(str(name), 60)
            raise DataError(
                f"There is no {self.kind} {text!r} among {len(self):,}{near(text, self.ids[:20_000])}.",
                f"Use an id of this dataset, for example {self.ids[0]!r}." if self.ids else "Load a dataset first.",
            ) from None


@dataclass(frozen=True, eq=False)
class Dataset:
    """An interaction log with its catalogue.

    Attributes:
        name: What people call it.
        users: User ids; position = row of `matrix`.
        items: Item ids; position = column of `matrix`.
        user_index: (n_interactions,) int32, sorted ascending.
        item_index: (n_interactions,) int32, in the order of time within a user (of the file where there is no time).
        timestamps: (n_interactions,) int64 seconds since 1970, or None.
        item_table: n_items rows in the order of `items`: `title` (str), `year` (Int64, may be missing),
            `genres` and `tags` (tuples of str).
        user_table: n_users rows in the order of `users`, any columns, or None.
        simulated: The viewers are drawn by a program: every page that shows them must say so.
    """

    name: str
    users: IdMap
    items: IdMap
    user_index: np.ndarray
    item_index: np.ndarray
    timestamps: np.ndarray | None
    item_table: pd.DataFrame
    user_table: pd.DataFrame | None = None
    simulated: bool = False
    licence: str = ""
    notes: tuple[str, ...] = field(default=())
    """What the loader dropped or changed, a sentence each, for people to read."""

    @property
    def n_users(self) -> int:
        """Number of users, those without an interaction included."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items, those without an interaction included."""
        return len(self.items)

    @property
    def n_interactions(self) -> int:
        """Number of distinct (user, item) pairs."""
        return len(self.item_index)

    @cached_property
    def indptr(self) -> np.ndarray:
        """(n_users + 1,) int64: the interactions of user u are `indptr[u]` to `indptr[u + 1]`."""
        return np.searchsorted(self.user_index, np.arange(self.n_users + 1)).astype(np.int64)

    @cached_property
    def item_counts(self) -> np.ndarray:
        """(n_items,) int64: in how many users' histories each item is."""
        return np.bincount(self.item_index, minlength=self.n_items).astype(np.int64)

    def history(self, user: int) -> np.ndarray:
        """Give the item indices of one user, oldest first."""
        return self.item_index[self.indptr[user] : self.indptr[user + 1]]

    def histories(self, users: Iterable[int] | None = None) -> list[np.ndarray]:
        """Give the item indices of several users (all by default), oldest first."""
        return [self.history(int(u)) for u in (range(self.n_users) if users is None else users)]

    def matrix(self) -> sparse.csr_matrix:
        """Give the (n_users, n_items) float32 matrix with 1 where a user consumed an item."""
        return to_matrix(self.histories(), self.n_items)

    def with_interactions(self, keep: np.ndarray) -> "Dataset":
        """Give the same users and items with only the interactions where the boolean mask `keep` is true."""
        return replace(
            self,
            user_index=self.user_index[keep],
            item_index=self.item_index[keep],
            timestamps=None if self.timestamps is None else self.timestamps[keep],
        )

    def titles(self) -> list[str]:
        """Give the titles in item order. They are untrusted text: escape them wherever they are shown."""
        return [str(t) for t in self.item_table["title"]]

    def fingerprint(self) -> str:
        """Give 16 hex digits that change when any interaction, id or item fact changes."""
        digest = hashlib.sha256()
        for part in (self.users.ids, self.items.ids):
            digest.update("\x1f".join(part).encode())
        arrays = (self.user_index, self.item_index, self.timestamps)
        for array in arrays:
            digest.update(b"none" if array is None else np.ascontiguousarray(array, dtype=np.int64).tobytes())
        digest.update(self.item_table.to_json(orient="split", index=False).encode())
        if self.user_table is not None:
            digest.update(self.user_table.to_json(orient="split", index=False).encode())
        return digest.hexdigest()[:16]

    def to_saved(self) -> tuple[dict[str, np.ndarray], dict[str, pd.DataFrame], dict[str, Any]]:
        """Give (arrays, tables, facts) for saving."""
        arrays = {"user_index": self.user_index, "item_index": self.item_index}
        if self.timestamps is not None:
            arrays["timestamps"] = self.timestamps
        items = self.item_table.assign(
            **{name: [list(v) for v in self.item_table[name]] for name in ("genres", "tags")}
        )
        users = pd.DataFrame(index=range(self.n_users)) if self.user_table is None else self.user_table
        tables = {
            "items": items.assign(**{ID_COLUMN: list(self.items.ids)}),
            "users": users.assign(**{ID_COLUMN: list(self.users.ids)}),
        }
        facts = {
            "name": self.name,
            "simulated": self.simulated,
            "licence": self.licence,
            "notes": list(self.notes),
            "has_user_table": self.user_table is not None,
        }
        return arrays, tables, facts

    @classmethod
    def from_saved(
        cls, arrays: Mapping[str, np.ndarray], tables: Mapping[str, pd.DataFrame], facts: Mapping[str, Any]
    ) -> "Dataset":
        """Restore what `to_saved` gave."""
        items, users = tables["items"], tables["users"]
        columns = {name: [tuple(v) for v in items[name]] for name in ("genres", "tags")}
        return cls(
            name=facts["name"],
            users=IdMap(users[ID_COLUMN], "user"),
            items=IdMap(items[ID_COLUMN], "item"),
            user_index=arrays["user_index"],
            item_index=arrays["item_index"],
            timestamps=arrays.get("timestamps"),
            item_table=items.drop(columns=ID_COLUMN).assign(**columns),
            user_table=users.drop(columns=ID_COLUMN) if facts["has_user_table"] else None,
            simulated=facts["simulated"],
            licence=facts["licence"],
            notes=tuple(facts["notes"]),
        )


def to_matrix(histories: Histories, n_items: int) -> sparse.csr_matrix:
    """Give the binary (len(histories), n_items) float32 matrix of some histories; an item twice counts once.

    >>> to_matrix([np.array([2, 0, 2])], 3).toarray()
    array([[1., 0., 1.]], dtype=float32)
    """
    lengths = np.fromiter((len(h) for h in histories), dtype=np.int64, count=len(histories))
    indices = np.concatenate([np.asarray(h, dtype=np.int64) for h in histories]) if len(histories) else np.empty(0, int)
    if indices.size and (indices.min() < 0 or indices.max() >= n_items):
        raise ValueError(f"item indices must be in 0..{n_items - 1}, got {indices.min()}..{indices.max()}")
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    matrix = sparse.csr_matrix((np.ones(indices.size, np.float32), indices, indptr), shape=(len(lengths), n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
