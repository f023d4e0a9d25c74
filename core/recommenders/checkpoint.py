"""Reads a file of `torch.save` without torch and without running anything that is in it.

Such a file is a zip archive: `data.pkl` says what is what (`inert` follows it), the members `data/0`, `data/1`, ... are
the numbers of the tensors.
"""

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from core.errors import DataError, one_line
from core.recommenders.inert import DISTRUST, DTYPES, Machine, Tensor, shown

MAX_BYTES = 4 << 30
"""Of the whole file."""
MAX_PICKLE_BYTES = 8 << 20
MAX_DIRECTORY_BYTES = 8 << 20
"""Of the list of members at the end of the archive."""
MAX_MEMBERS = 20_000

LEGACY_STREAM = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
"""How a file begins that PyTorch before 1.6 saved."""
AGAIN = "Save it again where it was trained, with PyTorch 1.6 or newer and its own settings: torch.save(..., f)."
DAMAGED = "Download or copy it again: it is damaged, or no checkpoint of PyTorch."

DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, RuntimeError, EOFError, OSError, ValueError, OverflowError, KeyError,
    struct.error,
)  # fmt: skip
"""What `zipfile` raises for a damaged or locked archive."""


def read_checkpoint(path: Path, load: Sequence[str] = ("state_dict", "other_parameter")) -> dict[str, Any]:
    """Read what `torch.save` wrote of a dict.

    Args:
        path: A file of PyTorch 1.6 or newer (a zip archive). As hostile as any download.
        load: The entries, dicts themselves, whose tensors are wanted as arrays (read-only). In all others a tensor
            stays a `Tensor`, which costs nothing.

    Returns:
        The dict, of numbers, text, lists, tuples, dicts, sets, `Name`, `Record` and `Tensor`.

    Raises:
        DataError: The file is no such checkpoint, is damaged or too large, or names what a checkpoint has no need of.
            Nothing of it was run.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing or no file.", "Give the path of a checkpoint, a file that ends in .pth.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"{path.name} has {size:,} bytes, more than {MAX_BYTES:,}.", "Bring a smaller model.")
    with path.open("rb") as file:
        try:
            _check_kind(path.name, file)
            with zipfile.ZipFile(file) as archive:
                return _read(path.name, archive, size, load)
        except DAMAGE as error:
            raise DataError(f"{path.name} is no whole checkpoint: {one_line(str(error), 160)}.", DAMAGED) from None


def _check_kind(name: str, file: BinaryIO) -> None:
    """Raise unless the file is a zip archive with a list of members of a sensible size."""
    head = file.read(512)
    if head[257:262] == b"ustar" or head.startswith(LEGACY_STREAM):
        raise DataError(f"{name} is in a format of PyTorch before 1.6, which is not read.", AGAIN)
    if head[:1] == b"\x80":
        raise DataError(f"{name} is a bare pickle, which is not read.", DISTRUST)
    if head[:4] != b"PK\x03\x04":
        raise DataError(f"{name} is no checkpoint: it does not begin as a zip archive does.", DAMAGED)
    file.seek(0, 2)
    file.seek(-min(98, file.tell()), 2)
    tail = file.read()
    if tail[-22:-18] != b"PK\x05\x06":
        raise DataError(f"{name} is cut off, or something was added at its end.", DAMAGED)
    n_members, directory = struct.unpack("<10xHI6x", tail[-22:])
    if tail[-42:-38] == b"PK\x06\x07":  # where there is a 64-bit count, zipfile believes that one
        n_members, directory = struct.unpack("<32xQQ50x", tail)
    if n_members > MAX_MEMBERS or directory > MAX_DIRECTORY_BYTES:
        raise DataError(f"{name} lists {n_members:,} members in {directory:,} bytes, too many.", DAMAGED)


def _read(name: str, archive: zipfile.ZipFile, size: int, load: Sequence[str]) -> dict[str, Any]:
    prefix, members = _members(name, archive, size)
    if "data.pkl" not in members:
        raise DataError(f"{name} is a zip archive without a data.pkl.", DAMAGED)
    if members["data.pkl"] > MAX_PICKLE_BYTES:
        raise DataError(
            f"{name} has a data.pkl of {members['data.pkl']:,} bytes, more than {MAX_PICKLE_BYTES:,}.", DISTRUST
        )
    if members.get("byteorder", 6) != 6 or ("byteorder" in members and archive.read(prefix + "byteorder") != b"little"):
        raise DataError(f"{name} has another byte order than little.", "Save it again on a machine with little order.")
    root = Machine(name, members).run(archive.read(prefix + "data.pkl"))
    if not isinstance(root, dict):
        raise DataError(f"{name} holds {shown(root)}, expected a dict.", "Bring a file that RecBole's trainer saved.")
    storages: dict[tuple[str, str], np.ndarray] = {}

    def array(tensor: Tensor) -> np.ndarray:
        key = (tensor.storage.key, tensor.storage.kind)
        if key not in storages:
            storages[key] = _numbers(archive.read(f"{prefix}data/{key[0]}"), key[1])
        return _view(storages[key], tensor)

    for entry in load:
        if isinstance(found := root.get(entry), dict):
            root[entry] = {k: array(v) if isinstance(v, Tensor) else v for k, v in found.items()}
    return root


def _members(name: str, archive: zipfile.ZipFile, size: int) -> tuple[str, dict[str, int]]:
    """Give the folder that all members lie in, and the bytes of each member by its name in there."""
    sizes: dict[str, int] = {}
    infos = archive.infolist()
    prefix = infos[0].filename.partition("/")[0] + "/" if infos else "/"
    for info in infos:
        place = info.filename
        if not place.startswith(prefix) or "\\" in place or {"", ".", ".."} & set(place.split("/")):
            raise DataError(f"{name} has a member {one_line(place, 80)!r}, outside the one folder.", DISTRUST)
        if place.removeprefix(prefix) in sizes:
            raise DataError(f"{name} has the member {one_line(place, 80)!r} twice.", DISTRUST)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise DataError(f"{name} has a compressed or locked member {one_line(place, 80)!r}.", AGAIN)
        sizes[place.removeprefix(prefix)] = info.file_size
    if sum(sizes.values()) > size:
        raise DataError(f"{name} has {size:,} bytes and claims to hold {sum(sizes.values()):,}.", DISTRUST)
    return prefix, sizes


def _numbers(data: bytes, kind: str) -> np.ndarray:
    """Give a storage as a read-only array."""
    raw = np.frombuffer(data, DTYPES[kind])
    if kind == "BFloat16Storage":  # the upper half of a float32
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    elif kind == "BoolStorage":
        raw = raw != 0
    raw.flags.writeable = False
    return raw


def _view(storage: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Give a tensor, without a copy."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, storage.dtype)
    place = storage[tensor.offset :]
    strides = [step if n > 1 else 1 for n, step in zip(tensor.shape, tensor.strides, strict=True)]
    return np.ndarray(tensor.shape, place.dtype, place, 0, [step * place.itemsize for step in strides])
