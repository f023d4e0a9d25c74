"""Concepts: find one among all."""

import pandas as pd
import streamlit as st

from dashboard import cache, state
from dashboard.charts import DASH, density_figure
from dashboard.escape import for_markdown
from dashboard.glossary import help_of
from dashboard.listing import LEVEL, STABILITY, nearest_labels, select, to_csv
from dashboard.navigation import go
from dashboard.panels import show_card, show_figure, show_header, show_note
from dashboard.sidebar import current_run

QUESTION = "Which concepts are there, and how well is the meaning of each one supported?"


def run() -> None:
    """Draw the page."""
    shown = current_run("Concepts", QUESTION)
    concepts = cache.concepts(shown.id)
    state.filters()
    alive = int(concepts["alive"].sum())
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header("Concepts", QUESTION)
        download = st.empty()
    chosen = show_filters(len(concepts) - alive, bool(shown.dataset.n_interactions))
    found = select(concepts, chosen)
    download.download_button(
        "Download as CSV", to_csv(found), f"concepts-{shown.id}.csv", "text/csv", icon=":material/download:",
        on_click="ignore", disabled=found.empty,
    )  # fmt: skip
    if found.empty:
        show_nothing(concepts, chosen)
        return
    show_note(f"{len(found):,} of {len(concepts):,} concepts, the most evidence first. Select one to open it.")
    selected = show_table(found)
    if selected is not None:
        go("concept", neuron=str(selected))
    show_figure(density_figure(found["density_users"].to_numpy(), shown.dataset.n_users))


def show_filters(n_dead: int, with_log: bool) -> state.Filters:
    """Draw the search and the filter chips, and give what is chosen; without a log no audience is known."""
    state.seed_filters()
    with st.container(border=True):
        st.text_input(
            "Search", key=state.SEARCH, bind="query-params", placeholder="A title, a label or #17", type="search",
            icon=":material/search:", max_chars=80,
        )  # fmt: skip
        with st.container(horizontal=True, gap="medium"):
            st.pills("About", state.KINDS, selection_mode="multi", key=state.KIND, bind="query-params")
            st.pills(
                "Purity at least, %",
                list(state.PURITY_STEPS),
                key=state.PURITY,
                bind="query-params",
                help=help_of("purity"),
            )
            if with_log:
                st.pills(
                    "Audience", state.AUDIENCES, selection_mode="multi", key=state.HEAD, bind="query-params",
                    help="Thirds of the concepts by head share. " + help_of("head_share"),
                )  # fmt: skip
            st.pills(
                "Fires in", list(state.BANDS), selection_mode="multi", key=state.BAND, bind="query-params",
                help="Rare: up to 1 % of the viewers. Common: up to 20 %. Widespread: more. " + help_of("density"),
            )  # fmt: skip
            if n_dead:
                st.toggle(
                    f"{n_dead:,} dead hidden · show", key=state.DEAD, bind="query-params", help=help_of("alive"),
                )  # fmt: skip
    return state.save_filters()


def show_nothing(concepts: pd.DataFrame, chosen: state.Filters) -> None:
    """Say that nothing was found, and offer ways on."""
    near = nearest_labels(concepts, chosen.text) if chosen.text else []
    show_card(
        "No concept fits",
        "These labels are spelt alike:" if near else "Nothing passes all of the filters together; take one away.",
    )
    with st.container(horizontal=True):
        for label in near:
            st.button(for_markdown(label, 60), key=f"near-{label}", on_click=state.clear_filters, args=(label,))
        st.button("Clear filters", on_click=state.clear_filters, icon=":material/filter_alt_off:", type="primary")


def show_table(found: pd.DataFrame) -> int | None:
    """Draw the list, and give the neuron of the selected row."""
    view = pd.DataFrame(
        {
            "#": found["neuron"],
            "Label": found["label"].where(found["alive"], "never fires"),
            "Source": found["label_source"],
            "Evidence": found["evidence"],
            "Best match": found["best_concept"],
            "Purity@20": found["purity_at_20"] * 100,
            "Lift": found["lift"],
            "Viewers": found["density_users"] * 100,
            "Head share": found["head_share"] * 100,
            **({"Stability": found[STABILITY]} if STABILITY in found else {}),
            **({"Level": found[LEVEL]} if LEVEL in found else {}),
            "Top items": found["top_titles"],
        }
    ).reset_index(drop=True)
    config = st.column_config
    event = st.dataframe(
        view,
        hide_index=True,
        height=min(38 + 35 * len(view), 528),
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
        key="concepts-table",
        placeholder=DASH,
        column_config={
            "#": config.NumberColumn(width=55, format="%d"),
            "Label": config.TextColumn(width="medium"),
            "Source": config.TextColumn(width=75),
            "Evidence": config.ProgressColumn(
                help=help_of("evidence"),
                format="%.0f",
                min_value=0.0,
                max_value=max(1.0, float(view["Evidence"].fillna(0.0).max())),
                width=110,
            ),
            "Best match": config.TextColumn(width=110),
            "Purity@20": config.NumberColumn(help=help_of("purity"), format="%.0f %%", width=85),
            "Lift": config.NumberColumn(help=help_of("lift"), format="%.1f ×", width=70),
            "Viewers": config.NumberColumn(help=help_of("density"), format="%.2f %%", width=80),
            "Head share": config.NumberColumn(help=help_of("head_share"), format="%.0f %%", width=90),
            "Stability": config.NumberColumn(help=help_of("stability"), format="%.2f", width=80),
            "Level": config.NumberColumn(help=help_of("level"), format="%d", width=65),
            "Top items": config.TextColumn(width="large"),
        },
    )
    rows = event.selection.rows or [row for row, _ in event.selection.cells]
    return int(view["#"].iloc[rows[0]]) if rows else None


if __name__ == "__main__":
    run()
