"""What the README and the documents tell people to type exists, and the files they name are there."""

import re
import shlex
from pathlib import Path

import pytest
import typer

import core
from core.__main__ import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES).replace("\\\n", " ")
COMMANDS = sorted(set(re.findall(r"(?:^ +\S*|`)python -m core ([a-z][^`\n#]*)", TEXT, re.MULTILINE)))


def test_commands_were_found() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_and_its_options_exist(line: str) -> None:
    words = shlex.split(line.replace("...", ""))
    command = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("--"):
        name, *words = words
        assert name in command.commands, name
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= set(re.findall(r"make ([a-z]+)", TEXT)) <= targets


def test_linked_files_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_architecture_page_names_every_part_of_core() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    parts = {p.stem for p in (ROOT / "core").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    missing = {p for p in parts if p.strip("_") and f"core/{p}" not in text}
    assert missing <= {"__init__", "configs", "errors", "progress", "seeding"}


def test_public_names_are_there_once() -> None:
    assert all(hasattr(core, name) for name in core.__all__)
    assert len(set(core.__all__)) == len(core.__all__)
