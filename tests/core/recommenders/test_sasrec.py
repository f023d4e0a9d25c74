"""SASRec: the network, its loss, and that the order of a history counts."""

import dataclasses
import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import ConfigError, TrainingError
from core.recommenders.base import rank
from core.recommenders.sasrec import SASRec, SASRecConfig, gelu, window
from core.recommenders.sasrec_training import Network, Window, cut, next_item_loss, not_in, rate
from tests.core.recommenders.blocks import dataset_of

SMALL = SASRecConfig(embedding_size=4, n_layers=2, n_heads=2, inner_size=6, max_length=5)
N_ITEMS = 9
QUICK: dict[str, Any] = {
    "embedding_size": 16,
    "inner_size": 32,
    "max_length": 8,
    "epochs": 1,
    "min_steps": 80,
    "learning_rate": 0.01,
}


def shapes(n_items: int, config: SASRecConfig) -> dict[str, tuple[int, ...]]:
    """Give what RecBole writes, without its padding row."""
    d, inner = config.embedding_size, config.inner_size
    out: dict[str, tuple[int, ...]] = {
        "item_embedding.weight": (n_items, d),
        "position_embedding.weight": (config.max_length, d),
        "LayerNorm.weight": (d,),
        "LayerNorm.bias": (d,),
    }
    for layer in range(config.n_layers):
        attention, forward = (f"trm_encoder.layer.{layer}.{part}" for part in ("multi_head_attention", "feed_forward"))
        for name in ("query", "key", "value", "dense"):
            out |= {f"{attention}.{name}.weight": (d, d), f"{attention}.{name}.bias": (d,)}
        out |= {f"{forward}.dense_1.weight": (inner, d), f"{forward}.dense_1.bias": (inner,)}
        out |= {f"{forward}.dense_2.weight": (d, inner), f"{forward}.dense_2.bias": (d,)}
        for part in (attention, forward):
            out |= {f"{part}.LayerNorm.weight": (d,), f"{part}.LayerNorm.bias": (d,)}
    return out


def random_model(config: SASRecConfig = SMALL, n_items: int = N_ITEMS, seed: int = 0) -> SASRec:
    random = np.random.default_rng(seed)
    return SASRec(
        config, {name: random.normal(size=s).astype(np.float32) for name, s in shapes(n_items, config).items()}
    )


def plain_model(items: list[list[float]], positions: list[list[float]]) -> SASRec:
    """Give a model in which only item, position and LayerNorm do anything: a state is LayerNorm(item + position)."""
    config = SASRecConfig(embedding_size=2, n_layers=1, n_heads=1, inner_size=1, max_length=len(positions))
    arrays = {
        name: (np.ones if name.endswith("LayerNorm.weight") else np.zeros)(shape, np.float32)
        for name, shape in shapes(len(items), config).items()
    }
    arrays["item_embedding.weight"] = np.array(items, np.float32)
    arrays["position_embedding.weight"] = np.array(positions, np.float32)
    return SASRec(config, arrays)


def test_a_head_can_follow_a_history_through_a_network_without_attention() -> None:
    model = plain_model([[3, 1], [0, 2]], [[0, 0], [0, 9]])
    states = model.embed([np.array([0]), np.array([1]), np.array([1, 0])])
    # [3, 1] is above and below its mean by the same; [3, 1 + 9] the other way round.
    np.testing.assert_allclose(states, [[1, -1], [-1, 1], [-1, 1]], atol=1e-6)
    np.testing.assert_allclose(model.score(states[:1]), [[2, -2]], atol=1e-6)


def test_place_zero_is_the_oldest_item_of_the_window() -> None:
    model = plain_model([[0, 0]] * 4, [[2, 1], [1, 2], [5, 0]])
    histories = [np.array([0]), np.array([1, 0]), np.array([1, 2, 0]), np.array([3, 1, 2, 0])]
    np.testing.assert_allclose(model.embed(histories), [[1, -1], [-1, 1], [1, -1], [1, -1]], atol=1e-6)


