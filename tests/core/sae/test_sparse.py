"""What the compiled loops compute, beside the same equations over full matrices."""

from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from torch.nn import functional

from core.sae import kernels, losses
from core.sae.objective import Objective
from core.sae.optimiser import Adam
from core.sae.sparse import decode_levels, encode_strongest, encode_strongest_of_batch
from core.sae.variants import VARIANTS, Gate, Pass
from core.sae.weights import Weights
from tests.core.sae.planted import BY_VARIANT, as_pre_acts

N, D_IN, D_SAE = 37, 20, 150


def weights(tied=False):
    """Give weights of which no two parts are alike."""
    rng = np.random.default_rng(3)
    W_dec, encoder = rng.standard_normal((2, D_SAE, D_IN))
    out = Weights(W_dec, rng.standard_normal(D_IN), encoder, tied=tied)
    with torch.no_grad():
        out.b_enc.copy_(torch.from_numpy(rng.standard_normal(D_SAE)))
    return out


def compare(ours, wanted, w, *others):
    """Assert that two losses and their gradients are the same."""
    assert ours.item() == pytest.approx(wanted.item(), rel=1e-5)
    names, leaves = zip(*w.parameters().items(), *((str(i), other) for i, other in enumerate(others)), strict=True)
    for name, mine, naive in zip(
        names, torch.autograd.grad(ours, leaves, retain_graph=True), torch.autograd.grad(wanted, leaves), strict=True
    ):
        assert torch.allclose(mine, naive, rtol=1e-4, atol=1e-5 * float(naive.abs().max())), name


def as_matrices(before, gate, dead, W_dec, b_dec, borders, k_aux):
    """Give the reconstructions and what the dead decode to, by sorting and full matrices."""
    z = before.dense
    largest = z >= z.sort(dim=1, descending=True).values[:, gate.k - 1 : gate.k]
    acts = functional.relu(z) * largest
    x_hats = [(acts * (torch.arange(D_SAE) < border)) @ W_dec + b_dec for border in borders or (D_SAE,)]
    of_dead = torch.where(dead, z, -torch.inf)
    k_aux = min(k_aux, int(dead.sum()))
    strongest = of_dead >= of_dead.sort(dim=1, descending=True).values[:, k_aux - 1 : k_aux]
    return acts, x_hats, (functional.relu(z) * strongest) @ W_dec


