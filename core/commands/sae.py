"""`python -m core train-sae` and `export-sae`: SAEs without the rest of a run."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from core.commands.terminal import DEFAULT_WORKSPACE, SeedOption, SetOption, WorkspaceOption, bars, read_settings
from core.configs import from_dict
from core.errors import ConfigError
from core.exchange import Format, check_place, export_sae, read_vectors, write_sae
from core.progress import no_progress
from core.recommenders.base import resolve
from core.runs import open_run
from core.unfinished import Unfinished
from core.workspace import Workspace

SECTION = "sae."


def export_sae_command(
    run: Annotated[str, typer.Argument(help="The id of a run.")],
    out: Annotated[Path, typer.Argument(help="The folder (saelens) or the file (npz) to write.")],
    format_: Annotated[Format, typer.Option("--format", help="For SAELens, or one file of arrays.")] = "saelens",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write the sparse autoencoder of a run for SAELens, or as plain arrays (see docs/exchange.md)."""
    export_sae(open_run(workspace, run), out, format_)
    typer.echo(f"The SAE of {run} is in {out}.")


def train_sae_command(
    out: Annotated[Path, typer.Argument(help="The .npz file to write; python -m core import sae opens it.")],
    vectors: Annotated[list[Path], typer.Argument(help="Embeddings, a row each: .npy files, read as they are needed.")],
    seed: SeedOption = 0,
    set_: SetOption = None,
) -> None:
    """Train a sparse autoencoder on embeddings in files, however large; under torchrun by several processes.

    A training that is stopped goes on where it was when it is started again.
    """
    check_place(out, "npz")
    settings = read_settings(set_)
    for key in settings:
        if not key.startswith(SECTION):
            raise ConfigError(f"{key!r} is no setting of an SAE.", "Give settings like sae.k=64.")
    config = from_dict(
        resolve("core.sae.trainer:TrainConfig"), {k.removeprefix(SECTION): v for k, v in settings.items()}, SECTION
    )
    X = read_vectors(vectors)
    name = hashlib.sha256(out.name.encode()).hexdigest()[:8]
    kept = Unfinished(Workspace(out.resolve().parent), f"sae-{name}")
    with resolve("core.sae.parallel:joined")() as peers, bars() as shown:
        first = peers.rank == 0
        sae, history = resolve("core.sae.trainer:train")(
            X, config, seed=seed, progress=shown if first else no_progress, checkpoint=kept
        )
    if not first:
        return
    write_sae(sae, out, "npz")
    kept.remove()
    alone = "" if peers.n == 1 else f" by {peers.n} processes"
    typer.echo(f"The SAE is in {out}: {sae.config.d_sae:,} neurons, loss {history.loss[-1]:.3g}{alone}.")
    for warning in history.warnings:
        typer.echo(f"  {warning}")
