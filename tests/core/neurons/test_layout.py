"""Coordinates of a map: near by cosine is near on the map, the same again from the same seed, at any size."""

import numpy as np
import pytest

from core.analyses.base import KNOWN
from core.analyses.map import make
from core.neurons.layout import MOST, nearest, overlap, place, stratified
from core.progress import no_progress
from core.runs import Run
from core.seeding import generator


def clusters(n: int, n_clusters: int, d: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows in well separated directions, of very different lengths, and which direction each one has."""
    rng = generator(seed, "test")
    of = np.arange(n) % n_clusters
    rows = np.eye(d)[of] + rng.normal(0, 0.08, (n, d))
    return rows * rng.uniform(0.1, 40, (n, 1)), of


def test_the_nearest_rows_are_those_of_a_naive_search() -> None:
    rows = generator(0, "rows").normal(size=(37, 5)).astype(np.float32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for cosine, near, far in (
        (True, unit, 1 - unit @ unit.T),
        (False, rows, ((rows[:, None] - rows) ** 2).sum(axis=2)),
    ):
        found, distance = nearest(near, 4, cosine=cosine)
        for i in range(len(rows)):
            others = sorted((j for j in range(len(rows)) if j != i), key=lambda j: far[i, j])
            assert found[i].tolist() == others[:4]
            np.testing.assert_allclose(distance[i], far[i, others[:4]], atol=1e-4)


def test_the_overlap_counts_shared_neighbours() -> None:
    near = np.array([[1, 2], [0, 2], [1, 0], [2, 1]])
    on_a_line = np.array([[0.0, 0], [1, 0], [2.5, 0], [9, 0]])  # nearest two: 1 2, 0 2, 1 0, 2 1
    assert overlap(near, on_a_line) == 1.0
    assert overlap(near, on_a_line[[1, 0, 3, 2]]) == 0.5  # nearest two: 1 3, 0 3, 3 0, 0 1
    assert np.isnan(overlap(np.empty((1, 0), np.int32), np.zeros((1, 2))))


def test_what_is_alike_stands_together_and_the_same_seed_gives_the_same_map() -> None:
    rows, of = clusters(240, 6)
    first, again, other = place(rows, 3), place(rows.copy(), 3), place(rows, 4)
    assert first.method == "UMAP"
    assert first.xy.dtype == np.float32
    np.testing.assert_array_equal(first.xy, again.xy)
    assert not np.array_equal(first.xy, other.xy)
    near = nearest(first.xy, 15, cosine=False)[0]
    assert (of[near] == of[:, None]).mean() > 0.99
    assert first.overlap > 2 * first.chance
    assert np.ptp(first.xy[:, 0]) >= 0.8 * np.ptp(first.xy[:, 1]), "lies along the first axis"


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 16, 17])
def test_few_rows_are_placed_too(n: int) -> None:
    rows = clusters(n, 5)[0]
    found = place(rows, 0)
    assert found.xy.shape == (n, 2)
    assert np.isfinite(found.xy).all()
    assert found.method == ("UMAP" if n == 17 else "PCA")
    assert np.isnan(found.overlap) == (n < 2)
    assert len(np.unique(found.xy, axis=0)) == n


@pytest.mark.parametrize("n", [4, 40])
def test_rows_of_zeros_and_equal_rows_are_placed(n: int) -> None:
    assert np.isfinite(place(np.zeros((n, 6)), 0).xy).all()
    assert np.isfinite(place(np.ones((n, 6)), 0).xy).all()
    assert place(np.ones((n, 1)), 0).xy.shape == (n, 2)


def test_a_sample_has_one_item_of_each_stratum_of_popularity() -> None:
    counts = generator(1, "counts").permutation(1000)
    chosen = stratified(counts, 100, 0)
    assert len(np.unique(chosen)) == 100
    assert (np.sort((999 - counts[chosen]) // 10) == np.arange(100)).all()
    np.testing.assert_array_equal(chosen, stratified(counts, 100, 0))
    assert not np.array_equal(chosen, stratified(counts, 100, 1))
    assert stratified(counts, 1000, 0).tolist() == list(range(1000))


def test_the_analysis_places_the_alive_neurons_and_all_items(tiny_run: Run) -> None:
    made = make(tiny_run, no_progress)
    alive = np.flatnonzero(tiny_run.table.frame["alive"])
    assert made.arrays["neurons"].tolist() == alive.tolist()
    assert made.arrays["items"].tolist() == list(range(tiny_run.dataset.n_items))
    assert made.arrays["item_xy"].shape == (tiny_run.dataset.n_items, 2)
    assert made.metrics["items"]["n_all"] == tiny_run.dataset.n_items <= MOST
    np.testing.assert_array_equal(made.arrays["neuron_xy"], place(tiny_run.sae.W_dec[alive], tiny_run.seed).xy)
    assert made.metrics["items"]["overlap"] > made.metrics["items"]["chance"]
    assert KNOWN["map"].make == "core.analyses.map:make"
