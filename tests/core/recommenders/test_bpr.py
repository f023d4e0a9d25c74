"""BPR: the loss of the paper and its gradient, the fold-in by hand, and what its training promises."""

import numpy as np
import pytest
import torch

from core.errors import ConfigError, TrainingError
from core.progress import no_progress
from core.recommenders import bpr_training
from core.recommenders.base import rank
from core.recommenders.bpr import BPR, BPRConfig
from core.recommenders.bpr_training import Towers, pairwise_gradients, train_pairwise
from core.recommenders.fold_in import regression
from tests.core.recommenders.blocks import ITEMS_A_BLOCK, N_BLOCKS, block_log, dataset_of
from tests.core.recommenders.pairs import drawn_loss, leaves, matrix_of, random_towers

HISTORIES = [[0, 2], [1], [], [0, 1, 2, 3, 5], [4, 5]]
N_ITEMS = 6
X = matrix_of(HISTORIES, N_ITEMS)
ALL = np.arange(len(HISTORIES))
SMALL = BPRConfig(embedding_size=4)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def by_hand(power: float = 0.5) -> BPR:
    Q, b = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], np.float32), np.array([0.0, 0.5, -1.0], np.float32)
    S, c = np.array([[3.0, 0.0], [1.0, 2.0], [0.0, 8.0]], np.float32), np.array([0.5, -1.0], np.float32)
    return BPR(SMALL, Q, b, S, c, power)


@pytest.mark.parametrize(
    ("history", "embedding"),
    [
        ([], [0.0, 0.0]),
        ([0], [3.5, -1.0]),
        ([0, 1], [4 / np.sqrt(2) + 0.5, 2 / np.sqrt(2) - 1]),
        ([1, 0, 1], [4 / np.sqrt(2) + 0.5, 2 / np.sqrt(2) - 1]),
        ([0, 1, 2], [4 / np.sqrt(3) + 0.5, 10 / np.sqrt(3) - 1]),
    ],
)
def test_the_fold_in_by_hand(history: list[int], embedding: list[float]) -> None:
    np.testing.assert_allclose(by_hand().embed([np.array(history, int)]), [embedding], rtol=1e-6)


def test_the_fold_in_of_a_mean_and_the_score_by_hand() -> None:
    model = by_hand(power=1.0)
    u = model.embed([np.array([0, 1])])
    assert u.tolist() == [[2.5, 0.0]]
    assert model.score(u).tolist() == [[2.5, 0.5, 1.5]]
    again = BPR.from_arrays(model.config, model.to_arrays())
    assert again.embed([np.array([0, 1])]).tolist() == u.tolist()


def test_the_loss_and_its_gradient_by_hand() -> None:
    # u = 1, q = (2, 0): s_0 - s_1 = 2, so softplus(-2) and sigmoid(-2) for each draw of item 1; item 0 is consumed.
    towers = Towers(torch.ones(1, 1), torch.tensor([[2.0], [0.0]]), torch.zeros(2))
    random = seeded()
    share = sum(torch.randint(2, (1,), generator=random).item() for _ in range(8)) / 8
    loss, gradients = pairwise_gradients(towers, matrix_of([[0]], 2), np.array([0]), 8, seeded())
    slope = share / (1 + np.exp(2))
    assert 0 < share < 1
    assert loss == pytest.approx(share * np.log(1 + np.exp(-2)))
    np.testing.assert_allclose(gradients.users, [[-2 * slope]], rtol=1e-5)
    np.testing.assert_allclose(gradients.items, [[-slope], [slope]], rtol=1e-5)
    np.testing.assert_allclose(gradients.biases, [-slope, slope], rtol=1e-5)


def test_the_loss_and_its_gradient_equal_those_of_a_loop_over_triples() -> None:
    towers, n_negatives, rows = random_towers(len(HISTORIES), N_ITEMS), 3, np.array([4, 0, 3, 2])
    random = seeded()
    n_positives = sum(len(HISTORIES[u]) for u in rows)
    draws = iter(torch.stack([torch.randint(N_ITEMS, (n_positives,), generator=random) for _ in range(3)], 1).tolist())
    negatives: list[list[list[int]]] = [[] for _ in HISTORIES]
    for u in rows:
        negatives[u] = [next(draws) for _ in HISTORIES[u]]
    asked = [history if u in rows else [] for u, history in enumerate(HISTORIES)]
    expected = drawn_loss(naive := leaves(towers), asked, negatives)
    expected.backward()
    loss, gradients = pairwise_gradients(towers, X, rows, n_negatives, seeded())
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for ours, leaf in zip(gradients, naive, strict=True):
        np.testing.assert_allclose(ours, leaf.grad, atol=1e-5)
    assert not gradients.users[[1, 2]].any() and gradients.users[[0, 3, 4]].any(dim=1).all()


def test_negatives_are_drawn_uniformly_from_the_whole_catalogue() -> None:
    towers = random_towers(len(HISTORIES), N_ITEMS)
    everything = [[list(range(N_ITEMS))] * len(history) for history in HISTORIES]
    expected = drawn_loss(naive := leaves(towers), HISTORIES, everything)
    expected.backward()
    loss, gradients = pairwise_gradients(towers, X, ALL, 20_000, seeded())
    assert loss == pytest.approx(expected.item(), rel=0.02)
    for ours, leaf in zip(gradients, naive, strict=True):
        np.testing.assert_allclose(ours, leaf.grad, atol=0.03)


def test_what_was_consumed_is_no_negative() -> None:
    loss, gradients = pairwise_gradients(random_towers(1, 4), matrix_of([[0, 1, 2, 3]], 4), np.array([0]), 5, seeded())
    assert loss == 0 and not any(g.any() for g in gradients)


