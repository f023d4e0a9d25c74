"""The stages over a workspace: what the command line and the pages call, and nothing else.

    dataset -> split -> recommender -> sae -> neurons

Each stage is saved under an id made of its config, seed and parents, and the next one starts from what was saved. A
build that was stopped goes on at the stage where it was.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.configs import from_dict
from core.data.dataset import Dataset
from core.data.download import find
from core.data.loaders import DataConfig, read_dataset
from core.data.split import Split, SplitConfig, split
from core.errors import ConfigError, MissingStageError, near
from core.neurons.table import NeuronTable
from core.presets import Preset, preset
from core.progress import Progress, no_progress
from core.recommenders.base import Recommender, rank, recommender_class, resolve
from core.report import assemble, neuron_metrics, peak_memory_mb, recommender_metrics, sae_metrics
from core.sae.model import SAE, SAEConfig
from core.seeding import derive_seed
from core.steering.compare import compare
from core.steering.steering import Steering, contributions, steer
from core.workspace import STAGES, Meta, Workspace, artefact_id

DEMO_SETTINGS = {"recommender.embedding_size": "48", "sae.d_sae": "72", "sae.k": "24", "sae.n_steps": "1000"}

SECTIONS = ("data", "split", "recommender", "sae")
"""What a setting can start with: `sae.k=64`."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build.

    Attributes:
        dataset: The name of a known dataset (`demo`, `ml-1m`) or a folder.
        recommender: A name of `RECOMMENDERS`.
        preset: A name of `PRESETS`.
        seed: Draws the split, the start values and the order of training.
        data_dir: Where raw datasets are looked for; None: $DATASETS_DIR, then data/raw.
        settings: `SECTION.FIELD` -> value; wins over the preset.
    """

    dataset: str
    recommender: str
    preset: str
    seed: int = 0
    data_dir: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


class Plan(NamedTuple):
    """A request whose every setting was read and checked, before any work."""

    data: DataConfig
    split: SplitConfig
    recommender: Any
    preset: Preset
    sae: Any


class ThreeLists(NamedTuple):
    """Top-n lists of some viewers, each (n_viewers, n) item indices, -1 where a list ran out."""

    original: np.ndarray
    """The recommender's own."""
    reconstructed: np.ndarray
    """Through the SAE without an edit: what the SAE itself costs."""
    steered: np.ndarray
    """With the edits, error term kept."""


class RunInfo(NamedTuple):
    """One finished chain of stages, for choosing among several."""

    id: str
    dataset: str
    recommender: str
    preset: str
    seed: int
    created: str


