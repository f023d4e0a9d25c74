"""A person's vectors and their ids, out of the file of any tool: NumPy, safetensors, Parquet or text."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from core.errors import DataError, near, one_line
from core.recommenders.array_file import arrays_of, choose, damaged, shape_text

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")
LARGEST = 1e15
"""Largest value of a vector: products of larger ones have no place in float32."""
LARGEST_WHOLE = 2**53
"""Whole numbers beyond this are not exact as float64: no ids."""
PANDAS_INDEX = "__index_level_0__"
"""The column that pandas writes for an index without a name."""


class Matrix(NamedTuple):
    """Vectors of items or users."""

    vectors: np.ndarray
    """(n, d) float32, every value finite."""
    ids: list[str] | None
    """n ids where the file has them."""


def read_matrix(path: Path, kind: str, *, array: str | None = None, ids: Path | None = None) -> Matrix:
    """Read vectors, a row each.

    Args:
        path: `.npy`, `.npz`, `.safetensors` or `.parquet`.
        kind: "item" or "user".
        array: Which array, tensor or list column; by default the only one with two dimensions.
        ids: A file with an id for each row; by default those in the file itself.

    Raises:
        DataError: The file is damaged, unsafe or of another kind than its name says, or its numbers are no vectors.
    """
    _check_there(path)
    if path.suffix == ".parquet":
        raw, own = _read_parquet(path, kind, array, with_ids=ids is None)
    else:
        arrays = arrays_of(path)
        name = choose(path, arrays, array, f"--{kind}-array", 2)
        raw, own = arrays[name].load(), None
        labels = next((n for n in ("ids", f"{kind}_ids", f"{name}_ids") if n in arrays and n != name), None)
        if labels is not None and ids is None:
            own = _id_texts(f"{path.name}[{labels}]", arrays[labels].load())
    found = own if ids is None else read_ids(ids, kind)
    if found is not None and len(found) != len(raw):
        source = ids.name if ids is not None else path.name
        turned = " (it seems to be transposed)" if raw.shape[1] == len(found) else ""
        raise DataError(
            f"{path.name} has {len(raw):,} rows and {source} {len(found):,} {kind} ids{turned}; "
            f"the first id is {_short(found[0]) if found else 'missing'}.",
            "Save the array transposed." if turned else f"Give as many {kind} ids as rows, in the same order.",
        )
    return Matrix(_as_float32(path, raw, kind, found), found)


def read_bias(path: Path, n: int, *, array: str | None = None) -> np.ndarray:
    """Read a bias for each of `n` rows of item vectors: (n,) float32.

    Raises:
        DataError: As for `read_matrix`, or there are more or fewer than `n`.
    """
    _check_there(path)
    if path.suffix == ".parquet":
        raise DataError(f"{path.name} is Parquet, expected an array of biases.", "Save the biases as .npy.")
    arrays = arrays_of(path)
    raw = arrays[choose(path, arrays, array, "--bias-array", 1)].load()
    raw = raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 else raw
    if raw.shape != (n,):
        raise DataError(
            f"{path.name} holds an array of shape {shape_text(raw.shape)}, expected {n:,} biases.",
            "Give one bias for each row of the item vectors, in the same order.",
        )
    return _as_float32(path, raw[:, None], "item", None)[:, 0]


def read_ids(path: Path, kind: str) -> list[str]:
    """Read ids, one a row: `.npy` of whole numbers or text, else text with one a line.

    A first line that names a column (`item_id`, `user_id`, `id`) is not an id; a CSV of several columns needs it.
    """
    _check_there(path, suffixes=(".npy", ".txt", ".csv"))
    if path.suffix == ".npy":
        return _id_texts(path.name, arrays_of(path)[""].load())
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path.name} is not UTF-8 text in line {line:,}.", f"Save {path} as UTF-8.") from None
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    heads = (f"{kind}_id", "id", f"{kind}_ids", "ids")
    if path.suffix == ".csv":
        try:
            rows = list(csv.reader(io.StringIO("\n".join(lines), newline="")))
        except csv.Error as error:
            raise DataError(f"{path.name} is no CSV file: {one_line(str(error), 80)}.", f"Save {path} again.") from None
        column = next((rows[0].index(head) for head in heads if rows and head in rows[0]), None)
        widest = max((len(row) for row in rows), default=0)
        if column is None and widest > 1:
            raise DataError(
                f"{path.name} has {widest} columns, and none is named {heads[0]!r} in its first line.",
                f"Name the column {heads[0]!r}, or keep one id a line.",
            )
        lines = [row[column or 0] if len(row) > (column or 0) else "" for row in rows]
    ids = lines[1:] if lines and lines[0] in heads else lines
    if n_blank := sum(not i.strip() for i in ids):
        first = next(k for k, i in enumerate(ids) if not i.strip()) + 1
        raise DataError(f"{path.name} has {n_blank:,} empty ids, the first in row {first:,}.", "Give each row an id.")
    return ids


def _check_there(path: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    if not path.is_file():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path} is missing or no file{near(path.name, there)}.", "Give the path of a file.")
    if path.suffix not in suffixes:
        raise DataError(
            f"{path.name} ends in {path.suffix or 'nothing'!r}, expected one of: {', '.join(suffixes)}.",
            "Save it as .npy: np.save('vectors.npy', array); of a torch tensor: tensor.detach().cpu().numpy()."
            if suffixes == SUFFIXES
            else "Save the ids as text, one a line.",
        )
    if not path.stat().st_size:
        raise DataError(f"{path.name} is empty.", "Save it again.")


def _read_parquet(path: Path, kind: str, wanted: str | None, *, with_ids: bool) -> tuple[np.ndarray, list[str] | None]:
    try:
        schema = pyarrow.parquet.read_schema(path)
        of_ids = _id_column(schema, kind)
        lists = [f.name for f in schema if _is_list(f.type)]
        if wanted is not None and wanted not in schema.names:
            raise DataError(
                f"{path.name} has no column {one_line(wanted, 60)!r}{near(wanted, schema.names)}.",
                f"Name one of its columns with --{kind}-array: {one_line(', '.join(schema.names), 160)}.",
            )
        if wanted is not None or len(lists) == 1:
            names = [wanted or lists[0]]
        elif lists:
            raise DataError(
                f"{path.name} has {len(lists)} columns of lists: {one_line(', '.join(lists), 160)}.",
                f"Name the one that is meant with --{kind}-array.",
            )
        else:
            names = [f.name for f in schema if f.name != of_ids and _is_number(f.type)]
        if of_ids is None and with_ids:
            raise DataError(
                f"{path.name} has no column {kind}_id; its columns are {one_line(', '.join(schema.names), 160)}.",
                f"Name the column of the ids {kind}_id, or give them with --{kind}-ids.",
            )
        if not names:
            raise DataError(
                f"{path.name} has neither a column of lists nor columns of numbers beside {of_ids}.",
                "Write each vector as a list of numbers, or as a column for each of its numbers.",
            )
        table = pyarrow.parquet.read_table(path, columns=[*names, of_ids] if of_ids is not None else names)
        ids = _id_column_texts(path, table[of_ids]) if of_ids is not None and with_ids else None
        if _is_list(schema.field(names[0]).type):
            return _from_lists(path, table[names[0]], names[0], ids), ids
        columns = [table[n].cast(pa.float32(), safe=False).to_numpy() for n in names]
        return np.stack(columns, axis=1), ids
    except (pa.ArrowException, OSError, ValueError) as error:  # also text that is not UTF-8
        raise damaged(path, error) from None


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _id_column(schema: pa.Schema, kind: str) -> str | None:
    texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    names = [n for n in (f"{kind}_id", "id", PANDAS_INDEX) if n in schema.names]
    return next(iter([*names, *(texts if len(texts) == 1 else [])]), None)


def _id_column_texts(path: Path, column: pa.ChunkedArray) -> list[str]:
    if column.null_count:
        raise DataError(f"{path.name} has {column.null_count:,} rows without an id.", "Give each row an id.")
    if pa.types.is_floating(column.type):
        return _id_texts(path.name, column.to_numpy())
    return [str(i) for i in column.cast(pa.string()).to_pylist()]


def _from_lists(path: Path, column: pa.ChunkedArray, name: str, ids: list[str] | None) -> np.ndarray:
    if not _is_number(column.type.value_type):
        raise DataError(
            f"The lists in the column {one_line(name, 60)!r} of {path.name} hold {column.type.value_type}.",
            "Write lists of float32.",
        )
    widths = pa.compute.fill_null(pa.compute.list_value_length(column), 0).to_numpy()
    odd = np.flatnonzero(widths != widths[0]) if len(widths) else np.empty(0, np.int64)
    if odd.size or not len(widths) or not widths[0]:
        width = int(widths[odd[0]]) if odd.size else 0
        where = f", the first is {_row(int(odd[0]), ids)} with {width:,}" if odd.size else ""
        raise DataError(
            f"{path.name} has {odd.size:,} vectors whose width is not {int(widths[0]) if len(widths) else 0:,}{where}.",
            "Write vectors of one width.",
        )
    parts = [chunk.flatten().cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(parts).reshape(-1, int(widths[0]))


def _id_texts(name: str, array: np.ndarray) -> list[str]:
    """Give ids as text: whole numbers exactly, text as it is."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"{name} has the shape {shape_text(array.shape)}, expected one id a row.", "Save a list of ids."
        )
    if array.dtype.kind == "f":
        exact = (array == np.floor(array)) & (np.abs(array) <= LARGEST_WHOLE)
        if not exact.all():
            raise DataError(
                f"{name} has {int((~exact).sum()):,} ids that are no exact whole numbers, the first is "
                f"{array[np.argmin(exact)]}.",
                "Save the ids as whole numbers or as text.",
            )
        array = array.astype(np.int64)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind not in "iuU":
        raise DataError(f"{name} holds {array.dtype}, expected ids.", "Save the ids as whole numbers or as text.")
    ids = list(map(str, array.tolist()))
    if n_empty := len(ids) - sum(map(bool, map(str.strip, ids))):
        raise DataError(f"{name} has {n_empty:,} empty ids.", "Give each row an id.")
    return ids


