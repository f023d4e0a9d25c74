import dataclasses

import numpy as np
import pytest
import torch

from core.configs import from_dict
from core.errors import ConfigError, TrainingError
from core.sae import metrics
from core.sae.config import TrainConfig
from core.sae.optimiser import Adam
from core.sae.trainer import learning_rate, train
from core.sae.variants import PreActs
from tests.core.sae.planted import planted, recovered

SMALL = TrainConfig(
    d_sae=24, k=3, normalisation="none", mse=1.0, cosine=0.0, n_steps=60, batch_size=64, learning_rate=3e-3
)


X, DIRECTIONS = planted(n=4000, d_in=16, n_directions=20, n_active=3)


def test_more_planted_directions_than_dimensions_are_recovered_from_a_random_start():
    config = dataclasses.replace(SMALL, d_sae=32, n_steps=600, batch_size=256, init="random", learning_rate=1e-2)
    sae, history = train(X, config, seed=0)
    assert recovered(sae, DIRECTIONS) >= 0.9
    assert history.loss[-1] < history.loss[0] / 3


def test_at_most_k_neurons_fire():
    sae, history = train(X, SMALL, seed=0)
    assert (sae.encode(X) > 0).sum(axis=1).max() <= 3
    assert history.l0.max() <= 3


def test_decoder_rows_keep_length_one_unless_told_otherwise():
    sae, _ = train(X, SMALL, seed=0)
    assert np.allclose(np.linalg.norm(sae.W_dec, axis=1), 1, atol=1e-5)
    free, _ = train(X, dataclasses.replace(SMALL, decoder_norm="start"), seed=0)
    assert not np.allclose(np.linalg.norm(free.W_dec, axis=1), 1, atol=1e-3)


def test_decoder_rows_are_brought_to_length_one_when_an_epoch_begins_if_so_told():
    # 4,000 rows in batches of 64: 63 steps an epoch. The 64th step begins with rows of length 1, the 63rd does not.
    config = dataclasses.replace(SMALL, decoder_norm="epoch", n_steps=64, learning_rate=1e-3, decay_share=0.0)
    lengths = []
    for n_steps, last_rate in ((63, 1e-3), (64, 1e-3)):
        sae, _ = train(X, dataclasses.replace(config, n_steps=n_steps, learning_rate=last_rate), seed=0)
        lengths.append(np.abs(np.linalg.norm(sae.W_dec, axis=1) - 1).max())
    assert lengths[1] < 3e-3 < lengths[0], "one step of Adam moves a row by about the rate times the root of 16"


def test_the_start_of_a_linear_layer_is_that_of_the_public_codes():
    config = dataclasses.replace(SMALL, d_sae=4000, k=3, init="linear", n_steps=1, learning_rate=1e-30)
    sae, _ = train(X, config, seed=0)
    assert max(np.abs(sae.b_dec).max(), np.abs(sae.b_enc).max()) < 1e-20
    assert np.allclose(np.linalg.norm(sae.W_dec, axis=1), 1, atol=1e-6)
    assert np.allclose(sae.W_enc.T / np.linalg.norm(sae.W_enc, axis=0)[:, None], sae.W_dec, atol=1e-6)
    assert np.abs(sae.W_enc).max() == pytest.approx(1 / np.sqrt(16), rel=1e-3)
    assert sae.W_enc.std() == pytest.approx(1 / np.sqrt(3 * 16), rel=0.01), "uniform"


def test_the_gradient_keeps_nothing_along_a_decoder_row():
    adam = Adam({"W_dec": torch.tensor([[0.6, 0.8]])}, on_sphere=frozenset({"W_dec"}))
    adam.step({"W_dec": torch.tensor([[1.0, 0.0]])}, rate=0.0)
    assert torch.allclose(adam.means["W_dec"], 0.1 * torch.tensor([[1 - 0.36, -0.48]]))


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
    items, _ = planted(n=500, d_in=16, n_directions=4, n_active=1, seed=9)
    config = dataclasses.replace(SMALL, n_steps=300)
    without, _ = train(X, config, seed=0)
    beside, _ = train(X, config, seed=0, X_items=items)
    error = [np.square(sae.reconstruct(items) - items).mean() for sae in (without, beside)]
    assert error[1] < error[0] / 2


