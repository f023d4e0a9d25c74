"""An SAE in the formats of others says the same as at home, and what would say something else is refused."""

import json
from itertools import product

import numpy as np
import pytest

from core.errors import DataError
from core.sae.exchange import (
    array_shapes,
    check_scales,
    from_arrays,
    from_saelens,
    read_layout,
    to_arrays,
    to_saelens,
)
from core.sae.model import SAE, SAEConfig

GATES, KINDS = ("relu", "topk", "threshold"), ("none", "global", "sample", "unit")


def some_sae(gate="topk", normalisation="none", centre_input=True, d_in=16, d_sae=40, levels=()):
    rng = np.random.default_rng(0)

    def drawn(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    config = SAEConfig(d_in, d_sae, gate, 5 if gate == "topk" else 0, normalisation, centre_input, levels)
    threshold = np.abs(drawn(d_sae)) if gate == "threshold" else np.zeros(0, np.float32)
    scale = 1.7 if normalisation == "global" else 1.0
    return SAE(
        config, drawn(d_in, d_sae), drawn(d_sae), drawn(d_sae, d_in), drawn(d_in), threshold, float(np.float32(scale))
    )


def equal(a: SAE, b: SAE) -> bool:
    arrays = zip(a.to_arrays().items(), b.to_arrays().items(), strict=True)
    same = all(n == m and x.dtype == y.dtype and x.tobytes() == y.tobytes() for (n, x), (m, y) in arrays)
    return a.config == b.config and same


def saelens(cfg, tensors, X):
    """Compute what SAELens computes, from its own equations, in float64."""
    X, t = np.asarray(X, np.float64), {name: np.asarray(a, np.float64) for name, a in tensors.items()}
    x_n, scale, shift = X, 1.0, 0.0
    if cfg["normalize_activations"] == "constant_norm_rescale":
        scale = np.linalg.norm(X, axis=1, keepdims=True) / np.sqrt(cfg["d_in"])
        x_n = X / scale
    elif cfg["normalize_activations"] == "layer_norm":
        shift, scale = X.mean(axis=1, keepdims=True), X.std(axis=1, ddof=1, keepdims=True)
        x_n = (X - shift) / (scale + 1e-5)
    pre = (x_n - t["b_dec"] * cfg["apply_b_dec_to_input"]) @ t["W_enc"] + t["b_enc"]
    if cfg.get("rescale_acts_by_decoder_norm"):
        pre = pre * np.linalg.norm(t["W_dec"], axis=1)
    acts = np.maximum(pre, 0)
    if cfg["architecture"] == "topk":
        acts[pre < np.sort(pre, axis=1)[:, [-cfg["k"]]]] = 0
    if "threshold" in t or "topk_threshold" in t:
        acts[pre <= t.get("threshold", t.get("topk_threshold"))] = 0
    decoded = acts
    if cfg.get("rescale_acts_by_decoder_norm"):
        decoded = acts / np.linalg.norm(t["W_dec"], axis=1)
    return acts, (decoded @ t["W_dec"] + t["b_dec"]) * scale + shift


def test_a_hand_made_folder_of_one_neuron_gives_the_numbers_of_a_head():
    cfg = {"architecture": "jumprelu", "d_in": 2, "d_sae": 1, "apply_b_dec_to_input": True}
    tensors = {
        "W_enc": np.array([[2.0], [1.0]]), "b_enc": np.array([-1.0]), "W_dec": np.array([[3.0, 4.0]]),
        "b_dec": np.array([1.0, 0.0]), "threshold": np.array([2.0]),
    }  # fmt: skip
    sae = from_saelens(cfg, tensors)
    # (2 - 1) * 2 + 2 * 1 - 1 = 3 is above 2; (1 - 1) * 2 + 3 - 1 = 2 is not.
    np.testing.assert_array_equal(sae.encode(np.array([[2.0, 2.0], [1.0, 3.0]])), [[3], [0]])
    np.testing.assert_array_equal(sae.reconstruct(np.array([[2.0, 2.0], [1.0, 3.0]])), [[10, 12], [1, 0]])


@pytest.mark.parametrize(("gate", "kind", "centre"), list(product(GATES, KINDS, (True, False))))
def test_the_equations_of_saelens_give_what_we_give(gate, kind, centre):
    sae = some_sae(gate, kind, centre, d_in=12)
    X = np.random.default_rng(1).standard_normal((200, 12)).astype(np.float32) * 3
    cfg, tensors = to_saelens(sae)
    cfg = json.loads(json.dumps(cfg))
    acts, rebuilt = saelens(cfg, tensors, X)
    np.testing.assert_allclose(sae.encode(X), acts, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sae.reconstruct(X), rebuilt, rtol=1e-4, atol=1e-3)
    back = from_saelens(cfg, tensors)
    np.testing.assert_allclose(back.encode(X), acts, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(back.reconstruct(X), rebuilt, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("gate", "kind", "centre"), list(product(GATES, ("none", "sample", "unit"), (True, False))))
def test_what_comes_back_from_saelens_is_the_same_bit_for_bit(gate, kind, centre):
    sae = some_sae(gate, kind, centre, d_in=16, levels=(10, 40))  # the root of 16 is a power of 2
    cfg, tensors = to_saelens(sae)
    assert equal(from_saelens(json.loads(json.dumps(cfg)), tensors), sae)


def test_a_divisor_that_is_no_power_of_two_comes_back_to_the_last_bit_of_rounding():
    sae = some_sae("topk", "unit", d_in=12)
    back = from_saelens(*to_saelens(sae))
    for name in ("W_enc", "W_dec", "b_dec"):
        np.testing.assert_allclose(getattr(back, name), getattr(sae, name), rtol=2**-23, atol=0)


def test_one_divisor_for_all_embeddings_goes_into_the_weights():
    sae = some_sae("topk", "global")
    cfg, tensors = to_saelens(sae)
    assert cfg["normalize_activations"] == "none"
    np.testing.assert_allclose(tensors["W_enc"], sae.W_enc / 1.7, rtol=1e-6)
    back = from_saelens(cfg, tensors)
    assert back.config.normalisation == "none"
    assert equal(from_saelens(*to_saelens(back)), back)


@pytest.mark.parametrize(("gate", "kind", "centre"), list(product(GATES, KINDS, (True, False))))
def test_named_arrays_come_back_bit_for_bit(gate, kind, centre):
    sae = some_sae(gate, kind, centre, d_in=12, levels=(10, 40))
    arrays = to_arrays(sae)
    shapes = {name: array.shape for name, array in arrays.items()}
    assert dict(array_shapes(shapes)) == shapes
    assert equal(from_arrays(arrays), sae)


def test_activations_that_saelens_rescales_by_the_decoder_are_rescaled():
    cfg, tensors = to_saelens(some_sae("topk"))
    cfg["rescale_acts_by_decoder_norm"] = True
    X = np.random.default_rng(1).standard_normal((200, 16)).astype(np.float32)
    acts, rebuilt = saelens(cfg, tensors, X)
    sae = from_saelens(cfg, tensors)
    np.testing.assert_allclose(sae.encode(X), acts, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sae.reconstruct(X), rebuilt, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(sae.W_dec, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka_batchtopk"])
def test_a_training_with_one_threshold_becomes_a_threshold_of_each_neuron(name):
    cfg, tensors = to_saelens(some_sae("threshold"))
    del tensors["threshold"], cfg["metadata"]
    cfg |= {"architecture": name, "k": 5.0} | ({"matryoshka_widths": [10, 40]} if name != "batchtopk" else {})
    sae = from_saelens(cfg, tensors | {"topk_threshold": np.array(0.75)})
    assert sae.config.gate == "threshold"
    assert sae.threshold.tolist() == [0.75] * 40
    assert sae.config.levels == ((10, 40) if name != "batchtopk" else ())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"architecture": "gated"}, "architecture 'gated'"),
        ({"architecture": "jumprelo"}, "did you mean 'jumprelu'"),
        ({"normalize_activations": "expected_average_only_in"}, "expected_average_only_in"),
        ({"activation_fn_str": "tanh-relu"}, "tanh-relu"),
        ({"finetuning_scaling_factor": True}, "finetuning_scaling_factor"),
        ({"d_in": "12"}, "d_in '12'"),
        ({"d_sae": None}, "d_sae None"),
        ({"d_in": 10**6, "d_sae": 10**6}, "1,000,000,000,000 weights"),
        ({"d_in": float("nan")}, "d_in nan"),
        ({"k": 41}, "k 41 with d_sae 40"),
        ({"k": 0}, "k 0"),
    ],
)
def test_what_saelens_says_and_we_cannot_is_refused(change, problem):
    cfg, _ = to_saelens(some_sae("topk"))
    with pytest.raises(DataError) as caught:
        read_layout(cfg | change)
    assert problem in caught.value.problem
    assert caught.value.fix


