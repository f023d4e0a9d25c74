"""Whatever way rows are cut into shards and put together again, the figures are those of all rows at once."""

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from core.neurons import shards
from core.neurons.shards import (
    LOWEST,
    QUANTILE_ERROR,
    Shard,
    edges,
    merge,
    merge_pairs,
    sampled,
    shard_pairs,
    shard_stats,
    shards_of,
    stream_pairs,
    stream_stats,
)
from core.sae.model import SAE, SAEConfig

N, D, TOP = 700, 9, 12


def draw(seed, n=N, d=D):
    """Give activations of many sizes, with ties, a neuron that never fires and one that always does."""
    rng = np.random.default_rng(seed)
    acts = np.exp(rng.normal(size=(n, d)) * 2).astype(np.float32)
    acts[rng.random((n, d)) < 0.6] = 0
    acts[:, 0] = 0
    acts[:, 1] = rng.integers(1, 4, n)
    acts[:, 2] = np.where(rng.random(n) < 0.05, 2.5, 0)
    acts[rng.random((n, d)) < 0.01] = -1
    return acts


def shard(acts, ids):
    return Shard(np.asarray(ids), sparse.csr_matrix(acts))


def same(a, b):
    assert a.n_rows == b.n_rows
    for name in ("counts", "mantissas", "top"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_the_figures_of_a_hand_made_shard():
    stats = shard_stats(shard(np.array([[0.0, 1.0], [2.0, 1.0], [0.5, -3.0]], np.float32), [7, 5, 6]), 3)
    assert stats.n_rows == 3
    assert stats.n_firing.tolist() == [2, 2]
    assert stats.total.tolist() == [2.5, 2.0]
    assert stats.highest.tolist() == [2.0, 1.0]
    assert stats.top_ids.tolist() == [[5, 6, -1], [5, 7, -1]]  # equal ones by id
    np.testing.assert_array_equal(stats.top_values, [[2.0, 0.5, np.nan], [1.0, 1.0, np.nan]])
    assert stats.histogram(np.array([2.0, 1.0]), 2).tolist() == [[1, 1], [0, 2]]


@pytest.mark.parametrize("seed", range(4))
def test_one_pass_gives_what_a_naive_look_at_all_rows_gives(seed):
    acts, ids = draw(seed), np.random.default_rng(seed + 50).permutation(10 * N)[:N]
    stats = shard_stats(shard(acts, ids), TOP)
    for j in range(D):
        fires = np.flatnonzero(acts[:, j] > 0)
        best = sorted(fires, key=lambda i: (-acts[i, j], ids[i]))[:TOP]
        assert stats.n_firing[j] == len(fires)
        assert stats.total[j] == pytest.approx(sum(float(acts[i, j]) for i in fires), rel=1e-14)
        assert stats.highest[j] == (max(acts[i, j] for i in fires) if len(fires) else 0)
        assert stats.top_ids[j].tolist() == [ids[i] for i in best] + [-1] * (TOP - len(best))
        assert stats.top_values[j][: len(best)].tolist() == [acts[i, j] for i in best]
        borders = edges()
        inside = [int(((acts[fires, j] >= a) & (acts[fires, j] < b)).sum()) for a, b in pairwise(borders)]
        np.testing.assert_array_equal(stats.counts[j], inside)


@pytest.mark.parametrize("seed", range(6))
def test_any_split_into_shards_and_any_order_and_association_of_merges_is_one_pass(seed):
    rng, acts = np.random.default_rng(seed), draw(seed)
    whole = shard_stats(shard(acts, np.arange(N)), TOP)
    rows = rng.permutation(N)
    cuts = np.sort(rng.integers(0, N + 1, 6))  # some shards may be empty
    parts = [shard(acts[part], part) for part in np.split(rows, cuts)]
    same(stream_stats(parts, D, TOP), whole)
    stats = [shard_stats(part, TOP) for part in parts]
    same(reduce(merge, stats), whole)
    same(reduce(lambda a, b: merge(b, a), reversed(stats)), whole)
    while len(stats) > 1:
        i = int(rng.integers(len(stats) - 1))
        stats[i : i + 2] = [merge(stats[i + 1], stats[i])]
    same(stats[0], whole)


def test_sums_are_exact_where_adding_floats_would_lose_the_small_ones():
    acts = np.array([[2.0**40], *[[2.0**-20]] * 3000], np.float32)
    parts = [shard_stats(shard(acts[i : i + 1], [i]), 1) for i in range(len(acts))]
    assert reduce(merge, parts).total[0] == 2.0**40 + 3000 * 2.0**-20


@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_quantiles_are_those_of_all_values_within_the_stated_error_and_exact_among_the_largest(q):
    acts = draw(3, 5000)
    found = shard_stats(shard(acts, np.arange(5000)), 20).quantile(q)
    assert np.isnan(found[0])
    for j in range(1, D):
        values = acts[acts[:, j] > 0, j].astype(np.float64)
        largest = (len(values) - 1) * (1 - q) <= 18
        assert found[j] == pytest.approx(np.quantile(values, q), rel=1e-6 if largest else QUANTILE_ERROR)
    few = np.array([[1.0], [0.0], [3.0], [10.0]], np.float32)
    assert shard_stats(shard(few, np.arange(4)), 20).quantile(q)[0] == pytest.approx(np.quantile([1, 3, 10], q))


def test_equal_bins_hold_every_firing_once_and_are_off_by_less_than_the_fine_bins_at_their_borders():
    acts = draw(5, 5000)
    stats = shard_stats(shard(acts, np.arange(5000)), 1)
    highest = acts.max(axis=0) * np.float32(1.25)
    coarse = stats.histogram(highest, 40)
    np.testing.assert_array_equal(coarse.sum(axis=1), (acts > 0).sum(axis=0))
    for j in range(1, D):
        values, borders = acts[acts[:, j] > 0, j], np.linspace(0, highest[j], 41)
        exact = np.array([(values < b).sum() for b in borders[1:-1]])
        at_border = stats.counts[j][np.searchsorted(edges(), borders[1:-1], side="right") - 1]
        assert (np.abs(np.cumsum(coarse[j])[:-1] - exact) <= at_border + 0.5).all()


def test_values_beyond_the_bins_are_counted_in_the_outermost_ones():
    acts = np.array([[2.0 ** (LOWEST - 9)], [2.0**40], [0.0]], np.float32)
    stats = shard_stats(shard(acts, np.arange(3)), 2)
    assert stats.counts[0, 0] == 1 and stats.counts[0, -1] == 1 and stats.n_firing[0] == 2
    assert stats.total[0] == 2.0**40 + 2.0 ** (LOWEST - 9)


def test_shards_that_do_not_go_together_are_refused():
    one = shard_stats(shard(draw(0), np.arange(N)), 3)
    with pytest.raises(ValueError, match="do not go together"):
        merge(one, shard_stats(shard(draw(0), np.arange(N)), 4))
    with pytest.raises(ValueError, match="row numbers below"):
        shard_stats(shard(draw(0), np.arange(N) - 1), 3)
    with pytest.raises(ValueError, match="not a finite number"):
        shard_stats(shard(np.full((1, 2), np.nan, np.float32), [0]), 3)
    with pytest.raises(ValueError, match=r"expected \(3, 9\)"):
        shard_stats(Shard(np.arange(3), sparse.csr_matrix(draw(0))), 3)


def test_pairs_that_fire_together_by_hand():
    acts = np.array([[1, 2, 0], [3, 4, 0], [5, 0, -1], [0, 0, 1]], np.float32)
    pairs = shard_pairs(shard(acts, np.arange(4)))
    assert pairs.counts.tolist() == [[3, 2, 0], [2, 2, 0], [0, 0, 1]]
    np.testing.assert_allclose(pairs.lift()[0], [4 / 3, 4 * 2 / 6, 0])
    np.testing.assert_allclose(pairs.lift(np.array([2])), [[0, 0, 4]])


@pytest.mark.parametrize("seed", range(3))
def test_pairs_of_any_split_are_those_of_a_naive_count(seed):
    rng, acts = np.random.default_rng(seed), draw(seed)
    fires = (acts > 0).astype(int)
    parts = [shard(acts[p], p) for p in np.split(rng.permutation(N), np.sort(rng.integers(0, N, 4)))]
    for found in (stream_pairs(parts, D), reduce(merge_pairs, map(shard_pairs, parts))):
        np.testing.assert_array_equal(found.counts, fires.T @ fires)
        assert found.n_rows == N
        assert np.isnan(found.lift()[0]).all() and np.isnan(found.lift()[:, 0]).all()


def test_a_sample_is_the_same_wherever_a_row_lies_and_about_as_large_as_asked_for():
    ids = np.arange(100_000)
    chosen = sampled(ids, len(ids), 5000)
    assert abs(int(chosen.sum()) - 5000) < 5 * np.sqrt(5000)
    order = np.random.default_rng(0).permutation(ids)
    np.testing.assert_array_equal(sampled(order, len(ids), 5000), chosen[order])
    assert abs(chosen[:1000].mean() - 0.05) < 0.03  # not the first ones
    assert sampled(ids[:10], 10, 5000).all()


@pytest.mark.parametrize("gate", ["topk", "relu", "threshold"])
@pytest.mark.parametrize("normalisation", ["none", "unit", "sample", "global"])
def test_shards_hold_the_activations_of_the_sae(gate, normalisation):
    rng = np.random.default_rng(1)
    d_in, d_sae, n = 5, 40, 600
    weights = [rng.normal(size=s).astype(np.float32) for s in ((d_in, d_sae), (d_sae,), (d_sae, d_in), (d_in,))]
    threshold = rng.normal(size=d_sae).astype(np.float32) if gate == "threshold" else np.zeros(0, np.float32)
    config = SAEConfig(d_in, d_sae, gate, 7 if gate == "topk" else 0, normalisation, gate != "relu")
    sae, X = SAE(config, *weights, threshold, 2.0), rng.normal(size=(n, d_in)).astype(np.float32)
    rows = rng.permutation(n)
    parts = list(shards_of(sae, X.__getitem__, rows))
    np.testing.assert_array_equal(np.concatenate([part.ids for part in parts]), rows)
    np.testing.assert_allclose(sparse.vstack([part.acts for part in parts]).toarray(), sae.encode(X)[rows], atol=1e-5)
    assert list(shards_of(sae, X.__getitem__, rows[:0])) == []


def test_the_viewers_of_a_build_are_the_same_in_shards_of_seven(tiny_run, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 7)
    parts, table = list(tiny_run.shards("viewers")), tiny_run.table
    assert max(len(part.ids) for part in parts) == 7
    stats = stream_stats(parts, tiny_run.sae.config.d_sae, 20)
    np.testing.assert_array_equal(stats.top_ids, table.top_users)
    np.testing.assert_array_equal(stats.n_firing, table.frame["n_users_firing"])
    np.testing.assert_allclose(stats.total / stats.n_firing, table.frame["mean_activation"], rtol=1e-5)
    some = next(tiny_run.shards("items", np.array([5, 3])))
    probes = tiny_run.recommender.probe_items()[[5, 3]]
    np.testing.assert_allclose(some.acts.toarray(), tiny_run.sae.encode(probes), atol=1e-5)
