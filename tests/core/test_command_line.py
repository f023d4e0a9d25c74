"""The command line: exit code 0 done, 2 with two lines that a person can act on."""

import errno
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.__main__ import main
from core.analyses.base import KNOWN, find
from core.runs import Run, open_run, steer_viewer
from core.steering.steering import Steering
from tests.conftest import TINY_SETTINGS

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = [part for key, value in TINY_SETTINGS.items() for part in ("--set", f"{key}={value}")]


def build_arguments(folder: Path, workspace: Path, *more: str) -> list[str]:
    names = ["--recommender", "elsa", "--preset", "knots", "--no-analyses"]
    return ["build", "--dataset", str(folder), *names, "--workspace", str(workspace), *SETTINGS, *more]


def two_lines(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Give the two lines on stderr, and fail when there are more or fewer, or a traceback."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line and "\r" not in line and "|" not in line]
    assert len(lines) == 2, lines
    return lines[0], lines[1]


def test_build_evaluate_and_steer_agree(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace, first, second, steered = (tmp_path / n for n in ("w", "build.json", "evaluate.json", "steer.json"))
    assert main(build_arguments(tiny_folder, workspace, "--json", str(first))) == 0
    assert main(["evaluate", "--workspace", str(workspace), "--json", str(second)]) == 0
    assert json.loads(first.read_text()) == json.loads(second.read_text())
    neuron = json.loads(first.read_text())["neurons"]["purity"]["Horror"]["neuron"]
    where = ["--workspace", str(workspace), "--json", str(steered), "--n", "10"]
    assert main(["steer", "--user", "viewer 1", "--edit", f"{neuron}=50", *where]) == 0
    result = json.loads(steered.read_text())
    assert len(result["original"]) == len(result["steered"]) == 10
    assert result["n_kept"] < 10
    assert main(["steer", "--user", "viewer 1", *where]) == 0
    result = json.loads(steered.read_text())
    assert [r["item"] for r in result["original"]] == [r["item"] for r in result["steered"]]
    assert "10 of 10 stay" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem", "fix"),
    [
        (["build", "--dataset", "ml-1n", "--recommender", "elsa", "--preset", "knots"], "ml-1n", "ml-1m"),
        (["build", "--dataset", "demo", "--recommender", "esla", "--preset", "knots"], "esla", "elsa"),
        (["build", "--dataset", "demo", "--recommender", "elsa", "--preset", "nots"], "knots", "knots"),
        (["build", "--dataset", "demo", "--preset", "knots"], "--recommender", "--help"),
        (
            ["build", "--dataset", "demo", "--recommender", "elsa", "--preset", "knots", "--seed", "-1"],
            "seed",
            "--help",
        ),
        (["build", "--dataset", "demo", "--recommender", "elsa", "--preset", "knots", "--set", "k"], "k", "VALUE"),
        (["build", "--dataset", "demo", "--recommender", "elsa", "--stability"], "--stability", "--preset"),
        (["evaluate"], "Nothing to show", "python -m core build"),
        (["steer", "--user", "1"], "Nothing to show", "python -m core build"),
        (["bild"], "bild", "--help"),
    ],
)
def test_what_a_person_can_fix_ends_in_two_lines_and_code_2(
    arguments: list[str], problem: str, fix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--workspace", str(tmp_path / "w")] if arguments[0] in ("build", "evaluate", "steer") else []
    assert main([*arguments, *where]) == 2
    first, second = two_lines(capsys)
    assert problem in first and fix in second
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    "edit", ["x=1", "3", "3=", "3=nan", "3=inf", "3=1e9", "3=double:1", "-1=2", "9999=1", "1=1e400"]
)
def test_an_edit_that_cannot_be_ends_in_two_lines(tiny_run: Run, edit: str, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--workspace", str(tiny_run.workspace.path)]
    assert main(["steer", "--user", "viewer 1", "--edit", edit, *where]) == 2
    two_lines(capsys)


def test_a_json_file_that_cannot_be_written_ends_in_two_lines(
    tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "out.json"
    assert main(["evaluate", "--workspace", str(tiny_run.workspace.path), "--json", str(target)]) == 2
    assert "cannot be written" in two_lines(capsys)[0]


def test_a_json_file_is_replaced_whole_or_not_at_all(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")

    def disk_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", disk_full)
        assert main(["evaluate", "--workspace", str(tiny_run.workspace.path), "--json", str(target)]) == 2
    assert "No space left" in two_lines(capsys)[0]
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"] and target.read_text() == "old"


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "--recommender", "elsa", "--preset", "knots", "--dataset", "x" * 5000],
        ["build", "--recommender", "elsa", "--preset", "knots", "--dataset", "~nobody-of-this-name/x"],
        ["evaluate", "--workspace", "x" * 300],
        ["doctor", "--workspace", "x" * 300],
        ["datasets", "--data-dir", "x" * 300],
    ],
)
def test_a_path_that_no_disk_takes_ends_in_two_lines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    two_lines(capsys)


@pytest.mark.parametrize("recommender", ["elsa", "mf"])
def test_too_little_memory_ends_in_two_lines(
    recommender: str, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["--recommender", recommender, "--preset", "knots", "--workspace", str(tmp_path / "w")]
    settings = ["--set", "recommender.embedding_size=1e15"]
    assert main(["build", "--dataset", str(tiny_folder), *names, *settings]) == 2
    assert "not enough memory" in two_lines(capsys)[0]


def test_a_title_cannot_speak_to_the_terminal(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = steer_viewer(tiny_run, "viewer 1", Steering(), 1)
    result["steered"][0]["title"] = "red \x1b[31m\nline"
    monkeypatch.setattr("core.__main__.steer_viewer", lambda *_: result)
    assert main(["steer", "--user", "viewer 1", "--workspace", str(tiny_run.workspace.path)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and len(shown.splitlines()) == 2


@pytest.mark.parametrize("command", ["demo", "dashboard"])
def test_a_port_in_use_is_said_before_anything_long_starts(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        start = time.monotonic()
        assert main([command, "--port", str(port)]) == 2
        assert time.monotonic() - start < 5
    first, second = two_lines(capsys)
    assert str(port) in first and f"--port {port + 1}" in second


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_says_so_and_leaves_nothing_half_written(
    how: signal.Signals, tiny_folder: Path, tmp_path: Path
) -> None:
    arguments = build_arguments(tiny_folder, tmp_path / "w", "--set", "sae.n_steps=1000000")
    command = [sys.executable, "-m", "core", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "w").glob("recommender/elsa-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(how)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-2:] == ["Stopped. What was finished is kept.", "Run the same command again to go on."]
    assert "Traceback" not in err
    assert not list((tmp_path / "w").glob("sae/*"))


def test_datasets_names_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    shown = capsys.readouterr().out
    for name in ("demo", "ml-100k", "ml-1m", "ml-latest-small", "lastfm-2k"):
        assert re.search(rf"^{name} ", shown, re.MULTILINE)


def test_doctor_finds_a_damaged_artefact(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = tmp_path / "w"
    assert main(build_arguments(tiny_folder, workspace)) == 0
    capsys.readouterr()
    main(["doctor", "--workspace", str(workspace)])
    assert "cannot be used" not in capsys.readouterr().out
    next(workspace.glob("sae/*/arrays.safetensors")).write_bytes(b"")
    assert main(["doctor", "--workspace", str(workspace)]) == 2
    assert "cannot be used" in capsys.readouterr().out


def test_a_build_analyses_its_neurons_once(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = build_arguments(tiny_folder, tmp_path / "w", "--analyses")
    assert main(arguments) == 0
    assert f"analysed: {', '.join(KNOWN)}\n" in capsys.readouterr().out
    assert all(find(open_run(tmp_path / "w"), name) is not None for name in KNOWN)
    assert main(arguments) == 0
    assert "every analysis is there" in capsys.readouterr().out
    assert main(["analyse", "--workspace", str(tmp_path / "w"), "--what", "mapp"]) == 2
    assert "'map'" in two_lines(capsys)[0]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("demo", "dashboard", "datasets", "build", "analyse", "label", "evaluate", "steer", "doctor"):
        assert name in shown


def test_a_build_with_stability_says_how_many_neurons_come_again(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert main(build_arguments(tiny_folder, tmp_path / "w", "--stability", "--json", str(out))) == 0
    again = json.loads(out.read_text())["neurons"]["stability"]
    assert f"{again['surviving_share']:.1%} of {again['n_neurons']} neurons come again" in capsys.readouterr().out
