"""What is kept between reruns and sessions, keyed by the ids of artefacts, which never change."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import streamlit as st
from scipy import sparse

from core.analyses.base import Made, find, id_of
from core.analyses.relatives import lens_of
from core.audience import Audience, audience_of
from core.data.groups import popularity_groups
from core.errors import MissingStageError
from core.evaluation.ranking import Interval
from core.labels.bench import Bench
from core.labels.offers import Offer
from core.labels.offers import offers as offers_of
from core.labels.stored import read_labels
from core.neurons.concepts import concepts_of
from core.neurons.contrast import Contrast
from core.neurons.contrast import contrast as contrast_of
from core.neurons.examples import Examples, LeftOut, examples_of, facts_of, leave_one_out
from core.neurons.groups import SAVED, Kind, Of, kinds_of, saved_kind
from core.neurons.matching import Matching, Side, match_saes
from core.neurons.pair import firing
from core.neurons.relatives import Lens
from core.neurons.series import series_of
from core.pipeline import REFERENCES, BuildRequest
from core.recommenders.base import RECOMMENDERS, recommender_class
from core.recommenders.costs import Shape
from core.recommenders.costs import estimate as cost_of
from core.report import compare_viewers
from core.runs import SOURCE, Run, RunInfo, list_recommenders, list_runs, open_run
from core.runs import newest_split as find_newest_split
from core.steering.portrait import Split, split_scores
from core.store import Store, basis_of, open_store
from core.sweep.stored import StoredSweep, sweeps_of
from core.workspace import STAGES, Meta, Workspace
from dashboard.atlas import Atlas, concept_atlas, item_atlas
from dashboard.components.steer import Catalogue, pack_items
from dashboard.listing import (
    Firing,
    Found,
    firing_for,
    known_columns,
    list_concepts,
    relative,
    select,
    titles_with,
    viewer_of,
)
from dashboard.state import Filters

ROOT = Path(__file__).resolve().parents[1]


def workspace_path() -> Path:
    """Give the workspace that is shown: `STEERLENS_WORKSPACE`, else `data/workspaces/default` of the checkout."""
    return Path(os.environ.get("STEERLENS_WORKSPACE") or ROOT / "data" / "workspaces" / "default")


def runs() -> list[RunInfo]:
    """Give the finished runs, newest first; read anew each time, so that a new build shows up by itself."""
    return list_runs(Workspace(workspace_path()))


def run(run_id: str) -> Run:
    """Give a run, loaded once for all sessions.

    Its labels are those of people where they gave one: whoever reads `run(...).table` shows them. What is cached of
    labels has `label_revision` in its key.

    Raises:
        MissingStageError: There is none of this id.
    """
    opened = _run(str(workspace_path()), run_id)
    sae = basis_of(opened.ids, "neurons")
    revision = store().label_revision(sae)
    if revision != opened.label_revision:
        labels = store().labels(sae)
        opened.relabel({neuron: (label.text, label.source) for neuron, label in labels.items()}, revision)
    return opened


def label_revision(run_id: str) -> int:
    """Give a number that changes whenever a person labels a concept of this run's SAE."""
    return store().label_revision(basis_of(_run(str(workspace_path()), run_id).ids, "neurons"))


def store() -> Store:
    """Give what people wrote.

    Raises:
        UserError: Its database cannot be used.
    """
    return _store(str(workspace_path()), os.environ.get("DATABASE_URL"))


@st.cache_resource(max_entries=4, show_spinner=False)
def _store(path: str, _url: str | None) -> Store:
    return open_store(path)


def built_stages() -> list[str]:
    """Give the stages of which the workspace holds something, in their order."""
    workspace = Workspace(workspace_path())
    return [stage for stage in STAGES if workspace.artefacts(stage)]


def missing_stage() -> str:
    """Give the first stage that was not built."""
    built = built_stages()
    return next((stage for stage in STAGES if stage not in built), STAGES[-1])


