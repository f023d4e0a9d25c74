"""LightGCN: its layers by hand and as dense matrices, the gradient through them, and its viewers."""

from typing import Any

import numpy as np
import pytest
import torch

from core.errors import ConfigError, TrainingError
from core.progress import no_progress
from core.recommenders import lightgcn_training
from core.recommenders.base import rank
from core.recommenders.bpr_training import Towers, pairwise_gradients, train_pairwise
from core.recommenders.fold_in import regression
from core.recommenders.lightgcn import LightGCN, LightGCNConfig
from core.recommenders.lightgcn_training import propagation
from tests.core.recommenders.blocks import ITEMS_A_BLOCK, N_BLOCKS, block_log, dataset_of
from tests.core.recommenders.pairs import drawn_loss, leaves, matrix_of, random_towers

HISTORIES = [[0, 2], [1], [], [0, 1, 2, 3], [1, 3]]
N_ITEMS = 6  # nobody consumed the last two
SMALL = LightGCNConfig(embedding_size=4)


def dense(histories: list[list[int]], n_items: int, n_layers: int) -> torch.Tensor:
    """Give the matrix from first to final vectors, users above items: the mean of the powers of D^-1/2 A D^-1/2."""
    n_users = len(histories)
    A = torch.zeros(n_users + n_items, n_users + n_items, dtype=torch.float64)
    for user, history in enumerate(histories):
        for item in history:
            A[user, n_users + item] = A[n_users + item, user] = 1
    degrees = A.sum(dim=1)
    L = torch.zeros_like(A)
    for row, column in A.nonzero().tolist():
        L[row, column] = 1 / torch.sqrt(degrees[row] * degrees[column])
    powers = [torch.linalg.matrix_power(L, layer) for layer in range(n_layers + 1)]
    return torch.stack(powers).mean(dim=0)


def spread(towers: Towers, matrix: torch.Tensor) -> Towers:
    """Multiply with what `dense` gave."""
    both = matrix @ torch.cat([towers.users, towers.items]).double()
    return Towers(*both.split([len(towers.users), len(towers.items)]), towers.biases)


def test_the_mean_of_the_layers_by_hand() -> None:
    # User 0 has items 0 and 1, user 1 items 1 and 2: an edge to item 1 weighs 1 / 2, one to the others 1 / r.
    first = Towers(torch.tensor([[1.0], [2.0]]), torch.tensor([[4.0], [8.0], [16.0]]), torch.tensor([7.0, 8.0, 9.0]))
    r = np.sqrt(2)
    users_1, items_1 = [4 / r + 4, 4 + 16 / r], [1 / r, 1 / 2 + 1, 2 / r]
    users_2, items_2 = [1 / 2 + 3 / 4, 3 / 4 + 1], [2 + 4 / r, (8 + 20 / r) / 2, 4 / r + 8]
    graph = matrix_of([[0, 1], [1, 2]], 3)
    one, two = propagation(graph, 1)(first), propagation(graph, 2)(first)
    np.testing.assert_allclose(one.users[:, 0], [(1 + users_1[0]) / 2, (2 + users_1[1]) / 2], rtol=1e-6)
    np.testing.assert_allclose(two.users[:, 0], np.add([1, 2], np.add(users_1, users_2)) / 3, rtol=1e-6)
    np.testing.assert_allclose(two.items[:, 0], np.add([4, 8, 16], np.add(items_1, items_2)) / 3, rtol=1e-6)
    assert two.biases.tolist() == [7, 8, 9] and first.users[:, 0].tolist() == [1, 2]


@pytest.mark.parametrize("n_layers", [1, 2, 3, 5])
def test_final_vectors_are_those_of_dense_matrices(n_layers: int) -> None:
    first = random_towers(len(HISTORIES), N_ITEMS)
    found = propagation(matrix_of(HISTORIES, N_ITEMS), n_layers)(first)
    expected = spread(first, dense(HISTORIES, N_ITEMS, n_layers))
    np.testing.assert_allclose(found.users, expected.users, atol=1e-6)
    np.testing.assert_allclose(found.items, expected.items, atol=1e-6)
    np.testing.assert_allclose(found.users[2], first.users[2] / (n_layers + 1), rtol=1e-6)


def test_the_gradient_goes_back_along_the_graph() -> None:
    first, x = random_towers(len(HISTORIES), N_ITEMS), matrix_of(HISTORIES, N_ITEMS)
    propagate, rows = propagation(x, 2), np.array([0, 1, 3, 4])
    random = torch.Generator().manual_seed(3)
    loss, gradients = pairwise_gradients(propagate(first), x, rows, 1, random.manual_seed(3))
    draws = iter(torch.randint(N_ITEMS, (x.nnz,), generator=random.manual_seed(3)).tolist())
    negatives = [[[next(draws)] for _ in history] for history in HISTORIES]
    expected = drawn_loss(spread(naive := leaves(first), dense(HISTORIES, N_ITEMS, 2)), HISTORIES, negatives)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for ours, leaf in zip(propagate(gradients), naive, strict=True):
        np.testing.assert_allclose(ours, leaf.grad, atol=1e-5)


