"""Models that RecBole 1.x trained (https://recbole.io), from their checkpoints, without RecBole.

RecBole numbers users and items from 1; row 0 of every table of vectors is padding and is left out here, so item i of a
recommender is RecBole's internal id i + 1. A checkpoint does not hold which id of the log has which number: that is in
RecBole's dataset, and `docs/recbole.md` says how to export it.
"""

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from core.data.dataset import Dataset
from core.data.layouts.tables import read_table
from core.errors import DataError, near, one_line
from core.recommenders.base import Recommender
from core.recommenders.checkpoint import read_checkpoint
from core.recommenders.inert import CONFIG, Record, shown
from core.recommenders.ncf import NCF, NCFConfig
from core.recommenders.precomputed import Precomputed
from core.recommenders.sasrec import LAYER_NORM_EPSILON, SASRec, SASRecConfig

Shapes = dict[str, tuple[int, ...]]

PADDING = "[PAD]"
"""RecBole's token of the internal id 0."""
MOST = 10_000
"""Of a size in the settings: a width, a number of layers."""


class RecBoleModel(NamedTuple):
    """What a checkpoint holds of a model."""

    name: str
    """RecBole's name of it: a key of `KINDS`."""
    config: dict[str, Any]
    """The settings that say what the arrays mean, under RecBole's names."""
    arrays: dict[str, np.ndarray]
    """float32, by the names of the `state_dict`, row 0 (padding) included."""
    n_users: int
    """Users with a vector, without the padding; 0 where the model has none."""
    n_items: int
    """Items, without the padding."""


class Setting(NamedTuple):
    """What a setting may be."""

    fits: Callable[[Any], bool]
    expected: str


def _whole(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MOST


SIZE = Setting(_whole, f"a whole number from 1 to {MOST:,}")
SIZES = Setting(
    lambda value: type(value) is list and 1 <= len(value) <= 100 and all(_whole(v) for v in value), "a list of sizes"
)
SHARE = Setting(lambda value: type(value) in (int, float) and 0 <= value < 1, "a number from 0 to below 1")
TRUTH = Setting(lambda value: type(value) is bool, "true or false")


def one_of(*allowed: Any) -> Setting:
    """Give a setting that has no other values than these."""
    return Setting(lambda value: value in allowed, " or ".join(repr(a) for a in allowed))


class Kind(NamedTuple):
    """How a model of RecBole is read."""

    settings: Mapping[str, Setting]
    users: str | None
    """The tensor with a row for each user."""
    items: str
    """The tensor with a row for each item."""
    shapes: Callable[[Mapping[str, Any], int, int], Shapes]
    """Settings, rows of users, rows of items -> the shape of every tensor there must be."""


def _sasrec_shapes(config: Mapping[str, Any], _: int, n_items: int) -> Shapes:
    d, inner = config["hidden_size"], config["inner_size"]

    def dense(name: str, out: int, into: int) -> Shapes:
        return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}

    def norm(name: str) -> Shapes:
        return {f"{name}LayerNorm.weight": (d,), f"{name}LayerNorm.bias": (d,)}

    shapes: Shapes = {
        "item_embedding.weight": (n_items, d),
        "position_embedding.weight": (config["MAX_ITEM_LIST_LENGTH"], d),
    }
    shapes |= norm("")
    for layer in range(config["n_layers"]):
        attention = f"trm_encoder.layer.{layer}.multi_head_attention."
        forward = f"trm_encoder.layer.{layer}.feed_forward."
        for part in ("query", "key", "value", "dense"):
            shapes |= dense(attention + part, d, d)
        shapes |= dense(forward + "dense_1", inner, d) | dense(forward + "dense_2", d, inner)
        shapes |= norm(attention) | norm(forward)
    return shapes


def _two_towers(config: Mapping[str, Any], n_users: int, n_items: int) -> Shapes:
    d = config["embedding_size"]
    return {"user_embedding.weight": (n_users, d), "item_embedding.weight": (n_items, d)}


