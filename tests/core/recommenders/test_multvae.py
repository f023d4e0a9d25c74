"""MultVAE: its forward pass and its loss written out again, its two decoders, and what its training promises."""

import dataclasses
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from core.errors import ConfigError, TrainingError
from core.recommenders import multvae_training
from core.recommenders.base import Recommender, rank
from core.recommenders.multvae import MultVAE, MultVAEConfig, Weights
from core.recommenders.multvae_training import negative_elbo
from tests.core.recommenders.blocks import ITEMS_A_BLOCK, N_ITEMS, block_log, dataset_of

HISTORIES = ([0, 2], [1], [0, 1, 2, 3, 5], [4, 5])
HALF = math.atanh(0.5)
SMALL = MultVAEConfig(embedding_size=8, hidden_size=64)


def random_weights(n_items: int, hidden: int, d: int, *, linear: bool = False, scale: float = 1.0) -> Weights:
    random = np.random.default_rng(0)
    inner = 0 if linear else hidden
    shapes = {"W_in": (n_items, hidden), "b_in": hidden, "W_mean": (hidden, d), "b_mean": d}
    shapes |= {"W_hidden": (inner and d, inner), "b_hidden": inner, "V": (n_items, inner or d), "b": n_items}
    return Weights(**{name: random.normal(0, scale, shape).astype(np.float32) for name, shape in shapes.items()})


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_a_viewer_and_the_scores_are_what_a_head_computes() -> None:
    weights = Weights(
        W_in=column(HALF, 0, HALF),
        b_in=np.zeros(1, np.float32),
        W_mean=column(2),
        b_mean=np.array([-0.5], np.float32),
        W_hidden=column(2 * HALF),
        b_hidden=np.zeros(1, np.float32),
        V=column(4, -2, 0),
        b=np.array([1, 0, 7], np.float32),
    )
    model = MultVAE(MultVAEConfig(), weights)
    # Of item 0 alone: tanh(HALF) = 1/2, times 2, minus 1/2. Item 1 adds nothing but length, |x| = √2.
    of_two = 2 * math.tanh(HALF / math.sqrt(2)) - 0.5
    embeddings = model.embed([np.array([0]), np.array([0, 1]), np.array([], int)])
    np.testing.assert_allclose(embeddings[:, 0], [0.5, of_two, -0.5], atol=1e-6)
    # 1/2 times 2 HALF: the hidden unit is 1/2.
    np.testing.assert_allclose(model.score(embeddings[:1]), [[3, -1, 7]], atol=1e-6)
    np.testing.assert_allclose(model.probe_items()[:, 0], [0.5, -0.5, 0.5], atol=1e-6)


