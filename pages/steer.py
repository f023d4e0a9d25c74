"""Steer: promote and suppress concepts for one viewer, and watch the list follow."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from core.errors import one_line
from core.runs import Run
from core.steering.compare import Move, compare
from core.steering.contributions import contributions
from core.steering.steering import Edit, Steering, deltas, steer
from dashboard import cache, state
from dashboard.charts import percent, table_html
from dashboard.components.steer import LIMIT, MAX_NEURONS, SteerAnswer, SteerInput, SteerNeuron, SteerTarget, show_steer
from dashboard.escape import for_csv, for_markdown
from dashboard.listing import named
from dashboard.navigation import concept_link
from dashboard.panels import show_header, show_note, show_section
from dashboard.sidebar import current_run, current_viewer
from dashboard.viewers import Viewer, build_viewer, history_phrase, starting_concepts

QUESTION = "What would this viewer be recommended if a concept counted more, or less?"
N = 20
N_TRIES = 4
"""Suggestions on an untouched page."""
STRENGTH = 0.5
"""Of a suggestion, in units of strong activations."""


def run() -> None:
    """Draw the page."""
    shown = current_run("Steer", QUESTION)
    steering = state.edits(shown.sae.config.d_sae, shown.id)
    show_header("Steer", QUESTION)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        viewer = choose_viewer(shown)
        show_builder(shown)
    if not steering.edits:
        steering = Steering(tuple(Edit(j, "add", 0.0) for j in starting_concepts(shown, viewer)))
    if len(steering.edits) > MAX_NEURONS:
        show_note(f"Only the first {MAX_NEURONS} concepts of the address are shown.")
    steering = as_added(viewer, steering)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        show_choices(shown, steering)
    released = show_element(shown, viewer, steering)
    state.keep_released(steering, released)
    show_after(shown, viewer, released)


def choose_viewer(shown: Run) -> Viewer:
    """Take the viewer that was built from titles, else the one of the side bar, and say who it is."""
    ids, titles = shown.dataset.items, shown.dataset.titles()
    watched = state.watched(ids)
    if watched:
        viewer, name = build_viewer(shown, watched), "A viewer built from titles"
    else:
        viewer = build_viewer(shown, None, current_viewer(shown))
        kind = "Simulated viewer" if shown.dataset.simulated else "Viewer"
        name = f"{kind} {shown.dataset.users.ids[viewer.user or 0]}"
    last = ", ".join(one_line(titles[i], 40) for i in viewer.history[-3:])
    latest = f", the latest {last}" if last else ""
    show_note(f"{name}: {history_phrase(len(viewer.history))}{latest}.", width="content")
    return viewer


def show_builder(shown: Run) -> None:
    """Draw the box in which a viewer is built out of a few titles."""
    ids, titles = shown.dataset.items, shown.dataset.titles()
    with st.popover("Build a viewer", icon=":material/person_add:"):
        st.multiselect(
            "Titles this viewer has watched", list(ids.ids), key=state.WATCHED, on_change=state.save_watched,
            max_selections=state.MAX_WATCHED, placeholder="Choose three or more", select_all=False,
            format_func=lambda i: one_line(titles[ids.index(i)], 80),
        )  # fmt: skip


def as_added(viewer: Viewer, steering: Steering) -> Steering:
    """Write every edit as what it adds to this viewer's activations: sliders add."""
    added = deltas(viewer.acts, steering)[0]
    return Steering(
        tuple(
            edit if edit.mode == "add" else Edit(edit.neuron, "add", float(value))
            for edit, value in zip(steering.edits[:MAX_NEURONS], added, strict=False)
        )
    )


def show_choices(shown: Run, steering: Steering) -> None:
    """Draw the box that adds a concept, and suggestions where nothing was moved yet."""
    concepts = cache.concepts(shown.id)
    alive = concepts[concepts["alive"]]
    labels = {j: named(label, j) for j, label in zip(alive["neuron"], alive["label"], strict=True)}
    taken = {e.neuron for e in steering.edits}
    st.selectbox(
        "Add a concept", [j for j in alive["neuron"] if j not in taken], index=None, key="add_concept",
        format_func=lambda j: f"{one_line(labels[j], 60)} #{j}", placeholder="Type a name, for example horror",
        on_change=state.add_edit, args=("add_concept", steering), disabled=len(taken) >= MAX_NEURONS, width=320,
        help=f"Up to {MAX_NEURONS} concepts at once.",
    )  # fmt: skip
    if any(e.value for e in steering.edits):
        return
    unit = shown.table.frame["strong_activation"]
    for place, edit in enumerate(steering.edits[:N_TRIES]):
        last = place == len(steering.edits) - 1
        value = (-STRENGTH if last else STRENGTH) * float(unit.iloc[edit.neuron])
        st.button(
            f"{'Less' if last else 'More'} {for_markdown(labels.get(edit.neuron, ''), 24)}", key=f"try-{place}",
            on_click=state.set_edits, args=(with_value(steering, edit.neuron, value),),
        )  # fmt: skip


def with_value(steering: Steering, neuron: int, value: float) -> Steering:
    """Give the same edits with one of them at another value."""
    return Steering(tuple(Edit(e.neuron, e.mode, value if e.neuron == neuron else e.value) for e in steering.edits))


