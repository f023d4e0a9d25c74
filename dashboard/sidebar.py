"""The side bar, the same on every page: which run, which viewer, and a link to what is shown."""

import numpy as np
import streamlit as st

from core.errors import ConfigError, DataError, MissingStageError
from core.pipeline import DEMO
from core.runs import Run, RunInfo
from dashboard import cache, state
from dashboard.components.copy_link import copy_link
from dashboard.panels import show_header, show_note
from dashboard.viewers import history_phrase

N_VIEWERS = 60
"""How many viewers the side bar offers; any other id can be typed."""


def current_run(title: str = "", question: str = "") -> Run:
    """Give the run that is chosen.

    Args:
        title: Of the page, drawn with its question where there is no run: a page says what it is for before it can.
        question: What the page answers.

    Raises:
        MissingStageError: Nothing was built yet.
        ConfigError: The address names a run that is not there.
    """
    known = cache.runs()
    if not known:
        if title:
            show_header(title, question)
        command = cache.build_command(None if cache.built_stages() else DEMO)
        missing = cache.missing_stage().replace("sae", "SAE")
        raise MissingStageError(f"Nothing to show yet: the {missing} was not built.", f"Run: {command}")
    return cache.run(state.run_id([info.id for info in known]))


def offered_viewers(run: Run) -> list[str]:
    """Give ids of viewers to choose from: the SAE never saw them, spread from short to long histories.

    The first one, the default, has a history of middle length.
    """
    lengths = np.diff(run.dataset.indptr)
    users = run.split.unseen_users if len(run.split.unseen_users) else np.flatnonzero(lengths)
    by_length = users[np.argsort(lengths[users], kind="stable")]
    chosen = by_length[np.unique(np.linspace(0, len(by_length) - 1, N_VIEWERS).astype(int))] if len(users) else users
    middle_first = np.roll(chosen, -(len(chosen) // 2))
    return [run.dataset.users.ids[u] for u in middle_first]


def current_viewer(run: Run) -> int:
    """Give the index of the viewer that is chosen.

    Raises:
        DataError: The address names a viewer that this dataset does not have.
    """
    return run.dataset.users.index(state.viewer(run.dataset.users, offered_viewers(run)[0]))


def chosen_viewer(run: Run) -> str:
    """Give the id that the side bar shows: of the viewer that is chosen, else the first that is offered."""
    first = offered_viewers(run)[0]
    try:
        return state.viewer(run.dataset.users, first)
    except DataError:
        return first


def show_sidebar() -> None:
    """Draw the choices; an empty workspace has none."""
    known = cache.runs()
    if not known:
        return
    with st.sidebar:
        if len(known) > 1:
            show_runs(known)
        run = current_run()
        show_note(name_of(next(info for info in known if info.id == run.id)))
        copy_link({state.RUN: run.id, state.VIEWER: show_viewers(run)})


def name_of(info: RunInfo) -> str:
    """Give the words that people know a run by."""
    return f"{info.dataset} · {info.recommender} · {info.preset} · seed {info.seed}"


def show_runs(known: list[RunInfo]) -> None:
    """Draw the choice among several runs; a run that the address names and that is not there leaves it empty.

    Runs that differ in a setting only have the same words: those show the end of their id too.
    """
    words = [name_of(info) for info in known]
    names = {
        info.id: word if words.count(word) == 1 else f"{word} · {info.id.rpartition('-')[2]}"
        for info, word in zip(known, words, strict=True)
    }
    try:
        chosen = state.run_id(list(names))
    except ConfigError:
        chosen = None
    key = state.show_choice(state.RUN, chosen)
    st.selectbox(
        "Run", list(names), index=None, key=key, format_func=lambda i: names.get(i, i), on_change=state.take_choice,
        args=(state.RUN,),
    )  # fmt: skip


def show_viewers(run: Run) -> str:
    """Draw the choice of the viewer and what is known of him, and give the id that is chosen."""
    users, offered = run.dataset.users, offered_viewers(run)
    try:
        chosen, note = state.viewer(users, offered[0]), ""
    except DataError as error:
        chosen, note = offered[0], f"{error.problem} {error.fix}"
    options = offered if chosen in offered else [chosen, *offered]
    st.selectbox(
        "Viewer", options, index=None, key=state.show_choice(state.VIEWER, None if note else chosen),
        on_change=state.take_choice, args=(state.VIEWER,), accept_new_options=True, placeholder="Choose or type an id",
        help="Whose list is steered. The choices are viewers that the SAE never saw; any other id can be typed.",
    )  # fmt: skip
    if note:
        show_note(note)
        return chosen
    user = users.index(chosen)
    kind = "simulated viewer" if run.dataset.simulated else "viewer"
    unseen = "never seen by the SAE" if user in run.split.unseen_users else "was in the SAE's training"
    show_note(f"{history_phrase(len(run.dataset.history(user)))} · {kind}, {unseen}")
    return chosen