def build_command(request: BuildRequest | None = None, verb: str = "build", more: Sequence[str] = ()) -> str:
    """Give the command that builds into this workspace what is asked for, else what goes on with what is there.

    Args:
        request: What is asked for.
        verb: `build` or `sweep`.
        more: Further words of the command.
    """
    workspace = Workspace(workspace_path())
    if request is None:
        brought = [a.config[SOURCE] for a in workspace.artefacts("recommender") if SOURCE in a.config]
        if brought:  # what was given to the import is not known: it is said as it was, with a preset
            words = [
                "python",
                "-m",
                "core",
                "import",
                str(brought[0].get("kind", "embeddings")),
                "...",
                "--preset",
                "knots",
            ]
            return shlex.join([*words, "--workspace", str(workspace.path)])
        named = {"dataset": "ml-1m", "recommender": "elsa"}
        for stage, known in named.items():
            names = [str(a.config.get("name", known)) for a in workspace.artefacts(stage)]
            named[stage] = next((n for n in names if n not in REFERENCES), known)
        request = BuildRequest(**named, preset="monosemantic" if named["recommender"] in ("mf", "ncf") else "knots")
    words = ["--dataset", request.dataset, "--recommender", request.recommender]
    words += ["--preset", request.preset] if request.preset else []
    words += ["--seed", str(request.seed)] if request.seed else []
    words += [part for name, value in request.settings.items() for part in ("--set", f"{name}={value}")]
    return shlex.join(["python", "-m", "core", verb, *words, *more, "--workspace", str(workspace.path)])


def analyse_command(run_id: str, name: str) -> str:
    """Give the command that makes an analysis of a run."""
    words = ["python", "-m", "core", "analyse", "--what", name, "--run", run_id]
    return shlex.join([*words, "--workspace", str(workspace_path())])


def sweeps(recommender_id: str) -> list[StoredSweep]:
    """Give the sweeps over a recommender, newest first; read again every time, since a sweep grows."""
    return sweeps_of(Workspace(workspace_path()), recommender_id)


def newest_split() -> Run:
    """Give the newest dataset that was split, with or without anything trained on it.

    Raises:
        MissingStageError: There is none.
    """
    return find_newest_split(Workspace(workspace_path()))


def recommenders(split_id: str) -> list[Meta]:
    """Give the recommenders on one split, newest first; read anew each time."""
    return list_recommenders(Workspace(workspace_path()), split_id)


def comparison(before: str, after: str, seed: int) -> Interval:
    """Give the relative change of nDCG@20 from one recommender to another, paired over viewers."""
    return _comparison(str(workspace_path()), before, after, seed)


@st.cache_data(max_entries=200, show_spinner=False)
def _comparison(path: str, before: str, after: str, seed: int) -> Interval:
    tables = [Workspace(path).tables("recommender", id_).get("viewers") for id_ in (before, after)]
    if tables[0] is None or tables[1] is None:
        return Interval(float("nan"), float("nan"), float("nan"))
    return compare_viewers(tables[0], tables[1], "ndcg_at_20", seed)


def estimate(name: str, dataset_id: str) -> float:
    """Give the estimated seconds of one core for training a recommender on a dataset; NaN where nothing is known."""
    return _estimate(str(workspace_path()), name, dataset_id)


@st.cache_data(max_entries=200, show_spinner=False)
def _estimate(path: str, name: str, dataset_id: str) -> float:
    if name not in RECOMMENDERS:
        return float("nan")
    counts = Workspace(path).meta("dataset", dataset_id).metrics
    shape = Shape(counts["n_users"], counts["n_items"], counts["n_interactions"])
    return cost_of(name, recommender_class(name).Config(), shape).seconds


@st.cache_resource(max_entries=4, show_spinner="Opening the run")
def _run(path: str, run_id: str) -> Run:
    return open_run(path, run_id)


def concepts(run_id: str) -> pd.DataFrame:
    """Give the list of concepts of a run: see `dashboard.listing.list_concepts`. Not to be changed."""
    analyses = tuple(name for name in ("associations", "responses", "audit") if analysis(run_id, name) is not None)
    return _concepts(run_id, label_revision(run_id), analyses)