def test_the_first_step_goes_against_the_gradient_of_the_first_vectors() -> None:
    x, seen = matrix_of(HISTORIES, N_ITEMS), []
    propagate = propagation(x, 2)

    def watched(towers: Towers) -> Towers:
        seen.append(Towers(*(t.clone() for t in towers)))
        return propagate(towers)

    config = LightGCNConfig(embedding_size=3, epochs=1, min_steps=1, regularisation=0.0, learning_rate=0.1)
    U, V, b = train_pairwise(x, config, item_bias=False, propagate=watched, seed=0, progress=no_progress)
    start, of_final = seen
    gradient = spread(of_final, dense(HISTORIES, N_ITEMS, 2))
    for after, before, slope in ((U, start.users, gradient.users), (V, start.items, gradient.items)):
        # The first step of Adam has the same length for every number that has a gradient.
        felt = slope.abs() > 1e-4
        assert felt.any()
        np.testing.assert_allclose((after - before.numpy())[felt], -0.1 * slope[felt].sign(), atol=1e-4)
    assert not b.any()


def test_a_fitted_model_multiplies_the_final_vectors_of_known_users(monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[Any] = []

    def watched(*arguments: Any, **keywords: Any) -> Any:
        first.append(train_pairwise(*arguments, **keywords))
        return first[0]

    monkeypatch.setattr(lightgcn_training, "train_pairwise", watched)
    log = block_log()[0]
    model = LightGCN.fit(log, LightGCNConfig(embedding_size=4, n_layers=2), seed=0)
    towers = Towers(*(torch.from_numpy(array) for array in first[0]))
    expected = spread(towers, dense([h.tolist() for h in log.histories()], log.n_items, 2))
    assert model.trained_users is not None and model.native_users is None
    np.testing.assert_allclose(model.trained_users, expected.users, atol=1e-5)
    np.testing.assert_allclose(model.Q, expected.items, atol=1e-5)
    assert not model.b.any()


@pytest.fixture(scope="module")
def fitted() -> LightGCN:
    return LightGCN.fit(block_log()[0], SMALL, seed=0)


def test_every_viewer_is_shown_the_rest_of_their_block(fitted: LightGCN) -> None:
    histories = block_log()[0].histories()
    blocks = np.arange(len(histories))[:, None] % N_BLOCKS
    assert fitted.trained_users is not None
    for vectors in (fitted.embed(histories), fitted.trained_users):
        assert (rank(fitted.score(vectors), 4, histories) // ITEMS_A_BLOCK == blocks).all()


def test_an_invented_viewer_is_the_known_one_with_the_same_history(fitted: LightGCN) -> None:
    histories = block_log()[0].histories()
    known = fitted.embed(histories)
    invented = [np.random.default_rng(0).permutation(h) for h in histories]
    assert np.array_equal(fitted.embed(invented), known)
    assert np.array_equal(fitted.embed([np.repeat(invented[5], 2)]), known[[5]]), "an item twice counts once"
    assert not fitted.embed([np.array([], int)]).any()


def test_the_fold_in_is_the_regression_of_the_final_vectors() -> None:
    random = np.random.default_rng(0)
    log = dataset_of([random.choice(12, random.integers(1, 9), replace=False).tolist() for _ in range(80)] + [[]], 12)
    model = LightGCN.fit(log, SMALL, seed=0)
    assert model.trained_users is not None
    fold = regression(model.Q, log.histories()[:-1], model.trained_users[:-1], 0.0)
    np.testing.assert_allclose(model.embed(log.histories()), fold.embed(log.histories(), model.Q), atol=1e-5)
    assert model.power == fold.power


def test_a_training_that_diverges_says_so() -> None:
    with pytest.raises(TrainingError, match=r"The loss is .* after epoch") as caught:
        LightGCN.fit(block_log()[0], LightGCNConfig(embedding_size=4, learning_rate=1e30), seed=0)
    assert "recommender.learning_rate" in caught.value.fix


def test_a_log_without_interactions_cannot_be_learnt_from() -> None:
    with pytest.raises(TrainingError, match="no interactions"):
        LightGCN.fit(dataset_of([[], []], 3), SMALL, seed=0)


@pytest.mark.parametrize("wrong", [{"n_layers": 0}, {"embedding_size": 0}, {"n_negatives": 0}, {"learning_rate": -1.0}])
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LightGCNConfig(**wrong)