class Run:
    """A chain of artefacts, loaded as it is asked for.

    Args:
        workspace: Where they lie.
        ids: Stage -> id; later stages may be missing in a half-built chain.
    """

    def __init__(self, workspace: Workspace, ids: Mapping[str, str]) -> None:
        self.workspace = workspace
        self.ids = dict(ids)

    @property
    def id(self) -> str:
        """The id of the last stage that is there."""
        return self.ids[next(stage for stage in reversed(STAGES) if stage in self.ids)]

    def meta(self, stage: str) -> Meta:
        """Give what is known of one stage.

        Raises:
            MissingStageError: It was not built.
        """
        if stage not in self.ids:
            raise MissingStageError(f"The {stage} of this run was not built yet.", "Run the build again to finish it.")
        return self.workspace.meta(stage, self.ids[stage])

    @cached_property
    def full(self) -> Dataset:
        """The whole log, held-out interactions included."""
        facts = self.meta("dataset").metrics["facts"]
        id_ = self.ids["dataset"]
        return Dataset.from_saved(self.workspace.arrays("dataset", id_), self.workspace.tables("dataset", id_), facts)

    @cached_property
    def split(self) -> Split:
        """What was learnt from and what was held out."""
        self.meta("split")
        return Split.from_saved(self.full, self.workspace.arrays("split", self.ids["split"]))

    @property
    def dataset(self) -> Dataset:
        """The log as the recommender sees it at evaluation: histories without the held-out items."""
        return self.split.history

    @cached_property
    def recommender(self) -> Recommender:
        """The fitted recommender."""
        meta = self.meta("recommender")
        config = {k: v for k, v in meta.config.items() if k != "name"}
        model: Any = recommender_class(meta.config["name"])
        arrays = self.workspace.arrays("recommender", meta.id)
        return model.from_arrays(from_dict(model.Config, config, "recommender."), arrays)

    @cached_property
    def sae(self) -> SAE:
        """The trained SAE."""
        meta = self.meta("sae")
        arrays = self.workspace.arrays("sae", meta.id)
        return SAE.from_arrays(from_dict(SAEConfig, meta.metrics["model"], "sae."), arrays)

    @cached_property
    def table(self) -> NeuronTable:
        """What each neuron stands for."""
        id_ = self.meta("neurons").id
        return NeuronTable.from_saved(self.workspace.arrays("neurons", id_), self.workspace.tables("neurons", id_))

    @cached_property
    def report(self) -> dict[str, Any]:
        """What was measured, as far as the chain is built: the object that `build --json` writes."""
        return assemble({stage: self.meta(stage) for stage in STAGES if stage in self.ids})

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.meta("split").seed or 0)

    def embedding(self, user: int) -> np.ndarray:
        """Give the (1, d_in) embedding of a viewer of the log."""
        return self.recommender.embed([self.dataset.history(user)])

    def three_lists(self, embeddings: np.ndarray, seen: list[np.ndarray], steering: Steering, n: int) -> ThreeLists:
        """Give the original, reconstructed and steered top-n lists of some viewers, seen items left out.

        Args:
            embeddings: (n_viewers, d_in).
            seen: Item indices of each viewer that no list may show.
            steering: The edits.
            n: List length.
        """
        score = self.recommender.score
        return ThreeLists(
            rank(score(embeddings), n, seen),
            rank(score(self.sae.reconstruct(embeddings)), n, seen),
            rank(score(steer(embeddings, steering, self.sae)), n, seen),
        )


DEMO = BuildRequest("demo", "elsa", "knots", settings=DEMO_SETTINGS)
"""The embedded demo: small enough to be built in a minute."""


def plan(request: BuildRequest) -> Plan:
    """Read and check every setting of a request.

    Raises:
        ConfigError: An unknown recommender, preset, section or field, or a value that cannot be.
    """
    recipe = preset(request.preset)
    parts: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    if request.recommender == recipe.recommender:
        parts["recommender"] |= recipe.recommender_settings
    parts["sae"] |= recipe.sae
    for key, value in request.settings.items():
        section, dot, name = key.partition(".")
        if section not in parts or not dot:
            raise ConfigError(
                f"{key!r} is not a setting{near(section, SECTIONS)}.",
                f"Write SECTION.FIELD=VALUE with a section of: {', '.join(SECTIONS)}.",
            )
        parts[section][name] = value
    model = recommender_class(request.recommender)
    train_config = resolve("core.sae.trainer:TrainConfig")
    return Plan(
        from_dict(DataConfig, parts["data"], "data."),
        from_dict(SplitConfig, parts["split"], "split."),
        from_dict(model.Config, parts["recommender"], "recommender."),
        recipe,
        from_dict(train_config, parts["sae"], "sae."),
    )


def build(request: BuildRequest, workspace: Workspace, progress: Progress = no_progress) -> Run:
    """Build every stage that is not there yet, and give the finished run.

    Raises:
        UserError: Something that a person can mend; what was finished before stays.
    """
    todo = plan(request)
    run = _build_dataset(request, todo, workspace, progress)
    run = _build_split(request, todo, run)
    run = _build_recommender(request, todo, run, progress)
    run = _build_sae(request, todo, run, progress)
    return _build_neurons(run, progress)


def list_runs(workspace: Workspace) -> list[RunInfo]:
    """Give the finished runs of a workspace, newest first."""
    runs = []
    for meta in workspace.artefacts("neurons"):
        if all(workspace.has(stage, parent) for stage, parent in meta.parents.items()):
            known = {stage: workspace.meta(stage, parent) for stage, parent in meta.parents.items()}
            runs.append(
                RunInfo(
                    meta.id,
                    known["dataset"].config["name"],
                    known["recommender"].config["name"],
                    known["sae"].config["preset"],
                    int(known["split"].seed or 0),
                    meta.created,
                )
            )
    return runs