def test_viewers_are_scored_in_parts_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    towers = random_towers(len(HISTORIES), N_ITEMS)
    loss, gradients = pairwise_gradients(towers, X, ALL, 1, seeded())
    monkeypatch.setattr(bpr_training, "CELLS", 2 * N_ITEMS + 1)
    again, parts = pairwise_gradients(towers, X, ALL, 1, seeded())
    assert again == pytest.approx(loss)
    for one, other in zip(gradients, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_a_step_of_some_viewers_counts_as_much_as_one_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpr_training, "START", 0.0)
    seen: list[Towers] = []

    def watched(towers: Towers) -> Towers:
        seen.append(towers)
        return towers

    config = BPRConfig(embedding_size=2, epochs=1, min_steps=1, batch_size=1, n_negatives=500)
    x = matrix_of([[0, 1], [2, 3], [4, 5], [6, 7]], 8)
    train_pairwise(x, config, item_bias=False, propagate=watched, seed=0, progress=no_progress)
    assert len(seen) == 8, "four steps, there and back"
    for gradients in seen[1::2]:
        # All scores are 0: each of the 8 interactions has the slope 1 / 2, in 6 of 8 draws.
        falling = gradients.biases[gradients.biases < 0]
        assert len(falling) == 2 and falling.sum().item() == pytest.approx(-8 / 2 * 6 / 8, rel=0.05)


@pytest.fixture(scope="module")
def fitted() -> BPR:
    return BPR.fit(block_log()[0], SMALL, seed=0)


def test_every_viewer_is_shown_the_rest_of_their_block(fitted: BPR) -> None:
    log, _ = block_log()
    histories = log.histories()
    blocks = np.arange(len(histories))[:, None] % N_BLOCKS
    assert fitted.trained_users is not None
    for vectors in (fitted.embed(histories), fitted.trained_users):
        assert (rank(fitted.score(vectors), 4, histories) // ITEMS_A_BLOCK == blocks).all()


def test_an_invented_viewer_is_the_known_one_with_the_same_history(fitted: BPR) -> None:
    log, _ = block_log()
    known = fitted.embed(log.histories())
    invented = [np.random.default_rng(0).permutation(h) for h in log.histories()]
    assert np.array_equal(fitted.embed(invented), known)
    assert np.array_equal(fitted.embed([np.repeat(invented[5], 2)]), known[[5]]), "an item twice counts once"
    assert fitted.native_users is None


def test_the_fold_in_is_the_regression_of_the_trained_vectors() -> None:
    random = np.random.default_rng(0)
    log = dataset_of([random.choice(12, random.integers(1, 9), replace=False).tolist() for _ in range(80)] + [[]], 12)
    model = BPR.fit(log, SMALL, seed=0)
    assert model.trained_users is not None and len(model.trained_users) == 81
    fold = regression(model.Q, log.histories()[:-1], model.trained_users[:-1], 0.0)
    np.testing.assert_allclose(model.embed(log.histories()), fold.embed(log.histories(), model.Q), atol=1e-5)
    assert model.power == fold.power


def test_biases_are_learnt_unless_they_are_switched_off() -> None:
    random = np.random.default_rng(0)
    chances = np.linspace(0.9, 0.1, 12)
    log = dataset_of([np.flatnonzero(random.random(12) < chances).tolist() for _ in range(200)], 13)
    b = BPR.fit(log, SMALL, seed=0).b
    assert b[:4].min() > b[8:12].max() and b[12] == b.min(), "the item that nobody consumed is the last"
    assert not BPR.fit(log, BPRConfig(embedding_size=4, item_bias=False), seed=0).b.any()


def test_a_larger_penalty_makes_every_vector_shorter(fitted: BPR) -> None:
    strict = BPR.fit(block_log()[0], BPRConfig(embedding_size=4, regularisation=2.0), seed=0)
    assert fitted.trained_users is not None and strict.trained_users is not None
    for ours, theirs in ((strict.Q, fitted.Q), (strict.trained_users, fitted.trained_users)):
        assert np.linalg.norm(ours, axis=1).max() < np.linalg.norm(theirs, axis=1).min()


def test_the_loss_falls_over_as_many_passes_as_were_asked_for() -> None:
    losses: list[float] = []
    config = BPRConfig(embedding_size=4, epochs=30, min_steps=1)
    BPR.fit(block_log()[0], config, seed=0, progress=lambda *call: losses.append(call[3]["loss"]))
    assert len(losses) == 30 and losses[-1] < 0.5 * losses[0]
    # Vectors are small at the start: each negative costs log 2, and 34 of 40 items are negatives.
    assert losses[0] == pytest.approx(np.log(2) * 34 / 40, rel=0.05)


def test_a_small_log_gets_as_many_steps_as_a_large_one() -> None:
    totals: list[int] = []
    config = BPRConfig(embedding_size=4, epochs=2, min_steps=50, batch_size=60)
    BPR.fit(block_log()[0], config, seed=0, progress=lambda *call: totals.append(call[2]))
    assert totals == [25] * 25


def test_a_training_that_diverges_says_so() -> None:
    with pytest.raises(TrainingError, match=r"The loss is .* after epoch") as caught:
        BPR.fit(block_log()[0], BPRConfig(embedding_size=4, learning_rate=1e30), seed=0)
    assert "recommender.learning_rate" in caught.value.fix


@pytest.mark.parametrize(
    "wrong",
    [
        {"embedding_size": 0},
        {"n_negatives": 0},
        {"epochs": 0},
        {"min_steps": 0},
        {"batch_size": -1},
        {"regularisation": -0.1},
        {"regularisation": float("nan")},
        {"learning_rate": 0.0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        BPRConfig(**wrong)
