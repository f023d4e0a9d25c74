"""Relatives: opposite, firing together, and the items that a neuron moves, each against a naive computation."""

import numpy as np
import pytest

from core.neurons import relatives
from core.neurons.relatives import Relatives, lens, linear_effects, mean_effects, opposite, together
from core.neurons.separation import wilson
from core.runs import Run


@pytest.fixture(params=[2**24, 40], ids=["one block", "many blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results do not depend on how many neurons are looked at together."""
    monkeypatch.setattr(relatives, "CELLS", request.param)


def test_opposite_by_hand(blocks: None) -> None:
    rows = np.array([[1.0, 0], [-2, 0], [0, 1], [-1, -2], [-3, 0]], np.float32)
    found = opposite(rows, np.array([True, True, True, True, False]), 3)
    assert found.neurons.tolist() == [[1, 3, -1], [0, -1, -1], [3, -1, -1], [2, 0, -1], [-1, -1, -1]]
    assert found.values[0, :2] == pytest.approx([-1, -np.sqrt(0.2)])
    assert np.isnan(found.values[0, 2])


def test_opposite_is_the_lowest_cosine_of_all_living_ones(blocks: None) -> None:
    rng = np.random.default_rng(0)
    rows, alive = rng.normal(size=(30, 5)).astype(np.float32), rng.random(30) < 0.8
    found = opposite(rows, alive, 4)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for j in range(30):
        others = [k for k in np.flatnonzero(alive) if alive[j] and unit[j] @ unit[k] < 0]
        expected = sorted(others, key=lambda k: (unit[j] @ unit[k], k))[:4]
        assert found.neurons[j, : len(expected)].tolist() == expected
        assert (found.neurons[j, len(expected) :] == -1).all()


def test_lift_says_together_what_counts_alone_do_not(blocks: None) -> None:
    fires = np.zeros((100, 4), bool)
    fires[:, 0] = True  # always
    fires[:20, 1] = fires[:20, 2] = True  # the same 20 viewers
    fires[10:60, 3] = True
    found = together(counts_of(fires), 100, np.ones(4, bool), 3)
    assert found.neurons[1].tolist() == [2, -1, -1]  # not 0: it fires in all of them, as it does in everybody
    assert found.lift[1, 0] == pytest.approx(5) and found.n_both[1, 0] == 20
    low, high = wilson(np.array(20.0), np.array(20.0))
    assert (found.low[1, 0], found.high[1, 0]) == pytest.approx((low / 0.2, high / 0.2))
    assert found.neurons[0].tolist() == [-1, -1, -1]


def test_few_viewers_in_common_and_dead_neurons_are_not_told() -> None:
    fires = np.zeros((1000, 3), bool)
    fires[: relatives.LEAST_BOTH - 1, :2] = True
    fires[500:600, 2] = True
    everyone = np.ones(3, bool)
    assert (together(counts_of(fires), 1000, everyone, 2).neurons == -1).all()
    fires[relatives.LEAST_BOTH - 1, :2] = True
    assert together(counts_of(fires), 1000, everyone, 2).neurons[0].tolist() == [1, -1]
    assert (together(counts_of(fires), 1000, np.array([True, False, True]), 2).neurons == -1).all()


def test_chance_is_seldom_called_together() -> None:
    fires = np.random.default_rng(0).random((3000, 60)) < np.linspace(0.02, 0.6, 60)
    found = together(counts_of(fires), 3000, np.ones(60, bool), 60)
    assert 0 < (found.neurons >= 0).mean() < 0.05


def test_the_lens_of_a_linear_scorer_is_the_change_of_scores(tiny_run: Run, blocks: None) -> None:
    sae, model = tiny_run.sae, tiny_run.recommender
    found = lens(linear_effects(model, sae, np.arange(24), 2.5), 24, 5)
    u = tiny_run.embedding(3)
    for j in range(24):
        change = (model.score(u + np.float32(2.5) * sae.W_dec[j]) - model.score(u))[0]
        assert found.up.values[j] == pytest.approx(np.sort(change)[::-1][:5], abs=1e-4)
        assert found.down.values[j] == pytest.approx(np.sort(change)[:5], abs=1e-4)
        assert found.up.values[j] == pytest.approx(change[found.up.neurons[j]], abs=1e-4)
        assert found.down.values[j] == pytest.approx(change[found.down.neurons[j]], abs=1e-4)


def test_items_that_do_not_rise_are_not_pushed_up() -> None:
    found = lens(iter([(np.array([1]), np.array([[0.0, -2.0, 3.0, -1.0]], np.float32))]), 2, 3)
    assert found.up.neurons.tolist() == [[-1, -1, -1], [2, -1, -1]]
    assert found.down.neurons.tolist() == [[-1, -1, -1], [1, 3, -1]]
    assert found.down.values[1, :2].tolist() == [-2, -1]


def test_the_mean_effect_of_a_linear_scorer_is_its_exact_one(tiny_run: Run, blocks: None) -> None:
    sae, model = tiny_run.sae, tiny_run.recommender
    embeddings = model.embed(tiny_run.dataset.histories(range(7)))
    strength = np.linspace(0.5, 2, 24)
    scale = float(sae.normalise(embeddings).scale.mean())
    exact = np.concatenate([c for _, c in linear_effects(model, sae, np.arange(24), scale)])
    mean = np.concatenate([c for _, c in mean_effects(model, sae, np.arange(24), strength, embeddings)])
    assert mean == pytest.approx(exact * strength[:, None], rel=1e-3, abs=1e-4)


def test_effect_rows_have_the_correlations_of_the_effects(tiny_run: Run) -> None:
    sae, model = tiny_run.sae, tiny_run.recommender
    effects = np.concatenate([c for _, c in linear_effects(model, sae, np.arange(24), 1.0)])
    rows = relatives.effect_rows(model, sae)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert unit @ unit.T == pytest.approx(np.corrcoef(effects), abs=1e-4)
    noted = np.zeros((24, 60), np.float32)
    passed = np.concatenate([c for _, c in relatives.noted(iter([(np.arange(24), effects)]), noted, 0)])
    unit = noted / np.linalg.norm(noted, axis=1, keepdims=True)
    assert (passed == effects).all() and unit @ unit.T == pytest.approx(np.corrcoef(effects), abs=1e-4)


def test_relatives_are_saved_and_restored() -> None:
    pair = opposite(np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32), np.ones(6, bool), 2)
    fired = together(np.full((6, 6), 20), 40, np.ones(6, bool), 2)
    found = Relatives(pair, pair._replace(values=pair.values / 2), fired, relatives.Lens(pair, pair))
    again = Relatives.from_arrays(found.to_arrays())
    assert np.array_equal(again.against.values, found.against.values, equal_nan=True)
    assert np.array_equal(again.together.n_both, fired.n_both)
    assert again.to_arrays().keys() == found.to_arrays().keys()


def counts_of(fires: np.ndarray) -> np.ndarray:
    return fires.T.astype(np.int64) @ fires
