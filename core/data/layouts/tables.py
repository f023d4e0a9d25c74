"""One table out of a person's file: read fast, checked, and with a clear word when it is not what it should be."""

import csv
import mmap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from core.errors import DataError, near, one_line

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar", "::": "double colon"}
TIMESTAMP_LIMIT = 1e11
"""Seconds since 1970 beyond the year 5000: such a number is in milliseconds."""


LARGEST = float(np.finfo(np.float64).max)
"""The largest finite number."""


HEADER_LIMIT = 65_536
"""Characters of a first line that are looked at."""
BLOCK_BYTES = 1 << 23
"""Bytes that are parsed at a time; a row must fit."""


class Format(NamedTuple):
    """How the text of a table is written."""

    separator: str = ","
    names: tuple[str, ...] | None = None
    """Column names of a file without a header line; None reads them from its first line."""
    encoding: str = "utf-8"
    quoted: bool = True
    """Whether a field may stand in double quotes."""
    blanks: bool = False
    """Whether blanks separate too: there are copies of MovieLens 100K with both in a line."""


CSV = Format()


def read_table(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] | None = (),
    *,
    keys: Sequence[str] = (),
    numbers: Sequence[str] = (),
    form: Format = CSV,
) -> pd.DataFrame:
    """Read the named columns of a CSV or Parquet file.

    Args:
        path: The file; a name that ends in ``.parquet`` is Parquet, everything else is text.
        required: Columns that must be there.
        optional: Columns that are read where they are there; None reads all.
        keys: Required columns to give as pandas categories of text (fast for millions of ids); none may be empty.
        numbers: Columns to give as float64; an empty or NaN one is NaN.
        form: How the text is written; ignored for Parquet.

    Returns:
        One row a line; every column that is neither key nor number is text (missing text is None).

    Raises:
        DataError: The file is missing, empty, of another encoding or separator, lacks a column or has a damaged row.
    """
    if not path.is_file():
        there = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        raise DataError(
            f"{path} is missing{near(path.name, there)}.", f"Put {path.name} into the folder {path.parent}."
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty.", "Write a header line and at least one row into it.")
    try:
        table = (
            _parquet(path, required, optional)
            if path.suffix == ".parquet"
            else _text(path, required, optional, form=form, keys=keys, numbers=numbers)
        )
        for name in [n for n in numbers if n in table.column_names]:
            table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.float64()))
        for name in keys:
            if not pa.types.is_dictionary(table[name].type):
                ids = table[name].cast(pa.string()).dictionary_encode()
                table = table.set_column(table.column_names.index(name), name, ids)
    except pa.lib.ArrowException as error:
        raise _unreadable(path, str(error), form) from None
    if table.num_rows == 0:
        raise DataError(f"{path} has a header and no rows.", "Write at least one row into it.")
    table = table.unify_dictionaries()
    frame = table.to_pandas(split_blocks=True, self_destruct=True)  # a log of millions need not be held twice
    del table
    for name in keys:
        if n_missing := int((frame[name].isna() | (frame[name] == "")).sum()):
            raise DataError(f"{path.name} has {n_missing:,} rows without a {name}.", "Give each row one.")
    return frame


def _text(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] | None,
    *,
    form: Format,
    keys: Sequence[str],
    numbers: Sequence[str],
) -> pa.Table:
    separator = form.separator
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        _check_encoding(path, view)
        end = view.find(b"\n")
        line = view[: end if end >= 0 else len(view)].decode(form.encoding, errors="replace")
        line = line.removeprefix("\ufeff").rstrip("\r\n")[:HEADER_LIMIT]
    if "\r" in line:
        raise DataError(
            f"{path.name} ends its lines with a carriage return only, as old Macintosh files do.",
            f"Save {path} with the line ends of Windows or Unix.",
        )
    names = form.names or [n.strip() for n in next(csv.reader([line], delimiter=separator[0]), [])]
    _check_separator(path, line, form)
    wanted = _wanted(path, names, required, optional)
    source: pa.NativeFile = pa.OSFile(str(path))
    if form.blanks:
        source = pa.BufferReader(path.read_bytes().replace(b" ", separator.encode()))
    if len(separator) > 1:  # pyarrow splits at one character only
        source = pa.BufferReader(path.read_bytes().replace(separator.encode(), b"\x1f"))
        separator = "\x1f"
    types = dict.fromkeys(wanted, pa.string())
    types |= {n: pa.dictionary(pa.int32(), pa.string()) for n in keys if n in wanted}
    types |= {n: pa.float64() for n in numbers if n in wanted}
    with source:
        return pyarrow.csv.read_csv(
            source,
            read_options=pyarrow.csv.ReadOptions(
                column_names=names, skip_rows=0 if form.names else 1, encoding=form.encoding, block_size=BLOCK_BYTES
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=separator,
                quote_char='"' if form.quoted else False,
                newlines_in_values=form.quoted and not keys,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=wanted, strings_can_be_null=False, quoted_strings_can_be_null=False
            ),
        )