@st.cache_resource(max_entries=4, show_spinner="Sorting the concepts")
def _concepts(run_id: str, revision: int, analyses: tuple[str, ...]) -> pd.DataFrame:  # noqa: ARG001
    opened = run(run_id)
    tables = {name: made.tables for name in analyses if (made := analysis(run_id, name)) is not None}
    known = known_columns(
        tables["associations"]["best"] if "associations" in tables else None,
        tables["responses"]["responses"]["slope"].to_numpy(float) if "responses" in tables else None,
        tables["audit"]["audit"] if "audit" in tables else None,
        len(opened.table.frame),
    )
    return list_concepts(opened.table, opened.dataset.titles(), known)


def found_concepts(run_id: str, filters: Filters, viewer: str) -> Found:
    """Give the concepts that pass the filters, in their order; none for a viewer who is not there. Not to be changed.

    Args:
        run_id: The run.
        filters: What is asked for.
        viewer: The one of the side bar, for `filters.active`; a search that names another one goes before.
    """
    users = run(run_id).dataset.users
    named = viewer_of(filters.text)
    asked = viewer if named is None and filters.active else named
    if asked is not None and asked not in users:
        return Found(concepts(run_id).head(0), None, asked)
    of_viewer = None if asked is None else _viewer_firing(run_id, users.index(asked))
    firing = _title_firing(run_id, filters.text) if named is None else None
    return Found(select(concepts(run_id), filters, firing, of_viewer), firing, asked)


@st.cache_resource(max_entries=50, show_spinner=False)
def _viewer_firing(run_id: str, user: int) -> Firing:
    opened = run(run_id)
    highest = opened.table.frame["max_activation"].to_numpy(float)
    return Firing(relative(opened.sae.encode(opened.embedding(user))[0], highest))


@st.cache_resource(max_entries=50, show_spinner=False)
def _title_firing(run_id: str, text: str) -> Firing | None:
    opened, (titles, folded) = run(run_id), _titles(run_id)
    rows = titles_with(text, folded)
    if not rows:
        return None
    acts = opened.sae.encode(_probes(run_id)[rows])
    return firing_for([titles[i] for i in rows], acts, opened.table.frame["max_activation"].to_numpy(float))


@st.cache_resource(max_entries=4, show_spinner=False)
def _titles(run_id: str) -> tuple[list[str], list[str]]:
    titles = run(run_id).dataset.titles()
    return titles, [title.casefold() for title in titles]


@st.cache_resource(max_entries=2, show_spinner=False)
def _probes(run_id: str) -> np.ndarray:
    return run(run_id).recommender.probe_items()


def atlas(run_id: str, of: Of | Literal["neurons"]) -> Atlas:
    """Give the points of a run's map: its concepts, or its items. Not to be changed.

    Raises:
        MissingStageError: The map was not made.
    """
    return _atlas(run_id, of, label_revision(run_id))


@st.cache_resource(max_entries=6, show_spinner=False)
def _atlas(run_id: str, of: Of | Literal["neurons"], revision: int) -> Atlas:  # noqa: ARG001
    opened, made = run(run_id), analysis(run_id, "map")
    if made is None:
        raise MissingStageError("The map of this run was not made yet.", f"Run: {analyse_command(run_id, 'map')}")
    if of == "neurons":
        return concept_atlas(made.arrays["neurons"], made.arrays["neuron_xy"], concepts(run_id), opened.table)
    n_concepts = np.diff(activations(run_id, "items").tocsr().indptr)
    return item_atlas(made.arrays["items"], made.arrays["item_xy"], opened.dataset, n_concepts)


@st.cache_resource(max_entries=4, show_spinner=False)
def groups(run_id: str) -> np.ndarray:
    """Give (n_items,) int8: 0 head, 1 mid, 2 tail, by interactions."""
    return popularity_groups(run(run_id).dataset.item_counts)


@st.cache_resource(max_entries=4, show_spinner=False)
def masks(run_id: str) -> dict[str, np.ndarray]:
    """Give the (n_items,) mask of each genre, tag and decade of the catalogue."""
    return {concept.name: concept.mask for concept in concepts_of(run(run_id).dataset)}


@st.cache_resource(max_entries=4, show_spinner=False)
def catalogue(run_id: str) -> Catalogue:
    """Give the texts of all items as the steering element takes them."""
    table = run(run_id).dataset.item_table
    years = [None if pd.isna(year) else int(year) for year in table["year"]]
    return pack_items(list(zip(map(str, table["title"]), years, table["genres"], strict=True)))


