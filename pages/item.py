"""Item: which concepts one title stands for, and who likes it."""

import numpy as np
import pandas as pd
import streamlit as st

from core.analyses.relatives import scale_of
from core.data.groups import GROUPS
from core.errors import one_line
from core.neurons.contrast import FDR
from core.neurons.profile import Alike, Places, alike, places, shared
from core.neurons.separation import wilson
from core.runs import Run
from dashboard import cache, state
from dashboard.charts import DASH, Effect, Figure, effects_figure, number, percent, signed
from dashboard.charts_portrait import ShareRow, shares_figure
from dashboard.glossary import help_of
from dashboard.listing import named
from dashboard.navigation import concept_link, go, item_link, steer_edit
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
from dashboard.picking import show_pick
from dashboard.saving import show_notes, show_save
from dashboard.sidebar import current_run

QUESTION = "Which concepts does this title stand for, and who likes it?"
ITEM = "item"
TASTE, HISTORY = "taste", "history"
"""Ways to make groups of viewers (see `core.neurons.groups`) that need no attributes."""
N_NEIGHBOURS, N_SHARED, N_PUSHING, N_ATTRIBUTES, N_CONCEPTS = 6, 2, 5, 8, 8


def run() -> None:
    """Draw the page."""
    shown = current_run("Item", QUESTION)
    data = shown.dataset
    popular = data.items.ids[int(np.argmax(data.item_counts))] if data.n_items else ""
    chosen = state.page_choice(ITEM, data.items, popular)
    state.set_page_choice(ITEM, chosen)  # also when it is there: a link to the same page does not change the address
    item = data.items.index(chosen)
    found = places(cache.activations(shown.id, "items"), item)
    show_head(shown, item, found)
    show_strip(shown, item, found)
    left, right = st.columns([7, 5])
    with left, st.container(border=True, height="stretch"):
        show_concepts(shown, found)
    with right, st.container(border=True, height="stretch"):
        show_pushing(shown, item)
    show_neighbours(shown, item)
    show_audience(shown, item)
    with st.container(border=True):
        show_notes(shown, "items", chosen)


def show_head(shown: Run, item: int, found: Places) -> None:
    """Draw the title with its facts, the choice of another one, and the way on."""
    data = shown.dataset
    titles, row, year = data.titles(), data.item_table.iloc[item], cache.years(shown.id)[item]
    chips = [(year, True)] * bool(year) + [(str(g), False) for g in row["genres"][:6]]
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header(titles[item] or "Untitled", QUESTION, chips)
        with st.container(horizontal=True, width="content", gap="small"):
            show_save(shown, "items", [data.items.ids[item]])
            best = int(found.neurons[0]) if len(found.neurons) else None
            if st.button(
                "Steer with its strongest concept", type="primary", icon=":material/tune:", disabled=best is None
            ) and best is not None:  # fmt: skip
                go("steer", edit=steer_edit(best, float(shown.table.frame["strong_activation"].iloc[best])))
    years = cache.years(shown.id)

    def name_of(id_: str) -> str:
        i = data.items.index(id_)
        return f"{titles[i] or 'Untitled'}{f' ({years[i]})' if years[i] else ''}"

    show_pick("Title", ITEM, data.items.ids, data.items.ids[item], name_of, "titles")
    if len(row["tags"]):
        show_note(f"Tags: {', '.join(one_line(str(t), 40) for t in row['tags'][:12])}.")


