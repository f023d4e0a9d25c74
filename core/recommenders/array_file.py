"""The arrays of a NumPy or safetensors file, by their names, with their shapes known before anything is loaded.

What a file says of itself is checked against its size, and nothing is ever unpickled.
"""

import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from core.errors import DataError, near, one_line

TENSOR_KINDS = ("F16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")
"""What NumPy can hold of a safetensors file."""


class Array(NamedTuple):
    """One array of a file, not loaded yet."""

    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]


def arrays_of(path: Path) -> dict[str, Array]:
    """Give the arrays of a file by their names; the one of an .npy file is called "".

    Raises:
        DataError: The file is damaged, or holds objects of Python.
    """
    try:
        if path.suffix == ".npy":
            return {"": _npy(path)}
        return _npz(path) if path.suffix == ".npz" else _safetensors(path)
    except _DAMAGE as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> DataError:
    """Give the error for a file that its reader could not make sense of."""
    return DataError(
        f"{path.name} is no whole {path.suffix} file: {one_line(str(error) or type(error).__name__, 120)}",
        "Save it again, or copy it again if it was copied.",
    )


_DAMAGE = (
    SafetensorError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, TypeError,
    LookupError, AttributeError, SyntaxError, tokenize.TokenError, zlib.error, struct.error,
)  # fmt: skip
"""What the readers of these formats raise for a file that is not whole: a header is a literal of Python."""


def _npy(path: Path) -> Array:
    with path.open("rb") as file:
        shape, fortran, dtype = _npy_header(path.name, file, path.stat().st_size)
        start = file.tell()

    def load() -> np.ndarray:
        _refuse_objects(path.name, dtype)
        if not prod(shape):
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, mode="r", offset=start, shape=shape, order="F" if fortran else "C")

    return Array(shape, load)


def _npz(path: Path) -> dict[str, Array]:
    def load(member: zipfile.ZipInfo) -> np.ndarray:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                shape, fortran, dtype = _npy_header(member.filename, file, member.file_size)
                _refuse_objects(one_line(member.filename, 60), dtype)
                data = file.read(prod(shape) * dtype.itemsize)
                return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        except _DAMAGE as error:
            raise damaged(path, error) from None

    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in (m for m in archive.infolist() if m.filename.endswith(".npy")):
            if member.flag_bits & 1:
                raise zipfile.BadZipFile(f"{one_line(member.filename, 40)} is encrypted")
            with archive.open(member) as file:
                shape = _npy_header(member.filename, file, member.file_size)[0]
            name = member.filename.removesuffix(".npy")
            arrays[name] = Array(shape, partial(load, member))
    return arrays


def _npy_header(name: str, file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read what an .npy says of its array: shape, whether by columns, dtype; the file stands at the data."""
    name = one_line(name, 60)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} has the format version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Python 2 wrote it
        shape, fortran, dtype = read(file)
    left, needed = size - file.tell(), 0 if dtype.hasobject else prod(shape) * dtype.itemsize
    if any(n < 0 for n in shape) or needed > left:
        raise DataError(
            f"{name} says that it holds an array of shape {shape_text(shape)}, {needed:,} bytes, and has {left:,}.",
            "Save it again, or copy it again: it is damaged.",
        )
    return shape, fortran, dtype


def _refuse_objects(name: str, dtype: np.dtype) -> None:
    if dtype.hasobject:
        raise DataError(
            f"{name} holds Python objects, which are a program to run and are not opened.",
            "Save plain numbers: np.save(file, np.asarray(x, dtype=np.float32)); ids with dtype=str.",
        )


def _safetensors(path: Path) -> dict[str, Array]:
    def load(name: str, kind: str) -> np.ndarray:
        if kind not in TENSOR_KINDS:
            raise DataError(
                f"The tensor {one_line(name, 60)!r} of {path.name} is of kind {kind}, which NumPy has not.",
                "Save it as float32: tensor.float().",
            )
        try:
            with safe_open(path, framework="numpy") as file:
                return np.asarray(file.get_tensor(name))
        except _DAMAGE as error:
            raise damaged(path, error) from None

    arrays = {}
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            arrays[name] = Array(tuple(part.get_shape()), partial(load, name, part.get_dtype()))
    return arrays


def choose(path: Path, arrays: Mapping[str, Array], wanted: str | None, option: str, ndim: int) -> str:
    """Give the name of the array that is meant: `wanted`, else the only one with `ndim` dimensions.

    Raises:
        DataError: There is no such array, or several; `option` names one of them. Or it is no matrix.
    """
    said = one_line(", ".join(f"{n} {shape_text(a.shape)}".strip() for n, a in arrays.items()), 200)
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
            f"{path.name} holds an array of shape {shape_text(shape)}, expected (rows, width): a vector a row.",
            "Save a matrix with a row for each id, and at least one column.",
        )
    return names[0]


def shape_text(shape: Sequence[int]) -> str:
    """Give a shape as NumPy writes it."""
    return f"({', '.join(f'{n}' for n in shape)}{',' * (len(shape) == 1)})" if shape else "()"
