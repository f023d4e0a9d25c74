"""Choosing one of many by typing: a list to search in, which for very many is cut to what fits what was typed."""

from collections.abc import Callable, Sequence

import streamlit as st

from core.errors import one_line
from dashboard import state
from dashboard.panels import show_note

MOST_OPTIONS = 5_000
"""A list of more takes a browser too long: there a text is searched for first."""
MOST_FOUND = 50


def show_pick(label: str, key: str, ids: Sequence[str], chosen: str, name_of: Callable[[str], str], what: str) -> None:
    """Draw the choice of one of many, kept in the address under `key` (see `dashboard.state.page_choice`).

    Args:
        label: Of the widget.
        key: Of the choice.
        ids: All that can be chosen.
        chosen: The one that is chosen now.
        name_of: Id -> how it is called. Untrusted.
        what: What is chosen, in the plural.
    """
    options = list(ids)
    if len(options) > MOST_OPTIONS:
        text = st.text_input(
            f"Search {len(options):,} {what}", key=f"{key}_search", placeholder="Part of a name", type="search",
            icon=":material/search:", max_chars=80,
        )  # fmt: skip
        options = find(options, text, name_of)
        if text and not options:
            show_note(f"None of the {len(ids):,} {what} has “{one_line(text, 60)}” in its name.")
        if len(options) == MOST_FOUND:
            show_note(f"More than {MOST_FOUND} fit: type more of the name.")
        options = options if chosen in options else [chosen, *options]
    st.selectbox(
        label, options, index=None, key=state.show_choice(key, chosen), on_change=state.take_page_choice, args=(key,),
        format_func=lambda i: one_line(name_of(i), 80), placeholder="Type a name",
    )  # fmt: skip


def find(ids: Sequence[str], text: str, name_of: Callable[[str], str]) -> list[str]:
    """Give the ids whose name holds a text, those that begin with it first; none for no text.

    >>> find(["a", "b", "c"], "an", {"a": "Titan", "b": "Ant", "c": "Bee"}.get)
    ['b', 'a']
    """
    wanted = text.strip().casefold()
    if not wanted:
        return []
    first: list[str] = []
    later: list[str] = []
    for id_ in ids:
        name = name_of(id_).casefold()
        if name.startswith(wanted):
            first.append(id_)
        elif wanted in name and len(later) < MOST_FOUND:
            later.append(id_)
        if len(first) == MOST_FOUND:
            break
    return (first + later)[:MOST_FOUND]
