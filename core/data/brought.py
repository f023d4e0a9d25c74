"""From the ids of a model that was trained elsewhere and a person's tables to a `Dataset`, with nothing lost unsaid."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from core.data.assemble import DataConfig, assemble, first_ids, with_titles
from core.data.dataset import Columns, Dataset, IdMap
from core.data.layouts.atomic import read_interactions, read_items
from core.data.layouts.generic import read_users
from core.data.layouts.raw import RawLog
from core.errors import DataError

C = Columns()
UnknownItems = Literal["error", "drop", "keep"]


class Tables(NamedTuple):
    """A person's tables, in the columns of the generic layout or with the headers of RecBole."""

    items: Path
    interactions: Path | None = None
    users: Path | None = None


class Ids(NamedTuple):
    """The ids of a model's items or users, a row of its vectors each."""

    ids: Sequence[str] | None
    """None where the model has none."""
    n: int
    source: str
    """The file that they are from, for messages."""
    option: str
    """Where they can be given, for messages: `--item-ids`."""


class Joined(NamedTuple):
    """A dataset, and where its items and users are in the model."""

    dataset: Dataset
    item_rows: np.ndarray
    """(n_items,) row of the model of each item; every item has one."""
    user_rows: np.ndarray
    """(n_users,) row of the model of each user, -1 where it has none."""


def join(tables: Tables, items: Ids, users: Ids | None, *, name: str, unknown_items: UnknownItems = "error") -> Joined:
    """Bring a model's ids and a person's tables together.

    Items are those of the model, in the order of the item table: its rows without a vector are left out. Users are
    those of the interactions, then those of the model alone.

    Args:
        tables: The person's tables.
        items: Of the model. Without ids its rows follow the item table, which must have as many.
        users: Of the model, or None where it has no vectors of users. Without ids they follow the user table if that
            has as many, and are numbered from 0 where there is neither a user table nor a log.
        name: What the dataset is called.
        unknown_items: Vectors, and interactions with items, that the item table lacks: refuse, leave out, or keep with
            the id as the title.

    Raises:
        DataError: Ids that are given twice, match nothing or cannot be told, or a table that cannot be used.
    """
    table, notes = read_items(tables.items)
    said = list(notes)
    listed = with_titles(table, said)
    table, item_rows = _join_items(listed, tables.items.name, items, unknown_items, said)
    log = None
    if tables.interactions is not None:
        log = _known_log(tables.interactions, table, pd.Index(listed[C.item]), unknown_items, said)
    people = None if tables.users is None else read_users(tables.users)
    if log is not None:
        raw = RawLog(name, log, table, None, tuple(said))
        del log  # five million rows and their copies are too much
        dataset = assemble(raw, DataConfig(keep_unused_items=True))
        said = list(dataset.notes)
        del raw
    else:
        nobody = np.empty(0, np.int32)
        rows = table.drop(columns=C.item).reset_index(drop=True)
        dataset = Dataset(name, IdMap((), "user"), IdMap(table[C.item], "item"), nobody, nobody, None, rows)
    ids, user_rows = _join_users(dataset.users.ids, users, people, said)
    if not ids:
        raise DataError("There are neither vectors of users nor interactions.", "Give --users or --interactions.")
    known = None if people is None else _user_table(people, ids, said)
    dataset = replace(dataset, users=IdMap(ids, "user"), user_table=known, notes=tuple(said))
    return Joined(dataset, item_rows, user_rows)


