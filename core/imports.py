"""From the files of a model that was trained elsewhere to what `core.pipeline.adopt` takes in."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.data.assemble import first_ids
from core.data.brought import Ids, Tables, UnknownItems, join
from core.data.dataset import Dataset
from core.errors import ConfigError, DataError, one_line
from core.pipeline import Brought
from core.progress import Progress, no_progress
from core.recommenders.embeddings_file import Matrix, read_bias, read_ids, read_matrix
from core.recommenders.implicit_file import read_implicit, to_als
from core.recommenders.precomputed import Precomputed
from core.recommenders.recbole import internal_ids, read_recbole, to_recommender
from core.recommenders.recbole import read_ids as read_recbole_ids

NAME_LIMIT = 80
SEQUENCES = ("SASRec",)
"""Models of RecBole that need the order of each history."""


@dataclass(frozen=True)
class EmbeddingsRequest:
    """Vectors of a model, and what they are about.

    Attributes:
        name: What the dataset is called.
        tables: The item table, and perhaps interactions and a user table.
        items: The file of the item vectors.
        users: The file of the user vectors; None folds every user in.
        item_bias: The file of a bias for each row of `items`.
        item_ids: The file of an id for each row of `items`, where these have none.
        user_ids: The same for `users`.
        item_array: Which array of `items`, where it has several.
        user_array: The same for `users`.
        bias_array: The same for `item_bias`.
        scoring: `dot` or `cosine`.
        unknown_items: What becomes of vectors that the item table lacks.
    """

    name: str
    tables: Tables
    items: Path
    users: Path | None = None
    item_bias: Path | None = None
    item_ids: Path | None = None
    user_ids: Path | None = None
    item_array: str | None = None
    user_array: str | None = None
    bias_array: str | None = None
    scoring: Literal["dot", "cosine"] = "dot"
    unknown_items: UnknownItems = "error"


def bring_embeddings(request: EmbeddingsRequest, progress: Progress = no_progress) -> Brought:
    """Read a model's vectors and a person's tables, and join them.

    Raises:
        DataError: A file cannot be used, or the files do not fit each other.
        ConfigError: There are neither user vectors nor interactions, or the name cannot be one.
    """
    _check_name(request.name)
    if request.users is None:
        _check_log(request.tables, "There are no vectors of users")
    progress("dataset", 0, 1, {})
    items = read_matrix(request.items, "item", array=request.item_array, ids=request.item_ids)
    n_items, d_in = items.vectors.shape
    bias = np.zeros(n_items, np.float32)
    if request.item_bias is not None:
        bias = read_bias(request.item_bias, n_items, array=request.bias_array)
    users, of_users = None, None
    if request.users is not None:
        users = read_matrix(request.users, "user", array=request.user_array, ids=request.user_ids)
        _check_width(request, users, d_in)
        of_users = Ids(users.ids, len(users.vectors), request.users.name, "--user-ids")
    joined = join(
        request.tables,
        Ids(items.ids, n_items, request.items.name, "--item-ids"),
        of_users,
        name=request.name,
        unknown_items=request.unknown_items,
    )
    dataset, rows = joined.dataset, joined.item_rows
    V, U = items.vectors[rows], None if users is None else _rows_or_nan(users.vectors, joined.user_rows)
    if request.scoring == "cosine":
        _check_lengths(request.items, V, dataset.items.ids)
        if request.users is not None and U is not None:
            _check_lengths(request.users, U, dataset.users.ids)
    model: Any = Precomputed.bring(dataset, V, bias[rows], U, request.scoring)
    progress("dataset", 1, 1, {})
    files = {"items": request.items, "users": request.users, "item_bias": request.item_bias}
    return Brought(dataset, model, _source("embeddings", files))


@dataclass(frozen=True)
class RecBoleRequest:
    """A checkpoint of RecBole, and what it is about.

    Attributes:
        name: What the dataset is called.
        tables: The item table, and perhaps interactions and a user table.
        checkpoint: The file that RecBole's trainer saved.
        item_ids: Which id each internal number of an item stands for; None where the tables have RecBole's numbers.
        user_ids: The same of the users.
        order: What the order of a history is taken from, for a model of sequences.
        unknown_items: What becomes of items that the item table lacks.
    """

    name: str
    tables: Tables
    checkpoint: Path
    item_ids: Path | None = None
    user_ids: Path | None = None
    order: Literal["timestamps", "as-given"] = "timestamps"
    unknown_items: UnknownItems = "error"


def bring_recbole(request: RecBoleRequest, progress: Progress = no_progress) -> Brought:
    """Read a model that RecBole trained and a person's tables, and join them.

    Raises:
        DataError: A file cannot be used, or the files do not fit each other.
        ConfigError: There is nobody to recommend anything to, or nothing that orders the histories of a sequence model.
    """
    _check_name(request.name)
    progress("dataset", 0, 1, {})
    model = read_recbole(request.checkpoint)
    if not model.n_users:
        _check_log(request.tables, f"{model.name} has no vectors of users")

    def ids(kind: str, path: Path | None, n: int) -> Ids:
        names = internal_ids(n) if path is None else read_recbole_ids(path, kind, n)
        return Ids(names, n, request.checkpoint.name, f"--{kind}-ids")

    joined = join(
        request.tables,
        ids("item", request.item_ids, model.n_items),
        ids("user", request.user_ids, model.n_users) if model.n_users else None,
        name=request.name,
        unknown_items=request.unknown_items,
    )
    if model.name in SEQUENCES and request.order == "timestamps":
        _check_times(joined.dataset, model.name)
    recommender = to_recommender(model, joined.dataset, joined.item_rows, joined.user_rows)
    progress("dataset", 1, 1, {})
    return Brought(joined.dataset, recommender, _source("recbole", {"checkpoint": request.checkpoint}))


@dataclass(frozen=True)
class ImplicitRequest:
    """A model of the library `implicit`, and what it is about.

    Attributes:
        name: What the dataset is called.
        tables: The item table, and perhaps interactions and a user table.
        model: The file that `model.save` wrote.
        item_ids: The id of each item, by its column in the matrix that the model was trained on; None where the item
            table has that order.
        user_ids: The id of each user, by the row in that matrix.
        unknown_items: What becomes of items that the item table lacks.
    """

    name: str
    tables: Tables
    model: Path
    item_ids: Path | None = None
    user_ids: Path | None = None
    unknown_items: UnknownItems = "error"


def bring_implicit(request: ImplicitRequest, progress: Progress = no_progress) -> Brought:
    """Read a model that `implicit` trained and a person's tables, and join them.

    Raises:
        DataError: A file cannot be used, or the files do not fit each other.
        ConfigError: There is nobody to recommend anything to.
    """
    _check_name(request.name)
    progress("dataset", 0, 1, {})
    model = read_implicit(request.model)
    if model.users is None:
        _check_log(request.tables, f"{request.model.name} has no vectors of users")

    def ids(kind: str, path: Path | None, n: int) -> Ids:
        names = None if path is None else read_ids(path, kind)
        if path is not None and names is not None and len(names) != n:
            raise DataError(
                f"{request.model.name} has {n:,} {kind}s, and {path.name} {len(names):,} ids.",
                f"Give the id of each {kind}, in the order of the matrix that the model was trained on.",
            )
        return Ids(names, n, request.model.name, f"--{kind}-ids")

    joined = join(
        request.tables,
        ids("item", request.item_ids, len(model.items)),
        None if model.users is None else ids("user", request.user_ids, len(model.users)),
        name=request.name,
        unknown_items=request.unknown_items,
    )
    users = None if model.users is None else _rows_or_nan(model.users, joined.user_rows)
    items = model.items[joined.item_rows]
    recommender: Any
    if model.kind == "als":
        recommender = to_als(model._replace(items=items, users=users))
    else:
        bias = np.zeros(len(items), np.float32) if model.item_bias is None else model.item_bias[joined.item_rows]
        recommender = Precomputed.bring(joined.dataset, items, bias, users, "dot")
    progress("dataset", 1, 1, {})
    return Brought(joined.dataset, recommender, _source("implicit", {"model": request.model}))


def _rows_or_nan(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Give the rows of some vectors; one of NaN where the row is -1."""
    found = np.full((len(rows), vectors.shape[1]), np.nan, np.float32)
    found[rows >= 0] = vectors[rows[rows >= 0]]
    return found


