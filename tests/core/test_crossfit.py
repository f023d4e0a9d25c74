"""Cross-fit: every viewer is measured once, by an SAE that never saw this viewer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.crossfit import cross_fit, folds_of
from core.data.split import SplitConfig, split
from core.errors import ConfigError
from core.evaluation.ranking import ndcg_at_n
from core.pipeline import build, build_recommender, plan
from core.recommenders.base import embed_users, rank
from core.runs import Run, list_runs
from core.sae import trainer
from core.sae.model import SAE, SAEConfig
from core.workspace import Workspace
from tests.conftest import tiny_request


def test_folds_share_the_viewers_out_and_are_alike_in_size_and_history(tiny_run: Run) -> None:
    folds = folds_of(tiny_run.split, 7, seed=0)
    assert sorted(np.concatenate(folds).tolist()) == list(range(90))
    assert {len(f) for f in folds} == {12, 13}
    assert all((np.diff(f) > 0).all() for f in folds)
    again, other = folds_of(tiny_run.split, 7, seed=0), folds_of(tiny_run.split, 7, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(folds, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(folds, other, strict=True))


def test_long_and_short_histories_are_in_every_fold(tiny_run: Run) -> None:
    kept = np.ones(tiny_run.full.n_interactions, bool)
    for user in range(0, 90, 2):  # every second viewer keeps 6 of 14
        kept[tiny_run.full.indptr[user] + 6 : tiny_run.full.indptr[user + 1]] = False
    parts = split(tiny_run.full.with_interactions(kept), SplitConfig(n_held_out=2), seed=0)
    lengths = np.diff(parts.history.indptr)
    assert [int((lengths[f] == 4).sum()) for f in folds_of(parts, 9, seed=0)] == [5] * 9


@pytest.mark.parametrize(("n", "fix"), [(1, "2 folds or more"), (91, "at most 90")])
def test_folds_that_cannot_be_are_refused(tiny_run: Run, n: int, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        folds_of(tiny_run.split, n, seed=0)
    assert fix in caught.value.fix


def test_a_split_that_asks_only_unseen_viewers_is_refused(tiny_run: Run) -> None:
    parts = split(tiny_run.full, SplitConfig(name="held-out-users"), seed=0)
    with pytest.raises(ConfigError, match="unseen"):
        folds_of(parts, 3, seed=0)


def test_no_sae_sees_whom_it_is_measured_on_and_all_are_measured(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tiny_request(tiny_folder)
    todo, workspace, seen = plan(request), Workspace(tmp_path / "w"), []
    learn = trainer.train

    def learn_and_tell(X: np.ndarray, *rest: Any, **more: Any) -> Any:
        seen.append(X)
        return learn(X, *rest, **more)

    monkeypatch.setattr(trainer, "train", learn_and_tell)
    run = build_recommender(request, todo, workspace)
    found = cross_fit(todo, run, 3)
    assert len(seen) == found.metrics["n_folds"] == 3
    assert found.viewers["user"].tolist() == list(range(90))
    assert found.metrics["n_viewers"] == 90
    embeddings = embed_users(run.recommender, run.split.history, np.arange(90))
    for number, X in enumerate(seen):
        unseen = found.viewers["user"][found.viewers["fold"] == number].to_numpy()
        np.testing.assert_array_equal(X, np.delete(embeddings, unseen, axis=0))
    again = cross_fit(todo, run, 3)
    assert len(seen) == 3, "what was trained is not trained again"
    assert again.metrics == found.metrics
    assert list_runs(workspace) == [], "the SAE of a fold is no run of its own"
    assert build(request, workspace).report["sae"]["n_unseen_viewers"] == 15, "the folds are not taken for the SAE"


def test_the_figures_are_those_of_a_naive_computation_over_all_viewers(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of SAEs that are handed over: each rebuilds the vector as a multiple of one direction of its own."""
    models = []

    def hand_over(X: np.ndarray, *_rest: Any, **_more: Any) -> Any:
        rng = np.random.default_rng(len(models))
        W = rng.standard_normal((2, X.shape[1])).astype(np.float32)
        sae = SAE(SAEConfig(X.shape[1], 2, "relu"), W.T.copy(), np.zeros(2, np.float32), W, X.mean(axis=0))
        models.append(sae)
        return sae, trainer.train(X, replace(todo.sae, n_steps=1, history_dropout=0.0, prediction=0.0), seed=0)[1]

    request = tiny_request(tiny_folder)
    todo = plan(request)
    run = build_recommender(request, todo, Workspace(tmp_path / "w"))
    monkeypatch.setattr("core.pipeline.resolve", lambda _: hand_over)
    found = cross_fit(todo, run, 2)
    parts, model = run.split, run.recommender
    before, after, cosines = np.zeros(90), np.zeros(90), np.zeros(90)
    for sae, users in zip(models, folds_of(parts, 2, todo.seed), strict=True):
        for user in users:
            x = embed_users(model, parts.history, np.array([user]))
            seen, targets = [parts.history.history(user)], [parts.targets[user]]
            x_hat = sae.reconstruct(x)
            before[user] = ndcg_at_n(rank(model.score(x), 20, seen), targets, 20)[0]
            after[user] = ndcg_at_n(rank(model.score(x_hat), 20, seen), targets, 20)[0]
            cosines[user] = (x @ x_hat.T).item() / np.linalg.norm(x) / np.linalg.norm(x_hat)
    assert found.metrics["ndcg_loss"] == pytest.approx(1 - after.mean() / before.mean(), abs=1e-9)
    assert found.metrics["cosine"] == pytest.approx(cosines.mean(), abs=1e-6)
    assert found.metrics["ndcg_at_20_original"] == pytest.approx(before.mean())
    low, high = found.metrics["ndcg_loss_interval"]
    assert low < found.metrics["ndcg_loss"] < high
    assert found.metrics["ndcg_loss"] > 0.05
