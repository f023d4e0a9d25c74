"""The steering element with generated data, for the browser tests and the benchmark.

Query: `items` (how many, default 20,000), `sliders` (default 8), `hostile=1` (titles that try to be more than text),
`curved=1` (a scorer that is not linear: the server answers).
As a real page does, it hands the values that it knows back on every run.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import streamlit as st

from core.errors import UserError
from dashboard.components.steer import rerank, show_steer
from tests.dashboard.generated import curved_input, steer_input

st.set_page_config(layout="wide")
query = st.query_params
state = st.session_state
removed: list[int] = state.setdefault("removed", [])
held: dict[int, float] = state.setdefault("held", {})
st.markdown("#### Steer")
if st.toggle("Elsewhere"):
    st.stop()
given = steer_input(
    n_items=int(query.get("items", 20_000)),
    n_neurons=int(query.get("sliders", 8)),
    hostile=query.get("hostile") == "1",
    version=state.setdefault("version", 0),
    values=held,
    without=removed,
)
curved = query.get("curved") == "1"
if curved:
    given = curved_input(given, delay_s=0.5)
try:
    output = show_steer("steer", given)
except UserError as error:
    st.error(f"{error.problem} {error.fix}")
    st.stop()
held.update(output.values)
if output.event is not None and output.event.neuron is not None:
    removed.append(output.event.neuron)
    st.rerun()
values = [v for _, v in output.values]
if given.recompute is not None:
    listed = rerank(given.recompute(values).scores, [], [], given.seen, given.n)
else:
    listed = rerank(given.base_scores, [x.row for x in given.neurons], values, given.seen, given.n)
if st.button("Preset"):
    state["version"] += 1
    held.update({x.neuron: x.unit for x in given.neurons})
    st.rerun()
with st.container(key="python"):
    st.text(f"released={output.released} values={';'.join(f'{v:.6g}' for v in values)}")
    st.text("list=" + ",".join(str(i) for i in listed))
