"""What every recommender promises. A new one is tested by its line in RECOMMENDERS."""

import dataclasses
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from core.configs import from_dict
from core.data.dataset import to_matrix
from core.errors import ConfigError, TrainingError
from core.recommenders.base import RECOMMENDERS, Recommender, rank, recommender_class
from tests.core.recommenders.blocks import ITEMS_A_BLOCK, N_ITEMS, block_log, dataset_of

NAMES = sorted(RECOMMENDERS)
each = pytest.mark.parametrize("name", NAMES)
learning = pytest.mark.parametrize("name", [n for n in NAMES if n != "popularity"])
CLOSED_FORM = ("popularity", "ease")
LEARNT = 0.95
"""Share of lists that must be right: a network of many layers may miss one of 120 on a log as small as this."""
INVENTED = [np.array(h, np.int64) for h in ([], [3], [0, 1, 2], [0, 10, 20, 30], list(range(N_ITEMS)), [3, 3])]


def config_of(name: str) -> Any:
    kind = recommender_class(name).Config
    fields = {f.name for f in dataclasses.fields(kind)}
    return from_dict(kind, {k: v for k, v in {"embedding_size": 8}.items() if k in fields})


def fit(name: str, seed: int = 0, **keywords: Any) -> Recommender:
    model: Recommender = recommender_class(name).fit(block_log()[0], config_of(name), seed=seed, **keywords)
    return model


fitted = cache(fit)


@each
def test_it_is_a_recommender_of_its_registered_name(name: str) -> None:
    model = fitted(name)
    assert isinstance(model, Recommender)
    assert (model.name, model.n_items) == (name, N_ITEMS)


@each
def test_any_history_has_an_embedding_also_none_and_a_single_item(name: str) -> None:
    model = fitted(name)
    embeddings = model.embed(INVENTED)
    assert embeddings.shape == (len(INVENTED), model.d_in) and embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()
    assert model.embed([]).shape == (0, model.d_in)
    assert np.array_equal(embeddings[1], embeddings[5]), "an item twice counts once"


@each
def test_items_and_probes_live_where_viewers_live(name: str) -> None:
    model = fitted(name)
    for vectors in (model.embed_items(), model.probe_items()):
        assert vectors.shape == (N_ITEMS, model.d_in) and vectors.dtype == np.float32
        assert np.isfinite(vectors).all()


@each
def test_the_same_seed_gives_the_same_model(name: str) -> None:
    again = fit(name).to_arrays()
    for key, array in fitted(name).to_arrays().items():
        assert np.array_equal(array, again[key]), key


@pytest.mark.parametrize("name", [n for n in NAMES if n not in CLOSED_FORM])
def test_another_seed_gives_another_model(name: str) -> None:
    assert not np.allclose(fitted(name).embed_items(), fit(name, seed=1).embed_items(), atol=1e-3)


@each
def test_an_embedding_does_not_depend_on_the_others_in_the_batch(name: str) -> None:
    model = fitted(name)
    histories = [*block_log()[0].histories(), *INVENTED]
    together = model.embed(histories)
    alone = np.concatenate([model.embed([h]) for h in histories])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together[::-1], model.embed(histories[::-1]), atol=1e-5)


@each
def test_scores_are_those_of_the_linear_form_where_there_is_one(name: str) -> None:
    model = fitted(name)
    x = np.random.default_rng(0).normal(size=(5, model.d_in)).astype(np.float32)
    scores = model.score(x)
    assert scores.shape == (5, N_ITEMS) and scores.dtype == np.float32
    if model.linear is None:
        mean = model.score(x[:1] / 2 + x[1:2] / 2) - (scores[:1] + scores[1:2]) / 2
        assert np.abs(mean).max() > 1e-4, "a linear scorer must say so: it steers in the browser"
        return
    assert model.linear.V.dtype == model.linear.b.dtype == np.float32
    np.testing.assert_allclose(scores, x @ model.linear.V.T + model.linear.b, rtol=1e-4, atol=1e-5)


@each
def test_a_score_does_not_depend_on_the_others_in_the_batch(name: str) -> None:
    model = fitted(name)
    x = model.embed(INVENTED)
    alone = np.concatenate([model.score(row[None]) for row in x])
    np.testing.assert_allclose(model.score(x), alone, rtol=1e-4, atol=1e-5)


@each
def test_the_torch_twin_gives_the_same_scores_and_their_gradient(name: str) -> None:
    model = fitted(name)
    x = model.embed(INVENTED)
    leaf = torch.tensor(x, requires_grad=True)
    twin = model.torch_scorer()(leaf)
    np.testing.assert_allclose(twin.detach().numpy(), model.score(x), rtol=1e-4, atol=1e-5)
    twin[:, 3].sum().backward()
    assert leaf.grad is not None
    if model.linear is not None:
        np.testing.assert_allclose(leaf.grad.numpy(), np.tile(model.linear.V[3], (len(x), 1)), rtol=1e-5)
        return
    # What the slope adds up to along a way is the change of the score: true across the kinks of a network, too.
    step = 1e-2 * np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    way = torch.tensor(x + np.linspace(-1, 1, 201, dtype=np.float32)[:, None, None] * step, requires_grad=True)
    model.torch_scorer()(way.flatten(0, 1))[:, 3].sum().backward()
    assert way.grad is not None
    change = (model.score(x + step)[:, 3].astype(float) - model.score(x - step)[:, 3]) / 2
    np.testing.assert_allclose((way.grad.mean(dim=0).numpy() * step).sum(axis=1), change, rtol=0.05, atol=2e-4)


