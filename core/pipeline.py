"""The stages over a workspace: from a request to a finished run.

    dataset -> split -> recommender -> sae -> neurons

Each stage is saved under an id made of its config, seed and parents, and the next one starts from what was saved. A
build that was stopped goes on at the stage where it was.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.configs import from_dict
from core.data.dataset import Dataset
from core.data.download import find
from core.data.loaders import DataConfig, read_dataset
from core.data.split import SplitConfig, split
from core.errors import ConfigError, near
from core.neurons.shards import sampled, stream_stats
from core.neurons.stability import Code, stability
from core.neurons.table import N_TOP_USERS, NeuronTable
from core.presets import Preset, preset
from core.progress import Progress, no_progress
from core.recommenders.base import BROUGHT, RECOMMENDERS, Recommender, embed_users, entry, recommender_class, resolve
from core.report import (
    EvaluationConfig,
    awake,
    drawn_viewers,
    neuron_metrics,
    peak_memory_mb,
    recommender_metrics,
    sae_metrics,
    viewer_fidelity,
    viewers_with_targets,
)
from core.runs import EVALUATION, SOURCE, Run
from core.sae.model import SAE
from core.seeding import derive_seed
from core.unfinished import Unfinished
from core.workspace import STAGES, Workspace, artefact_id

DEMO_SETTINGS = {"recommender.embedding_size": "48", "sae.d_sae": "72", "sae.k": "24", "sae.n_steps": "1000"}

SECTIONS = ("data", "split", "recommender", "evaluation", "sae")
"""What a setting can start with: `sae.k=64`."""

REFERENCES = ("popularity", "ease")
"""Trained on every split beside the recommender that is asked for: what it has to beat."""
EASE_LIMIT = 6_000
"""Items beyond which EASE, which inverts an items x items matrix, is not trained as a reference."""
N_PREDICTION_PAIRS = 4096
"""Pairs that the prediction loss compares a step, where pairs have to be scored one by one and nobody says how many."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build.

    Attributes:
        dataset: The name of a known dataset (`demo`, `ml-1m`) or a folder.
        recommender: A name of `RECOMMENDERS`.
        preset: A name of `PRESETS`; None ends with the recommender.
        seed: Draws the split, the start values and the order of training.
        data_dir: Where raw datasets are looked for; None: $DATASETS_DIR, then data/raw.
        settings: `SECTION.FIELD` -> value; wins over the preset.
        stability: A second SAE of another seed is trained too, and each neuron is told whether it comes again.
    """

    dataset: str
    recommender: str
    preset: str | None
    seed: int = 0
    data_dir: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    stability: bool = False


class Plan(NamedTuple):
    """A request whose every setting was read and checked, before any work."""

    data: DataConfig
    split: SplitConfig
    recommender: Any
    evaluation: EvaluationConfig
    preset: Preset | None
    sae: Any
    seed: int
    stability: bool = False


class Brought(NamedTuple):
    """A recommender that was trained elsewhere, and what it is about."""

    dataset: Dataset
    model: Recommender
    source: Mapping[str, Any]
    """Where it comes from, as plain values: the kind of import, and the checksums of the files. A part of its id."""


DEMO = BuildRequest("demo", "elsa", "knots", settings=DEMO_SETTINGS)
"""The embedded demo: small enough to be built in a minute."""


def plan(request: BuildRequest) -> Plan:
    """Read and check every setting of a request.

    Raises:
        ConfigError: An unknown recommender, preset, section or field, or a value that cannot be.
    """
    recipe = None if request.preset is None else preset(request.preset)
    parts = _sections(request.settings)
    if request.recommender in BROUGHT:
        raise ConfigError(
            f"{request.recommender!r} is trained elsewhere and cannot be built.",
            f"Bring it with python -m core import, or use one of: {', '.join(RECOMMENDERS)}.",
        )
    suggested = recipe.recommender_settings if recipe and request.recommender == recipe.recommender else {}
    model = recommender_class(request.recommender)
    return Plan(
        from_dict(DataConfig, parts["data"], "data."),
        from_dict(SplitConfig, parts["split"], "split."),
        from_dict(model.Config, {**suggested, **parts["recommender"]}, "recommender."),
        from_dict(EvaluationConfig, parts["evaluation"], "evaluation."),
        recipe,
        _train_config(recipe, parts["sae"]),
        request.seed,
        request.stability,
    )


def plan_adoption(preset_name: str | None, seed: int, settings: Mapping[str, str]) -> Plan:
    """Read and check every setting of `adopt`, which takes those of the recommender from the model.

    Raises:
        ConfigError: As for `plan`, or a setting of the data or of the recommender.
    """
    parts = _sections(settings)
    for section in ("data", "recommender"):
        if parts[section]:
            raise ConfigError(
                f"{section}.{next(iter(parts[section]))} cannot be set for a model that was trained elsewhere.",
                "Set only split, evaluation and sae, or train a recommender here with python -m core build.",
            )
    recipe = None if preset_name is None else preset(preset_name)
    return Plan(
        DataConfig(),
        from_dict(SplitConfig, parts["split"], "split."),
        None,
        from_dict(EvaluationConfig, parts["evaluation"], "evaluation."),
        recipe,
        _train_config(recipe, parts["sae"]),
        seed,
    )


def build(request: BuildRequest, workspace: Workspace, progress: Progress = no_progress) -> Run:
    """Build every stage that is not there yet, and give the finished run.

    Raises:
        UserError: Something that a person can mend; what was finished before stays.
    """
    todo = plan(request)
    return build_lens(todo, build_recommender(request, todo, workspace, progress), progress)


def build_recommender(request: BuildRequest, todo: Plan, workspace: Workspace, progress: Progress = no_progress) -> Run:
    """Build every stage up to the recommender that is not there yet, and what it has to beat.

    Args:
        request: What is asked for.
        todo: `plan(request)`.
        workspace: Where everything is saved.
        progress: Told how far each stage is.

    Raises:
        UserError: As for `build`.
    """
    run = _build_dataset(request, todo, workspace, progress)
    run = _build_split(todo, run)
    _build_references(todo, run, progress)
    return _build_recommender(request.recommender, todo, run, progress)


def adopt(
    brought: Brought,
    workspace: Workspace,
    *,
    preset_name: str | None,
    seed: int = 0,
    settings: Mapping[str, str] | None = None,
    progress: Progress = no_progress,
) -> Run:
    """Take a recommender that was trained elsewhere into a workspace, and build its SAE and neurons.

    What a viewer has consumed is split as for a recommender that is trained here; but the model may have learnt from
    the held-out items too, which `recommender.source` in the report stands for.

    Args:
        brought: The model and its dataset, which may have no interactions.
        workspace: Where everything is saved.
        preset_name: A name of `PRESETS`; None ends with the recommender.
        seed: Draws the split, the start values and the order of training.
        settings: `split.FIELD`, `evaluation.FIELD` or `sae.FIELD` -> value; wins over the preset.
        progress: Told how far each stage is.

    Raises:
        UserError: Something that a person can mend; what was finished before stays.
    """
    todo = plan_adoption(preset_name, seed, settings or {})._replace(recommender=brought.model.config)
    run = _save_dataset(brought.dataset, {"import": brought.source["kind"]}, workspace)
    run = _build_split(todo, run)
    if brought.dataset.n_interactions:
        _build_references(todo, run, progress)
    run = _save_brought(brought, todo, run, progress)
    return build_lens(todo, run, progress)


def adopt_sae(sae: SAE, run: Run, *, name: str, source: Mapping[str, Any], progress: Progress = no_progress) -> Run:
    """Make an SAE that was trained elsewhere the one of a run's recommender, and read its neurons.

    It may have learnt from any viewer, also from those of the split that an SAE trained here never sees: `sae.source`
    in the report stands for that.

    Args:
        sae: For embeddings of the recommender's width.
        run: Ends with the recommender, or goes on after it.
        name: Stands where the name of the preset stands.
        source: Where it comes from, as plain values. A part of its id.
        progress: Told how far each stage is.

    Raises:
        UserError: Something that a person can mend.
    """
    base = Run(run.workspace, {stage: run.ids[stage] for stage in STAGES[: STAGES.index("sae")]})
    config = from_dict(EvaluationConfig, run.meta("recommender").config[EVALUATION], "evaluation.")

    def make() -> _Made:
        metrics = sae_metrics(sae, base.recommender, base.split, base.seed, progress, config=config)
        return _Made(sae.to_arrays(), {}, metrics | {"model": asdict(sae.config), SOURCE: dict(source)})

    said = {"preset": name, SOURCE: dict(source)}
    return _build_neurons(_stage(run.workspace, "sae", name, said, run.seed, base.ids, make), None, progress)


def _sections(settings: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Sort `SECTION.FIELD` -> value by section."""
    parts: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, value in settings.items():
        section, dot, name = key.partition(".")
        if section not in parts or not dot:
            raise ConfigError(
                f"{key!r} is not a setting{near(section, SECTIONS)}.",
                f"Write SECTION.FIELD=VALUE with a section of: {', '.join(SECTIONS)}.",
            )
        parts[section][name] = value
    return parts


