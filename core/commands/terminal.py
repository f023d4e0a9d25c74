"""What the commands share on the terminal: their options, the progress bars, and how a finished build is told."""

import json
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from core.errors import ConfigError, UserError
from core.neurons.concepts import LENGTHS
from core.presets import PRESETS
from core.runs import Run
from core.workspace import to_plain

ROOT = Path(__file__).resolve().parents[2]
DEMO_WORKSPACE = ROOT / "data" / "workspaces" / "demo"
DEFAULT_WORKSPACE = ROOT / "data" / "workspaces" / "default"

WorkspaceOption = Annotated[Path, typer.Option("--workspace", help="The folder in which everything built lies.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Raw datasets; else $DATASETS_DIR, else data/raw.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result to this file too.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Draws the split, the start values and the order.")]
PresetOption = Annotated[
    str | None, typer.Option(help=f"How the SAE is trained, one of: {', '.join(PRESETS)}. Without one: no SAE.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, for example sae.k=64 or recommender.negatives=uniform."),
]


def read_settings(texts: Sequence[str] | None) -> dict[str, str]:
    """Read what was given with --set.

    Raises:
        ConfigError: One has no value.
    """
    settings = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text[:60]!r} has no value.", "Write --set SECTION.FIELD=VALUE.")
        settings[key.strip()] = value.strip()
    return settings


class Bars:
    """One progress bar a stage on the terminal: the stage, how far, the time left, the numbers."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __call__(self, stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Show how far a stage is."""
        if self._bar is None or self._bar.desc != stage or self._bar.total != total:
            self.close()
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, leave=True, mininterval=0.2, dynamic_ncols=True)
        if numbers:
            self._bar.set_postfix({k: f"{v:.4g}" for k, v in numbers.items()}, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Finish the bar that is shown."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def bars() -> Iterator[Bars]:
    """Show progress bars while something long is done."""
    shown = Bars()
    try:
        yield shown
    finally:
        shown.close()


def write_json(value: Mapping[str, Any], file: Path | None) -> None:
    """Write a result to a file, whole or not at all; to none where there is no file."""
    if file is None:
        return
    text = json.dumps(to_plain(value), indent=1) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() and not file.is_file():  # /dev/stdout or a pipe: nothing to rename onto
            file.write_text(text, encoding="utf-8")
            return
        place = file.resolve()
        beside = place.with_name(f".{secrets.token_hex(4)}.writing")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}.", "Give another file with --json.") from error


def say_built(run: Run) -> None:
    """Say on the terminal what a finished build measured."""
    report = run.report
    total = sum(report["seconds"].values())
    recommender = report["recommender"]
    quality = f"recall@20 {_number(recommender['recall_at_20'])}, nDCG@20 {_number(recommender['ndcg_at_20'])}"
    if "sae" not in report:
        typer.echo(f"{recommender['name']} on {report['dataset']['name']}: {run.id}")
        typer.echo(f"  {quality} on {recommender['n_viewers']:,} viewers; built in {total:.0f} s")
        return
    sae, neurons = report["sae"], report["neurons"]
    typer.echo(f"{recommender['name']} on {report['dataset']['name']}, SAE {sae['preset']}: {run.id}")
    typer.echo(f"  {quality} on {recommender['n_viewers']:,} viewers")
    typer.echo(
        f"  {sae['alive']} of {sae['d_sae']} neurons alive, cosine {_number(sae['cosine'])}, nDCG@20 "
        f"{_number(sae['ndcg_at_20_original'])} -> {_number(sae['ndcg_at_20'])} "
        f"on {sae['n_unseen_viewers']:,} viewers that the SAE {'may have seen' if 'source' in sae else 'never saw'}"
    )
    purity = "/".join(_number(neurons["paper_purity"][str(n)], 2) for n in LENGTHS)
    again = neurons.get("stability", {})
    if "surviving_share" in again:
        typer.echo(
            f"  {again['surviving_share']:.1%} of {again['n_neurons']} neurons come again from another seed, "
            f"stability {again['threshold']} or more; by chance {again['chance_surviving_share']:.1%}"
        )
    for warning in sae.get("warnings", ()):
        typer.echo(f"  note: {warning}")
    typer.echo(f"  mean purity of {neurons['n_concepts']} concepts @10/20/50: {purity}; built in {total:.0f} s")


def _number(value: float | None, digits: int = 3) -> str:
    """Write a number; one that could not be measured is a dash."""
    return "-" if value is None else f"{value:.{digits}f}"