def show_strip(shown: Run, item: int, found: Places) -> None:
    """Draw the numbers of a title."""
    data = shown.dataset
    counts, alive = data.item_counts, int(shown.table.frame["alive"].sum())
    n, rank = int(counts[item]), int((counts > counts[item]).sum()) + 1
    decile = min(10 * (rank - 1) // max(data.n_items, 1) + 1, 10)
    group = GROUPS[int(cache.groups(shown.id)[item])]
    place, note = DASH, "no concept fires"
    if len(found.ranks):
        best = int(np.argmin(found.ranks))
        place = f"{found.ranks[best]:,}"
        note = f"of {found.n_firing[best]:,} titles that fire #{found.neurons[best]}"
    show_metrics(
        [
            Metric("item_viewers", f"{n:,}", f"{percent(n / max(data.n_users, 1), 1)} of {data.n_users:,} viewers"),
            Metric("popularity_rank", f"{rank:,}", f"of {data.n_items:,} · decile {decile} · {group}"),
            Metric("item_active", f"{len(found.neurons):,}", f"of {alive:,} that ever fire"),
            Metric("best_place", place, note),
        ]
    )  # fmt: skip


def show_concepts(shown: Run, found: Places) -> None:
    """Draw the concepts that the title fires."""
    show_title("Its concepts", "seen alone; those that few titles fire more strongly first")
    if not len(found.neurons):
        show_note("No concept fires for this title seen alone: the SAE has nothing that it stands for.")
        return
    labels = shown.table.frame["label"]
    view = pd.DataFrame(
        {
            "Concept": [named(str(labels.iloc[j]), int(j)) for j in found.neurons],
            "#": found.neurons,
            "Activation": found.acts,
            "Of the highest": found.shares * 100,
            "Place": found.ranks,
            "Of": found.n_firing,
        }
    )
    config = st.column_config
    picked = show_rows(
        view, "item-concepts",
        {
            "Concept": config.TextColumn(width=215),
            "#": config.NumberColumn(width=45, format="%d"),
            "Activation": config.NumberColumn(width=75, format="%.3f"),
            "Of the highest": config.ProgressColumn(
                width=105, format="%.0f %%", min_value=0, max_value=100, help=help_of("share_of_highest")
            ),
            "Place": config.NumberColumn(width=55, format="%d", help=help_of("best_place")),
            "Of": config.NumberColumn(width=55, format="%d", help="Titles that fire the concept at all"),
        },
    )  # fmt: skip
    if picked is not None:
        go("concept", neuron=str(found.neurons[picked]))
    show_note("Select a concept to open it.")


def show_pushing(shown: Run, item: int) -> None:
    """Draw the concepts that raise and lower the title most."""
    show_title("What moves it", "change of its score for one strong activation of a concept")
    scorer, frame = shown.recommender.linear, shown.table.frame
    if scorer is None:
        show_note("This recommender's scores are not linear, so the effect depends on the viewer: see the Steer page.")
        return
    strong = np.nan_to_num(frame["strong_activation"].to_numpy())
    made = cache.analysis(shown.id, "relatives")
    scale = scale_of(shown) if made is None else float(made.metrics["scale"])
    effect = np.where(frame["alive"], scale * strong * (shown.sae.W_dec @ scorer.V[item]), 0.0)
    order = np.argsort(-effect, kind="stable")
    for name, chosen in (("Promotes it", order[:N_PUSHING]), ("Suppresses it", order[::-1][:N_PUSHING])):
        kept = [int(j) for j in chosen if (effect[j] > 0) == (name == "Promotes it") and effect[j]]
        show_note(name if kept else f"{name}: no concept.")
        with st.container(key=f"links-{name.split()[0].lower()}", gap="xsmall"):
            for j in kept:
                with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                    concept_link(j, str(frame["label"].iloc[j]))
                    show_note(signed(float(effect[j]), 3), width="content")


def show_neighbours(shown: Run, item: int) -> None:
    """Draw the titles most like it, by concepts and by the recommender's own vectors."""
    show_section("Neighbours", "by concept, and by the recommender's own vectors")
    codes, vectors = cache.codes(shown.id), cache.item_vectors(shown.id)
    by_code, by_vector = alike(codes, item, N_NEIGHBOURS), alike(vectors, item, N_NEIGHBOURS)
    both = set(by_code.items.tolist()) & set(by_vector.items.tolist())
    for column, name, note, found in zip(
        st.columns(2),
        ("By concept", "By the recommender"),
        ("cosine of what fires", "cosine of the vectors, with the concepts in common"),
        (by_code, by_vector),
        strict=True,
    ):
        with column, st.container(border=True, height="stretch"):
            show_title(name, note)
            with st.container(key=f"links-{name.split()[-1]}", gap="small"):
                show_alike(shown, item, found, both)
    show_note(f"{len(both)} of {N_NEIGHBOURS} are neighbours both ways, marked •.")


def show_alike(shown: Run, item: int, found: Alike, both: set[int]) -> None:
    """Draw links to neighbours with what they share."""
    if not len(found.items):
        show_note("Nothing is known of this title that others could share.")
    labels, titles, years = shown.table.frame["label"], shown.dataset.titles(), cache.years(shown.id)
    for other, cosine in zip(found.items, found.cosines, strict=True):
        common = [named(str(labels.iloc[j]), int(j)) for j in shared(cache.codes(shown.id), item, int(other), N_SHARED)]
        mark = "• " if int(other) in both else ""
        words = " and ".join(f"“{one_line(c, 50)}”" for c in common)
        with st.container(gap=None):
            item_link(shown.dataset.items.ids[other], f"{mark}{titles[other]}", years[other])
            show_note(f"{number(float(cosine))} · {f'shares {words}' if words else 'shares no concept'}")


def show_audience(shown: Run, item: int) -> None:
    """Draw who has it in the history, by attribute and by concept."""
    n = int(shown.dataset.item_counts[item])
    show_section("Who likes it", f"{n:,} viewers with it in the history")
    if not n:
        show_card(
            "Nobody has watched it",
            "It is in no history, so nothing is known of who likes it. What is above is what training made of it.",
        )
        return
    left, right = st.columns(2)
    with left:
        rows = attribute_rows(shown, item)
        if rows:
            show_figure(attributes_figure(rows, n))
        else:
            show_card("Nothing known of viewers", "The log came without attributes, and is too even for groups.")
    with right:
        show_contrast(shown, item)


def attribute_rows(shown: Run, item: int) -> list[ShareRow]:
    """Give the attributes of its viewers whose share is furthest from everybody's, in deviations of chance."""
    data = shown.dataset
    fans = np.zeros(data.n_users, bool)
    fans[data.user_index[data.item_index == item]] = True
    n = int(fans.sum())
    rows = []
    kinds = cache.group_kinds(shown.id, "viewers").values()
    known = [kind for kind in kinds if kind.key.startswith("by ")]
    for kind in [kind for kind in kinds if kind.key == TASTE] + (known or [k for k in kinds if k.key == HISTORY]):
        for value in kind.choices:
            mask = kind.group(value)
            base, having = float(mask.mean()), int((mask & fans).sum())
            spread = np.sqrt(base * (1 - base) / n)
            low, high = (float(end) for end in wilson(np.array(having), np.array(n)))
            row = ShareRow(f"{kind.title}: {kind.choices[value]}", f"n = {having:,}", having / n, low, high, base)
            rows.append((abs(row.share - base) / spread if spread else 0.0, row))
    rows.sort(key=lambda pair: -pair[0])
    return sorted((row for _, row in rows[:N_ATTRIBUTES]), key=lambda row: -(row.share / row.base if row.base else 0))


def attributes_figure(rows: list[ShareRow], n: int) -> Figure:
    """Show who its viewers are."""
    clear = [r for r in rows if not r.low <= r.base <= r.high]
    if clear:
        most = max(clear, key=lambda r: abs(r.share - r.base) / max(r.high - r.low, 1e-9))
        takeaway = (
            f"{percent(most.share)} [{percent(most.low)}, {percent(most.high)}] of its viewers have "
            f"“{one_line(most.name, 60)}”, against {percent(most.base)} of all."
        )
    else:
        takeaway = "None of these shares is clearly different from everybody's."
    return shares_figure(f"Its {n:,} viewers", takeaway, rows, "Share of its viewers")


def show_contrast(shown: Run, item: int) -> None:
    """Draw the concepts that its viewers have more, or less, than others."""
    found = cache.audience(shown.id, item)
    labels = shown.table.frame["label"]
    if found.contrast is None:
        show_card("Too few viewers", f"{found.n_compared} can be compared with the others; 2 at least are needed.")
        return
    top = found.contrast.largest(N_CONCEPTS)
    rows = [
        Effect(named(str(labels[r.neuron]), r.neuron), f"#{r.neuron}", r.d, r.low, r.high) for r in top.itertuples()
    ]
    called = found.contrast.n_called
    more = top[(top["q"] <= FDR) & (top["d"] > 0)]
    takeaway = f"{called:,} of {found.contrast.n_compared:,} concepts differ at a false discovery rate of 5 %"
    if len(more):
        takeaway += f"; “{one_line(rows[0].name, 60)}” is most of it, d {signed(rows[0].value)}"
    show_figure(
        effects_figure("Concepts of its viewers", f"{takeaway}.", rows, "Cohen's d", ("more than others", "less"))
    )
    drawn = f"{found.n_compared:,} of {found.n_viewers:,} viewers" if found.n_compared < found.n_viewers else "All"
    how = (
        "embedded as if they had not watched it, so that it does not speak for itself"
        if found.without_title
        else "with the vectors that came with the model, which know of the title"
    )
    show_note(f"{drawn}, {how}; against {found.contrast.n_b:,} others. Offline, logged data.")


if __name__ == "__main__":
    run()
