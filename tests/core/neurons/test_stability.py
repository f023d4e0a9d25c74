"""Stability: a permuted copy is found again neuron by neuron, and what has nothing in common is not."""

from itertools import permutations

import numpy as np
import pytest

from core.neurons.stability import SURVIVES, Code, match, similarity, stability


def planted(seed: int, d_sae: int = 30, d_in: int = 16, n_users: int = 400) -> Code:
    """Give directions and activations drawn at random: each neuron fires for about a quarter of the viewers."""
    rng = np.random.default_rng(seed)
    acts = np.maximum(rng.standard_normal((n_users, d_sae)) - 0.7, 0).astype(np.float32)
    return Code(rng.standard_normal((d_sae, d_in)).astype(np.float32), acts)


def test_the_similarity_is_the_mean_of_cosine_and_correlation_by_hand() -> None:
    a = Code(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]))
    b = Code(np.array([[3.0, 4.0]]), np.array([[2.0], [0.0], [2.0], [0.0]]))
    # cosines 0.6 and 0.8; the first fires for the same viewers (1), the second for a half of them (0)
    np.testing.assert_allclose(similarity(a, b), [[0.8], [0.4]])


def test_the_similarity_is_that_of_a_naive_computation() -> None:
    a, b = planted(1), planted(2, d_sae=20)
    expected = [
        [
            (v @ w / np.linalg.norm(v) / np.linalg.norm(w) + np.corrcoef(a.acts[:, i], b.acts[:, j])[0, 1]) / 2
            for j, w in enumerate(b.W_dec)
        ]
        for i, v in enumerate(a.W_dec)
    ]
    np.testing.assert_allclose(similarity(a, b), expected, atol=1e-6)


def test_many_viewers_are_added_up_in_parts_without_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = similarity(planted(1), planted(2))
    monkeypatch.setattr("core.neurons.stability._CHUNK", 7)
    np.testing.assert_allclose(similarity(planted(1), planted(2)), whole, atol=1e-12)


def test_no_other_matching_has_a_larger_sum() -> None:
    similar = np.random.default_rng(0).standard_normal((6, 6))
    best = max(sum(similar[i, j] for i, j in enumerate(order)) for order in permutations(range(6)))
    assert similar[np.arange(6), match(similar)].sum() == pytest.approx(best)


def test_a_permuted_copy_scores_one_and_is_matched_rightly() -> None:
    a = planted(3)
    order = np.random.default_rng(4).permutation(30)
    found = stability(a, a.of(order), seed=0)
    np.testing.assert_allclose(found.scores, 1.0, atol=1e-6)
    np.testing.assert_array_equal(order[found.partners], np.arange(30))
    assert found.summary()["surviving_share"] == 1.0
    assert found.summary()["chance_surviving_share"] == 0.0


def test_what_has_nothing_in_common_scores_as_chance_does() -> None:
    found = stability(planted(5), planted(6), seed=0)
    summary = found.summary()
    assert summary["surviving_share"] == 0.0
    assert summary["mean"] == pytest.approx(summary["chance_mean"], abs=0.03)
    assert summary["chance_mean"] < 0.4


def test_half_of_the_directions_planted_again_are_the_half_that_survives() -> None:
    a, other = planted(7), planted(8)
    again = np.arange(30) < 15
    rng = np.random.default_rng(9)
    W_dec = np.where(again[:, None], a.W_dec + 0.2 * rng.standard_normal(a.W_dec.shape), other.W_dec)
    acts = np.where(again, a.acts + 0.05 * np.abs(rng.standard_normal(a.acts.shape)), other.acts)
    found = stability(a, Code(W_dec, acts), seed=0)
    np.testing.assert_array_equal(found.scores >= SURVIVES, again)
    np.testing.assert_array_equal(found.partners[:15], np.arange(15))


def test_the_direction_alone_or_the_viewers_alone_are_not_enough() -> None:
    a, other = planted(10, d_in=64), planted(11, d_in=64)
    assert stability(a, Code(a.W_dec, other.acts), seed=0).summary()["surviving_share"] == 0.0
    assert stability(a, Code(other.W_dec, a.acts), seed=0).summary()["surviving_share"] == 0.0


def test_a_neuron_that_fires_for_nobody_has_no_stability_and_takes_no_partner() -> None:
    a = planted(12)
    a.acts[:, 3] = 0
    found = stability(a, a, seed=0)
    assert np.isnan(found.scores[3])
    assert found.partners[3] == -1
    assert np.delete(found.scores, 3) == pytest.approx(1)
    assert found.summary()["n_neurons"] == 29
    assert found.partners.max() == 29


def test_where_the_other_has_fewer_neurons_some_go_without_a_match_and_score_nothing() -> None:
    a = planted(13)
    found = stability(a, a.of(np.arange(20)), seed=0)
    assert (found.partners == -1).sum() == 10
    np.testing.assert_array_equal(found.scores[found.partners == -1], 0)
    np.testing.assert_array_equal(found.partners[:20], np.arange(20))


def test_an_sae_without_a_firing_neuron_has_nothing_to_compare() -> None:
    a = planted(14)
    silent = Code(a.W_dec, np.zeros_like(a.acts))
    assert stability(silent, a, seed=0).summary() == {"n_neurons": 0}
    np.testing.assert_array_equal(stability(a, silent, seed=0).scores, 0)


def test_the_same_seed_permutes_alike() -> None:
    one, same, other = (stability(planted(15), planted(16), seed).chance for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_saes_of_other_viewers_are_refused() -> None:
    with pytest.raises(ValueError, match="viewers"):
        stability(planted(1), planted(2, n_users=10), seed=0)
