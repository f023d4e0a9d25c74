"""`python -m core sweep`: many SAEs on one recommender, and which of them to take."""

import shlex
from typing import Annotated

import typer

from core.commands.terminal import (
    DEFAULT_WORKSPACE,
    DataDirOption,
    JsonOption,
    SeedOption,
    SetOption,
    WorkspaceOption,
    bars,
    read_settings,
    write_json,
)
from core.errors import ConfigError, one_line
from core.pipeline import BuildRequest
from core.presets import PRESETS
from core.recommenders.base import RECOMMENDERS
from core.sweep.grid import CSV, HTML, JSON, LOSS_BOUND, SweepRequest, plans_of, read_grid, sweep
from core.sweep.page import COLUMNS
from core.sweep.points import Sweep
from core.workspace import Workspace

MOST_POINTS = 24
"""Points that are trained without asking: on MovieLens-1M half an hour."""


def sweep_command(
    dataset: Annotated[str, typer.Option(help="A known dataset, or a folder with interactions.csv and items.csv.")],
    recommender: Annotated[str, typer.Option(help=f"One of: {', '.join(RECOMMENDERS)}.")],
    preset: Annotated[str, typer.Option(help=f"What all points start from, one of: {', '.join(PRESETS)}.")],
    over: Annotated[
        list[str] | None, typer.Option(help="A setting of the SAE and its values, for example k=16,32,64.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Measure fidelity on all viewers: an SAE for each of so many folds of them.")
    ] = None,
    loss_bound: Annotated[
        float, typer.Option("--loss-bound", help="Share of nDCG@20 that the recommended point may lose, surely.")
    ] = LOSS_BOUND,
    yes: Annotated[bool, typer.Option("--yes", help=f"Train more than {MOST_POINTS} SAEs.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    data_dir: DataDirOption = None,
    seed: SeedOption = 0,
    set_: SetOption = None,
    json_: JsonOption = None,
) -> None:
    """Train SAEs with every combination of some settings, compare them and recommend one; a second start goes on."""
    fixed = read_settings(set_)
    build = BuildRequest(dataset, recommender, preset, seed, data_dir, fixed)
    request = SweepRequest(build, read_grid(over or [], fixed), folds, loss_bound)
    n_saes = len(plans_of(request)) * (1 + (folds or 0))
    if n_saes > MOST_POINTS and not yes:
        raise ConfigError(
            f"{len(request.points)} points are {n_saes} SAEs to train, more than {MOST_POINTS}.",
            "Give --yes to train them all, or name fewer values with --over.",
        )
    known: list[Sweep] = []

    def tell(found: Sweep) -> None:
        known.append(found)
        typer.echo(f"{len(found.points)} of {found.n_points}: {one_line(found.points[-1].name)}")

    try:
        with bars() as progress:
            found = sweep(request, Workspace(workspace), progress, tell)
    except KeyboardInterrupt:
        if known:
            typer.echo(f"{len(known)} of {known[-1].n_points} points are in {workspace / known[-1].folder / CSV}")
        raise
    write_json(found.to_json(), json_)
    say_sweep(found)
    for name in (CSV, JSON, HTML):
        typer.echo(f"  {workspace / found.folder / name}")
    if found.choice.point is not None:
        run = found.points[found.choice.point].run
        typer.echo(f"Open it: python -m core dashboard --workspace {shlex.quote(str(workspace))}, then the run {run}")


def say_sweep(found: Sweep) -> None:
    """Say on the terminal what was measured of every point, and which one to take."""
    rows = [["", "point", *(heading for heading, _ in COLUMNS)]]
    for i, point in enumerate(found.points):
        mark = "*" if i == found.choice.point else "+" if found.frontier[i] else ""
        rows.append([mark, one_line(point.name), *(value(point) for _, value in COLUMNS)])
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    typer.echo(one_line(found.title))
    for row in rows:
        cells = [cell.ljust(w) if c < 2 else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, widths, strict=True))]
        typer.echo("  ".join(cells).rstrip())
    for point in found.points:
        if point.problem:
            typer.echo(f"  {one_line(point.name)}: {one_line(point.problem)}")
    typer.echo(f"* recommended, + on the frontier. {one_line(found.choice.why)}")
