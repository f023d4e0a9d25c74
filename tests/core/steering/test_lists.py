"""Steered lists, counted by the thousand: the same items as by ranking each list."""

import numpy as np
import pytest

from core.recommenders.base import embed_users, rank
from core.runs import Run
from core.steering.kernels import top_items
from core.steering.lists import panel, shares, steered_lists
from core.steering.steering import Edit, Steering, steer
from tests.core.steering.scorers import Curved, Straight


def test_the_lists_of_two_viewers_by_hand() -> None:
    V = np.array([[3.0, 0.0], [2.0, 1.0], [1.0, 2.0], [0.0, 3.0]])
    viewers = panel(
        Straight(V), np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1.0, 2.0]), [np.array([0]), np.array([])]
    )
    # Scores 3, 2, 1, 0; the first viewer has seen item 0. A dose adds 0, 1, 2, 3 to the items, twice that to viewer 2.
    lists = steered_lists(Straight(V), viewers, np.array([0.0, 1.0]), [0.0, 0.75, 2.0], 2)
    found = [[sorted(items) for items in viewer] for viewer in lists.tolist()]
    assert found == [[[1, 2], [1, 2], [2, 3]], [[0, 1], [2, 3], [2, 3]]]


def test_equal_scores_go_to_the_items_of_lowest_index_and_short_lists_are_padded() -> None:
    model = Straight(np.zeros((5, 1)))
    viewers = panel(model, np.zeros((2, 1)), np.ones(2), [np.array([1]), np.arange(4)])
    lists = steered_lists(model, viewers, np.zeros(1), [1.0], 3)
    assert sorted(lists[0, 0].tolist()) == [0, 2, 3]
    assert lists[1, 0].tolist() == [4, -1, -1]


@pytest.mark.parametrize("n_items", [3, 21, 160, 700, 3260])
@pytest.mark.parametrize("ties", [False, True])
def test_the_lists_are_those_of_ranking_the_sums_one_by_one(n_items: int, ties: bool) -> None:
    rng = np.random.default_rng(n_items)
    doses = np.tile(np.array([-3.0, -0.5, 0.0, 0.7, 4.0], np.float32), (8, 1)) * rng.uniform(0.5, 2, (8, 1))
    doses = doses.astype(np.float32)
    for seen in (0.0, 0.1, 0.97, 1.0):
        scores, row = rng.standard_normal((8, n_items)), rng.standard_normal(n_items)
        if ties:
            scores, row, doses = np.round(scores), np.round(row), np.round(doses)
        scores, row = scores.astype(np.float32), row.astype(np.float32)
        scores[rng.random(scores.shape) < seen] = -np.inf
        out = np.empty((8, 5, 20), np.int32)
        top_items(scores, row, doses, out)
        for s in range(5):
            naive = rank(scores + doses[:, [s]] * row, 20)
            assert np.array_equal(np.sort(out[:, s], axis=1), np.sort(naive, axis=1))


@pytest.mark.parametrize("model", [Straight, Curved])
def test_a_scorer_of_either_kind_gives_the_lists_of_its_steered_embeddings(model: type) -> None:
    rng = np.random.default_rng(1)
    scorer, u = model(rng.standard_normal((200, 6))), rng.standard_normal((40, 6)).astype(np.float32)
    seen = [rng.permutation(200)[:30] for _ in u]
    scale, direction = rng.uniform(0.5, 2, 40).astype(np.float32), rng.standard_normal(6).astype(np.float32)
    strengths = np.linspace(-2, 4, 17)  # more lists than one batch holds
    lists = steered_lists(scorer, panel(scorer, u, scale, seen), direction, strengths, 20)
    for s, strength in enumerate(strengths):
        naive = rank(scorer.score(u + np.float32(strength) * scale[:, None] * direction), 20, seen)
        assert np.array_equal(np.sort(lists[:, s], axis=1), np.sort(naive, axis=1))


def test_an_edit_on_the_steer_page_gives_the_same_lists(tiny_run: Run) -> None:
    users = tiny_run.split.unseen_users
    u, seen = embed_users(tiny_run.recommender, tiny_run.dataset, users), tiny_run.dataset.histories(users)
    viewers = panel(tiny_run.recommender, u, tiny_run.sae.normalise(u).scale, seen)
    for neuron in (0, 7):
        lists = steered_lists(tiny_run.recommender, viewers, tiny_run.sae.W_dec[neuron], [-0.4, 0.9], 10)
        for s, value in enumerate((-0.4, 0.9)):
            steered = steer(u, Steering((Edit(neuron, "add", value),)), tiny_run.sae)
            naive = rank(tiny_run.recommender.score(steered), 10, seen)
            assert np.array_equal(np.sort(lists[:, s], axis=1), np.sort(naive, axis=1))


def test_lists_without_some_items_hold_none_of_them() -> None:
    rng = np.random.default_rng(2)
    model, u = Straight(rng.standard_normal((60, 4))), rng.standard_normal((9, 4))
    gone = rng.random(60) < 0.5
    viewers = panel(model, u, np.ones(9), [np.arange(3)] * 9)
    lists = steered_lists(model, viewers.without(gone), np.ones(4), [0.0, 2.0], 10)
    assert not gone[lists].any() and (lists >= 3).all()
    assert np.array_equal(viewers.scores, panel(model, u, np.ones(9), [np.arange(3)] * 9).scores)


def test_a_share_counts_listed_items_only() -> None:
    lists = np.array([[0, 1, 2, 3], [3, 1, -1, -1], [-1, -1, -1, -1]])
    found = shares(lists, np.array([False, True, True, False]))
    assert found[:2].tolist() == [0.5, 0.5] and np.isnan(found[2])
