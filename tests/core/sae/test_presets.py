"""The papers' recipes, as far as the SAE goes."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from core.configs import from_dict
from core.errors import ConfigError
from core.presets import PRESETS, preset
from core.recommenders.base import recommender_class
from core.sae.config import TrainConfig
from core.sae.trainer import train
from core.sae.variants import VARIANTS
from tests.core.sae.planted import planted


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_recipe_for_its_recommender(name):
    config = from_dict(TrainConfig, preset(name).sae, "sae.")
    assert config.variant in VARIANTS
    assert preset(name).paper and preset(name).summary
    from_dict(recommender_class(preset(name).recommender).Config, preset(name).recommender_settings, "recommender.")


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'knots'"):
        preset("knot")


def settings(name, d_in=64):
    return from_dict(TrainConfig, preset(name).sae).decided(5000, d_in, 10.0)


def test_popsteer_and_recsae_have_the_sizes_of_their_papers():
    popsteer, recsae = settings("popsteer"), settings("recsae")
    assert (popsteer.d_sae, popsteer.k, popsteer.k_aux) == (4096, 32, 128)
    assert (recsae.d_sae, recsae.k, recsae.k_aux) == (2048, 32, 32)
    assert (popsteer.fvu, popsteer.auxk_coefficient, recsae.auxk_coefficient) == (1, 1 / 2, 1 / 32)
    assert (popsteer.decoder_norm, recsae.decoder_norm) == ("start", "epoch")
    assert popsteer.normalisation == recsae.normalisation == "none"
    assert settings("popsteer", d_in=16).d_sae == 1024, "a multiple of the width, whatever it is"


def test_knots_and_monosemantic_have_theirs_whatever_the_data():
    assert (settings("knots").d_sae, settings("knots").k, settings("knots").k_aux) == (512, 128, 64)
    for name in ("monosemantic", "monosemantic-faithful"):
        assert (settings(name).d_sae, settings(name).l1) == (22, 0)


def test_a_persons_number_of_neurons_takes_the_place_of_the_presets():
    assert from_dict(TrainConfig, preset("popsteer").sae_with({"d_sae": "500"})).d_sae == 500
    assert from_dict(TrainConfig, preset("knots").sae_with({"expansion": "4"})).expansion == 4
    both = preset("knots").sae_with({"k": "9"})
    assert both == {**preset("knots").sae, "k": "9"}
    assert preset("knots").sae["d_sae"] == 512, "the preset itself stays as it is"


@pytest.mark.parametrize("name", ["popsteer", "recsae"])
@pytest.mark.parametrize("auxk_form", ["residual", "recsae-code"])
def test_the_recipes_of_the_sequence_models_train(name, auxk_form):
    X, _ = planted(n=300, d_in=16, n_directions=30, n_active=3)
    config = from_dict(TrainConfig, preset(name).sae_with({"k": 8, "n_steps": 60, "batch_size": 100}))
    config = replace(config, auxk_form=auxk_form, history_dropout=0.0)
    sae, history = train(X, config, seed=0)
    assert sae.config.d_sae == 16 * {"popsteer": 64, "recsae": 32}[name]
    assert history.terms["fvu"][-1] < history.terms["fvu"][0] / 2
    # None is dead in the first epoch, of 3 steps: the loss is the unexplained variance alone, as in the papers.
    assert not history.terms["auxk"][:3].any() and (history.terms["auxk"][3:] > 0).all()
    assert asdict(sae.config) | {"d_sae": 0} == {
        "d_in": 16, "d_sae": 0, "gate": "topk", "k": 8, "normalisation": "none", "centre_input": True, "levels": (),
    }  # fmt: skip
    lengths = np.linalg.norm(sae.W_dec, axis=1)
    assert 1e-4 < np.abs(lengths - 1).max() < 1, "of length 1 at the start, free since"