def open_run(path: Path | str, run_id: str | None = None) -> Run:
    """Open a finished run of a workspace, the newest one by default.

    Raises:
        MissingStageError: There is none, or none of this id; the fix is the command that makes one.
    """
    workspace = Workspace(path)
    runs = list_runs(workspace)
    if run_id is not None and run_id not in [r.id for r in runs]:
        raise MissingStageError(
            f"There is no run {run_id!r} in {workspace.path}{near(run_id, [r.id for r in runs])}.",
            "Choose one of the runs in the side bar.",
        )
    if not runs:
        missing = next((s for s in STAGES if not workspace.artefacts(s)), "neurons")
        raise MissingStageError(
            f"Nothing to show yet in {workspace.path}: the stage {missing!r} was not built.",
            "Run: python -m core build --dataset ml-1m --recommender elsa --preset knots",
        )
    meta = workspace.meta("neurons", run_id or runs[0].id)
    return Run(workspace, {**meta.parents, "neurons": meta.id})


def steer_viewer(run: Run, user_id: str, steering: Steering, n: int) -> dict[str, Any]:
    """Give a viewer's three lists with the movements and, for a linear scorer, why each item moved.

    Raises:
        DataError: There is no such viewer.
        ConfigError: An edit names a neuron that is not there.
    """
    dataset = run.dataset
    user = dataset.users.index(user_id)
    steering.check_against(run.sae.config.d_sae)
    embedding = run.embedding(user)
    original, reconstructed, steered = (
        lists[0] for lists in run.three_lists(embedding, [dataset.history(user)], steering, n)
    )
    moves = compare(original, steered, dataset)
    scorer = run.recommender.linear
    parts = contributions(embedding, steering, run.sae, scorer) if scorer is not None else None

    def row(item: int, position: int) -> dict[str, Any]:
        return {"rank": position, "item": dataset.items.ids[item], "title": dataset.item_table["title"].iloc[item]}

    rows = []
    for position, item in enumerate((i for i in steered if i >= 0), start=1):
        before = np.flatnonzero(original == item)
        change: dict[str, Any] = {"rank_before": int(before[0]) + 1 if before.size else None}
        if parts is not None:
            change["contributions"] = {
                str(j): float(v) for j, v in zip(parts.neurons, parts.by_neuron[:, item], strict=True)
            }
        rows.append(row(item, position) | change)
    return {
        "run": run.id,
        "user": user_id,
        "edits": [asdict(e) for e in steering.edits],
        "n_kept": int(np.isin(steered[steered >= 0], original).sum()),
        "overlap": moves.overlap,
        "original": [row(i, p) for p, i in enumerate((i for i in original if i >= 0), start=1)],
        "reconstructed": [row(i, p) for p, i in enumerate((i for i in reconstructed if i >= 0), start=1)],
        "steered": rows,
        "departed": [dataset.items.ids[i] for i in original if i >= 0 and i not in steered],
    }


class _Made(NamedTuple):
    arrays: dict[str, np.ndarray]
    tables: dict[str, pd.DataFrame]
    metrics: dict[str, Any]


def _stage(
    workspace: Workspace,
    stage: str,
    word: str,
    config: Mapping[str, Any],
    seed: int | None,
    parents: Mapping[str, str],
    make: Callable[[], _Made],
) -> Run:
    """Make and save one stage unless it is there, and give the chain up to it."""
    id_ = artefact_id(word, stage, config, seed, parents)
    if not workspace.has(stage, id_):
        start = time.perf_counter()
        cpu = time.process_time()
        made = make()
        metrics = made.metrics | {
            "cpu_s": round(time.process_time() - cpu, 3),
            "peak_memory_mb": peak_memory_mb(),
        }
        workspace.save(
            stage, id_, config=config, seed=seed, parents=parents, arrays=made.arrays, tables=made.tables,
            metrics=metrics, seconds=time.perf_counter() - start,
        )  # fmt: skip
    return Run(workspace, {**parents, stage: id_})


