"""Pieces that several pages draw: headers, cards, figures, strips of metrics."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd
import streamlit as st

from core.analyses.base import KNOWN, working_on
from core.runs import Run
from dashboard import cache, guard
from dashboard.charts import DASH, Figure
from dashboard.escape import command_html, for_html, for_markdown
from dashboard.glossary import TERMS


class Metric(NamedTuple):
    """A value with its name and what it is to be read against. All three may be untrusted text."""

    term: str
    """Key of `dashboard.glossary.TERMS`: gives the tooltip."""
    value: str
    note: str
    name: str = ""
    """Shown instead of the term's own name."""


def show_header(title: str, question: str, chips: Sequence[tuple[str, bool]] = ()) -> None:
    """Draw the head of a page: its title and the question that it answers, in one line.

    Args:
        title: Untrusted.
        question: Untrusted.
        chips: Small words above the title, each with whether it stands out.
    """
    marks = "".join(f"<span class='sl-chip{' strong' * strong}'>{for_html(text, 60)}</span>" for text, strong in chips)
    kicker = f"<div class='sl-kicker'>{marks}</div>" if marks else ""
    st.html(f"<header class='sl-head'>{kicker}<h1>{for_html(title)}</h1><p>{for_html(question, 300)}</p></header>")


def show_section(title: str, note: str = "") -> None:
    """Draw the heading of a part of a page."""
    small = f"<small>{for_html(note, 200)}</small>" if note else ""
    st.html(f"<h2 class='sl-section'>{for_html(title)}{small}</h2>")


def show_title(title: str, note: str = "") -> None:
    """Draw the heading of a card."""
    small = f"<small>{for_html(note, 200)}</small>" if note else ""
    st.html(f"<h3 class='sl-cardtitle'>{for_html(title)}{small}</h3>")


def show_note(text: str, width: Literal["stretch", "content"] = "stretch") -> None:
    """Draw a quiet sentence."""
    st.html(f"<p class='sl-note'>{for_html(text, 400)}</p>", width=width)


def show_card(title: str, text: str, command: str = "") -> None:
    """Draw a card that explains something, with a command to copy if there is one."""
    code = command_html(command)
    st.html(f"<section class='sl-card sl-info'><h2>{for_html(title)}</h2><p>{for_html(text, 500)}</p>{code}</section>")


def show_metrics(metrics: Sequence[Metric]) -> None:
    """Draw metrics side by side, of one height; they wrap where the page is narrow."""
    with st.container(horizontal=True, gap="small", key=f"strip-{metrics[0].term}"):
        for metric in metrics:
            term = TERMS[metric.term]
            st.metric(
                metric.name or term.name,
                for_markdown(metric.value),
                delta=for_markdown(metric.note, 60) or None,
                delta_color="off",
                delta_arrow="off",
                help=term.help,
                border=True,
                height="stretch",
            )


def show_figure(figure: Figure) -> None:
    """Draw a chart in a card."""
    with st.container(border=True, height="stretch"):
        st.html(figure.html)


def show_rows(view: pd.DataFrame, key: str, config: dict[str, Any]) -> int | None:
    """Draw a table of limited height whose rows can be selected, and give the selected one."""
    event = st.dataframe(
        view, hide_index=True, height=min(38 + 35 * len(view), 388), on_select="rerun", key=key, placeholder=DASH,
        selection_mode=["single-row", "single-cell"], column_config=config,
    )  # fmt: skip
    rows = event.selection.rows or [row for row, _ in event.selection.cells]
    return int(rows[0]) if rows else None


def show_missing(run: Run, name: str) -> None:
    """Draw what stands where an analysis of a run is not there yet: that it is being made, or how to make it."""
    if working_on(run) is None:
        command = cache.analyse_command(run.id, name)
        show_card(f"Not computed yet: {KNOWN[name].title}", "This makes it, beside the open page:", command)
    else:
        _wait_for(run.id, name)


@st.fragment(run_every=3)
def _wait_for(run_id: str, name: str) -> None:
    """Say that an analysis is on its way, look again every few seconds, and draw the page anew when it is there."""
    with guard.boundary():
        run = cache.run(run_id)
        if cache.analysis(run_id, name) is not None or working_on(run) is None:
            st.rerun()
        current = KNOWN[working_on(run) or name].title
        show_card(f"Being computed: {KNOWN[name].title}", f"The page shows it as soon as it is there. Now: {current}.")
