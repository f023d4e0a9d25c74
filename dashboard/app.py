"""The entry of the dashboard: `streamlit run dashboard/app.py`. The frame around every page."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # `streamlit run` knows the folder of this file only

import streamlit as st  # noqa: E402

from dashboard import guard, sidebar, theme  # noqa: E402
from dashboard.navigation import path_of  # noqa: E402

st.set_page_config(page_title="SteerLens", page_icon=str(ROOT / "assets" / "icon.svg"), layout="wide")
theme.apply_theme()
page = st.navigation(
    {
        "Start": [st.Page(path_of("overview"), title="Overview", icon=":material/home:", default=True)],
        "Explore": [
            st.Page(path_of("concepts"), title="Concepts", icon=":material/list_alt:"),
            st.Page(path_of("concept"), title="Concept", icon=":material/center_focus_strong:"),
            st.Page(path_of("map"), title="Map", icon=":material/scatter_plot:"),
            st.Page(path_of("audit"), title="Taxonomy audit", icon=":material/fact_check:"),
            st.Page(path_of("groups"), title="Groups", icon=":material/compare_arrows:"),
            st.Page(path_of("compare"), title="Compare", icon=":material/compare:"),
            st.Page(path_of("viewer"), title="Viewer", icon=":material/person:"),
            st.Page(path_of("item"), title="Item", icon=":material/movie:"),
            st.Page(path_of("lists"), title="Lists and notes", icon=":material/bookmark:"),
        ],
        "Act": [
            st.Page(path_of("steer"), title="Steer", icon=":material/tune:"),
        ],
        "Build": [
            st.Page(path_of("training"), title="Data and training", icon=":material/model_training:"),
            st.Page(path_of("quality"), title="SAE quality", icon=":material/verified:"),
            st.Page(path_of("labels"), title="Labels", icon=":material/label:"),
        ],
    },
    expanded=True,
)
with guard.boundary():
    sidebar.show_sidebar()
    page.run()
