"""The page of a sweep: everything in it, nothing from elsewhere, text of others escaped."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from core.sweep.page import Axis, axis, page, picture, radius, ticks
from core.sweep.points import Point, Sweep, choose, frontier

POINTS = [
    Point({"k": str(k)}, "", f"run-{k}", ndcg_loss=loss, ndcg_loss_low=loss - 0.01, ndcg_loss_high=loss + 0.01,
          neuron_purity=purity, monosemanticity=purity / 2, density=k / 100, l0=k)
    for k, loss, purity in ((4, 0.03, 0.9), (8, 0.005, 0.8), (16, 0.006, 0.7))
]  # fmt: skip


def a_sweep(points: list[Point], title: str = "elsa on tiny", n_points: int | None = None) -> Sweep:
    n = len(points) if n_points is None else n_points
    return Sweep(title, {}, {}, None, 0.02, n, points, frontier(points), choose(points, 0.02), "sweeps/x")


def circles(svg: str) -> list[ElementTree.Element]:
    """Give the markers of a picture in the order of the points."""
    groups = list(ElementTree.fromstring(svg).iter("g"))
    return sorted(groups, key=lambda g: int(g.find("text").text))  # type: ignore[union-attr, arg-type]


def test_markers_stand_where_their_numbers_say() -> None:
    groups = circles(picture(a_sweep(POINTS), lambda p: p.neuron_purity, "purity"))
    x, y, r = (np.array([float(g.find("circle").get(key)) for g in groups]) for key in ("cx", "cy", "r"))  # type: ignore[union-attr, arg-type]
    assert (np.argsort(x) == [1, 2, 0]).all()
    assert (np.argsort(-y) == [2, 1, 0]).all(), "up is more"
    assert (x[0] - x[1]) / (x[2] - x[1]) == pytest.approx(25, rel=0.05)
    assert (np.argsort(r) == [0, 1, 2]).all()
    assert [g.get("class") for g in groups] == ["frontier", "frontier recommended", ""]


def test_the_area_of_a_marker_grows_evenly_with_the_density() -> None:
    areas = [radius(part) ** 2 for part in (0.0, 0.25, 0.5, 1.0)]
    assert areas[1] - areas[0] == pytest.approx((areas[3] - areas[0]) / 4)
    assert areas[2] - areas[0] == pytest.approx((areas[3] - areas[0]) / 2)
    assert radius(float("nan")) == radius(0.0)


def test_the_page_says_which_point_to_take_and_why() -> None:
    shown = page(a_sweep(POINTS))
    assert "k=8 is recommended" in shown
    assert shown.count("class='recommended'") == 1, "one row of the table"
    assert shown.count("<svg") == 2
    assert page(a_sweep(POINTS, n_points=5)).count("3 of 5 points so far") == 1


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    shown = page(a_sweep(POINTS))
    assert not re.search(r"<script|https?://|@import|url\(|<link|<img", shown)


def test_text_of_others_is_escaped_everywhere() -> None:
    evil = "</title><script>alert('1')</script>\"><img src=x onerror=alert(1)>"
    points = [replace(POINTS[0], settings={"k": evil}), Point({"k": "2"}, problem=evil)]
    shown = page(a_sweep(points, title=evil))
    assert "<script" not in shown
    assert "<img" not in shown
    assert shown.count("&lt;script&gt;") >= 5


def test_points_without_numbers_are_in_the_table_and_not_in_the_pictures() -> None:
    points = [*POINTS, Point({"k": "99"}, problem="The training diverged.")]
    shown = page(a_sweep(points))
    assert "The training diverged." in shown
    assert shown.count("<circle") == 6
    assert "nan" not in shown


@pytest.mark.parametrize("points", [[], POINTS[:1], [Point({}, problem="no")]])
def test_one_point_or_none_still_gives_a_page(points: list[Point]) -> None:
    shown = page(a_sweep(points))
    assert shown.count("<circle") == 2 * (points == POINTS[:1])
    assert "nan" not in shown


@pytest.mark.parametrize("values", [[0.0], [0.5, 0.5], [-1e-6, 1e-6], [0.001, 0.0015], [3.0, 970.0], []])
def test_every_value_lies_inside_its_axis_with_some_round_ticks(values: list[float]) -> None:
    of = axis(values, 0, 100)
    assert all(0 < of.at(v) < 100 for v in values)
    assert 3 <= len(ticks(of)) <= 10
    assert all(of.low <= t <= of.high for t in ticks(of))


def test_ticks_by_hand() -> None:
    assert ticks(Axis(-0.011, 0.034, 0, 1)) == [-0.01, 0.0, 0.01, 0.02, 0.03]
