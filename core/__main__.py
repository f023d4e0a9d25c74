"""The command line: `python -m core COMMAND`. Exit codes: 0 done, 2 a person can fix it (two lines), 1 a bug."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from core.commands.analyse import AnalysesOption, analyse_command, say_analysed
from core.commands.imports import import_app
from core.commands.label import label_command
from core.commands.notes import export_notes_command, import_notes_command
from core.commands.sae import export_sae_command, train_sae_command
from core.commands.sweep import sweep_command
from core.commands.terminal import (
    DEFAULT_WORKSPACE,
    DEMO_WORKSPACE,
    ROOT,
    DataDirOption,
    JsonOption,
    PresetOption,
    SeedOption,
    SetOption,
    WorkspaceOption,
    bars,
    read_settings,
    say_built,
    write_json,
)
from core.configs import check
from core.data.download import CATALOGUE, available, fetch
from core.doctor import examine
from core.errors import UserError, one_line
from core.pipeline import DEMO, BuildRequest, build
from core.presets import PRESETS
from core.recommenders.base import RECOMMENDERS
from core.runs import Run, open_run, steer_viewer
from core.steering.steering import parse_edits
from core.workspace import Workspace, to_plain

UsageError: type[Exception] = typer.BadParameter.mro()[1]
"""What typer raises for any wrong word on the command line; it has no public name of its own."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it; typer gives it too."""
MAX_PORT = 65535

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="SteerLens: open a trained recommender, find the concepts it thinks in, and steer them.",
)  # fmt: skip

PortOption = Annotated[int, typer.Option(min=1, max=MAX_PORT, help="The port of the dashboard.")]


@app.command()
def demo(
    build_only: Annotated[bool, typer.Option("--build-only", help="Build, and do not open the dashboard.")] = False,
    port: PortOption = 8501,
) -> None:
    """Build the embedded demo once (simulated viewers), then open the dashboard."""
    if not build_only:
        _check_port(port)
    run = _build(DEMO, DEMO_WORKSPACE, None)
    say_built(run)
    if build_only:
        say_analysed(run)
    else:
        _serve(DEMO_WORKSPACE, port, run)


@app.command()
def dashboard(workspace: WorkspaceOption = DEFAULT_WORKSPACE, port: PortOption = 8501) -> None:
    """Open the dashboard on a workspace."""
    _check_port(port)
    _serve(workspace, port)


@app.command()
def datasets(
    download: Annotated[str | None, typer.Option(help="Download this dataset.")] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You read the licence and accept it.")
    ] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show which datasets are known, which are here, and what it costs to get one."""
    if download is not None:
        with bars() as progress:
            folder = fetch(download, data_dir, accept_licence=accept_licence, progress=progress)
        typer.echo(f"{download} is in {folder}.")
        return
    for name, known in CATALOGUE.items():
        here = "here" if available(name, data_dir) else f"{known.megabytes:,.0f} MB to download"
        size = f"{known.n_users:,} users, {known.n_items:,} items, {known.n_interactions:,} interactions"
        typer.echo(f"{name:<16} {here:<22} {known.title}: {size}")


@app.command("build")
def build_command(
    dataset: Annotated[str, typer.Option(help="A known dataset, or a folder with interactions.csv and items.csv.")],
    recommender: Annotated[str, typer.Option(help=f"One of: {', '.join(RECOMMENDERS)}.")],
    preset: PresetOption = None,
    stability: Annotated[
        bool,
        typer.Option("--stability", help="Train a second SAE of another seed, and tell which neurons come again."),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    data_dir: DataDirOption = None,
    seed: SeedOption = 0,
    set_: SetOption = None,
    analyses: AnalysesOption = True,
    json_: JsonOption = None,
) -> None:
    """Build a dataset, a recommender, an SAE and its neurons; what is already built is not built again."""
    check(
        preset is not None or not stability,
        "--stability compares SAEs, and no preset says how to train one.",
        f"Give --preset, one of: {', '.join(PRESETS)}.",
    )
    request = BuildRequest(dataset, recommender, preset, seed, data_dir, read_settings(set_), stability)
    run = _build(request, workspace, json_)
    say_built(run)
    if analyses:
        say_analysed(run)


@app.command()
def evaluate(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json_: JsonOption = None) -> None:
    """Show the metrics of the newest run of a workspace."""
    run = open_run(workspace)
    write_json(run.report, json_)
    if json_ is None:
        typer.echo(json.dumps(to_plain(run.report), indent=1))
    else:
        say_built(run)


@app.command()
def steer(
    user: Annotated[str, typer.Option(help="The id of a viewer.")],
    edit: Annotated[
        list[str] | None, typer.Option(help="NEURON=VALUE, also NEURON=scale:VALUE or NEURON=set:VALUE.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    n: Annotated[int, typer.Option(min=1, max=1000, help="List length.")] = 20,
    json_: JsonOption = None,
) -> None:
    """Show a viewer's list before and after some edits."""
    result = steer_viewer(open_run(workspace), user, parse_edits(edit or []), n)
    write_json(result, json_)
    typer.echo(f"viewer {one_line(result['user'])}: {result['n_kept']} of {len(result['original'])} stay")
    for row in result["steered"]:
        before = row["rank_before"]
        moved = "NEW" if before is None else "=" if before == row["rank"] else f"{before - row['rank']:+d}"
        typer.echo(f"{row['rank']:>4}  {moved:>4}  {one_line(row['title'])}")  # a title may hold codes of terminals