def show_element(shown: Run, viewer: Viewer, steering: Steering) -> Steering:
    """Draw the live element, and give the edits that it holds."""
    frame, scorer = shown.table.frame, shown.recommender.linear
    neurons = [e.neuron for e in steering.edits]
    rows = [None] * len(neurons) if scorer is None else viewer.scale * (shown.sae.W_dec[neurons] @ scorer.V.T)
    given = SteerInput(
        items=cache.catalogue(shown.id),
        base_scores=viewer.scores,
        reconstructed=viewer.reconstructed[viewer.reconstructed >= 0],
        seen=viewer.history,
        neurons=[
            SteerNeuron(
                e.neuron, named(str(frame["label"].iloc[e.neuron]), e.neuron), unit_of(frame, e.neuron),
                float(viewer.acts[0, e.neuron]), row, e.value, target(shown, e.neuron),
            )
            for e, row in zip(steering.edits, rows, strict=True)
        ],
        n=N,
        version=state.edits_version(steering),
        recompute=None if scorer is not None else lambda values: answer(shown, viewer, neurons, values),
    )  # fmt: skip
    beyond = [e.neuron for e, x in zip(steering.edits, given.neurons, strict=True) if abs(e.value) > LIMIT * x.unit]
    if beyond:
        show_note(f"Beyond the slider's range and moved to its end: {', '.join(f'#{j}' for j in beyond)}.")
    out = show_steer("steer", given)
    if out.event is not None and out.event.kind == "remove":
        state.set_edits(Steering(tuple(e for e in steering.edits if e.neuron != out.event.neuron)))
        st.rerun()
    return as_released([j for j, _ in out.values], [value for _, value in out.values])


def as_released(neurons: Sequence[int], values: Sequence[float]) -> Steering:
    """Write the values of the sliders as edits.

    They are the shortest texts of the float32 that both sides compute with: a short link, and not another list.
    """
    return Steering(tuple(Edit(j, "add", float(str(np.float32(v)))) for j, v in zip(neurons, values, strict=True)))


def answer(shown: Run, viewer: Viewer, neurons: Sequence[int], values: Sequence[float]) -> SteerAnswer:
    """Compute what the released values make of the scores, where these are not linear."""
    moved = Steering(tuple(e for e in as_released(neurons, values).edits if e.value))
    parts = np.zeros((len(neurons), shown.dataset.n_items), np.float32)
    if moved.edits:
        found = contributions(viewer.embedding, moved, shown.sae, shown.recommender)
        parts[[neurons.index(j) for j in found.neurons]] = found.by_neuron
    return SteerAnswer(shown.recommender.score(steer(viewer.embedding, moved, shown.sae))[0], parts)


def unit_of(frame, neuron: int) -> float:
    """Give the activation that counts as 1 x strong; 1 for a neuron that never fires."""
    unit = float(frame["strong_activation"].iloc[neuron])
    return unit if np.isfinite(unit) and unit > 0 else 1.0


def target(shown: Run, neuron: int) -> SteerTarget | None:
    """Give the catalogue's concept that a slider is about."""
    name = str(shown.table.frame["best_concept"].iloc[neuron])
    mask = cache.masks(shown.id).get(name)
    return None if mask is None else SteerTarget(name, mask)


def show_after(shown: Run, viewer: Viewer, steering: Steering) -> None:
    """Draw what the server makes of the released values: the list as a table, and what the edits are about."""
    lists = shown.three_lists(viewer.embedding, [viewer.history], steering, N)
    moves = compare(lists.original[0], lists.steered[0], shown.dataset)
    rows = shown.dataset.item_table
    with st.expander("The steered list as a table, recomputed by the server"):
        body = []
        for move in moves.moves:
            facts = rows.iloc[move.item]
            was = "new" if move.rank_before is None else str(move.rank_before)
            body.append([str(move.rank_after), was, str(facts["title"]), ", ".join(facts["genres"])])
        st.html(table_html(["Rank", "Was", "Title", "Genres"], body, numeric=(0, 1)))
        st.download_button(
            "Download as CSV", list_csv(shown, moves.moves), "steered-list.csv", "text/csv", on_click="ignore",
            icon=":material/download:",
        )  # fmt: skip
        gone = ", ".join(str(rows["title"].iloc[m.item]) for m in moves.departed)
        show_note(f"{percent(moves.overlap)} of the list stays. " + (f"Left the list: {gone}." if gone else ""))
    if steering.edits:
        show_section("The concepts in use")
        with st.container(horizontal=True, gap="small"):
            for edit in steering.edits:
                concept_link(edit.neuron, str(shown.table.frame["label"].iloc[edit.neuron]))
    show_note("Offline: what the recommender would list, not what viewers would do.")


def list_csv(shown: Run, moves: list[Move]) -> str:
    """Write a list with its movements; texts are made safe for a spreadsheet."""
    rows = shown.dataset.item_table.iloc[[m.item for m in moves]]
    table = pd.DataFrame(
        {
            "rank": [m.rank_after for m in moves],
            "rank_before": pd.array([m.rank_before for m in moves], dtype="Int64"),
            "item_id": [for_csv(shown.dataset.items.ids[m.item]) for m in moves],
            "title": [for_csv(t) for t in rows["title"]],
            "genres": [for_csv("|".join(g)) for g in rows["genres"]],
        }
    )
    return table.to_csv(index=False)


if __name__ == "__main__":
    run()
