"""How lists look and how alike they are: numbers made by hand, laws, and naive oracles."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from core.evaluation.lists import (
    average_popularity,
    coverage,
    gini,
    intra_list_diversity,
    kendall,
    long_tail_coverage,
    novelty,
    overlap,
    rbo,
)


def lists(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.int32)


def test_coverage_counts_distinct_items_and_no_padding() -> None:
    assert coverage(lists([0, 1, -1], [1, 2, -1]), 6) == 0.5
    assert coverage(lists([-1, -1]), 6) == 0.0


def test_gini_is_zero_for_equal_exposure_and_high_for_one_item() -> None:
    assert gini(lists([0, 1], [2, 3]), 4) == pytest.approx(0.0)
    assert gini(lists([0], [0], [0]), 10) == pytest.approx(0.9)
    assert gini(lists([0, 1], [0, -1]), 2) == pytest.approx(1 / 6)


def test_gini_of_no_places_is_not_a_number() -> None:
    assert np.isnan(gini(lists([-1, -1]), 4))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_gini_equals_the_mean_difference_of_all_pairs(places: list[int]) -> None:
    counts = np.bincount(places, minlength=6)
    naive = sum(abs(int(x) - int(y)) for x in counts for y in counts) / (2 * 6 * counts.sum())
    assert gini(np.array([places]), 6) == pytest.approx(naive)


def test_overlap_is_the_share_in_common_of_the_longer_list() -> None:
    a, b = lists([1, 2, 3, 4], [1, 2, -1, -1], [-1, -1, -1, -1]), lists([4, 9, 8, 1], [2, 1, 5, 6], [-1, -1, -1, -1])
    assert overlap(a, b)[:2].tolist() == [0.5, 0.5]
    assert np.isnan(overlap(a, b)[2])


def test_rbo_matches_numbers_made_by_hand() -> None:
    a, b = lists([1, 2], [1, 2], [1, 2]), lists([1, 2], [2, 1], [3, 1])
    # p = 0.5: weights 1 and 0.5 of a total of 1.5.
    assert rbo(a, b, p=0.5) == pytest.approx([1.0, 0.5 / 1.5, 0.25 / 1.5])


def test_rbo_of_identical_lists_is_one_at_every_length() -> None:
    a = np.stack([np.random.default_rng(s).permutation(100)[:30] for s in range(3)])
    a[1, 20:], a[2, 1:] = -1, -1
    assert rbo(a, a) == pytest.approx([1.0, 1.0, 1.0])


def test_rbo_and_kendall_of_two_empty_lists_are_not_numbers() -> None:
    a = lists([-1, -1])
    assert np.isnan(rbo(a, a)).all() and np.isnan(kendall(a, a)).all()


def test_kendall_is_one_for_the_same_and_minus_one_for_the_reversed_order() -> None:
    a, b = lists([1, 2, 3], [1, 2, 3]), lists([1, 2, 3], [3, 2, 1])
    assert kendall(a, b) == pytest.approx([1.0, -1.0])


def test_kendall_puts_absent_items_last() -> None:
    # Union 1, 2, 3: ranks (0, 1, 2) and (0, 2, 1): two pairs agree, one does not.
    assert kendall(lists([1, 2]), lists([1, 3])) == pytest.approx([1 / 3])
    # Disjoint lists of 2: 4 pairs disagree, one pair is tied on each side: -4 / 5.
    assert kendall(lists([1, 2]), lists([3, 4])) == pytest.approx([-0.8])


def test_lists_of_different_shapes_cannot_be_compared() -> None:
    for measure in (overlap, rbo, kendall):
        with pytest.raises(ValueError, match="cannot be compared"):
            measure(lists([1, 2]), lists([1, 2, 3]))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of some rows, of all lengths from 0."""
    n = draw(st.integers(1, 7))
    row = st.lists(st.integers(0, 9), unique=True, max_size=n)
    rows = draw(st.lists(st.tuples(row, row), min_size=1, max_size=4))
    a, b = (np.array([r[side] + [-1] * (n - len(r[side])) for r in rows]) for side in (0, 1))
    return a, b


@given(pairs())
def test_rbo_equals_a_naive_loop_and_kendall_equals_scipy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    n = a.shape[1]
    fast_rbo, fast_tau = rbo(a, b, 0.8), kendall(a, b)
    for row in range(len(a)):
        x, y = ([i for i in side[row] if i >= 0] for side in (a, b))
        depth = max(len(x), len(y))
        if depth:
            naive = (
                sum(0.8 ** (d - 1) * len({*x[:d]} & {*y[:d]}) / d for d in range(1, depth + 1)) * 0.2 / (1 - 0.8**depth)
            )
            assert fast_rbo[row] == pytest.approx(naive)
        else:
            assert np.isnan(fast_rbo[row])
        union = sorted({*x, *y})
        ranks = [[side.index(i) if i in side else n for i in union] for side in (x, y)]
        tau = kendalltau(*ranks, variant="b").statistic if len(union) > 1 else np.nan
        assert fast_tau[row] == pytest.approx(tau, nan_ok=True)