def test_a_flag_that_is_text_is_refused():
    cfg, tensors = to_saelens(some_sae())
    with pytest.raises(DataError, match="apply_b_dec_to_input false"):
        from_saelens(cfg | {"apply_b_dec_to_input": "false"}, tensors)


@pytest.mark.parametrize("levels", [[10], [40, 40], ["a"], 40, [0, 40]])
def test_levels_that_are_none_are_refused(levels):
    cfg, tensors = to_saelens(some_sae())
    cfg["metadata"]["steerlens"]["levels"] = levels
    with pytest.raises(DataError, match="levels"):
        from_saelens(cfg, tensors)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("gate", "topq", "did you mean 'topk'"), ("gate", None, "None"), ("normalisation", "layer", "normalisation"),
        ("k", None, "no array k"), ("k", 0, "k is 0"), ("levels", np.array([3, 2]), "levels"),
    ],
)  # fmt: skip
def test_named_arrays_that_are_no_sae_are_refused(name, value, problem):
    arrays = to_arrays(some_sae("topk"))
    if value is None:
        del arrays[name]
    else:
        arrays[name] = np.asarray(value)
    with pytest.raises(DataError) as caught:
        from_arrays(arrays)
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ({"W_enc": (3, 4), "bias": (3,)}, "'bias'"), ({}, "W_enc"), ({"W_enc": (3,)}, "(3,)"),
        ({"W_enc": (10**6, 10**6)}, "expected (d_in, d_sae)"),
    ],
)  # fmt: skip
def test_names_and_sizes_that_no_sae_has_are_refused(shapes, problem):
    with pytest.raises(DataError) as caught:
        array_shapes(shapes)
    assert problem in caught.value.problem


@pytest.mark.parametrize(("kind", "least"), [("unit", 1e-3), ("sample", 0.1)])
def test_embeddings_too_short_for_the_way_saelens_divides_are_refused(kind, least):
    X = np.random.default_rng(1).standard_normal((50, 16)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True) if kind == "unit" else X.std(axis=1, ddof=1, keepdims=True)
    sae = some_sae("topk", kind)
    check_scales(sae, np.concatenate([1.1 * least * X, np.zeros((1, 16))]), "written")
    with pytest.raises(DataError, match=f"50 embeddings .* below {least:g}"):
        check_scales(sae, 0.9 * least * X, "written")
    check_scales(some_sae("topk", "global"), 1e-9 * X, "written")
