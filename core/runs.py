"""What was built: the runs of a workspace, opened as they are asked for, and a viewer's lists in them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from core.configs import from_dict
from core.data.dataset import Dataset
from core.data.split import Split
from core.errors import MissingStageError, near
from core.neurons.groups import Of
from core.neurons.shards import Shard, shards_of
from core.neurons.table import NeuronTable
from core.recommenders.base import Recommender, embed_users, rank, recommender_class
from core.report import assemble
from core.sae.model import SAE, SAEConfig
from core.steering.compare import compare
from core.steering.contributions import contributions
from core.steering.steering import Steering, steer
from core.workspace import STAGES, Meta, Workspace

EVALUATION, SOURCE = "evaluation", "source"
"""Keys of a recommender's config that are not its own: how it was measured, and where it was brought from."""


_CHUNK = 4096
"""Viewers that are embedded at a time."""


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
        self.label_revision = 0

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
        config = {k: v for k, v in meta.config.items() if k not in ("name", EVALUATION, SOURCE)}
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
    def built_table(self) -> NeuronTable:
        """What each neuron stands for, with the labels that the build gave."""
        id_ = self.meta("neurons").id
        return NeuronTable.from_saved(self.workspace.arrays("neurons", id_), self.workspace.tables("neurons", id_))

    @cached_property
    def table(self) -> NeuronTable:
        """What each neuron stands for; see `relabel`."""
        return self.built_table

    def relabel(self, labels: Mapping[int, tuple[str, str]], revision: int) -> None:
        """Show other labels than those of the build from now on.

        Args:
            labels: Neuron -> (label, its source); the others have the label of the build.
            revision: Which labels these are; `label_revision` holds it.
        """
        self.table = self.built_table.with_labels(labels) if labels else self.built_table
        self.label_revision = revision

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
        return embed_users(self.recommender, self.dataset, np.array([user]))

    def activations(self, of: Of) -> sparse.csc_matrix:
        """Give the (n, d_sae) activations of all viewers, or of all items, each seen alone; by columns."""
        if of == "items":
            return sparse.csc_matrix(self.sae.encode(self.recommender.probe_items()))
        users = np.arange(self.dataset.n_users)
        chunks = (users[start : start + _CHUNK] for start in range(0, len(users), _CHUNK))
        parts = [
            sparse.csr_matrix(self.sae.encode(embed_users(self.recommender, self.dataset, part))) for part in chunks
        ]
        return sparse.vstack(parts, format="csc")

    def shards(self, of: Of, rows: np.ndarray | None = None) -> Iterator[Shard]:
        """Give the activations of viewers, or of items each seen alone, some at a time, with their row numbers.

        Args:
            of: Which.
            rows: The row numbers, for example `core.neurons.shards.sampled`; all by default.
        """
        n = self.dataset.n_items if of == "items" else self.dataset.n_users
        probes = self.recommender.probe_items() if of == "items" else None
        embed = partial(embed_users, self.recommender, self.dataset) if probes is None else probes.__getitem__
        return shards_of(self.sae, embed, np.arange(n) if rows is None else rows)

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


def list_recommenders(workspace: Workspace, split_id: str) -> list[Meta]:
    """Give the recommenders that were trained or brought on one split, newest first: comparable with each other."""
    return [meta for meta in workspace.artefacts("recommender") if meta.parents.get("split") == split_id]


def newest_split(workspace: Workspace) -> Run:
    """Give the newest dataset that was split, with or without anything trained on it.

    Raises:
        MissingStageError: There is none.
    """
    splits = workspace.artefacts("split")
    if not splits:
        raise MissingStageError(
            f"Nothing to show yet in {workspace.path}: no dataset was built.",
            "Run: python -m core build --dataset ml-1m --recommender elsa --preset knots",
        )
    return Run(workspace, {**splits[0].parents, "split": splits[0].id})


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
            "Choose a run that is there, or the workspace in which it lies.",
        )
    if not runs:
        missing = next((s for s in STAGES if not workspace.artefacts(s)), "neurons")
        raise MissingStageError(
            f"Nothing to show yet in {workspace.path}: the stage {missing!r} was not built.",
            "Run: python -m core build --dataset ml-1m --recommender elsa --preset knots",
        )
    meta = workspace.meta("neurons", run_id or runs[0].id)
    return Run(workspace, {**meta.parents, "neurons": meta.id})


def open_recommender(path: Path | str, id_: str | None = None) -> Run:
    """Open a recommender by its id, or that of a run by the run's id; that of the newest run by default.

    Raises:
        MissingStageError: There is none, or none of this id.
    """
    workspace = Workspace(path)
    meta = next((m for m in workspace.artefacts("recommender") if m.id == id_), None)
    run = open_run(path, id_) if meta is None else Run(workspace, {**meta.parents, "recommender": meta.id})
    return Run(workspace, {stage: run.ids[stage] for stage in ("dataset", "split", "recommender")})


def steer_viewer(run: Run, user_id: str, steering: Steering, n: int) -> dict[str, Any]:
    """Give a viewer's three lists with the movements and why each item moved.

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
    parts = contributions(embedding, steering, run.sae, run.recommender)

    def row(item: int, position: int) -> dict[str, Any]:
        return {"rank": position, "item": dataset.items.ids[item], "title": dataset.item_table["title"].iloc[item]}

    rows = []
    for position, item in enumerate((i for i in steered if i >= 0), start=1):
        before = np.flatnonzero(original == item)
        change: dict[str, Any] = {"rank_before": int(before[0]) + 1 if before.size else None}
        pushes = zip(parts.neurons, parts.by_neuron[:, item], strict=True)
        change["contributions"] = {str(j): float(v) for j, v in pushes}
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