def _train_config(recipe: Preset | None, settings: Mapping[str, Any]) -> Any:
    """Give the settings of the SAE: those of the preset, and over them a person's own; None where none is trained."""
    if recipe is None and not settings:  # spares the import of torch
        return None
    given = {**(recipe.sae if recipe else {}), **settings}
    for one, other in (("d_sae", "expansion"), ("expansion", "d_sae")):  # two ways to say how many neurons there are
        if one in settings and other not in settings:
            given.pop(other, None)
    return from_dict(resolve("core.sae.trainer:TrainConfig"), given, "sae.")


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
    return _save_dataset(dataset, asdict(todo.data), workspace, started)


def _save_dataset(
    dataset: Dataset, options: Mapping[str, Any], workspace: Workspace, started: tuple[float, float] | None = None
) -> Run:
    config = {"name": dataset.name, "options": options, "fingerprint": dataset.fingerprint()}

    def make() -> _Made:
        arrays, tables, facts = dataset.to_saved()
        counts = {"n_users": dataset.n_users, "n_items": dataset.n_items, "n_interactions": dataset.n_interactions}
        return _Made(arrays, tables, counts | {"facts": facts})

    return _stage(workspace, "dataset", dataset.name, config, None, {}, make, started)


def _build_split(todo: Plan, run: Run) -> Run:
    def make() -> _Made:
        made = split(run.full, todo.split, seed=derive_seed(todo.seed, "split"))
        return _Made(made.to_saved(), {}, {"n_unseen_users": len(made.unseen_users)})

    return _stage(run.workspace, "split", todo.split.name, asdict(todo.split), todo.seed, run.ids, make)


