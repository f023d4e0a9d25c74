"""MF: the fold-in is the minimum of its loss, popularity negatives are popular, and cold items stay cold."""

import numpy as np
import pytest
from scipy.optimize import minimize

from core.configs import from_dict
from core.errors import ConfigError, TrainingError
from core.recommenders.logistic import Regressions, Side
from core.recommenders.mf import MF, MFConfig
from core.recommenders.mf_training import train_mf
from tests.core.recommenders.blocks import block_log, dataset_of

Q = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
B = np.linspace(-2, 1, 9).astype(np.float32)


def loss(v: np.ndarray, history: list[int], column_weight: np.ndarray, n_negatives: float, strength: float) -> float:
    """The loss of a viewer, written out."""
    scores = Q.astype(float) @ v[:-1] + B + v[-1]
    positives = sum(np.logaddexp(0, -scores[i]) for i in history)
    negatives = len(history) * sum(w * np.logaddexp(0, s) for w, s in zip(column_weight, scores, strict=True))
    prior = strength / 2 * np.sqrt((1 + n_negatives) * max(len(history), 1)) * (v @ v)
    return float(positives + negatives + prior)


@pytest.mark.parametrize("history", [[4], [0, 8], list(range(9))])
@pytest.mark.parametrize("strength", [0.001, 0.3, 50.0])
def test_the_fold_in_is_the_minimum_of_the_loss(history: list[int], strength: float) -> None:
    column_weight = 2.0 * np.arange(1, 10) / 45
    config = MFConfig(embedding_size=3, negatives="popularity", n_negatives=2.0, regularisation=strength)
    model = MF(config, Q, B, column_weight)
    found = minimize(
        loss, np.zeros(4), args=(history, column_weight, 2.0, strength), method="BFGS", options={"gtol": 1e-7}
    )
    np.testing.assert_allclose(model.embed([np.array(history)])[0], found.x[:-1], atol=2e-4)


def test_the_loss_falls_at_every_step_from_any_start() -> None:
    random = np.random.default_rng(1)
    known = Side(random.normal(0, 4, (30, 3)), random.normal(0, 4, 30))
    x = (random.random((1, 30)) < 0.3).astype(float)

    def value(side: Side) -> float:
        scores = known.vectors @ side.vectors[0] + known.biases + side.biases[0]
        fit = x[0] @ np.logaddexp(0, -scores) + 0.2 * np.logaddexp(0, scores).sum()
        return float(fit + 0.005 * ((side.vectors**2).sum() + side.biases[0] ** 2))

    from_csr = dataset_of([np.flatnonzero(x[0]).tolist()], 30).matrix()
    regressions = Regressions(known, np.full(30, 0.2))
    for _ in range(20):
        side = Side(random.normal(0, 20, (1, 3)), random.normal(0, 20, 1))
        values = [value(side)]
        for _ in range(200):
            side = regressions.solve(from_csr, np.ones(1), np.array([0.01]), start=side, n_steps=1)
            values.append(value(side))
        assert (np.diff(values) <= 1e-6).all()
        end = regressions.solve(from_csr, np.ones(1), np.array([0.01]))
        np.testing.assert_allclose(side.vectors, end.vectors, atol=1e-4)


def test_nothing_known_of_a_viewer_gives_the_zero_vector() -> None:
    model = MF.fit(block_log()[0], MFConfig(embedding_size=4), seed=0)
    assert not model.embed([np.array([], int)]).any()


def test_popularity_negatives_are_truly_proportional_and_uniform_ones_are_not() -> None:
    log = dataset_of([[0, 1], [0, 2], [0, 1], [0]], 4)
    popular = MF.fit(log, MFConfig(embedding_size=2, negatives="popularity", n_negatives=2.0), seed=0)
    uniform = MF.fit(log, MFConfig(embedding_size=2, negatives="uniform", n_negatives=2.0), seed=0)
    np.testing.assert_allclose(popular.column_weight, 2 * np.array([4, 2, 1, 0]) / 7)
    np.testing.assert_allclose(uniform.column_weight, 0.5)


def test_popularity_negatives_take_popularity_out_of_the_scores() -> None:
    random = np.random.default_rng(0)
    chances = np.linspace(0.9, 0.1, 12)
    log = dataset_of([np.flatnonzero(random.random(12) < chances).tolist() for _ in range(300)], 12)
    spread = {}
    for negatives in ("uniform", "popularity"):
        model = MF.fit(
            log, MFConfig(embedding_size=2, negatives=negatives, n_negatives=1.0, regularisation=0.1), seed=0
        )
        mean_score = model.score(model.embed(log.histories())).mean(axis=0)
        spread[negatives] = mean_score[:3].mean() - mean_score[-3:].mean()
    assert spread["uniform"] > 1 and abs(spread["popularity"]) < 0.5 * spread["uniform"]


@pytest.mark.parametrize("negatives", ["uniform", "popularity"])
def test_an_item_that_nobody_consumed_has_no_vector_and_the_lowest_bias(negatives: str) -> None:
    log = dataset_of([[0, 1], [1, 2], [0, 1, 2]], 5)
    model = MF.fit(log, MFConfig(embedding_size=2, negatives=negatives), seed=0)
    assert not model.Q[3:].any() and model.Q[:3].any(axis=1).all()
    assert model.b[3] == model.b[4] == model.b[:3].min()


def test_a_config_writes_down_what_it_chose() -> None:
    uniform, popularity = MFConfig(), MFConfig(negatives="popularity")
    assert (uniform.n_negatives, uniform.regularisation) == (5.0, 0.2)
    assert (popularity.n_negatives, popularity.regularisation) == (1.0, 0.65)
    assert MFConfig(n_negatives=2.0).n_negatives == 2.0
    assert from_dict(MFConfig, {"negatives": "popularity", "n_negatives": "none"}) == popularity


@pytest.mark.parametrize(
    "wrong",
    [{"negatives": "none"}, {"embedding_size": 0}, {"epochs": 0}, {"n_negatives": 0.0}, {"regularisation": 0.0}],
)
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MFConfig(**wrong)


def test_vectors_that_are_no_numbers_are_an_error() -> None:
    matrix = block_log()[0].matrix()
    with pytest.raises(TrainingError, match="not numbers after epoch 1 of 3"):
        train_mf(
            matrix, np.full(matrix.shape[1], np.nan), embedding_size=2, n_negatives=1.0, regularisation=1.0, epochs=3,
            seed=0, progress=lambda *call: None,
        )  # fmt: skip
