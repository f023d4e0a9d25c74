"""A sweep that lies in a workspace is read as it was written, and drawn on the page of the SAE's quality."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from core.sweep.grid import SweepRequest, sweep
from core.sweep.points import Sweep
from core.sweep.stored import sweeps_of
from core.workspace import Workspace
from dashboard.charts import Spot, frontier_figure
from tests.conftest import tiny_request
from tests.dashboard.test_pages import open_page, shown


@pytest.fixture(scope="module")
def swept(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Sweep]:
    workspace = Workspace(tmp_path_factory.mktemp("swept") / "w")
    request = SweepRequest(tiny_request(tiny_folder, **{"sae.n_steps": "20"}), {"k": ("2", "6")}, loss_bound=0.9)
    return workspace, sweep(request, workspace)


def test_what_was_written_is_read_again(swept: tuple[Workspace, Sweep]) -> None:
    workspace, made = swept
    (found,) = sweeps_of(workspace, made.ids["recommender"])
    assert (found.title, found.why, found.recommended) == (made.title, made.choice.why, made.choice.point)
    assert (found.n_points, found.loss_bound, found.frontier) == (2, 0.9, made.frontier)
    for point, again in zip(made.points, found.points, strict=True):
        for name, value in asdict(point).items():
            np.testing.assert_equal(asdict(again)[name], value, name)
    assert sweeps_of(workspace, "another-01234567") == []


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", "[" * 100_000, '{"ids": {"recommender": "R"}, "points": [{}]}',
        '{"ids": {"recommender": "R"}, "points": [], "recommended": null, "title": "", "why": "", "loss_bound": 1, '
        '"n_points": 1e400}',
    ],
)  # fmt: skip
def test_a_file_that_is_not_ours_is_left_out(swept: tuple[Workspace, Sweep], tmp_path: Path, text: str) -> None:
    recommender = swept[1].ids["recommender"]
    workspace = Workspace(tmp_path)
    workspace.write_text("sweeps/some", "sweep.json", text.replace("R", recommender))
    assert sweeps_of(workspace, recommender) == []


def test_the_page_draws_every_point_and_says_which_one_to_take(
    swept: tuple[Workspace, Sweep], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, made = swept
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(workspace.path))
    page = shown(open_page("quality"))
    assert made.choice.point is not None and made.choice.why[:40] in page
    assert page.count("class='spot") == 2 and page.count("spot taken") == 1
    assert "k=2" in page and "k=6" in page and "No sweep yet" not in page
    assert page.count("(in use)") == 2, "once below the picture, once in the table"


def test_a_hostile_name_in_a_sweep_is_text(swept: tuple[Workspace, Sweep], tmp_path: Path) -> None:
    _, made = swept
    facts = json.loads(json.dumps(made.to_json(), default=float).replace("NaN", "null"))
    facts["title"] = facts["why"] = "<img src=x onerror=a()>"
    facts["points"][0]["settings"] = {"k": "<script>"}
    workspace = Workspace(tmp_path)
    workspace.write_text("sweeps/some", "sweep.json", json.dumps(facts))
    (found,) = sweeps_of(workspace, made.ids["recommender"])
    point = found.points[0]
    spots = [Spot(point.name, point.ndcg_loss, 0.0, 0.1, 0.5, taken=True, best=True)]
    made_html = frontier_figure(found.title, found.why, spots, 0.02, ("x", "y")).html
    assert "<img" not in made_html and "<script" not in made_html and "&lt;script&gt;" in made_html


def test_a_spot_stands_where_its_numbers_say() -> None:
    spots = [Spot("a", 0.0, -0.01, 0.01, 0.5, taken=False, best=True), Spot("b", 0.1, 0.1, 0.1, 1.0, True, False)]
    made = frontier_figure(
        "T", "t", [*spots, Spot("failed", np.nan, np.nan, np.nan, np.nan, False, False)], 0.02, ("x", "y")
    )
    # From -0.01 to 0.1, 4 % of 0.11 more on either side: 0.1188 wide. From 0.5 to 1, 15 % more: 0.65 high.
    assert f"left:{100 * (0.1 + 0.0144) / 0.1188:.1f}%;bottom:{100 * 0.575 / 0.65:.1f}%'>2</i>" in made.html
    assert f"left:{100 * 0.0144 / 0.1188:.1f}%;bottom:{100 * 0.075 / 0.65:.1f}%'>1</i>" in made.html
    assert "<b>1</b> a · <b>2</b> b</p>" in made.html
    assert made.html.count("class='spot") == 2 and "failed" in made.html, "in the table, not in the picture"
