"""Reads a model that `implicit` saved (`model.save("model.npz")`), without `implicit` and without running any of it.

Such a file is a zip archive that is not compressed, with an array (`NAME.npy`) for each attribute of the model. An
array is read only after its header said that it is of numbers, of the expected shape, and as long as the archive says.
"""

import struct
import zipfile
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Literal, NamedTuple

import numpy as np

from core.errors import DataError, one_line
from core.recommenders.als import ALS, MAX_CONFIDENCE, MAX_REGULARISATION, MIN_CONFIDENCE, ALSConfig

MAX_BYTES = 2 << 30
"""Of the whole file."""
MAX_DIRECTORY_BYTES = 64 << 10
"""Of the list of members at the end of the archive; `implicit` writes about 1,000."""
MAX_FACTORS = 4096
"""Width of a vector: the fold-in solves systems of this size."""
MAX_VALUE = 1e15
"""Size of a number in a vector: the product of two vectors is then a number in single precision too."""

AGAIN = "Save the model again in implicit 0.7: model.save(PATH)."
DAMAGED = "Copy it again: it is damaged, or no model that implicit saved."
DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, OSError, EOFError, ValueError, TypeError, OverflowError,
    NotImplementedError, SyntaxError, TokenError, RecursionError, MemoryError,
)  # fmt: skip
"""What `zipfile` and `numpy` raise for a damaged archive, and for a header that is no header."""

NUMBERS = {"i": "integers", "u": "unsigned integers", "f": "floats"}
"""What the letters mean by which NumPy tells kinds of numbers apart."""

Kind = Literal["als", "bpr", "logistic"]
SIGNS: dict[str, Kind] = {"cg_steps": "als", "verify_negative_samples": "bpr", "neg_prop": "logistic"}
"""The attribute that only one kind of model has."""
EXTRA: dict[Kind, int] = {"als": 0, "bpr": 1, "logistic": 2}
"""Columns behind the factors. The first one has the biases of the items, and ones in the vectors of the viewers; the
second one has ones for the items, and the biases of the viewers."""


class ImplicitModel(NamedTuple):
    """A saved model, with the biases apart from the vectors: score = u · v_i + b_i."""

    kind: Kind
    """AlternatingLeastSquares, BayesianPersonalizedRanking or LogisticMatrixFactorization."""
    users: np.ndarray | None
    """(n_users, d) float32, 0 for a viewer that had no history; None where the file has none. The bias of a viewer
    (LogisticMatrixFactorization) is left out: it changes no list."""
    items: np.ndarray
    """(n_items, d) float32, 0 for an item that nobody had."""
    item_bias: np.ndarray | None
    """(n_items,) float32; None for AlternatingLeastSquares, which has none."""
    regularization: float
    """λ of the training, in the unit of its loss."""
    alpha: float | None
    """Confidence of an interaction of weight 1; None where the kind has none."""


