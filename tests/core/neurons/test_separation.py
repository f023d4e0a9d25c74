"""Figures by hand, then against a naive look at every pair of rows."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import mannwhitneyu

from core.neurons.separation import auc_interval, separation, wilson


def draw(seed, n=90, d=6, f=5):
    """Give activations with ties, a neuron that never fires, and facts, one of which nobody has."""
    rng = np.random.default_rng(seed)
    acts = np.where(rng.random((n, d)) < 0.5, rng.gamma(1, 1, (n, d)), 0).astype(np.float32)
    acts[:, 1] = rng.integers(0, 3, n)
    acts[:, 2] = 0
    acts[::9, 3] = -2
    masks = rng.random((n, f)) < np.linspace(0.1, 0.8, f)
    masks[:, 0] = False
    masks[:, 4] |= acts[:, 0] > 1
    return acts, masks


def test_a_hand_made_neuron():
    # with the fact: 3, 2, 0; without: 2, 0, 0, 0. Pairs won: 4, 3.5, 1.5 of 4 each.
    acts = sparse.csc_matrix(np.array([[3], [2], [0], [2], [0], [0], [0]], np.float32))
    found = separation(acts, np.array([[1], [1], [1], [0], [0], [0], [0]], bool))
    assert found.auc[0, 0] == pytest.approx((4 + 3.5 + 1.5) / 12)
    with_fact, without = np.array([1, 0.875, 0.375]), np.array([0.5, 5 / 6, 5 / 6, 5 / 6])
    assert found.error[0, 0] == pytest.approx(np.sqrt(with_fact.var(ddof=1) / 3 + without.var(ddof=1) / 4))
    assert (found.hits[0, 0], found.top_hits[0, 0], found.n_firing[0]) == (2, 2, 3)
    assert found.correlation[0, 0] == pytest.approx(np.corrcoef([3, 2, 0, 2, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0])[0, 1])


@pytest.mark.parametrize("seed", range(4))
def test_every_figure_is_that_of_a_naive_look_at_all_pairs(seed):
    acts, masks = draw(seed)
    found = separation(sparse.csc_matrix(acts), masks)
    acts = np.maximum(acts, 0)
    for j in range(acts.shape[1]):
        top = sorted(np.flatnonzero(acts[:, j] > 0), key=lambda i: (-acts[i, j], i))[:20]
        for f in range(masks.shape[1]):
            a, b = acts[masks[:, f], j], acts[~masks[:, f], j]
            assert found.hits[j, f] == (a > 0).sum()
            assert found.top_hits[j, f] == masks[top, f].sum()
            if not len(a) or not (acts[:, j] > 0).any():
                assert np.isnan([found.auc[j, f], found.p[j, f], found.correlation[j, f]]).all()
                continue
            wins = (a[:, None] > b) + (a[:, None] == b) / 2
            assert found.auc[j, f] == pytest.approx(wins.mean(), abs=1e-12)
            squared = wins.mean(axis=1).var(ddof=1) / len(a) + wins.mean(axis=0).var(ddof=1) / len(b)
            assert found.error[j, f] == pytest.approx(np.sqrt(squared), rel=1e-9)
            assert found.correlation[j, f] == pytest.approx(np.corrcoef(acts[:, j], masks[:, f])[0, 1], rel=1e-5)


def test_p_is_near_that_of_the_rank_sum_for_large_groups_and_not_absurd_for_a_few_rows():
    rng = np.random.default_rng(0)
    acts = np.where(rng.random((3000, 1)) < 0.4, rng.gamma(1, 1, (3000, 1)), 0).astype(np.float32)
    mask = rng.random((3000, 1)) < 0.3 + 0.03 * (acts > 0)
    expected = mannwhitneyu(acts[mask[:, 0], 0], acts[~mask[:, 0], 0], use_continuity=False).pvalue
    assert separation(sparse.csc_matrix(acts), mask).p[0, 0] == pytest.approx(expected, rel=0.05)
    rare = np.zeros((1600, 1), np.float32)
    rare[:3] = 1  # of 1,600 rows it fires in 3, one of the 10 with the fact: that happens 1.9 % of the time
    fact = np.zeros((1600, 1), bool)
    fact[2:12] = True
    assert 0.002 < separation(sparse.csc_matrix(rare), fact).p[0, 0] < 0.1


def test_chance_is_called_as_often_as_it_says():
    rng = np.random.default_rng(4)
    acts = np.where(rng.random((1500, 400)) < 0.2, rng.gamma(1, 1, (1500, 400)), 0).astype(np.float32)
    p = separation(sparse.csc_matrix(acts), rng.random((1500, 12)) < np.geomspace(0.01, 0.5, 12)).p
    for level in (0.05, 0.01, 0.001):
        assert 0.3 * level < (p <= level).mean() < 1.2 * level


@pytest.mark.parametrize(
    ("n_with", "fires", "shift"), [(10, 0.9, 1.5), (15, 0.25, 0.0), (30, 1.0, 3.0), (60, 0.5, 0.5)]
)
def test_intervals_hold_the_truth_at_least_94_times_of_a_hundred(n_with, fires, shift):
    rng, n, draws = np.random.default_rng(n_with), 500, 1500

    def values(rows, share, mean):
        return np.where(rng.random((rows, draws)) < share, np.exp(rng.normal(mean, 1, (rows, draws))), 0)

    mask = np.arange(n_with + n)[:, None] < n_with
    found = separation(sparse.csc_matrix(np.vstack([values(n_with, fires, shift), values(n, 0.25, 0)])), mask)
    low, high = found.interval()
    truth = found.auc.mean()  # unbiased, and of 1,500 draws
    assert ((low <= truth) & (truth <= high)).mean() >= 0.94
    assert (low[:, 0] < found.auc[:, 0]).all() and (high <= 1).all()


def test_a_few_rows_that_are_parted_entirely_are_not_certain():
    low, high = auc_interval(np.array([1.0, 0.0]), np.zeros(2), np.array([10, 10]), np.array([500, 500]))
    assert 0.8 < low[0] < 0.95 and high[0] == pytest.approx(1, abs=1e-4)
    assert low[1] == pytest.approx(0, abs=1e-4) and 0.05 < high[1] < 0.2
    low, high = auc_interval(np.array([np.nan]), np.array([np.nan]), np.array([3]), np.array([3]))
    assert np.isnan([low, high]).all()


def test_shares_have_wilsons_interval():
    low, high = wilson(np.array([0, 5, 10, 0]), np.array([10, 10, 10, 0]))
    np.testing.assert_allclose(low[:3], [0, 0.2366, 0.7225], atol=1e-4)
    np.testing.assert_allclose(high[:3], [0.2775, 0.7634, 1], atol=1e-4)
    assert np.isnan([low[3], high[3]]).all()


@pytest.mark.parametrize("n", range(4))
def test_next_to_no_rows_give_nothing_rather_than_an_error(n):
    found = separation(sparse.csc_matrix(np.ones((n, 3), np.float32)), np.arange(n)[:, None] < n // 2)
    assert found.auc.shape == (3, 1) and (np.isnan(found.auc) | (found.auc == 0.5)).all()
    assert all(end.shape == (3, 1) for end in found.interval())
