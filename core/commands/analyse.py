"""`python -m core analyse`: what is known of a run's neurons beyond the neurons themselves."""

from typing import Annotated

import typer

from core.analyses.base import KNOWN, analyse
from core.commands.terminal import DEFAULT_WORKSPACE, WorkspaceOption, bars
from core.runs import Run, open_run

AnalysesOption = Annotated[
    bool, typer.Option("--analyses/--no-analyses", help="Analyse the neurons too: python -m core analyse.")
]


def analyse_command(
    run: Annotated[str | None, typer.Option(help="The id of a run; the newest by default.")] = None,
    what: Annotated[
        list[str] | None, typer.Option(help=f"One of: {', '.join(KNOWN)}. May be given again. All by default.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Compute what the pages show beyond a build's own results; what is there is not computed again."""
    say_analysed(open_run(workspace, run), what)


def say_analysed(run: Run, what: list[str] | None = None) -> None:
    """Make the missing analyses of a run with progress bars, and say which; a run without neurons has none."""
    if "neurons" not in run.ids:
        return
    with bars() as progress:
        made = analyse(run, what, progress)
    typer.echo(f"  analysed: {', '.join(made)}" if made else "  every analysis is there")