def naive_state(arrays: dict[str, np.ndarray], history: list[int], n_layers: int, n_heads: int) -> list[float]:
    """Give the last state with nothing but loops over numbers."""
    a = {name: array.astype(float).tolist() for name, array in arrays.items()}

    def dense(name: str, x: list[float]) -> list[float]:
        rows = zip(a[f"{name}.weight"], a[f"{name}.bias"], strict=True)
        return [sum(w * v for w, v in zip(row, x, strict=True)) + bias for row, bias in rows]

    def norm(name: str, x: list[float]) -> list[float]:
        mean = sum(x) / len(x)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-12)
        scaled = zip(x, a[f"{name}LayerNorm.weight"], a[f"{name}LayerNorm.bias"], strict=True)
        return [(v - mean) / deviation * w + b for v, w, b in scaled]

    def add(x: list[float], y: list[float]) -> list[float]:
        return [v + w for v, w in zip(x, y, strict=True)]

    states = [
        norm("", add(a["item_embedding.weight"][item], a["position_embedding.weight"][place]))
        for place, item in enumerate(history)
    ]
    for layer in range(n_layers):
        attention = f"trm_encoder.layer.{layer}.multi_head_attention."
        forward = f"trm_encoder.layer.{layer}.feed_forward."
        after = []
        for place, x in enumerate(states):
            query = dense(attention + "query", x)
            size = len(query) // n_heads
            context = []
            for head in range(n_heads):
                part = slice(head * size, (head + 1) * size)
                seen = states[: place + 1]
                keys = [dense(attention + "key", s)[part] for s in seen]
                values = [dense(attention + "value", s)[part] for s in seen]
                weights = [
                    math.exp(sum(q * k for q, k in zip(query[part], key, strict=True)) / math.sqrt(size))
                    for key in keys
                ]
                context += [
                    sum(w * v[n] for w, v in zip(weights, values, strict=True)) / sum(weights) for n in range(size)
                ]
            y = norm(attention, add(x, dense(attention + "dense", context)))
            inner = [v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in dense(forward + "dense_1", y)]
            after.append(norm(forward, add(y, dense(forward + "dense_2", inner))))
        states = after
    return states[-1]


def test_the_state_is_that_of_plain_loops() -> None:
    model = random_model()
    for history in ([4], [2, 7], [8, 0, 3], [1, 2, 3, 4, 5]):
        expected = naive_state(model.to_arrays(), history, SMALL.n_layers, SMALL.n_heads)
        np.testing.assert_allclose(model.embed([np.array(history)])[0], expected, rtol=1e-4, atol=1e-5)


def encoder_layer(arrays: dict[str, torch.Tensor], layer: int, config: SASRecConfig) -> nn.TransformerEncoderLayer:
    """Give torch's own post-norm layer with these weights."""
    out = nn.TransformerEncoderLayer(
        config.embedding_size,
        config.n_heads,
        config.inner_size,
        activation="gelu",
        layer_norm_eps=1e-12,
        batch_first=True,
        norm_first=False,
    )
    attention, forward = (f"trm_encoder.layer.{layer}.{part}." for part in ("multi_head_attention", "feed_forward"))
    weights = {}
    for kind in ("weight", "bias"):
        packed = torch.cat([arrays[f"{attention}{name}.{kind}"] for name in ("query", "key", "value")])
        weights |= {
            f"self_attn.in_proj_{kind}": packed,
            f"self_attn.out_proj.{kind}": arrays[f"{attention}dense.{kind}"],
            f"linear1.{kind}": arrays[f"{forward}dense_1.{kind}"],
            f"linear2.{kind}": arrays[f"{forward}dense_2.{kind}"],
            f"norm1.{kind}": arrays[f"{attention}LayerNorm.{kind}"],
            f"norm2.{kind}": arrays[f"{forward}LayerNorm.{kind}"],
        }
    out.load_state_dict(weights)
    return out.eval()


def test_the_state_is_that_of_the_transformer_of_torch() -> None:
    config = SASRecConfig(embedding_size=12, n_layers=3, n_heads=3, inner_size=20, max_length=6)
    model = random_model(config)
    arrays = {name: torch.tensor(array) for name, array in model.to_arrays().items()}
    history = [5, 1, 8, 2, 0]
    with torch.no_grad():
        x = arrays["item_embedding.weight"][history] + arrays["position_embedding.weight"][: len(history)]
        x = nn.functional.layer_norm(x, (12,), arrays["LayerNorm.weight"], arrays["LayerNorm.bias"], 1e-12)[None]
        mask = nn.Transformer.generate_square_subsequent_mask(len(history))
        for layer in range(config.n_layers):
            x = encoder_layer(arrays, layer, config)(x, src_mask=mask, is_causal=True)
    np.testing.assert_allclose(model.embed([np.array(history)])[0], x[0, -1].numpy(), rtol=1e-4, atol=1e-5)


def network_of(model: SASRec) -> Network:
    network = Network(model.n_items, model.config)
    network.load_state_dict({name: torch.tensor(array) for name, array in model.to_arrays().items()})
    return network


def test_each_place_of_the_trained_network_is_the_state_of_its_prefix() -> None:
    model = random_model()
    history = np.array([8, 0, 3, 1])
    with torch.no_grad():
        states = network_of(model).eval()(torch.tensor([[*history, 5], [2, 2, 2, 2, 2]]))[0]
    prefixes = model.embed([history[: n + 1] for n in range(len(history))])
    np.testing.assert_allclose(states[: len(history)].numpy(), prefixes, rtol=1e-4, atol=1e-5)


