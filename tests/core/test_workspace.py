"""The workspace: whole or not at all, and every damage is named."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import MissingStageError, StaleArtefactError, UserError
from core.workspace import META, WRITING, Workspace, artefact_id, to_plain

ROOT = Path(__file__).resolve().parents[2]


def save(workspace: Workspace, id_: str = "demo-00000000", value: float = 1.0) -> None:
    """Save a small artefact."""
    workspace.save(
        "sae", id_, config={"k": 4}, seed=0, parents={}, arrays={"W": np.full((3, 2), value, np.float32)},
        tables={"rows": pd.DataFrame({"a": [1, 2]})}, metrics={"fvu": 0.5, "none": float("nan")}, seconds=1.5,
    )  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "w")


def test_what_is_saved_comes_back(workspace: Workspace) -> None:
    save(workspace)
    meta = workspace.meta("sae", "demo-00000000")
    assert meta.config == {"k": 4}
    assert meta.metrics == {"fvu": 0.5, "none": None}
    np.testing.assert_array_equal(workspace.arrays("sae", meta.id)["W"], np.ones((3, 2), np.float32))
    assert workspace.tables("sae", meta.id)["rows"]["a"].tolist() == [1, 2]
    assert workspace.check() == []


def test_an_id_depends_on_everything_that_made_the_artefact() -> None:
    base = artefact_id("knots", "sae", {"k": 4}, 0, {"recommender": "elsa-1"})
    assert base == artefact_id("knots", "sae", {"k": 4}, 0, {"recommender": "elsa-1"})
    others = [
        artefact_id("knots", "sae", {"k": 5}, 0, {"recommender": "elsa-1"}),
        artefact_id("knots", "sae", {"k": 4}, 1, {"recommender": "elsa-1"}),
        artefact_id("knots", "sae", {"k": 4}, 0, {"recommender": "elsa-2"}),
        artefact_id("knots", "neurons", {"k": 4}, 0, {"recommender": "elsa-1"}),
    ]
    assert len({base, *others}) == 5


def test_an_artefact_never_changes_once_it_is_there(workspace: Workspace) -> None:
    save(workspace, value=1.0)
    save(workspace, value=2.0)
    assert workspace.arrays("sae", "demo-00000000")["W"][0, 0] == 1.0


def test_every_file_is_flushed_before_the_artefact_appears(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, bool]] = []

    def tell(path: Path) -> None:
        flushed.append((path.name, workspace.has("sae", "demo-00000000")))

    monkeypatch.setattr("core.workspace._flush", tell)
    save(workspace)
    before = {name for name, there in flushed if not there}
    assert before >= {META, *workspace.meta("sae", "demo-00000000").files}
    assert flushed[-1] == ("sae", True)


def test_nothing_is_left_beside_a_saved_artefact(workspace: Workspace) -> None:
    save(workspace)
    assert [p.name for p in (workspace.path / "sae").iterdir()] == ["demo-00000000"]


def test_a_missing_artefact_is_named_with_near_ones(workspace: Workspace) -> None:
    save(workspace)
    with pytest.raises(MissingStageError, match="did you mean 'demo-00000000'"):
        workspace.meta("sae", "demo-00000001")


@pytest.mark.parametrize("id_", ["../sae", "/etc", "a/b", "", "UPPER", ".."])
def test_an_id_never_leads_out_of_the_workspace(workspace: Workspace, id_: str) -> None:
    with pytest.raises(MissingStageError):
        workspace.meta("sae", id_)


def damage_truncate(folder: Path) -> None:
    file = folder / "arrays.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def damage_remove(folder: Path) -> None:
    (folder / "rows.parquet").unlink()


def damage_meta(folder: Path) -> None:
    (folder / META).write_text('{"format": 1')


def damage_binary_meta(folder: Path) -> None:
    (folder / META).write_bytes(b"\xff\xfe\x00")


def damage_version(folder: Path) -> None:
    values = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps(values | {"format": 99}))


def damage_key(folder: Path) -> None:
    values = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps(values | {"surprise": 1}))


def damage_foreign(folder: Path) -> None:
    values = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps(values | {"stage": "neurons"}))


def damage_kinds(folder: Path) -> None:
    values = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps(values | {"parents": ["sae"]}))


def damage_outside(folder: Path) -> None:
    values = json.loads((folder / META).read_text())
    files = {"../../../secret.parquet": {"bytes": 3, "sha256": ""}}
    (folder / META).write_text(json.dumps(values | {"files": files}))


def damage_list(folder: Path) -> None:
    (folder / META).write_text("[]")


DAMAGES = [
    damage_truncate, damage_remove, damage_meta, damage_binary_meta, damage_version, damage_key, damage_foreign,
    damage_kinds, damage_outside, damage_list,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_damaged_artefact_is_refused_left_out_and_replaced(workspace: Workspace, damage) -> None:
    save(workspace)
    damage(workspace.path / "sae" / "demo-00000000")
    with pytest.raises(StaleArtefactError) as error:
        workspace.arrays("sae", "demo-00000000")
    assert "\n" not in error.value.problem and error.value.fix
    assert not workspace.has("sae", "demo-00000000")
    assert workspace.artefacts("sae") == []
    assert len(workspace.check()) == 1
    save(workspace, value=3.0)
    assert workspace.arrays("sae", "demo-00000000")["W"][0, 0] == 3.0


@pytest.mark.parametrize("file", ["arrays.safetensors", "rows.parquet"])
def test_a_file_of_the_right_size_with_other_bytes_is_found(workspace: Workspace, file: str) -> None:
    save(workspace)
    path = workspace.path / "sae" / "demo-00000000" / file
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(StaleArtefactError):
        workspace.arrays("sae", "demo-00000000")
        workspace.tables("sae", "demo-00000000")
    assert len(workspace.check()) == 1


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import resource, signal
        import numpy as np
        from core.errors import UserError
        from core.workspace import Workspace
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        workspace = Workspace({str(tmp_path / "w")!r})
        try:
            workspace.save("sae", "big-00000000", config={{}}, seed=0, parents={{}},
                           arrays={{"W": np.zeros(1_000_000)}}, tables={{}}, metrics={{}}, seconds=0)
        except UserError as error:
            print(error.problem)
    """)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Nothing was saved" in done.stdout, done.stderr
    assert list((tmp_path / "w" / "sae").iterdir()) == []


