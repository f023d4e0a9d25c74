"""What RecBole trained scores here as it does there; what does not fit together is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch.nn import functional

from core.data.brought import Ids, Tables, join
from core.data.dataset import Dataset, IdMap
from core.data.layouts.atomic import read_items
from core.errors import DataError
from core.recommenders.base import Recommender, embed_users, rank
from core.recommenders.recbole import (
    KINDS,
    RecBoleModel,
    internal_ids,
    propagate,
    read_ids,
    read_recbole,
    to_recommender,
)
from core.recommenders.sasrec import SASRec
from tests.core.recommenders.recbole_files import write_checkpoint

N_USERS, N_ITEMS, D = 5, 7, 4
SASREC = {
    "hidden_size": D, "inner_size": 6, "n_layers": 2, "n_heads": 2, "MAX_ITEM_LIST_LENGTH": 5, "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.5, "attn_dropout_prob": 0.25, "loss_type": "CE",
}  # fmt: skip
NEUMF = {
    "mf_embedding_size": 3, "mlp_embedding_size": 2, "mlp_hidden_size": [6, 5], "mf_train": True, "mlp_train": True,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "SASRec": SASREC,
    "BPR": {"embedding_size": D},
    "LightGCN": {"embedding_size": D, "n_layers": 2},
    "NeuMF": NEUMF,
}


def random_tensors(model: str, **settings: Any) -> dict[str, torch.Tensor]:
    """Give a state_dict with the names and shapes that RecBole's classes give theirs."""
    table, linear, generator = torch.nn.Embedding, torch.nn.Linear, torch.Generator().manual_seed(7)
    s = SETTINGS[model] | settings
    parts: dict[str, torch.nn.Module] = {}
    if model in ("BPR", "LightGCN"):
        parts = {"user_embedding": table(N_USERS + 1, D), "item_embedding": table(N_ITEMS + 1, D)}
    if model == "NeuMF":
        for part in ("mf", "mlp"):
            parts[f"user_{part}_embedding"] = table(N_USERS + 1, s[f"{part}_embedding_size"])
            parts[f"item_{part}_embedding"] = table(N_ITEMS + 1, s[f"{part}_embedding_size"])
        sizes = [2 * s["mlp_embedding_size"], *s["mlp_hidden_size"]]
        for layer in range(len(sizes) - 1):
            parts[f"mlp_layers.mlp_layers.{3 * layer + 1}"] = linear(sizes[layer], sizes[layer + 1])
        parts["predict_layer"] = linear(s["mf_train"] * s["mf_embedding_size"] + s["mlp_train"] * sizes[-1], 1)
    if model == "SASRec":
        parts = {"item_embedding": table(N_ITEMS + 1, D), "position_embedding": table(s["MAX_ITEM_LIST_LENGTH"], D)}
        for layer in range(s["n_layers"]):
            attention = f"trm_encoder.layer.{layer}.multi_head_attention"
            forward = f"trm_encoder.layer.{layer}.feed_forward"
            parts |= {f"{attention}.{part}": linear(D, D) for part in ("query", "key", "value", "dense")}
            parts |= {
                f"{forward}.dense_1": linear(D, s["inner_size"]),
                f"{forward}.dense_2": linear(s["inner_size"], D),
            }
            parts |= {f"{place}.LayerNorm": torch.nn.LayerNorm(D) for place in (attention, forward)}
        parts["LayerNorm"] = torch.nn.LayerNorm(D)
    shapes = {f"{name}.{key}": v.shape for name, part in parts.items() for key, v in part.state_dict().items()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def checkpoint(tmp_path: Path, model: str, other: dict | None = None, protocol: int = 4, **settings: Any) -> Path:
    tensors = random_tensors(model, **settings)
    return write_checkpoint(tmp_path / f"{model}.pth", model, SETTINGS[model] | settings, tensors, other, protocol)


def log_of(histories: list[list[int]], n_items: int = N_ITEMS) -> Dataset:
    """Give a dataset of RecBole's items in its order, with the histories of its users in its order."""
    ids = internal_ids(n_items)
    return Dataset(
        "x",
        IdMap(internal_ids(len(histories)), "user"),
        IdMap(ids, "item"),
        np.repeat(np.arange(len(histories)), [len(h) for h in histories]).astype(np.int32),
        np.array([i for h in histories for i in h], np.int32),
        None,
        pd.DataFrame({"title": ids}),
    )


NOBODY = log_of([[] for _ in range(N_USERS)])
HISTORIES = [[0, 1], [1, 2, 6], [3], [], [0, 4, 6]]


def all_scores(model: Recommender, dataset: Dataset = NOBODY) -> np.ndarray:
    return model.score(embed_users(model, dataset, np.arange(dataset.n_users)))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", KINDS)
def test_a_checkpoint_gives_its_settings_and_all_its_tensors(tmp_path: Path, name: str, protocol: int) -> None:
    model = read_recbole(checkpoint(tmp_path, name, protocol=protocol))
    assert model.name == name and model.config == SETTINGS[name]
    assert (model.n_users, model.n_items) == (0 if name == "SASRec" else N_USERS, N_ITEMS)
    expected = random_tensors(name)
    assert model.arrays.keys() == expected.keys()
    for key, array in model.arrays.items():
        assert array.dtype == np.float32 and np.array_equal(array, expected[key].numpy()), key


def test_bpr_scores_its_users_by_the_products_of_their_vectors(tmp_path: Path) -> None:
    tensors = random_tensors("BPR")
    model = to_recommender(read_recbole(checkpoint(tmp_path, "BPR")), NOBODY)
    expected = tensors["user_embedding.weight"] @ tensors["item_embedding.weight"].T
    np.testing.assert_allclose(all_scores(model), expected.numpy()[1:, 1:], rtol=1e-5, atol=1e-6)


def naive_lightgcn(tensors: dict[str, torch.Tensor], histories: list[list[int]]) -> torch.Tensor:
    """Score as RecBole does: one dense matrix of all users and items, padding included."""
    first = torch.cat([tensors["user_embedding.weight"], tensors["item_embedding.weight"]]).double()
    A = torch.zeros(len(first), len(first), dtype=torch.float64)
    for user, history in enumerate(histories):
        for item in history:
            A[user + 1, N_USERS + 1 + item + 1] = A[N_USERS + 1 + item + 1, user + 1] = 1
    D_ = torch.diag((A.sum(1) + 1e-7) ** -0.5)
    layers = [first, D_ @ A @ D_ @ first, D_ @ A @ D_ @ D_ @ A @ D_ @ first]
    final = torch.stack(layers).mean(0)
    return final[1 : N_USERS + 1] @ final[N_USERS + 2 :].T


def test_lightgcn_propagates_along_the_log_where_its_final_vectors_are_not_saved(tmp_path: Path) -> None:
    dataset = log_of(HISTORIES)
    other = {"restore_user_e": None, "restore_item_e": None}
    model = to_recommender(read_recbole(checkpoint(tmp_path, "LightGCN", other)), dataset)
    expected = naive_lightgcn(random_tensors("LightGCN"), HISTORIES)
    np.testing.assert_allclose(all_scores(model, dataset), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_lightgcn_takes_the_final_vectors_that_validation_saved(tmp_path: Path) -> None:
    both = torch.randn(N_USERS + 1 + N_ITEMS + 1, D)
    users, items = both.split([N_USERS + 1, N_ITEMS + 1])  # two parts of one storage, as RecBole saves them
    other = {"restore_user_e": users, "restore_item_e": items}
    model = to_recommender(read_recbole(checkpoint(tmp_path, "LightGCN", other)), NOBODY)
    np.testing.assert_allclose(all_scores(model), (users @ items.T).numpy()[1:, 1:], rtol=1e-5, atol=1e-6)


def test_lightgcn_without_final_vectors_or_a_log_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="first vectors only") as caught:
        to_recommender(read_recbole(checkpoint(tmp_path, "LightGCN")), NOBODY)
    assert "eval_args.mode: full" in caught.value.fix


def test_one_step_along_a_log_of_two_users_is_this_by_hand() -> None:
    U, V = np.array([[1.0], [2.0]]), np.array([[4.0], [8.0]])
    graph = sparse.csr_matrix(np.array([[1.0, 0.0], [1.0, 1.0]]))
    u, v = propagate(U, V, graph, 1)
    half = 1 / np.sqrt(2)
    np.testing.assert_allclose(u[:, 0], [(1 + half * 4) / 2, (2 + half * half * 4 + half * 8) / 2], rtol=1e-5)
    np.testing.assert_allclose(v[:, 0], [(4 + half * 1 + half * half * 2) / 2, (8 + half * 2) / 2], rtol=1e-5)


def naive_neumf(tensors: dict[str, torch.Tensor], **s: Any) -> np.ndarray:
    """Score every pair as RecBole's `predict` does before its sigmoid: products first, then the hidden layers."""
    users, items = torch.arange(1, N_USERS + 1), torch.arange(1, N_ITEMS + 1)
    user, item = (pair.flatten() for pair in torch.meshgrid(users, items, indexing="ij"))
    parts = []
    if s["mf_train"]:
        parts.append(tensors["user_mf_embedding.weight"][user] * tensors["item_mf_embedding.weight"][item])
    if s["mlp_train"]:
        x = torch.cat([tensors["user_mlp_embedding.weight"][user], tensors["item_mlp_embedding.weight"][item]], -1)
        for layer in range(len(s["mlp_hidden_size"])):
            name = f"mlp_layers.mlp_layers.{3 * layer + 1}"
            x = torch.relu(functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"]))
        parts.append(x)
    scores = functional.linear(torch.cat(parts, -1), tensors["predict_layer.weight"], tensors["predict_layer.bias"])
    return scores.view(N_USERS, N_ITEMS).numpy()


@pytest.mark.parametrize("hidden", [[6, 5], [4], [5, 4, 3]])
@pytest.mark.parametrize("trained", [(True, True), (True, False), (False, True)], ids=["both", "products", "hidden"])
def test_neumf_scores_its_users_as_the_network_does(tmp_path: Path, trained: tuple, hidden: list[int]) -> None:
    settings = {"mf_train": trained[0], "mlp_train": trained[1], "mlp_hidden_size": hidden}
    model = to_recommender(read_recbole(checkpoint(tmp_path, "NeuMF", **settings)), NOBODY)
    expected = naive_neumf(random_tensors("NeuMF", **settings), **NEUMF | settings)
    np.testing.assert_allclose(all_scores(model), expected, rtol=1e-4, atol=1e-5)
    again: Any = type(model).from_arrays(model.config, model.to_arrays())
    np.testing.assert_array_equal(all_scores(again), all_scores(model), "saved with its users")
    assert (model.linear is None) == trained[1], "without hidden layers it is a product of vectors"


def sasrec_steps(tensors: dict[str, torch.Tensor], history: list[int], **s: Any) -> dict[str, torch.Tensor]:
    """Follow one right-padded history as RecBole does, and give every step by name; scores are of all rows."""
    length, d, heads = s["MAX_ITEM_LIST_LENGTH"], s["hidden_size"], s["n_heads"]
    ids = torch.zeros(1, length, dtype=torch.long)
    ids[0, : len(history)] = torch.tensor(history) + 1

    def norm(x: torch.Tensor, place: str) -> torch.Tensor:
        return functional.layer_norm(
            x, (d,), tensors[f"{place}LayerNorm.weight"], tensors[f"{place}LayerNorm.bias"], 1e-12
        )

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def split(x: torch.Tensor) -> torch.Tensor:
        return x.view(1, length, heads, d // heads).permute(0, 2, 1, 3)

    x = norm(tensors["item_embedding.weight"][ids] + tensors["position_embedding.weight"][None], "")
    steps = {"embedding": x}
    seen = torch.tril((ids != 0)[:, None, None, :].expand(-1, -1, length, -1))
    mask = torch.where(seen, 0.0, -10000.0)
    for layer in range(s["n_layers"]):
        attention, forward = (f"trm_encoder.layer.{layer}.{p}." for p in ("multi_head_attention", "feed_forward"))
        query, key, value = (split(linear(x, attention + part)) for part in ("query", "key", "value"))
        weights = torch.softmax(query @ key.transpose(-1, -2) / (d // heads) ** 0.5 + mask, -1)
        context = (weights @ value).permute(0, 2, 1, 3).reshape(1, length, d)
        x = norm(linear(context, attention + "dense") + x, attention)
        steps[f"attention {layer}"] = x
        inner = linear(x, forward + "dense_1")
        inner = inner * 0.5 * (1.0 + torch.erf(inner / 2**0.5))
        x = norm(linear(inner, forward + "dense_2") + x, forward)
        steps[f"feed-forward {layer}"] = x
    steps = {name: step[0, : len(history)] for name, step in steps.items()}
    steps["state"] = steps[f"feed-forward {s['n_layers'] - 1}"][-1]
    return steps | {"scores": tensors["item_embedding.weight"] @ steps["state"]}


class Following(SASRec):
    """A SASRec that keeps what leaves each LayerNorm: the steps of the test above, in their order."""

    def _norm(self, place: str, x: np.ndarray) -> np.ndarray:
        self.steps = getattr(self, "steps", [])
        self.steps.append(super()._norm(place, x))
        return self.steps[-1]


def check_every_step(model: Any, tensors: dict[str, torch.Tensor], history: list[int], **settings: Any) -> None:
    following = Following(model.config, model.to_arrays())
    state = following.embed([np.array(history)])
    expected = sasrec_steps(tensors, history, **settings)
    names = [n for n in expected if n not in ("state", "scores")]
    assert len(following.steps) == len(names)
    for name, step in zip(names, following.steps, strict=True):
        ours, theirs = step[0], expected[name].numpy()
        np.testing.assert_allclose(ours, theirs[-len(ours) :], rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(state[0], expected["state"].numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.score(state)[0], expected["scores"].numpy()[1:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("history", [[3], [0, 6], [5, 1, 4], [6, 5, 4, 3, 2]])
@pytest.mark.parametrize("shape", [{}, {"n_heads": 4}, {"n_layers": 1, "n_heads": 1}])
def test_every_step_of_sasrec_is_what_torch_computes(tmp_path: Path, history: list[int], shape: dict) -> None:
    settings = SASREC | shape
    model = to_recommender(read_recbole(checkpoint(tmp_path, "SASRec", **shape)), NOBODY)
    check_every_step(model, random_tensors("SASRec", **shape), history, **settings)


def test_sasrec_takes_its_settings_from_the_config_of_the_checkpoint(tmp_path: Path) -> None:
    model: Any = to_recommender(read_recbole(checkpoint(tmp_path, "SASRec", n_heads=4, loss_type="BPR")), NOBODY)
    config = model.config
    assert (config.n_heads, config.loss, config.max_length, config.inner_size) == (4, "bpr", 5, 6)
    assert (config.hidden_dropout, config.attention_dropout, config.embedding_size) == (0.5, 0.25, D)


@pytest.mark.parametrize("name", KINDS)
def test_items_and_users_are_taken_in_the_order_of_the_dataset(tmp_path: Path, name: str) -> None:
    brought = read_recbole(checkpoint(tmp_path, name))
    items, users = np.array([6, 2, 0]), np.array([4, -1, 0])
    dataset = log_of([[0, 1], [2], [1]], 3)
    known = log_of(HISTORIES)
    scores = all_scores(to_recommender(brought, known), known)
    some = to_recommender(brought, dataset, items, users)
    assert some.n_items == 3
    if name == "SASRec":
        whole = to_recommender(brought, known)
        np.testing.assert_allclose(some.embed([np.array([1, 2])]), whole.embed([np.array([2, 0])]), rtol=1e-5)
        return
    if name != "LightGCN":  # whose vectors depend on the log
        np.testing.assert_allclose(all_scores(some, dataset)[[0, 2]], scores[[4, 0]][:, items], rtol=1e-4, atol=1e-5)
    assert some.native_users is not None and np.isnan(some.native_users[1]).all()
    assert np.isfinite(all_scores(some, dataset)).all(), "a user that the model does not know is folded in"


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_number_of_rows_is_a_mistake(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="items of the model"):
        to_recommender(read_recbole(checkpoint(tmp_path, name)), log_of(HISTORIES, 3))


@pytest.mark.parametrize(
    ("model", "change", "said"),
    [
        ("SASRec", {"n_heads": 3}, "hidden_size 4, not a multiple of n_heads"),
        ("SASRec", {"n_heads": "2"}, "n_heads is '2' in the config of .*, expected a whole number from 1"),
        ("SASRec", {"n_heads": True}, "n_heads is True"),
        ("SASRec", {"n_layers": 10**9}, "n_layers is 1000000000"),
        ("SASRec", {"n_layers": 3}, "lacks the tensor 'trm_encoder.layer.2"),
        ("SASRec", {"n_layers": 1}, "16 tensors that a SASRec has not, the first is 'trm_encoder.layer.1"),
        ("SASRec", {"hidden_size": 8}, r"'item_embedding.weight' .* shape \(8, 4\), expected .* \(8, 8\)"),
        ("SASRec", {"inner_size": 5}, r"dense_1.weight' .* shape \(6, 4\), expected numbers of shape \(5, 4\)"),
        ("SASRec", {"MAX_ITEM_LIST_LENGTH": 50}, r"'position_embedding.weight' .* shape \(5, 4\)"),
        ("SASRec", {"hidden_act": "relu"}, "hidden_act is 'relu' .* expected 'gelu'"),
        ("SASRec", {"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05 .* expected 1e-12"),
        ("SASRec", {"loss_type": "TOP1"}, "loss_type is 'TOP1' .* expected 'CE' or 'BPR'"),
        ("BPR", {"embedding_size": 5}, r"expected numbers of shape \(6, 5\)"),
        ("BPR", {"embedding_size": [4]}, "embedding_size is a value of type list"),
        ("NeuMF", {"mlp_hidden_size": [6, 4]}, r"mlp_layers.4.weight' .* shape \(5, 6\), expected .* \(4, 6\)"),
        ("NeuMF", {"mlp_hidden_size": []}, "expected a list of sizes"),
        ("NeuMF", {"mlp_hidden_size": "[6, 5]"}, "mlp_hidden_size is '.6, 5.' .* expected a list of sizes"),
        ("NeuMF", {"mf_train": False, "mlp_train": False}, "mf_train and mlp_train are both false"),
        ("NeuMF", {"mf_train": False}, r"'predict_layer.weight' .* shape \(1, 8\), expected numbers of shape \(1, 5\)"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_the_tensors_are_named(tmp_path: Path, model: str, change: dict, said: str) -> None:
    path = write_checkpoint(tmp_path / "x.pth", model, SETTINGS[model] | change, random_tensors(model))
    with pytest.raises(DataError, match=said):
        read_recbole(path)


@pytest.mark.parametrize("name", KINDS)
def test_every_setting_that_is_needed_is_asked_of_the_config(tmp_path: Path, name: str) -> None:
    for key in KINDS[name].settings:
        settings = {k: v for k, v in SETTINGS[name].items() if k != key}
        path = write_checkpoint(tmp_path / "x.pth", name, settings, random_tensors(name))
        with pytest.raises(DataError, match=f"The config in x.pth does not say {key}"):
            read_recbole(path)


def test_a_model_that_is_not_read_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.pth", "GRU4Rec", {}, random_tensors("BPR"))
    with pytest.raises(DataError, match="is a model 'GRU4Rec', which is not read") as caught:
        read_recbole(path)
    assert all(name in caught.value.fix for name in KINDS)


def test_a_tensor_that_is_missing_not_finite_or_no_vector_is_named(tmp_path: Path) -> None:
    def read(**changes: Any) -> RecBoleModel:
        tensors = {k: v for k, v in (random_tensors("BPR") | changes).items() if v is not None}
        return read_recbole(write_checkpoint(tmp_path / "x.pth", "BPR", SETTINGS["BPR"], tensors))

    users, items = "user_embedding.weight", "item_embedding.weight"
    diverged = random_tensors("BPR")[items]
    diverged[2, 1] = torch.inf
    with pytest.raises(DataError, match=f"no table '{users}'"):
        read(**{users: None})
    with pytest.raises(DataError, match=f"'{items}' of x.pth holds 1 numbers that are not finite"):
        read(**{items: diverged})
    with pytest.raises(DataError, match="is int64 of shape"):
        read(**{items: torch.ones(N_ITEMS + 1, D, dtype=torch.int64)})
    with pytest.raises(DataError, match=f"no table '{items}'"):
        read(**{items: torch.ones(3)})
    with pytest.raises(DataError, match=f"2 rows in '{items}', expected padding and two more"):
        read(**{items: torch.ones(2, D)})
    half = read(**{items: torch.full((N_ITEMS + 1, D), 0.5, dtype=torch.float16)}).arrays[items]
    assert half.dtype == np.float32 and (half == 0.5).all()


def test_a_file_without_config_or_tensors_says_so(tmp_path: Path) -> None:
    torch.save({"state_dict": random_tensors("BPR")}, tmp_path / "x.pth")
    with pytest.raises(DataError, match="no config of RecBole"):
        read_recbole(tmp_path / "x.pth")
    torch.save({"config": {"final_config_dict": {"model": "BPR"}}}, tmp_path / "x.pth")
    with pytest.raises(DataError, match="no config of RecBole"):
        read_recbole(tmp_path / "x.pth")


def ids_file(tmp_path: Path, name: str, text: str) -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ids.json", '["[PAD]", "b", "a", "é"]'),
        ("ids.json", '["b", "a", "é"]'),
        ("ids.json", '{"[PAD]": 0, "a": 2, "b": 1, "é": 3}'),
        ("ids.csv", "token,id\n[PAD],0\nb,1\né,3\na,2\n"),
    ],
)
def test_ids_are_read_in_the_order_of_the_internal_ids(tmp_path: Path, name: str, text: str) -> None:
    assert read_ids(ids_file(tmp_path, name, text), "item", 3) == ["b", "a", "é"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "b": 3}', "names 2 of the 3 items of the model; the first without an id is 2"),
        ('{"a": 1, "b": 1, "c": 2}', "gives the internal id 1, twice"),
        ('["[PAD]", "a", "b", "c", "d"]', "gives the internal id 4, and the model has 3 items"),
        ('{"a": -1}', "gives the internal id -1"),
        ('{"a": true}', "no list of ids"),
        ("[1, 2, 3]", "no list of ids"),
        ("[" * 100_000, "no list of ids"),
        ("a,b", "no list of ids"),
    ],
)
def test_ids_that_do_not_fit_the_model_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_ids(ids_file(tmp_path, "ids.json", text), "item", 3)


def test_an_item_table_of_another_catalogue_says_how_many_are_missing_and_which_first(tmp_path: Path) -> None:
    model = read_recbole(checkpoint(tmp_path, "BPR"))
    (tmp_path / "x.item").write_text("item_id:token\ttitle:token_seq\n1\tA\n3\tB\n", encoding="utf-8")
    ids = Ids(internal_ids(model.n_items), model.n_items, "BPR.pth", "--item-ids")
    with pytest.raises(DataError, match=r"5 of 7 items of BPR\.pth are not in x\.item: '2', '4', '5'"):
        join(Tables(tmp_path / "x.item"), ids, Ids(internal_ids(5), 5, "BPR.pth", "--user-ids"), name="x")


def test_a_model_its_item_table_and_its_ids_become_a_dataset_with_scores(tmp_path: Path) -> None:
    model = read_recbole(checkpoint(tmp_path, "BPR"))
    tokens = ["g", "f", "e", "d", "c", "b", "a"]
    ids = read_ids(ids_file(tmp_path, "ids.json", json.dumps(["[PAD]", *tokens])), "item", model.n_items)
    rows = "".join(f"{token}\tTitle {token}\n" for token in sorted(tokens))
    (tmp_path / "x.item").write_text(f"item_id:token\ttitle:token_seq\n{rows}", encoding="utf-8")
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\n3\tb\n1\ta\n", encoding="utf-8")
    joined = join(
        Tables(tmp_path / "x.item", tmp_path / "x.inter"),
        Ids(ids, model.n_items, "BPR.pth", "--item-ids"),
        Ids(internal_ids(model.n_users), model.n_users, "BPR.pth", "--user-ids"),
        name="x",
    )
    recommender = to_recommender(model, joined.dataset, joined.item_rows, joined.user_rows)
    scores = all_scores(recommender, joined.dataset)
    tensors = random_tensors("BPR")
    user, item = joined.dataset.users.index("3"), joined.dataset.items.index("b")
    assert scores[user, item] == pytest.approx(
        float(tensors["user_embedding.weight"][3] @ tensors["item_embedding.weight"][6]), rel=1e-5
    )


@pytest.fixture(scope="module")
def real(datasets_dir: Path) -> tuple[RecBoleModel, Any, list[str], list[tuple[str, ...]]]:
    """The published checkpoint: the model, its recommender, and titles and genres in the order of its items."""
    folder = datasets_dir / "recbole-sasrec-ml-1m"
    if not folder.is_dir():
        pytest.skip("recbole-sasrec-ml-1m is not in DATASETS_DIR")
    model = read_recbole(folder / "SASRec-ml-1m.pth")
    table = read_items(folder / "items.csv")[0].set_index("item_id").loc[internal_ids(model.n_items)]
    return model, to_recommender(model, log_of([[]], model.n_items)), list(table["title"]), list(table["genres"])


def place(titles: list[str], *wanted: str) -> np.ndarray:
    return np.array([titles.index(title) for title in wanted])


@pytest.mark.real_data
@pytest.mark.parametrize("length", [1, 2, 3, 10, 49, 50])
def test_every_step_of_the_published_model_is_what_torch_computes(real: Any, length: int) -> None:
    model, recommender, _, _ = real
    history = np.random.default_rng(length).choice(model.n_items, length, replace=False).tolist()
    tensors = {name: torch.tensor(array) for name, array in model.arrays.items()}
    check_every_step(recommender, tensors, history, **model.config)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("film", "near"),
    [
        ("Star Wars: Episode IV - A New Hope", "Star Wars: Episode V - The Empire Strikes Back"),
        ("Toy Story", "Toy Story 2"),
        ("The Godfather", "The Godfather: Part II"),
        ("Aladdin", "Beauty and the Beast"),
    ],
)
def test_the_nearest_film_of_the_published_model_is_its_sequel_or_its_like(real: Any, film: str, near: str) -> None:
    _, recommender, titles, _ = real
    vectors = recommender.embed_items() / np.linalg.norm(recommender.embed_items(), axis=1, keepdims=True)
    likeness = vectors @ vectors[titles.index(film)]
    assert titles[int(np.argsort(-likeness)[1])] == near


POPULAR = ("American Beauty", "Star Wars: Episode V - The Empire Strikes Back", "Jurassic Park", "The Matrix", "Fargo")
HORROR = ("A Nightmare on Elm Street", "Halloween", "Friday the 13th")


@pytest.mark.real_data
def test_three_horror_films_bring_horror_in_the_published_model(real: Any) -> None:
    _, recommender, titles, genres = real
    before, after = place(titles, *POPULAR), place(titles, *POPULAR, *HORROR)

    def share(history: np.ndarray) -> float:
        list_ = rank(recommender.score(recommender.embed([history])), 10, [history])[0]
        return float(np.mean(["Horror" in genres[item] for item in list_]))

    assert np.mean(["Horror" in g for g in genres]) < 0.1
    assert share(before) == 0.0 and share(after) >= 0.9
