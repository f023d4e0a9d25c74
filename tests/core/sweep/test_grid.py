"""A sweep: one recommender, a run a point, a table that is whole after every point and goes on where it was."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.__main__ import main
from core.crossfit import cross_fit
from core.errors import ConfigError, TrainingError
from core.pipeline import build, build_recommender, plan
from core.recommenders.elsa import ELSA
from core.runs import list_runs
from core.sae import trainer
from core.sweep.grid import SweepRequest, plans_of, read_grid, sweep
from core.sweep.points import Sweep
from core.workspace import Workspace
from tests.conftest import TINY_SETTINGS, tiny_request

FAST = {"sae.n_steps": "20"}
OVER = {"k": ("2", "4"), "d_sae": ("16",)}


def request(folder: Path, over: Mapping[str, tuple[str, ...]] = OVER, n_folds: int | None = None) -> SweepRequest:
    return SweepRequest(tiny_request(folder, **FAST), over, n_folds)


class Counted:
    """Counts the trainings, and stops the process's work at one of them as Ctrl-C would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recommenders = self.saes = 0
        self.stop_at = self.diverge_at = 0
        fit, learn = ELSA.fit, trainer.train

        def fit_counted(*args: Any, **more: Any) -> ELSA:
            self.recommenders += 1
            return fit(*args, **more)

        def learn_counted(*args: Any, **more: Any) -> Any:
            self.saes += 1
            if self.saes == self.stop_at:
                raise KeyboardInterrupt
            if self.saes == self.diverge_at:
                raise TrainingError("The loss diverged.", "Set sae.learning_rate lower.")
            return learn(*args, **more)

        monkeypatch.setattr(ELSA, "fit", fit_counted)
        monkeypatch.setattr(trainer, "train", learn_counted)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def written(workspace: Workspace) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """Give the table, the JSON and the page of the only sweep."""
    (folder,) = (workspace.path / "sweeps").iterdir()
    assert sorted(f.name for f in folder.iterdir()) == ["frontier.html", "points.csv", "sweep.json"]
    text = (folder / "sweep.json").read_text(encoding="utf-8")
    return pd.read_csv(folder / "points.csv"), json.loads(text), (folder / "frontier.html").read_text(encoding="utf-8")


def test_each_point_is_the_run_that_a_build_of_its_settings_gives(
    tiny_folder: Path, tmp_path: Path, counted: Counted
) -> None:
    workspace = Workspace(tmp_path / "w")
    found = sweep(request(tiny_folder), workspace)
    assert (counted.recommenders, counted.saes) == (1, 2)
    assert [p.settings for p in found.points] == [{"k": "2", "d_sae": "16"}, {"k": "4", "d_sae": "16"}]
    assert {r.id for r in list_runs(workspace)} == {p.run for p in found.points}
    table, facts, shown = written(workspace)
    for point, row, in_json in zip(found.points, table.itertuples(), facts["points"], strict=True):
        own = {f"sae.{name}": value for name, value in point.settings.items()}
        run = build(tiny_request(tiny_folder, **{**FAST, **own}), workspace)
        report = run.report
        assert run.id == point.run
        assert point.ndcg_loss == report["sae"]["ndcg_loss"]
        assert [point.ndcg_loss_low, point.ndcg_loss_high] == report["sae"]["ndcg_loss_interval"]
        assert [point.recall_loss_low, point.recall_loss_high] == report["sae"]["recall_loss_interval"]
        for name in ("cosine", "rbo_at_30", "kendall_at_30", "dead_share", "density", "l0", "d_sae", "k"):
            assert getattr(point, name) == report["sae"][name] == getattr(row, name) == in_json[name]
        np.testing.assert_equal(point.named_purity, np.float64(report["neurons"]["paper_purity"]["10"]))
        frame = run.table.frame
        pure = [
            0.0 if np.isnan(p) else p for p, alive in zip(frame["purity_at_10"], frame["alive"], strict=True) if alive
        ]
        assert point.neuron_purity == pytest.approx(sum(pure) / len(pure))
        assert point.monosemanticity == pytest.approx(report["neurons"]["monosemanticity"])
        assert point.n_viewers == report["sae"]["n_unseen_viewers"]
        assert point.seconds == pytest.approx(report["seconds"]["sae"] + report["seconds"]["neurons"])
    assert (counted.recommenders, counted.saes) == (1, 2)
    assert table["sae.k"].tolist() == [2, 4]
    assert facts["recommended"] == found.choice.point
    assert found.choice.why.split()[0] in shown


def test_a_sweep_that_was_stopped_keeps_its_table_and_goes_on(
    tiny_folder: Path, tmp_path: Path, counted: Counted
) -> None:
    asked = request(tiny_folder, {"k": ("2", "3", "4")})
    workspace, counted.stop_at = Workspace(tmp_path / "w"), 3
    with pytest.raises(KeyboardInterrupt):
        sweep(asked, workspace)
    table, facts, shown = written(workspace)
    assert table["sae.k"].tolist() == [2, 3]
    assert (facts["n_points"], len(facts["points"])) == (3, 2)
    assert "2 of 3 points so far" in shown
    heights = []

    def tell(found: Sweep) -> None:
        heights.append((len(found.points), len(written(workspace)[0])))

    found = sweep(asked, workspace, told=tell)
    assert heights == [(1, 2), (2, 2), (3, 3)], "rows that were there stay there"
    assert (counted.recommenders, counted.saes) == (1, 4), "only the third point was trained anew"
    assert len(found.points) == 3
    whole = sweep(asked, Workspace(tmp_path / "other"))
    same = ["ndcg_loss", "neuron_purity", "cosine", "monosemanticity"]
    pd.testing.assert_frame_equal(whole.to_table()[same], found.to_table()[same])