def _neumf_shapes(config: Mapping[str, Any], n_users: int, n_items: int) -> Shapes:
    shapes: Shapes = {}
    for part in ("mf", "mlp"):
        shapes[f"user_{part}_embedding.weight"] = (n_users, config[f"{part}_embedding_size"])
        shapes[f"item_{part}_embedding.weight"] = (n_items, config[f"{part}_embedding_size"])
    sizes = [2 * config["mlp_embedding_size"], *config["mlp_hidden_size"]]
    for layer, (into, out) in enumerate(pairwise(sizes)):
        name = f"mlp_layers.mlp_layers.{3 * layer + 1}"  # between a dropout and a ReLU
        shapes |= {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
    width = config["mf_train"] * config["mf_embedding_size"] + config["mlp_train"] * sizes[-1]
    return shapes | {"predict_layer.weight": (1, width), "predict_layer.bias": (1,)}


KINDS: dict[str, Kind] = {
    "SASRec": Kind(
        {
            "hidden_size": SIZE,
            "inner_size": SIZE,
            "n_layers": Setting(lambda value: _whole(value) and value <= 100, "a whole number from 1 to 100"),
            "n_heads": SIZE,
            "MAX_ITEM_LIST_LENGTH": SIZE,
            "hidden_act": one_of("gelu"),
            "layer_norm_eps": one_of(LAYER_NORM_EPSILON),
            "hidden_dropout_prob": SHARE,
            "attn_dropout_prob": SHARE,
            "loss_type": one_of("CE", "BPR"),
        },
        None,
        "item_embedding.weight",
        _sasrec_shapes,
    ),
    "BPR": Kind({"embedding_size": SIZE}, "user_embedding.weight", "item_embedding.weight", _two_towers),
    "LightGCN": Kind(
        {"embedding_size": SIZE, "n_layers": SIZE}, "user_embedding.weight", "item_embedding.weight", _two_towers
    ),
    "NeuMF": Kind(
        {
            "mf_embedding_size": SIZE,
            "mlp_embedding_size": SIZE,
            "mlp_hidden_size": SIZES,
            "mf_train": TRUTH,
            "mlp_train": TRUTH,
        },
        "user_mf_embedding.weight",
        "item_mf_embedding.weight",
        _neumf_shapes,
    ),
}
"""The models of RecBole that are read."""

NARROWEST = 1e-6
"""Added to the spread of the users' vectors of NeuMF, which is 0 where one number is the same for all."""
PROPAGATED = {"restore_user_e": "user_embedding.weight", "restore_item_e": "item_embedding.weight"}
"""Where LightGCN keeps its final vectors, outside of the state_dict, and what has their shape."""


def read_recbole(path: Path) -> RecBoleModel:
    """Read a checkpoint of RecBole 1.x (`saved/MODEL-DATE.pth`).

    Args:
        path: The file, as hostile as any download: see `core.recommenders.checkpoint`.

    Raises:
        DataError: The file is no checkpoint, of another model, or its settings and tensors do not fit each other.
    """
    root = read_checkpoint(path)
    state_dict, settings = root.get("state_dict"), _settings(path.name, root.get("config"))
    if not isinstance(state_dict, dict):
        raise DataError(f"{path.name} has no state_dict.", "Bring a checkpoint that RecBole's trainer saved.")
    name = settings.get("model")
    if not isinstance(name, str) or name not in KINDS:
        said = f"{one_line(name, 60)!r}{near(name[:60], KINDS)}" if isinstance(name, str) else shown(name)
        raise DataError(
            f"{path.name} is a model {said}, which is not read.",
            f"Bring one of: {', '.join(KINDS)}; or its vectors, with python -m core import embeddings.",
        )
    kind = KINDS[name]
    config = {key: _setting(path.name, settings, key, setting) for key, setting in kind.settings.items()}
    _check_config(path.name, name, config)
    n_users = 0 if kind.users is None else _rows(path.name, state_dict, kind.users)
    n_items = _rows(path.name, state_dict, kind.items)
    shapes = kind.shapes(config, n_users, n_items)
    arrays = {key: _tensor(path.name, state_dict, key, shape) for key, shape in shapes.items()}
    if more := [str(key) for key in state_dict if key not in shapes]:
        raise DataError(
            f"{path.name} has {len(more)} tensors that a {name} has not, the first is {one_line(more[0], 80)!r}.",
            f"Bring a checkpoint of RecBole's own {name}.",
        )
    other = root.get("other_parameter")
    if name == "LightGCN" and isinstance(other, dict) and all(other.get(key) is not None for key in PROPAGATED):
        arrays |= {key: _tensor(path.name, other, key, shapes[like]) for key, like in PROPAGATED.items()}
    return RecBoleModel(name, config, arrays, max(n_users - 1, 0), n_items - 1)


def _settings(file: str, config: Any) -> Mapping[str, Any]:
    """Give the settings of the run."""
    state = config.state if isinstance(config, Record) and config.name == CONFIG else None
    found = state.get("final_config_dict") if isinstance(state, dict) else None
    if not isinstance(found, dict):
        raise DataError(
            f"{file} has no config of RecBole in it: what its tensors mean is not known.",
            "Bring a checkpoint that RecBole's trainer saved, with its config.",
        )
    return found


def _setting(file: str, settings: Mapping[str, Any], key: str, setting: Setting) -> Any:
    if key not in settings:
        raise DataError(
            f"The config in {file} does not say {key}.", "Bring a checkpoint that RecBole's trainer saved, whole."
        )
    value = settings[key]
    if not setting.fits(value):
        said = repr(one_line(value, 60)) if isinstance(value, str) else shown(value)
        raise DataError(
            f"{key} is {said} in the config of {file}, expected {setting.expected}.", f"Train it with such a {key}."
        )
    return value


def _check_config(file: str, name: str, config: Mapping[str, Any]) -> None:
    """Raise where settings do not go together."""
    if name == "SASRec" and config["hidden_size"] % config["n_heads"]:
        raise DataError(
            f"The config in {file} has hidden_size {config['hidden_size']}, not a multiple of n_heads.",
            "Bring the checkpoint with its own config.",
        )
    if name == "NeuMF" and not (config["mf_train"] or config["mlp_train"]):
        raise DataError(
            f"mf_train and mlp_train are both false in the config of {file}.", "Train at least one of them."
        )


def _rows(file: str, tensors: Mapping[str, Any], name: str) -> int:
    """Give the rows of a table of vectors."""
    array = tensors.get(name)
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        raise DataError(f"{file} has no table {name!r} of vectors.", "Bring a checkpoint that RecBole's trainer saved.")
    if len(array) < 3:
        raise DataError(f"{file} has {len(array)} rows in {name!r}, expected padding and two more.", "Train on more.")
    return len(array)


def _tensor(file: str, tensors: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Give a tensor as float32, when it has the shape that the settings ask for."""
    array = tensors.get(name)
    if not isinstance(array, np.ndarray):
        raise DataError(f"{file} lacks the tensor {name!r}.", "Bring a checkpoint that RecBole's trainer saved, whole.")
    if array.shape != shape or array.dtype.kind != "f":
        raise DataError(
            f"The tensor {name!r} of {file} is {array.dtype} of shape {array.shape}, expected numbers of shape {shape} "
            "as its config says.",
            "Bring the checkpoint with its own config.",
        )
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(numbers).all():
        raise DataError(
            f"The tensor {name!r} of {file} holds {int((~np.isfinite(numbers)).sum()):,} numbers that are not finite.",
            "Train it again with a lower learning rate: it diverged.",
        )
    return numbers


def read_ids(path: Path, kind: str, n: int) -> list[str]:
    """Read which id of the log each internal id of RecBole stands for.

    Args:
        path: JSON, a list of ids by their internal id (`dataset.field2id_token[field].tolist()`, which begins with the
            padding) or an object of id -> internal id; or CSV with the columns `token` and `id`.
        kind: "item" or "user", for messages.
        n: Items or users of the model.

    Returns:
        `n` ids: that of internal id 1 first.

    Raises:
        DataError: The file cannot be read, or does not name each internal id from 1 to `n` once.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing or no file.", f"Give the file of {kind} ids that docs/recbole.md exports.")
    try:
        pairs = _json_ids(path) if path.suffix.lower() == ".json" else _csv_ids(path)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name} is no list of ids: {one_line(str(error), 120)}.", EXPORT) from None
    ids: list[str | None] = [None] * (n + 1)
    for token, place in pairs:
        if not 0 <= place <= n or ids[place] is not None:
            what = "twice" if 0 <= place <= n else f"and the model has {n:,} {kind}s"
            raise DataError(f"{path.name} gives the internal id {place}, {what}.", EXPORT)
        ids[place] = token
    found = [i for i in ids[1:] if i is not None]
    if len(found) < n:
        first = next(place for place in range(1, n + 1) if ids[place] is None)
        raise DataError(
            f"{path.name} names {len(found):,} of the {n:,} {kind}s of the model; the first without an id is {first}.",
            EXPORT,
        )
    return found


EXPORT = "Export the ids from the dataset that the model was trained on, as docs/recbole.md says."


def _json_ids(path: Path) -> list[tuple[str, int]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(found, list) and all(isinstance(token, str) for token in found):
        return [(token, place) for place, token in enumerate(found if found[:1] == [PADDING] else [PADDING, *found])]
    if isinstance(found, dict) and all(type(place) is int for place in found.values()):
        return list(found.items())
    raise ValueError("expected a list of ids as text, or an object of id to number")


def _csv_ids(path: Path) -> list[tuple[str, int]]:
    frame = read_table(path, ["token", "id"])
    return [(token, int(place)) for token, place in zip(frame["token"], frame["id"], strict=True)]


def internal_ids(n: int) -> list[str]:
    """Give the ids of `n` items or users where no list of ids is at hand: RecBole's numbers.

    >>> internal_ids(3)
    ['1', '2', '3']
    """
    return [str(place) for place in range(1, n + 1)]


def to_recommender(
    model: RecBoleModel,
    dataset: Dataset,
    item_rows: np.ndarray | None = None,
    user_rows: np.ndarray | None = None,
) -> Recommender:
    """Give the recommender that scores as RecBole's model does.

    Args:
        model: Of `read_recbole`.
        dataset: What it is about, with or without interactions.
        item_rows: (dataset.n_items,) internal id - 1 of each item; None where all are there, in RecBole's order.
        user_rows: (dataset.n_users,) the same of each user, -1 for one that the model does not know; None where all are
            there, in RecBole's order.

    Raises:
        DataError: A LightGCN without its final vectors, and no interactions to compute them from.
    """
    items = np.arange(model.n_items) if item_rows is None else np.asarray(item_rows, np.int64)
    if len(items) != dataset.n_items:
        raise ValueError(f"{len(items)} items of the model for {dataset.n_items} of the dataset")
    if model.name == "SASRec":
        return _sasrec(model, items)
    users = np.arange(model.n_users) if user_rows is None else np.asarray(user_rows, np.int64)
    if len(users) != dataset.n_users:
        raise ValueError(f"{len(users)} users of the model for {dataset.n_users} of the dataset")
    if model.name == "NeuMF" and model.config["mlp_train"]:
        return _neumf(model, items, users)
    U, V = _final_vectors(model, dataset, items, users)
    bias = np.full(len(items), model.arrays["predict_layer.bias"] if model.name == "NeuMF" else 0.0, np.float32)
    brought: Any = Precomputed.bring(dataset, V[items], bias, _rows_or_nan(U, users), "dot")
    return brought


def _rows_or_nan(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Give the rows of some vectors; one of NaN where the row is -1."""
    found = np.full((len(rows), vectors.shape[1]), np.nan, np.float32)
    found[rows >= 0] = vectors[rows[rows >= 0]]
    return found


def _final_vectors(
    model: RecBoleModel, dataset: Dataset, items: np.ndarray, users: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give the (n_users, d) and (n_items, d) vectors that are multiplied, in RecBole's order."""
    if model.name == "NeuMF":  # without its hidden layers, it is a product of vectors with weights
        U, V = model.arrays["user_mf_embedding.weight"][1:], model.arrays["item_mf_embedding.weight"][1:]
        return U, V * model.arrays["predict_layer.weight"]
    first = model.arrays["user_embedding.weight"][1:], model.arrays["item_embedding.weight"][1:]
    if model.name == "BPR":
        return first
    if "restore_user_e" in model.arrays:
        return model.arrays["restore_user_e"][1:], model.arrays["restore_item_e"][1:]
    known = users[dataset.user_index] >= 0
    if not known.any():
        raise DataError(
            "The checkpoint of LightGCN holds its first vectors only, which its graph makes the final ones of.",
            "Give the interactions that it was trained on, or validate with eval_args.mode: full, which saves them.",
        )
    rows, columns = users[dataset.user_index[known]], items[dataset.item_index[known]]
    graph = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(model.n_users, model.n_items))
    return propagate(*first, graph, model.config["n_layers"])


def propagate(U: np.ndarray, V: np.ndarray, graph: sparse.csr_matrix, n_layers: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the final vectors of LightGCN: the mean over the layers of E, L E, L L E, ... with L = D^-1/2 A D^-1/2.

    Args:
        U: (n_users, d) first vectors of the users.
        V: (n_items, d) of the items.
        graph: (n_users, n_items), 1 where a user consumed an item in training.
        n_layers: Steps along the graph.
    """
    degrees = [np.asarray(graph.sum(axis=axis)).ravel() for axis in (1, 0)]
    by_user, by_item = (sparse.diags((degree + 1e-7) ** -0.5) for degree in degrees)  # RecBole's 1e-7
    L = by_user @ graph @ by_item
    u, v = U.astype(np.float64), V.astype(np.float64)
    sum_u, sum_v = u, v
    for _ in range(n_layers):
        u, v = L @ v, L.T @ u
        sum_u, sum_v = sum_u + u, sum_v + v
    return (sum_u / (n_layers + 1)).astype(np.float32), (sum_v / (n_layers + 1)).astype(np.float32)


def _sasrec(model: RecBoleModel, items: np.ndarray) -> Any:
    config = model.config
    settings = SASRecConfig(
        embedding_size=config["hidden_size"],
        n_layers=config["n_layers"],
        n_heads=config["n_heads"],
        inner_size=config["inner_size"],
        max_length=config["MAX_ITEM_LIST_LENGTH"],
        hidden_dropout=float(config["hidden_dropout_prob"]),
        attention_dropout=float(config["attn_dropout_prob"]),
        loss=config["loss_type"].lower(),
        order="as-given",
    )
    name = "item_embedding.weight"
    return SASRec(settings, model.arrays | {name: model.arrays[name][1:][items]})


def _neumf(model: RecBoleModel, items: np.ndarray, users: np.ndarray) -> Any:
    """Give NeuMF as NCF with products: its vectors are those of the hidden layers, then those of the products."""
    config, a = model.config, model.arrays
    parts = ("mlp", "mf") if config["mf_train"] else ("mlp",)
    U, V = (np.hstack([a[f"{side}_{part}_embedding.weight"][1:] for part in parts]) for side in ("user", "item"))
    settings = NCFConfig(
        embedding_size=config["mlp_embedding_size"],
        hidden=tuple(config["mlp_hidden_size"]),
        gmf_size=config["mf_embedding_size"] if config["mf_train"] else 0,
        n_negatives=1.0,  # RecBole's default
    )
    arrays = {"items": V[items], "b_out": a["predict_layer.bias"]}
    for layer in range(len(settings.hidden)):
        name = f"mlp_layers.mlp_layers.{3 * layer + 1}"
        arrays |= {f"W_{layer}": np.ascontiguousarray(a[f"{name}.weight"].T), f"b_{layer}": a[f"{name}.bias"]}
    # RecBole has the products first, NCF the last hidden layer.
    arrays["w_out"] = np.roll(a["predict_layer.weight"][0], -settings.gmf_size)
    arrays |= {"centre": U.mean(axis=0), "spread": U.std(axis=0) + NARROWEST, "users": _rows_or_nan(U, users)}
    return NCF(settings, arrays)
