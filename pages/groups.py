"""Groups: what sets two groups of viewers, or of titles, apart."""

from typing import NamedTuple

import pandas as pd
import streamlit as st

from core.errors import ConfigError, one_line
from core.neurons.contrast import FDR, Contrast
from core.neurons.groups import LISTED, Kind, Of
from core.runs import Run
from dashboard import cache, state
from dashboard.briefs import show_groups_brief
from dashboard.charts import DASH, Effect, Figure, effects_figure, number, percent, signed
from dashboard.escape import for_csv, for_markdown
from dashboard.glossary import help_of
from dashboard.listing import named
from dashboard.navigation import go
from dashboard.panels import Metric, show_card, show_figure, show_header, show_metrics, show_note, show_section
from dashboard.sidebar import current_run

QUESTION = "What sets two groups apart?"
N_SHOWN = 12
MOST_CHARACTERS = 20_000
"""In a pasted list: it stands in the address."""
KINDS: dict[Of, str] = {"viewers": "Viewers", "items": "Titles"}
REST = "rest"
"""Group B by default: all who are not in group A."""


class Group(NamedTuple):
    """One chosen group."""

    by: str
    value: str
    name: str
    """Untrusted."""


def run() -> None:
    """Draw the page."""
    shown = current_run("Groups", QUESTION)
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header("Groups", QUESTION, [("simulated viewers", False)] * shown.dataset.simulated)
        actions = st.container(horizontal=True, width="content", gap="small")
    of, a, b = show_choices(shown)
    if not a.value or not b.value:
        show_card("A group is empty", "Paste the ids of its members, one a line, or choose another kind of group.")
        return
    found = cache.contrast(shown.id, of, (a.by, a.value), None if b.by == REST else (b.by, b.value))
    rows = listed(found, shown)
    with actions:
        show_groups_brief(shown, found, a.name, b.name, KINDS[of].lower())
        st.download_button(
            "Download as CSV", to_csv(rows, found, a, b), f"groups-{shown.id}.csv", "text/csv",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip
    show_result(shown, of, found, a, b)
    selected = show_table(rows)
    if selected is not None:
        go("concept", neuron=str(selected))


def show_choices(shown: Run) -> tuple[Of, Group, Group]:
    """Draw the choice of what is compared and of both groups, and give it.

    Raises:
        ConfigError: The address names something that cannot be chosen.
    """
    texts = state.contrast(shown.id)
    asked = texts.get(state.OF, "viewers")
    with st.container(border=True):
        st.segmented_control(
            "Compare", list(KINDS), format_func=lambda key: KINDS[key],
            key=state.show_contrast(state.OF, asked if asked in KINDS else None),
            on_change=state.take_contrast, args=(shown.id, state.OF),
        )  # fmt: skip
        of: Of | None = next((key for key in KINDS if key == asked), None)
        if of is None:
            raise ConfigError(
                f"There are no groups of {one_line(asked, 40)!r}: a comparison is of viewers or of items.",
                "Choose one of the two above.",
            )
        kinds = cache.group_kinds(shown.id, of)
        left, right = st.columns(2, gap="medium")
        with left:
            a = show_group(shown, "A", kinds, texts, next(iter(kinds)))
        with right:
            b = show_group(shown, "B", kinds, texts, REST)
    chosen = {state.OF: of, state.A_BY: a.by, state.A: a.value, state.B_BY: b.by, state.B: b.value}
    state.save_contrast(shown.id, {key: text for key, text in chosen.items() if text and text != REST})
    return of, a, b


def show_group(shown: Run, letter: str, kinds: dict[str, Kind], texts: dict[str, str], default: str) -> Group:
    """Draw the choice of one group, and give it.

    Raises:
        ConfigError: The address names a kind that this dataset does not have.
    """
    by_key, value_key = (state.A_BY, state.A) if letter == "A" else (state.B_BY, state.B)
    titles = {key: kind.title for key, kind in kinds.items()}
    if letter == "B":
        titles = {REST: "Everyone else" if texts.get(state.OF, "viewers") == "viewers" else "All other titles"} | titles
    by = texts.get(by_key, default)
    kind = kinds.get(by)
    st.selectbox(
        f"Group {letter}", list(titles), format_func=lambda key: one_line(titles[key], 60),
        key=state.show_contrast(by_key, by if by in titles else None), placeholder="Choose",
        on_change=state.take_contrast, args=(shown.id, by_key),
        help=for_markdown(kind.sentence, 300) if kind else None,
    )  # fmt: skip
    if by == REST and letter == "B":
        return Group(REST, REST, titles[REST].lower())
    if kind is None:
        raise ConfigError(
            f"There is no group {letter} by {one_line(by, 60)!r} in this dataset.", "Choose one of the list above."
        )
    if by == LISTED:
        value = texts.get(value_key, "")
        st.text_area(
            f"Members of {letter}", key=state.show_contrast(value_key, value), max_chars=MOST_CHARACTERS, height=110,
            on_change=state.take_contrast, args=(shown.id, value_key), placeholder="One a line",
        )  # fmt: skip
        return Group(by, value.strip(), kind.name(value))
    value = texts.get(value_key) or next(iter(kind.choices))
    st.selectbox(
        f"Which {letter}", list(kind.choices), format_func=lambda key: kind.choices[key], label_visibility="collapsed",
        key=state.show_contrast(value_key, value if value in kind.choices else None), placeholder="Choose",
        on_change=state.take_contrast, args=(shown.id, value_key),
    )  # fmt: skip
    return Group(by, value, kind.name(value))


def show_result(shown: Run, of: Of, found: Contrast, a: Group, b: Group) -> None:
    """Draw how large the groups are and the concepts that differ most."""
    what = KINDS[of].lower()
    n_all = shown.dataset.n_users if of == "viewers" else shown.dataset.n_items
    show_metrics(
        [
            Metric("group_a", f"{found.n_a:,}", f"{percent(found.n_a / n_all, 1)} of {what}"),
            Metric("group_b", f"{found.n_b:,}", f"{percent(found.n_b / n_all, 1)} of {what}"),
            Metric("different", f"{found.n_called:,} of {found.n_compared:,}", f"false discovery rate {percent(FDR)}"),
        ]
    )
    if not found.n_compared:
        show_card("Nothing to compare", "No concept fires differently within these groups: each is the same for all.")
        return
    show_figure(forest(found, shown.table.frame["label"], a, b))
    sentences = [
        f"{found.n_both:,} are in both groups, which makes the differences smaller." if found.n_both else "",
        "Fewer than 60 members in a group: the intervals are too narrow." if min(found.n_a, found.n_b) < 60 else "",
        "Offline, logged data, histories without what was held out." if of == "viewers" else "Each title seen alone.",
        "p by permutation of the groups, adjusted over all concepts; intervals one by one, not adjusted.",
    ]
    show_note(" ".join(filter(None, sentences)))


def forest(found: Contrast, labels: pd.Series, a: Group, b: Group) -> Figure:
    """Show the concepts that differ most, either way."""
    top = found.largest(N_SHOWN)
    rows = [
        Effect(named(str(labels[r.neuron]), r.neuron), f"#{r.neuron} · q {q_text(r.q)}", r.d, r.low, r.high)
        for r in top.itertuples()
    ]
    called = found.frame[found.frame["q"] <= FDR]
    if len(called):
        most = called.loc[called["d"].abs().idxmax()]
        label = named(str(labels[int(most["neuron"])]), int(most["neuron"]))
        takeaway = (
            f"Of the concepts that differ, “{one_line(label, 60)}” does most: d {signed(most['d'])} "
            f"[{signed(most['low'])}, {signed(most['high'])}], more in {'A' if most['d'] > 0 else 'B'}."
        )
    else:
        takeaway = (
            f"No concept differs at a false discovery rate of {percent(FDR)}: chance alone gives as much as this."
        )
    title = f"A: {one_line(a.name, 50)} · B: {one_line(b.name, 50)}"
    return effects_figure(title, takeaway, rows, "Cohen's d", ("more in A", "more in B"))


def q_text(q: float) -> str:
    """Write a q-value; never 0 for what is only small.

    >>> q_text(0.04), q_text(1e-9)
    ('0.040', '< 0.001')
    """
    return "< 0.001" if q < 0.001 else number(q, 3)


def listed(found: Contrast, shown: Run) -> pd.DataFrame:
    """Give the rows of the concepts that vary, with their labels, the largest difference first."""
    rows = found.largest(len(found.frame)).assign(
        label=lambda f: shown.table.frame["label"].reindex(f["neuron"]).values
    )
    return rows.sort_values("d", key=lambda d: -d.abs(), kind="stable").reset_index(drop=True)


def show_table(rows: pd.DataFrame) -> int | None:
    """Draw all concepts that vary, and give the neuron of the selected row."""
    if rows.empty:
        return None
    show_section("All concepts that vary", "select one to open it")
    view = pd.DataFrame(
        {
            "#": rows["neuron"],
            "Label": rows["label"],
            "d": rows["d"],
            "Low": rows["low"],
            "High": rows["high"],
            "q": rows["q"].map(q_text),
            "Mean in A": rows["mean_a"],
            "Mean in B": rows["mean_b"],
        }
    )
    config = st.column_config
    event = st.dataframe(
        view, hide_index=True, height=min(38 + 35 * len(view), 528), on_select="rerun",
        selection_mode=["single-row", "single-cell"], key="groups-table", placeholder=DASH,
        column_config={
            "#": config.NumberColumn(width=55, format="%d"),
            "Label": config.TextColumn(width="medium"),
            "d": config.NumberColumn(help=help_of("effect"), format="%.2f", width=70),
            "Low": config.NumberColumn(help="Lower end of the 95 % interval of d", format="%.2f", width=70),
            "High": config.NumberColumn(help="Upper end of the 95 % interval of d", format="%.2f", width=70),
            "q": config.TextColumn(help=help_of("q_value"), width=80),
            "Mean in A": config.NumberColumn(help="Mean activation, 0 where it does not fire", format="%.3f", width=95),
            "Mean in B": config.NumberColumn(help="Mean activation, 0 where it does not fire", format="%.3f", width=95),
        },
    )  # fmt: skip
    picked = event.selection.rows or [row for row, _ in event.selection.cells]
    return int(view["#"].iloc[picked[0]]) if picked else None


def to_csv(rows: pd.DataFrame, found: Contrast, a: Group, b: Group) -> bytes:
    """Write the rows as CSV (UTF-8 with its mark, for spreadsheets); no cell can run as a formula."""
    table = rows.assign(
        label=[for_csv(label) for label in rows["label"]],
        group_a=for_csv(a.name), group_b=for_csv(b.name), n_a=found.n_a, n_b=found.n_b, n_both=found.n_both,
    )  # fmt: skip
    return table.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")


if __name__ == "__main__":
    run()
