import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.sae import losses, metrics
from core.sae.variants import VARIANTS, Gate, Pass
from tests.core.sae.planted import BY_VARIANT, as_pre_acts


def t(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_the_mean_squared_error_is_over_rows_and_dimensions():
    assert losses.mse(t([1, 2], [3, 4]), t([1, 0], [3, 2])).item() == pytest.approx((4 + 4) / 4)


def test_the_unexplained_variance_is_about_the_mean():
    # Variance about the mean (2, 0): 1 + 1 = 2. Error: 1.
    assert losses.fvu(t([1, 0], [3, 0]), t([1, 1], [3, 0])).item() == pytest.approx(0.5)


def test_predicting_the_mean_leaves_all_variance_unexplained():
    X = np.random.default_rng(0).normal(5, 2, (50, 3)).astype(np.float32)
    X_hat = np.broadcast_to(X.mean(axis=0), X.shape)
    assert losses.fvu(torch.tensor(X), torch.tensor(X_hat.copy())).item() == pytest.approx(1, abs=1e-5)
    assert metrics.fvu(X, X_hat) == pytest.approx(1, abs=1e-6)


def test_the_cosine_loss_ignores_length_and_knows_angles():
    assert losses.cosine(t([1, 0], [0, 2]), t([9, 0], [3, 3])).item() == pytest.approx((0 + 1 - math.sqrt(0.5)) / 2)


def test_l1_sums_over_neurons_and_averages_over_rows():
    assert losses.l1(t([1, 2, 0], [0, 0, 5])).item() == pytest.approx(4.0)


def test_kl_compares_the_mean_activation_with_its_target():
    # Mean activations .2 and .5 against rho .2: the first costs nothing.
    expected = 0.2 * math.log(0.2 / 0.5) + 0.8 * math.log(0.8 / 0.5)
    assert losses.kl(t([0.4, 0.5], [0.0, 0.5]), 0.2).item() == pytest.approx(expected)


def test_kl_stays_finite_for_silent_and_for_loud_neurons():
    assert math.isfinite(losses.kl(t([0, 7]), 0.05).item())


def auxiliary(x, x_hat, *, pre_acts, dead, W_dec, k_aux, b_dec=None, form="residual"):
    """Give the term that revives dead neurons, of weight 1, or None where there is none."""
    config = replace(BY_VARIANT["topk"], auxk_coefficient=1.0, auxk_form=form, k_aux=k_aux)
    before, gate = as_pre_acts(pre_acts), Gate(1)
    b_dec = torch.zeros(x.shape[1]) if b_dec is None else b_dec
    active = VARIANTS["topk"].activate(before, gate)
    return VARIANTS["topk"].penalty(Pass(x, before, gate, active, [x_hat], dead, W_dec, b_dec), config).get("auxk")


def test_the_auxiliary_loss_scores_the_dead_neurons_on_the_residual():
    # x - x_hat = (0, 2) in row 1 and 0 in row 2. Neuron 1 is dead and gives 1.5 * (0, 1): (0.5)^2 is left.
    # Variance about the mean (0.5, 1): 2 * (0.25 + 1) = 2.5.
    x, x_hat = t([1, 2], [0, 0]), t([1, 0], [0, 0])
    value = auxiliary(
        x, x_hat, pre_acts=t([9, 1.5], [9, -1]), dead=torch.tensor([False, True]), W_dec=torch.eye(2), k_aux=8
    )
    assert value.item() == pytest.approx(0.25 / 2.5)


def test_the_auxiliary_loss_pulls_a_dead_neuron_towards_the_residual_and_moves_no_living_one():
    x, x_hat = t([1, 2], [0, 0]), t([1, 0], [0, 0]).requires_grad_()
    W_dec = torch.tensor([[1.0, 0.0], [0.6, 0.8]], requires_grad=True)
    value = auxiliary(x, x_hat, pre_acts=t([9, 1], [9, -1]), dead=torch.tensor([False, True]), W_dec=W_dec, k_aux=1)
    (gradient, to_living) = torch.autograd.grad(value, [W_dec, x_hat], allow_unused=True)
    assert to_living is None
    assert gradient[0].abs().sum() == 0
    assert gradient[1, 1] < 0, "descent must raise the neuron's part along x - x_hat = (0, 2)"


def test_without_dead_neurons_there_is_no_auxiliary_loss():
    x = t([1, 2])
    none = torch.zeros(2, dtype=torch.bool)
    assert auxiliary(x, 0 * x, pre_acts=x, dead=none, W_dec=torch.eye(2), k_aux=2) is None


def as_recsae_has_it(x, pre_acts, W_dec, b_dec, *, k, chosen_before, k_aux):
    """Give the auxiliary loss term by term, as RecSAE's public code computes it, with neuron numbers in sets."""
    d_sae = W_dec.shape[0]
    acts = torch.relu(pre_acts)
    x_hat = torch.stack([sum(acts[i, j] * W_dec[j] for j in acts[i].topk(k).indices) for i in range(len(x))]) + b_dec
    e = x_hat - x
    dead = sorted(set(range(d_sae)) - set(chosen_before))
    scale = min(len(dead) / k_aux, 1.0)
    e_hat = []
    for row in acts:
        strongest = sorted(dead, key=lambda j: -row[j].item())[: min(k_aux, len(dead))]
        e_hat.append(sum(row[j] * W_dec[j] for j in strongest) + b_dec)
    total_variance = ((x - x.mean(0)) ** 2).sum()
    return x_hat, scale * ((torch.stack(e_hat) - e) ** 2).sum() / total_variance


@pytest.mark.parametrize("k_aux", [2, 4, 9])
def test_the_auxiliary_loss_of_the_public_codes_is_theirs_and_so_are_its_gradients(k_aux):
    torch.manual_seed(0)
    x, b_dec = torch.randn(7, 5), torch.randn(5, requires_grad=True)
    W_dec, pre_acts = torch.randn(12, 5, requires_grad=True), torch.randn(7, 12, requires_grad=True)
    dead = torch.zeros(12, dtype=torch.bool)
    dead[[1, 4, 5, 11]] = True
    alive = [j for j in range(12) if not dead[j]]
    x_hat, wanted = as_recsae_has_it(x, pre_acts, W_dec, b_dec, k=3, chosen_before=alive, k_aux=k_aux)
    value = auxiliary(x, x_hat, pre_acts=pre_acts, dead=dead, W_dec=W_dec, b_dec=b_dec, k_aux=k_aux, form="recsae-code")
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)
    leaves = [W_dec, pre_acts, b_dec]
    ours, theirs = (torch.autograd.grad(v, leaves, retain_graph=True) for v in (value, wanted))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs, strict=True))


