"""The layout that anybody can write: `interactions`, `items` and perhaps `users`, as CSV or Parquet."""

from pathlib import Path

import pandas as pd

from core.data.dataset import Columns
from core.data.layouts.raw import RawLog, display_title, items_frame
from core.data.layouts.tables import CSV, LARGEST, TIMESTAMP_LIMIT, Format, check_numbers, read_table, split_labels
from core.errors import DataError, one_line

C = Columns()


def table_path(folder: Path, stem: str) -> Path:
    """Give `stem`.parquet where only that is there, else `stem`.csv."""
    parquet, text = folder / f"{stem}.parquet", folder / f"{stem}.csv"
    return parquet if parquet.is_file() and not text.is_file() else text


def read(folder: Path, encoding: str) -> RawLog:
    """Read a folder in the generic layout.

    Raises:
        DataError: A file or column is missing, or a value cannot be what its column says.
    """
    form = Format(encoding=encoding)
    interactions = read_interactions(table_path(folder, "interactions"), form)
    users = table_path(folder, "users")
    items, notes = read_items(table_path(folder, "items"), form)
    return RawLog(
        name=folder.resolve().name,
        interactions=interactions,
        items=items,
        users=read_users(users, form) if users.is_file() else None,
        notes=notes,
    )


def read_interactions(path: Path, form: Format = CSV) -> pd.DataFrame:
    """Read a table of interactions as `RawLog` has it."""
    frame = read_table(
        path,
        [C.user, C.item],
        [C.rating, C.timestamp],
        keys=[C.user, C.item],
        numbers=[C.rating, C.timestamp],
        form=form,
    )
    check_numbers(path, frame, C.rating, low=-LARGEST, high=LARGEST, meaning="a number")
    check_numbers(path, frame, C.timestamp, low=0, high=TIMESTAMP_LIMIT, meaning="seconds since 1970")
    return frame


def read_users(path: Path, form: Format = CSV) -> pd.DataFrame:
    """Read a user table: `user_id` and any columns, as text."""
    return read_table(path, [C.user], None, form=form).apply(_text)


def _text(column: pd.Series) -> pd.Series:
    """Give a column as text, missing values as they are: Parquet may hold numbers, times, bytes and lists."""
    return column.map(lambda value: value if isinstance(value, str) else str(value), na_action="ignore")


def read_items(path: Path, form: Format = CSV) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read an item table; gives it and what was changed in it."""
    return tidy_items(read_table(path, [C.item, C.title], [C.year, C.genres, C.tags], form=form), path.name)


def tidy_items(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Give the item table as `RawLog` has it, and what was changed; `name` is that of its file, for messages."""
    if n_missing := int((frame[C.item].isna() | (frame[C.item] == "")).sum()):
        raise DataError(f"{name} has {n_missing:,} rows without a {C.item}.", "Give each row one.")
    notes = []
    written = _text(frame[C.title])
    titles = written.map(display_title, na_action="ignore")
    moved = (titles != written) & titles.notna()
    if moved.any():
        before, after = one_line(written[moved].iloc[0], 60), one_line(titles[moved].iloc[0], 60)
        notes.append(f"{int(moved.sum()):,} titles such as {before!r} are shown as {after!r}.")
    years = None
    if C.year in frame:
        text = frame[C.year].astype("str").str.strip()
        numbers = pd.to_numeric(text, errors="coerce")
        years = numbers.where((numbers == numbers.round()) & (numbers.abs() < 10_000))
        if n_bad := int((years.isna() & frame[C.year].notna() & (text != "")).sum()):
            notes.append(
                f"{n_bad:,} items have a year that is not one, such as {text[years.isna()].iloc[0]!r}: shown without."
            )
    labels = {c: split_labels(frame[c]) if c in frame else [()] * len(frame) for c in (C.genres, C.tags)}
    return items_frame(frame[C.item], titles, years, labels[C.genres], labels[C.tags]), tuple(notes)
