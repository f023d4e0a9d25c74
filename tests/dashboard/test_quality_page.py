"""SAE quality: what the page says of an SAE is what was measured."""

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.pipeline import build
from core.runs import Run
from core.workspace import Workspace
from dashboard.charts import Curve, curves_figure, percent
from dashboard.commands import run_request
from dashboard.listing import list_concepts, to_csv
from pages.quality import levels_of, sweep_command
from tests.conftest import tiny_request
from tests.dashboard.test_pages import metric, open_page, shown


@pytest.fixture(scope="module")
def nested(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with three levels of neurons, a second seed, and too few steps for its own good."""
    request = tiny_request(
        tiny_folder, **{"sae.levels": "0.25,0.5,1", "sae.n_steps": "60", "sae.learning_rate": "0.001"}
    )
    object.__setattr__(request, "stability", True)
    return build(request, Workspace(tmp_path_factory.mktemp("quality") / "w"))


def test_the_page_shows_levels_stability_and_what_the_training_noticed(
    nested: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(nested.workspace.path))
    app = open_page("quality")
    page, report = shown(app), nested.report
    assert metric(app, "Direction kept") == f"{report['sae']['cosine']:.3f}"
    assert metric(app, "Stability") == percent(report["neurons"]["stability"]["surviving_share"])
    for warning in report["sae"]["warnings"]:
        assert warning.split(":")[0] in page
    assert report["sae"]["warnings"], "60 steps are too few"
    frame = nested.table.frame
    for level, border in enumerate((6, 12, 24), start=1):
        row = frame[(frame["level"] == level) & frame["alive"]]
        assert frame.loc[frame["neuron"] < border, "level"].max() == level
        if len(row):
            assert percent(float(row["density_users"].median()), 2) in page
    assert "step 1" in page and "Broad first, fine later" in page


def test_a_concept_says_its_level_and_the_file_has_it(nested: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(nested.workspace.path))
    alive = int(nested.table.frame.query("alive and level == 2")["neuron"].iloc[0])
    assert "Level 2 of 3: the first 12 neurons" in shown(open_page("concept", neuron=str(alive)))
    header = to_csv(list_concepts(nested.table, nested.dataset.titles())).decode("utf-8-sig").splitlines()[0]
    assert "level" in header.split(",") and "stability" in header.split(",")


def test_an_sae_without_levels_and_without_a_second_seed_says_how_to_measure(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tiny_run.workspace.path))
    page = shown(open_page("quality"))
    assert "--stability" in page and "Broad first" not in page and "level" not in tiny_run.table.frame


def test_the_commands_to_copy_build_nothing_anew(nested: Run, tiny_folder: Path) -> None:
    request = run_request(nested)
    assert request is not None and request.settings["sae.levels"] == "0.25,0.5,1.0"
    again = build(replace(request, dataset=str(tiny_folder)), nested.workspace)
    assert {stage: again.ids[stage] for stage in ("recommender", "sae")} == {
        stage: nested.ids[stage] for stage in ("recommender", "sae")
    }


def test_a_sweep_to_copy_is_around_the_run_and_in_its_workspace(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tiny_run.workspace.path))
    words = shlex.split(sweep_command(tiny_run))
    assert words[words.index("--over") + 1] == "k=2,4,8" and not any(w.startswith("sae.k=") for w in words)
    assert words[words.index("--workspace") + 1] == str(tiny_run.workspace.path)
    assert "sae.d_sae=24" in words and "split.n_held_out=2" in words


def test_levels_count_the_living_and_take_their_median() -> None:
    frame = pd.DataFrame(
        {
            "level": [1, 1, 1, 2, 2],
            "alive": [True, True, False, True, False],
            "density_users": [0.4, 0.2, 0.0, 0.1, 0.0],
            "purity_at_20": [0.5, 0.7, np.nan, 1.0, np.nan],
            "lift": [2.0, 4.0, np.nan, 8.0, np.nan],
        }
    )
    rows = levels_of(frame)
    assert rows["n"].tolist() == [3, 2] and rows["n_alive"].tolist() == [2, 1]
    np.testing.assert_allclose(rows["audience"], [0.3, 0.1])
    np.testing.assert_allclose(rows["purity"], [0.6, 1.0])
    np.testing.assert_allclose(rows["lift"], [3.0, 8.0])


def test_a_curve_is_drawn_on_its_own_axis_and_ends_with_its_last_value() -> None:
    made = curves_figure("T", "t", np.array([1, 5, 9]), [Curve("Loss", np.array([4.0, 2.0, 1.0]), 2)])
    assert [f"height:{h}%" in made.html for h in ("100.0", "50.0", "25.0")] == [True] * 3
    assert "<b>1.00</b>" in made.html and "step 1" in made.html


def test_a_logarithmic_curve_falls_evenly_where_a_number_is_halved_again_and_again() -> None:
    made = curves_figure("T", "t", np.array([1, 2, 3]), [Curve("Loss", np.array([4.0, 2.0, 1.0]), 2, log=True)])
    assert [f"height:{h}%" in made.html for h in ("100.0", "52.0", "4.0")] == [True] * 3