def _parquet(path: Path, required: Sequence[str], optional: Sequence[str] | None) -> pa.Table:
    names = pyarrow.parquet.read_schema(path).names
    return pyarrow.parquet.read_table(path, columns=_wanted(path, names, required, optional))


def _wanted(path: Path, names: Sequence[str], required: Sequence[str], optional: Sequence[str] | None) -> list[str]:
    if not any(names):
        raise DataError(f"{path.name} begins with a blank line.", f"Begin {path} with the names of its columns.")
    for name in required:
        if name not in names:
            shown = one_line(", ".join(repr(n) for n in names), 160)
            raise DataError(
                f"{path.name} has no column {name!r}{near(name, names)}; its columns are {shown}.",
                f"Name the column {name!r} in the first line of {path}.",
            )
    wanted = [n for n in names if optional is None or n in required or n in optional]
    if twice := [n for n in dict.fromkeys(wanted) if wanted.count(n) > 1]:
        raise DataError(
            f"{path.name} has the column {one_line(twice[0], 60)!r} more than once.",
            f"Give each column of {path} a name of its own.",
        )
    return wanted


def _check_separator(path: Path, line: str, form: Format) -> None:
    used = max(SEPARATORS, key=line.count)
    if form.separator not in line and line.count(used) and not (form.blanks and " " in line):
        raise DataError(
            f"{path.name} seems to be separated by a {SEPARATORS[used]}, expected a {SEPARATORS[form.separator]}: "
            f"{one_line(line, 80)!r}.",
            f"Save {path} with a {SEPARATORS[form.separator]} between the fields.",
        )


def _check_encoding(path: Path, view: mmap.mmap) -> None:
    if view[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path} is UTF-16 text, expected UTF-8.", "Save it again as UTF-8.")
    place = view.find(b"\0")
    if place >= 0:
        line = view[:place].count(b"\n") + 1
        raise DataError(
            f"{path} holds a NUL byte in line {line:,}: it is damaged, binary or UTF-16 text.",
            "Save it again as plain UTF-8 text.",
        )


def _unreadable(path: Path, message: str, form: Format) -> DataError:
    if path.suffix == ".parquet":
        return DataError(
            f"{path} cannot be read as Parquet: {one_line(message, 200)}", "Write the file again as Parquet."
        )
    try:
        if form.encoding == "utf-8":
            path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return DataError(
            f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} in line {line:,} (Latin-1 or Windows text?).",
            "Save it as UTF-8, or set data.encoding=latin-1 if that is what it is.",
        )
    if "conversion error" in message:
        return DataError(
            f"{path.name} has a value that is not a number: {one_line(message, 200)}", f"Mend that value in {path}."
        )
    return DataError(
        f"{path.name} has a damaged row: {one_line(message, 200)}",
        "Give every line the same number of fields, and put text that holds the separator in double quotes.",
    )


def check_numbers(path: Path, frame: pd.DataFrame, name: str, *, high: float, low: float, meaning: str) -> None:
    """Raise unless every value of a number column is in [low, high] and not NaN; `meaning` says what is expected."""
    if name not in frame:
        return
    values = frame[name].to_numpy()
    bad = np.flatnonzero(~((values >= low) & (values <= high)))
    if bad.size:
        raise DataError(
            f"{path.name} has {bad.size:,} rows with an impossible {name}, the first is {values[bad[0]]} "
            f"in row {bad[0] + 1:,}; expected {meaning}.",
            f"Mend or remove these rows of {path}.",
        )


def split_labels(values: pd.Series, separator: str = "|") -> list[tuple[str, ...]]:
    """Give the tuple of labels of each row: text is split, lists (of Parquet) are taken as they are.

    >>> split_labels(pd.Series(["Drama|War", "", None]))
    [('Drama', 'War'), (), ()]
    """
    known: dict[str, tuple[str, ...]] = {}  # most rows of a catalogue have the labels of another
    rows = []
    for value in values.tolist():
        if isinstance(value, str):
            if value not in known:
                known[value] = _labels(value.split(separator))
            rows.append(known[value])
        else:
            rows.append(_labels(map(str, value)) if isinstance(value, (list, tuple, np.ndarray)) else ())
    return rows


def _labels(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
