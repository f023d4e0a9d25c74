"""A button that puts the link to the shown view on the clipboard, in the browser and without a rerun."""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

_HTML = """
<button type="button">
  <svg viewBox="0 0 24 24" aria-hidden="true">
    <path d="M10 13a5 5 0 0 0 7.5.5l3-3a5 5 0 0 0-7-7l-1.7 1.7M14 11a5 5 0 0 0-7.5-.5l-3 3a5 5 0 0 0 7 7l1.7-1.7"/>
  </svg>
  <span class="label" aria-live="polite">Copy link</span>
</button>
"""
_CSS = """
button {
  display: inline-flex; align-items: center; justify-content: center; gap: .45rem; width: 100%; min-height: 2.4rem;
  padding: .25rem .8rem; font: inherit; font-family: var(--st-font); color: var(--st-text-color); cursor: pointer;
  background: transparent; border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
}
button:hover { border-color: var(--st-primary-color); color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
svg { width: 1.05rem; height: 1.05rem; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; }
"""
_mount = st.components.v2.component(
    "steerlens_copy_link",
    html=_HTML,
    css=_CSS,
    js=Path(__file__).with_name("copy_link.js").read_text(encoding="utf-8"),
)


def copy_link(defaults: Mapping[str, str]) -> None:
    """Draw the button.

    Args:
        defaults: Names and values that join the address where it does not have them, because the default is shown.
    """
    _mount(key="copy_link", data={"defaults": dict(defaults)})
