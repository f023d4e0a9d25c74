"""The stages over a workspace: built once, resumed after any kill, and nothing a person mistypes goes unnoticed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.data.dataset import Dataset
from core.errors import ConfigError, DataError, MissingStageError
from core.pipeline import REFERENCES, BuildRequest, build, plan
from core.recommenders.base import embed_users, rank
from core.recommenders.elsa import ELSA
from core.runs import Run, list_runs, open_run, steer_viewer
from core.sae import trainer
from core.steering.steering import Edit, Steering, steer
from core.workspace import STAGES, Workspace
from tests.conftest import TINY_SETTINGS, tiny_request

ROOT = Path(__file__).resolve().parents[2]


def test_a_build_measures_everything_that_scripts_rely_on(tiny_run: Run) -> None:
    report = tiny_run.report
    assert set(report) >= {"dataset", "recommender", "sae", "neurons", "seconds", "peak_memory_mb"}
    assert set(report["dataset"]) >= {"name", "n_users", "n_items", "n_interactions"}
    assert set(report["recommender"]) >= {
        "name", "d_in", "recall_at_20", "ndcg_at_20", "coverage_at_10", "gini_at_10",
    }  # fmt: skip
    assert set(report["sae"]) >= {
        "preset", "d_sae", "l0", "fvu", "cosine", "alive", "dead_share", "recall_at_20", "ndcg_at_20", "rbo_at_30",
        "kendall_at_30",
    }  # fmt: skip
    neurons = report["neurons"]
    assert set(neurons) >= {"purity", "paper_purity", "baselines", "popularity_percentile", "monosemanticity"}
    assert set(neurons["purity"]["Horror"]) == {"neuron", "base_rate", "10", "20", "50"}
    assert set(neurons["baselines"]) == {"random_directions", "raw_dimensions"}
    assert set(report["seconds"]) == set(STAGES)
    assert report["sae"]["l0"] <= 4
    assert report["peak_memory_mb"] > 50


def test_the_neurons_of_a_planted_log_find_its_genres(tiny_run: Run) -> None:
    purity = tiny_run.report["neurons"]["purity"]
    for genre in ("Horror", "Comedy", "Documentary"):
        assert purity[genre]["base_rate"] == pytest.approx(1 / 3)
        assert purity[genre]["10"] >= 0.8


def test_the_report_is_about_viewers_that_the_sae_never_saw(tiny_run: Run) -> None:
    parts = tiny_run.split
    assert tiny_run.report["sae"]["n_unseen_viewers"] == len(parts.unseen_users) > 0
    assert not set(parts.unseen_users) & set(parts.seen_users)


def test_each_stage_learns_only_from_what_it_may_see(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, learn, given = ELSA.fit, trainer.train, {}

    def fit_and_tell(train: Dataset, *rest: Any, **more: Any) -> ELSA:
        given["log"] = train
        return fit(train, *rest, **more)

    def learn_and_tell(X: np.ndarray, *rest: Any, **more: Any) -> Any:
        given.update(X=X, augment=more["augment"])
        return learn(X, *rest, **more)

    monkeypatch.setattr(ELSA, "fit", fit_and_tell)
    monkeypatch.setattr(trainer, "train", learn_and_tell)
    run = build(tiny_request(tiny_folder, **{"split.name": "held-out-users"}), Workspace(tmp_path / "w"))
    parts = run.split
    pairs = set(zip(given["log"].user_index.tolist(), given["log"].item_index.tolist(), strict=True))
    assert not {u for u, _ in pairs} & set(parts.unseen_users.tolist())
    assert not pairs & {(u, i) for u, wanted in enumerate(parts.targets) for i in wanted.tolist()}
    seen = run.recommender.embed(parts.train.histories(parts.seen_users))
    np.testing.assert_array_equal(given["X"], seen)
    rows = np.array([3, 0])
    np.testing.assert_array_equal(given["augment"](np.random.default_rng(0), rows, 0.0), seen[rows])
    # Of a viewer whose whole history would be dropped one item stays: a unit vector of ELSA.
    alone = given["augment"](np.random.default_rng(0), rows, 1.0)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, rtol=1e-5)


def test_an_sae_of_a_sequence_model_also_learns_from_viewers_as_they_were_earlier(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, given = trainer.train, {}

    def learn_and_tell(X: np.ndarray, *rest: Any, **more: Any) -> Any:
        given["augment"] = more["augment"]
        return learn(X, *rest, **more)

    monkeypatch.setattr(trainer, "train", learn_and_tell)
    settings = {key: value for key, value in TINY_SETTINGS.items() if not key.startswith("recommender")}
    settings["recommender.epochs"] = "1"
    request = BuildRequest(str(tiny_folder), "sasrec", "knots", settings=settings)
    run = build(request, Workspace(tmp_path / "w"))
    histories = run.split.history.histories(run.split.seen_users)
    for dropout, share in ((0.0, 1.0), (0.5, 0.5), (0.99, 0.0)):
        expected = [histories[row][: max(1, round(share * len(histories[row])))] for row in (3, 0)]
        embedded = given["augment"](np.random.default_rng(0), np.array([3, 0]), dropout)
        np.testing.assert_allclose(embedded, run.recommender.embed(expected), rtol=1e-5, atol=1e-6)


def test_a_second_build_makes_nothing_anew(tiny_run: Run, tiny_folder: Path) -> None:
    stages = []
    again = build(tiny_request(tiny_folder), tiny_run.workspace, lambda stage, *_: stages.append(stage))
    assert again.ids == tiny_run.ids
    assert set(stages) == {"dataset"}


def test_a_setting_of_the_sae_keeps_the_recommender(tiny_run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    first = build(tiny_request(tiny_folder), workspace)
    second = build(tiny_request(tiny_folder, **{"sae.k": "3"}), workspace)
    assert first.ids["recommender"] == second.ids["recommender"] == tiny_run.ids["recommender"]
    assert first.ids["sae"] != second.ids["sae"]
    assert {r.id for r in list_runs(workspace)} == {first.id, second.id}


def test_the_same_seed_gives_the_same_weights_bit_for_bit(tiny_run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    again = build(tiny_request(tiny_folder), Workspace(tmp_path / "w"))
    assert again.ids == tiny_run.ids
    for stage in ("recommender", "sae", "neurons"):
        before = tiny_run.workspace.arrays(stage, tiny_run.ids[stage])
        after = again.workspace.arrays(stage, again.ids[stage])
        assert before.keys() == after.keys()
        for name, array in before.items():
            np.testing.assert_array_equal(array, after[name], err_msg=f"{stage}.{name}")


def test_another_seed_gives_another_run(tiny_run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    other = build(tiny_request(tiny_folder, seed=1), Workspace(tmp_path / "w"))
    assert other.ids["dataset"] == tiny_run.ids["dataset"]
    assert other.ids["split"] != tiny_run.ids["split"]
    assert not np.array_equal(other.recommender.embed_items(), tiny_run.recommender.embed_items())


def test_no_edit_leaves_the_recommenders_own_list(tiny_run: Run) -> None:
    histories = tiny_run.dataset.histories()
    embeddings = tiny_run.recommender.embed(histories)
    lists = tiny_run.three_lists(embeddings, histories, Steering(), 20)
    np.testing.assert_array_equal(lists.original, lists.steered)
    np.testing.assert_array_equal(lists.original, rank(tiny_run.recommender.score(embeddings), 20, histories))


def test_promoting_the_horror_neuron_brings_horror(tiny_run: Run) -> None:
    neuron = tiny_run.report["neurons"]["purity"]["Horror"]["neuron"]
    horror = np.array(["Horror" in g for g in tiny_run.dataset.item_table["genres"]])
    unit = float(tiny_run.table.frame["strong_activation"][neuron])
    histories = tiny_run.dataset.histories(tiny_run.split.unseen_users)
    embeddings = tiny_run.recommender.embed(histories)
    share = []
    for strength in (-2.0, 0.0, 2.0):
        lists = tiny_run.three_lists(embeddings, histories, Steering((Edit(neuron, "add", strength * unit),)), 10)
        share.append(horror[lists.steered].mean())
    assert share[0] < share[1] < share[2]


def test_why_each_item_moved_sums_to_its_score_change(tiny_run: Run) -> None:
    result = steer_viewer(tiny_run, "viewer 3", Steering((Edit(1, "add", 1.5), Edit(2, "set", 0.0))), 10)
    user = tiny_run.dataset.users.index("viewer 3")
    before = tiny_run.embedding(user)
    edits = Steering(tuple(Edit(**e) for e in result["edits"]))
    change = tiny_run.recommender.score(steer(before, edits, tiny_run.sae)) - tiny_run.recommender.score(before)
    for row in result["steered"]:
        item = tiny_run.dataset.items.index(row["item"])
        assert sum(row["contributions"].values()) == pytest.approx(change[0, item], abs=1e-4)


def test_a_seen_item_is_in_no_list(tiny_run: Run) -> None:
    result = steer_viewer(tiny_run, "viewer 3", Steering(), 60)
    seen = {tiny_run.dataset.items.ids[i] for i in tiny_run.dataset.history(tiny_run.dataset.users.index("viewer 3"))}
    for name in ("original", "reconstructed", "steered"):
        assert seen.isdisjoint(row["item"] for row in result[name])
        assert len(result[name]) == tiny_run.dataset.n_items - len(seen)


def test_an_unknown_viewer_gets_near_names(tiny_run: Run) -> None:
    with pytest.raises(DataError, match="viewer 3"):
        steer_viewer(tiny_run, "viewr 3", Steering(), 10)


def test_an_unknown_neuron_is_refused(tiny_run: Run) -> None:
    with pytest.raises(ConfigError, match="no neuron 9999"):
        steer_viewer(tiny_run, "viewer 3", Steering((Edit(9999, "add", 1.0),)), 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sae.kk": "3"}, r"sae\.kk is not a setting"),
        ({"sea.k": "3"}, "did you mean 'sae'"),
        ({"k": "3"}, "not a setting"),
        ({"sae.k": "many"}, "expected a number"),
        ({"sae.k": "3.5"}, "whole number"),
        ({"sae.k": "nan"}, "finite"),
        ({"sae.k": "999"}, "999"),
        ({"split.name": "leave-one"}, "leave-n-out"),
        ({"recommender.epochs": "0"}, "epochs"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_before_any_work(
    tiny_folder: Path, tmp_path: Path, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(tiny_request(tiny_folder, **settings), Workspace(tmp_path / "w"))
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(("field", "value"), [("recommender", "elso"), ("preset", "knotts")])
def test_an_unknown_name_gets_near_names(field: str, value: str) -> None:
    request = BuildRequest(**{"dataset": "demo", "recommender": "elsa", "preset": "knots", field: value})
    with pytest.raises(ConfigError, match="did you mean"):
        plan(request)


def test_a_preset_brings_its_recommenders_settings_and_a_person_wins() -> None:
    assert plan(BuildRequest("x", "mf", "monosemantic")).recommender.negatives == "popularity"
    given = BuildRequest("x", "mf", "monosemantic", settings={"recommender.negatives": "uniform"})
    assert plan(given).recommender.negatives == "uniform"


def test_an_empty_workspace_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingStageError) as error:
        open_run(tmp_path / "nothing")
    assert "dataset" in error.value.problem and "python -m core build" in error.value.fix


def test_an_unknown_run_is_named(tiny_run: Run) -> None:
    with pytest.raises(MissingStageError, match="no run 'knots-ffffffff'"):
        open_run(tiny_run.workspace.path, "knots-ffffffff")


def test_a_damaged_stage_is_built_again(tiny_folder: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    run = build(tiny_request(tiny_folder), workspace)
    file = workspace.path / "sae" / run.ids["sae"] / "arrays.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    assert list_runs(workspace) == []
    again = build(tiny_request(tiny_folder), workspace)
    assert again.ids == run.ids
    assert file.read_bytes() == whole


@pytest.mark.slow
def test_a_build_killed_at_random_moments_leaves_the_old_run_readable_and_finishes(
    tiny_folder: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "w")
    old = build(tiny_request(tiny_folder), workspace)
    settings = [part for key, value in TINY_SETTINGS.items() for part in ("--set", f"{key}={value}")]

    def command(seed: int, where: Path) -> list[str]:
        names = ["--dataset", str(tiny_folder), "--recommender", "elsa", "--preset", "knots"]
        return [
            sys.executable,
            "-m",
            "core",
            "build",
            *names,
            "--seed",
            str(seed),
            "--workspace",
            str(where),
            "--no-analyses",
            *settings,
        ]

    start = time.monotonic()
    subprocess.run(command(7, tmp_path / "timing"), cwd=ROOT, check=True, capture_output=True)
    whole = time.monotonic() - start
    rng, seed, killed = random.Random(0), 100, 0
    while killed < 20 and seed < 200:  # a seed of its own each time, so that there is always everything to build
        seed += 1
        process = subprocess.Popen(
            command(seed, workspace.path), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=whole * rng.uniform(0.3, 0.95))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        assert old.id in [r.id for r in list_runs(workspace)]
        assert open_run(workspace.path, old.id).table.frame.equals(old.table.frame)
        assert workspace.check() == []
    assert killed == 20
    for again in (seed, seed - 1, seed - 2):
        done = subprocess.run(command(again, workspace.path), cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        reference = build(tiny_request(tiny_folder, seed=again), Workspace(tmp_path / "reference"))
        run = open_run(workspace.path, reference.id)
        assert run.ids == reference.ids
        np.testing.assert_array_equal(run.sae.W_dec, reference.sae.W_dec)
    leftovers = [p for stage in STAGES for p in (workspace.path / stage).iterdir() if p.name.startswith(".")]
    assert len(leftovers) <= 1


def test_the_report_holds_only_plain_json(tiny_run: Run) -> None:
    json.dumps(tiny_run.report, allow_nan=False)


def test_seen_items_are_masked_unless_a_person_says_otherwise(tiny_folder: Path, tmp_path: Path) -> None:
    request = BuildRequest(str(tiny_folder), "popularity", None, settings={"split.n_held_out": "2"})
    masked = build(request, Workspace(tmp_path))
    unmasked = build(replace(request, settings={**request.settings, "evaluation.mask_seen": "no"}), Workspace(tmp_path))
    assert masked.id != unmasked.id
    assert unmasked.report["recommender"]["recall_at_20"] < masked.report["recommender"]["recall_at_20"]
    assert unmasked.recommender.name == "popularity"


def test_a_build_without_a_preset_ends_with_the_recommender_beside_its_references(
    tiny_folder: Path, tmp_path: Path
) -> None:
    run = build(BuildRequest(str(tiny_folder), "mf", None, settings={"split.n_held_out": "2"}), Workspace(tmp_path))
    assert run.id.startswith("mf-") and "sae" not in run.report
    names = {a.config["name"] for a in Workspace(tmp_path).artefacts("recommender")}
    assert names == {"mf", *REFERENCES}
    viewers = run.workspace.tables("recommender", run.id)["viewers"]
    assert viewers["ndcg_at_20"].mean() == pytest.approx(run.report["recommender"]["ndcg_at_20"], rel=1e-5)


def test_a_number_of_neurons_takes_the_place_of_the_presets_multiple_of_the_width() -> None:
    request = BuildRequest("demo", "sasrec", "popsteer", settings={"sae.d_sae": "96", "sae.k": "4"})
    assert (plan(request).sae.d_sae, plan(request).sae.expansion) == (96, None)
    assert plan(replace(request, settings={})).sae.expansion == 64


def test_stability_compares_with_an_sae_of_another_seed_and_changes_nothing_else(
    tiny_folder: Path, tiny_run: Run, tmp_path: Path
) -> None:
    request = replace(tiny_request(tiny_folder), stability=True)
    run = build(request, Workspace(tmp_path / "w"))
    assert run.ids["sae"] == tiny_run.ids["sae"]
    assert run.id != tiny_run.id
    frame, before = run.table.frame, tiny_run.table.frame
    pd.testing.assert_frame_equal(frame.drop(columns="stability"), before)
    fires = (run.sae.encode(embed_users(run.recommender, run.dataset, np.arange(run.dataset.n_users))) > 0).any(axis=0)
    np.testing.assert_array_equal(frame["stability"].notna(), fires)
    assert frame["stability"].max() > frame["stability"].min()
    summary = run.report["neurons"]["stability"]
    assert summary["mean"] == pytest.approx(frame["stability"].mean())
    assert summary["n_neurons"] == fires.sum()
    twin = run.meta("neurons").config["twin"]
    assert not np.array_equal(run.workspace.arrays("sae", twin)["W_dec"], run.sae.W_dec)
    assert build(request, run.workspace).id == run.id
