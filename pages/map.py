"""Map: all concepts, or all titles, in one picture."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from core.analyses.base import Made
from core.runs import Run
from core.store import Of
from dashboard import cache, state
from dashboard.atlas import Atlas, Colour
from dashboard.charts import DASH, measured, percent
from dashboard.charts_map import map_figure
from dashboard.glossary import help_of
from dashboard.navigation import go
from dashboard.panels import show_header, show_missing, show_note, show_section
from dashboard.saving import show_save
from dashboard.sidebar import current_run
from dashboard.theme import is_dark

QUESTION = "Which concepts, or which titles, are alike?"
WHAT, COLOUR = "map", "colour"
SHOWN = {"concepts": "Concepts", "titles": "Titles"}
SAVED: dict[str, Of] = {"concepts": "neurons", "titles": "items"}
PART = {"concepts": "neurons", "titles": "items"}
"""Of the metrics of the analysis."""
SIZE = {"concepts": "Fires in", "titles": "Seen by"}
MOST_ROWS = 1_000
"""Of the table under the map; a list that is saved has all."""


class Picked(NamedTuple):
    """What is selected on the map."""

    ids: frozenset[int]
    clicked: int | None
    """The point of a click, where it was one, and no box or lasso."""


def run() -> None:
    """Draw the page."""
    shown = current_run("Map", QUESTION)
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header("Map", QUESTION, [("simulated viewers", False)] * shown.dataset.simulated)
        save = st.container(width="content")
    made = cache.analysis(shown.id, "map")
    if made is None:
        show_missing(shown, "map")
        return
    what = state.page_choice(WHAT, list(SHOWN), "concepts")
    selected = picked(state.widget(f"map-{what}"))
    if selected.clicked is not None:  # before anything is drawn: a point was clicked to be opened
        leave_for(shown, what, selected.clicked)
    atlas, colour = show_choices(shown, what)
    if not len(atlas.ids):
        show_note("There is nothing to place: no concept ever fires.")
        return
    show_map(what, atlas, colour)
    show_note(takeaway(made, what))
    rows = np.array([i for i in atlas.order if int(atlas.ids[i]) in selected.ids], int)
    with save:
        show_save(shown, SAVED[what], text_ids(shown, what, atlas.ids[rows]), key="map")
    show_table(shown, what, atlas, colour, rows)


def picked(event: Any) -> Picked:
    """Read what the map's widget holds."""
    found = event.selection if event else {"points": [], "box": [], "lasso": []}
    ids = frozenset(int(np.ravel(point["customdata"])[0]) for point in found["points"] if "customdata" in point)
    clicked = min(ids) if ids and not found["box"] and not found["lasso"] else None
    return Picked(ids, clicked)


def show_choices(shown: Run, what: str) -> tuple[Atlas, Colour]:
    """Draw the choice of what is placed and of the colours, and give the points and the colour.

    Raises:
        ConfigError: The address names something that cannot be chosen.
    """
    atlas = cache.atlas(shown.id, "neurons" if what == "concepts" else "items")
    key = state.page_choice(COLOUR, list(atlas.colours), "genre")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.segmented_control(
            "Show", list(SHOWN), format_func=SHOWN.__getitem__, key=state.show_choice(WHAT, what), on_change=take_what,
            required=True,
        )  # fmt: skip
        st.selectbox(
            "Colour by", list(atlas.colours), format_func=lambda k: atlas.colours[k].title, width=240,
            key=state.show_choice(COLOUR, key), on_change=state.take_page_choice, args=(COLOUR, "genre"),
            help=atlas.colours[key].help,
        )  # fmt: skip
    return atlas, atlas.colours[key]


def take_what() -> None:
    """Take over what is placed; concepts and titles have other colours."""
    state.take_page_choice(WHAT, "concepts")
    state.set_page_choice(COLOUR, None)