def test_a_read_only_workspace_ends_in_two_lines(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir(mode=0o555)
    for parent in [tmp_path, *tmp_path.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055) if parent.owner() == Path(sys.executable).owner() else None
    code = textwrap.dedent(f"""
        import os
        from core.errors import UserError
        from core.workspace import Workspace
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            Workspace({str(folder)!r}).save("sae", "x-00000000", config={{}}, seed=0, parents={{}}, arrays={{}},
                                            tables={{}}, metrics={{}}, seconds=0)
        except UserError as error:
            print(error.problem)
    """)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "may not be written" in done.stdout, done.stderr
    assert list(folder.iterdir()) == []


def test_a_file_in_the_way_of_the_workspace_ends_in_two_lines(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("I am a file")
    with pytest.raises(UserError, match="in the way"):
        save(Workspace(tmp_path / "w"))
    assert Workspace(tmp_path / "w").artefacts("sae") == []


def test_what_a_killed_writer_left_is_invisible_and_swept(workspace: Workspace) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = workspace.path / "sae" / f"{WRITING}{dead.pid}-ab"
    left.mkdir(parents=True)
    (left / META).write_text("{}")
    living = workspace.path / "sae" / f"{WRITING}{os.getppid()}-cd"
    living.mkdir()
    assert workspace.artefacts("sae") == [] and workspace.check() == []
    save(workspace)
    assert not left.exists()
    assert living.exists()


def test_plain_values_hold_no_nan_and_no_numpy() -> None:
    values = {"a": np.float32("nan"), "b": (np.int64(3), np.bool_(True)), "c": np.array([1.5])}
    assert to_plain(values) == {"a": None, "b": [3, True], "c": [1.5]}


def test_a_file_beside_the_artefacts_comes_back_and_the_newest_text_wins(workspace: Workspace) -> None:
    assert workspace.read_text("sweeps/one", "points.csv") is None
    workspace.write_text("sweeps/one", "points.csv", "a\r\nä")
    file = workspace.write_text("sweeps/one", "points.csv", "b\r\nö")
    assert workspace.read_text("sweeps/one", "points.csv") == "b\r\nö"
    assert [f.name for f in file.parent.iterdir()] == ["points.csv"], "nothing is left beside it"
    file.write_bytes(b"\xff\xfe\xff")
    assert workspace.read_text("sweeps/one", "points.csv") is None


def test_a_file_that_cannot_be_written_leaves_the_old_one_whole(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = workspace.write_text("sweeps/one", "points.csv", "old")

    def fail(_: Path) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("core.workspace._flush", fail)
    with pytest.raises(UserError, match="the disk is full"):
        workspace.write_text("sweeps/one", "points.csv", "new")
    assert file.read_text() == "old"
    assert len(list(file.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("sae/x", "a.csv"),
        ("..", "a.csv"),
        ("sweeps/../sae", "a.csv"),
        ("/etc", "a.csv"),
        ("sweeps", "../a.csv"),
        ("", "a.csv"),
    ],
)
def test_a_file_never_lies_among_artefacts_or_outside(workspace: Workspace, folder: str, name: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        workspace.write_text(folder, name, "")


def test_folders_with_a_written_file_come_newest_first(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.written("sweeps", "sweep.json") == []
    for age, name in ((30, "older"), (10, "newest"), (20, "between")):
        file = workspace.write_text(f"sweeps/{name}", "sweep.json", "{}")
        os.utime(file, (1e9 - age, 1e9 - age))
    workspace.write_text("sweeps/another", "points.csv", "")
    assert workspace.written("sweeps", "sweep.json") == ["sweeps/newest", "sweeps/between", "sweeps/older"]
