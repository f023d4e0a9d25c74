"""The stages over a workspace: from a request to a finished run.

    dataset -> split -> recommender -> sae -> neurons

Each stage is saved under an id made of its config, seed and parents, and the next one starts from what was saved. A
build that was stopped goes on at the stage where it was.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.configs import from_dict
from core.data.download import find
from core.data.loaders import DataConfig, read_dataset
from core.data.split import SplitConfig, split
from core.errors import ConfigError, near
from core.neurons.table import NeuronTable
from core.presets import Preset, preset
from core.progress import Progress, no_progress
from core.recommenders.base import recommender_class, resolve
from core.report import neuron_metrics, peak_memory_mb, recommender_metrics, sae_metrics
from core.runs import Run
from core.seeding import derive_seed
from core.workspace import Workspace, artefact_id

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
    started: tuple[float, float] | None = None,
) -> Run:
    """Make and save one stage unless it is there, and give the chain up to it.

    `started` is `_clock()` before the work, where a part of it had to be done to know the config.
    """
    id_ = artefact_id(word, stage, config, seed, parents)
    if not workspace.has(stage, id_):
        start, cpu = started or _clock()
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


def _clock() -> tuple[float, float]:
    """Give wall-clock and processor time, in seconds."""
    return time.perf_counter(), time.process_time()


def _build_dataset(request: BuildRequest, todo: Plan, workspace: Workspace, progress: Progress) -> Run:
    folder, started = find(request.dataset, request.data_dir), _clock()
    progress("dataset", 0, 1, {})
    dataset = read_dataset(folder, options=todo.data)
    progress("dataset", 1, 1, {})
    config = {"name": dataset.name, "options": asdict(todo.data), "fingerprint": dataset.fingerprint()}

    def make() -> _Made:
        arrays, tables, facts = dataset.to_saved()
        counts = {"n_users": dataset.n_users, "n_items": dataset.n_items, "n_interactions": dataset.n_interactions}
        return _Made(arrays, tables, counts | {"facts": facts})

    return _stage(workspace, "dataset", dataset.name, config, None, {}, make, started)


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
