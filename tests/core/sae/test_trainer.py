import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from core.configs import from_dict
from core.errors import ConfigError, TrainingError
from core.presets import PRESETS, preset
from core.sae import losses, metrics
from core.sae.trainer import Weights, learning_rate, train
from core.sae.variants import VARIANTS, TrainConfig

SMALL = TrainConfig(
    d_sae=24, k=3, normalisation="none", mse=1.0, cosine=0.0, n_steps=60, batch_size=64, learning_rate=3e-3
)
RELU = dataclasses.replace(SMALL, variant="relu", kl=0.01)
BY_VARIANT = {"topk": SMALL, "relu": RELU}


def planted(n=4000, d_in=16, n_directions=20, n_active=3, seed=0):
    """Sums of few known directions, each with a positive weight."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((n_directions, d_in))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    weights = np.zeros((n, n_directions))
    for row in weights:
        row[rng.choice(n_directions, n_active, replace=False)] = rng.uniform(0.5, 1.5, n_active)
    return (weights @ directions).astype(np.float32), directions


def recovered(sae, directions):
    rows = sae.W_dec / np.linalg.norm(sae.W_dec, axis=1, keepdims=True)
    return (directions @ rows.T).max(axis=1).mean()


X, DIRECTIONS = planted()


@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(SMALL, d_sae=32, n_steps=1500, batch_size=256),
        dataclasses.replace(SMALL, d_sae=32, n_steps=1500, batch_size=256, init="random"),
        dataclasses.replace(RELU, d_sae=32, n_steps=1500, batch_size=256, kl=0.0, l1=0.02),
    ],
    ids=["topk", "topk from a random start", "relu with l1"],
)
def test_planted_directions_are_recovered(config):
    sae, history = train(X, config, seed=0)
    assert recovered(sae, DIRECTIONS) >= 0.9
    assert history.loss[-1] < history.loss[0] / 3


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains_alike_from_the_same_seed_and_otherwise_from_another(name):
    (first, h1), (second, h2), (other, _) = (train(X, BY_VARIANT[name], seed=s) for s in (1, 1, 2))
    for key, array in first.to_arrays().items():
        assert np.array_equal(array, second.to_arrays()[key])
    assert np.array_equal(h1.loss, h2.loss)
    assert not np.array_equal(first.W_dec, other.W_dec)


@pytest.mark.parametrize("normalisation", ["none", "global", "sample", "unit"])
@pytest.mark.parametrize("name", VARIANTS)
def test_training_and_inference_compute_the_same(name, normalisation):
    config = dataclasses.replace(BY_VARIANT[name], normalisation=normalisation, n_steps=20)
    sae, _ = train(X, config, seed=3)
    weights = Weights(sae.W_dec, sae.b_dec, tied=False)
    with torch.no_grad():
        weights.encoder.copy_(torch.tensor(sae.W_enc.T.copy()))
        weights.b_enc.copy_(torch.tensor(sae.b_enc))
        x, scale, shift = (torch.from_numpy(a) for a in sae.normalise(X[:50]))
        active = VARIANTS[name].activate(weights.pre_acts(x, config.centre_input), config)
        x_hat = (active.decode(weights.W_dec) + weights.b_dec) * scale + shift
    assert np.allclose(x_hat.numpy(), sae.reconstruct(X[:50]), atol=1e-5)
    assert np.array_equal(active.fired(config.d_sae).numpy(), (sae.encode(X[:50]) > 0).any(axis=0))


def test_gradients_of_the_sparse_decoder_equal_those_of_a_dense_one():
    torch.manual_seed(0)
    x, W_dec = torch.randn(12, 5), torch.randn(9, 5, requires_grad=True)
    pre_acts = torch.randn(12, 9, requires_grad=True)
    config = TrainConfig(d_sae=9, k=4)
    sparse = VARIANTS["topk"].activate(pre_acts, config).decode(W_dec)
    kept = pre_acts >= pre_acts.sort(dim=1, descending=True).values[:, 3:4]
    dense = (functional.relu(pre_acts) * kept) @ W_dec
    assert torch.allclose(sparse, dense, atol=1e-6)
    for ours, naive in zip(
        torch.autograd.grad(losses.mse(x, sparse), [W_dec, pre_acts]),
        torch.autograd.grad(losses.mse(x, dense), [W_dec, pre_acts]),
        strict=True,
    ):
        assert torch.allclose(ours, naive, atol=1e-6)


def test_at_most_k_neurons_fire():
    sae, history = train(X, SMALL, seed=0)
    assert (sae.encode(X) > 0).sum(axis=1).max() <= 3
    assert history.l0.max() <= 3


@pytest.mark.parametrize("name", VARIANTS)
def test_tied_stays_tied_and_untied_parts(name):
    tied, _ = train(X, dataclasses.replace(BY_VARIANT[name], tied=True), seed=0)
    assert np.array_equal(tied.W_enc, tied.W_dec.T)
    untied, _ = train(X, BY_VARIANT[name], seed=0)
    assert not np.allclose(untied.W_enc, untied.W_dec.T, atol=1e-3)


def test_decoder_rows_keep_length_one_unless_told_otherwise():
    sae, _ = train(X, SMALL, seed=0)
    assert np.allclose(np.linalg.norm(sae.W_dec, axis=1), 1, atol=1e-5)
    free, _ = train(X, dataclasses.replace(SMALL, decoder_norm=False), seed=0)
    assert not np.allclose(np.linalg.norm(free.W_dec, axis=1), 1, atol=1e-3)


def test_the_gradient_keeps_nothing_along_a_decoder_row():
    weights = Weights(np.array([[0.6, 0.8]]), np.zeros(2), tied=False)
    weights.W_dec.grad = torch.tensor([[1.0, 0.0]])
    weights.project_gradient()
    assert torch.allclose(weights.W_dec.grad, torch.tensor([[1 - 0.36, -0.48]]))


def test_history_dropout_trains_on_what_the_histories_become():
    calls = []

    def augment(rng, rows, dropout):
        calls.append((rows, dropout))
        return -X[rows]

    config = dataclasses.replace(SMALL, history_dropout=0.4, n_steps=300)
    dropped, _ = train(X, config, seed=0, augment=augment)
    plain, _ = train(X, dataclasses.replace(config, history_dropout=0.0), seed=0, augment=augment)
    assert len(calls) == config.n_steps
    assert {len(rows) for rows, _ in calls} == {config.batch_size // 2}, "half of the viewers stay whole"
    assert all(0 <= share < 0.4 for _, share in calls)
    assert len({share for _, share in calls}) > 1
    error = [np.square(sae.reconstruct(-X) + X).mean() for sae in (plain, dropped)]
    assert error[1] < error[0] / 2, "it learnt from the embeddings that augment gave"


def test_item_probes_are_learnt_beside_viewers():
    items, _ = planted(n=500, n_directions=4, n_active=1, seed=9)
    config = dataclasses.replace(SMALL, n_steps=300)
    without, _ = train(X, config, seed=0)
    beside, _ = train(X, config, seed=0, X_items=items)
    error = [np.square(sae.reconstruct(items) - items).mean() for sae in (without, beside)]
    assert error[1] < error[0] / 2


def test_the_weight_of_items_weighs_their_loss():
    items, _ = planted(n=500, n_directions=4, n_active=1, seed=9)
    config = dataclasses.replace(SMALL, n_steps=300)
    light, heavy = (
        train(X, dataclasses.replace(config, item_weight=weight), seed=0, X_items=items)[0] for weight in (0.0, 10.0)
    )
    error = [np.square(sae.reconstruct(items) - items).mean() for sae in (light, heavy)]
    assert error[1] < error[0] / 4


class ScorerModule(torch.nn.Module):
    def __init__(self, V):
        super().__init__()
        self.V = torch.nn.Parameter(torch.tensor(V, dtype=torch.float32))

    def forward(self, u):
        return u @ self.V.T


def test_the_prediction_term_improves_scores_and_leaves_the_scorer_frozen():
    V = np.zeros((3, 16))
    V[:, 0] = [5, -5, 5]  # only the first dimension matters to the recommender
    scorer = ScorerModule(V)
    config = dataclasses.replace(SMALL, d_sae=8, k=2, n_steps=300)
    plain, _ = train(X, config, seed=0)
    aware, _ = train(X, dataclasses.replace(config, prediction=1.0), seed=0, scorer=scorer)
    error = [np.abs(sae.reconstruct(X) - X)[:, 0].mean() for sae in (plain, aware)]
    assert error[1] < error[0] / 2
    assert np.array_equal(scorer.V.detach().numpy(), V.astype(np.float32))
    assert scorer.V.grad is None


def test_the_prediction_term_looks_at_viewers_and_not_at_items():
    viewers, items, scored = np.abs(X), -np.abs(X[:500]), []

    def scorer(u):
        if not u.requires_grad:
            scored.append(u)
        return u

    config = dataclasses.replace(SMALL, prediction=1.0, n_steps=5, n_prediction_rows=7)
    train(viewers, config, seed=0, X_items=items, scorer=scorer)
    assert [len(u) for u in scored] == [7] * 5
    assert all((u >= 0).all() for u in scored)


def test_dead_neurons_come_back_by_the_auxiliary_loss():
    wide, _ = planted(n=2000, d_in=64, n_directions=100, n_active=2)
    config = dataclasses.replace(SMALL, d_sae=100, k=2, init="random", n_steps=500, dead_after=20, restart_dead=False)
    alive = []
    for coefficient in (0.0, 1 / 32):
        sae, _ = train(wide, dataclasses.replace(config, auxk_coefficient=coefficient), seed=0)
        alive.append((sae.encode(wide) > 0).any(axis=0).sum())
    assert alive[0] < 92 < alive[1]


@pytest.mark.parametrize("centre_input", [True, False])
def test_the_cosine_alone_gives_back_the_length_too(centre_input):
    config = dataclasses.replace(SMALL, d_sae=64, k=8, mse=0.0, cosine=1.0, n_steps=800, centre_input=centre_input)
    sae, history = train(X, config, seed=0)
    assert metrics.cosine(X, sae.reconstruct(X)) == pytest.approx(1 - history.loss[-1], abs=0.01)
    x_hat = sae.reconstruct(X)
    assert (X * x_hat).sum() / (x_hat * x_hat).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("config", [SMALL, dataclasses.replace(SMALL, tied=True)], ids=["untied", "tied"])
def test_dead_neurons_start_again_where_the_reconstruction_is_worst(config):
    wide, _ = planted(n=2000, d_in=64, n_directions=100, n_active=2)
    config = dataclasses.replace(
        config, d_sae=100, k=2, init="random", n_steps=500, dead_after=20, auxk_coefficient=0.0
    )
    alive = []
    for restart in (False, True):
        sae, _ = train(wide, dataclasses.replace(config, restart_dead=restart), seed=0)
        alive.append((sae.encode(wide) > 0).any(axis=0).sum())
        assert np.allclose(np.linalg.norm(sae.W_dec, axis=1), 1, atol=1e-5)
        assert not config.tied or np.array_equal(sae.W_enc, sae.W_dec.T)
    assert alive[0] < 97 <= alive[1]


def test_fewer_rows_than_neurons_give_a_model():
    sae, _ = train(X[:5], SMALL, seed=0)
    assert np.isfinite(sae.reconstruct(X)).all()
    assert len(np.unique(sae.W_dec, axis=0)) == SMALL.d_sae


@pytest.mark.parametrize("rows", [np.ones((1, 16)), np.zeros((3, 16)), np.ones((40, 16))], ids=["one", "zero", "equal"])
@pytest.mark.parametrize("name", VARIANTS)
def test_rows_that_do_not_differ_give_a_finite_model(name, rows):
    for normalisation in ("global", "sample", "unit"):
        sae, _ = train(rows, dataclasses.replace(BY_VARIANT[name], normalisation=normalisation, n_steps=5), seed=0)
        assert np.isfinite(sae.reconstruct(rows)).all()


def test_no_rows_and_rows_that_are_not_finite_say_so():
    with pytest.raises(TrainingError, match="no embeddings of viewers"):
        train(X[:0], SMALL, seed=0)
    broken = X.copy()
    broken[3, 2] = np.nan
    with pytest.raises(TrainingError, match="not finite"):
        train(broken, SMALL, seed=0)
    with pytest.raises(TrainingError, match="items"):
        train(X, SMALL, seed=0, X_items=broken)


def test_a_training_that_diverges_stops_and_says_what_to_change():
    config = dataclasses.replace(SMALL, decoder_norm=False, learning_rate=1e30)
    with pytest.raises(TrainingError) as error:
        train(X, config, seed=0)
    assert "sae.learning_rate" in error.value.fix


def test_missing_scorer_and_histories_are_settings_to_mend():
    with pytest.raises(ConfigError, match="scorer"):
        train(X, dataclasses.replace(SMALL, prediction=1.0), seed=0)
    with pytest.raises(ConfigError, match="history_dropout"):
        train(X, dataclasses.replace(SMALL, history_dropout=0.3), seed=0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("k", 25), ("k", 0), ("variant", "topq"), ("cosine", 0.0), ("mse", -1.0), ("kl_rho", 1.0), ("n_steps", 0),
        ("history_dropout", 1.0), ("learning_rate", 0.0), ("decay_share", 1.1), ("normalisation", "units"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(setting, value):
    with pytest.raises(ConfigError):
        from_dict(TrainConfig, {"d_sae": 24, "k": 3, setting: value})


def test_progress_tells_the_numbers_and_an_interrupt_passes_through_and_leaves_nothing_changed():
    told = []
    torch.set_num_threads(2)
    try:

        def progress(stage, done, total, numbers):
            told.append((stage, done, total, numbers))
            if done == 30:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(X, SMALL, seed=0, progress=progress)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert told[0][:3] == ("sae", 1, 60)
    assert told[-1][1] == 30
    assert set(told[0][3]) == {"loss", "l0", "dead_share"}


def test_training_changes_neither_the_embeddings_nor_the_global_random_state():
    before, state = X.copy(), torch.get_rng_state()
    np_state = np.random.get_state()[1].copy()
    train(X, dataclasses.replace(SMALL, normalisation="sample"), seed=0)
    assert np.array_equal(X, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], np_state)


def test_the_learning_rate_rises_stays_and_falls():
    config = dataclasses.replace(SMALL, n_steps=10, warmup_share=0.2, decay_share=0.2, learning_rate=1.0)
    assert [learning_rate(config, step) for step in (1, 2, 5, 8, 9, 10)] == [0.5, 1, 1, 1, 1, 0.5]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_recipe(name):
    config = from_dict(TrainConfig, preset(name).sae)
    assert config.variant in VARIANTS
    assert preset(name).paper


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'knots'"):
        preset("knot")
