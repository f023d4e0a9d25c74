"""Viewer: why one viewer gets the list that they get."""

import numpy as np
import pandas as pd
import streamlit as st

from core.errors import one_line
from core.runs import Run, ThreeLists
from core.seeding import generator
from core.steering.compare import compare
from core.steering.portrait import Split, active_concepts
from core.steering.steering import Steering
from dashboard import cache, state
from dashboard.charts import number, percent, signed
from dashboard.charts_portrait import Column, Part, lists_html, waterfall_figure
from dashboard.glossary import help_of
from dashboard.listing import named
from dashboard.navigation import go, item_link, viewer_name
from dashboard.panels import (
    Metric,
    show_card,
    show_figure,
    show_header,
    show_metrics,
    show_note,
    show_rows,
    show_section,
    show_title,
)
from dashboard.saving import show_notes, show_save
from dashboard.sidebar import current_run, current_viewer

QUESTION = "Why does this viewer get this list?"
N, N_PARTS, N_OTHERS = 20, 8, 1000
WHY = "why"
"""The title of the list that is taken apart, in the address."""


def run() -> None:
    """Draw the page."""
    shown = current_run("Viewer", QUESTION)
    user = current_viewer(shown)
    steering = state.edits(shown.sae.config.d_sae, shown.id)
    embedding, history = shown.embedding(user), shown.dataset.history(user)
    lists = shown.three_lists(embedding, [history], steering, N)
    original = lists.original[0][lists.original[0] >= 0].astype(np.int64)
    show_head(shown, user)
    if not len(original):
        show_card("No list", "Every title of the catalogue is in this viewer's history, so nothing is left to list.")
        return
    acts = shown.sae.encode(embedding)[0]
    show_strip(shown, embedding, acts, lists.original[0], lists.reconstructed[0], len(history))
    left, right = st.columns([5, 7])
    with left, st.container(border=True, height="stretch"):
        show_history(shown, history)
    with right, st.container(border=True, height="stretch"):
        show_active(shown, acts)
    show_section("What pushes the list", "the scores, taken apart")
    rng = generator(shown.seed, "viewer page", str(user))
    unlisted = np.setdiff1d(np.arange(shown.dataset.n_items), np.concatenate([original, history]))
    others = np.sort(rng.choice(unlisted, min(len(unlisted), N_OTHERS), replace=False))
    split = cache.split(shown.id, user, tuple(np.concatenate([original, others]).tolist()))
    left, right = st.columns(2)
    with left:
        show_pushes(shown, split, len(original))
    with right:
        show_title_parts(shown, split, original)
    if not split.exact:
        show_note(
            "This recommender's scores are not linear: what a concept adds depends on the others. Each part is its "
            "Shapley value, the mean over all orders in which the parts can join; they sum to the score."
        )
    show_lists(shown, steering, lists)
    with st.container(border=True):
        show_notes(shown, "viewers", shown.dataset.users.ids[user])


def show_head(shown: Run, user: int) -> None:
    """Draw who it is and the way on."""
    id_ = shown.dataset.users.ids[user]
    unseen = "never seen by the SAE" if user in shown.split.unseen_users else "was in the SAE's training"
    chips = [("simulated viewer", False)] * shown.dataset.simulated + [(unseen, False)]
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header(viewer_name(id_), QUESTION, chips + attributes(shown, user))
        with st.container(horizontal=True, width="content", gap="small"):
            show_save(shown, "viewers", [id_])
            if st.button("Steer this viewer", type="primary", icon=":material/tune:"):
                go("steer")


def attributes(shown: Run, user: int) -> list[tuple[str, bool]]:
    """Give what is known of a viewer beside the log."""
    if shown.dataset.user_table is None:
        return []
    row = shown.dataset.user_table.iloc[user]
    return [(f"{name}: {value}", False) for name, value in list(row.items())[:6] if not pd.isna(value)]


