"""How the pages look beyond Streamlit's own theme (`.streamlit/config.toml`): one style sheet and the logo."""

from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[1]
STYLE = Path(__file__).with_name("theme.css")


def apply_theme() -> None:
    """Set the style sheet and the logo that fits the viewer's theme; once a run, in the entry script."""
    st.html(STYLE)
    logo = ROOT / "assets" / ("logo-dark.svg" if is_dark() else "logo.svg")
    st.logo(logo, size="large", icon_image=ROOT / "assets" / "icon.svg")


def is_dark() -> bool:
    """Say whether the viewer's theme is the dark one."""
    return bool(st.context.theme.type == "dark")