def _build_references(todo: Plan, run: Run, progress: Progress) -> None:
    """Train what every recommender has to beat, on the same split."""
    for name in REFERENCES:
        if name != "ease" or run.full.n_items <= EASE_LIMIT:
            _build_recommender(name, todo._replace(recommender=recommender_class(name).Config()), run, progress)


def _build_recommender(name: str, todo: Plan, run: Run, progress: Progress) -> Run:
    def make() -> _Made:
        seed = derive_seed(todo.seed, "recommender")
        cpu = time.process_time()
        fitted = recommender_class(name).fit(run.split.train, todo.recommender, seed=seed, progress=progress)
        fit_cpu_s = round(time.process_time() - cpu, 3)
        return _measured(fitted, todo, run, {"fit_cpu_s": fit_cpu_s}, progress)

    config = {"name": name, EVALUATION: asdict(todo.evaluation), **asdict(todo.recommender)}
    return _stage(run.workspace, "recommender", name, config, todo.seed, run.ids, make)


def _save_brought(brought: Brought, todo: Plan, run: Run, progress: Progress) -> Run:
    model = brought.model

    def make() -> _Made:
        return _measured(model, todo, run, {"source": dict(brought.source)}, progress)

    config = {"name": model.name, EVALUATION: asdict(todo.evaluation), SOURCE: dict(brought.source)}
    config |= asdict(model.config)
    return _stage(run.workspace, "recommender", model.name, config, todo.seed, run.ids, make)


