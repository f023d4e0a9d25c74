"""Two groups apart: by hand, against other programs, under chance, and against what was planted."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from core.errors import DataError
from core.neurons.contrast import Contrast, adjusted, contrast


def halves(n_a: int, n_b: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the masks of the first n_a rows and of those after them."""
    first = np.arange(n_a + n_b) < n_a
    return first, ~first


def rare(rng: np.random.Generator, n: int, d_sae: int) -> np.ndarray:
    """Draw activations as those of SAEs: mostly 0, skewed where they are not."""
    fires = rng.random((n, d_sae)) < 0.2
    return np.where(fires, rng.gamma(2.0, 1.0, (n, d_sae)), 0).astype(np.float32)


def test_two_groups_by_hand() -> None:
    acts = np.array([[2.0], [4.0], [6.0], [1.0], [3.0]])
    found = contrast(acts, *halves(3, 2)).frame.iloc[0]
    # variances 4 and 2, pooled (2 * 4 + 1 * 2) / 3
    assert found["d"] == pytest.approx((4 - 2) / np.sqrt(10 / 3))
    assert (found["mean_a"], found["mean_b"]) == (4.0, 2.0)


def test_the_sign_says_in_which_group_it_is_more_and_nothing_else() -> None:
    acts = rare(np.random.default_rng(0), 200, 6)
    a, b = halves(80, 120)
    one, other = contrast(acts, a, b).frame, contrast(acts, b, a).frame
    assert np.allclose(one["d"], -other["d"]) and np.allclose(one["low"], -other["high"])
    assert np.allclose(one["q"], other["q"])


def test_d_q_and_the_test_of_welch_are_those_of_scipy() -> None:
    acts = rare(np.random.default_rng(1), 150, 40)
    a, b = halves(60, 90)
    found = contrast(acts, a, b).frame
    x, y = acts[a].astype(float), acts[b].astype(float)
    welch = stats.ttest_ind(x, y, equal_var=False)
    assert np.allclose(found["p_welch"], welch.pvalue, rtol=1e-9)
    # Student's t is d / sqrt(1/n_A + 1/n_B)
    assert np.allclose(found["d"], stats.ttest_ind(x, y).statistic * np.sqrt(1 / 60 + 1 / 90), rtol=1e-9)
    assert np.allclose(found["q"], stats.false_discovery_control(found["p"], method="bh"), rtol=1e-12)


def test_normal_groups_of_one_spread_have_the_interval_of_hedges_and_olkin() -> None:
    rng, n = np.random.default_rng(2), 200_000
    acts = np.concatenate([rng.normal(1.0, 1.0, (n, 1)), rng.normal(0.0, 1.0, (n, 1))])
    found = contrast(acts, *halves(n, n)).frame.iloc[0]
    half = 1.959964 * np.sqrt(2 / n + found["d"] ** 2 / (4 * n))
    assert (found["high"] - found["low"]) / 2 == pytest.approx(half, rel=0.01)


def test_intervals_of_skewed_activations_hold_the_true_value_as_often_as_they_say() -> None:
    rng, repeats, n_a, n_b = np.random.default_rng(3), 4000, 150, 400
    a, b = halves(n_a, n_b)
    acts = np.concatenate([2 * rare(rng, n_a, repeats), rare(rng, n_b, repeats)])
    # a share f of Gamma(2, scale): mean 2 f scale, mean square 6 f scale^2
    mean, square = np.array([2 * 0.2 * 2, 2 * 0.2]), np.array([6 * 0.2 * 4, 6 * 0.2])
    variance = square - mean**2
    true = (mean[0] - mean[1]) / np.sqrt(((n_a - 1) * variance[0] + (n_b - 1) * variance[1]) / (n_a + n_b - 2))
    found = contrast(acts, a, b).frame
    assert 0.93 <= ((found["low"] <= true) & (true <= found["high"])).mean() <= 0.97


def test_a_dead_neuron_and_one_that_never_varies_are_not_compared() -> None:
    acts = rare(np.random.default_rng(4), 50, 4)
    acts[:, 1], acts[:, 2] = 0, 0.1
    found = contrast(acts, *halves(20, 30))
    assert found.frame["d"].isna().tolist() == [False, True, True, False]
    assert found.frame.loc[1, ["low", "high", "p", "q"]].isna().all() and found.frame["mean_a"][2] == np.float32(0.1)
    assert found.n_compared == 2 and set(found.largest(9)["neuron"]) == {0, 3}
    alone = contrast(acts[:, [0, 3]], *halves(20, 30)).frame
    assert np.allclose(found.frame["q"].dropna(), alone["q"])  # those that stay out do not count as tests


