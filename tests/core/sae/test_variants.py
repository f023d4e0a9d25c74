"""What every variant must keep, and what is its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from core.sae import losses, metrics
from core.sae.config import TrainConfig
from core.sae.model import SAE, SAEConfig
from core.sae.trainer import train
from core.sae.variants import VARIANTS, Gate, Pass
from core.sae.weights import Weights
from tests.core.sae.planted import BY_VARIANT, as_pre_acts, planted, recovered

X, DIRECTIONS = planted()


@pytest.fixture(scope="module", params=VARIANTS)
def trained(request):
    """A variant, its settings, and what a training of them gave."""
    config = BY_VARIANT[request.param]
    return VARIANTS[request.param], config, *train(X, config, seed=0)


def forward(sae, variant, k, X):
    """Give the activations and reconstructions that training computes of weights."""
    gate = Gate(k, torch.tensor(sae.threshold) if variant.threshold == "learnt" else None, 0.1)
    weights = Weights(sae.W_dec, sae.b_dec, sae.W_enc.T, tied=False)
    with torch.no_grad():
        weights.b_enc.copy_(torch.tensor(sae.b_enc))
        x, scale, shift = (torch.from_numpy(a) for a in sae.normalise(X))
        active = variant.activate(weights.pre_acts(x, sae.config.centre_input), gate)
        x_hat = (active.decode(weights.W_dec) + weights.b_dec) * scale + shift
    return active, x_hat.numpy()


def test_the_planted_dictionary_is_recovered(trained):
    _, _, sae, history = trained
    assert recovered(sae, DIRECTIONS) > 0.9
    assert history.loss[-1] < history.loss[0] / 3


def test_shapes_are_those_of_the_settings(trained):
    variant, config, sae, history = trained
    assert sae.config == SAEConfig(12, 16, variant.gate, 2 if variant.gate == "topk" else 0, "none")
    assert sae.W_enc.shape == (12, 16) and sae.W_dec.shape == (16, 12)
    assert sae.b_enc.shape == (16,) and sae.b_dec.shape == (12,)
    assert sae.encode(X).shape == (len(X), 16) and sae.encode(X).min() == 0
    assert sae.reconstruct(X).shape == X.shape
    assert all(array.dtype == np.float32 for array in sae.to_arrays().values())
    assert history.step[-1] == config.n_steps and len(history.step) == len(history.l0)


def test_as_many_neurons_fire_as_was_asked_for(trained):
    variant, config, sae, history = trained
    if not variant.has_k:
        sparser = train(X, replace(config, l1=0.05), seed=0)[0]
        assert metrics.l0(sparser.encode(X)) < metrics.l0(sae.encode(X)) < 6
    else:
        assert metrics.l0(sae.encode(X)) == pytest.approx(config.k, rel=0.1)
        assert history.l0[-1] == pytest.approx(config.k, rel=0.15)


def test_the_finished_model_computes_what_training_computed(trained):
    variant, config, sae, _ = trained
    active, x_hat = forward(sae, variant, config.k, X)
    assert np.array_equal(active.fired(16).numpy(), (sae.encode(X) > 0).any(axis=0))
    assert np.allclose(x_hat, sae.reconstruct(X), atol=1e-5)


def test_a_saved_model_is_read_back_as_it_was(trained):
    *_, sae, _ = trained
    again = SAE.from_arrays(sae.config, sae.to_arrays())
    assert np.array_equal(again.encode(X), sae.encode(X))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains_alike_from_the_same_seed_and_otherwise_from_another(name):
    config = replace(BY_VARIANT[name], n_steps=60)
    (first, h1), (second, h2), (other, _) = (train(X, config, seed=s) for s in (1, 1, 2))
    for key, array in first.to_arrays().items():
        assert np.array_equal(array, second.to_arrays()[key])
    assert np.array_equal(h1.loss, h2.loss)
    assert not np.array_equal(first.W_dec, other.W_dec)


@pytest.mark.parametrize("normalisation", ["none", "global", "sample", "unit"])
@pytest.mark.parametrize("name", VARIANTS)
def test_training_and_inference_compute_the_same_under_every_normalisation(name, normalisation):
    config = replace(BY_VARIANT[name], normalisation=normalisation, n_steps=20)
    sae, _ = train(X, config, seed=3)
    active, x_hat = forward(sae, VARIANTS[name], config.k, X)
    assert np.allclose(x_hat, sae.reconstruct(X), atol=1e-5)
    assert np.array_equal(active.fired(16).numpy(), (sae.encode(X) > 0).any(axis=0))


@pytest.mark.parametrize("name", VARIANTS)
def test_tied_stays_tied_and_untied_parts(name):
    config = replace(BY_VARIANT[name], n_steps=60)
    tied, _ = train(X, replace(config, tied=True), seed=0)
    assert np.array_equal(tied.W_enc, tied.W_dec.T)
    untied, _ = train(X, config, seed=0)
    assert not np.allclose(untied.W_enc, untied.W_dec.T, atol=1e-3)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("rows", [np.ones((1, 16)), np.zeros((3, 16)), np.ones((40, 16))], ids=["one", "zero", "equal"])
def test_rows_that_do_not_differ_give_a_finite_model(name, rows):
    for normalisation in ("global", "sample", "unit"):
        sae, _ = train(rows, replace(BY_VARIANT[name], normalisation=normalisation, n_steps=5), seed=0)
        assert np.isfinite(sae.reconstruct(rows)).all()


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.has_k])
def test_the_length_given_back_to_the_cosine_keeps_who_fires(name):
    config = replace(BY_VARIANT[name], mse=0.0, cosine=1.0, n_steps=200)
    sae, _ = train(X, config, seed=0)
    x_hat = sae.reconstruct(X)
    assert (X * x_hat).sum() / (x_hat * x_hat).sum() == pytest.approx(1, abs=1e-3)
    assert metrics.l0(sae.encode(X)) == pytest.approx(config.k, rel=0.25)


def test_gradients_of_the_sparse_decoder_equal_those_of_a_dense_one():
    torch.manual_seed(0)
    x, W_dec = torch.randn(12, 5), torch.randn(9, 5, requires_grad=True)
    pre_acts = torch.randn(12, 9, requires_grad=True)
    sparse = VARIANTS["topk"].activate(as_pre_acts(pre_acts), Gate(4)).decode(W_dec)
    kept = pre_acts >= pre_acts.sort(dim=1, descending=True).values[:, 3:4]
    dense = (functional.relu(pre_acts) * kept) @ W_dec
    assert torch.allclose(sparse, dense, atol=1e-6)
    for ours, naive in zip(
        torch.autograd.grad(losses.mse(x, sparse), [W_dec, pre_acts]),
        torch.autograd.grad(losses.mse(x, dense), [W_dec, pre_acts]),
        strict=True,
    ):
        assert torch.allclose(ours, naive, atol=1e-6)


def test_of_a_batch_the_largest_values_stay_wherever_they_are():
    pre_acts = torch.tensor([[5.0, 4.0, 3.0], [1.0, 2.0, -9.0]], requires_grad=True)
    active = VARIANTS["batchtopk"].activate(as_pre_acts(pre_acts), Gate(2))
    assert active.values.tolist() == [[5, 4, 3], [2, 0, 0]] and active.where.tolist() == [[0, 1, 2], [1, -1, -1]]
    active.values.sum().backward()
    assert pre_acts.grad.tolist() == [[1, 1, 1], [0, 1, 0]]


def test_of_a_batch_with_fewer_positive_values_those_stay():
    pre_acts = torch.tensor([[5.0, -4.0], [-1.0, -2.0]])
    assert VARIANTS["batchtopk"].activate(as_pre_acts(pre_acts), Gate(1)).values.tolist() == [[5], [0]]


def test_one_threshold_for_all_neurons_is_measured_when_training_is_over():
    sae, _ = train(X, replace(BY_VARIANT["batchtopk"], n_steps=60), seed=0)
    assert len(np.unique(sae.threshold)) == 1
    acts = sae.encode(X)
    assert (acts > 0).sum() == 2 * len(X), "on the embeddings of the training exactly k on average"
    assert len(np.unique((acts > 0).sum(axis=1))) > 1, "and not k for each"


def identity(values):
    """An SAE whose values before the gate are its input."""
    d = values.shape[1]
    return SAE(SAEConfig(d, d, "relu"), np.eye(d, dtype=np.float32), *(np.zeros(s, np.float32) for s in (d, (d, d), d)))


def test_the_threshold_lies_between_the_last_value_that_stays_and_the_next():
    values = np.array([[5.0, 4.0, 3.0], [1.0, 2.0, -9.0]], np.float32)
    assert metrics.threshold_at(identity(values), values, 1) == 3.5
    assert metrics.threshold_at(identity(values), values, 2) == 1.5
    assert metrics.threshold_at(identity(values), values, 3) == 0, "only five of six are positive"


def test_what_ties_at_the_threshold_stays(monkeypatch):
    values = np.array([[5.0, 2.0], [2.0, 2.0], [1.0, 1.0]], np.float32)
    for n_chunk in (1, 2, 4096):
        monkeypatch.setattr(metrics, "N_CHUNK", n_chunk)
        assert (values > metrics.threshold_at(identity(values), values, 1)).sum() == 4


def test_the_pseudo_gradients_of_a_threshold_are_those_of_the_paper():
    # θ = 1, ε = 0.5: the window is from 0.75 to 1.25. 1.2 and 0.9 are in it, 1.25 at its edge is not, nor are 2 and 0.
    z = torch.tensor([[1.2], [0.9], [1.25], [2.0], [0.0]], requires_grad=True)
    outer = torch.tensor([[3.0], [5.0], [7.0], [11.0], [13.0]])
    threshold = torch.tensor([1.0], requires_grad=True)
    active = as_pre_acts(z).above(threshold, 0.5)
    assert active.values.flatten().tolist() == pytest.approx([1.2, 0, 1.25, 2, 0])
    to_z, to_threshold = torch.autograd.grad((active.values * outer).sum(), [z, threshold])
    assert to_z.flatten().tolist() == [3, 0, 7, 11, 0]
    assert to_threshold.tolist() == [-(1.0 / 0.5) * (3 + 5)]
    count = as_pre_acts(z).above(threshold, 0.5).n_firing
    assert count.tolist() == [1, 0, 1, 1, 0]
    to_z, to_threshold = torch.autograd.grad((count * outer.flatten()).sum(), [z, threshold], allow_unused=True)
    assert to_z is None or not to_z.any()
    assert to_threshold.tolist() == [-(1 / 0.5) * (3 + 5)]


def test_each_neuron_has_its_own_pseudo_gradient_and_its_logarithm_the_chain_rule():
    # Thresholds 1 and 2, ε = 1: 1.2 is near 1, 2.4 near 2; of the logarithm the gradient is θ times as large.
    log_threshold = torch.log(torch.tensor([1.0, 2.0])).requires_grad_()
    z = torch.tensor([[1.2, 2.4], [9.0, 9.0]])
    active = as_pre_acts(z).above(log_threshold.exp(), 1.0)
    (gradient,) = torch.autograd.grad(active.values.sum(), [log_threshold], retain_graph=True)
    assert gradient.tolist() == pytest.approx([1 * -(1 / 1), 2 * -(2 / 1)])
    (gradient,) = torch.autograd.grad(active.n_firing.sum(), [log_threshold])
    assert gradient.tolist() == pytest.approx([1 * -1, 2 * -1])


def penalty(config, pre_acts, k):
    x = torch.zeros(len(pre_acts), 2)
    gate = Gate(k, torch.ones(pre_acts.shape[1]), 0.1)
    before = as_pre_acts(pre_acts)
    active = VARIANTS["jumprelu"].activate(before, gate)
    dead = torch.zeros(pre_acts.shape[1], dtype=torch.bool)
    return VARIANTS["jumprelu"].penalty(
        Pass(x, before, gate, active, [x], dead, torch.zeros(pre_acts.shape[1], 2), torch.zeros(2)), config
    )


def test_the_penalty_on_active_neurons_is_about_their_mean_number():
    pre_acts = torch.tensor([[2.0, 2.0, 2.0], [2.0, 0.0, 0.5]])  # 3 and 1 fire: 2 on average
    config = replace(BY_VARIANT["jumprelu"], sparsity=0.5)
    assert penalty(config, pre_acts, 4)["l0"].item() == pytest.approx(0.5 * (2 / 4 - 1) ** 2)
    assert penalty(config, pre_acts, 2)["l0"].item() == 0
    assert penalty(replace(config, sparsity_form="plain"), pre_acts, 4)["l0"].item() == pytest.approx(0.5 * 2)
    assert penalty(replace(config, sparsity=0.0), pre_acts, 4) == {}


def test_a_higher_price_of_active_neurons_leaves_fewer():
    config = replace(BY_VARIANT["jumprelu"], sparsity_form="plain", n_steps=200)
    few, many = (metrics.l0(train(X, replace(config, sparsity=price), seed=0)[0].encode(X)) for price in (0.03, 0.003))
    assert few < many - 0.5


def test_learnt_thresholds_are_above_zero_and_differ():
    sae, _ = train(X, replace(BY_VARIANT["jumprelu"], n_steps=60), seed=0)
    assert (sae.threshold > 0).all() and len(np.unique(sae.threshold)) > 1


def test_what_a_penalty_costs_does_not_depend_on_the_scale_of_the_embeddings():
    config = replace(BY_VARIANT["jumprelu"], n_steps=60, learning_rate=1e-9)
    (_, small), (_, large) = (train(scale * X, config, seed=0) for scale in (1, 100))
    for history, scale in ((small, 1), (large, 100)):
        assert history.l0 == pytest.approx(small.l0)
        assert history.terms["l0"] / scale**2 == pytest.approx(small.terms["l0"], rel=1e-3)


def test_a_variant_that_is_not_there_names_the_nearest():
    with pytest.raises(Exception, match="did you mean 'batchtopk'"):
        TrainConfig(variant="batchtok")