@each
def test_every_card_says_what_the_recommender_is(name: str) -> None:
    entry = RECOMMENDERS[name]
    assert entry.title and entry.summary.endswith(".") and entry.fold_in.endswith(".")
    assert entry.live == (fitted(name).linear is not None)


@each
def test_arrays_restore_the_model_exactly(name: str) -> None:
    model = fitted(name)
    # As a workspace writes them: a file has no arrays without an axis.
    written = load(save({key: np.ascontiguousarray(array) for key, array in model.to_arrays().items()}))
    again = recommender_class(name).from_arrays(model.config, written)
    assert (again.d_in, again.n_items) == (model.d_in, model.n_items)
    assert np.array_equal(again.embed(INVENTED), model.embed(INVENTED))
    assert np.array_equal(again.score(again.embed(INVENTED)), model.score(model.embed(INVENTED)))
    assert np.array_equal(again.probe_items(), model.probe_items())


@each
def test_embedding_and_scoring_change_no_argument(name: str) -> None:
    model = fitted(name)
    x = model.embed(INVENTED)
    before, history = x.copy(), INVENTED[3].copy()
    model.score(x)
    model.embed([INVENTED[3]])
    assert np.array_equal(x, before) and np.array_equal(history, INVENTED[3])


@each
def test_inference_imports_no_torch(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", **fitted(name).to_arrays())
    program = f"""
import sys, numpy as np
from core.recommenders.base import rank, recommender_class
kind = recommender_class({name!r})
with np.load({str(tmp_path / "arrays.npz")!r}) as arrays:
    model = kind.from_arrays(kind.Config(), dict(arrays))
rank(model.score(model.embed([np.array([1, 2])])), 3)
model.embed_items(), model.probe_items(), model.linear
print(sorted({{"torch", "sklearn", "umap", "streamlit"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


@learning
def test_the_held_out_item_of_a_block_ranks_above_every_item_of_other_blocks(name: str) -> None:
    model = fitted(name)
    log, held_out = block_log()
    scores = model.score(model.embed(log.histories()))
    block = np.arange(N_ITEMS) // ITEMS_A_BLOCK
    foreign = block[None, :] != block[held_out][:, None]
    best_foreign = np.where(foreign, scores, -np.inf).max(axis=1)
    assert np.mean(scores[np.arange(len(held_out)), held_out] > best_foreign) >= LEARNT


@learning
def test_an_invented_viewer_of_one_item_is_recommended_its_block(name: str) -> None:
    model = fitted(name)
    histories = [np.array([i]) for i in range(N_ITEMS)]
    top = rank(model.score(model.embed(histories)), 3, histories)
    assert np.mean(top // ITEMS_A_BLOCK == np.arange(N_ITEMS)[:, None] // ITEMS_A_BLOCK) >= LEARNT


@each
def test_progress_is_told_to_the_end(name: str) -> None:
    calls: list[tuple[str, int, int]] = []
    fit(name, progress=lambda stage, done, total, numbers: calls.append((stage, done, total)))
    assert calls and calls[-1][1] == calls[-1][2]
    assert [done for _, done, _ in calls] == list(range(1, len(calls) + 1))
    assert {stage for stage, _, _ in calls} == {"recommender"}


@each
def test_an_interruption_from_progress_stops_the_training(name: str) -> None:
    threads, calls = torch.get_num_threads(), []

    def stop(*call: Any) -> None:
        calls.append(call)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(name, progress=stop)
    assert len(calls) == 1 and torch.get_num_threads() == threads


@each
def test_a_log_without_interactions_is_refused(name: str) -> None:
    with pytest.raises(TrainingError, match="no interactions"):
        recommender_class(name).fit(dataset_of([[], []], 3), config_of(name), seed=0)


@each
def test_viewers_and_items_without_interactions_are_no_obstacle(name: str) -> None:
    log = dataset_of([[0, 1], [], [1, 2], [0, 1, 2]], 6)
    model = recommender_class(name).fit(log, config_of(name), seed=0)
    scores = model.score(model.embed(log.histories()))
    assert np.isfinite(scores).all()


@learning
def test_an_item_outside_the_catalogue_is_a_mistake(name: str) -> None:
    with pytest.raises(ValueError, match="item indices"):
        fitted(name).embed([np.array([N_ITEMS])])


def test_an_unknown_recommender_suggests_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'elsa'"):
        recommender_class("esla")


def test_popularity_gives_everybody_the_most_consumed_items() -> None:
    log = dataset_of([[2, 1], [2, 0], [2, 1]], 4)
    model = recommender_class("popularity").fit(log, config_of("popularity"), seed=0)
    assert rank(model.score(model.embed([np.array([2]), np.array([], int)])), 4).tolist() == [[2, 1, 0, 3]] * 2


def test_ease_equals_a_ridge_regression_of_each_item_on_the_others() -> None:
    log = block_log()[0]
    x = to_matrix(log.histories(), N_ITEMS).toarray().astype(float)
    model = recommender_class("ease").fit(log, recommender_class("ease").Config(regularisation=5.0), seed=0)
    for item in (0, 17):
        others = np.delete(np.arange(N_ITEMS), item)
        X = x[:, others]
        weights = np.linalg.solve(X.T @ X + 5.0 * np.eye(len(others)), X.T @ x[:, item])
        np.testing.assert_allclose(model.to_arrays()["B"][others, item], weights, atol=1e-5)
        assert model.to_arrays()["B"][item, item] == 0