def _check_log(tables: Tables, why: str) -> None:
    if tables.interactions is None:
        raise ConfigError(f"{why}, and there are no interactions: nobody to recommend to.", "Give --interactions.")


def _check_times(dataset: Dataset, model: str) -> None:
    if dataset.timestamps is None:
        raise ConfigError(
            f"{model} needs the order of each history, and the interactions have no column timestamp.",
            "Give them one, or say --order as-given if their rows are in order.",
        )


def _source(kind: str, files: Mapping[str, Path | None]) -> dict[str, Any]:
    """Say where a model comes from: what was imported, and the checksum of each file."""
    found = {}
    for role, path in files.items():
        if path is not None:
            with path.open("rb") as file:
                found[role] = {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    return {"kind": kind, "files": found}


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > NAME_LIMIT or one_line(name, NAME_LIMIT) != name:
        raise ConfigError(
            f"The name {one_line(name, 40)!r} is empty, longer than {NAME_LIMIT} characters or more than a line.",
            "Give a short --name, for example my-model.",
        )


def _check_width(request: EmbeddingsRequest, users: Matrix, d_in: int) -> None:
    if users.vectors.shape[1] != d_in:
        raise DataError(
            f"The vectors of users are {users.vectors.shape[1]:,} wide, and those of {request.items.name} {d_in:,}.",
            "Bring users and items of one model; a column that is a bias of the items goes into --item-bias.",
        )


def _check_lengths(path: Path, vectors: np.ndarray, ids: Sequence[str]) -> None:
    """Raise where a vector has no direction; a row of NaN is none."""
    zero = np.flatnonzero(np.einsum("id,id->i", vectors, vectors, dtype=np.float64) == 0)
    if zero.size:
        raise DataError(
            f"{path.name} has {zero.size:,} vectors of length 0: {first_ids([ids[int(i)] for i in zero])}; "
            "their cosine with others is not defined.",
            "Leave them out, or use --scoring dot.",
        )
