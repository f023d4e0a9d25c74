"""Accuracy of lists: numbers made by hand, then a naive version of each as the oracle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.ranking import (
    hit_at_n,
    map_at_n,
    mean_interval,
    mpr,
    mrr_at_n,
    ndcg_at_n,
    paired_interval,
    precision_at_n,
    recall_at_n,
)

OF_LISTS = (recall_at_n, ndcg_at_n, hit_at_n, precision_at_n, mrr_at_n, map_at_n)


def items(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_recall_divides_by_what_fits_into_the_list() -> None:
    lists = np.array([[5, 3, 1], [5, 3, 1], [5, 3, 1], [5, 3, 1]])
    targets = [items(3, 9), items(5, 3, 1, 8, 9), items(7), items(5)]
    assert recall_at_n(lists, targets, 3).tolist() == [0.5, 1.0, 0.0, 1.0]
    assert recall_at_n(lists, targets, 1).tolist() == [0.0, 1.0, 0.0, 1.0]


def test_ndcg_matches_numbers_made_by_hand() -> None:
    lists = np.array([[5, 3, 1], [5, 3, 1]])
    values = ndcg_at_n(lists, [items(3), items(5, 1)], 3)
    assert values[0] == pytest.approx(1 / math.log2(3))
    assert values[1] == pytest.approx((1 + 0.5) / (1 + 1 / math.log2(3)))


def test_hit_precision_and_reciprocal_rank_match_numbers_made_by_hand() -> None:
    lists = np.array([[5, 3, 1, 8], [5, 3, 1, 8], [5, 3, 1, 8]])
    targets = [items(8, 3), items(5, 3, 1, 8, 9), items(7)]
    assert hit_at_n(lists, targets, 3).tolist() == [1, 1, 0]
    assert hit_at_n(lists, targets, 1).tolist() == [0, 1, 0]
    assert precision_at_n(lists, targets, 4).tolist() == [0.5, 1, 0]
    assert precision_at_n(lists, targets, 2).tolist() == [0.5, 1, 0]
    assert mrr_at_n(lists, targets, 4).tolist() == [0.5, 1, 0]
    assert mrr_at_n(np.array([[5, 3, 8]]), [items(8)], 3) == pytest.approx([1 / 3])
    assert mrr_at_n(np.array([[5, 3, 8]]), [items(8)], 2).tolist() == [0], "beyond n it was not found"


def test_average_precision_matches_numbers_made_by_hand() -> None:
    lists = np.array([[5, 3, 1, 8]])
    assert map_at_n(lists, [items(3, 8)], 4) == pytest.approx([(1 / 2 + 2 / 4) / 2])
    assert map_at_n(lists, [items(5, 9, 10, 11, 12)], 4) == pytest.approx([1 / 4]), "four places hold four at most"
    assert map_at_n(lists, [items(5, 3, 1, 8, 9)], 4).tolist() == [1]


def test_precision_counts_the_places_of_a_list_that_ran_out() -> None:
    assert precision_at_n(np.array([[5, -1, -1, -1]]), [items(5)], 4).tolist() == [0.25]


def test_a_viewer_without_targets_has_no_accuracy() -> None:
    lists = np.array([[0, 1], [0, 1]])
    for metric in OF_LISTS:
        assert np.isnan(metric(lists, [items(), items(0)], 2)).tolist() == [True, False]
    assert np.isnan(mpr(np.zeros((2, 3)), [items(), items(0)], [items(), items()])).tolist() == [True, False]


def test_padding_is_never_a_hit_nor_another_viewers_item() -> None:
    lists = np.array([[2, -1], [-1, -1]])
    for metric in OF_LISTS:
        assert metric(lists, [items(0, 1), items(2)], 2).tolist() == [0.0, 0.0]


def test_a_list_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="say nothing about the first 3"):
        recall_at_n(np.array([[1, 2]]), [items(1)], 3)


def test_lists_and_targets_of_different_viewers_are_refused() -> None:
    with pytest.raises(ValueError, match="rows"):
        ndcg_at_n(np.array([[1, 2]]), [items(1), items(2)], 2)


def test_mpr_is_zero_for_the_best_and_one_for_the_last_unseen_item() -> None:
    scores = np.array([[9.0, 1.0, 2.0, 3.0, 4.0]])
    seen = [items(0)]
    assert mpr(scores, [items(4)], seen).tolist() == [0.0]
    assert mpr(scores, [items(1)], seen).tolist() == [1.0]
    assert mpr(scores, [items(3, 2)], seen).tolist() == [0.5]


def test_equal_scores_share_their_percentile() -> None:
    assert mpr(np.zeros((1, 5)), [items(0)], [items()]).tolist() == [0.5]
    assert mpr(np.array([[1.0, 1.0, 0.0]]), [items(0)], [items()]).tolist() == [0.25]


def test_mpr_refuses_a_target_that_was_seen_and_scores_that_are_no_numbers() -> None:
    with pytest.raises(ValueError, match="has seen a target"):
        mpr(np.zeros((1, 3)), [items(1)], [items(1)])
    with pytest.raises(ValueError, match="NaN"):
        mpr(np.array([[np.nan, 1.0]]), [items(1)], [items()])


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], list[np.ndarray], int]:
    """Scores with ties, their lists, targets, seen items and a length."""
    n_users, n_items = draw(st.integers(1, 4)), draw(st.integers(3, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = random.integers(0, 5, (n_users, n_items)).astype(float)
    parts = [np.split(random.permutation(n_items), np.sort(random.integers(0, n_items + 1, 2))) for _ in range(n_users)]
    targets, seen = [p[0] for p in parts], [p[1] for p in parts]
    n = draw(st.integers(1, n_items))
    lists = np.full((n_users, n), -1)
    for user in range(n_users):
        best = [i for i in np.argsort(-scores[user], kind="stable") if i not in seen[user]][:n]
        lists[user, : len(best)] = best
    return scores, lists, targets, seen, n


@given(cases())
def test_hit_precision_reciprocal_rank_and_average_precision_equal_a_naive_loop(case: tuple) -> None:
    _, lists, targets, _, n = case
    found = {metric: metric(lists, targets, n) for metric in (hit_at_n, precision_at_n, mrr_at_n, map_at_n)}
    for user, wanted in enumerate(targets):
        if not len(wanted):
            assert all(np.isnan(values[user]) for values in found.values())
            continue
        hits, first, area = 0, 0.0, 0.0
        for place in range(1, n + 1):
            for target in wanted:
                if lists[user, place - 1] == target:
                    hits += 1
                    first = first or 1 / place
                    area += hits / place
        assert found[hit_at_n][user] == (hits > 0)
        assert found[precision_at_n][user] == pytest.approx(hits / n)
        assert found[mrr_at_n][user] == pytest.approx(first)
        assert found[map_at_n][user] == pytest.approx(area / min(n, len(wanted)))


def test_no_viewers_have_no_values() -> None:
    for metric in OF_LISTS:
        assert metric(np.empty((0, 3), np.int32), [], 3).shape == (0,)


@given(cases())
def test_recall_ndcg_and_mpr_equal_a_naive_loop(case: tuple) -> None:
    scores, lists, targets, seen, n = case
    recall, ndcg, percentile = recall_at_n(lists, targets, n), ndcg_at_n(lists, targets, n), mpr(scores, targets, seen)
    for user, wanted in enumerate(targets):
        if not len(wanted):
            assert np.isnan([recall[user], ndcg[user], percentile[user]]).all()
            continue
        gain = found = 0.0
        for place, item in enumerate(lists[user]):
            for target in wanted:
                if item == target:
                    found += 1
                    gain += 1 / math.log2(place + 2)
        assert recall[user] == pytest.approx(found / min(n, len(wanted)))
        assert ndcg[user] == pytest.approx(gain / sum(1 / math.log2(r + 2) for r in range(min(n, len(wanted)))))
        unseen = [i for i in range(scores.shape[1]) if i not in seen[user]]
        worse = 0.0
        for target in wanted:
            for other in set(unseen) - {target}:
                difference = scores[user, other] - scores[user, target]
                worse += 1.0 if difference > 0 else 0.5 if difference == 0 else 0.0
        assert percentile[user] == pytest.approx(worse / len(wanted) / max(len(unseen) - 1, 1))


def test_the_interval_of_a_constant_ratio_is_that_ratio() -> None:
    before = np.random.default_rng(0).random(50)
    assert paired_interval(before, before * 0.9, seed=1) == pytest.approx((-0.1, -0.1, -0.1))


def test_the_interval_covers_the_truth_about_95_times_in_a_hundred() -> None:
    random, covered = np.random.default_rng(0), 0
    for trial in range(200):
        ease = random.random(200)
        _, low, high = paired_interval(ease, ease * (0.9 + random.normal(0, 0.3, 200)), seed=trial, n_boot=300)
        covered += low <= -0.1 <= high
    assert 180 <= covered <= 199


def test_pairing_makes_the_interval_narrower_than_the_viewers_differ() -> None:
    random = np.random.default_rng(0)
    before = random.random(400)
    after = before * 0.98
    mean, low, high = paired_interval(before, after + random.normal(0, 0.001, 400), seed=0)
    assert mean == pytest.approx(-0.02, abs=0.002) and high - low < 0.002


def test_viewers_without_a_value_are_left_out_and_nothing_gives_nan() -> None:
    before, after = np.array([1.0, np.nan, 1.0]), np.array([2.0, 5.0, 2.0])
    assert paired_interval(before, after, seed=0) == pytest.approx((1.0, 1.0, 1.0))
    assert np.isnan(paired_interval(np.array([np.nan]), np.array([1.0]), seed=0)).all()
    assert np.isnan(paired_interval(np.zeros(3), np.ones(3), seed=0)).all()


def test_resamples_without_anything_before_leave_the_interval_finite() -> None:
    mean, low, high = paired_interval(np.array([0.0, 0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0]), seed=0)
    assert mean == 1.0 and 0 <= low <= mean <= high < np.inf


def test_the_interval_is_the_same_for_the_same_seed_only() -> None:
    random = np.random.default_rng(0)
    before, after = random.random(30), random.random(30)
    assert paired_interval(before, after, seed=1) == paired_interval(before, after, seed=1)
    assert paired_interval(before, after, seed=1) != paired_interval(before, after, seed=2)


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(0).normal(3, 1, 900)
    mean, low, high = mean_interval(values, seed=0)
    assert mean == pytest.approx(values.mean())
    assert mean - low == pytest.approx(1.96 / 30, rel=0.1) and high - mean == pytest.approx(1.96 / 30, rel=0.1)


def test_the_interval_of_a_mean_covers_the_truth_about_95_times_in_a_hundred() -> None:
    random = np.random.default_rng(0)
    intervals = [mean_interval(random.exponential(1, 150), seed=trial, n_boot=300) for trial in range(200)]
    assert 180 <= sum(low <= 1 <= high for _, low, high in intervals) <= 198


def test_a_mean_leaves_out_what_has_no_value_and_nothing_gives_nan() -> None:
    assert mean_interval(np.array([2.0, np.nan, 2.0]), seed=0) == (2.0, 2.0, 2.0)
    assert np.isnan(mean_interval(np.array([np.nan]), seed=0)).all()
    assert np.isnan(mean_interval(np.empty(0, np.float32), seed=0)).all()


def test_an_interval_does_not_depend_on_how_many_resamples_are_drawn_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(37)
    whole = mean_interval(values, seed=3), paired_interval(values, values**2, seed=3)
    monkeypatch.setattr("core.evaluation.ranking.DRAWS", 100)
    assert (mean_interval(values, seed=3), paired_interval(values, values**2, seed=3)) == whole
