"""A score is the sum of its parts, whatever the scorer; and what fires in a viewer is placed among all viewers."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from core.recommenders.base import LinearRecommender, LinearScorer
from core.sae.model import SAE, SAEConfig
from core.steering.contributions import EXACT
from core.steering.portrait import active_concepts, split_scores

D_IN, D_SAE, N_ITEMS = 6, 14, 9


class Linear(LinearRecommender):
    """Scores `x @ V.T + b`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._linear = LinearScorer(
            rng.normal(size=(N_ITEMS, D_IN)).astype(np.float32), rng.normal(size=N_ITEMS).astype(np.float32)
        )

    @property
    def linear(self) -> LinearScorer:
        return self._linear


class Bent:
    """Scores that are not linear: each of a product of two views."""

    linear = None

    def __init__(self, rng: np.random.Generator) -> None:
        self.A, self.B = (rng.normal(size=(D_IN, N_ITEMS)).astype(np.float32) for _ in range(2))

    def score(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.tanh(x @ self.A) * (x @ self.B))


def an_sae(rng: np.random.Generator, normalisation: str = "none", k: int = 5) -> SAE:
    arrays = {
        "W_enc": rng.normal(size=(D_IN, D_SAE)), "b_enc": 3 + rng.normal(size=D_SAE),
        "W_dec": rng.normal(size=(D_SAE, D_IN)), "b_dec": rng.normal(size=D_IN),
        "threshold": np.zeros(D_SAE), "global_scale": np.array([2.0]),
    }  # fmt: skip
    config = SAEConfig(D_IN, D_SAE, gate="topk", k=k, normalisation=normalisation)  # type: ignore[arg-type]
    return SAE.from_arrays(config, arrays)


def test_by_hand_one_neuron_a_bias_and_what_is_left() -> None:
    arrays = {
        "W_enc": [[1.0], [0.0]], "b_enc": [0.0], "W_dec": [[3.0, 0.0]], "b_dec": [0.5, 0.0], "threshold": [0.0],
        "global_scale": [1.0],
    }  # fmt: skip
    sae = SAE.from_arrays(SAEConfig(2, 1, gate="relu", centre_input=False), arrays)
    model = Linear(np.random.default_rng(0))
    model._linear = LinearScorer(np.array([[1.0, 10.0]], np.float32), np.array([100.0], np.float32))
    split = split_scores(np.array([2.0, 1.0]), sae, model, np.array([0]))  # z = 2, x_hat = (6.5, 0)
    assert split.neurons.tolist() == [0] and split.exact and split.n_others == 0
    assert split.base.tolist() == [100.5]
    assert split.by_neuron.tolist() == [[6.0]]
    assert split.rest.tolist() == [(2 - 6.5) * 1 + 1 * 10]
    assert split.score.tolist() == [112.0]


@pytest.mark.parametrize("normalisation", ["none", "global", "sample", "unit"])
@pytest.mark.parametrize("k", [1, 5, 12])
@pytest.mark.parametrize("kind", [Linear, Bent])
def test_the_parts_sum_to_the_score(normalisation: str, k: int, kind: Any) -> None:
    rng = np.random.default_rng(k)
    sae, model = an_sae(rng, normalisation, k), kind(rng)
    u, items = rng.normal(size=(1, D_IN)).astype(np.float32), np.array([4, 0, 7])
    split = split_scores(u, sae, model, items)
    assert np.allclose(split.score, model.score(u)[0, items], atol=1e-4)
    assert split.exact == (kind is Linear)
    assert len(split.neurons) + split.n_others == (sae.encode(u) > 0).sum()


def test_a_linear_part_is_what_taking_the_concept_away_takes_away() -> None:
    rng = np.random.default_rng(3)
    sae, model = an_sae(rng, "unit"), Linear(rng)
    u, items = rng.normal(size=(1, D_IN)).astype(np.float32), np.arange(N_ITEMS)
    split, acts, scale = split_scores(u, sae, model, items), sae.encode(u)[0], sae.normalise(u).scale
    for row, j in enumerate(split.neurons):
        without = u - acts[j] * scale * sae.W_dec[j]
        assert np.allclose(split.by_neuron[row], (model.score(u) - model.score(without))[0], atol=1e-4)


