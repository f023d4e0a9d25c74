"""From the tables of a log to a `Dataset`: duplicates, minimum ratings, k-core, and the order of everything."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import sparse

from core.configs import check
from core.data.dataset import Columns, Dataset, IdMap
from core.data.layouts.raw import RawLog
from core.errors import DataError, one_line

C = Columns()
TITLE_LIMIT = 300
"""Characters of a title that are kept."""


@dataclass(frozen=True)
class DataConfig:
    """What of a log is used. The result is always binary: an interaction is there or it is not."""

    min_rating: float | None = None
    """Ratings (or play counts) below this are dropped; None keeps every rating as a sign of interest."""
    k_core: int = 0
    """Users and items with fewer interactions are dropped, again and again until none is left; 0 keeps all."""
    min_user_items: int = 1
    """Like `k_core`, for users only."""
    min_item_users: int = 1
    """Like `k_core`, for items only."""
    keep_unused_items: bool = False
    """Whether items that nobody consumed stay in the catalogue."""
    unknown_items: Literal["error", "drop", "keep"] = "error"
    """Interactions with items that the item table lacks: refuse, leave out, or keep with the id as the title."""
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    """The encoding of the files of a folder in the generic layout."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("k_core", "min_user_items", "min_item_users"):
            check(getattr(self, name) >= 0, f"data.{name} is {getattr(self, name)}.", f"Set data.{name} to 0 or more.")


DEFAULTS = DataConfig()


def assemble(raw: RawLog, options: DataConfig = DEFAULTS, licence: str = "") -> Dataset:
    """Build the dataset of a log.

    Of an interaction that occurs several times the latest stays. Users are in the order of their ids where these
    are whole numbers, else of their first line; items are in the order of the item table.

    Raises:
        DataError: An id occurs twice, items are unknown, or nothing worth learning from is left.
    """
    notes = list(raw.notes)
    items = with_titles(raw.items, notes)
    log, items = _known_items(raw.interactions, items, options, notes)
    user, user_ids = _positions(log[C.user])
    item = pd.Index(items[C.item]).get_indexer(log[C.item].cat.categories).astype(np.int32)[log[C.item].cat.codes]
    time = log[C.timestamp].to_numpy().astype(np.int64) if C.timestamp in log else None
    order = _oldest_first(user, time)
    latest = _latest(user[order], item[order], len(items))
    if n_twice := int((~latest).sum()):
        notes.append(f"{n_twice:,} repeated interactions were kept once.")
        order = order[latest]
    if options.min_rating is not None:
        if C.rating not in log:
            raise DataError(f"{raw.name} has no ratings, and data.min_rating is set.", "Leave data.min_rating unset.")
        order = order[log[C.rating].to_numpy()[order] >= options.min_rating]
        notes.append(
            f"{len(latest) - n_twice - len(order):,} interactions rated below {options.min_rating:g} were dropped."
        )
    order = _core(user, item, order, options, notes)
    if not len(order):
        raise DataError(
            f"No interaction of {raw.name} is left after filtering ({len(log):,} before).",
            "Lower data.min_rating, data.k_core, data.min_user_items or data.min_item_users.",
        )
    user = user[order]
    first = np.concatenate([[True], user[1:] > user[:-1]])
    used_users, user_index = user[first], np.cumsum(first, dtype=np.int32) - 1
    used_items = np.flatnonzero(np.bincount(item[order], minlength=len(items)))
    if options.keep_unused_items:
        used_items = np.arange(len(items))
    elif n_unused := len(items) - len(used_items):
        notes.append(f"{n_unused:,} items without any interaction were dropped.")
    for count, kind in ((len(used_users), "user"), (len(used_items), "item")):
        if count < 2:
            raise DataError(
                f"{raw.name} has one {kind} only: there is nothing to tell apart.",
                f"Give a log of at least two {kind}s, or filter less of it.",
            )
    ids = [user_ids[u] for u in used_users]
    return Dataset(
        name=raw.name,
        users=IdMap(ids, "user"),
        items=IdMap(items[C.item].iloc[used_items], "item"),
        user_index=user_index,
        item_index=np.searchsorted(used_items, item[order]).astype(np.int32),
        timestamps=None if time is None else time[order],
        item_table=items.iloc[used_items].drop(columns=C.item).reset_index(drop=True),
        user_table=_user_table(raw.users, ids, notes),
        simulated=raw.simulated,
        licence=licence,
        notes=tuple(notes),
    )