def _measured(model: Recommender, todo: Plan, run: Run, facts: Mapping[str, Any], progress: Progress) -> _Made:
    progress("measure", 0, 1, {})
    measure = recommender_metrics(model, run.split, progress, config=todo.evaluation, seed=todo.seed)
    return _Made(model.to_arrays(), {"viewers": measure.viewers}, {**measure.metrics, **facts})


def build_lens(todo: Plan, run: Run, progress: Progress = no_progress) -> Run:
    """Train the SAE of a finished recommender and read its neurons, unless no preset was asked for.

    Raises:
        UserError: As for `build`.
    """
    if todo.preset is None:
        return run
    lens = _build_sae(todo, run, progress)
    return _build_neurons(lens, _build_twin(todo, run, progress) if todo.stability else None, progress)


def build_fold(todo: Plan, run: Run, fold: tuple[int, int], users: np.ndarray, progress: Progress = no_progress) -> Run:
    """Train an SAE on all viewers but those of one fold and measure it on those, viewer by viewer.

    Its table `viewers` has a row for each measured viewer of the fold (see `core.report.viewer_fidelity`).

    Args:
        todo: What to build; with a preset.
        run: Ends with the recommender.
        fold: Its number from 0, and how many folds there are.
        users: Sorted viewers of the fold. They follow from `fold`, the split and the seed (see `core.crossfit`).
        progress: Told how far it is.
    """

    def make(kept: Unfinished) -> _Made:
        parts = replace(run.split, unseen_users=users)
        sae, history = _trained(todo, run, users, ("sae",), progress, kept)
        asked = drawn_viewers(viewers_with_targets(parts), run.recommender.n_items, todo.seed)
        measured = np.intersect1d(users, asked, assume_unique=True)
        viewers = viewer_fidelity(sae, run.recommender, parts, measured, progress, config=todo.evaluation)
        dead_share = float(1 - awake(sae, run.recommender, parts).mean())
        tables = {"history": _frame(history), "viewers": viewers}
        return _Made(sae.to_arrays(), tables, {"dead_share": dead_share} | _facts(sae, history))

    return _sae_stage(todo, run, "fold", {"fold": list(fold)}, make)


def _build_sae(todo: Plan, run: Run, progress: Progress) -> Run:
    def make(kept: Unfinished) -> _Made:
        sae, history = _trained(todo, run, run.split.unseen_users, ("sae",), progress, kept)
        metrics = sae_metrics(sae, run.recommender, run.split, todo.seed, progress, config=todo.evaluation)
        return _Made(sae.to_arrays(), {"history": _frame(history)}, metrics | _facts(sae, history))

    return _sae_stage(todo, run, "", {}, make)


def _build_twin(todo: Plan, run: Run, progress: Progress) -> Run:
    """Train the same SAE from another seed, to see which of its neurons come again."""

    def make(kept: Unfinished) -> _Made:
        sae, history = _trained(todo, run, run.split.unseen_users, ("sae", "twin"), progress, kept)
        return _Made(sae.to_arrays(), {"history": _frame(history)}, _facts(sae, history))

    return _sae_stage(todo, run, "twin", {"twin": True}, make)


def _sae_stage(
    todo: Plan, run: Run, word: str, variation: Mapping[str, Any], make: Callable[[Unfinished], _Made]
) -> Run:
    """Make and save an SAE; a variation of the one that the run is about has keys of its own in its config.

    A training that is stopped goes on where it was when the same is asked for again.
    """
    assert todo.preset is not None
    recipe = todo.preset
    config = {"preset": recipe.name, "train_on_items": recipe.train_on_items, **asdict(_sae_settings(todo, run))}
    word = f"{recipe.name}-{word}" if word else recipe.name
    config |= variation
    kept = Unfinished(run.workspace, artefact_id(word, "sae", config, todo.seed, run.ids))
    made = _stage(run.workspace, "sae", word, config, todo.seed, run.ids, lambda: make(kept))
    kept.remove()
    return made