def test_all_weights_have_the_names_and_shapes_that_the_module_documents() -> None:
    arrays = {name: array.shape for name, array in Network(N_ITEMS, SMALL).state_dict().items()}
    assert arrays == shapes(N_ITEMS, SMALL)


def test_arrays_of_another_depth_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="2 layers"):
        SASRec(dataclasses.replace(SMALL, n_layers=1), random_model().to_arrays())


def test_gelu_is_exact() -> None:
    np.testing.assert_allclose(gelu(np.array([-1, 0, 1], np.float32)), [-0.15865525, 0, 0.8413447], rtol=1e-6)


def test_an_item_twice_keeps_its_latest_place() -> None:
    model = random_model()
    assert window(np.array([1, 2, 1, 3, 2]), 9).tolist() == [1, 3, 2]
    twice, once, first = model.embed([np.array(h) for h in ([4, 6, 4], [6, 4], [4, 6])])
    assert np.array_equal(twice, once)
    assert np.abs(twice - first).max() > 0.01


def test_only_the_latest_items_count() -> None:
    model = random_model()
    long, short, other = model.embed([np.array(h) for h in ([7, 8, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [8, 1, 2, 3, 4])])
    assert np.array_equal(long, short)
    assert np.abs(long - other).max() > 1e-4


def test_a_history_without_items_gives_zero_and_a_probe_is_a_history_of_one() -> None:
    model = random_model()
    assert not model.embed([np.array([], int)]).any()
    assert np.array_equal(model.probe_items()[3:4], model.embed([np.array([3])]))


def test_many_histories_are_embedded_as_each_alone() -> None:
    model = random_model(dataclasses.replace(SMALL, max_length=50), n_items=60)
    random = np.random.default_rng(1)
    histories = [random.permutation(60)[: random.integers(45, 51)] for _ in range(700)]
    together = model.embed(histories)
    for row in range(0, 700, 50):
        np.testing.assert_allclose(together[row], model.embed([histories[row]])[0], atol=1e-5)


def test_a_viewer_is_embedded_in_a_moment() -> None:
    model = random_model(SASRecConfig(), n_items=3000)
    history = [np.random.default_rng(0).permutation(3000)[:80]]
    seconds = []
    for _ in range(9):
        start = time.process_time()
        model.embed(history)
        seconds.append(time.process_time() - start)
    assert np.median(seconds) < 0.01


def quiet(config: SASRecConfig) -> SASRecConfig:
    return dataclasses.replace(config, hidden_dropout=0.0, attention_dropout=0.0)


@pytest.mark.parametrize("candidates", ["unseen", "all"])
def test_the_loss_is_that_of_every_prefix_as_an_example_of_its_own(candidates: Any) -> None:
    model = random_model(dataclasses.replace(quiet(SMALL), candidates=candidates))
    history = np.array([5, 6, 8, 0, 3, 1, 2, 7])
    windows = [Window(history, 2, 8), Window(np.array([4, 5]), 0, 2)]
    losses = []
    for history, first, stop in windows:
        for end in range(first + 1, stop):
            gains = np.exp(model.score(model.embed([history[first:end]]))[0].astype(float))
            if candidates == "unseen":
                gains[history[:end]] = 0
            losses.append(-np.log(gains[history[end]] / gains.sum()))
    loss = next_item_loss(network_of(model), windows, model.config)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_pairwise_loss_is_that_of_the_one_item_that_is_left() -> None:
    model = random_model(dataclasses.replace(quiet(SMALL), loss="bpr"))
    history = np.array([8, 0, 3, 1, 2, 4, 5, 7])  # only 6 can be drawn
    losses = []
    for end in (1, 2):
        scores = model.score(model.embed([history[:end]]))[0].astype(float)
        losses.append(-np.log(1 / (1 + np.exp(scores[6] - scores[history[end]]))))
    loss = next_item_loss(network_of(model), [Window(history, 0, 3)], model.config)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("field", ["hidden_dropout", "attention_dropout"])
def test_training_drops_at_random_what_its_setting_says(field: str) -> None:
    items = torch.tensor([[8, 0, 3, 1]])
    quiet_network = network_of(random_model(quiet(SMALL))).train()
    assert torch.equal(quiet_network(items), quiet_network(items))
    network = network_of(random_model(dataclasses.replace(quiet(SMALL), **{field: 0.5}))).train()
    assert not torch.allclose(network(items), network(items), atol=1e-3)


def test_negatives_are_drawn_evenly_from_what_was_not_consumed() -> None:
    torch.manual_seed(0)
    drawn = not_in(np.array([7, 2, 0, 3]), 8000, 8).numpy()
    assert sorted(set(drawn.tolist())) == [1, 4, 5, 6]
    assert np.abs(np.bincount(drawn)[[1, 4, 5, 6]] / 2000 - 1).max() < 0.1
    assert set(not_in(np.arange(3), 100, 3).tolist()) == {0, 1, 2}, "who has consumed everything is still trained on"


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9, 10, 11, 30])
def test_windows_want_every_item_but_the_first_once(length: int, shift: int) -> None:
    windows = cut(np.arange(length), 3, shift)
    assert [i for w in windows for i in w.items[1:].tolist()] == list(range(1, length))
    assert all(2 <= len(w.items) <= 4 for w in windows)


