"""What `doctor` looks at, and that it says what to do about each fault."""

from pathlib import Path

from core.doctor import Finding, examine

PINNED = "numpy==0.0.1\nno-such-package==1.0  # a remark\n"


def found(root: Path, workspace: Path, what: str, data_dir: Path | None = None) -> list[Finding]:
    return [f for f in examine(root, workspace, data_dir) if f.what.startswith(what)]


def test_a_package_of_another_version_or_missing_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(PINNED)
    wrong, missing = found(tmp_path, tmp_path / "w", "package")
    assert not wrong.ok and "pinned 0.0.1" in wrong.seen and "pip install -r requirements.txt" in wrong.fix
    assert not missing.ok and missing.seen == "missing, pinned 1.0"


def test_a_healthy_machine_has_no_fault_and_makes_no_folder(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    findings = examine(tmp_path, tmp_path / "a" / "w", tmp_path)
    assert {f.what for f in findings} >= {"Python", "packages", "free disk", "datasets", "workspace"}
    assert [f for f in findings if not f.ok and f.what != "free disk"] == []
    assert not (tmp_path / "a").exists()


def test_a_disk_that_is_nearly_full_is_a_fault(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "requirements.txt").write_text("")
    monkeypatch.setattr("core.doctor.MIN_FREE_GB", 1e9)
    assert [f.ok for f in found(tmp_path, tmp_path / "w", "free disk")] == [False]


def test_a_file_in_place_of_the_workspace_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    (finding,) = found(tmp_path, tmp_path / "requirements.txt", "workspace")
    assert not finding.ok and "no folder" in finding.seen


def test_the_datasets_that_are_here_are_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "ml-1m").mkdir()
    for name in ("ratings.dat", "movies.dat"):
        (tmp_path / "ml-1m" / name).write_text("1::1::1::1")
    (finding,) = found(tmp_path, tmp_path / "w", "datasets", tmp_path)
    assert finding.seen == "demo, ml-1m"
