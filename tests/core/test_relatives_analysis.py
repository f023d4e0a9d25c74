"""The relatives of a run: made from its viewers and its recommender, linear or not."""

from dataclasses import replace

import numpy as np
import pytest

from core.analyses import relatives
from core.analyses.base import Made
from core.neurons.relatives import Relatives
from core.progress import no_progress
from core.recommenders.base import NonLinearRecommender
from core.runs import Run


class Curved(NonLinearRecommender):
    """The recommender of a run behind a scorer that saturates."""

    name = "curved"

    def __init__(self, run: Run) -> None:
        self.of = run.recommender
        self.n_items, self.embed = self.of.n_items, self.of.embed

    def score(self, embeddings: np.ndarray) -> np.ndarray:
        return np.tanh(self.of.score(embeddings))

    def torch_scorer(self) -> None:
        raise NotImplementedError


@pytest.fixture(scope="module")
def curved(tiny_run: Run) -> Run:
    run = Run(tiny_run.workspace, tiny_run.ids)
    run.__dict__["recommender"] = Curved(tiny_run)
    return run


def made(run: Run) -> tuple[Made, Relatives]:
    found = relatives.make(run, no_progress)
    return found, Relatives.from_arrays(found.arrays)


def test_what_fires_together_are_the_viewers_of_the_run(tiny_run: Run) -> None:
    acts = tiny_run.activations("viewers").toarray() > 0
    found, of = made(tiny_run)
    assert found.metrics["n_viewers"] == tiny_run.dataset.n_users
    told = [(j, k, c) for j in range(24) for c, k in enumerate(of.together.neurons[j]) if k >= 0]
    assert told
    for j, k, c in told:
        both = (acts[:, j] & acts[:, k]).sum()
        assert of.together.n_both[j, c] == both
        assert of.together.lift[j, c] == pytest.approx(both * len(acts) / (acts[:, j].sum() * acts[:, k].sum()))


def test_the_pushes_are_in_units_of_scores_for_a_typical_viewer(tiny_run: Run) -> None:
    found, of = made(tiny_run)
    scale = np.median(tiny_run.sae.normalise(tiny_run.recommender.embed(tiny_run.dataset.histories())).scale)
    assert found.metrics["scale"] == pytest.approx(scale) and found.metrics["n_probe_viewers"] == 0
    effect = tiny_run.recommender.linear.V @ tiny_run.sae.W_dec[5] * scale
    assert of.lens.up.values[5, 0] == pytest.approx(effect.max(), rel=1e-4)
    assert of.lens.down.neurons[5, 0] == effect.argmin()


def test_a_curved_scorer_is_looked_at_through_unseen_viewers(curved: Run) -> None:
    found, of = made(curved)
    viewers = relatives.probe_viewers(curved, 24)
    assert found.metrics["n_probe_viewers"] == len(viewers) > 0
    assert set(viewers) <= set(curved.split.unseen_users)
    embeddings = curved.recommender.embed(curved.dataset.histories(viewers))
    j = int(np.flatnonzero(curved.table.frame["n_users_firing"] > 0)[0])
    strength = np.float32(curved.table.frame["mean_activation"].iloc[j])
    moved = embeddings + curved.sae.normalise(embeddings).scale * strength * curved.sae.W_dec[j]
    change = (curved.recommender.score(moved) - curved.recommender.score(embeddings)).mean(axis=0)
    assert of.lens.up.values[j] == pytest.approx(np.sort(change)[::-1][:20], abs=1e-5)
    assert (of.against.values[j][of.against.neurons[j] >= 0] < 0).all()


def test_the_same_run_gives_the_same_arrays(curved: Run) -> None:
    first, again = relatives.make(curved, no_progress), relatives.make(curved, no_progress)
    assert all(np.array_equal(first.arrays[name], again.arrays[name], equal_nan=True) for name in first.arrays)


def test_dead_neurons_have_no_relatives(tiny_run: Run) -> None:
    run = Run(tiny_run.workspace, tiny_run.ids)
    frame = tiny_run.table.frame.assign(alive=lambda f: f["neuron"] != 7)
    run.__dict__["table"] = replace(tiny_run.table, frame=frame)
    _, of = made(run)
    for pair in (of.opposite, of.against, of.lens.up, of.lens.down):
        assert (pair.neurons[7] == -1).all() and np.isnan(pair.values[7]).all()
    for pair in (of.opposite, of.against, of.together):
        assert not (pair.neurons == 7).any()


def test_a_scorer_of_pairs_is_asked_of_fewer_viewers(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tiny_run.workspace, tiny_run.ids)
    monkeypatch.setattr(relatives, "N_PROBE_VIEWERS", 6)
    assert len(relatives.probe_viewers(run, 24)) == 6
    monkeypatch.setattr(type(run.recommender), "scores_pairs", True)
    monkeypatch.setattr(relatives, "MOST_PAIRS", 5 * 24 * 60)
    assert len(relatives.probe_viewers(run, 24)) == 5
    assert len(relatives.probe_viewers(run, 10_000)) == 4