def test_a_group_that_never_fires_can_be_compared_with_one_that_does() -> None:
    acts = np.array([[1.0], [2.0], [3.0], [0.0], [0.0], [0.0]])
    found = contrast(acts, *halves(3, 3)).frame.iloc[0]
    assert found["d"] == pytest.approx(2 / np.sqrt(0.5)) and np.isfinite(found["high"]) and found["p"] < 0.1


def test_groups_may_overlap_and_it_is_said() -> None:
    acts = rare(np.random.default_rng(5), 30, 3)
    a, b = np.arange(30) < 20, np.arange(30) >= 15
    found = contrast(acts, a, b)
    assert (found.n_a, found.n_b, found.n_both) == (20, 15, 5)
    assert contrast(acts, a, a).frame["d"].fillna(0).eq(0).all()


@pytest.mark.parametrize(("n_a", "n_b", "name"), [(0, 9, "A has 0 members"), (8, 1, "B has 1 member:")])
def test_a_group_of_fewer_than_two_is_refused(n_a: int, n_b: int, name: str) -> None:
    with pytest.raises(DataError, match=name) as caught:
        contrast(np.ones((n_a + n_b, 2)), *halves(n_a, n_b))
    assert "larger" in caught.value.fix


def test_masks_of_another_length_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="rows"):
        contrast(np.ones((5, 2)), *halves(2, 2))


def test_dense_and_sparse_activations_of_many_chunks_give_the_same() -> None:
    acts = rare(np.random.default_rng(6), 40, 1100)
    a, b = halves(15, 25)
    pd.testing.assert_frame_equal(contrast(acts, a, b).frame, contrast(sparse.csc_matrix(acts), a, b).frame)
    alone = [contrast(acts[:, [j]], a, b).frame["d"][0] for j in (0, 511, 512, 1099)]
    assert np.allclose(contrast(acts, a, b).frame["d"][[0, 511, 512, 1099]], alone)


def test_p_is_that_of_all_permutations() -> None:
    rng = np.random.default_rng(10)
    acts = rare(rng, 200, 12)
    acts[:30, :4] *= 1.6
    a, b = halves(30, 170)
    found = contrast(acts, a, b).frame
    means = np.array([acts[rng.permutation(200)[:30]].mean(axis=0) for _ in range(20_000)])
    seen = acts[a].mean(axis=0)
    beyond = 2 * np.minimum((means >= seen).mean(axis=0), (means <= seen).mean(axis=0)).clip(max=0.5)
    assert (found["p"] >= 0.85 * beyond - 0.005).all()  # never much surer than all permutations are
    assert np.abs(found["p"] - beyond).max() < 0.06


@pytest.mark.parametrize("n_a", [30, 120, 300])
def test_groups_that_mean_nothing_are_told_apart_in_one_of_twenty_draws_at_most(n_a: int) -> None:
    rng = np.random.default_rng(7)
    acts = rare(rng, 600, 120)
    called, shares = [], []
    for _ in range(100):
        a = rng.permutation(600) < n_a
        found = contrast(acts, a, ~a)
        called.append(found.n_called > 0)
        shares.append(found.n_called / found.n_compared)
    assert np.mean(called) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)
    assert np.mean(shares) <= 0.05


def test_what_was_added_to_one_group_is_found_and_ranked_by_size() -> None:
    acts = rare(np.random.default_rng(8), 800, 100)
    acts[:300, 7] += 1.5
    acts[:300, 20] += 0.8
    acts[300:, 55] += 1.2
    found: Contrast = contrast(acts, *halves(300, 500))
    assert found.largest(3)["neuron"].tolist() == [7, 20, 55]
    assert 3 <= found.n_called <= 6


def test_q_values_never_fall_as_p_rises_and_none_is_below_it() -> None:
    p = np.random.default_rng(9).random(50) ** 3
    q = adjusted(p)
    assert (np.diff(q[np.argsort(p)]) >= 0).all() and (q >= p).all() and (q <= 1).all()
    naive = [min(1, *(v * 50 / (p <= v).sum() for v in p[p >= x])) for x in p]
    assert np.allclose(q, naive)
