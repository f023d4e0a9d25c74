"""What is kept between reruns and sessions, keyed by the ids of artefacts, which never change."""

import os
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from core.data.groups import popularity_groups
from core.neurons.concepts import concepts_of
from core.pipeline import REFERENCES, BuildRequest
from core.runs import Run, RunInfo, list_runs, open_run
from core.workspace import STAGES, Workspace
from dashboard.components.steer import Catalogue, pack_items
from dashboard.listing import list_concepts

ROOT = Path(__file__).resolve().parents[1]


def workspace_path() -> Path:
    """Give the workspace that is shown: `STEERLENS_WORKSPACE`, else `data/workspaces/default` of the checkout."""
    return Path(os.environ.get("STEERLENS_WORKSPACE") or ROOT / "data" / "workspaces" / "default")


def runs() -> list[RunInfo]:
    """Give the finished runs, newest first; read anew each time, so that a new build shows up by itself."""
    return list_runs(Workspace(workspace_path()))


def run(run_id: str) -> Run:
    """Give a run, loaded once for all sessions.

    Raises:
        MissingStageError: There is none of this id.
    """
    return _run(str(workspace_path()), run_id)


def built_stages() -> list[str]:
    """Give the stages of which the workspace holds something, in their order."""
    workspace = Workspace(workspace_path())
    return [stage for stage in STAGES if workspace.artefacts(stage)]


def missing_stage() -> str:
    """Give the first stage that was not built."""
    built = built_stages()
    return next((stage for stage in STAGES if stage not in built), STAGES[-1])


def build_command(request: BuildRequest | None = None) -> str:
    """Give the command that builds into this workspace what is asked for, else what goes on with what is there."""
    workspace = Workspace(workspace_path())
    if request is None:
        named = {"dataset": "ml-1m", "recommender": "elsa"}
        for stage, known in named.items():
            names = [str(a.config.get("name", known)) for a in workspace.artefacts(stage)]
            named[stage] = next((n for n in names if n not in REFERENCES), known)
        request = BuildRequest(**named, preset="monosemantic" if named["recommender"] == "mf" else "knots")
    words = ["--dataset", request.dataset, "--recommender", request.recommender]
    words += ["--preset", request.preset] if request.preset else []
    words += [part for name, value in request.settings.items() for part in ("--set", f"{name}={value}")]
    return shlex.join(["python", "-m", "core", "build", *words, "--workspace", str(workspace.path)])


@st.cache_resource(max_entries=4, show_spinner="Opening the run")
def _run(path: str, run_id: str) -> Run:
    return open_run(path, run_id)


@st.cache_resource(max_entries=4, show_spinner="Sorting the concepts")
def concepts(run_id: str) -> pd.DataFrame:
    """Give the list of concepts of a run: see `dashboard.listing.list_concepts`. Not to be changed."""
    opened = run(run_id)
    return list_concepts(opened.table, opened.dataset.titles())


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