@st.cache_resource(max_entries=4, show_spinner=False)
def years(run_id: str) -> list[str]:
    """Give the year of each item as text, "" where it is not known."""
    return ["" if pd.isna(year) else str(int(year)) for year in run(run_id).dataset.item_table["year"]]


def group_kinds(run_id: str, of: Of) -> dict[str, Kind]:
    """Give the ways to make groups of viewers or of items, by key; the lists that people saved are one."""
    saved = {str(found.id): found.name for found in store().lists(run_id, of)}
    if not saved:
        return _group_kinds(run_id, of)
    data = run(run_id).dataset
    kind = saved_kind(saved, lambda key: store().ids(int(key)), data.users if of == "viewers" else data.items)
    return _group_kinds(run_id, of) | {kind.key: kind}


@st.cache_resource(max_entries=4, show_spinner=False)
def _group_kinds(run_id: str, of: Of) -> dict[str, Kind]:
    return {kind.key: kind for kind in kinds_of(run(run_id).dataset, of)}


@st.cache_resource(max_entries=2, show_spinner="Reading the activations")
def activations(run_id: str, of: Of) -> sparse.csc_matrix:
    """Give the (n, d_sae) activations of all viewers or of all items."""
    return run(run_id).activations(of)


@st.cache_resource(max_entries=4, show_spinner=False)
def titles(run_id: str) -> list[str]:
    """Give the titles of all items, untrusted; one without a title is called so."""
    return [title or "Untitled" for title in run(run_id).dataset.titles()]


def item_activations(run_id: str, neuron: int) -> np.ndarray:
    """Give the (n_items,) activations of a neuron for all items, each seen alone."""
    return np.asarray(activations(run_id, "items")[:, [neuron]].toarray()).ravel()


@st.cache_resource(max_entries=4, show_spinner=False)
def _likeness(run_id: str) -> tuple[np.ndarray, sparse.csr_matrix]:
    data = run(run_id).dataset
    return series_of(titles(run_id)), facts_of(concepts_of(data), data.n_items)


@st.cache_resource(max_entries=500, show_spinner=False)
def examples(run_id: str, neuron: int) -> Examples:
    """Give the items that show what a neuron answers to. Not to be changed."""
    opened, (series, facts) = run(run_id), _likeness(run_id)
    counts = opened.dataset.item_counts
    return examples_of(item_activations(run_id, neuron), series, facts, counts, opened.seed, neuron)


@st.cache_resource(max_entries=500, show_spinner="Leaving out one title after the other")
def left_out(run_id: str, neuron: int, user: int) -> LeftOut:
    """Give how much of a viewer's activation rests on which titles. Not to be changed."""
    opened = run(run_id)
    history = opened.dataset.history(user)
    return leave_one_out(opened.recommender, opened.sae, history, neuron, item_activations(run_id, neuron))


def lens(run_id: str, neuron: int) -> Lens | None:
    """Give the items that a neuron moves most, (1, n); None where that takes an analysis which was not made."""
    if run(run_id).recommender.linear is None and analysis(run_id, "relatives") is None:
        return None
    return _lens(run_id, neuron)


@st.cache_resource(max_entries=500, show_spinner=False)
def _lens(run_id: str, neuron: int) -> Lens | None:
    return lens_of(run(run_id), analysis(run_id, "relatives"), neuron)


@st.cache_resource(max_entries=2, show_spinner=False)
def codes(run_id: str) -> sparse.csr_matrix:
    """Give the (n_items, d_sae) activations of all items, by rows."""
    return sparse.csr_matrix(activations(run_id, "items"))


@st.cache_resource(max_entries=2, show_spinner=False)
def item_vectors(run_id: str) -> np.ndarray:
    """Give the (n_items, d_in) vectors that the recommender itself has of the items."""
    return run(run_id).recommender.embed_items()


@st.cache_resource(max_entries=50, show_spinner="Comparing its viewers with the others")
def audience(run_id: str, item: int) -> Audience:
    """Compare the viewers of a title with the others. Not to be changed."""
    return audience_of(run(run_id), item, activations(run_id, "viewers"))


