"""Concept: what one neuron stands for, and what it does."""

from collections.abc import Callable

import streamlit as st

from core.runs import Run
from dashboard import cache, state
from dashboard.concept_parts import numbers
from dashboard.concept_parts.beside import show_beside
from dashboard.concept_parts.examples import show_examples
from dashboard.concept_parts.head import show_head, show_level, show_stability, show_strip
from dashboard.panels import show_card
from dashboard.sidebar import current_run

QUESTION = "What makes this concept fire, for whom, and what does moving it do?"
TAB = "tab"
TABS: dict[str, Callable[[Run, int], None]] = {
    "Examples": show_examples,
    "Pushes": numbers.show_pushes,
    "Distribution": numbers.show_distribution,
    "Who": numbers.show_who,
    "Dose-response": numbers.show_dose,
    "Neighbourhood": numbers.show_neighbourhood,
}
"""In the order of the page; what a tab holds is drawn when it is open."""


def run() -> None:
    """Draw the page."""
    shown = current_run("Concept", QUESTION)
    concepts = cache.concepts(shown.id)
    j = state.neuron(len(concepts), int(concepts["neuron"].iloc[0]))
    facts = shown.table.frame.iloc[j]
    show_head(shown, facts, QUESTION)
    if not facts["alive"]:
        show_card(
            "This neuron never fires",
            "No viewer and no item makes it active, so it stands for nothing and moving it would say nothing. "
            "Its number stays valid, so that links to it keep working.",
        )
        return
    show_strip(shown, facts)
    show_stability(shown, facts)
    show_level(shown, facts)
    left, right = st.columns([1, 2], gap="medium")
    with right:
        show_tabs(shown, j)
    with left:
        show_beside(shown, j)


def show_tabs(shown: Run, j: int) -> None:
    """Draw the tabs, and what is in the open one."""
    key = state.show_choice(TAB, state.page_choice(TAB, list(TABS), "Examples"))
    for tab, draw in zip(
        st.tabs(list(TABS), key=key, on_change=state.take_page_choice, args=(TAB, "Examples")),
        TABS.values(),
        strict=True,
    ):
        if tab.open:
            with tab:
                draw(shown, j)


if __name__ == "__main__":
    run()
