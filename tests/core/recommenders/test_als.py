"""ALS: the fold-in is the minimum of the loss and `implicit`'s own, training is exact, silent and on one thread."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import implicit.utils
import numpy as np
import pytest
from scipy.optimize import minimize
from threadpoolctl import threadpool_info, threadpool_limits

from core.data.loaders import read_dataset
from core.errors import ConfigError, TrainingError
from core.progress import no_progress
from core.recommenders.als import ALS, ALSConfig
from core.recommenders.als_training import NOISE_SHARE, noise_level, train_als
from core.recommenders.base import embed_users, rank
from core.seeding import derive_seed
from tests.core.recommenders.blocks import dataset_of
from tests.core.recommenders.implicit_models import (
    COLD_ITEM,
    COLD_USER,
    N_ITEMS,
    N_USERS,
    recommended,
    taste_log,
    train_implicit,
)

Q = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
SMALL = ALSConfig(embedding_size=6, confidence=3.0, regularisation=2.0)


def twin(config: ALSConfig, regularisation: float, seed: int) -> Any:
    """Give what `implicit` itself learns with the settings of ours."""
    return train_implicit(
        "als", taste_log(), factors=config.embedding_size, alpha=config.confidence, regularization=regularisation,
        iterations=config.epochs, random_state=derive_seed(seed, "als"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("history", "embedding"), [([0], 3 / 8), ([1], 6 / 14), ([0, 1], 9 / 16), ([1, 1], 6 / 14), ([], 0.0)]
)
def test_the_fold_in_by_hand(history: list[int], embedding: float) -> None:
    # Items 1 and 2 with λ = 1 and confidence 3: (1 + 4 + 1 + 2 * squares of the history) u = 3 * sum of the history.
    model = ALS(ALSConfig(embedding_size=1, confidence=3.0), np.array([[1.0], [2.0]], np.float32), 1.0)
    np.testing.assert_allclose(model.embed([np.array(history, int)]), [[embedding]], rtol=1e-6)


@pytest.mark.parametrize("history", [[4], [0, 8], list(range(9))])
@pytest.mark.parametrize(("confidence", "regularisation"), [(40.0, 0.01), (1.0, 1.0), (0.3, 5.0)])
def test_the_fold_in_is_the_minimum_of_the_loss(history: list[int], confidence: float, regularisation: float) -> None:
    def loss(u: np.ndarray) -> float:
        total = regularisation * u @ u
        for item, q in enumerate(Q.astype(float)):
            total += confidence * (1 - u @ q) ** 2 if item in history else (u @ q) ** 2
        return float(total)

    model = ALS(ALSConfig(embedding_size=3, confidence=confidence), Q, regularisation)
    found = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(model.embed([np.array(history)])[0], found.x, atol=1e-5)


def test_many_viewers_are_folded_in_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    histories = taste_log().histories()
    model = ALS.fit(taste_log(), SMALL, seed=0)
    whole = model.embed(histories)
    monkeypatch.setattr("core.recommenders.als.CELLS", 7 * SMALL.embedding_size**2)
    np.testing.assert_allclose(model.embed(histories), whole, atol=1e-7)


def test_without_a_penalty_the_shortest_vector_fits_the_history() -> None:
    model = ALS(ALSConfig(embedding_size=3), Q[:2], 0.0)
    u = model.embed([np.array([0, 1])])
    np.testing.assert_allclose(u @ Q[:2].T, 1.0, atol=1e-5)
    np.testing.assert_allclose(u[0], np.linalg.pinv(Q[:2].astype(float)) @ np.ones(2), atol=1e-5)
    assert not ALS(ALSConfig(embedding_size=3), np.zeros((2, 3), np.float32), 0.0).embed([np.array([0])]).any()


@pytest.mark.parametrize("regularisation", [0.05, 2.0])
def test_training_and_fold_in_are_those_of_implicit(regularisation: float) -> None:
    config = ALSConfig(embedding_size=6, confidence=3.0, regularisation=regularisation)
    ours, theirs = ALS.fit(taste_log(), config, seed=5), twin(config, regularisation, seed=5)
    assert ours.trained_users is not None
    assert np.array_equal(ours.Q, theirs.item_factors) and np.array_equal(ours.trained_users, theirs.user_factors)
    with threadpool_limits(1, "blas"):
        folded = theirs.recalculate_user(np.arange(N_USERS), taste_log().matrix())
    np.testing.assert_allclose(ours.embed(taste_log().histories()), folded, atol=2e-5)


def test_lists_are_those_of_implicit_for_known_vectors_and_for_folded_in_ones() -> None:
    log, known = taste_log(), np.delete(np.arange(N_USERS), COLD_USER)
    ours, theirs = ALS.fit(log, SMALL, seed=5), twin(SMALL, 2.0, seed=5)
    histories = log.histories(known)
    assert ours.trained_users is not None
    lists = rank(ours.score(ours.trained_users[known]), 20, histories)
    assert np.array_equal(lists, recommended(theirs, log, known, 20))
    folded = rank(ours.score(ours.embed(histories)), 20, histories)
    assert np.array_equal(folded, recommended(theirs, log, known, 20, recalculate_user=True))
    assert not np.array_equal(lists, folded), "one epoch apart: else this would compare the same thing twice"


def test_after_many_epochs_each_side_is_the_minimum_given_the_other() -> None:
    x = taste_log().matrix().toarray().astype(float)
    model = ALS.fit(taste_log(), ALSConfig(embedding_size=4, confidence=3.0, regularisation=2.0, epochs=300), seed=0)
    assert model.trained_users is not None
    users = model.trained_users.astype(float)
    np.testing.assert_allclose(model.embed(taste_log().histories()), users, atol=1e-3)
    for item in range(N_ITEMS):
        weight = np.where(x[:, item] > 0, 3.0, 1.0)
        gram = users.T @ (weight[:, None] * users) + 2.0 * np.eye(4)
        np.testing.assert_allclose(model.Q[item], np.linalg.solve(gram, users.T @ (weight * x[:, item])), atol=1e-3)


def test_the_loss_falls_and_is_the_one_of_the_paper() -> None:
    losses: list[float] = []
    model = ALS.fit(taste_log(), SMALL, seed=0, progress=lambda *call: losses.append(call[3]["loss"]))
    assert len(losses) == SMALL.epochs and (np.diff(losses) <= 0).all() and losses[0] > 1.05 * losses[-1]
    assert model.trained_users is not None
    x, users = taste_log().matrix().toarray().astype(float), model.trained_users.astype(float)
    weight = np.where(x > 0, 3.0, 1.0)
    error = (weight * (x - users @ model.Q.T) ** 2).sum() + 2.0 * ((users**2).sum() + (model.Q**2).sum())
    assert losses[-1] == pytest.approx(error / weight.sum(), rel=1e-4)


def test_what_nobody_consumed_and_who_consumed_nothing_have_no_vector() -> None:
    model = ALS.fit(taste_log(), SMALL, seed=0)
    assert model.trained_users is not None
    assert not model.Q[COLD_ITEM].any() and not model.trained_users[COLD_USER].any()
    assert np.delete(model.Q, COLD_ITEM, axis=0).any(axis=1).all()
    assert np.delete(model.trained_users, COLD_USER, axis=0).any(axis=1).all()


def test_the_penalty_follows_the_noise_of_the_log_unless_it_is_given() -> None:
    x = dataset_of([[0, 1], [], [0]], 5).matrix()  # 3 interactions of 2 viewers on 2 items
    assert noise_level(x) == pytest.approx(2 * np.sqrt(1.5))
    chosen = train_als(x, ALSConfig(embedding_size=2, confidence=5.0), seed=0, progress=no_progress)
    assert chosen.regularisation == pytest.approx(NOISE_SHARE * 5 * 2 * np.sqrt(1.5))
    assert ALS.fit(taste_log(), SMALL, seed=0).regularisation == 2.0


def test_a_log_without_structure_has_the_noise_that_the_penalty_takes_off() -> None:
    x = (np.random.default_rng(0).random((600, 300)) < 0.04).astype(np.float32)
    found = np.linalg.svd(x - x.mean(), compute_uv=False)[0]
    log = dataset_of([np.flatnonzero(row).tolist() for row in x], 300)
    assert found == pytest.approx(noise_level(log.matrix()), rel=0.05)


def test_training_holds_blas_to_one_thread_and_lets_go_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads() -> set[int]:
        return {api["num_threads"] for api in threadpool_info() if api["user_api"] == "blas"}

    monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)  # it warns once in a process
    during: list[set[int]] = []
    with threadpool_limits(2, "blas"):
        before = threads()
        many = train_als(taste_log().matrix(), SMALL, seed=0, progress=lambda *call: during.append(threads()))
        assert threads() == before
    assert set().union(*during) == {1}
    one = train_als(taste_log().matrix(), SMALL, seed=0, progress=no_progress)
    assert np.array_equal(many.items, one.items) and np.array_equal(many.users, one.users)


def test_only_training_imports_implicit() -> None:
    code = "import sys, core.recommenders.als, core.recommenders.implicit_file; print('implicit' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_vectors_that_are_no_numbers_are_an_error() -> None:
    matrix = taste_log().matrix()
    matrix.data[0] = np.nan
    with pytest.raises(TrainingError, match="not finite after epoch 1 of 12"):
        train_als(matrix, SMALL, seed=0, progress=no_progress)


@pytest.mark.parametrize(
    "wrong",
    [
        {"embedding_size": 0},
        {"epochs": 0},
        {"confidence": 0.0},
        {"confidence": float("nan")},
        {"regularisation": -1.0},
        {"regularisation": 1e300},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ALSConfig(**wrong)


def test_known_viewers_keep_the_vectors_that_were_brought_and_others_are_folded_in() -> None:
    log = dataset_of([[0, 1], [2]], 9)
    users = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    model = ALS(ALSConfig(embedding_size=3), Q, 2.0, users)
    again = ALS.from_arrays(model.config, model.to_arrays())
    for brought in (model, again):
        assert np.array_equal(embed_users(brought, log, np.array([1])), users[1:])
        assert np.array_equal(brought.embed(log.histories()), ALS(model.config, Q, 2.0).embed(log.histories()))
    assert ALS(model.config, Q, 2.0).native_users is None


@pytest.mark.real_data
def test_real_lists_are_those_of_implicit(datasets_dir: Path) -> None:
    if not (datasets_dir / "ml-100k").is_dir():
        pytest.skip("ml-100k is not in DATASETS_DIR")
    log = read_dataset(datasets_dir / "ml-100k")
    model = ALS.fit(log, ALSConfig(embedding_size=32), seed=0)
    theirs = train_implicit(
        "als", log, factors=32, alpha=4.0, regularization=model.regularisation, iterations=12,
        random_state=derive_seed(0, "als"),
    )  # fmt: skip
    users, histories = np.arange(log.n_users), log.histories()
    scores = model.score(model.embed(histories))
    ours, wanted = rank(scores, 20, histories), recommended(theirs, log, users, 20, recalculate_user=True)
    # Scores that agree to six digits may swap their places.
    np.testing.assert_allclose(
        np.take_along_axis(scores, ours, axis=1), np.take_along_axis(scores, wanted, axis=1), atol=2e-5
    )
    assert (ours == wanted).mean() > 0.995
