"""Trainings that are stopped, killed or diverge, and go on."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from core.errors import TrainingError
from core.sae.checkpoint import is_due, pack_generator, unpack_generator
from core.sae.trainer import train
from tests.core.sae.planted import BY_VARIANT, planted

X, _ = planted(n=150)
ITEMS, _ = planted(n=40, seed=5)
V = torch.tensor(np.random.default_rng(1).standard_normal((9, 12)).astype(np.float32))


@dataclass
class Folder:
    """Keeps the state in one file of a folder, written beside it and renamed."""

    path: Path
    every_steps: int = 0
    every_s: float = 0.0
    n_saved: int = 0

    def load(self):
        file = self.path / "state.safetensors"
        return load_file(file) if file.exists() else None

    def save(self, state):
        save_file(state, self.path / "writing")
        (self.path / "writing").rename(self.path / "state.safetensors")
        self.n_saved += 1


class Stop:
    """Progress that stops the training at some steps, each once."""

    def __init__(self, *steps):
        self.steps = set(steps)
        self.told = []

    def __call__(self, stage, done, total, numbers):
        self.told.append(done)
        if done in self.steps:
            self.steps.remove(done)
            raise KeyboardInterrupt


def augment(rng, rows, dropout):
    return (X[rows] * (rng.random((len(rows), 1)) > dropout)).astype(np.float32)


# Small batches leave rows waiting, dead neurons start again, and every random number is drawn somewhere.
HARD = {
    "n_steps": 90, "batch_size": 64, "dead_after": 4, "history_dropout": 0.5, "prediction": 0.1,
    "n_prediction_pairs": 20, "init": "random",
}  # fmt: skip
CONFIGS = {name: replace(config, **HARD) for name, config in BY_VARIANT.items()} | {
    "knots": replace(BY_VARIANT["topk"], **HARD | {"mse": 0.0, "cosine": 1.0, "levels": (0.5, 1.0), "tied": True}),
    "recsae": replace(BY_VARIANT["topk"], **HARD | {"auxk_form": "recsae-code", "decoder_norm": "epoch", "d_sae": 200}),
}


def run(config, **more):
    return train(X, config, seed=4, X_items=ITEMS, scorer=lambda x: x @ V.T, augment=augment, **more)


def go_on(config, folder, stop):
    """Train, and again whenever it is stopped; give what came out and how often it was stopped."""
    n_stops = 0
    while True:
        try:
            return *run(config, checkpoint=folder, progress=stop), n_stops
        except KeyboardInterrupt:
            n_stops += 1


def same(first, second):
    """Assert that two trainings gave the same, bit for bit."""
    (sae, history), (other, other_history) = first, second
    for name, array in sae.to_arrays().items():
        assert np.array_equal(array, other.to_arrays()[name]), name
    for name in ("step", "loss", "l0", "dead_share"):
        assert np.array_equal(getattr(history, name), getattr(other_history, name)), name
    assert history.terms.keys() == other_history.terms.keys()
    assert all(np.array_equal(history.terms[name], other_history.terms[name]) for name in history.terms)
    assert history.warnings == other_history.warnings


@pytest.mark.parametrize("name", CONFIGS)
def test_a_training_that_is_stopped_at_twenty_steps_ends_like_one_that_is_not(name, tmp_path):
    config = CONFIGS[name]
    whole = run(config)
    stops = np.random.default_rng(7).choice(np.arange(1, config.n_steps + 1), 20, replace=False)
    folder, stop = Folder(tmp_path), Stop(*stops.tolist())
    *pieces, n_stops = go_on(config, folder, stop)
    assert n_stops == 20 and folder.n_saved == 20
    assert stop.told == list(range(1, config.n_steps + 1)), "no step was made twice"
    same(whole, pieces)


@pytest.mark.parametrize("name", ["relu", "topk", "batchtopk", "jumprelu"])
def test_a_training_that_is_killed_within_a_step_goes_on_from_the_last_checkpoint(name, tmp_path, monkeypatch):
    config, calls = CONFIGS[name], []
    whole = run(config)
    deaths = {5, 23, 24, 71}

    def dying(rng, rows, dropout):
        calls.append(1)
        if len(calls) in deaths:
            raise MemoryError
        return augment(rng, rows, dropout)

    for _ in range(len(deaths)):
        with pytest.raises(MemoryError):
            train(X, config, seed=4, X_items=ITEMS, scorer=lambda x: x @ V.T, augment=dying,
                  checkpoint=Folder(tmp_path, every_steps=7))  # fmt: skip
    same(whole, run(config, checkpoint=Folder(tmp_path, every_steps=7)))


def test_keeping_the_state_changes_nothing(tmp_path):
    config, folder = CONFIGS["batchtopk"], Folder(tmp_path, every_steps=1)
    same(run(config), run(config, checkpoint=folder))
    assert folder.n_saved == config.n_steps


def test_a_training_that_had_ended_ends_again_at_once(tmp_path):
    config, stop = CONFIGS["topk"], Stop()
    first = run(config, checkpoint=Folder(tmp_path, every_steps=config.n_steps))
    same(first, run(config, checkpoint=Folder(tmp_path), progress=stop))
    assert stop.told == []


def test_the_state_of_another_training_is_not_used(tmp_path):
    config, folder = CONFIGS["topk"], Folder(tmp_path, every_steps=10)
    run(config, checkpoint=folder)
    for other in (replace(config, learning_rate=1e-3), replace(config, n_steps=50)):
        same(run(other), run(other, checkpoint=Folder(tmp_path)))
    foreign = Folder(tmp_path)
    foreign.save({"n_done": np.array([20])})
    same(run(config), run(config, checkpoint=foreign))
    run(config, checkpoint=folder)
    moved = X + np.float32(0.5)
    plain = replace(config, history_dropout=0.0, prediction=0.0)
    same(train(moved, plain, seed=4), train(moved, plain, seed=4, checkpoint=Folder(tmp_path)))


def test_the_state_is_kept_by_steps_or_by_time(tmp_path):
    by_steps, by_time, both = Folder(tmp_path, 5), Folder(tmp_path, 0, 60.0), Folder(tmp_path, 5, 60.0)
    assert [is_due(by_steps, step, 1e9) for step in (4, 5, 6)] == [False, True, False]
    assert [is_due(by_time, 5, waited) for waited in (59.0, 60.0)] == [False, True]
    assert is_due(both, 5, 0.0) and is_due(both, 6, 61.0) and not is_due(both, 6, 1.0)
    assert not is_due(Folder(tmp_path), 1, 1e9)


def test_a_generator_goes_on_where_it_was():
    rng = np.random.default_rng(3)
    rng.integers(5, size=3, dtype=np.int32)  # leaves half a word waiting
    other = np.random.default_rng(0)
    other.bit_generator.state = unpack_generator(pack_generator(rng))
    assert np.array_equal(rng.integers(9, size=7, dtype=np.int32), other.integers(9, size=7, dtype=np.int32))
    assert np.array_equal(rng.permutation(50), other.permutation(50))


def exploding(after):
    """Give an `augment` that returns ever larger embeddings after so many calls: the loss of the rest explodes."""
    n_calls = 0

    def augment(rng, rows, dropout):
        nonlocal n_calls
        n_calls += 1
        return X[rows] * np.float32(1e6 if n_calls > after else 1)

    return augment


def test_a_loss_that_explodes_ends_the_training_and_leaves_the_last_good_checkpoint(tmp_path):
    config = replace(BY_VARIANT["topk"], n_steps=60, batch_size=64, history_dropout=0.5)
    folder = Folder(tmp_path, every_steps=1)
    with pytest.raises(TrainingError, match="after a best of") as error:
        train(X, config, seed=0, augment=exploding(after=40), checkpoint=folder)
    assert "sae.learning_rate" in error.value.fix and "at step 41 of 60" in error.value.problem
    assert folder.load()["n_done"].tolist() == [40]
    # What was kept is sound: with embeddings that do not explode it goes on to the end.
    sae, history = train(X, config, seed=0, augment=exploding(after=10**9), checkpoint=folder)
    assert np.isfinite(sae.reconstruct(X)).all() and history.loss[-1] < history.loss[0]


def test_weights_that_are_not_finite_are_never_kept(tmp_path):
    config = replace(BY_VARIANT["topk"], decoder_norm="start", learning_rate=1e30, n_steps=20)
    folder = Folder(tmp_path, every_steps=1)
    with pytest.raises(TrainingError, match=r"not finite|after a best of"):
        train(X, config, seed=0, checkpoint=folder)
    state = folder.load()
    assert state is None or all(np.isfinite(array).all() for name, array in state.items() if "weights" in name)
