"""Where the pages are, and the ways from one to another with the run and the viewer kept."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from dashboard import state
from dashboard.escape import for_markdown
from dashboard.listing import named

PAGES = Path(__file__).resolve().parents[1] / "pages"


def path_of(name: str) -> Path:
    """Give the file of a page, absolute: Streamlit reads relative paths from the entry script's folder."""
    return PAGES / f"{name}.py"


def go(name: str, **query: str | Sequence[str]) -> None:
    """Leave for another page."""
    st.switch_page(path_of(name), query_params=state.link(**query))


def concept_link(neuron: int, label: str, note: str = "", **more: str) -> None:
    """Draw a link to a concept, with a quiet word before its number; `run=` and an id, where it is of another run."""
    quiet = f"{for_markdown(note, 60)} · " if note else ""
    st.page_link(
        path_of("concept"),
        label=f"{for_markdown(named(label, neuron), 44)} :gray[{quiet}#{neuron}]",
        query_params=state.link(neuron=str(neuron), **more),
    )


def item_link(item_id: str, title: str, note: str = "") -> None:
    """Draw a link to a title of the catalogue, with a quiet word after it, for example its year."""
    st.page_link(
        path_of("item"),
        label=f"{for_markdown(title, 60) or 'Untitled'}{f' :gray[{for_markdown(note, 40)}]' if note else ''}",
        query_params=state.link(item=item_id),
    )


def viewer_name(viewer_id: str) -> str:
    """Call a viewer by the id, which may say itself what it is of. Untrusted text.

    >>> viewer_name("42"), viewer_name("viewer-42")
    ('Viewer 42', 'viewer-42')
    """
    return viewer_id if viewer_id.casefold().startswith("viewer") else f"Viewer {viewer_id}"


def viewer_link(viewer_id: str, note: str = "") -> None:
    """Draw a link to a viewer, with a quiet word after the id."""
    st.page_link(
        path_of("viewer"),
        label=f"{for_markdown(viewer_name(viewer_id), 48)}{f' :gray[{for_markdown(note, 40)}]' if note else ''}",
        query_params=state.link(viewer=viewer_id),
    )


def steer_edit(neuron: int, strength: float) -> str:
    """Write the edit with which the Steer page starts: one typical activation more."""
    return f"{neuron}:add:{strength:.3g}"