@pytest.mark.parametrize("linear", [False, True])
def test_the_forward_pass_is_that_of_the_paper_for_each_viewer_alone(linear: bool) -> None:
    w = random_weights(7, 5, 3, linear=linear)
    model = MultVAE(MultVAEConfig(), w)
    for history in HISTORIES:
        x = np.zeros(7)
        x[history] = 1
        mean = np.tanh(x / np.linalg.norm(x) @ w.W_in + w.b_in) @ w.W_mean + w.b_mean
        inner = mean if linear else np.tanh(mean @ w.W_hidden + w.b_hidden)
        embedding = model.embed([np.array(history)])
        np.testing.assert_allclose(embedding[0], mean, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(model.score(embedding)[0], w.V @ inner + w.b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("linear", [False, True])
def test_the_vector_of_an_item_is_where_its_score_rises_fastest(linear: bool) -> None:
    model = MultVAE(MultVAEConfig(), random_weights(7, 5, 3, linear=linear))
    steps = 1e-2 * np.eye(3, dtype=np.float32)
    slopes = (model.score(steps) - model.score(-steps)) / 2e-2
    np.testing.assert_allclose(model.embed_items(), slopes.T, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("linear", [False, True])
def test_the_sparse_loss_and_its_gradient_equal_those_of_dense_distributions(linear: bool) -> None:
    arrays = random_weights(7, 5, 3, linear=linear, scale=0.5)._asdict()
    random = np.random.default_rng(1)
    arrays |= {"W_log_variance": random.normal(0, 0.5, (5, 3)), "b_log_variance": random.normal(0, 0.5, 3)}
    one, other = ({n: torch.tensor(a, dtype=torch.float64).requires_grad_() for n, a in arrays.items()} for _ in "ab")
    noise = torch.tensor(random.normal(size=(4, 3)))
    items = torch.tensor([i for h in HISTORIES for i in h])
    kept = torch.tensor([2.0, 0, 0, 2, 0, 2, 2, 0, 0, 2], dtype=torch.float64)
    offsets = torch.tensor(np.cumsum([0, *[len(h) for h in HISTORIES[:-1]]]))

    x, shown = torch.zeros(4, 7, dtype=torch.float64), torch.zeros(4, 7, dtype=torch.float64)
    flat = iter(kept)
    for row, history in enumerate(HISTORIES):
        x[row, history] = 1
        for item in history:
            shown[row, item] = next(flat)
    hidden = torch.tanh((shown / x.norm(dim=1, keepdim=True)) @ other["W_in"] + other["b_in"])
    mean = hidden @ other["W_mean"] + other["b_mean"]
    deviation = (0.5 * (hidden @ other["W_log_variance"] + other["b_log_variance"])).exp()
    inner = mean + deviation * noise
    if not linear:
        inner = torch.tanh(inner @ other["W_hidden"] + other["b_hidden"])
    likelihood = (x * torch.log_softmax(inner @ other["V"].T + other["b"], dim=1)).sum(dim=1)
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mean, deviation), normal(0.0, 1.0)).sum(dim=1)
    dense = (0.3 * kl - likelihood).mean()

    cheap = negative_elbo(one, items, offsets, kept, noise, 0.3)
    assert cheap.item() == pytest.approx(dense.item())
    cheap.backward()
    dense.backward()
    for name, tensor in one.items():
        if tensor.numel():
            torch.testing.assert_close(tensor.grad, other[name].grad)


def test_a_linear_decoder_says_so_and_learns_the_blocks_too() -> None:
    log, held_out = block_log()
    model = MultVAE.fit(log, dataclasses.replace(SMALL, decoder="linear"), seed=0)
    assert isinstance(model, Recommender) and model.linear is not None
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    np.testing.assert_allclose(model.score(x), x @ model.linear.V.T + model.linear.b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.torch_scorer()(torch.tensor(x)).numpy(), model.score(x), rtol=1e-5, atol=1e-5)
    histories = log.histories()
    top = rank(model.score(model.embed(histories)), 4, histories)
    assert (top // ITEMS_A_BLOCK == held_out[:, None] // ITEMS_A_BLOCK).all()


@pytest.mark.parametrize("decoder", ["hidden", "linear"])
def test_a_saved_file_restores_either_decoder(decoder: str) -> None:
    config = dataclasses.replace(SMALL, decoder=decoder, epochs=1, min_steps=1)
    model = MultVAE.fit(block_log()[0], config, seed=0)
    again = MultVAE.from_arrays(config, load(save(model.to_arrays())))
    x = model.embed([np.array([1, 2])])
    assert np.array_equal(again.score(again.embed([np.array([1, 2])])), model.score(x))
    assert (again.linear is None) == (model.linear is None) == (decoder == "hidden")


def test_each_step_hides_a_part_of_the_histories_and_the_kl_divergence_comes_in_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor, float]] = []

    def watch(w: Any, items: Any, offsets: Any, kept: Any, noise: Any, kl_weight: float) -> torch.Tensor:
        seen.append((kept, noise, kl_weight))
        return negative_elbo(w, items, offsets, kept, noise, kl_weight)

    monkeypatch.setattr(multvae_training, "negative_elbo", watch)
    config = dataclasses.replace(SMALL, dropout=0.25, kl_weight=0.4, epochs=4, min_steps=1, batch_size=60)
    MultVAE.fit(block_log()[0], config, seed=0)
    assert [weight for _, _, weight in seen] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4])
    kept = torch.stack([kept for kept, _, _ in seen])
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1, abs=0.05) and not torch.equal(kept[0], kept[1])
    noise = torch.stack([noise for _, noise, _ in seen])
    assert noise.mean().item() == pytest.approx(0, abs=0.05) and noise.std().item() == pytest.approx(1, abs=0.05)


