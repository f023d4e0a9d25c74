"""The tables of RecBole, whose columns say their type: `item_id:token  movie_title:token_seq  genre:token_seq`.

Its own files (`.item`, `.inter`) are separated by tabs, those that were saved from pandas by commas. A sequence is
separated by blanks. A table without types is read as the generic layout.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from core.data.dataset import Columns
from core.data.layouts import generic
from core.data.layouts.tables import HEADER_LIMIT, LARGEST, TIMESTAMP_LIMIT, Format, check_numbers, read_table
from core.errors import DataError, one_line

C = Columns()
KNOWN = {
    C.title: ("title", "movie_title", "item_name", "name", "artist_name", "track_name"),
    C.year: ("year", "release_year", "movie_year"),
    C.genres: ("genres", "genre", "class", "categories", "category"),
    C.tags: ("tags", "tag", "tag_value"),
}
"""What the columns of the public datasets are called; the first that is there is taken."""


def read_items(path: Path, item: str = C.item) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read an item table with RecBole's headers or in the generic layout.

    Args:
        path: The file.
        item: RecBole's name of the item ids, its setting ITEM_ID_FIELD.

    Returns:
        Columns `item_id`, `title`, `year`, `genres`, `tags` as `RawLog` has them, and what was changed in them.

    Raises:
        DataError: The file or a column is missing, or it cannot be read.
    """
    typed, form = _header(path)
    if not typed:
        return generic.read_items(path)
    found = {C.item: _column(path, typed, [item])}
    found[C.title] = _column(path, typed, [*KNOWN[C.title], *(n for n in typed if n.endswith(("title", "name")))])
    for column in (C.year, C.genres, C.tags):
        if there := [n for n in KNOWN[column] if n in typed]:
            found[column] = there[0]
    names = {f"{name}:{typed[name]}": column for column, name in found.items()}
    frame = read_table(path, list(names), form=form).rename(columns=names)
    for column in (C.genres, C.tags):
        if column in found and typed[found[column]].endswith("_seq"):
            frame[column] = [str(v).split() if isinstance(v, str) else [] for v in frame[column]]
    titles, n_mended = _mended(frame[C.title])
    table, notes = generic.tidy_items(frame.assign(**{C.title: titles}), path.name)
    if n_mended:
        notes = (*notes, f"{n_mended:,} titles were UTF-8 read as Latin-1, and are shown as they were meant.")
    return table, notes


def read_interactions(path: Path, user: str = C.user, item: str = C.item) -> pd.DataFrame:
    """Read interactions with RecBole's headers (`.inter`) or in the generic layout.

    Args:
        path: The file.
        user: RecBole's name of the user ids, its setting USER_ID_FIELD.
        item: RecBole's name of the item ids, its setting ITEM_ID_FIELD.

    Raises:
        DataError: The file or a column is missing, or a value cannot be what its column says.
    """
    typed, form = _header(path)
    if not typed:
        return generic.read_interactions(path)
    found = {C.user: _column(path, typed, [user]), C.item: _column(path, typed, [item])}
    found |= {c: c for c in (C.rating, C.timestamp) if c in typed}
    raw = {column: f"{name}:{typed[name]}" for column, name in found.items()}
    numbers = [raw[c] for c in (C.rating, C.timestamp) if c in raw]
    keys = [raw[C.user], raw[C.item]]
    frame = read_table(path, keys, numbers, keys=keys, numbers=numbers, form=form)
    frame = frame.rename(columns={name: column for column, name in raw.items()})
    check_numbers(path, frame, C.rating, low=-LARGEST, high=LARGEST, meaning="a number")
    check_numbers(path, frame, C.timestamp, low=0, high=TIMESTAMP_LIMIT, meaning="seconds since 1970")
    return frame


def _header(path: Path) -> tuple[dict[str, str], Format]:
    """Give the type of each column that says one, and how the file is written."""
    if path.suffix == ".parquet" or not path.is_file():
        return {}, Format()
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline(HEADER_LIMIT).removeprefix("\ufeff").rstrip("\r\n")
    separator = "\t" if "\t" in line else ","
    pairs = [name.strip().partition(":") for name in line.split(separator)]
    return {name: kind for name, _, kind in pairs if kind}, Format(separator, quoted=separator == ",")


def _column(path: Path, typed: dict[str, str], names: Sequence[str]) -> str:
    """Give the first of some names that is there."""
    if there := [name for name in names if name in typed]:
        return there[0]
    raise DataError(
        f"{path.name} has no column {one_line(' or '.join(f'{n}:token' for n in names[:3]), 80)}; its columns are "
        f"{one_line(', '.join(f'{n}:{k}' for n, k in typed.items()), 160)}.",
        f"Name the column {names[0]}:token in the first line of {path}.",
    )


def _mended(titles: pd.Series) -> tuple[pd.Series, int]:
    """Give titles whose UTF-8 was once read as Latin-1 as they were meant, and how many there are."""

    def mend(title: str) -> str:
        try:
            return title.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return title

    mended = titles.map(mend, na_action="ignore")
    return mended, int((mended != titles)[titles.notna()].sum())
