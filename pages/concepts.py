"""Concepts: find one among all."""

from typing import Any

import pandas as pd
import streamlit as st

from core.errors import one_line
from core.runs import Run
from dashboard import cache, state
from dashboard.charts import DASH, density_figure
from dashboard.charts_concepts import brush_html
from dashboard.escape import for_markdown
from dashboard.glossary import help_of
from dashboard.guard import fragment
from dashboard.listing import (
    AUC,
    FIRES_FOR,
    LEVEL,
    SLOPE,
    STABILITY,
    STRENGTH,
    VERDICT,
    Found,
    available_sorts,
    nearest_labels,
    sorted_by,
    to_csv,
    to_parquet,
)
from dashboard.navigation import go
from dashboard.panels import show_card, show_figure, show_header, show_note
from dashboard.saving import show_save
from dashboard.sidebar import chosen_viewer, current_run

QUESTION = "Which concepts are there, and how well is the meaning of each one supported?"
MOST_ROWS = 1_000
"""Of the table; more take a browser longer than people read."""
N_NAMED = 3
"""Titles that a search found which are named above the table."""


def run() -> None:
    """Draw the page."""
    shown = current_run("Concepts", QUESTION)
    show_list(shown.id, chosen_viewer(shown))


@fragment
def show_list(run_id: str, viewer: str) -> None:
    """Draw the list with its filters: a filter draws only this part anew, not the frame around it."""
    shown, concepts = cache.run(run_id), cache.concepts(run_id)
    state.filters()
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header("Concepts", QUESTION)
        actions = st.container(horizontal=True, width="content", gap="small")
    chosen = show_filters(shown, concepts, viewer)
    found = cache.found_concepts(run_id, chosen, viewer)
    with actions:
        show_actions(shown, found)
    if found.rows.empty:
        show_nothing(shown, concepts, chosen, found)
        return
    show_note(said(concepts, chosen, found))
    selected = show_table(found.rows)
    if selected is not None:
        go("concept", neuron=str(selected))
    if len(found.rows) > MOST_ROWS:
        show_note(f"The first {MOST_ROWS:,} are listed here; the files and a saved list have all {len(found.rows):,}.")
    show_figure(density_figure(found.rows["density_users"].to_numpy(), shown.dataset.n_users))


def show_actions(shown: Run, found: Found) -> None:
    """Draw what takes the shown rows away: as files, which are written when they are asked for, or as a list."""
    rows = found.rows
    for name, write, kind in (("CSV", to_csv, "text/csv"), ("Parquet", to_parquet, "application/vnd.apache.parquet")):
        st.download_button(
            name, lambda write=write: write(rows), f"concepts-{shown.id}.{name.lower()}", kind,
            icon=":material/download:", on_click="ignore", disabled=rows.empty, key=f"download-{name}",
            help=f"The {len(rows):,} concepts that are listed, in their order",
        )  # fmt: skip
    show_save(shown, "neurons", [str(j) for j in rows["neuron"]], key="concepts")


def show_filters(shown: Run, concepts: pd.DataFrame, viewer: str) -> state.Filters:
    """Draw the search, the order and the filters, and give what is chosen; without a log no audience is known."""
    state.seed_filters()
    n_dead = int((~concepts["alive"]).sum())
    with st.container(border=True, key="filters"):
        left, right = st.columns([3, 1], gap="medium")
        with left:
            st.text_input(
                "Search", key=state.SEARCH, bind="query-params", placeholder="A title, a label, #17 or viewer:42",
                type="search", icon=":material/search:", max_chars=80,
                help="A title finds the concepts that fire for it; viewer: and an id those that fire in a viewer.",
            )  # fmt: skip
        with right:
            st.selectbox(
                "Sort", available_sorts(concepts), key=state.SORT, bind="query-params",
                help=f"Best first: {sorted_by(concepts)}.",
            )  # fmt: skip
        left, right = st.columns([3, 1], gap="medium")
        with left:
            show_chips(shown, concepts, viewer, n_dead)
        with right:
            show_density(concepts)
    return state.save_filters()