def test_a_table_that_was_damaged_is_written_anew(tiny_folder: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    sweep(request(tiny_folder), workspace)
    (file,) = (workspace.path / "sweeps").glob("*/sweep.json")
    for text in ("[1, 2", "[]", '{"points": 7}'):
        file.write_text(text, encoding="utf-8")
        sweep(request(tiny_folder), workspace)
        assert len(written(workspace)[1]["points"]) == 2


def test_a_point_that_diverges_is_told_and_the_others_are_measured(
    tiny_folder: Path, tmp_path: Path, counted: Counted
) -> None:
    counted.diverge_at = 1
    workspace = Workspace(tmp_path / "w")
    found = sweep(request(tiny_folder), workspace)
    assert [p.problem for p in found.points] == ["The loss diverged.", ""]
    assert found.frontier == [False, True]
    assert "The loss diverged." in written(workspace)[2]


def test_with_folds_fidelity_is_that_of_the_cross_fit(tiny_folder: Path, tmp_path: Path) -> None:
    asked, workspace = request(tiny_folder, {}, n_folds=2), Workspace(tmp_path / "w")
    (point,) = sweep(asked, workspace).points
    todo = plan(asked.build)
    expected = cross_fit(todo, build_recommender(asked.build, todo, workspace), 2).metrics
    assert point.n_viewers == 90
    assert point.ndcg_loss == expected["ndcg_loss"]
    assert [point.recall_loss_low, point.recall_loss_high] == expected["recall_loss_interval"]
    assert point.dead_share == expected["dead_share"]
    assert point.seconds > expected["seconds"]


def test_grids_are_read_as_people_type_them() -> None:
    assert read_grid(["k=16, 32", "sae.d_sae=256"], {}) == {"k": ("16", "32"), "d_sae": ("256",)}
    asked = SweepRequest(tiny_request(Path("x")), {"k": ("1", "2"), "d_sae": ("8", "9")})
    assert [tuple(p.values()) for p in asked.points] == [("1", "8"), ("1", "9"), ("2", "8"), ("2", "9")]


@pytest.mark.parametrize(
    ("texts", "fixed", "problem"),
    [
        (["k"], {}, "no values"),
        (["=3"], {}, "no values"),
        (["k="], {}, "empty"),
        (["k=1,,2"], {}, "empty"),
        (["k=1,1"], {}, "twice"),
        (["k=1", "sae.k=2"], {}, "twice"),
        (["recommender.epochs=1"], {}, "only the SAE"),
        (["k=1"], {"sae.k": "3"}, "swept"),
    ],
)
def test_grids_that_cannot_be_are_refused(texts: list[str], fixed: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_grid(texts, fixed)


def test_every_point_is_checked_before_anything_is_built(tiny_folder: Path, tmp_path: Path, counted: Counted) -> None:
    asked = request(tiny_folder, {"k": ("4", "17"), "d_sae": ("16",)})
    with pytest.raises(ConfigError, match="At k=17, d_sae=16: k is 17") as caught:
        sweep(asked, Workspace(tmp_path / "w"))
    assert "between 1 and 16" in caught.value.fix
    with pytest.raises(ConfigError, match="did you mean 'k_aux'"):
        plans_of(request(tiny_folder, {"k_aus": ("4",)}))
    with pytest.raises(ConfigError, match="folds"):
        replace(asked, n_folds=1)
    with pytest.raises(ConfigError, match="100 folds"):
        sweep(request(tiny_folder, n_folds=100), Workspace(tmp_path / "v"))
    assert counted.saes == 0
    assert not (tmp_path / "w").exists()


def arguments(folder: Path, workspace: Path, *more: str) -> list[str]:
    settings = {k: v for k, v in (TINY_SETTINGS | FAST).items() if k not in ("sae.k", "sae.d_sae")}
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    names = ["--dataset", str(folder), "--recommender", "elsa", "--preset", "knots", "--workspace", str(workspace)]
    return ["sweep", *names, *given, *more]


def test_the_command_shows_the_table_and_where_it_lies(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    asked = ["--over", "k=2,4", "--over", "d_sae=16", "--loss-bound", "0.9", "--json", str(out)]
    assert main(arguments(tiny_folder, tmp_path / "w", *asked)) == 0
    shown = capsys.readouterr().out
    facts = json.loads(out.read_text())
    chosen = facts["points"][facts["recommended"]]
    rows = [line for line in shown.splitlines() if line.startswith("*  k=")]
    assert len(rows) == 1
    assert f"k={chosen['settings']['k']}, d_sae=16" in rows[0]
    assert facts["why"] in shown
    assert chosen["run"] in shown
    for line in shown.splitlines():
        if line.endswith((".csv", ".json", ".html")):
            assert Path(line.strip()).is_file()


def test_the_command_refuses_a_large_grid_unless_it_is_meant(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--over", "k=1,2,3,4", "--folds", "6"]
    assert main(arguments(tiny_folder, tmp_path / "w", *asked)) == 2
    assert capsys.readouterr().err.splitlines() == [
        "4 points are 28 SAEs to train, more than 24.",
        "Give --yes to train them all, or name fewer values with --over.",
    ]


def test_a_stopped_command_says_where_the_table_is_and_how_to_go_on(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], counted: Counted
) -> None:
    counted.stop_at = 2
    asked = arguments(tiny_folder, tmp_path / "w", "--over", "k=2,4", "--over", "d_sae=16")
    assert main(asked) == 130
    shown = capsys.readouterr()
    assert "1 of 2 points are in" in shown.out
    assert "Run the same command again to go on." in shown.err
    assert main(asked) == 0
    assert counted.saes == 3