@app.command()
def doctor(workspace: WorkspaceOption = DEFAULT_WORKSPACE, data_dir: DataDirOption = None) -> None:
    """Check this machine and a workspace, and say what to do about each fault."""
    findings = examine(ROOT, workspace, data_dir)
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.seen}")
        if not finding.ok:
            typer.echo(f"      {finding.fix}")
    if not all(f.ok for f in findings):
        raise typer.Exit(2)


app.command("analyse")(analyse_command)
app.command("label")(label_command)
app.command("sweep")(sweep_command)
app.command("export-sae")(export_sae_command)
app.command("export-notes")(export_notes_command)
app.command("import-notes")(import_notes_command)
app.command("train-sae")(train_sae_command)
app.add_typer(import_app, name="import")


def _build(request: BuildRequest, workspace: Path, json_: Path | None) -> Run:
    with bars() as progress:
        run = build(request, Workspace(workspace), progress)
    write_json(run.report, json_)
    return run


def _check_port(port: int) -> None:
    """Raise `UserError` when the port is taken, before anything long starts."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            other = port + 1 if port < MAX_PORT else port - 1
            raise UserError(
                f"Port {port} cannot be used: {error.strerror}.", f"Give another one, for example --port {other}."
            ) from None


def _serve(workspace: Path, port: int, unfinished: Run | None = None) -> None:
    """Open the dashboard until it is stopped; the analyses of a run are made beside it, so that nobody waits."""
    typer.echo(f"SteerLens: http://127.0.0.1:{port}  (Ctrl-C stops it)")
    env = os.environ | {"STEERLENS_WORKSPACE": str(workspace.resolve())}
    command = [
        sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard" / "app.py"),
        "--server.port", str(port), "--server.address", "127.0.0.1",
        "--server.headless", "false" if _has_desktop() else "true",  # with a desktop, the browser opens by itself
    ]  # fmt: skip
    beside = _analyse_beside(workspace, unfinished) if unfinished is not None else None
    try:
        code = subprocess.run(command, env=env, check=False).returncode
    finally:
        if beside is not None and beside.poll() is None:
            beside.terminate()
            beside.wait()
    raise typer.Exit(code)


def _analyse_beside(workspace: Path, run: Run) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "core", "analyse", "--workspace", str(workspace), "--run", run.id]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _has_desktop() -> bool:
    """Say whether somebody sits before this machine: a browser window can open, and output goes to a terminal."""
    screen = sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return screen and sys.stdout.isatty()


def main(arguments: list[str] | None = None) -> int:
    """Run a command and give its exit code; what a person can fix ends in two lines on stderr."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        code = app(args=arguments, standalone_mode=False)
    except UserError as error:
        return _two_lines(error.problem, error.fix)
    except UsageError as error:
        return _two_lines(*_usage(error))
    except OSError as error:  # a folder that may not be read, a name that is too long: no fault of the program
        what = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        return _two_lines(one_line(f"{what}."), "Check this path and its permissions, and run the same command again.")
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "can't allocate memory" in str(error)):  # torch's way to say it
            raise
        return _two_lines(
            one_line(f"There is not enough memory: {error}"),
            "Set recommender.embedding_size, sae.d_sae or sae.batch_size lower, or filter the log with data.k_core.",
        )
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        return _two_lines("Stopped. What was finished is kept.", "Run the same command again to go on.", INTERRUPTED)
    return int(code or 0)


def _usage(error: Any) -> tuple[str, str]:
    """Give the two lines for a wrong word on the command line."""
    where = error.ctx.command_path if error.ctx else "python -m core"
    return error.format_message(), f"See: {where.replace('__main__.py', 'python -m core')} --help"


def _two_lines(problem: str, fix: str, code: int = 2) -> int:
    sys.stderr.write(f"{problem}\n{fix}\n")
    return code


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
