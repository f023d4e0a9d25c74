import numpy as np
import pytest
from scipy import sparse

from core.neurons.measures import audience_items, firing, histogram, monosemanticity, nearest, popularity, values_at
from core.neurons.shards import Shard, shard_stats
from tests.core.catalogues import catalogue

NAN = np.nan


def test_firing_figures_of_hand_made_activations():
    items = np.array([[0.0, 4.0, 0.0, 1.0], [2.0, 0.0, 0.0, 3.0]])
    users = np.array([[1.0, 0.0, 0.0, -1.0], [3.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    frame = firing(items, shard_stats(Shard(np.arange(4), sparse.csr_matrix(users)), 20))
    assert frame["alive"].tolist() == [True, True, False, True]
    assert frame["n_items_firing"].tolist() == [1, 1, 0, 2]
    assert frame["n_users_firing"].tolist() == [2, 0, 0, 0]
    assert frame["density_items"].tolist() == [0.5, 0.5, 0, 1]
    assert frame["density_users"].tolist() == [0.5, 0, 0, 0]
    np.testing.assert_allclose(frame["mean_activation"], [2.0, NAN, NAN, NAN])
    np.testing.assert_allclose(frame["max_activation"], [3.0, 4.0, NAN, 3.0])
    # 95th percentile of viewers (1, 3), else of items (4) and (1, 3)
    np.testing.assert_allclose(frame["strong_activation"], [2.9, 4.0, NAN, 2.9])


def test_values_of_a_padded_list_are_nan():
    acts = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(values_at(acts, np.array([[1, -1], [1, 0]])), [[3, NAN], [4, 2]])


def test_the_histogram_counts_positive_values_from_zero_to_the_highest():
    acts = np.array([[0.0, -1.0], [0.1, 0.0], [1.0, 0.0], [1.9, 0.0], [2.0, 0.0]])
    assert histogram(acts, np.array([2.0, 0.0]), 4).tolist() == [[1, 0, 1, 2], [0, 0, 0, 0]]


def test_monosemanticity_equals_the_sum_over_pairs():
    rng = np.random.default_rng(0)
    acts, X = np.maximum(rng.normal(size=(50, 3)), 0), rng.normal(size=(50, 5))
    found = monosemanticity(acts, X, n=6)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    for j in range(3):
        top = np.argsort(-acts[:, j])[:6]
        a = (acts[top, j] - acts[:, j].min()) / (acts[:, j].max() - acts[:, j].min())
        pairs = [(i, k) for i in range(6) for k in range(6) if i != k]
        expected = sum(a[i] * a[k] * (unit[top[i]] @ unit[top[k]]) for i, k in pairs) / sum(
            a[i] * a[k] for i, k in pairs
        )
        assert found[j] == pytest.approx(expected)


def test_monosemanticity_is_one_for_items_alike_zero_for_strangers_and_unknown_for_one_item():
    X = np.array([[1.0, 0], [2.0, 0], [0, 1.0], [0, 0.0]])
    acts = np.array([[1.0, 1, 0, 1, 0], [1.0, 0, 0, 1, 0], [0.0, 1, 0, 1, 0], [0.0, 0, 3, 1, 0]])
    np.testing.assert_allclose(monosemanticity(acts, X), [1, 0, NAN, NAN, NAN], atol=1e-12)


def test_monosemanticity_scales_by_the_lowest_activation_of_all_items():
    # Min-max over the items: the weakest firing item, a stranger, weighs nothing.
    X, acts = np.array([[1.0, 0], [1.0, 0], [0, 1.0]]), np.array([[3.0], [2.0], [1.0]])
    np.testing.assert_allclose(monosemanticity(acts, X), [1.0])


def test_popularity_shares_and_percentiles_of_hand_made_histories():
    # Film 0 has 5 viewers, film 1 three, film 2 two: with a fifth of 10 interactions 0 is head, 2 is tail.
    dataset = catalogue([[]] * 3, histories=[[0, 1], [0, 1], [0, 2], [0, 1, 2], [0]])
    acts = np.array([[3.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    top_items = np.array([[0, 2] + [-1] * 48, [-1] * 50])
    top_users = np.array([[2, 4, -1], [-1, -1, -1]])
    found = popularity(acts, top_items, top_users, dataset)
    shares = [found[f"{g}_share"].tolist() for g in ("head", "mid", "tail")]
    np.testing.assert_allclose(shares, [[0.75, NAN], [0.0, NAN], [0.25, NAN]])
    viewers = [found[f"viewer_{g}_share"].tolist() for g in ("head", "mid", "tail")]
    np.testing.assert_allclose(viewers, [[0.75, NAN], [0.0, NAN], [0.25, NAN]])
    assert np.isnan(found["popularity_percentile_at_10"]).all()


def test_the_popularity_percentile_is_zero_for_the_most_popular_item_first():
    histories = [list(range(i, 20)) for i in range(20)]  # film 19 is the most popular, film 0 the least
    dataset = catalogue([[]] * 20, histories=histories)
    top = np.full((2, 50), -1)
    top[0, :10], top[1, :10] = np.arange(10, 20), np.arange(10)
    acts = np.ones((20, 2))
    found = popularity(acts, top, np.full((2, 20), -1), dataset)["popularity_percentile_at_10"]
    np.testing.assert_allclose(found, [4.5 / 20, 14.5 / 20])


def test_without_a_log_nothing_is_known_of_popularity():
    dataset, top = catalogue([[]] * 20, histories=[[], []]), np.tile(np.arange(20), (2, 1))
    found, known = (
        popularity(np.ones((20, 2)), top, np.array([[0, 1]] * 2), dataset),
        catalogue([[]] * 20, histories=[[1], [2]]),
    )
    assert list(found) == list(popularity(np.ones((20, 2)), top, np.array([[0, 1]] * 2), known))
    assert all(np.isnan(column).all() and column.shape == (2,) for column in found.values())


def test_a_top_viewer_without_a_history_does_not_spoil_the_mean():
    dataset = catalogue([[]] * 3, histories=[[0, 1], [0, 1], [0, 2], [0, 1, 2], [0], []])
    found = popularity(np.ones((3, 1)), np.full((1, 50), -1), np.array([[5, 4]]), dataset)
    assert found["viewer_head_share"].tolist() == [1.0]


def test_neighbours_are_the_nearest_alive_decoder_rows():
    W = np.array([[1.0, 0], [10.0, 1], [0, 2.0], [1.0, 0], [-1.0, 0]], np.float32)
    alive = np.array([True, True, True, False, True])
    neighbours, cosine = nearest(W, alive, n=4)
    assert neighbours.tolist() == [[1, 2, 4, -1], [0, 2, 4, -1], [1, 0, 4, -1], [-1] * 4, [2, 1, 0, -1]]
    np.testing.assert_allclose(cosine[0], [10 / np.sqrt(101), 0, -1, NAN], atol=1e-6)
    assert np.isnan(cosine[3]).all()


def test_neighbours_in_chunks_equal_neighbours_at_once():
    W = np.random.default_rng(0).normal(size=(1200, 6)).astype(np.float32)
    alive = np.random.default_rng(1).random(1200) < 0.9
    neighbours, cosine = nearest(W, alive, n=3)
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    similar = np.where(alive[None, :], unit @ unit.T, -np.inf)
    np.fill_diagonal(similar, -np.inf)
    np.testing.assert_allclose(cosine[alive], np.sort(similar[alive], axis=1)[:, ::-1][:, :3], atol=1e-6)
    assert alive[neighbours[alive]].all()


def test_no_neighbour_for_a_neuron_that_is_alone():
    neighbours, cosine = nearest(np.ones((2, 3), np.float32), np.array([True, False]), n=2)
    assert (neighbours == -1).all() and np.isnan(cosine).all()


def test_audience_items_are_those_that_top_viewers_share_beyond_everybody():
    dataset = catalogue([[]] * 4, histories=[[0, 1], [0, 1, 2], [0], [0, 3]])
    top, excess = audience_items(
        np.array([[0, 1, -1], [-1, -1, -1]]), np.array([[3.0, 1.0, NAN], [NAN] * 3]), dataset, 3
    )
    assert top.tolist() == [[1, -1, -1], [-1, -1, -1]]  # film 0 is everybody's; film 2: 1/4 of the weight, 1/4 of all
    assert excess[0, 0] == pytest.approx(1.0 - 0.5)
