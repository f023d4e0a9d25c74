"""What a fit is said to cost: counts made by hand, laws, and the truth on a log that takes a moment."""

import time
from typing import Any

import numpy as np
import pytest

from core.configs import from_dict
from core.recommenders import costs
from core.recommenders.base import RECOMMENDERS, recommender_class
from core.recommenders.costs import NANOSECONDS, REFERENCE_GFLOPS, WORK, Cost, Shape, estimate, machine_gflops
from tests.core.recommenders.blocks import dataset_of

SHAPE = Shape(1_000, 500, 20_000)


def config_of(name: str, **settings: Any) -> Any:
    return from_dict(recommender_class(name).Config, settings)


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "machine_gflops", lambda: REFERENCE_GFLOPS)


def test_the_steps_of_elsa_are_counted_as_its_training_makes_them(reference: None) -> None:
    # Two steps an epoch, so the floor of 240 steps makes 120 epochs.
    counts = WORK["elsa"](config_of("elsa", embedding_size=10), SHAPE).counts
    assert counts == {"product": 240 * 1_012 * 100, "weight": 240 * 500 * 10, "interaction": 120 * 20_000 * 10}
    times = NANOSECONDS["elsa"]
    expected = sum(counts[kind] * times[kind] for kind in times) / 1e9
    assert estimate("elsa", config_of("elsa", embedding_size=10), SHAPE).seconds == pytest.approx(expected)


def test_ease_takes_eight_times_as_long_for_twice_the_items_of_a_large_catalogue(reference: None) -> None:
    one, two = (estimate("ease", config_of("ease"), Shape(10_000, n, 10_000)) for n in (50_000, 100_000))
    assert two.seconds / one.seconds == pytest.approx(8, rel=0.01)
    assert two.megabytes / one.megabytes == pytest.approx(4)


@pytest.mark.parametrize("name", [name for name in RECOMMENDERS if name in WORK])
def test_a_larger_log_costs_more_and_a_slower_machine_takes_longer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(name)
    assert set(WORK[name](config, SHAPE).counts) == set(NANOSECONDS[name])
    monkeypatch.setattr(costs, "machine_gflops", lambda: REFERENCE_GFLOPS)
    here, larger = estimate(name, config, SHAPE), estimate(name, config, Shape(*(10 * n for n in SHAPE)))
    assert 0 < here.seconds < larger.seconds and 0 < here.megabytes < larger.megabytes
    monkeypatch.setattr(costs, "machine_gflops", lambda: REFERENCE_GFLOPS / 2)
    assert estimate(name, config, SHAPE) == pytest.approx((2 * here.seconds, here.megabytes))
    assert np.isfinite(estimate(name, config, Shape(0, 0, 0))).all()


def test_nothing_is_said_of_a_recommender_that_nothing_is_known_of() -> None:
    assert np.isnan(estimate("brought from elsewhere", None, SHAPE)).all()


def test_the_speed_of_the_machine_is_measured_in_a_moment() -> None:
    machine_gflops.cache_clear()
    start = time.process_time()
    assert 0.1 < machine_gflops() < 10_000
    assert time.process_time() - start < 0.3


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ease", {}),
        ("mf", {"epochs": 2}),
        ("elsa", {"epochs": 1, "min_steps": 6}),
    ],
)
def test_the_estimate_is_of_the_order_of_the_truth(name: str, settings: dict[str, int]) -> None:
    random = np.random.default_rng(0)
    log = dataset_of([random.permutation(1_500)[:60].tolist() for _ in range(500)], 1_500)
    kind, config = recommender_class(name), config_of(name, **settings)
    kind.fit(log.with_interactions(log.user_index < 5), config, seed=0)  # what is loaded once is no part of it
    seconds = []
    for _ in range(2):
        start = time.process_time()
        kind.fit(log, config, seed=0)
        seconds.append(time.process_time() - start)
    foretold: Cost = estimate(name, config, Shape(log.n_users, log.n_items, log.n_interactions))
    assert min(seconds) / 4 < foretold.seconds < max(seconds) * 4
