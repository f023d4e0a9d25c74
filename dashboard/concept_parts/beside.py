"""What stands beside a concept: its similar, opposite and accompanying ones, its labels and how far to trust them."""

import streamlit as st

from core.labels.keywords import MIXED, UNCLEAR
from core.neurons.relatives import Relatives
from core.runs import Run
from core.store import basis_of
from dashboard import cache
from dashboard.charts import number
from dashboard.listing import named
from dashboard.navigation import concept_link
from dashboard.panels import show_missing, show_note, show_title
from dashboard.saving import history_html, show_notes
from dashboard.trust_card import show_trust_card

N_NEAREST, N_OPPOSITE, N_TOGETHER = 6, 4, 5


def show_beside(shown: Run, j: int) -> None:
    """Draw the left third of the page."""
    with st.container(border=True, key="related", gap="small"):
        show_nearest(shown, j)
        found = relatives_of(shown)
        if found is None:
            show_title("Opposite, and firing together")
            show_missing(shown, "relatives")
        else:
            show_opposite(shown, j, found)
            show_together(shown, j, found)
    with st.container(border=True, gap="small"):
        show_title("Label", "newest first")
        history = cache.store().label_history(basis_of(shown.ids, "neurons"), j)
        st.html(history_html(history, str(shown.built_table.frame["label"].iloc[j])))
        show_notes(shown, "neurons", str(j))
    with st.container(border=True, gap="small"):
        show_trust_card(shown, j)


def relatives_of(shown: Run) -> Relatives | None:
    """Give the relatives of all concepts; None where they were not computed."""
    made = cache.analysis(shown.id, "relatives")
    return None if made is None else Relatives.from_arrays(made.arrays)


def show_nearest(shown: Run, j: int) -> None:
    """Draw links to the concepts that push in the most similar direction."""
    table = shown.table
    with st.container(key="nearest", gap=None):
        show_title("Similar", "cosine of what they add")
        for near, cosine in list(zip(table.neighbours[j], table.neighbour_cosine[j], strict=True))[:N_NEAREST]:
            if near >= 0:
                link(shown, int(near), number(float(cosine)))
    if table.neighbours[j, 0] < 0:
        show_note("There is no other concept.")


def show_opposite(shown: Run, j: int, found: Relatives) -> None:
    """Draw links to the concepts that push the other way."""
    near = found.opposite
    with st.container(key="opposite", gap=None):
        show_title("Opposite", "cosine below 0")
        for k, cosine in list(zip(near.neurons[j], near.values[j], strict=True))[:N_OPPOSITE]:
            if k >= 0:
                link(shown, int(k), number(float(cosine)))
    if near.neurons[j, 0] < 0:
        show_note("No concept pushes the other way.")


def show_together(shown: Run, j: int, found: Relatives) -> None:
    """Draw links to the concepts that fire in the same viewers."""
    fired = found.together
    with st.container(key="together", gap=None):
        show_title("Fires together", "lift over chance [95 % interval]")
        for c, k in enumerate(fired.neurons[j, :N_TOGETHER]):
            if k >= 0:
                low, high = number(float(fired.low[j, c])), number(float(fired.high[j, c]))
                note = f"{number(float(fired.lift[j, c]))} × [{low}, {high}] · n {int(fired.n_both[j, c]):,}"
                link(shown, int(k), note)
    if fired.neurons[j, 0] < 0:
        show_note("None fires in its viewers clearly more often than in everybody.")


def link(shown: Run, j: int, note: str) -> None:
    """Draw a link to a related concept with how related it is."""
    concept_link(j, told(shown, j), note)


def told(shown: Run, j: int) -> str:
    """Give the label of a concept; where it claims nothing, as many do, with the title that fires it most, if any."""
    label, top = named(str(shown.table.frame["label"].iloc[j]), j), int(shown.table.top_items[j, 0])
    if label not in (MIXED, UNCLEAR):
        return label
    return (
        f"{label} · top: {shown.dataset.item_table['title'].iloc[top]}" if top >= 0 else f"{label} · fires for no title"
    )