def with_titles(items: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Give an item table whose every item has a title of a length that can be shown.

    Args:
        items: As in `RawLog`.
        notes: Where to say what was changed.

    Raises:
        DataError: An id occurs twice.
    """
    ids = items[C.item]
    if ids.duplicated().any():
        twice = ids[ids.duplicated()].unique()
        raise DataError(
            f"The item table gives {len(twice):,} ids more than once: {first_ids(twice)}.", "Give each item one row."
        )
    titles = items[C.title].astype("str")
    nameless = items[C.title].isna() | (titles.str.strip() == "")
    if nameless.any():
        notes.append(f"{int(nameless.sum()):,} items without a title are shown by their id.")
    titles = titles.where(~nameless, ids)
    long = titles.str.len() > TITLE_LIMIT
    if long.any():
        notes.append(f"{int(long.sum()):,} titles longer than {TITLE_LIMIT} characters were cut.")
        titles = titles.where(~long, titles.str.slice(0, TITLE_LIMIT - 1) + "…")
    return items.assign(**{C.title: titles})


def _known_items(
    log: pd.DataFrame, items: pd.DataFrame, options: DataConfig, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Deal with the interactions whose item is not in the item table."""
    seen = log[C.item].cat.categories
    unknown = seen[pd.Index(items[C.item]).get_indexer(seen) < 0]
    if not len(unknown):
        return log, items
    rows = log[C.item].isin(unknown).to_numpy()
    said = (
        f"{int(rows.sum()):,} interactions are with {len(unknown):,} items that the item table lacks: "
        f"{first_ids(unknown)}"
    )
    if options.unknown_items == "error":
        raise DataError(f"{said}.", "Add these items, or set data.unknown_items to drop or keep.")
    if options.unknown_items == "drop":
        notes.append(f"{said}; they were dropped.")
        return log[~rows], items
    notes.append(f"{said}; they are shown by their id.")
    more = pd.DataFrame({C.item: unknown.astype(str), C.title: unknown.astype(str)})
    more[C.year] = pd.Series(pd.NA, index=more.index, dtype="Int64")
    more[C.genres] = more[C.tags] = pd.Series([()] * len(more), dtype=object)
    return log, pd.concat([items, more], ignore_index=True)


def _positions(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Give the position of each row's id and the ids in order: of number where all are whole numbers, else of line."""
    ids = [str(i) for i in column.cat.categories.tolist()]
    codes = column.cat.codes.to_numpy()
    if all(i.isascii() and i.isdigit() and len(i) < 18 for i in ids):
        order = np.argsort(np.array(ids, dtype=np.int64), kind="stable")
    else:
        present, first = np.unique(codes, return_index=True)
        order = present[np.argsort(first, kind="stable")]
    place = np.full(len(ids), -1, dtype=np.int32)
    place[order] = np.arange(len(order))
    return place[codes], [ids[i] for i in order]


def _oldest_first(user: np.ndarray, time: np.ndarray | None) -> np.ndarray:
    """Give the positions of the interactions by user, then by time, then as they are in the file."""
    by_time = None if time is None else np.argsort(time, kind="stable")
    rows = user if by_time is None else user[by_time]
    # To fill a sparse matrix by rows is a counting sort: several times as fast as to compare.
    columns = np.arange(len(rows), dtype=np.int32)
    shape = (int(rows.max(initial=0)) + 1, len(rows))
    grouped = sparse.csr_matrix((np.ones(len(rows), bool), (rows, columns)), shape=shape)
    return grouped.indices if by_time is None else by_time[grouped.indices]


def _latest(user: np.ndarray, item: np.ndarray, n_items: int) -> np.ndarray:
    """Say of each interaction whether it is the last of its user and item; users are sorted."""
    rows = np.searchsorted(user, np.arange(int(user.max(initial=-1)) + 2))
    shape = (len(rows) - 1, n_items)
    # By item, users stay in their order, and so do the places of a user's repetitions: side by side.
    places = sparse.csr_matrix((np.arange(len(user), dtype=np.int32), item, rows), shape=shape).tocsc()
    again = places.indices[1:] == places.indices[:-1]
    borders = places.indptr[1:-1] - 1
    again[borders[(borders >= 0) & (borders < len(again))]] = False
    latest = np.ones(len(user), bool)
    latest[places.data[:-1][again]] = False
    return latest


def _core(user: np.ndarray, item: np.ndarray, keep: np.ndarray, options: DataConfig, notes: list[str]) -> np.ndarray:
    """Give those of the interactions `keep` that survive: the largest part in which every minimum holds."""
    least_user, least_item = max(options.k_core, options.min_user_items), max(options.k_core, options.min_item_users)
    n_before = len(keep)
    while len(keep) and (least_user > 1 or least_item > 1):
        rich = np.bincount(user[keep])[user[keep]] >= least_user
        rich &= np.bincount(item[keep])[item[keep]] >= least_item
        if rich.all():
            break
        keep = keep[rich]
    if len(keep) < n_before:
        notes.append(
            f"{n_before - len(keep):,} interactions of users with fewer than {least_user} items "
            f"or of items with fewer than {least_item} users were dropped."
        )
    return keep


def _user_table(users: pd.DataFrame | None, ids: list[str], notes: list[str]) -> pd.DataFrame | None:
    if users is None:
        return None
    if users[C.user].duplicated().any():
        twice = users.loc[users[C.user].duplicated(), C.user].unique()
        raise DataError(
            f"The user table gives {len(twice):,} ids more than once: {first_ids(twice)}.", "Give each user one row."
        )
    table = users.set_index(C.user).reindex(ids)
    if n_unknown := len(ids) - len(set(ids) & set(users[C.user])):
        notes.append(f"{n_unknown:,} users have interactions and no row in the user table.")
    if n_idle := len(users) - (len(ids) - n_unknown):
        notes.append(f"{n_idle:,} users without any interaction were dropped.")
    return table.reset_index(drop=True)


def first_ids(ids: object, n: int = 3) -> str:
    """Name the first ids of some, for a message."""
    shown = [repr(one_line(str(i), 40)) for i in list(ids)[:n]]  # type: ignore[call-overload]
    return ", ".join(shown) + (", …" if len(list(ids)) > n else "")  # type: ignore[call-overload]
