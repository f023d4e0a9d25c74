import numpy as np
import pytest

from core.neurons.baselines import best_neurons, random_directions, raw_dimensions

N = 100


def test_the_neuron_of_a_concept_is_the_purest_over_all_three_lengths():
    mask = np.arange(N) < 50
    acts = np.zeros((N, 3))
    acts[:, 0] = np.arange(N, 0, -1)  # 1, 1, 1
    acts[:12, 1] = 1.0  # pure at 10, but fires on 12 items only
    acts[:, 2] = np.arange(1, N + 1)  # 0, 0, 0
    best = best_neurons(acts, mask[None])
    assert best.neurons.tolist() == [0]
    assert best.purity[:, 0].tolist() == [1, 1, 1]
    assert best.means() == {"10": 1, "20": 1, "50": 1}


def test_a_length_that_no_neuron_reaches_is_nan_and_left_out_of_the_mean():
    acts = np.zeros((N, 2))
    acts[:12, 0] = 1.0
    masks = np.array([np.arange(N) < 5, np.arange(N) < 12])
    best = best_neurons(acts, masks)
    np.testing.assert_allclose(best.purity, [[0.5, 1.0], [np.nan, np.nan], [np.nan, np.nan]])
    means = best.means()
    assert means["10"] == 0.75
    assert np.isnan(means["20"]) and np.isnan(means["50"])


def test_no_neuron_and_no_concept_are_said_to_be_none():
    assert best_neurons(np.zeros((N, 2)), np.ones((1, N), bool)).neurons.tolist() == [-1]
    assert np.isnan(list(best_neurons(np.ones((N, 2)), []).means().values())).all()


def test_raw_dimensions_look_along_both_signs():
    X = np.linspace(-1, 1, N)[:, None]
    low = np.arange(N) < 50
    assert raw_dimensions(X, low[None]) == {"10": 1, "20": 1, "50": 1}
    assert raw_dimensions(X, ~low[None]) == {"10": 1, "20": 1, "50": 1}


def test_random_directions_find_a_planted_direction_less_well_than_itself_and_more_of_them_do_better():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 30))
    mask = np.zeros(2000, bool)
    mask[np.argsort(-X[:, 0])[:200]] = True
    few, many = (random_directions(X, mask[None], d, seed=1, n_draws=5) for d in (2, 200))
    assert raw_dimensions(X, mask[None])["50"] == 1
    assert 0.1 * 0.5 < few["50"] < many["50"] < 0.8


def test_random_directions_of_a_concept_without_a_direction_stay_near_the_base_rate():
    rng = np.random.default_rng(0)
    found = random_directions(rng.normal(size=(2000, 10)), (rng.random(2000) < 0.3)[None], 1, seed=0, n_draws=40)
    assert found["50"] == pytest.approx(0.3, abs=0.05)


def test_the_seed_decides_the_draws():
    X, masks = np.random.default_rng(0).normal(size=(N, 5)), np.arange(N)[None] < 30
    assert random_directions(X, masks, 4, seed=1) == random_directions(X, masks, 4, seed=1)
    assert random_directions(X, masks, 4, seed=1) != random_directions(X, masks, 4, seed=2)
