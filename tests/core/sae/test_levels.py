"""Nested neurons (Matryoshka)."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from core.configs import from_dict
from core.errors import ConfigError
from core.sae.config import TrainConfig
from core.sae.metrics import fvu, l0
from core.sae.model import SAE, SAEConfig
from core.sae.trainer import train
from core.sae.variants import VARIANTS, Active
from tests.core.sae.planted import BY_VARIANT, planted

X, _ = planted(n=800)
LEVELS = (0.25, 0.5, 1.0)


def by_first(sae, n):
    """Give the share of variance that the first n neurons leave unexplained."""
    acts = sae.encode(X)
    acts[:, n:] = 0
    return fvu(X, acts @ sae.W_dec + sae.b_dec)


def test_each_prefix_decodes_its_own_neurons_and_those_before():
    values, W_dec = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [10.0, 10.0]])
    wanted = [[[1.0, 0.0]], [[1.0, 2.0]], [[31.0, 32.0]]]
    assert [p.tolist() for p in Active(values, None).decode_prefixes(W_dec, (1, 2, 3))] == wanted
    shuffled = Active(values[:, [2, 0, 1]], torch.tensor([[2, 0, 1]]))
    assert [p.tolist() for p in shuffled.decode_prefixes(W_dec, (1, 2, 3))] == wanted
    assert [p.tolist() for p in shuffled.decode_prefixes(W_dec, ())] == wanted[-1:]


@pytest.mark.parametrize("term", ["mse", "fvu", "cosine"])
def test_the_reconstruction_term_is_the_mean_over_the_levels(term):
    config = replace(BY_VARIANT["topk"], n_steps=1, batch_size=800, learning_rate=1e-30, **{"mse": 0.0, term: 2.0})
    _, nested = train(X, replace(config, levels=LEVELS), seed=0)
    sae, plain = train(X, replace(config, decay_share=0.0), seed=0)
    acts = sae.encode(X)
    parts = []
    for n in (4, 8, 16):
        x_hat = np.where(np.arange(16) < n, acts, 0) @ sae.W_dec + sae.b_dec
        cosines = (X * x_hat).sum(axis=1) / np.linalg.norm(X, axis=1) / np.linalg.norm(x_hat, axis=1)
        parts.append({"mse": np.square(X - x_hat).mean(), "fvu": fvu(X, x_hat), "cosine": 1 - cosines.mean()}[term])
    assert nested.terms[term][0] == pytest.approx(2 * np.mean(parts), rel=1e-3)
    assert plain.terms[term][0] == pytest.approx(2 * parts[-1], rel=1e-3)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_broad_level_rebuilds_more_than_as_many_neurons_of_a_flat_dictionary(name):
    config = replace(BY_VARIANT[name], n_steps=300)
    nested, flat = (train(X, replace(config, levels=levels), seed=0)[0] for levels in (LEVELS, ()))
    assert nested.config.levels == (4, 8, 16)
    assert by_first(nested, 4) < by_first(flat, 4) - 0.05
    assert by_first(nested, 16) < by_first(nested, 8) < by_first(nested, 4)
    if VARIANTS[name].has_k:
        assert l0(nested.encode(X)) == pytest.approx(config.k, rel=0.15)


def test_one_level_of_everything_is_no_nesting():
    config = replace(BY_VARIANT["batchtopk"], n_steps=30)
    once, none = (train(X, replace(config, levels=levels), seed=0)[0] for levels in ((1.0,), ()))
    assert np.allclose(once.W_dec, none.W_dec, atol=1e-6)


def test_a_neuron_knows_its_level():
    blank = np.zeros((5, 2), np.float32)
    sae = SAE(SAEConfig(2, 5, "relu", levels=(1, 3, 5)), blank.T, blank[:, 0], blank, blank[0])
    assert sae.level_of.tolist() == [0, 1, 1, 2, 2]
    flat = SAE(SAEConfig(2, 5, "relu"), blank.T, blank[:, 0], blank, blank[0])
    assert flat.level_of.tolist() == [0] * 5


def test_models_that_were_saved_before_there_were_levels_are_read_and_new_ones_keep_theirs():
    old = {"d_in": 2, "d_sae": 5, "gate": "topk", "k": 2, "normalisation": "unit", "centre_input": True}
    assert from_dict(SAEConfig, old).levels == ()
    new = SAEConfig(2, 5, "relu", levels=(1, 3, 5))
    assert from_dict(SAEConfig, asdict(new) | {"levels": [1, 3, 5]}) == new


@pytest.mark.parametrize("levels", ["0.5", "0.5,0.25,1", "0.5,1,1", "0,1", "1.5,1"])
def test_levels_that_do_not_rise_to_one_are_refused(levels):
    with pytest.raises(ConfigError, match="levels"):
        from_dict(TrainConfig, {"levels": levels})


def test_levels_without_a_neuron_are_refused():
    with pytest.raises(ConfigError, match=r"sae\.levels"):
        train(X, replace(BY_VARIANT["topk"], d_sae=4, levels=(0.01, 0.5, 1.0)), seed=0)


def test_levels_are_read_from_the_command_line():
    assert from_dict(TrainConfig, {"levels": ".25,.5,1"}).levels == (0.25, 0.5, 1.0)