def _join_items(
    table: pd.DataFrame, table_name: str, items: Ids, unknown: UnknownItems, notes: list[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Give the rows of the item table that have a vector, and the row of the model of each."""
    if items.ids is None and items.n != len(table):
        raise DataError(
            f"{items.source} has {items.n:,} rows without ids, and {table_name} {len(table):,} items: "
            "which is which cannot be told.",
            f"Give the ids of the rows with {items.option}.",
        )
    ids = pd.Index(table[C.item] if items.ids is None else items.ids, dtype=object)
    _check_twice(ids, items)
    place = ids.get_indexer(pd.Index(table[C.item], dtype=object))
    strange = ids[~ids.isin(table[C.item])]
    if len(strange) == len(ids):
        raise DataError(
            f"No item of {items.source} is in {table_name}: the one has {first_ids(ids)}, the other "
            f"{first_ids(table[C.item])}.",
            "Give the item table of the catalogue that the model was trained on, with the same ids.",
        )
    if len(strange):
        told = f"{len(strange):,} of {len(ids):,} items of {items.source} are not in {table_name}: {first_ids(strange)}"
        if unknown == "error":
            raise DataError(f"{told}.", f"Add them to {table_name}, or give --unknown-items drop or keep.")
        notes.append(f"{told}; they {'were left out' if unknown == 'drop' else 'are shown by their id'}.")
    if n_without := int((place < 0).sum()):
        without = table[C.item].to_numpy()[place < 0]
        notes.append(f"{n_without:,} of {len(table):,} items have no vector and were left out: {first_ids(without)}.")
    found, rows = table[place >= 0], place[place >= 0]
    if unknown == "keep" and len(strange):
        more = pd.DataFrame({C.item: strange.astype(str), C.title: strange.astype(str)})
        more[C.year] = pd.Series(pd.NA, index=more.index, dtype="Int64")
        more[C.genres] = more[C.tags] = pd.Series([()] * len(more), dtype=object)
        found, rows = pd.concat([found, more]), np.concatenate([rows, ids.get_indexer(strange)])
    if len(found) < 2:
        raise DataError(
            f"Only {len(found)} item of {table_name} has a vector: there is nothing to tell apart.",
            "Give vectors of at least two items.",
        )
    return found.reset_index(drop=True), rows


def _known_log(
    path: Path, items: pd.DataFrame, listed: pd.Index, unknown: UnknownItems, notes: list[str]
) -> pd.DataFrame:
    """Read the interactions, without those of items that have no vector; `listed` are the ids of the item table."""
    log = read_interactions(path)
    seen = log[C.item].cat.categories
    without = seen[pd.Index(items[C.item]).get_indexer(seen) < 0]
    if not len(without):
        return log
    rows = log[C.item].isin(without).to_numpy()
    if rows.all():
        raise DataError(
            f"No interaction of {path.name} is with an item that has a vector: its items are {first_ids(seen)}, those "
            f"with a vector {first_ids(items[C.item])}.",
            "Give the interactions of the catalogue that the model was trained on, with the same ids.",
        )
    strange = without[~without.isin(listed)]
    if len(strange) and unknown == "error":
        n_strange = int(log[C.item].isin(strange).sum())
        raise DataError(
            f"{n_strange:,} interactions of {path.name} are with {len(strange):,} items that the item table lacks: "
            f"{first_ids(strange)}.",
            "Add these items to the item table, or give --unknown-items drop.",
        )
    notes.append(
        f"{int(rows.sum()):,} of {len(log):,} interactions are with {len(without):,} items without a vector and were "
        f"left out: {first_ids(without)}."
    )
    return log[~rows].assign(**{C.item: log[C.item][~rows].cat.remove_unused_categories()})


def _join_users(
    in_log: Sequence[str], users: Ids | None, people: pd.DataFrame | None, notes: list[str]
) -> tuple[list[str], np.ndarray]:
    """Give the ids of all users, and the row of the model of each or -1."""
    if users is None:
        return list(in_log), np.full(len(in_log), -1)
    names = users.ids
    if names is None and people is not None and len(people) == users.n:
        if n_missing := int((people[C.user].isna() | (people[C.user] == "")).sum()):
            raise DataError(f"The user table has {n_missing:,} rows without a {C.user}.", "Give each row one.")
        names = people[C.user].tolist()
    elif names is None and people is None and not in_log:
        names = [str(row) for row in range(users.n)]
        notes.append(f"{users.source} has no ids of its users: they are numbered from 0.")
    if names is None:
        beside = "user table" if people is not None else "interactions"
        count = len(people) if people is not None else len(in_log)
        raise DataError(
            f"{users.source} has {users.n:,} rows without ids, and the {beside} {count:,} users: which is which cannot "
            "be told.",
            f"Give the ids of the rows with {users.option}.",
        )
    ids, logged = pd.Index(names, dtype=object), pd.Index(in_log, dtype=object)
    _check_twice(ids, users)
    place = ids.get_indexer(logged)
    if len(logged) and (place < 0).all():
        raise DataError(
            f"No user of {users.source} is in the interactions: the one has {first_ids(ids)}, the others "
            f"{first_ids(logged)}.",
            f"Give the interactions of the users that the model was trained on, or their ids with {users.option}.",
        )
    if n_without := int((place < 0).sum()):
        notes.append(
            f"{n_without:,} of {len(logged):,} users of the interactions have no vector and are folded in: "
            f"{first_ids(logged[place < 0])}."
        )
    alone = np.setdiff1d(np.arange(len(ids)), place)
    return [*in_log, *ids[alone]], np.concatenate([place, alone])


def _user_table(people: pd.DataFrame, ids: list[str], notes: list[str]) -> pd.DataFrame:
    twice = people.loc[people[C.user].duplicated(), C.user].unique()
    if len(twice):
        raise DataError(
            f"The user table gives {len(twice):,} ids more than once: {first_ids(twice)}.", "Give each user one row."
        )
    table = people.set_index(C.user).reindex(ids)
    without = pd.Index(ids)[~pd.Index(ids).isin(people[C.user])]
    if len(without):
        notes.append(f"{len(without):,} of {len(ids):,} users have no row in the user table: {first_ids(without)}.")
    return table.reset_index(drop=True)


def _check_twice(ids: pd.Index, of: Ids) -> None:
    if ids.has_duplicates:
        twice = ids[ids.duplicated()].unique()
        raise DataError(
            f"{of.source} gives {len(twice):,} ids more than once: {first_ids(twice)}.", "Give each id one vector."
        )
