"""Settings that are left open, and how they are decided."""

from dataclasses import replace

import numpy as np
import pytest

from core.configs import from_dict
from core.errors import ConfigError
from core.sae.config import TrainConfig
from core.sae.trainer import train
from tests.core.sae.planted import BY_VARIANT, planted

X, _ = planted(n=200)


def decided(n_rows=4832, d_in=256, length=1.0, **settings):
    return TrainConfig(**settings).decided(n_rows, d_in, length)


@pytest.mark.parametrize(
    ("n_rows", "d_in", "d_sae"), [(4832, 256, 604), (500, 256, 256), (100_000, 64, 512), (90, 8, 11), (1, 1, 1)]
)
def test_one_neuron_for_eight_embeddings_but_neither_fewer_than_dimensions_nor_eight_times_as_many(n_rows, d_in, d_sae):
    assert decided(n_rows, d_in).d_sae == d_sae


def test_a_multiple_of_the_width_is_known_when_the_width_is():
    config = decided(100, 64, expansion=64)
    assert config.d_sae == 4096 and config.expansion is None


def test_half_as_many_neurons_fire_as_there_are_dimensions():
    assert decided(d_in=64, expansion=64).k == 32, "PopSteer and RecSAE"
    assert decided(d_in=64, d_sae=20).k == 20
    assert decided(d_in=1, d_sae=3).k == 1


def test_what_is_given_stays():
    given = {"d_sae": 30, "k": 7, "k_aux": 5, "dead_after": 9, "l1": 0.0, "sparsity": 0.0}
    config = decided(**given)
    assert {name: getattr(config, name) for name in given} == given


def test_the_dead_of_the_auxiliary_loss_are_a_multiple_of_the_width():
    assert decided(d_in=64).k_aux == 32 and decided(d_in=64, aux_expansion=2.0).k_aux == 128
    assert decided(d_in=1).k_aux == 1


def test_dead_after_an_epoch_counts_its_steps():
    assert decided(n_rows=1000, dead_after=None, batch_size=300).dead_after == 4
    assert decided(n_rows=10, dead_after=None, batch_size=300).dead_after == 1


def test_penalties_are_measured_against_rebuilding_nothing():
    # With the cosine, nothing costs 1; with the mean squared error of rows of length 4 in 8 dimensions, 16 / 8.
    assert decided(variant="jumprelu", k=5).sparsity == 1
    assert decided(variant="jumprelu", k=5, sparsity_form="plain").sparsity == pytest.approx(1 / 50)
    only_mse = {"mse": 1.0, "cosine": 0.0}
    assert decided(d_in=8, length=4.0, variant="jumprelu", k=5, **only_mse).sparsity == pytest.approx(2)
    assert decided(d_in=8, length=4.0, variant="relu", **only_mse).l1 == pytest.approx(2 / 40)
    assert decided(variant="relu", kl=0.1).l1 == 0, "one penalty is enough"
    assert decided(prediction=1.0, cosine=0.0, variant="jumprelu").sparsity == 1


def test_relu_is_sparse_also_where_no_penalty_is_given_whatever_the_scale():
    config = replace(BY_VARIANT["relu"], l1=None, n_steps=300)
    (one, h1), (other, h2) = (train(scale * X, config, seed=0) for scale in (1, 64))
    assert h1.terms["l1"][0] * 64**2 == pytest.approx(h2.terms["l1"][0], rel=0.02)
    assert 1 < h1.l0[-1] < 8 < h1.l0[0] + 4
    assert one.config == other.config


def test_how_many_neurons_is_said_once():
    with pytest.raises(ConfigError, match="both say how many neurons") as error:
        TrainConfig(d_sae=512, expansion=8)
    assert "sae.expansion=none" in error.value.fix
    assert from_dict(TrainConfig, {"expansion": "8", "d_sae": "none"}).expansion == 8


def test_more_active_neurons_than_there_are_is_refused_also_when_the_number_is_known_late():
    with pytest.raises(ConfigError, match="at most d_sae"):
        train(X, TrainConfig(expansion=1, k=13), seed=0)


def test_the_defaults_train():
    sae, _ = train(X, TrainConfig(n_steps=3), seed=0)
    assert (sae.config.d_sae, sae.config.k) == (25, 6)
    assert np.isfinite(sae.reconstruct(X)).all()