def show_map(what: str, atlas: Atlas, colour: Colour) -> None:
    """Draw the map; what a box, a lasso or a click selects is read before it is drawn again, see `picked`."""
    with st.container(border=True, key="map"):
        st.plotly_chart(
            map_figure(atlas, colour, dark=is_dark(), unit="of viewers"), key=f"map-{what}", on_select="rerun",
            selection_mode=("points", "box", "lasso"),
            config={
                "displaylogo": False, "displayModeBar": True, "scrollZoom": True,
                "modeBarButtons": [["pan2d", "select2d", "lasso2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
            },
        )  # fmt: skip


def leave_for(shown: Run, what: str, id_: int) -> None:
    """Open the page of a concept or of a title."""
    if what == "concepts":
        go("concept", neuron=str(id_))
    else:
        go("item", item=shown.dataset.items.ids[id_])


def takeaway(made: Made, what: str) -> str:
    """Say how far to trust the map."""
    facts, k = made.metrics[PART[what]], made.metrics["neighbours"]
    kept = measured(facts, "overlap")
    sample = f"{facts['n']:,} of {facts['n_all']:,}, a sample of every popularity. " if what == "titles" else ""
    sample = sample if facts["n"] < facts["n_all"] else ""
    if not np.isfinite(kept):
        return f"{sample}Near means alike. Distances between far clusters carry no meaning."
    return (
        f"{sample}Near means alike, distances between far clusters carry no meaning. Of the {k} nearest {what} "
        f"{percent(kept)} are among the {k} nearest on the map ({facts['method']}; the two principal axes keep "
        f"{percent(measured(facts, 'pca_overlap'))}, chance {percent(measured(facts, 'chance'))}). "
        "Drag to move; the buttons at the top right choose a box or a lasso; click a point to open it."
    )


def text_ids(shown: Run, what: str, ids: np.ndarray) -> list[str]:
    """Give the ids as lists hold them."""
    return [str(i) for i in ids] if what == "concepts" else [shown.dataset.items.ids[i] for i in ids]


def show_table(shown: Run, what: str, atlas: Atlas, colour: Colour, selected: np.ndarray) -> None:
    """Draw the selected points, or all, as a table: what the map shows, for those who do not see it."""
    rows = selected if len(selected) else atlas.order
    n, cut = len(rows), rows[:MOST_ROWS]
    note = f"{n:,} selected" if len(selected) else f"all {n:,}; select some on the map to see those alone"
    show_section(SHOWN[what], note + (f"; the first {MOST_ROWS:,} are shown" if n > MOST_ROWS else ""))
    view = pd.DataFrame(
        {
            **({"#": atlas.ids[cut]} if what == "concepts" else {}),
            "Label" if what == "concepts" else "Title": [atlas.names[i] for i in cut],
            colour.title: [colour.said[i] for i in cut] if colour.kinds else colour.of[cut],
            SIZE[what]: atlas.size[cut] * 100,
            "Beside it on the map": [atlas.beside[i] for i in cut],
        }
    )
    if not colour.kinds and colour.percent:
        view[colour.title] *= 100
    config = st.column_config
    event: Any = st.dataframe(
        view, hide_index=True, height=min(38 + 35 * len(view), 528), on_select="rerun", key=f"map-table-{what}",
        selection_mode=["single-row", "single-cell"], placeholder=DASH,
        column_config={
            "#": config.NumberColumn(width=60, format="%d"),
            "Label": config.TextColumn(width="medium"),
            "Title": config.TextColumn(width="medium"),
            SIZE[what]: config.NumberColumn(help=help_of("density"), format="%.2f %%", width=90),
            colour.title: config.TextColumn(width=140, help=colour.help) if colour.kinds else config.NumberColumn(
                width=110, help=colour.help, format=f"%.{colour.digits}f{' %%' if colour.percent else ''}"
            ),
            "Beside it on the map": config.TextColumn(width="large"),
        },
    )  # fmt: skip
    picked = event.selection.rows or [row for row, _ in event.selection.cells]
    if picked:
        leave_for(shown, what, int(atlas.ids[cut[picked[0]]]))


if __name__ == "__main__":
    run()
