"""Which points of a sweep are on the frontier, and which one is recommended."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sweep.points import Choice, Point, Sweep, choose, frontier


def point(loss: float, purity: float, high: float | None = None, **settings: str) -> Point:
    """Give a point that loses `loss`, at most `high`."""
    high = loss + 0.005 if high is None else high
    return Point(settings, ndcg_loss=loss, ndcg_loss_low=loss - 0.005, ndcg_loss_high=high, neuron_purity=purity)


def test_the_frontier_by_hand() -> None:
    points = [point(0.01, 0.7), point(0.02, 0.9), point(0.02, 0.8), point(0.03, 0.9), point(0.00, 0.6)]
    # 2 is less pure than 1 at the same loss, 3 loses more than 1 and is as pure
    assert frontier(points) == [True, True, False, False, True]


def test_equal_points_are_both_on_the_frontier_and_the_first_is_chosen() -> None:
    points = [point(0.01, 0.7), point(0.01, 0.7)]
    assert frontier(points) == [True, True]
    assert choose(points, 0.02).point == 0


def test_a_point_without_a_number_is_not_on_the_frontier_and_beats_nobody() -> None:
    points = [point(0.0, np.nan), Point({}, problem="diverged"), point(0.05, 0.5)]
    assert frontier(points) == [False, False, True]


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3)), max_size=12))
def test_a_point_is_off_the_frontier_exactly_where_one_on_it_is_better(values: list[tuple[int, int]]) -> None:
    points = [point(loss / 100, purity / 3) for loss, purity in values]
    there = frontier(points)
    best = {v for v, on in zip(values, there, strict=True) if on}
    for (loss, purity), on in zip(values, there, strict=True):
        better = any(a <= loss and b >= purity and (a, b) != (loss, purity) for a, b in best)
        assert on != better


def test_the_purest_whose_interval_ends_within_the_bound_is_recommended() -> None:
    points = [point(0.005, 0.7), point(0.01, 0.8, 0.02), point(0.012, 0.9, 0.021), point(0.05, 0.99)]
    choice = choose(points, 0.02)
    assert choice.point == 1
    assert "2 points" in choice.why
    assert "within 2 %" in choice.why
    assert choose(points, 0.03).point == 2
    assert choose(points, 0.5).point == 3


def test_a_point_that_another_one_beats_is_not_recommended_even_where_only_its_interval_is_within() -> None:
    beaten = point(0.011, 0.85, 0.015)
    assert choose([point(0.010, 0.9, 0.03), beaten, point(0.005, 0.8, 0.01)], 0.02).point == 2
    assert choose([point(0.010, 0.9, 0.03), beaten], 0.02).point is None


def test_of_equally_pure_points_that_cannot_both_be_on_the_frontier_the_one_that_loses_less_wins() -> None:
    assert choose([point(0.01, 0.8), point(0.005, 0.8)], 0.02).point == 1


def test_no_point_within_the_bound_is_said_with_the_nearest_one() -> None:
    choice = choose([point(0.05, 0.9, 0.06, k="4"), point(0.04, 0.8, 0.07, k="8")], 0.02)
    assert choice.point is None
    assert "k=4 comes nearest: up to 6 %" in choice.why
    assert choose([], 0.02).point is None
    assert choose([Point({}, problem="diverged")], 0.02).point is None


def test_the_table_keeps_a_setting_apart_from_the_figure_of_the_same_name() -> None:
    points = [Point({"cosine": "0.5"}, cosine=0.9)]
    sweep = Sweep("t", {}, {"cosine": ("0.5",)}, None, 0.02, 1, points, [True], Choice(0, "why"), "sweeps/x")
    row = sweep.to_table().iloc[0]
    assert (row["sae.cosine"], row["cosine"]) == ("0.5", 0.9)
    assert bool(row["recommended"])
    assert sweep.to_json()["points"][0]["settings"] == {"cosine": "0.5"}
    assert points[0].settings == {"cosine": "0.5"}


@pytest.mark.parametrize(("settings", "name"), [({}, "the preset"), ({"k": "4", "d_sae": "8"}, "k=4, d_sae=8")])
def test_a_point_is_named_as_people_type_it(settings: dict[str, str], name: str) -> None:
    assert Point(settings).name == name