def show_strip(
    shown: Run, embedding: np.ndarray, acts: np.ndarray, original: np.ndarray, rebuilt: np.ndarray, n_history: int
) -> None:
    """Draw the numbers of a viewer."""
    x_hat = shown.sae.reconstruct(embedding)
    length = float(np.linalg.norm(embedding) * np.linalg.norm(x_hat))
    cosine = float((embedding * x_hat).sum() / length) if length else float("nan")
    listed = original[original >= 0]
    kept = int(np.isin(listed, rebuilt).sum())
    alive = int(shown.table.frame["alive"].sum())
    middle = float(np.median(np.diff(shown.dataset.indptr))) if shown.dataset.n_users else float("nan")
    show_metrics(
        [
            Metric("viewer_history", f"{n_history:,}", f"median viewer: {number(middle, 0)}"),
            Metric("active", f"{int((acts > 0).sum()):,}", f"of {alive:,} that ever fire"),
            Metric("cosine", number(cosine, 3), "1 is exact", "Direction kept"),
            Metric("kept", f"{kept} of {len(listed)}", "titles of the list stay"),
        ]
    )


def show_history(shown: Run, history: np.ndarray) -> None:
    """Draw what the viewer watched, the latest first."""
    ordered = shown.dataset.timestamps is not None
    show_title(
        "History", f"{len(history):,} titles, {'newest first' if ordered else 'last of the log first: it has no times'}"
    )
    if not len(history):
        show_note("Nothing is in this viewer's history: the list is the one of a viewer of whom nothing is known.")
        return
    items, rows = history[::-1], shown.dataset.item_table.iloc[history[::-1]]
    years = cache.years(shown.id)
    view = pd.DataFrame(
        {
            "Title": [str(t) for t in rows["title"]],
            "Year": [years[i] for i in items],
            "Genres": [", ".join(g) for g in rows["genres"]],
        }
    )
    picked = show_rows(
        view,
        "viewer-history",
        {"Title": st.column_config.TextColumn(width=180), "Year": st.column_config.TextColumn(width=55)},
    )
    if picked is not None:
        go("item", item=shown.dataset.items.ids[int(items[picked])])
    show_note("Without the held-out titles, which the recommender has to find. Select a title to open it.")


def show_active(shown: Run, acts: np.ndarray) -> None:
    """Draw the concepts that fire in the viewer."""
    found = active_concepts(acts, cache.activations(shown.id, "viewers"))
    show_title("Active concepts", f"{len(found.neurons):,}, what is most special about this viewer first")
    if not len(found.neurons):
        show_note("No concept fires in this viewer: the SAE sees nothing in this history that it has a concept for.")
        return
    labels = shown.table.frame["label"]
    view = pd.DataFrame(
        {
            "Concept": [named(str(labels.iloc[j]), int(j)) for j in found.neurons],
            "#": found.neurons,
            "Activation": found.acts,
            "Percentile": found.percentiles * 100,
            "Base rate": found.base_rates * 100,
        }
    )
    config = st.column_config
    picked = show_rows(
        view, "viewer-concepts",
        {
            "Concept": config.TextColumn(width=210),
            "#": config.NumberColumn(width=50, format="%d"),
            "Activation": config.NumberColumn(width=75, format="%.3f"),
            "Percentile": config.ProgressColumn(
                width=100, format="%.0f", min_value=0, max_value=100, help=help_of("percentile")
            ),
            "Base rate": config.NumberColumn(width=80, format="%.1f %%", help=help_of("density")),
        },
    )  # fmt: skip
    if picked is not None:
        go("concept", neuron=str(found.neurons[picked]))
    show_note("Select a concept to open it.")


def show_pushes(shown: Run, split: Split, n: int) -> None:
    """Draw what sets the list apart from the other titles."""
    if len(split.base) == n:
        show_card("Every title is listed", "There are no others that the list could be read against.")
        return
    inside = [
        part[..., :n].mean(axis=-1) - part[..., n:].mean(axis=-1)
        for part in (split.base, split.by_neuron, split.others, split.rest)
    ]
    parts = parts_of(shown, split, *inside)
    total = sum(p.value for p in parts)
    named_parts = [p for p in parts if p.note.startswith("#")]
    best = max(named_parts, key=lambda p: p.value, default=None)
    lead = f" “{one_line(best.name, 60)}” gives {number(best.value)} of it." if best and best.value > 0 else ""
    show_figure(
        waterfall_figure(
            f"The {n} listed titles against the others",
            f"On average a listed title scores {number(total)} more than the others, {number(float(inside[0]))} of it "
            f"without any concept.{lead} The SAE cannot explain {signed(float(inside[3]))}.",
            parts, "Difference of the means", "Score",
        )
    )  # fmt: skip


