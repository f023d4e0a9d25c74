"""Where the pages are, and the ways from one to another with the run and the viewer kept."""

from pathlib import Path

import streamlit as st

from dashboard import state
from dashboard.escape import for_markdown
from dashboard.listing import named

PAGES = Path(__file__).resolve().parents[1] / "pages"


def path_of(name: str) -> Path:
    """Give the file of a page, absolute: Streamlit reads relative paths from the entry script's folder."""
    return PAGES / f"{name}.py"


def go(name: str, **query: str) -> None:
    """Leave for another page."""
    st.switch_page(path_of(name), query_params=state.link(**query))


def concept_link(neuron: int, label: str) -> None:
    """Draw a link to a concept."""
    st.page_link(
        path_of("concept"),
        label=f"{for_markdown(named(label, neuron), 44)} :gray[#{neuron}]",
        query_params=state.link(neuron=str(neuron)),
    )


def item_link(item_id: str, title: str, note: str = "") -> None:
    """Draw a link to a title of the catalogue, with a quiet word after it, for example its year."""
    st.page_link(
        path_of("item"),
        label=f"{for_markdown(title, 60) or 'Untitled'}{f' :gray[{for_markdown(note, 24)}]' if note else ''}",
        query_params=state.link(item=item_id),
    )


def viewer_link(viewer_id: str, note: str = "") -> None:
    """Draw a link to a viewer, with a quiet word after the id."""
    st.page_link(
        path_of("viewer"),
        label=f"Viewer {for_markdown(viewer_id, 40)}{f' :gray[{for_markdown(note, 40)}]' if note else ''}",
        query_params=state.link(viewer=viewer_id),
    )


def steer_edit(neuron: int, strength: float) -> str:
    """Write the edit with which the Steer page starts: one typical activation more."""
    return f"{neuron}:add:{strength:.3g}"
