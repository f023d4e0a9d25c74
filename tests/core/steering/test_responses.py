"""Dose-response curves: what they say by hand, by ranking naively, and of neurons that do nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.analyses import responses as analysis
from core.analyses.base import analyse, find
from core.progress import no_progress
from core.recommenders.base import embed_users, rank
from core.runs import Run
from core.seeding import generator
from core.steering.lists import panel
from core.steering.responses import (
    NEAR,
    STRENGTHS,
    ZERO,
    Responses,
    Target,
    mean_and_spread,
    mixtures,
    respond,
    saturation_of,
)
from core.steering.steering import Edit, Steering, steer
from tests.core.steering.scorers import Straight, fake_sae


def world(n_items: int = 100, n_viewers: int = 80, seed: int = 0):
    """Give a model whose first dimension is a concept of 30 items, viewers, and the concept."""
    rng = np.random.default_rng(seed)
    mask = np.arange(n_items) < 30
    V = 0.3 * rng.standard_normal((n_items, 6))
    V[:, 0] = np.where(mask, 1.5, 0.0)
    u = rng.standard_normal((n_viewers, 6))
    u[:, 0] = -0.2
    model = Straight(V)
    return model, panel(model, u, np.ones(n_viewers), [np.arange(0)] * n_viewers), mask


def measured(neurons: list[tuple[int, float]], W_dec: np.ndarray, **more) -> Responses:
    model, viewers, mask = world()
    targets = [Target(j, strong, "spies", "tag", mask) for j, strong in neurons]
    return respond(targets, fake_sae(W_dec), model, viewers, np.ones(len(W_dec), bool), seed=3, **more)


def test_a_neuron_that_is_the_concept_fills_the_list_and_its_opposite_empties_it() -> None:
    found = measured([(0, 1.0), (1, 1.0)], np.eye(6) * np.array([1, -1, 1, 1, 1, 1])[:, None])
    first = found.of_neuron(0)
    assert first is not None
    assert first.share[-1] == 1.0 and first.share[0] == 0.0 and not first.flat
    assert first.base_rate == 0.3 and first.n_viewers == 80 and first.concept == "spies"
    assert first.slope == pytest.approx((first.share[NEAR] - first.share[ZERO]) / 0.5, abs=1e-6)
    assert first.slope_low < first.slope < first.slope_high
    assert first.rise == pytest.approx(1 - first.share[ZERO], abs=1e-6)
    assert first.saturation < 3
    second = found.of_neuron(1)
    assert second is not None and second.flat and abs(second.slope) < 0.1


def test_a_curve_is_that_of_steering_and_ranking_every_viewer(tiny_run: Run) -> None:
    made = analysis.make(tiny_run, no_progress)
    found = Responses.from_saved(made.arrays, made.tables)
    users, unseen = analysis.viewers_of(tiny_run, 500)
    assert unseen and set(users) == set(tiny_run.split.unseen_users)
    u, seen = embed_users(tiny_run.recommender, tiny_run.dataset, users), tiny_run.dataset.histories(users)
    for target in analysis.targets_of(tiny_run)[:4]:
        curve = found.of_neuron(target.neuron)
        assert curve is not None
        naive = []
        for s in STRENGTHS:
            edit = Steering((Edit(target.neuron, "add", s * target.strong),))
            lists = rank(tiny_run.recommender.score(steer(u, edit, tiny_run.sae)), 20, seen)
            naive.append(np.mean([target.mask[row[row >= 0]].mean() for row in lists]))
        assert np.allclose(curve.share, naive, atol=1e-6)
        assert (curve.low <= curve.share + 1e-6).all() and (curve.share <= curve.high + 1e-6).all()
        assert (np.diff(curve.fitted) >= -1e-7).all()
    assert made.metrics["n_neurons"] == len(analysis.targets_of(tiny_run)) and made.metrics["n_left_out"] == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=9, max_size=9))
def test_the_saturation_is_the_first_strength_that_brings_nearly_all(values: list[float]) -> None:
    fitted = np.maximum.accumulate(values)
    found, rise = saturation_of(fitted), fitted[-1] - fitted[ZERO]
    if rise <= 0:
        assert np.isnan(found)
    else:
        place = STRENGTHS.index(found)
        assert fitted[place] - fitted[ZERO] >= 0.95 * rise - 1e-9
        assert place == ZERO or fitted[place - 1] - fitted[ZERO] < 0.95 * rise


def test_random_directions_have_the_size_of_the_neuron_and_move_nothing_on_average() -> None:
    drawn = mixtures(np.eye(6)[:4], 2.5, 500, generator(0, "x"))
    assert np.allclose(np.linalg.norm(drawn, axis=1), 2.5, atol=1e-5)
    assert (drawn[:, 4:] == 0).all()  # they mix the rows that are given, and no others
    assert np.abs(drawn.mean(axis=0)).max() < 0.2
    curve = measured([(0, 1.0)], np.eye(6)).of_neuron(0)
    assert curve is not None
    assert abs(curve.placebo_slope) < curve.slope / 3 and curve.placebo_spread > 0
    assert curve.placebo[ZERO] == pytest.approx(curve.share[ZERO])


def test_the_same_seed_gives_the_same_bits_and_another_one_other_directions() -> None:
    one, two = (measured([(0, 1.0), (2, 0.5)], np.eye(6)) for _ in range(2))
    for name, array in one.to_saved()[0].items():
        assert array.tobytes() == two.to_saved()[0][name].tobytes()
    assert one.frame.equals(two.frame)


def test_what_cannot_be_measured_is_unknown() -> None:
    found = measured([(2, 1.0)], np.eye(6))
    assert found.of_neuron(0) is None and np.isnan(found.slope[0]) and not found.flat[0]
    assert np.isfinite(found.slope[2]) and found.frame["measured"].sum() == 1
    again = Responses.from_saved(*found.to_saved())
    assert again.of_neuron(2) is not None and again.of_neuron(1) is None
    assert mean_and_spread(np.array([np.nan]))[0] != mean_and_spread(np.array([np.nan]))[0]


def test_viewers_who_have_seen_everything_do_not_count() -> None:
    model, viewers, mask = world()
    blind = viewers.scores.copy()
    blind[::4] = -np.inf
    target, sae = Target(0, 1.0, "spies", "tag", mask), fake_sae(np.eye(6))
    kept = np.arange(80) % 4 > 0
    some = respond([target], sae, model, viewers._replace(scores=blind), np.ones(6, bool), seed=3)
    rest = respond([target], sae, model, viewers.part(kept), np.ones(6, bool), seed=3)  # type: ignore[arg-type]
    assert np.array_equal(some.share[0], rest.share[0])
    nobody = respond([target], sae, model, viewers._replace(scores=np.full_like(blind, -np.inf)), np.ones(6, bool), 3)
    assert nobody.of_neuron(0) is None


def test_a_costly_scorer_is_measured_on_fewer_viewers_and_neurons(tiny_run: Run, monkeypatch) -> None:
    assert analysis.within_budget(tiny_run, 24) == (500, 24)
    a_viewer = 9 * (1 + 2) * tiny_run.recommender.n_items
    monkeypatch.setitem(analysis.BUDGET, "linear", 24 * 100 * a_viewer)
    assert analysis.within_budget(tiny_run, 24) == (100, 24)
    monkeypatch.setitem(analysis.BUDGET, "linear", 6 * 40 * a_viewer)
    assert analysis.within_budget(tiny_run, 24) == (40, 6)
    monkeypatch.setitem(analysis.BUDGET, "linear", 0.0)
    made = analysis.make(tiny_run, no_progress)
    assert made.metrics["n_neurons"] == 1 and made.metrics["n_left_out"] > 0
    best = tiny_run.table.frame["evidence"].idxmax()
    assert made.tables["responses"]["measured"].idxmax() == best


def test_an_sae_that_saw_everybody_is_said_to_have(tiny_run: Run, monkeypatch) -> None:
    split = replace(tiny_run.split, unseen_users=np.zeros(0, np.int64))
    monkeypatch.setitem(tiny_run.__dict__, "split", split)
    users, unseen = analysis.viewers_of(tiny_run, 7)
    assert len(users) == 7 and not unseen


def test_the_curves_are_an_analysis_of_a_run(tiny_run: Run) -> None:
    analyse(tiny_run, ["responses"])
    made = find(tiny_run, "responses")
    assert made is not None
    found = Responses.from_saved(made.arrays, made.tables)
    best = int(tiny_run.table.frame["evidence"].idxmax())
    curve = found.of_neuron(best)
    assert curve is not None and curve.unseen and curve.kind in ("genre", "tag", "decade")