def show_title_parts(shown: Run, split: Split, original: np.ndarray) -> None:
    """Draw one title of the list, taken apart."""
    ids, titles = shown.dataset.items.ids, shown.dataset.titles()
    known = [ids[i] for i in original]
    words = {id_: f"{n}. {one_line(titles[i], 80)}" for n, (id_, i) in enumerate(zip(known, original, strict=True), 1)}
    asked = state.page_choice(WHY, shown.dataset.items, known[0])
    chosen = asked if asked in known else known[0]
    place = known.index(chosen)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "A title of the list", known, key=state.show_choice(WHY, chosen), on_change=state.take_page_choice,
            args=(WHY,), format_func=lambda id_: words[id_],
        )  # fmt: skip
        item_link(chosen, "Open this title")
    if asked != chosen:
        other = titles[shown.dataset.items.index(asked)]
        show_note(f"“{one_line(other, 60)}” is not in the list of this viewer: the first title is shown.")
    rest = float(split.rest[place])
    parts = parts_of(
        shown, split, float(split.base[place]), split.by_neuron[:, place], float(split.others[place]), rest
    )
    raises = [f"“{one_line(p.name, 40)}”" for p in parts if p.note.startswith("#") and p.value > 0][:2]
    why = f", mostly by {' and '.join(raises)}" if raises else ""
    show_figure(
        waterfall_figure(
            words[chosen],
            f"It scores {number(float(split.score[place]))}{why}. The SAE cannot explain {signed(rest)}.",
            parts, "Score", "Score",
        )
    )  # fmt: skip


def parts_of(shown: Run, split: Split, base: float, by_neuron: np.ndarray, others: float, rest: float) -> list[Part]:
    """Give the parts of a sum: the concepts that count most by name, all others together."""
    labels = shown.table.frame["label"]
    order = np.argsort(-np.abs(by_neuron), kind="stable")[:N_PARTS]
    own = sorted(order.tolist(), key=lambda row: -by_neuron[row])
    left = split.n_others + len(by_neuron) - len(own)
    remaining = float(by_neuron.sum() - by_neuron[own].sum() + others)
    parts = [Part("Without any concept", "the same for everybody", float(base), True)]
    parts += [
        Part(named(str(labels.iloc[j]), int(j)), f"#{j}", float(by_neuron[row]))
        for row, j in ((row, split.neurons[row]) for row in own)
    ]
    if left:
        parts.append(Part("Other concepts", f"{left:,} together", remaining))
    return [*parts, Part("Not explained", "what the SAE leaves", float(rest), True)]


def show_lists(shown: Run, steering: Steering, lists: ThreeLists) -> None:
    """Draw the lists beside each other."""
    show_section("The lists", f"top {N}, titles of the history left out")
    original, rebuilt, steered = (found[0] for found in lists)
    same = compare(original, original, shown.dataset)
    tax = compare(original, rebuilt, shown.dataset)
    columns = [
        Column("Original", "The recommender's own list.", same.moves, False),
        Column("Reconstructed", f"What the SAE costs: {percent(tax.overlap)} of the titles stay.", tax.moves, True),
    ]
    found = [tax]
    if steering.edits:
        moved = compare(original, steered, shown.dataset)
        n = len(steering.edits)
        note = f"{n} edit{'s' * (n != 1)} of the Steer page: {percent(moved.overlap)} of the titles stay."
        columns.append(Column("With the edits", note, moved.moves, True))
        found.append(moved)
    titles = shown.dataset.titles()
    with st.container(border=True):
        st.html(lists_html(columns, titles, cache.years(shown.id)))
        for column, comparison in zip(columns[1:], found, strict=True):
            if comparison.departed:
                gone = ", ".join(one_line(titles[m.item], 50) for m in comparison.departed)
                show_note(f"{column.name}, left the list: {gone}.")
    show_note("Offline, logged data: what the recommender would list, not what the viewer would watch.")


if __name__ == "__main__":
    run()