def show_chips(shown: Run, concepts: pd.DataFrame, viewer: str, n_dead: int) -> None:
    """Draw the filters that are chosen by a click."""
    with st.container(horizontal=True, gap="medium"):
        st.pills("About", state.KINDS, selection_mode="multi", key=state.KIND, bind="query-params")
        st.pills(
            "Purity at least, %", list(state.PURITY_STEPS), key=state.PURITY, bind="query-params",
            help=help_of("purity"),
        )  # fmt: skip
        if AUC in concepts:
            st.pills(
                "Held-out AUC at least",
                list(state.AUC_STEPS),
                key=state.AUC,
                bind="query-params",
                help=help_of("auc_low"),
            )
        if shown.dataset.n_interactions:
            st.pills(
                "Audience", state.AUDIENCES, selection_mode="multi", key=state.HEAD, bind="query-params",
                help="Thirds of the concepts by head share. " + help_of("head_share"),
            )  # fmt: skip
        st.pills(
            "Fires in", list(state.BANDS), selection_mode="multi", key=state.BAND, bind="query-params",
            help="Rare: up to 1 % of the viewers. Common: up to 20 %. Widespread: more. " + help_of("density"),
        )  # fmt: skip
        there = set(concepts["label_source"].unique())
        sources = [source for source in state.SOURCES if source in there]
        if len(sources) > 1:
            st.pills("Label by", sources, selection_mode="multi", key=state.SOURCE, bind="query-params")
    with st.container(horizontal=True, gap="medium"):
        st.toggle(
            f"Active in viewer {for_markdown(viewer, 24)}", key=state.ACTIVE, bind="query-params",
            help="The viewer of the side bar: only the concepts that fire in them, the strongest first.",
        )  # fmt: skip
        if n_dead:
            st.toggle(
                f"{n_dead:,} dead hidden · show", key=state.DEAD, bind="query-params", help=help_of("alive"),
            )  # fmt: skip


def show_density(concepts: pd.DataFrame) -> None:
    """Draw the histogram of densities with the range that filters by them."""
    key, span = state.show_density()
    bars = st.empty()
    chosen = st.select_slider(
        "Fires in, % of viewers", state.LADDER, span, key=key, label_visibility="collapsed", help=help_of("density")
    )
    density = concepts.loc[concepts["alive"], "density_users"].to_numpy()
    bars.html(brush_html(density, state.LADDER, (str(chosen[0]), str(chosen[1]))))


def said(concepts: pd.DataFrame, chosen: state.Filters, found: Found) -> str:
    """Say how many are shown, why these, and in which order."""
    parts = [f"{len(found.rows):,} of {len(concepts):,} concepts"]
    if found.viewer is not None:
        parts[0] += f" are active in viewer {one_line(found.viewer, 40)}"
    elif found.titles is not None:
        names = [f"“{one_line(name, 60)}”" for name in found.titles.found]
        more = f" and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else ""
        parts[0] += f" have “{one_line(chosen.text, 40)}” in their label or fire for {', '.join(names[:N_NAMED])}{more}"
    by = {"": f"the best first: {sorted_by(concepts)}"}.get(chosen.sort, f"sorted by {chosen.sort.lower()}")
    if not chosen.sort and (found.viewer is not None or found.titles is not None):
        by = "the strongest first, as a share of what each one reaches at most"
        by = by if found.viewer is not None else f"labels that match before titles, {by}"
    return f"{parts[0]}; {by}. Select one to open it."


def show_nothing(shown: Run, concepts: pd.DataFrame, chosen: state.Filters, found: Found) -> None:
    """Say that nothing was found, and offer ways on."""
    near = nearest_labels(concepts, chosen.text) if chosen.text and found.viewer is None else []
    users = shown.dataset.users
    if found.viewer is not None and found.viewer not in users:
        text = f"There is no viewer “{one_line(found.viewer, 40)}” among the {len(users):,} of this dataset."
        text += f" An id looks like this: {one_line(users.ids[0], 40)}." if len(users) else ""
    else:
        text = "These labels are spelt alike:" if near else "Nothing passes all of the filters together; take one away."
    show_card("No concept fits", text)
    with st.container(horizontal=True):
        for label in near:
            st.button(for_markdown(label, 60), key=f"near-{label}", on_click=state.clear_filters, args=(label,))
        st.button("Clear filters", on_click=state.clear_filters, icon=":material/filter_alt_off:", type="primary")