def test_the_two_auxiliary_losses_pull_a_dead_neuron_opposite_ways():
    x, x_hat = t([1, 2], [0, 0]), t([1, 0], [0, 0])
    W_dec = torch.tensor([[1.0, 0.0], [0.6, 0.8]], requires_grad=True)
    given = {"pre_acts": t([9, 1], [9, -1]), "dead": torch.tensor([False, True]), "W_dec": W_dec, "k_aux": 1}
    (right,) = torch.autograd.grad(auxiliary(x, x_hat, **given), [W_dec])
    (reversed_,) = torch.autograd.grad(auxiliary(x, x_hat, form="recsae-code", **given), [W_dec])
    assert right[1, 1] < 0 < reversed_[1, 1], "x - x_hat is (0, 2): only the first descends towards it"


def test_the_prediction_loss_compares_scores_and_its_gradient_reaches_the_reconstruction():
    V = t([2, 0], [0, 1], [1, 1])
    x, x_hat = t([1, 1]), t([0, 1]).requires_grad_()
    value = losses.prediction(x, x_hat, lambda u: u @ V.T)
    # Scores differ by (2, 0, 1).
    assert value.item() == pytest.approx(5 / 3)
    value.backward()
    assert torch.allclose(x_hat.grad, t([-2 * (2 * 2 + 1) / 3, -2 * 1 / 3]))


V = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 3.0]])


class Pairs:
    """A linear scorer that says how many scores it was asked for."""

    def __init__(self):
        self.n_scores = 0

    def __call__(self, x, items=None):
        if items is None:
            self.n_scores += len(x) * len(V)
            return x @ V.T
        self.n_scores += items.numel()
        return torch.einsum("nd,nmd->nm", x, V[items])


def plain(x):
    return x @ V.T


def test_only_the_chosen_columns_are_scored_and_compared():
    x, x_hat, scorer = t([1, 1], [0, 2]), t([0, 1], [1, 2]), Pairs()
    # Row 1 differs by (2, 0, 1, -1), row 2 by (-2, 0, -1, 1).
    items = torch.tensor([[0, 1], [2, 2]])
    value = losses.prediction(x, x_hat, scorer, items=items)
    assert value.item() == pytest.approx((4 + 0 + 1 + 1) / 4)
    assert scorer.n_scores == 2 * items.numel()
    assert losses.prediction(x, x_hat, plain, items=items).item() == pytest.approx(value.item())


@pytest.mark.parametrize("top_n", [0, 2, 9])
def test_all_columns_as_pairs_are_the_full_form(top_n):
    x, x_hat = torch.randn(5, 2), torch.randn(5, 2, requires_grad=True)
    everything = torch.stack([torch.randperm(4) for _ in range(5)])
    full = losses.prediction(x, x_hat, plain, top_n=top_n)
    pairs = losses.prediction(x, x_hat, Pairs(), items=everything, top_n=top_n)
    assert pairs.item() == pytest.approx(full.item(), rel=1e-5)
    ours, theirs = (torch.autograd.grad(value, [x_hat])[0] for value in (full, pairs))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_highest_scores_count_as_much_as_all_that_are_compared():
    # Scores 2, 2, 3, 5 and 0, 2, 2, 6: squares 4, 0, 1, 1, and the two highest are the last two.
    x, x_hat = t([1, 2]), t([0, 2])
    assert losses.prediction(x, x_hat, plain).item() == pytest.approx(6 / 4)
    assert losses.prediction(x, x_hat, plain, top_n=2).item() == pytest.approx((6 / 4 + 1) / 2)
    picked = losses.prediction(x, x_hat, plain, items=torch.tensor([[0]]), top_n=2)
    assert picked.item() == pytest.approx((4 + 1) / 2)


def test_a_scorer_says_by_its_arguments_whether_it_can_do_with_fewer_columns():
    class Module(torch.nn.Module):
        def forward(self, x, items=None):
            return x

    assert losses.takes_items(Pairs()) and losses.takes_items(Module())
    assert not losses.takes_items(plain) and not losses.takes_items(torch.nn.Linear(2, 4))
