"""A grid of SAEs on one recommender: how much each keeps of the lists against how clean its neurons are."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from core.configs import check
from core.crossfit import cross_fit, folds_of
from core.errors import ConfigError, TrainingError
from core.pipeline import BuildRequest, Plan, build_lens, build_recommender, plan
from core.progress import Progress, no_progress
from core.runs import Run
from core.sweep.page import page
from core.sweep.points import Point, Sweep, choose, frontier
from core.workspace import Workspace, artefact_id, to_plain

FOLDER = "sweeps"
"""Below the workspace: a folder for each sweep with `points.csv`, `sweep.json` and `frontier.html`."""
CSV, JSON, HTML = "points.csv", "sweep.json", "frontier.html"
LOSS_BOUND = 0.02
"""Share of nDCG@20 that may be lost at the upper end of the interval."""


@dataclass(frozen=True)
class SweepRequest:
    """What to sweep over.

    Attributes:
        build: What all points share; with a preset.
        over: A setting of the SAE -> its values: every combination is a point. Empty: one point, the preset itself.
        n_folds: Fidelity is measured on all viewers by cross-fit over so many folds (see `core.crossfit`); None: on the
            unseen viewers of the split.
        loss_bound: The recommended point loses no larger share of nDCG@20 at the upper end of its interval.
    """

    build: BuildRequest
    over: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    n_folds: int | None = None
    loss_bound: float = LOSS_BOUND

    def __post_init__(self) -> None:
        check(
            self.build.preset is not None,
            "A sweep trains SAEs, and no preset says how.",
            "Give --preset, for example --preset knots.",
        )
        check(
            self.n_folds is None or self.n_folds >= 2,
            f"{self.n_folds} folds leave nothing to train on.",
            "Give 2 folds or more, for example --folds 6.",
        )
        check(
            0 < self.loss_bound < 1,
            f"The bound of the loss is {self.loss_bound}, expected a share.",
            "Give --loss-bound 0.02, for example.",
        )

    @property
    def points(self) -> list[dict[str, str]]:
        """Give the settings of each point; the last setting changes first."""
        return [dict(zip(self.over, values, strict=True)) for values in product(*self.over.values())]


def read_grid(texts: Sequence[str], fixed: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Read `NAME=VALUE,VALUE` of settings of the SAE; the section `sae.` may be left out.

    Args:
        texts: As given on the command line.
        fixed: Settings that all points share.

    Raises:
        ConfigError: No value, an empty or repeated one, another section, or a setting that is there twice.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, equals, rest = text.partition("=")
        name = key.strip().removeprefix("sae.")
        values = tuple(value.strip() for value in rest.split(","))
        check(bool(equals and name), f"--over {text[:60]!r} has no values.", "Write --over k=16,32,64.")
        check("." not in name, f"--over {key[:60]!r}: only the SAE is swept.", "Set it for all points with --set.")
        check(all(values), f"--over {text[:60]!r} has an empty value.", "Write --over k=16,32,64.")
        check(
            len(set(values)) == len(values),
            f"--over {text[:60]!r} names a value twice.",
            "Name each value once; another --seed draws other start values.",
        )
        check(name not in grid, f"--over {name} is there twice.", f"Write all values together: --over {name}=A,B,C.")
        check(
            f"sae.{name}" not in fixed,
            f"sae.{name} is set by --set and swept by --over.",
            f"Leave out --set sae.{name} or --over {name}.",
        )
        grid[name] = values
    return grid


def plans_of(request: SweepRequest) -> list[Plan]:
    """Read and check every point before any work.

    Raises:
        ConfigError: A setting that is not there or cannot be; the problem names the point.
    """
    plans = []
    for settings in request.points:
        own = {f"sae.{name}": value for name, value in settings.items()}
        try:
            plans.append(plan(replace(request.build, settings={**request.build.settings, **own})))
        except ConfigError as error:
            unknown = "is not a setting" in error.problem
            where = "" if unknown or not settings else f"At {Point(settings).name}: "
            raise ConfigError(where + error.problem, error.fix) from None
    return plans


def sweep(
    request: SweepRequest,
    workspace: Workspace,
    progress: Progress = no_progress,
    told: Callable[[Sweep], None] = lambda _: None,
) -> Sweep:
    """Train and measure every point of a grid; what is already built is not built again.

    The recommender is built once. Each point is a run like any other. After each one the table is written, whole or not
    at all, and a sweep that is started again after it was stopped goes on where it was. A point whose training diverges
    stays in the table with its problem.

    Args:
        request: The grid.
        workspace: Where everything is saved.
        progress: Told how far each stage is.
        told: Called after each point with all that is known so far.

    Raises:
        UserError: Something that a person can mend; the points that were finished stay.
    """
    plans = plans_of(request)
    run = build_recommender(request.build, plans[0], workspace, progress)
    if request.n_folds is not None:
        folds_of(run.split, request.n_folds, request.build.seed)  # refused before anything is trained
    points: list[Point] = []
    n_written = _n_written(request, run)
    for settings, todo in zip(request.points, plans, strict=True):
        try:
            points.append(_measured(settings, todo, run, request.n_folds, progress))
        except TrainingError as error:
            points.append(Point(settings, problem=error.problem))
        found = _summed_up(request, run, points)
        if len(points) >= n_written:  # started again, it never takes rows from a longer table
            _write(found, workspace)
        told(found)
    return found


def _measured(settings: dict[str, str], todo: Plan, base: Run, n_folds: int | None, progress: Progress) -> Point:
    run = build_lens(todo, base, progress)
    sae, neurons = run.report["sae"], run.report["neurons"]
    stages = [run.meta(stage) for stage in ("sae", "neurons")]
    seconds, cpu_s = sum(m.seconds for m in stages), sum(m.metrics["cpu_s"] for m in stages)
    fidelity = sae | {"n_viewers": sae["n_unseen_viewers"]}
    if n_folds is not None:
        fidelity = cross_fit(todo, base, n_folds, progress).metrics
        seconds, cpu_s = seconds + fidelity["seconds"], cpu_s + fidelity["cpu_s"]
    losses = {
        f"{name}_loss{end}": _number(value)
        for name in ("recall", "ndcg")
        for end, value in zip(
            ("", "_low", "_high"),
            (fidelity.get(f"{name}_loss"), *fidelity.get(f"{name}_loss_interval", (None, None))),
            strict=True,
        )
    }
    measured = ("cosine", "rbo_at_30", "kendall_at_30", "dead_share", "n_viewers")
    return Point(
        settings, "", run.id, seconds=seconds, cpu_s=cpu_s,
        neuron_purity=_neuron_purity(run), named_purity=_number(neurons["paper_purity"]["10"]),
        **losses,
        **{name: _number(fidelity[name]) for name in measured},
        **{name: _number(neurons[name]) for name in ("n_neurons_pure", "monosemanticity")},
        **{name: _number(sae[name]) for name in ("d_sae", "k", "density", "l0")},
    )  # fmt: skip


def _neuron_purity(run: Run) -> float:
    """Give the mean purity@10 of the living neurons, 0 for those that have none."""
    frame = run.table.frame
    return float(frame.loc[frame["alive"], "purity_at_10"].fillna(0.0).mean())


def _number(value: float | None) -> float:
    """Read a number of a report, where None stands for one that could not be measured."""
    return np.nan if value is None else float(value)


def _summed_up(request: SweepRequest, run: Run, points: list[Point]) -> Sweep:
    build = request.build
    return Sweep(
        title=f"{build.recommender} on {run.full.name}, {build.preset}, seed {build.seed}",
        ids=run.ids,
        over=dict(request.over),
        n_folds=request.n_folds,
        loss_bound=request.loss_bound,
        n_points=len(request.points),
        points=list(points),
        frontier=frontier(points),
        choice=choose(points, request.loss_bound),
        folder=f"{FOLDER}/{_id(request, run)}",
    )


def _id(request: SweepRequest, run: Run) -> str:
    build = request.build
    settings = {name: value for name, value in build.settings.items() if name.startswith("sae.")}
    config = {
        "preset": build.preset, "settings": settings, "over": {k: list(v) for k, v in request.over.items()},
        "n_folds": request.n_folds,
    }  # fmt: skip
    return artefact_id(f"{build.recommender}-{build.preset}", "sweep", config, build.seed, run.ids)


def _n_written(request: SweepRequest, run: Run) -> int:
    """Give how many points the table of this sweep has, from a start before."""
    text = run.workspace.read_text(f"{FOLDER}/{_id(request, run)}", JSON)
    try:
        return len(json.loads(text or "{}").get("points", ()))
    except (ValueError, AttributeError, TypeError, RecursionError):  # not ours any more: it is written anew
        return 0


def _write(found: Sweep, workspace: Workspace) -> None:
    workspace.write_text(found.folder, CSV, found.to_table().to_csv(index=False, lineterminator="\r\n"))
    workspace.write_text(found.folder, JSON, json.dumps(to_plain(found.to_json()), indent=1, ensure_ascii=False) + "\n")
    workspace.write_text(found.folder, HTML, page(found))