def test_parts_of_a_scorer_that_is_not_linear_are_means_over_all_orders() -> None:
    rng = np.random.default_rng(4)
    sae, model = an_sae(rng, k=3), Bent(rng)
    u, items = rng.normal(size=(1, D_IN)).astype(np.float32), np.arange(N_ITEMS)
    split = split_scores(u, sae, model, items)
    acts = sae.encode(u)[0]
    moves = [acts[j] * sae.W_dec[j] for j in split.neurons]
    players = [*moves, u[0] - sae.b_dec - np.sum(moves, axis=0)]
    naive, orders = np.zeros((len(players), N_ITEMS)), list(permutations(range(len(players))))
    for order in orders:
        x = sae.b_dec.astype(np.float64)
        for player in order:
            before, x = x, x + players[player]
            naive[player] += (model.score(x[None]) - model.score(before[None]))[0] / len(orders)
    assert np.allclose(split.base, model.score(sae.b_dec[None])[0], atol=1e-5)
    assert np.allclose(split.by_neuron, naive[:-1], atol=1e-4) and np.allclose(split.rest, naive[-1], atol=1e-4)


def test_of_many_concepts_those_that_count_most_have_a_part_of_their_own() -> None:
    rng = np.random.default_rng(5)
    sae, model = an_sae(rng, k=12), Bent(rng)
    u, items = rng.normal(size=(1, D_IN)).astype(np.float32), np.arange(N_ITEMS)
    split, acts = split_scores(u, sae, model, items), sae.encode(u)[0]
    active = np.flatnonzero(acts > 0)
    assert len(active) > EXACT and len(split.neurons) == EXACT - 2 and split.n_others == len(active) - EXACT + 2
    lost = {j: np.abs(model.score(u) - model.score(u - acts[j] * sae.W_dec[j])).mean() for j in active}
    assert set(split.neurons) == set(sorted(lost, key=lambda j: -lost[j])[: EXACT - 2])
    assert np.abs(split.others).max() > 0


def test_a_viewer_in_whom_nothing_fires_has_only_what_is_left() -> None:
    rng = np.random.default_rng(6)
    sae = an_sae(rng)
    silent = SAE.from_arrays(
        sae.config, {**sae.to_arrays(), "W_enc": np.zeros((D_IN, D_SAE)), "b_enc": -np.ones(D_SAE)}
    )
    for model in (Linear(rng), Bent(rng)):
        u = rng.normal(size=(1, D_IN)).astype(np.float32)
        split = split_scores(u, silent, model, np.arange(N_ITEMS))
        assert not len(split.neurons) and np.allclose(split.score, model.score(u)[0], atol=1e-4)


def test_active_concepts_are_placed_among_the_viewers_in_whom_they_fire() -> None:
    viewers = sparse.csc_matrix(np.array([[1.0, 5.0, 0.0], [2.0, 0.0, 0.0], [3.0, 0.0, 0.0], [2.0, 5.0, 1.0]]))
    found = active_concepts(np.array([2.0, 5.0, 0.0]), viewers)
    assert found.neurons.tolist() == [1, 0] and found.acts.tolist() == [5.0, 2.0]
    assert found.base_rates.tolist() == [0.5, 1.0]
    assert found.percentiles.tolist() == [0.5, 0.5]  # of 5, 5: half; of 1, 2, 3, 2: one below, two equal
    assert active_concepts(np.array([9.0, 0.0, 0.5]), viewers).percentiles.tolist() == [1.0, 0.0]


def test_a_concept_that_fires_in_nobody_else_has_no_percentile() -> None:
    found = active_concepts(np.array([1.0]), sparse.csc_matrix((3, 1)))
    assert np.isnan(found.percentiles[0]) and found.base_rates[0] == 0
