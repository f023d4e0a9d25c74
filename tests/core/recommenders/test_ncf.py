"""NCF: its network written out again, its fold-in against the loss it minimises, and what its training promises."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from core.errors import ConfigError, TrainingError
from core.recommenders.mf import MF, MFConfig
from core.recommenders.mf_training import prior_strength
from core.recommenders.ncf import NCF, NCFConfig
from core.recommenders.ncf_network import Network, fold_in
from tests.core.recommenders.blocks import block_log

N = 7
"""Items of a random network."""


def random_arrays(d: int = 3, g: int = 2, hidden: tuple[int, ...] = (6, 5), n_items: int = N) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    widths = (2 * d, *hidden)
    shapes: dict[str, tuple[int, ...]] = {"items": (n_items, d + g), "w_out": (hidden[-1] + g,), "b_out": (1,)}
    for layer, out in enumerate(hidden):
        shapes |= {f"W_{layer}": (widths[layer], out), f"b_{layer}": (out,)}
    return {name: random.normal(0, 0.6, shape).astype(np.float32) for name, shape in shapes.items()}


def naive_score(a: dict[str, np.ndarray], user: np.ndarray, item: int, d: int) -> float:
    """Follow one pair through the network of the paper."""
    q = a["items"][item]
    h = np.concatenate([user[:d], q[:d]])
    layer = 0
    while f"W_{layer}" in a:
        h = np.maximum(h @ a[f"W_{layer}"] + a[f"b_{layer}"], 0)
        layer += 1
    return float(np.concatenate([h, user[d:] * q[d:]]) @ a["w_out"] + a["b_out"][0])


def test_a_score_is_what_a_head_computes() -> None:
    arrays = {
        "items": np.array([[1.0, 5.0], [-3.0, 1.0]]),
        "W_0": np.array([[1.0, -1.0], [1.0, 1.0]]),  # viewer + item, item - viewer
        "b_0": np.array([0.5, 0.0]),
        "w_out": np.array([2.0, 3.0, 10.0]),
        "b_out": np.array([-1.0]),
    }
    model = NCF(NCFConfig(embedding_size=1, hidden=(2,), gmf_size=1), arrays)
    # Item 0: 2 · (2 + 1 + ½) + 3 · 0 (1 - 2 < 0) + 10 · (0.1 · 5) - 1. Item 1: both sums are below 0.
    np.testing.assert_allclose(model.score(np.array([[2.0, 0.1]])), [[11.0, 0.0]], atol=1e-5)
    assert model.d_in == 2 and model.n_items == 2 and model.linear is None


@pytest.mark.parametrize(("g", "hidden"), [(0, (6, 5)), (2, (6, 5)), (2, (4,)), (0, (5, 4, 3))])
def test_scores_slopes_and_the_torch_twin_are_those_of_the_network_written_out(g: int, hidden: tuple[int, ...]) -> None:
    arrays = random_arrays(g=g, hidden=hidden)
    model = NCF(NCFConfig(embedding_size=3, hidden=hidden, gmf_size=g), arrays)
    users = np.random.default_rng(1).normal(size=(4, 3 + g)).astype(np.float32)
    expected = [[naive_score(arrays, user, item, 3) for item in range(N)] for user in users]
    np.testing.assert_allclose(model.score(users), expected, rtol=1e-4, atol=1e-4)
    leaf = torch.tensor(users, requires_grad=True)
    twin: Any = model.torch_scorer()
    np.testing.assert_allclose(twin(leaf).detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    columns = torch.tensor([[0, 3], [6, 6], [1, 2], [5, 0]])  # others for each viewer
    some = twin(leaf, items=columns).detach().numpy()
    np.testing.assert_allclose(
        some, np.take_along_axis(np.array(expected), columns.numpy(), axis=1), rtol=1e-4, atol=1e-4
    )
    twin(leaf)[1].sum().backward()
    network = model.network
    _, inner = network.mlp(network.item_half() + network.user_half(users[1:2]))
    slope = np.hstack([network.slopes(inner), network.products()]).sum(axis=0)
    assert leaf.grad is not None
    np.testing.assert_allclose(slope, leaf.grad[1].numpy(), rtol=1e-4, atol=1e-4)


def naive_loss(a: dict[str, np.ndarray], h: np.ndarray, v: np.ndarray, c: NCFConfig, prior: float) -> float:
    """Write the loss of a fold-in out, for centre 0, spread 1 and negatives that are every item alike."""
    assert c.n_negatives is not None
    s = np.array([naive_score(a, v[:-1], i, c.embedding_size) for i in range(N)]) + v[-1]
    told_apart = c.n_negatives / N * len(h) * np.logaddexp(0, s).sum()
    return float(np.logaddexp(0, -s[h]).sum() + told_apart + prior / 2 * (v**2).sum())


@pytest.mark.parametrize("history", [[2], [0, 3, 5], [0, 1, 2, 3, 4, 5, 6]])
def test_a_folded_in_viewer_is_at_a_minimum_of_the_loss(history: list[int]) -> None:
    arrays, config, h = random_arrays(), NCFConfig(embedding_size=3, hidden=(6, 5), gmf_size=2), np.array(history)
    assert config.n_negatives is not None
    prior = float(prior_strength(config.regularisation, np.array([(1 + config.n_negatives) * len(h)]))[0])
    weight = np.full(N, config.n_negatives / N)
    start, no_centre, network = np.zeros((1, 6)), np.zeros(6), Network.of(arrays)
    ends = []
    for n_steps in (0, 2, 40):
        v = fold_in(network, [h], np.arange(N), weight, np.full((1, 6), prior), no_centre, start, n_steps)[0]
        ends.append(naive_loss(arrays, h, v, config, prior))
    assert ends[0] > ends[1] > ends[2]
    found = minimize(lambda x: naive_loss(arrays, h, x, config, prior), start[0], method="Powell")
    assert ends[2] < found.fun + 0.05 * (ends[0] - found.fun)


def test_a_viewer_begins_at_the_start_of_the_least_loss() -> None:
    arrays = random_arrays()
    starts = np.random.default_rng(2).normal(size=(9, 5)).astype(np.float32)
    config = NCFConfig(embedding_size=3, hidden=(6, 5), gmf_size=2)
    model = NCF(config, arrays | {"starts": starts})
    assert config.n_negatives is not None
    for history in ([1], [0, 4, 5]):
        h = np.array(history)
        prior = float(prior_strength(config.regularisation, np.array([(1 + config.n_negatives) * len(h)]))[0])
        losses = [naive_loss(arrays, h, np.append(start, 0), config, prior) for start in starts]
        best = NCF(config, arrays | {"starts": starts[[np.argmin(losses)]]})
        worst = NCF(config, arrays | {"starts": starts[[np.argmax(losses)]]})
        np.testing.assert_array_equal(model.embed([h]), best.embed([h]))
        assert not np.allclose(model.embed([h]), worst.embed([h]), atol=1e-2)


def test_a_sample_of_the_items_stands_for_all_of_them() -> None:
    model = NCF(NCFConfig(embedding_size=3, hidden=(6, 5), gmf_size=2), random_arrays(n_items=3000))
    (some, weights), (everything, all_weights) = model._columns
    assert len(some) == 512 and len(everything) == 3000
    scores = model.network.score(np.random.default_rng(3).normal(size=(20, 5)))
    losses = np.logaddexp(0, scores)
    of_some, of_all = losses[:, some] @ weights, losses[:, everything] @ all_weights
    np.testing.assert_allclose(of_some, of_all, rtol=0.1)
    np.testing.assert_allclose(all_weights.sum(), model.config.n_negatives, rtol=1e-5)


def test_the_network_says_what_its_teacher_says_about_known_and_about_new_viewers() -> None:
    log, _ = block_log()
    model: Any = NCF.fit(log, NCFConfig(embedding_size=8), seed=0)
    teacher = MF.fit(log, MFConfig(embedding_size=40), seed=0)
    new = [np.array([0, 1, 2]), np.array([13, 15]), np.array([3, 4, 33, 35])]
    for histories in (log.histories(), new):
        taught, said = teacher.score(teacher.embed(histories)), model.score(model.embed(histories))
        assert np.corrcoef(taught.ravel(), said.ravel())[0, 1] > 0.9
    assert model.trained_users.shape == (log.n_users, 8)


def test_products_learn_along_and_can_be_saved() -> None:
    log, _ = block_log()
    model = NCF.fit(log, NCFConfig(embedding_size=6, gmf_size=4, min_steps=200), seed=0)
    assert model.d_in == 10 and np.abs(model.to_arrays()["w_out"][-4:] - 1).max() > 0.01, "they began at 1"
    again = NCF.from_arrays(model.config, model.to_arrays())
    history = [np.array([0, 1, 2])]
    np.testing.assert_array_equal(again.score(again.embed(history)), model.score(model.embed(history)))


def test_a_training_that_diverges_says_what_to_change() -> None:
    log, _ = block_log()
    with pytest.raises(TrainingError) as error:
        NCF.fit(log, NCFConfig(embedding_size=4, min_steps=20, learning_rate=1e30), seed=0)
    assert "recommender.learning_rate" in error.value.fix


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("embedding_size", 0), ("hidden", ()), ("hidden", (64, 0)), ("gmf_size", -1), ("negatives", "hard"),
        ("n_negatives", 0.0), ("regularisation", math.nan), ("teacher_size", 0), ("epochs", 0), ("learning_rate", 0.0),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=setting):
        NCFConfig(**{setting: value})


def test_arrays_that_do_not_fit_each_other_are_refused() -> None:
    arrays = random_arrays()
    with pytest.raises(ValueError, match="do not fit"):
        NCF(NCFConfig(embedding_size=3, hidden=(6, 5), gmf_size=2), arrays | {"b_1": np.zeros(4, np.float32)})