@st.cache_resource(max_entries=50, show_spinner="Taking the scores apart")
def split(run_id: str, user: int, items: tuple[int, ...]) -> Split:
    """Split a viewer's scores of some items over the concepts that fire. Not to be changed."""
    opened = run(run_id)
    return split_scores(opened.embedding(user), opened.sae, opened.recommender, np.array(items, np.int64))


@st.cache_resource(max_entries=50, show_spinner="Comparing the audiences")
def pair_contrast(run_id: str, a: int, b: int) -> Contrast | None:
    """Compare the viewers in whom one concept fires and another does not with the reverse; None of too few viewers."""
    acts = activations(run_id, "viewers")
    first, second = firing(acts, a), firing(acts, b)
    groups = first & ~second, second & ~first
    return contrast_of(acts, *groups) if min(int(group.sum()) for group in groups) > 1 else None


@st.cache_resource(max_entries=8, show_spinner="Matching the concepts of both")
def matching(a: str, b: str) -> Matching:
    """Match the concepts of two runs on one dataset. Not to be changed."""
    first, second = run(a), run(b)
    sides = (Side(r.sae.W_dec, r.activations("viewers"), r.activations("items")) for r in (first, second))
    same = first.ids["recommender"] == second.ids["recommender"]
    return match_saes(*sides, same_recommender=same, seed=first.seed)


def contrast(run_id: str, of: Of, a: tuple[str, str], b: tuple[str, str] | None) -> Contrast:
    """Compare two groups, each a kind and a value; without `b`, with all who are not in `a`. Not to be changed.

    Raises:
        DataError: There is no such group, or it is too small.
    """
    changed = {str(saved.id): saved.changed for saved in store().lists(run_id, of)}
    stamps = tuple(changed.get(side[1], "") for side in (a, b) if side is not None and side[0] == SAVED)
    return _contrast(run_id, of, a, b, stamps)


@st.cache_resource(max_entries=50, show_spinner="Comparing the groups")
def _contrast(
    run_id: str,
    of: Of,
    a: tuple[str, str],
    b: tuple[str, str] | None,
    stamps: tuple[str, ...],  # noqa: ARG001
) -> Contrast:
    kinds = group_kinds(run_id, of)
    first = kinds[a[0]].group(a[1])
    second = ~first if b is None else kinds[b[0]].group(b[1])
    return contrast_of(activations(run_id, of), first, second)


def bench(run_id: str) -> Bench | None:
    """Give what labels of a run are tested with; None where the analysis "trust" was not made yet."""
    return None if analysis(run_id, "trust") is None else _bench(str(workspace_path()), run_id)


@st.cache_resource(max_entries=4, show_spinner=False)
def _bench(path: str, run_id: str) -> Bench | None:
    opened, made = _run(path, run_id), _analysis(path, run_id, "trust")
    if made is None:
        return None
    acts = activations(run_id, "items")
    return Bench(
        made.arrays, made.tables, opened.dataset, lambda j: np.asarray(acts[:, [j]].todense()).ravel(), opened.seed
    )


def offers(run_id: str) -> list[Offer]:
    """Give the labels of the last run of a language model beside those in use; none before "trust" was made."""
    opened, tested = run(run_id), bench(run_id)
    found = read_labels(opened.workspace, run_id)
    if found is None or tested is None:
        return []
    revision = store().label_revision(basis_of(opened.ids, "neurons"))
    return _offers(str(workspace_path()), run_id, revision, tuple(found.named.items()))


@st.cache_resource(max_entries=4, show_spinner=False)
def _offers(path: str, run_id: str, revision: int, named: tuple[tuple[int, str], ...]) -> list[Offer]:  # noqa: ARG001
    opened, tested = run(run_id), _bench(path, run_id)
    return [] if tested is None else offers_of(tested, opened.table.frame, dict(named), opened.seed)


def analysis(run_id: str, name: str) -> Made | None:
    """Give an analysis of a run; None where it was not made yet. Not to be changed."""
    opened = run(run_id)
    if not opened.workspace.has(name, id_of(opened, name)):
        return None
    return _analysis(str(workspace_path()), run_id, name)


@st.cache_resource(max_entries=20, show_spinner=False)
def _analysis(path: str, run_id: str, name: str) -> Made | None:
    return find(_run(path, run_id), name)
