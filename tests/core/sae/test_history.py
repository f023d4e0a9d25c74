"""What a person is told of a training."""

from dataclasses import replace

import numpy as np
import pytest

from core.sae.history import TrainHistory, falling, warnings_of
from core.sae.model import SAEConfig
from core.sae.trainer import train
from tests.core.sae.planted import BY_VARIANT, planted

X, _ = planted(n=400)
LEVEL = np.full(100, 2.0)


def history(**changes):
    arrays = {"loss": LEVEL, "l0": LEVEL, "dead_share": np.zeros(100)} | changes
    return TrainHistory(np.arange(1, 101), terms={}, **arrays)


def warnings(n_rows=1000, d_sae=50, **changes):
    return warnings_of(SAEConfig(8, d_sae, "relu"), n_rows, history(**changes))


def test_a_training_that_went_well_gives_no_warning():
    assert warnings() == ()
    assert warnings(n_rows=50, dead_share=np.full(100, 0.1)) == ()


def test_each_warning_names_the_numbers_and_what_to_set():
    (more,) = warnings(n_rows=49)
    assert "(50)" in more and "(49)" in more and "sae.d_sae" in more
    (dead,) = warnings(dead_share=np.linspace(0, 0.25, 100))
    assert dead.startswith("25% of the neurons") and "sae.d_sae" in dead
    down = np.linspace(20, 10, 100)
    (l0,) = warnings(l0=down)
    assert "active neurons" in l0 and "from 14.5 to 11.5" in l0 and "sae.n_steps" in l0
    (loss,) = warnings(loss=down)
    assert loss.startswith("The loss was still falling at the end (from 14.5 to 11.5)")


@pytest.mark.parametrize(
    ("values", "falls"),
    [
        (np.linspace(2, 1, 100), True),
        (np.linspace(2, 1.9, 100), False),
        (np.linspace(1, 2, 100), False),
        (np.r_[np.linspace(9, 1, 30), np.ones(70)], False),
        (1 + 0.5 * np.tile([1, -1], 50) - 0.15 * (np.arange(100) >= 70), False),
        (np.linspace(2, 1, 6), False),
    ],
    ids=["falls", "hardly", "rises", "fell long ago", "less than its noise", "too few to tell"],
)
def test_falling_is_told_from_noise(values, falls):
    assert (falling(values, 0.1) is not None) == falls


def test_a_training_that_was_cut_short_says_so_and_a_whole_one_does_not():
    noisy = (X + np.random.default_rng(0).normal(0, 0.15, X.shape)).astype(np.float32)
    _, short = train(noisy, replace(BY_VARIANT["topk"], n_steps=30, learning_rate=3e-3), seed=0)
    assert any("loss was still falling" in warning for warning in short.warnings)
    _, whole = train(noisy, BY_VARIANT["topk"], seed=0)
    assert not any("falling" in warning for warning in whole.warnings)


def test_more_neurons_than_embeddings_is_told_by_the_training():
    _, few = train(X[:10], replace(BY_VARIANT["topk"], n_steps=5), seed=0)
    assert few.warnings[0].startswith("There are more neurons (16) than embeddings to learn from (10)")