def test_the_learning_rate_rises_and_falls() -> None:
    rates = np.array([rate(done) for done in np.linspace(0, 1, 101)])
    assert 0 < rates[0] < 0.02 and rates[-1] == pytest.approx(0) and rates.max() > 0.95
    assert (np.diff(rates[:10]) > 0).all() and (np.diff(rates[10:]) < 0).all()


def ring(n_viewers: int, n_items: int, step: int = 1) -> list[list[int]]:
    """Give viewers who walk a ring of items from a place of their own."""
    random = np.random.default_rng(0)
    return [[(int(s) + step * t) % n_items for t in range(6)] for s in random.integers(0, n_items, n_viewers)]


def test_it_learns_which_item_comes_after_which() -> None:
    model = SASRec.fit(dataset_of(ring(200, 12), 12), SASRecConfig(**QUICK), seed=0)
    forwards = [np.array([(i + t) % 12 for t in range(3)]) for i in range(12)]
    after = rank(model.score(model.embed(forwards)), 1, forwards)[:, 0]
    assert np.array_equal(after, (np.arange(12) + 3) % 12)


def test_the_same_items_in_another_order_are_another_viewer() -> None:
    both = [*ring(150, 12, 1), *ring(150, 12, -1)]
    model = SASRec.fit(dataset_of(both, 12), SASRecConfig(**QUICK), seed=0)
    forwards = [np.array([i, i + 1, i + 2]) for i in range(1, 9)]
    seen = rank(model.score(model.embed(forwards)), 1, forwards)[:, 0]
    seen_backwards = rank(model.score(model.embed([h[::-1] for h in forwards])), 1, forwards)[:, 0]
    assert np.array_equal(seen, np.arange(4, 12))
    assert np.array_equal(seen_backwards, np.arange(0, 8))


def test_the_pairwise_loss_learns_which_items_lie_ahead() -> None:
    # What a viewer consumes later is never a negative, so the very next item is not told apart from the one after it.
    model = SASRec.fit(dataset_of(ring(200, 12), 12), SASRecConfig(**QUICK, loss="bpr"), seed=0)
    histories = [np.array([i, (i + 1) % 12]) for i in range(12)]
    after = rank(model.score(model.embed(histories)), 1, histories)[:, 0]
    assert ((after - np.arange(12) - 2) % 12 <= 2).all(), "not those that were left behind"


def test_a_log_without_times_is_refused_unless_its_order_is_trusted() -> None:
    log = dataclasses.replace(dataset_of(ring(20, 12), 12), timestamps=None)
    with pytest.raises(TrainingError, match="no timestamps, so the order of a history means nothing") as error:
        SASRec.fit(log, SASRecConfig(), seed=0)
    assert "recommender.order=as-given" in error.value.fix and "timestamp column" in error.value.fix
    config = SASRecConfig(**{**QUICK, "min_steps": 1}, order="as-given")
    assert SASRec.fit(log, config, seed=0).n_items == 12


def test_a_log_of_single_items_is_refused() -> None:
    with pytest.raises(TrainingError, match="No history has two items"):
        SASRec.fit(dataset_of([[0], [1], []], 3), SASRecConfig(), seed=0)


def test_training_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    SASRec.fit(dataset_of(ring(20, 12), 12), SASRecConfig(**{**QUICK, "min_steps": 1}), seed=0)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


def test_a_diverged_training_ends_in_two_lines() -> None:
    config = SASRecConfig(**{**QUICK, "learning_rate": 1e30})
    with pytest.raises(TrainingError, match="loss of SASRec is") as error:
        SASRec.fit(dataset_of(ring(20, 12), 12), config, seed=0)
    assert "recommender.learning_rate" in error.value.fix


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"embedding_size": 9}, "a multiple of n_heads"),
        ({"n_layers": 0}, "recommender.n_layers"),
        ({"max_length": 0}, "recommender.max_length"),
        ({"hidden_dropout": 1.0}, "recommender.hidden_dropout"),
        ({"attention_dropout": -0.1}, "recommender.attention_dropout"),
        ({"learning_rate": 0.0}, "recommender.learning_rate"),
        ({"candidates": "some"}, "recommender.candidates"),
        ({"loss": "mse"}, "recommender.loss"),
        ({"order": "random"}, "recommender.order"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        SASRecConfig(**settings)