def test_the_kl_divergence_draws_viewers_to_the_prior() -> None:
    spread = {}
    for weight in (0.0, 0.5, 50.0):
        model = MultVAE.fit(block_log()[0], dataclasses.replace(SMALL, kl_weight=weight), seed=0)
        spread[weight] = float(model.embed(block_log()[0].histories()).std(axis=0).mean())
    assert spread[0.0] > spread[0.5] > 10 * spread[50.0]


def test_an_item_that_nobody_consumed_is_recommended_last() -> None:
    histories = [h.tolist() for h in block_log()[0].histories()]
    model = MultVAE.fit(dataset_of(histories, N_ITEMS + 2), SMALL, seed=0)
    everyone = [np.array([], int), *map(np.array, histories)]
    last = rank(model.score(model.embed(everyone)), N_ITEMS + 2)[0, -2:]
    assert set(last) == {N_ITEMS, N_ITEMS + 1}


def test_a_viewer_without_a_history_gets_the_popular_items() -> None:
    random = np.random.default_rng(0)
    chances = np.linspace(0.9, 0.1, 12)
    log = dataset_of([np.flatnonzero(random.random(12) < chances).tolist() for _ in range(300)], 12)
    model = MultVAE.fit(log, SMALL, seed=0)
    assert set(rank(model.score(model.embed([np.array([], int)])), 3)[0]) <= {0, 1, 2, 3}


def told(config: MultVAEConfig) -> list[tuple[int, dict[str, Any]]]:
    """Give the total and the numbers of each call of progress."""
    calls: list[tuple[int, dict[str, Any]]] = []
    MultVAE.fit(block_log()[0], config, seed=0, progress=lambda _, done, total, numbers: calls.append((total, numbers)))
    return calls


def test_the_loss_falls() -> None:
    losses = [numbers["loss"] for _, numbers in told(dataclasses.replace(SMALL, epochs=100, min_steps=1))]
    # Knowing nothing costs 6 ln 40 = 22.1, knowing the block 6 ln 10 = 13.8 and what it costs to tell.
    assert len(losses) == 100 and losses[-1] < 18 < 21 < losses[0]


def test_a_small_log_gets_as_many_steps_as_a_large_one() -> None:
    config = MultVAEConfig(embedding_size=4, epochs=2, min_steps=50, batch_size=60)
    assert [total for total, _ in told(config)] == [25] * 25


def test_many_viewers_and_items_take_little_more_memory_than_their_scores() -> None:
    model = MultVAE(MultVAEConfig(), random_weights(26_000, 16, 8))
    histories = [np.arange(viewer, 26_000, 97) for viewer in range(512)]
    tracemalloc.start()
    scores = model.score(model.embed(histories))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert scores.nbytes == 512 * 26_000 * 4 and peak < 1.2 * scores.nbytes


def test_a_training_that_diverges_says_so() -> None:
    with pytest.raises(TrainingError, match="not finite after epoch 1 of") as caught:
        MultVAE.fit(block_log()[0], dataclasses.replace(SMALL, learning_rate=1e38), seed=0)
    assert "learning_rate" in caught.value.fix


@pytest.mark.parametrize(
    "wrong",
    [
        {"embedding_size": 0},
        {"hidden_size": 0},
        {"decoder": "deep"},
        {"dropout": 1.0},
        {"kl_weight": -0.1},
        {"epochs": 0},
        {"min_steps": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MultVAEConfig(**wrong)