def _facts(sae: SAE, history: Any) -> dict[str, Any]:
    """Give what is written down of every SAE that was trained: its form, and what a person should know of it."""
    return {"model": asdict(sae.config), "warnings": list(history.warnings)}


def _sae_settings(todo: Plan, run: Run) -> Any:
    """Give the settings of the SAE that follow from the recommender.

    A vector that was brought has no history in it of which a part could be dropped. A network that scores pair by pair
    is compared on random pairs, as in the paper, where scoring everything would take it most of the time.
    """
    settings = todo.sae
    if run.recommender.native_users is not None:
        settings = replace(settings, history_dropout=0.0)
    if run.recommender.scores_pairs and not settings.n_prediction_pairs:
        settings = replace(settings, n_prediction_pairs=N_PREDICTION_PAIRS)
    return settings


def _trained(
    todo: Plan, run: Run, unseen: np.ndarray, purpose: tuple[str, ...], progress: Progress, unfinished: Unfinished
) -> tuple[SAE, Any]:
    """Train an SAE on all viewers but some; `purpose` is what its seed is for."""
    assert todo.preset is not None
    recommender, parts = run.recommender, replace(run.split, unseen_users=unseen)
    brings_users = recommender.native_users is not None
    users = np.setdiff1d(np.arange(run.full.n_users), unseen) if brings_users else parts.seen_users
    histories, ordered = parts.history.histories(users), entry(recommender.name).ordered

    def embed_with_dropout(rng: np.random.Generator, rows: np.ndarray, dropout: float) -> np.ndarray:
        """Embed the histories of some rows again, each item left out with a probability; one item always stays.

        Where the order counts, the latest items are left out: the viewer as he was at an earlier time.
        """
        kept = []
        for row in rows:
            history = histories[row]
            if ordered:
                kept.append(history[: max(1, round((1 - dropout) * len(history)))])
                continue
            keep = rng.random(len(history)) >= dropout
            if len(history) and not keep.any():
                keep[rng.integers(len(history))] = True
            kept.append(history[keep])
        return recommender.embed(kept)

    trained: tuple[SAE, Any] = resolve("core.sae.trainer:train")(
        embed_users(recommender, parts.history, users),
        _sae_settings(todo, run),
        seed=derive_seed(todo.seed, *purpose),
        X_items=recommender.probe_items() if todo.preset.train_on_items else None,
        scorer=recommender.torch_scorer(),
        augment=embed_with_dropout,
        progress=progress,
        checkpoint=unfinished,
    )
    return trained


def _frame(history: Any) -> pd.DataFrame:
    """Give a training's history as a table: a row for every logged step, the terms of the loss as columns."""
    names = ("step", "loss", "l0", "dead_share")
    return pd.DataFrame({name: getattr(history, name) for name in names} | history.terms)


def _build_neurons(run: Run, twin: Run | None, progress: Progress) -> Run:
    """Read the neurons in one pass over the viewers; beside a twin, also which come again, in a sample of them."""

    def make() -> _Made:
        progress("neurons", 0, 1, {})
        recommender, sae, dataset = run.recommender, run.sae, run.dataset
        probes = recommender.probe_items()
        item_acts = sae.encode(probes)
        users = stream_stats(run.shards("viewers"), sae.config.d_sae, N_TOP_USERS)
        table = NeuronTable.build(item_acts, users, sae, dataset, recommender.embed_items())
        metrics = neuron_metrics(table, item_acts, probes, dataset, run.seed)
        if twin is not None:
            ids = np.arange(dataset.n_users)
            embeddings = embed_users(recommender, dataset, ids[sampled(ids, len(ids))])
            own, other = (Code(one.W_dec, one.encode(embeddings)) for one in (sae, twin.sae))
            found = stability(own, other, derive_seed(run.seed, "stability"))
            table = replace(table, frame=table.frame.assign(stability=found.scores))
            metrics |= {"stability": found.summary()}
        progress("neurons", 1, 1, {})
        arrays, tables = table.to_saved()
        return _Made(arrays, tables, metrics)

    config = {} if twin is None else {"twin": twin.ids["sae"]}
    return _stage(run.workspace, "neurons", run.meta("sae").config["preset"], config, None, run.ids, make)
