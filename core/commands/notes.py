"""`python -m core export-notes` and `import-notes`: what people wrote, as one file."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from core.commands.terminal import DEFAULT_WORKSPACE, WorkspaceOption
from core.errors import ConfigError
from core.store import open_store
from core.store.exchange import bring_in, collect
from core.store.file import MAX_BYTES, read_json, to_json

N_SHOWN = 10


def export_notes_command(
    file: Annotated[Path, typer.Argument(help="The JSON file to write.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write the lists, notes, labels and ratings of a workspace into one JSON file."""
    if file.exists():
        raise ConfigError(f"{file} is there already.", "Give the name of a file that is not there yet.")
    written = collect(open_store(workspace))
    data = to_json(written)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{secrets.token_hex(4)}.writing")
    try:
        beside.write_bytes(data)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    typer.echo(f"{counted(*written.counts)} are in {file}.")


def import_notes_command(
    file: Annotated[Path, typer.Argument(help="A file that export-notes wrote.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Join the lists, notes, labels and ratings of a file to those of a workspace; what is there stays."""
    with file.open("rb") as opened:
        data = opened.read(MAX_BYTES + 1)
    done = bring_in(open_store(workspace), read_json(data))
    typer.echo(
        f"{counted(done.lists, done.notes, done.labels, done.ratings)} joined; {done.kept:,} were there already."
    )
    for sentence in done.unknown[:N_SHOWN]:
        typer.echo(f"  kept, though unknown here. {sentence}")
    if len(done.unknown) > N_SHOWN:
        typer.echo(f"  and {len(done.unknown) - N_SHOWN:,} more like this")


def counted(*numbers: int) -> str:
    """Say how much it is.

    >>> counted(1, 0, 1200, 2)
    '1 list, 0 notes, 1,200 labels and 2 ratings'
    """
    parts = [f"{n:,} {word}{'s' * (n != 1)}" for n, word in zip(numbers, _WORDS, strict=True)]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


_WORDS = ("list", "note", "label", "rating")