def read_implicit(path: Path) -> ImplicitModel:
    """Read a model that `implicit` saved.

    Args:
        path: An `.npz` file of implicit 0.5 or newer. As hostile as any download.

    Raises:
        DataError: The file is no such model, of a kind without vectors, damaged, too large or not finite.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing or no file.", "Give the path of a model that implicit saved, NAME.npz.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"{path.name} has {size:,} bytes, more than {MAX_BYTES:,}.", "Bring a smaller model.")
    try:
        with path.open("rb") as file:
            _check_end(path.name, file)
            with zipfile.ZipFile(file) as archive:
                return _read(_Members(path.name, archive, size))
    except DAMAGE as error:
        raise DataError(f"{path.name} is no whole model: {one_line(str(error), 160)}.", DAMAGED) from None


def to_als(model: ImplicitModel) -> ALS:
    """Give a saved AlternatingLeastSquares as our own: known viewers with their vectors, others folded in exactly.

    Interactions of other weights than 1 are not in the file: a history that is folded in has weight 1 each.
    """
    if model.kind != "als" or model.alpha is None:
        raise ValueError(f"a model of kind {model.kind} is no ALS")
    config = ALSConfig(embedding_size=model.items.shape[1], confidence=model.alpha, regularisation=model.regularization)
    return ALS(config, model.items, model.regularization, model.users)


def _check_end(name: str, file: IO[bytes]) -> None:
    """Raise unless the file ends as a zip archive with a short list of members: `zipfile` reads it whole."""
    start = file.read(4)
    if start == b"\x93NUM" or start[:1] == b"\x80":
        what = "a single array" if start == b"\x93NUM" else "a pickle, which is not read"
        raise DataError(f"{name} is {what}.", AGAIN)
    file.seek(0, 2)
    file.seek(-min(42, file.tell()), 2)
    tail = file.read()
    if start != b"PK\x03\x04" or tail[-22:-18] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        raise DataError(f"{name} is no zip archive, or is cut off.", DAMAGED)
    (directory,) = struct.unpack("<12xI6x", tail[-22:])
    if directory > MAX_DIRECTORY_BYTES or tail[:4] == b"PK\x06\x07":
        raise DataError(f"{name} lists more members than a model of implicit has.", DAMAGED)


class _Members:
    """The attributes of a saved model: which there are, and each of them when it is asked for."""

    def __init__(self, name: str, archive: zipfile.ZipFile, size: int) -> None:
        self.name, self._archive = name, archive
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            attribute, shown = info.filename.removesuffix(".npy"), one_line(info.filename, 80)
            if info.filename == attribute or not attribute.isidentifier():
                raise DataError(f"{name} has a member {shown!r}, expected names like item_factors.npy.", AGAIN)
            if attribute in self:
                raise DataError(f"{name} has the member {shown!r} twice.", AGAIN)
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
                raise DataError(f"{name} has a compressed or locked member {shown!r}; implicit writes none.", AGAIN)
            self._infos[attribute] = info
        claimed = sum(info.file_size for info in self._infos.values())
        if claimed > size:
            raise DataError(f"{name} has {size:,} bytes and claims to hold {claimed:,}.", DAMAGED)

    def __contains__(self, attribute: str) -> bool:
        return attribute in self._infos

    def kind(self) -> Kind:
        """Give which model it is."""
        for sign, kind in SIGNS.items():
            if sign in self:
                return kind
        if "K" in self:
            raise DataError(
                f"{self.name} is an item-item model (cosine, TF-IDF or BM25): it has no vectors.",
                "Bring an AlternatingLeastSquares, a BayesianPersonalizedRanking or a LogisticMatrixFactorization.",
            )
        found = one_line(", ".join(self._infos), 120) or "nothing"
        raise DataError(f"{self.name} is no model that implicit saved: it holds {found}.", AGAIN)

    def number(self, attribute: str, low: float, high: float, kinds: str = "iuf") -> float:
        """Give an attribute that is one number in a range."""
        value = float(self._array(attribute, kinds, ()))
        if not low <= value <= high:
            raise DataError(f"{self.name}: {attribute} is {value:g}, expected {low:g} to {high:g}.", AGAIN)
        return value

    def matrix(self, attribute: str, width: int) -> np.ndarray:
        """Give an attribute that is a matrix of so many columns: (n, width) float32."""
        matrix = self._array(attribute, "f", (None, width))
        low, high = float(matrix.min()), float(matrix.max())
        if not (low >= -MAX_VALUE and high <= MAX_VALUE):
            seen = "a value that is not a number" if np.isnan(low) else f"values from {low:g} to {high:g}"
            raise DataError(
                f"{self.name}: {attribute} holds {seen}, expected at most {MAX_VALUE:g}.", "Train the model again."
            )
        return np.array(matrix, np.float32, order="C")

    def _array(self, attribute: str, kinds: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Give an attribute, read-only. None in `shape`: any number but 0."""
        if attribute not in self:
            fix = "Fit the model, then save it." if attribute == "item_factors" else AGAIN
            raise DataError(f"{self.name} has no {attribute}.", fix)
        what, info = f"{self.name}: {attribute}", self._infos[attribute]
        with self._archive.open(info) as stream:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise DataError(f"{what} is in another version of NumPy's format than 1.0.", AGAIN)
            found, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
            if dtype.kind not in kinds or dtype.itemsize > 8:
                expected = " or ".join(NUMBERS[kind] for kind in kinds)
                raise DataError(f"{what} has values of type {one_line(str(dtype), 60)}, expected {expected}.", AGAIN)
            fits = all(n > 0 and n == (wanted or n) for n, wanted in zip(found, shape, strict=False))
            if len(found) != len(shape) or not fits:
                raise DataError(f"{what} has the shape {_shown(found)}, expected {_shown(shape)}.", AGAIN)
            n_bytes, here = prod(found) * dtype.itemsize, info.file_size - stream.tell()
            if n_bytes != here:
                raise DataError(f"{what} has {here:,} bytes, expected {n_bytes:,}.", DAMAGED)
            return np.frombuffer(stream.read(n_bytes), dtype).reshape(found, order="F" if by_columns else "C")


def _read(members: _Members) -> ImplicitModel:
    kind = members.kind()
    d = int(members.number("factors", 1, MAX_FACTORS, kinds="iu"))
    width = d + EXTRA[kind]
    items = members.matrix("item_factors", width)
    users = members.matrix("user_factors", width) if "user_factors" in members else None
    regularization = members.number("regularization", 0, MAX_REGULARISATION)
    if kind == "als":
        # A version without an alpha took the weights as they were.
        alpha = members.number("alpha", MIN_CONFIDENCE, MAX_CONFIDENCE) if "alpha" in members else 1.0
        return ImplicitModel(kind, users, items, None, regularization, alpha)
    if users is not None and not (users[:, d] == 1).all():
        raise DataError(
            f"{members.name}: column {d + 1} of user_factors is not 1, the factor of the items' biases.", AGAIN
        )
    bias, items = items[:, d].copy(), items[:, :d].copy()
    return ImplicitModel(kind, None if users is None else users[:, :d].copy(), items, bias, regularization, None)


def _shown(shape: tuple[int | None, ...]) -> str:
    return one_line(f"({', '.join('n' if n is None else str(n) for n in shape)})", 60)