def test_the_weight_of_items_weighs_their_loss():
    items, _ = planted(n=500, d_in=16, n_directions=4, n_active=1, seed=9)
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


@pytest.mark.parametrize("how", [{}, {"n_prediction_pairs": 100}, {"prediction_top_n": 1}])
def test_the_prediction_term_improves_scores_and_leaves_the_scorer_frozen(how):
    V = np.zeros((3, 16))
    V[:, 0] = [5, -5, 5]  # only the first dimension matters to the recommender
    scorer = ScorerModule(V)
    config = dataclasses.replace(SMALL, d_sae=8, k=2, n_steps=300)
    plain, _ = train(X, config, seed=0)
    aware, _ = train(X, dataclasses.replace(config, prediction=1.0, **how), seed=0, scorer=scorer)
    error = [np.abs(sae.reconstruct(X) - X)[:, 0].mean() for sae in (plain, aware)]
    assert error[1] < error[0] / 2
    assert np.array_equal(scorer.V.detach().numpy(), V.astype(np.float32))
    assert scorer.V.grad is None


def test_pairs_are_drawn_anew_each_step_over_all_columns_and_alike_from_a_seed():
    drawn = []

    def scorer(x, items=None):
        if items is not None and not x.requires_grad:
            drawn.append(items.numpy())
        return torch.zeros(len(x), 30) + x.sum() if items is None else x.sum() + 0 * items

    config = dataclasses.replace(SMALL, prediction=1.0, n_steps=40, n_prediction_rows=8, n_prediction_pairs=20)
    (first, _), (second, _) = (train(X, config, seed=0, scorer=scorer) for _ in range(2))
    assert np.array_equal(first.W_dec, second.W_dec)
    assert {items.shape for items in drawn} == {(8, 3)}, "as many for each of the 8 viewers, 20 at least"
    assert len(drawn) == 80 and not np.array_equal(drawn[0], drawn[1]) and np.array_equal(drawn[0], drawn[40])
    assert set(np.unique(drawn)) == set(range(30))


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


def test_the_public_codes_know_the_dead_from_the_epoch_before(monkeypatch):
    seen = []
    ours = PreActs.strongest

    def strongest(self, k, among=None):
        if among is not None:
            seen.append(among)
        return ours(self, k, among)

    monkeypatch.setattr(PreActs, "strongest", strongest)
    config = dataclasses.replace(
        SMALL, k=1, d_sae=600, batch_size=100, n_steps=20, learning_rate=1e-30, auxk_form="recsae-code", init="random",
        restart_dead=False, decoder_norm="start",
    )  # fmt: skip
    sae, history = train(X[:600], config, seed=0)
    assert (history.terms["auxk"] > 0).tolist() == [False] * 6 + [True] * 14, "6 steps an epoch, none in the first"
    never_first = np.setdiff1d(np.arange(600), sae.pre_acts(X[:600]).argmax(axis=1))
    assert len(seen) == 14 and all(np.array_equal(np.flatnonzero(dead.numpy()), never_first) for dead in seen)


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
    config = dataclasses.replace(SMALL, decoder_norm="start", learning_rate=1e30)
    with pytest.raises(TrainingError) as error:
        train(X, config, seed=0)
    assert "sae.learning_rate" in error.value.fix


def test_a_loss_that_begins_at_nothing_may_grow():
    two = np.repeat(X[:2], 4, axis=0)
    _, history = train(two, dataclasses.replace(SMALL, d_sae=4, k=1, sparsity=0.1), seed=0)
    assert history.loss[0] < 1e-5, "two viewers and four neurons"
    assert history.loss.max() > 1000 * history.loss.min()


def test_missing_scorer_and_histories_are_settings_to_mend():
    with pytest.raises(ConfigError, match="scorer"):
        train(X, dataclasses.replace(SMALL, prediction=1.0), seed=0)
    with pytest.raises(ConfigError, match="history_dropout"):
        train(X, dataclasses.replace(SMALL, history_dropout=0.3), seed=0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("expansion", 2), ("decoder_norm", "never"), ("auxk_form", "gao"), ("bandwidth", 0.0), ("sparsity", -1.0),
        ("n_prediction_pairs", -1), ("dead_after", 0), ("aux_expansion", 0.0),
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