def show_table(found: pd.DataFrame) -> int | None:
    """Draw the first rows of the list, and give the neuron of the selected one."""
    found = found.head(MOST_ROWS)
    optional = {
        FIRES_FOR: ("Fires for", 1), STRENGTH: ("Strength", 100), AUC: ("Held-out AUC ≥", 1),
        SLOPE: ("Steer slope", 100), VERDICT: ("Verdict", 1), STABILITY: ("Stability", 1), LEVEL: ("Level", 1),
    }  # fmt: skip
    more = {
        title: found[name] * times if times > 1 else found[name] for name, (title, times) in optional.items()
        if name in found
    }  # fmt: skip
    strongest = {"Top items": found["top_titles"]}  # beside the label, where no search has something nearer
    view = pd.DataFrame(
        {
            "#": found["neuron"],
            "Label": found["label"].where(found["alive"], "never fires"),
            **({name: more[name] for name in ("Fires for", "Strength") if name in more} or strongest),
            **{name: more[name] for name in ("Held-out AUC ≥", "Steer slope") if name in more},
            "Best match": found["best_concept"],
            "Purity@20": found["purity_at_20"] * 100,
            "Lift": found["lift"],
            "Viewers": found["density_users"] * 100,
            **({"Verdict": more["Verdict"]} if "Verdict" in more else {}),
            "Head share": found["head_share"] * 100,
            **{name: more[name] for name in ("Stability", "Level") if name in more},
            "Evidence": found["evidence"],
            "Source": found["label_source"],
            **strongest,
        }
    ).reset_index(drop=True)
    config = st.column_config
    event: Any = st.dataframe(
        view,
        hide_index=True,
        height=min(38 + 35 * len(view), 528),
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
        key="concepts-table",
        placeholder=DASH,
        column_config={
            "#": config.NumberColumn(width=45, format="%d"),
            "Label": config.TextColumn(width=150),
            "Source": config.TextColumn(width=75),
            "Fires for": config.TextColumn(help="The title found that it fires for most", width="medium"),
            "Strength": config.ProgressColumn(
                help="Activation, as a share of the highest one that this concept has on any viewer or title",
                format="%.0f %%", min_value=0.0, max_value=100.0, width=110,
            ),
            "Held-out AUC ≥": config.ProgressColumn(
                help=help_of("auc_low"), format="%.2f", min_value=0.5, max_value=1.0, width=112
            ),
            "Steer slope": config.NumberColumn(help=help_of("slope"), format="%+.1f", width=90),
            "Evidence": config.ProgressColumn(
                help=help_of("evidence"),
                format="%.0f",
                min_value=0.0,
                max_value=max(1.0, float(view["Evidence"].fillna(0.0).max())),
                width=110,
            ),
            "Best match": config.TextColumn(width=82),
            "Purity@20": config.NumberColumn(help=help_of("purity"), format="%.0f %%", width=82),
            "Lift": config.NumberColumn(help=help_of("lift"), format="%.1f ×", width=62),
            "Viewers": config.NumberColumn(help=help_of("density"), format="%.2f %%", width=78),
            "Head share": config.NumberColumn(help=help_of("head_share"), format="%.0f %%", width=82),
            "Verdict": config.TextColumn(width=108),
            "Stability": config.NumberColumn(help=help_of("stability"), format="%.2f", width=80),
            "Level": config.NumberColumn(help=help_of("level"), format="%d", width=65),
            "Top items": config.TextColumn(width=155),
        },
    )  # fmt: skip
    rows = event.selection.rows or [row for row, _ in event.selection.cells]
    return int(view["#"].iloc[rows[0]]) if rows else None


if __name__ == "__main__":
    run()
