"""A person's matrix of vectors, out of the file of any tool: NumPy, safetensors or Parquet. Nothing is ever unpickled.

What a file says of itself (shape, kind of numbers) is checked against its size before anything is loaded.
"""

import csv
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from safetensors import SafetensorError, safe_open

from core.errors import DataError, near, one_line

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")
LARGEST = 1e15
"""Largest value of a vector: products of larger ones have no place in float32."""
LARGEST_WHOLE = 2**53
"""Whole numbers beyond this are not exact as float64: no ids."""
TENSOR_KINDS = ("F16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")
"""What NumPy can hold of a safetensors file."""
PANDAS_INDEX = "__index_level_0__"
"""The column that pandas writes for an index without a name."""


class Matrix(NamedTuple):
    """Vectors of items or users."""

    vectors: np.ndarray
    """(n, d) float32, every value finite."""
    ids: list[str] | None
    """n ids where the file has them."""


class _Array(NamedTuple):
    """One array of a file, not loaded yet."""

    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]


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
        arrays = _arrays(path)
        name = _choose(path, arrays, array, f"--{kind}-array", 2)
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
    arrays = _arrays(path)
    raw = arrays[_choose(path, arrays, array, "--bias-array", 1)].load()
    raw = raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 else raw
    if raw.shape != (n,):
        raise DataError(
            f"{path.name} holds an array of shape {_shape(raw.shape)}, expected {n:,} biases.",
            "Give one bias for each row of the item vectors, in the same order.",
        )
    return _as_float32(path, raw[:, None], "item", None)[:, 0]


def read_ids(path: Path, kind: str) -> list[str]:
    """Read ids, one a row: `.npy` of whole numbers or text, else text with one a line.

    A first line that names a column (`item_id`, `user_id`, `id`) is not an id; a CSV of several columns needs it.
    """
    _check_there(path, suffixes=(".npy", ".txt", ".csv"))
    if path.suffix == ".npy":
        return _id_texts(path.name, _arrays(path)[""].load())
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


def _arrays(path: Path) -> dict[str, _Array]:
    """Give the arrays of a file by their names; the one of an .npy file is called ""."""
    try:
        if path.suffix == ".npy":
            return {"": _npy(path)}
        return _npz(path) if path.suffix == ".npz" else _safetensors(path)
    except (SafetensorError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, struct.error) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path.name} is no whole {path.suffix} file: {one_line(str(error) or type(error).__name__, 120)}",
        "Save it again, or copy it again if it was copied.",
    )


def _npy(path: Path) -> _Array:
    with path.open("rb") as file:
        shape, fortran, dtype = _npy_header(path.name, file, path.stat().st_size)
        start = file.tell()

    def load() -> np.ndarray:
        if not prod(shape):
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, mode="r", offset=start, shape=shape, order="F" if fortran else "C")

    return _Array(shape, load)


def _npz(path: Path) -> dict[str, _Array]:
    def load(member: zipfile.ZipInfo) -> np.ndarray:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                shape, fortran, dtype = _npy_header(member.filename, file, member.file_size)
                data = file.read(prod(shape) * dtype.itemsize)
                return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        except (zipfile.BadZipFile, ValueError, EOFError, zlib.error) as error:
            raise _damaged(path, error) from None

    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1:
                raise zipfile.BadZipFile(f"{one_line(member.filename, 40)} is encrypted")
            with archive.open(member) as file:
                shape = _npy_header(member.filename, file, member.file_size)[0]
            name = member.filename.removesuffix(".npy")
            arrays[name] = _Array(shape, lambda member=member: load(member))  # type: ignore[misc]
    return arrays


def _npy_header(name: str, file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read what an .npy says of its array: shape, whether by columns, dtype; the file stands at the data."""
    name = one_line(name, 60)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} has the format version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataError(
            f"{name} holds Python objects, which are a program to run and are not opened.",
            "Save plain numbers: np.save(file, np.asarray(x, dtype=np.float32)); ids with dtype=str.",
        )
    left, needed = size - file.tell(), prod(shape) * dtype.itemsize
    if any(n < 0 for n in shape) or needed > left:
        raise DataError(
            f"{name} says that it holds an array of shape {_shape(shape)}, {needed:,} bytes, and has {left:,}.",
            "Save it again, or copy it again: it is damaged.",
        )
    return shape, fortran, dtype


def _safetensors(path: Path) -> dict[str, _Array]:
    def load(name: str) -> np.ndarray:
        try:
            with safe_open(path, framework="numpy") as file:
                return np.asarray(file.get_tensor(name))
        except (SafetensorError, ValueError, OSError) as error:
            raise _damaged(path, error) from None

    arrays = {}
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            kind = part.get_dtype()
            if kind in TENSOR_KINDS:
                arrays[name] = _Array(tuple(part.get_shape()), lambda name=name: load(name))  # type: ignore[misc]
            elif len(part.get_shape()) == 2:
                raise DataError(
                    f"The tensor {one_line(name, 60)!r} of {path.name} is of kind {kind}, which NumPy has not.",
                    "Save it as float32: tensor.float().",
                )
    return arrays


def _choose(path: Path, arrays: Mapping[str, _Array], wanted: str | None, option: str, ndim: int) -> str:
    """Give the name of the array that is meant."""
    said = one_line(", ".join(f"{n} {_shape(a.shape)}".strip() for n, a in arrays.items()), 200)
    if wanted is not None and path.suffix != ".npy":
        if wanted not in arrays:
            raise DataError(
                f"{path.name} has no array {one_line(wanted, 60)!r}{near(wanted, arrays)}; it has {said or 'none'}.",
                f"Name one of them with {option}.",
            )
        names = [wanted]
    else:
        names = [n for n, a in arrays.items() if len(a.shape) == ndim] or (list(arrays) if len(arrays) == 1 else [])
    if len(names) != 1:
        raise DataError(
            f"{path.name} has {len(names)} arrays with {ndim} dimension{'s' * (ndim > 1)}: {said or 'nothing'}.",
            f"Name the one that is meant with {option}." if names else "Save the array alone, as .npy.",
        )
    shape = arrays[names[0]].shape
    if ndim == 2 and (len(shape) != 2 or not shape[1]):
        raise DataError(
            f"{path.name} holds an array of shape {_shape(shape)}, expected (rows, width): a vector a row.",
            "Save a matrix with a row for each id, and at least one column.",
        )
    return names[0]


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
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


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
        raise DataError(f"{name} has the shape {_shape(array.shape)}, expected one id a row.", "Save a list of ids.")
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
    ids = [str(i) for i in array.tolist()]
    if n_empty := sum(not i.strip() for i in ids):
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


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(f'{n}' for n in shape)}{',' * (len(shape) == 1)})" if shape else "()"