@given(pairs())
def test_similarities_are_symmetric_and_within_their_range(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    for measure, low in ((overlap, 0), (rbo, 0), (kendall, -1)):
        one, other = measure(a, b), measure(b, a)
        assert one == pytest.approx(other, nan_ok=True)
        finite = one[~np.isnan(one)]
        assert (finite >= low - 1e-9).all() and (finite <= 1 + 1e-9).all()


def test_many_rows_give_the_same_as_each_row_alone() -> None:
    random = np.random.default_rng(0)
    a, b = (np.stack([random.permutation(40)[:10] for _ in range(600)]) for _ in range(2))
    for measure in (overlap, rbo, kendall):
        alone = np.concatenate([measure(a[[row]], b[[row]]) for row in range(250, 270)])
        assert np.array_equal(measure(a, b)[250:270], alone)
        assert measure(a[:0], b[:0]).shape == (0,)


def test_long_tail_coverage_asks_only_for_the_items_of_the_mask() -> None:
    shown = lists([0, 1, -1], [1, 2, -1])
    assert long_tail_coverage(shown, np.array([False, False, True, True])) == 0.5
    assert long_tail_coverage(shown, np.array([True, True, False, False])) == 1.0
    assert long_tail_coverage(shown, np.ones(4, bool)) == coverage(shown, 4)
    assert long_tail_coverage(lists([-1, -1]), np.ones(4, bool)) == 0.0
    assert np.isnan(long_tail_coverage(shown, np.zeros(4, bool)))


def test_popularity_is_of_places_and_not_of_distinct_items() -> None:
    # Item 0 is shown three times of four: (3 * 0.9 + 0.1) / 4, where the mean over the two items would be 0.5.
    assert average_popularity(lists([0, -1], [0, -1], [0, 1]), np.array([0.9, 0.1])) == pytest.approx(0.7)
    assert np.isnan(average_popularity(lists([-1, -1]), np.array([0.9, 0.1])))


def test_novelty_is_in_bits_and_finite_for_an_item_that_nobody_knows() -> None:
    counts = np.array([8, 2, 1, 0])
    assert novelty(lists([0, 1]), counts, 8) == 1.0
    assert novelty(lists([2, -1]), counts, 8) == novelty(lists([3, -1]), counts, 8) == 3.0
    assert np.isnan(novelty(lists([-1, -1]), counts, 8)) and np.isnan(novelty(lists([0, 1]), counts, 0))


def test_diversity_matches_numbers_made_by_hand() -> None:
    vectors = np.array([[3.0, 0.0], [0.0, 0.1], [-2.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    shown = lists([0, 1, -1], [0, 2, -1], [0, 3, -1], [0, 1, 3], [0, 4, -1], [4, 4, -1])
    half = 1 - math.sqrt(0.5)
    assert intra_list_diversity(shown, vectors) == pytest.approx([1, 2, half, (1 + 2 * half) / 3, 1, 1])
    assert np.isnan(intra_list_diversity(lists([0, -1], [-1, -1]), vectors)).all()
    assert intra_list_diversity(lists([0, 1])[:0], vectors).shape == (0,)


def test_lists_of_one_genre_are_not_diverse_and_masks_of_genres_are_vectors_too() -> None:
    genres = np.array([[True, False], [True, False], [False, True], [True, True]])
    expected = pytest.approx([0, 1, 1 - math.sqrt(0.5)])
    assert intra_list_diversity(lists([0, 1], [0, 2], [0, 3]), genres) == expected
    assert intra_list_diversity(lists([0, 1], [0, 2], [0, 3]), genres.astype(np.int8)) == expected


def test_diversity_is_measured_without_the_vectors_of_all_places_at_once() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 500)).astype(np.float32)
    shown = np.stack([np.random.default_rng(s).permutation(200)[:10] for s in range(2000)])
    tracemalloc.start()
    intra_list_diversity(shown, vectors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000 < shown.size * 500 * 4


@given(pairs(), st.integers(0, 2**32))
def test_exposure_novelty_and_diversity_equal_a_naive_loop(pair: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    shown, random = pair[0], np.random.default_rng(seed)
    counts, tail = random.integers(0, 9, 10), random.random(10) < 0.5
    vectors = random.normal(size=(10, 3)) * random.integers(0, 2, (10, 1))
    popularity, bits, diversities, seen = [], [], [], set()
    for row in shown:
        unlike = []
        for k, i in enumerate(row):
            if i < 0:
                continue
            popularity.append(counts[i] / 9)
            bits.append(math.log2(9 / max(counts[i], 1)))
            seen.add(int(i))
            for j in row[k + 1 :]:
                if j >= 0:
                    lengths = math.sqrt(sum(x * x for x in vectors[i])) * math.sqrt(sum(x * x for x in vectors[j]))
                    inner = sum(x * y for x, y in zip(vectors[i], vectors[j], strict=True))
                    unlike.append(1 - (inner / lengths if lengths else 0))
        diversities.append(sum(unlike) / len(unlike) if unlike else math.nan)
    covered = [int(i) in seen for i in np.flatnonzero(tail)]
    nan = {"nan_ok": True}
    assert long_tail_coverage(shown, tail) == pytest.approx(np.mean(covered) if covered else math.nan, **nan)
    assert average_popularity(shown, counts / 9) == pytest.approx(
        np.mean(popularity) if popularity else math.nan, **nan
    )
    assert novelty(shown, counts, 9) == pytest.approx(np.mean(bits) if bits else math.nan, **nan)
    assert intra_list_diversity(shown, vectors) == pytest.approx(diversities, abs=1e-9, **nan)
