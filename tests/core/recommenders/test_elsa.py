"""ELSA: the cheap form of its loss, and what its training promises."""

import numpy as np
import pytest
import torch

from core.errors import ConfigError, TrainingError
from core.recommenders.elsa import ELSA, ELSAConfig
from core.recommenders.elsa_training import cosine_loss
from tests.core.recommenders.blocks import block_log

HISTORIES = ([0, 2], [1], [0, 1, 2, 3, 5], [4, 5])


def test_the_cheap_loss_and_its_gradient_equal_those_of_the_matrix_of_scores() -> None:
    A = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1).double()
    x = torch.zeros(len(HISTORIES), 6, dtype=torch.float64)
    for row, history in enumerate(HISTORIES):
        x[row, history] = 1
    offsets = torch.tensor(np.cumsum([0, *[len(h) for h in HISTORIES[:-1]]]))
    one, other = A.clone().requires_grad_(), A.clone().requires_grad_()
    cheap = cosine_loss(torch.tensor([i for h in HISTORIES for i in h]), offsets, one)
    prediction = torch.nn.functional.normalize(x @ other @ other.T - x, dim=1)
    dense = (prediction - torch.nn.functional.normalize(x, dim=1)).square().sum(dim=1).mean()
    assert cheap.item() == pytest.approx(dense.item())
    cheap.backward()
    dense.backward()
    assert one.grad is not None and other.grad is not None
    torch.testing.assert_close(one.grad, other.grad)


def test_item_vectors_have_length_one_and_a_viewer_is_their_sum() -> None:
    model = ELSA.fit(block_log()[0], ELSAConfig(embedding_size=8), seed=0)
    np.testing.assert_allclose(np.linalg.norm(model.A, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.embed([np.array([1, 4, 12])])[0], model.A[[1, 4, 12]].sum(axis=0), atol=1e-6)
    assert np.array_equal(model.probe_items(), model.embed([np.array([i]) for i in range(model.n_items)]))


def test_the_loss_falls() -> None:
    losses: list[float] = []
    config = ELSAConfig(embedding_size=8, epochs=30, min_steps=1)
    ELSA.fit(
        block_log()[0], config, seed=0, progress=lambda stage, done, total, numbers: losses.append(numbers["loss"])
    )
    assert len(losses) == 30 and losses[-1] < 0.8 * losses[0]


def test_a_small_log_gets_as_many_steps_as_a_large_one() -> None:
    totals: list[int] = []
    config = ELSAConfig(embedding_size=4, epochs=2, min_steps=50, batch_size=60)
    ELSA.fit(block_log()[0], config, seed=0, progress=lambda stage, done, total, numbers: totals.append(total))
    assert totals == [25] * 25


def test_a_training_that_diverges_says_so() -> None:
    with pytest.raises(TrainingError, match="not finite after epoch 1 of") as caught:
        ELSA.fit(block_log()[0], ELSAConfig(embedding_size=4, learning_rate=1e38), seed=0)
    assert "learning_rate" in caught.value.fix


@pytest.mark.parametrize("wrong", [{"embedding_size": 0}, {"epochs": 0}, {"batch_size": -1}, {"learning_rate": 0.0}])
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ELSAConfig(**wrong)