def _build_dataset(request: BuildRequest, todo: Plan, workspace: Workspace, progress: Progress) -> Run:
    folder = find(request.dataset, request.data_dir)
    progress("dataset", 0, 1, {})
    dataset = read_dataset(folder, options=todo.data)
    progress("dataset", 1, 1, {})
    config = {"name": dataset.name, "options": asdict(todo.data), "fingerprint": dataset.fingerprint()}

    def make() -> _Made:
        arrays, tables, facts = dataset.to_saved()
        counts = {"n_users": dataset.n_users, "n_items": dataset.n_items, "n_interactions": dataset.n_interactions}
        return _Made(arrays, tables, counts | {"facts": facts})

    return _stage(workspace, "dataset", dataset.name, config, None, {}, make)


def _build_split(request: BuildRequest, todo: Plan, run: Run) -> Run:
    def make() -> _Made:
        made = split(run.full, todo.split, seed=derive_seed(request.seed, "split"))
        return _Made(made.to_saved(), {}, {"n_unseen_users": len(made.unseen_users)})

    return _stage(run.workspace, "split", todo.split.name, asdict(todo.split), request.seed, run.ids, make)


def _build_recommender(request: BuildRequest, todo: Plan, run: Run, progress: Progress) -> Run:
    model = recommender_class(request.recommender)

    def make() -> _Made:
        seed = derive_seed(request.seed, "recommender")
        cpu = time.process_time()
        fitted = model.fit(run.split.train, todo.recommender, seed=seed, progress=progress)
        fit_cpu_s = round(time.process_time() - cpu, 3)
        progress("measure", 0, 1, {})
        metrics = recommender_metrics(fitted, run.split, progress)
        return _Made(fitted.to_arrays(), {}, metrics | {"fit_cpu_s": fit_cpu_s})

    config = {"name": request.recommender, **asdict(todo.recommender)}
    return _stage(run.workspace, "recommender", request.recommender, config, request.seed, run.ids, make)


def _build_sae(request: BuildRequest, todo: Plan, run: Run, progress: Progress) -> Run:
    def make() -> _Made:
        recommender, parts = run.recommender, run.split
        histories = parts.history.histories(parts.seen_users)

        def embed_with_dropout(rng: np.random.Generator, rows: np.ndarray, dropout: float) -> np.ndarray:
            """Embed the histories of some rows again, each item left out with a probability; one item always stays."""
            kept = []
            for row in rows:
                history = histories[row]
                keep = rng.random(len(history)) >= dropout
                if len(history) and not keep.any():
                    keep[rng.integers(len(history))] = True
                kept.append(history[keep])
            return recommender.embed(kept)

        sae, history = resolve("core.sae.trainer:train")(
            recommender.embed(histories),
            todo.sae,
            seed=derive_seed(request.seed, "sae"),
            X_items=recommender.probe_items() if todo.preset.train_on_items else None,
            scorer=recommender.torch_scorer(),
            augment=embed_with_dropout,
            progress=progress,
        )
        metrics = sae_metrics(sae, recommender, parts, request.seed, progress)
        return _Made(sae.to_arrays(), {"history": _frame(history)}, metrics | {"model": asdict(sae.config)})

    config = {"preset": request.preset, "train_on_items": todo.preset.train_on_items, **asdict(todo.sae)}
    return _stage(run.workspace, "sae", request.preset, config, request.seed, run.ids, make)


def _frame(history: Any) -> pd.DataFrame:
    """Give a training's history as a table: a row for every logged step, the terms of the loss as columns."""
    names = ("step", "loss", "l0", "dead_share")
    return pd.DataFrame({name: getattr(history, name) for name in names} | history.terms)


def _build_neurons(run: Run, progress: Progress) -> Run:
    def make() -> _Made:
        progress("neurons", 0, 1, {})
        recommender, sae, dataset = run.recommender, run.sae, run.dataset
        probes = recommender.probe_items()
        item_acts = sae.encode(probes)
        user_acts = sae.encode(recommender.embed(dataset.histories()))
        table = NeuronTable.build(item_acts, user_acts, sae, dataset, recommender.embed_items())
        progress("neurons", 1, 1, {})
        arrays, tables = table.to_saved()
        return _Made(arrays, tables, neuron_metrics(table, item_acts, probes, dataset, run.seed))

    return _stage(run.workspace, "neurons", run.meta("sae").config["preset"], {}, None, run.ids, make)
