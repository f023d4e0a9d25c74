"""SAEs in and out of a run, and of vectors in files, on the command line: the same numbers, two lines for a fault."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.__main__ import main
from core.commands.terminal import Bars
from core.exchange import bring_sae
from core.runs import Run, list_runs, open_run
from core.sae.config import TrainConfig
from core.sae.trainer import train
from core.workspace import Workspace
from tests.core.test_command_line import two_lines


@pytest.fixture(scope="session")
def exported(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SAE of the tiny run in both formats. Not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    for out, kind in (("saelens", "saelens"), ("own.npz", "npz")):
        where = ["--workspace", str(tiny_run.workspace.path)]
        assert main(["export-sae", tiny_run.id, str(folder / out), "--format", kind, *where]) == 0
    return folder


@pytest.fixture
def workspace(tiny_run: Run, tmp_path: Path) -> Path:
    """A copy of the workspace of the tiny run."""
    shutil.copytree(tiny_run.workspace.path, tmp_path / "w")
    return tmp_path / "w"


@pytest.mark.parametrize("name", ["saelens", "own.npz"])
def test_an_sae_that_comes_back_is_an_sae_of_the_run(
    name: str, exported: Path, workspace: Path, tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "r.json"
    arguments = ["import", "sae", str(exported / name), "--workspace", str(workspace), "--json", str(report)]
    assert main([*arguments, "--name", "mine"]) == 0
    assert "viewers that the SAE may have seen" in capsys.readouterr().out
    run = open_run(workspace)
    assert run.id != tiny_run.id
    assert run.ids["recommender"] == tiny_run.ids["recommender"]
    assert {r.preset for r in list_runs(Workspace(workspace))} == {"knots", "mine"}
    X = tiny_run.recommender.embed_items()
    np.testing.assert_allclose(run.sae.encode(X), tiny_run.sae.encode(X), rtol=1e-4, atol=1e-6)
    for part in ("W_enc", "b_enc", "W_dec", "b_dec"):
        np.testing.assert_allclose(getattr(run.sae, part), getattr(tiny_run.sae, part), rtol=2**-23, atol=0)
        if name == "own.npz":
            np.testing.assert_array_equal(getattr(run.sae, part), getattr(tiny_run.sae, part))
    said, before = json.loads(report.read_text()), tiny_run.report
    assert said["sae"]["source"]["kind"] == ("npz" if name == "own.npz" else "saelens")
    assert said["sae"]["ndcg_at_20"] == pytest.approx(before["sae"]["ndcg_at_20"], rel=1e-6)
    assert said["neurons"]["paper_purity"] == before["neurons"]["paper_purity"]
    if name == "own.npz":
        assert run.table.frame.equals(tiny_run.table.frame)
    assert main([*arguments, "--name", "mine", "--run", run.ids["recommender"]]) == 0
    assert len(list_runs(Workspace(workspace))) == 2, "the same SAE again is the same run"
    again = tmp_path / "again.npz"
    assert main(["export-sae", run.id, str(again), "--format", "npz", "--workspace", str(workspace)]) == 0
    if name == "own.npz":
        assert again.read_bytes() == (exported / name).read_bytes()


def edited(folder: Path, **changes: Any) -> None:
    cfg = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(cfg | changes))


def tensors(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        arrays = {name: array.copy() for name, array in load_file(folder / "sae_weights.safetensors").items()}
        change(arrays)
        save_file(arrays, folder / "sae_weights.safetensors")

    return write


def halved(folder: Path) -> None:
    """Make an SAE of half the width."""
    edited(folder, d_in=6)
    tensors(lambda t: t.update(W_enc=t["W_enc"][:6].copy(), W_dec=t["W_dec"][:, :6].copy(), b_dec=t["b_dec"][:6]))(
        folder
    )


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no cfg.json": (lambda f: (f / "cfg.json").unlink(), "has no cfg.json"),
    "no weights": (lambda f: (f / "sae_weights.safetensors").unlink(), "has no sae_weights.safetensors"),
    "no JSON": (lambda f: (f / "cfg.json").write_text("{"), "is no configuration of SAELens"),
    "no object": (lambda f: (f / "cfg.json").write_text("[]"), "holds no object"),
    "no text": (lambda f: (f / "cfg.json").write_bytes(b"\xff"), "is no configuration of SAELens"),
    "a nest": (lambda f: (f / "cfg.json").write_text("[" * 10**5), "is no configuration of SAELens"),
    "a large cfg.json": (lambda f: (f / "cfg.json").write_text(" " * 2**21 + "{}"), "has 2,097,154 bytes"),
    "architecture": (lambda f: edited(f, architecture="gated"), "architecture 'gated'"),
    "another width": (halved, "embeddings of 6 numbers, and those of this run have 12"),
    "shape": (lambda f: edited(f, d_sae=7), "has the shape (12, 24), expected (12, 7)"),
    "NaN": (tensors(lambda t: t["b_enc"].__setitem__(slice(2), np.nan)), "b_enc of sae_weights.safetensors has 2"),
    "beyond float32": (tensors(lambda t: t.update(b_enc=np.full(24, 1e300))), "24 numbers that are not finite"),
    "a tensor too few": (tensors(lambda t: t.pop("b_enc")), "has no array 'b_enc'"),
    "a tensor too many": (tensors(lambda t: t.update(r_mag=t["b_enc"])), "an array too many, 'r_mag'"),
    "cut": (lambda f: (f / "sae_weights.safetensors").write_bytes(b"abc"), "is no whole .safetensors file"),
    "no folder": (shutil.rmtree, "is neither a folder nor an .npz file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_is_no_sae_ends_in_two_lines(
    fault: str, exported: Path, tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(exported / "saelens", tmp_path / "sae")
    change, problem = FAULTS[fault]
    change(tmp_path / "sae")
    capsys.readouterr()
    assert main(["import", "sae", str(tmp_path / "sae"), "--workspace", str(tiny_run.workspace.path)]) == 2
    assert problem in two_lines(capsys)[0]
    assert len(list_runs(tiny_run.workspace)) == 1


NPZ_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "objects": ({"gate": np.array("topk", object)}, "holds Python objects"),
    "no gate": ({"gate": None}, "has no array 'gate'"),
    "numbers for words": ({"gate": np.array(3.0)}, "gate of sae.npz has float64"),
    "words for numbers": ({"k": np.array("four")}, "k of sae.npz has <U4"),
    "infinite": ({"W_dec": np.full((24, 12), np.inf)}, "W_dec of sae.npz has 288"),
    "turned": ({"W_dec": np.zeros((12, 24))}, "expected (24, 12)"),
    "no divisor": (
        {"normalisation": np.array("global"), "global_scale": np.zeros(0)},
        "global_scale of sae.npz has the",
    ),
    "half a neuron": ({"k": np.array(2.5)}, "k is 2.5"),
    "sums that overflow": ({"W_enc": np.full((12, 24), 1e30), "W_dec": np.full((24, 12), 1e30)}, "makes numbers up to"),
}


@pytest.mark.parametrize("fault", NPZ_FAULTS)
def test_an_npz_that_is_no_sae_ends_in_two_lines(
    fault: str, exported: Path, tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, problem = NPZ_FAULTS[fault]
    with np.load(exported / "own.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files} | change
    np.savez(tmp_path / "sae.npz", **{name: array for name, array in arrays.items() if array is not None})
    capsys.readouterr()
    assert main(["import", "sae", str(tmp_path / "sae.npz"), "--workspace", str(tiny_run.workspace.path)]) == 2
    assert problem in two_lines(capsys)[0]


def test_an_export_writes_over_nothing_and_leaves_nothing_half_written(
    exported: Path, tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--workspace", str(tiny_run.workspace.path)]
    capsys.readouterr()
    assert main(["export-sae", tiny_run.id, str(exported / "saelens"), *where]) == 2
    assert "is already there" in two_lines(capsys)[0]
    assert main(["export-sae", tiny_run.id, str(tmp_path / "sae"), "--format", "npz", *where]) == 2
    assert "does not end in .npz" in two_lines(capsys)[0]
    assert main(["export-sae", "knots-00000000", str(tmp_path / "sae"), *where]) == 2
    assert "There is no run 'knots-00000000'" in two_lines(capsys)[0]
    (tmp_path / "file").write_text("")
    assert main(["export-sae", tiny_run.id, str(tmp_path / "file" / "sae"), *where]) == 2
    assert "cannot be written" in two_lines(capsys)[0]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_sae_of_vectors_in_files_is_that_of_the_vectors_in_memory(
    tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    X = tiny_run.recommender.embed(tiny_run.dataset.histories(np.arange(tiny_run.dataset.n_users)))
    for name, part in (("a", X[:40]), ("b", X[40:])):
        np.save(tmp_path / f"{name}.npy", part)
    settings = ["--set", "sae.d_sae=24", "--set", "sae.k=4", "--set", "sae.n_steps=20", "--seed", "3"]
    files = [str(tmp_path / name) for name in ("a.npy", "b.npy")]
    assert main(["train-sae", str(tmp_path / "sae.npz"), *files, *settings]) == 0
    assert "24 neurons" in capsys.readouterr().out
    sae, _ = train(X, TrainConfig(d_sae=24, k=4, n_steps=20), seed=3)
    found = bring_sae(tmp_path / "sae.npz").sae
    assert found.config == sae.config
    for name, array in sae.to_arrays().items():
        np.testing.assert_array_equal(found.to_arrays()[name], array)


@pytest.mark.parametrize(
    ("vectors", "settings", "problem"),
    [
        (np.zeros((4, 3, 2)), [], "holds float64 of shape (4, 3, 2)"),
        (np.array([["a"]]), [], "holds <U1"),
        (np.zeros((4, 5)), [], "expected numbers, 12 a row"),
        (np.zeros((4, 0)), [], "(4, 0), expected numbers"),
        (np.full((4, 12), 1e300), [], "not finite"),
        (np.full((4, 12), np.nan), [], "not finite"),
        (None, [], "is no .npy file"),
        (np.ones((4, 12)), ["recommender.epochs=3"], "'recommender.epochs' is no setting of an SAE"),
        (np.ones((4, 12)), ["sae.prediction=1"], "no differentiable scorer"),
        (np.ones((4, 12)), ["sae.d_sae=1e11"], "100,000,000,000 neurons of embeddings of 12 numbers"),
    ],
)
def test_vectors_and_settings_that_make_no_sae_end_in_two_lines(
    vectors: np.ndarray | None, settings: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "first.npy", np.ones((8, 12), np.float32))
    if vectors is not None:
        np.save(tmp_path / "second.npy", vectors)
    files = [str(tmp_path / name) for name in ("first.npy", "second.npy")]
    asked = [part for setting in settings for part in ("--set", setting)]
    assert main(["train-sae", str(tmp_path / "sae.npz"), *files, *asked]) == 2
    assert problem in two_lines(capsys)[0]
    assert not (tmp_path / "sae.npz").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr("core.sae.trainer.train", trained)
    np.save(tmp_path / "x.npy", np.ones((8, 12), np.float32))
    assert main(["train-sae", str(tmp_path / "x.npy" / "sae.npz"), str(tmp_path / "x.npy")]) == 2
    assert "cannot be written" in two_lines(capsys)[0]
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]


def test_a_training_on_files_that_is_interrupted_goes_on_and_ends_as_if_it_were_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[int] = []

    def stop_at(last: int) -> Callable[..., None]:
        def progress(self: Bars, stage: str, done: int, total: int, numbers: Any) -> None:
            told.append(done)
            if done == last:
                raise KeyboardInterrupt

        return progress

    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((90, 12)))
    command = ["train-sae", str(tmp_path / "sae.npz"), str(tmp_path / "x.npy"), "--set", "sae.n_steps=40"]
    monkeypatch.setattr(Bars, "__call__", stop_at(25))
    assert main(command) == 130
    assert "go on" in two_lines(capsys)[1] and not (tmp_path / "sae.npz").exists()
    told.clear()
    monkeypatch.setattr(Bars, "__call__", stop_at(-1))
    assert main(command) == 0
    assert told[0] == 26 and not list(tmp_path.glob("unfinished/*"))
    found = bring_sae(tmp_path / "sae.npz").sae.to_arrays()
    whole, _ = train(np.load(tmp_path / "x.npy"), TrainConfig(n_steps=40), seed=0)
    for name, array in whole.to_arrays().items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("size", ["2", "many"])
def test_processes_that_torchrun_did_not_start_end_in_two_lines(
    size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", size)
    np.save(tmp_path / "x.npy", np.ones((8, 12), np.float32))
    assert main(["train-sae", str(tmp_path / "sae.npz"), str(tmp_path / "x.npy")]) == 2
    assert f"WORLD_SIZE={size}" in two_lines(capsys)[0]