def _as_float32(path: Path, raw: np.ndarray, kind: str, ids: list[str] | None) -> np.ndarray:
    """Give numbers as float32, and say which rows cannot be."""
    if raw.dtype.kind not in "fiu":
        raise DataError(f"{path.name} holds {raw.dtype}, expected numbers.", "Save the array as float32.")
    if not len(raw):
        raise DataError(f"{path.name} has no rows.", f"Give a vector for each {kind}.")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(raw, np.float32)
    highest = np.abs(vectors).max(axis=1)  # NaN where any value is
    bad = np.flatnonzero(~(highest <= LARGEST))
    if bad.size:
        finite = np.isfinite(np.asarray(raw[bad], np.float64)).all(axis=1)
        which = bad[finite] if finite.all() else bad[~finite]
        what = f"numbers beyond {LARGEST:g}" if finite.all() else "NaN or infinite numbers"
        raise DataError(
            f"{path.name} has {what} in {len(which):,} of {len(raw):,} rows, the first are "
            f"{', '.join(_row(int(row), ids) for row in which[:3])}.",
            "Train the model again with a lower learning rate, or leave these rows out.",
        )
    return vectors


def _row(row: int, ids: list[str] | None) -> str:
    return f"row {row:,}" if ids is None else _short(ids[row])


def _short(name: str) -> str:
    return repr(one_line(name, 40))