@pytest.mark.parametrize("k_aux", [6, 200])
@pytest.mark.parametrize("form", ["residual", "recsae-code"])
@pytest.mark.parametrize("borders", [(), (40, 90, D_SAE)], ids=["flat", "nested"])
@pytest.mark.parametrize("centre_input", [True, False], ids=["centred", "as it is"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_losses_and_gradients_of_topk_are_those_of_full_matrices(tied, centre_input, borders, form, k_aux):
    w, gate = weights(tied), Gate(7)
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((N, D_IN)).astype(np.float32))
    dead = torch.from_numpy(np.random.default_rng(2).random(D_SAE) < 0.3)
    config = replace(
        BY_VARIANT["topk"], cosine=0.7, fvu=0.2, auxk_coefficient=1.0, auxk_form=form, k_aux=k_aux, k=7, d_sae=D_SAE
    )
    before = w.pre_acts(x, centre_input)
    active = VARIANTS["topk"].activate(before, gate)
    x_hats = [part + w.b_dec for part in active.decode_prefixes(w.W_dec, borders)]
    acts, wanted_x_hats, e_hat = as_matrices(before, gate, dead, w.W_dec, w.b_dec, borders, k_aux)
    assert torch.equal(active.fired(D_SAE), (acts > 0).any(dim=0))

    def loss(x_hats, active):
        batch = Pass(x, before, gate, active, x_hats, dead, w.W_dec, w.b_dec)
        plain = replace(config, auxk_coefficient=0.0) if active is None else config
        terms = Objective(plain, None, np.random.default_rng(0)).terms(
            batch, torch.ones(N, 1), torch.zeros(N, 1), with_prediction=False
        )
        return sum(terms.values())

    variance = (x - x.mean(dim=0)).square().sum()
    wanted = loss(wanted_x_hats, None)
    if form == "residual":
        wanted = wanted + ((x - wanted_x_hats[-1]).detach() - e_hat).square().sum() / variance
    else:
        share = min(int(dead.sum()) / k_aux, 1)
        wanted = wanted + share * (e_hat + w.b_dec - (wanted_x_hats[-1] - x)).square().sum() / variance
    ours = loss(x_hats, active)
    compare(ours, wanted, w)


@pytest.mark.parametrize("k", [1, 7, 100, 149])
@pytest.mark.parametrize("centre_input", [True, False], ids=["centred", "as it is"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_losses_and_gradients_of_batchtopk_are_those_of_full_matrices(tied, centre_input, k):
    w = weights(tied)
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((N, D_IN)).astype(np.float32))
    before = w.pre_acts(x, centre_input)
    active = VARIANTS["batchtopk"].activate(before, Gate(k))
    positive = functional.relu(before.dense)
    least = positive.flatten().sort(descending=True).values[N * k - 1]
    acts = positive * (positive >= least)
    assert int((active.values > 0).sum()) == int((acts > 0).sum()) == min(N * k, int((positive > 0).sum()))
    assert torch.equal(active.fired(D_SAE), (acts > 0).any(dim=0)) and torch.equal(
        active.chosen(D_SAE), active.fired(D_SAE)
    )
    ours, wanted = (losses.cosine(x, x_hat + w.b_dec) for x_hat in (active.decode(w.W_dec), acts @ w.W_dec))
    compare(ours, wanted, w)


@pytest.mark.parametrize("share", [0.99, 0.7, 0.02], ids=["few", "some", "nearly all"])
@pytest.mark.parametrize("centre_input", [True, False], ids=["centred", "as it is"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_losses_and_gradients_of_jumprelu_are_those_of_full_matrices(tied, centre_input, share):
    w, bandwidth = weights(tied), 1.5
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((N, D_IN)).astype(np.float32))
    before = w.pre_acts(x, centre_input)
    z = before.dense
    start = float(z.detach().flatten().sort().values[int(share * N * D_SAE)].clamp_min(0.1))
    log_threshold = torch.linspace(np.log(start), np.log(start) + 0.2, D_SAE).requires_grad_()
    threshold = log_threshold.exp()
    active = VARIANTS["jumprelu"].activate(before, Gate(5, threshold, bandwidth))
    fires, near = z > threshold, (z - threshold).abs() < bandwidth / 2
    nothing = threshold - threshold.detach()  # what it is multiplied with is the gradient of the threshold
    acts = z * fires - threshold.detach() / bandwidth * near * nothing
    count = (fires.float() - near / bandwidth * nothing).sum(dim=1)
    assert torch.equal(active.n_firing, count) and torch.equal(active.fired(D_SAE), fires.any(dim=0))
    ours = losses.cosine(x, active.decode(w.W_dec) + w.b_dec) + 0.1 * (active.n_firing.mean() / 5 - 1).square()
    wanted = losses.cosine(x, acts @ w.W_dec + w.b_dec) + 0.1 * (count.mean() / 5 - 1).square()
    compare(ours, wanted, w, log_threshold)


@pytest.mark.parametrize("n_sampled", [1, 10**6])
def test_what_stays_of_a_batch_does_not_depend_on_the_sample(monkeypatch, n_sampled):
    w, x = weights(), torch.randn(N, D_IN, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = encode_strongest_of_batch(x, w.b_dec, w.encoder, w.b_enc, 9)
        monkeypatch.setattr("core.sae.sparse.N_SAMPLED", n_sampled)
        found = encode_strongest_of_batch(x, w.b_dec, w.encoder, w.b_enc, 9)
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_a_sample_of_nothing_but_the_largest_of_a_batch_misleads_nobody(monkeypatch):
    monkeypatch.setattr("core.sae.sparse.N_SAMPLED", 4)
    values = torch.rand(4, 300, generator=torch.Generator().manual_seed(0))
    values.view(-1)[::301] += 1000  # 1,200 values, of which each 301st is looked at
    active = VARIANTS["batchtopk"].activate(as_pre_acts(values), Gate(10))
    largest = values.flatten().sort(descending=True).values[:40]
    assert torch.equal(active.values[active.values > 0].sort(descending=True).values, largest)


@pytest.mark.parametrize(("m", "k"), [(1, 1), (5, 5), (40, 3), (300, 2), (1000, 7), (1000, 999), (4000, 32)])
def test_the_largest_are_those_that_sorting_gives(m, k):
    rng = np.random.default_rng(m + k)
    products, bias = rng.standard_normal((20, m)).astype(np.float32), rng.standard_normal(m).astype(np.float32)
    wanted = products + bias
    values, where = np.empty((20, k), np.float32), np.empty((20, k), np.int64)
    kernels.largest(products, bias, k, values, where)
    order = np.argsort(-wanted, axis=1)[:, :k]
    assert np.array_equal(np.sort(where, axis=1), np.sort(order, axis=1))
    assert np.array_equal(values, np.maximum(np.take_along_axis(wanted, where, axis=1), 0))


@pytest.mark.parametrize("row", [np.zeros(300), np.repeat([1.0, 2.0, 3.0], 100), np.full(300, -1e30)], ids=str)
def test_of_equal_numbers_as_many_are_chosen_as_were_asked_for(row):
    for k in (1, 99, 101, 250, 300):
        values, where = np.empty((2, k), np.float32), np.empty((2, k), np.int64)
        kernels.largest(np.tile(row, (2, 1)).astype(np.float32), np.zeros(300, np.float32), k, values, where)
        assert all(len(np.unique(chosen)) == k for chosen in where) and np.array_equal(*where)
        assert np.allclose(np.sort(row[where[0]]), np.sort(row)[-k:])


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_choose_neurons_that_are_there(broken):
    for share in (0.01, 0.5, 1.0):
        rng = np.random.default_rng(0)
        products = rng.standard_normal((9, 500)).astype(np.float32)
        products[rng.random((9, 500)) < share] = broken
        values, where = np.empty((9, 20), np.float32), np.full((9, 20), -1)
        kernels.largest(products, np.zeros(500, np.float32), 20, values, where)
        assert where.min() >= 0 and where.max() < 500
        assert all(len(np.unique(chosen)) == 20 for chosen in where)


def test_a_batch_that_is_encoded_a_few_rows_at_a_time_is_encoded_alike(monkeypatch):
    w, x = weights(), torch.randn(N, D_IN, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = encode_strongest(x, w.b_dec, w.encoder, w.b_enc, 5)
        monkeypatch.setattr("core.sae.sparse.N_ROWS", 10)
        parts = encode_strongest(x, w.b_dec, w.encoder, w.b_enc, 5)
    assert torch.equal(whole[1].sort(dim=1).values, parts[1].sort(dim=1).values)
    assert torch.allclose(whole[0].sum(dim=1), parts[0].sum(dim=1), rtol=1e-5)


def test_decoding_adds_up_rows_by_hand():
    W_dec = torch.tensor([[1.0, 0.0], [0.0, 1.0], [10.0, 10.0]])
    values, where = torch.tensor([[2.0, 3.0], [0.0, 1.0]]), torch.tensor([[0, 2], [1, 0]])
    assert decode_levels(values, where, W_dec).tolist() == [[[32, 30], [1, 0]]]
    assert decode_levels(values, where, W_dec, (1, 3)).tolist() == [[[2, 0], [1, 0]], [[32, 30], [1, 0]]]


@pytest.mark.parametrize("on_sphere", [False, True])
def test_adam_is_that_of_torch_with_projection_and_length_one_around_it(on_sphere):
    rng = np.random.default_rng(0)
    start = functional.normalize(torch.from_numpy(rng.standard_normal((30, 19)).astype(np.float32)), dim=1)
    ours, theirs = start.clone(), start.clone().requires_grad_()
    mine = Adam({"W_dec": ours}, frozenset({"W_dec"} if on_sphere else ()))
    torchs = torch.optim.Adam([theirs], lr=1.0)
    for step in range(50):
        gradient = torch.from_numpy((10.0 ** rng.uniform(-4, 2) * rng.standard_normal((30, 19))).astype(np.float32))
        gradient[step % 30] = 0
        rate = 0.01 * (1 + step % 3)
        mine.step({"W_dec": gradient}, rate)
        with torch.no_grad():
            along = (gradient * theirs).sum(dim=1, keepdim=True) if on_sphere else 0
            theirs.grad = gradient - along * theirs
            torchs.param_groups[0]["lr"] = rate
            torchs.step()
            if on_sphere:
                theirs /= theirs.norm(dim=1, keepdim=True)
    assert torch.allclose(ours, theirs, atol=2e-6)
    assert torch.allclose(mine.squares["W_dec"], torchs.state[theirs]["exp_avg_sq"], rtol=1e-4)


def test_adam_moves_vectors_too_and_leaves_what_has_no_gradient():
    ours, theirs, still = torch.ones(5), torch.ones(5, requires_grad=True), torch.ones(2)
    mine, torchs = Adam({"b": ours, "still": still}), torch.optim.Adam([theirs], lr=0.1)
    for gradient in (torch.tensor([1.0, -2.0, 0.0, 3.0, 1e-9]), torch.tensor([0.0, -1.0, 0.0, -3.0, 0.0])):
        mine.step({"b": gradient, "still": None}, 0.1)
        theirs.grad = gradient
        torchs.step()
    assert torch.allclose(ours, theirs, atol=1e-6) and still.tolist() == [1, 1]
    assert mine.steps == {"b": 2, "still": 0}


def test_loops_are_compiled_too_where_no_machine_code_can_be_kept(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])

    def first(values):
        return values[0]

    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(first)
    assert kernels.compiled(error_model="numpy")(first)(np.array([3.0, 4.0])) == 3
