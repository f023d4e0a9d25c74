from itertools import permutations
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigError
from core.recommenders.base import LinearRecommender, LinearScorer, NonLinearRecommender
from core.steering.contributions import EXACT, contributions, shapley_weights
from core.steering.steering import Edit, Steering, steer
from tests.core.steering.test_steering import D_IN, D_SAE, EDITS, N_ITEMS, every_sae, make_sae, viewers


class Straight(LinearRecommender):
    n_items = N_ITEMS

    def __init__(self) -> None:
        rng = np.random.default_rng(2)
        self.V, self.b = (rng.normal(size=s).astype("f4") for s in ((N_ITEMS, D_IN), N_ITEMS))

    @property
    def linear(self) -> LinearScorer:
        return LinearScorer(self.V, self.b)


class Curved(NonLinearRecommender):
    """Scores are products of two linear forms: an edit's effect depends on the others."""

    n_items = N_ITEMS

    def __init__(self, bend: float = 1.0) -> None:
        self.straight, self.bend = Straight(), bend

    def score(self, embeddings: np.ndarray) -> np.ndarray:
        scores = self.straight.score(embeddings)
        return scores + np.float32(self.bend * 0.05) * scores * np.roll(scores, 1, axis=1)

    def torch_scorer(self) -> Any:
        raise NotImplementedError


@every_sae
@pytest.mark.parametrize("model", [Straight(), Curved()], ids=["linear", "not linear"])
def test_contributions_sum_to_the_change_of_the_scores(gate, normalisation, centred, model):
    sae = make_sae(gate, normalisation, centred)
    for row in viewers():
        parts = contributions(row, EDITS, sae, model)
        change = model.score(steer(row[None], EDITS, sae)) - model.score(row[None])
        assert parts.neurons.tolist() == [3, 7, 11, 0]
        assert parts.by_neuron.shape == (4, N_ITEMS) and parts.by_neuron.dtype == np.float32
        tolerance = 1e-4 * np.abs(model.score(steer(row[None], EDITS, sae))).max() + 1e-5
        np.testing.assert_allclose(parts.by_neuron.sum(axis=0), change[0], rtol=0, atol=tolerance)


def test_contributions_of_a_linear_scorer_are_those_of_each_edit_alone():
    sae, u = make_sae("topk", "sample"), viewers(1)
    together = contributions(u, EDITS, sae, Straight()).by_neuron
    for row, edit in enumerate(EDITS.edits):
        alone = contributions(u, Steering((edit,)), sae, Straight()).by_neuron[0]
        np.testing.assert_allclose(together[row], alone, rtol=1e-4, atol=1e-4)


def test_where_the_scorer_is_linear_both_ways_agree():
    sae, u = make_sae("relu", "global"), viewers(1)
    by_line = contributions(u, EDITS, sae, Straight()).by_neuron
    by_shares = contributions(u, EDITS, sae, Curved(bend=0.0)).by_neuron
    np.testing.assert_allclose(by_line, by_shares, atol=1e-3 * np.abs(by_line).max())


def test_a_share_is_the_mean_over_every_order_in_which_the_edits_could_be_made():
    sae, u, model = make_sae("relu", "unit"), viewers(1), Curved()
    shares = np.zeros((4, N_ITEMS))
    orders = list(permutations(range(4)))
    for order in orders:
        made: tuple[Edit, ...] = ()
        before = model.score(u)[0]
        for j in order:
            made = (*made, EDITS.edits[j])
            after = model.score(steer(u, Steering(made), sae))[0]
            shares[j] += (after - before) / len(orders)
            before = after
    found = contributions(u, EDITS, sae, model).by_neuron
    np.testing.assert_allclose(found, shares, atol=1e-4 * np.abs(shares).max())


def test_two_players_who_are_worth_something_only_together_share_it():
    chosen, weights = shapley_weights(2)
    worth = np.array([10.0 if both.all() else 0.0 for both in chosen])
    assert (weights @ worth).tolist() == [5.0, 5.0]


@pytest.mark.parametrize("n", [1, 3, EXACT, EXACT + 1, 30])
def test_shares_sum_to_what_all_are_worth_together(n):
    chosen, weights = shapley_weights(n)
    worth = np.random.default_rng(n).normal(size=1000)[(chosen @ (2.0 ** np.arange(n)) % 997).astype(int)]
    full, none = worth[chosen.all(axis=1)][0], worth[~chosen.any(axis=1)][0]
    assert (weights @ worth).sum() == pytest.approx(full - none, abs=1e-9)


@pytest.mark.parametrize("n", [EXACT, EXACT + 4])
def test_in_a_game_that_only_adds_up_everybody_gets_what_he_brings(n):
    chosen, weights = shapley_weights(n)
    brings = np.random.default_rng(0).normal(size=n)
    np.testing.assert_allclose(weights @ (chosen @ brings), brings, atol=1e-12)


@pytest.mark.parametrize("model", [Straight(), Curved()])
def test_no_edits_contribute_nothing(model):
    assert contributions(viewers(1), Steering(), make_sae(), model).by_neuron.shape == (0, N_ITEMS)


def test_a_neuron_that_the_sae_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="no neuron"):
        contributions(viewers(1), Steering((Edit(D_SAE, "add", 1.0),)), make_sae(), Straight())
