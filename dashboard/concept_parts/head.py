"""The head of a concept: its label, the ways on, its six numbers, and what else is known of it as a neuron."""

import json
from typing import Any

import numpy as np
import streamlit as st

from core.neurons.associations import Associations
from core.runs import Run
from core.steering.responses import Responses
from core.workspace import to_plain
from dashboard import cache, state
from dashboard.briefs import show_concept_brief
from dashboard.charts import number, percent, signed
from dashboard.concept_parts.beside import relatives_of
from dashboard.listing import STABILITY, around, named
from dashboard.navigation import go, steer_edit
from dashboard.panels import Metric, show_header, show_metrics, show_note
from dashboard.saving import show_label_editor, show_save
from dashboard.sidebar import chosen_viewer


def show_head(shown: Run, facts: Any, question: str) -> None:
    """Draw the label, its source and the ways on: the neighbours in the list, comparing, saving, steering."""
    j, alive = int(facts["neuron"]), bool(facts["alive"])
    place, before, after = around(cache.found_concepts(shown.id, state.filters(), chosen_viewer(shown)).rows, j)
    chips = [(f"#{j}", True), (f"label: {facts['label_source']}" if alive else "no label", False)]
    if place is not None:
        chips.append((f"no. {place + 1} in the list", False))
    show_header(named(facts["label"], j) if alive else "A dead neuron", question, chips)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="ways"):
        with st.container(horizontal=True, width="content", gap="small"):
            if st.button("Steer with this", type="primary", icon=":material/tune:", disabled=not alive):
                go("steer", edit=steer_edit(j, facts["strong_activation"]))
            if st.button("Compare", icon=":material/compare:", disabled=not alive):
                go("compare", a=str(j))
            if alive:
                show_label_editor(shown, j)
                show_save(shown, "neurons", [str(j)])
                show_concept_brief(shown, j)
            st.download_button(
                "JSON", lambda: concept_json(shown, facts), f"concept-{j}.json", "application/json", on_click="ignore",
                icon=":material/download:", help="Everything that is known of it, with the run it is from",
            )  # fmt: skip
        with st.container(horizontal=True, width="content", gap="small"):
            st.button(
                "Previous", icon=":material/chevron_left:", key="before", type="tertiary", disabled=before is None,
                on_click=state.set_neuron, args=(before,),
            )  # fmt: skip
            st.button(
                "Next", icon=":material/chevron_right:", icon_position="right", key="after", type="tertiary",
                disabled=after is None, on_click=state.set_neuron, args=(after,),
            )  # fmt: skip


def concept_json(shown: Run, facts: Any) -> str:
    """Write what is known of a concept, with the ids of everything it was made from."""
    j, table, data = int(facts["neuron"]), shown.table, shown.dataset
    titles, labels = cache.titles(shown.id), table.frame["label"]

    def items(chosen: np.ndarray, values: np.ndarray, what: str) -> list[dict[str, Any]]:
        pairs = zip(chosen, values, strict=True)
        return [{"item": data.items.ids[i], "title": titles[i], what: float(value)} for i, value in pairs if i >= 0]

    def neurons(chosen: np.ndarray, values: np.ndarray, what: str) -> list[dict[str, Any]]:
        pairs = zip(chosen, values, strict=True)
        return [{"neuron": int(k), "label": str(labels.iloc[k]), what: float(v)} for k, v in pairs if k >= 0]

    told: dict[str, Any] = {"ids": shown.ids, "neuron": dict(facts)}
    told["top_items"] = items(table.top_items[j], table.top_item_acts[j], "activation")
    told["similar"] = neurons(table.neighbours[j], table.neighbour_cosine[j], "cosine")
    pushes, found = cache.lens(shown.id, j), relatives_of(shown)
    if pushes is not None:
        for name, side in (("pushes_up", pushes.up), ("pushes_down", pushes.down)):
            told[name] = items(side.neurons[0], side.values[0], "change_of_score")
    if found is not None:
        told["opposite"] = neurons(found.opposite.neurons[j], found.opposite.values[j], "cosine")
        told["fires_together"] = neurons(found.together.neurons[j], found.together.lift[j], "lift")
    return json.dumps(to_plain(told), indent=1)


def show_strip(shown: Run, facts: Any) -> None:
    """Draw the six numbers of a concept."""
    n_users, n = shown.dataset.n_users, min(int(facts["n_items_firing"]), 20)
    match = f"n = {n}"
    if np.isfinite(facts["purity_at_20"]):
        match = f"purity {percent(facts['purity_at_20'])} of n = {n}, base rate {percent(facts['base_rate'], 1)}"
    head = "no log was brought"
    if shown.dataset.n_interactions:
        groups = np.bincount(cache.groups(shown.id), minlength=3)
        head = f"catalogue: {percent(groups[0] / max(shown.dataset.n_items, 1), 1)}"
    fires = f"of {n_users:,}, and {percent(facts['density_items'], 1)} of titles"
    show_metrics(
        [
            Metric("fires_viewers", percent(facts["density_users"], 1), fires),
            Metric("max_activation", number(facts["max_activation"]), f"strong: {number(facts['strong_activation'])}"),
            Metric("head_share", percent(facts["head_share"]), head),
            Metric("lift", f"{number(facts['lift'], 1)} ×" if n > 1 else number(float("nan")), match),
            auc_metric(shown, int(facts["neuron"])),
            slope_metric(shown, int(facts["neuron"])),
        ]
    )


def auc_metric(shown: Run, j: int) -> Metric:
    """Give how well the neuron tells apart what it was found to stand for, on items and viewers kept for that."""
    made = cache.analysis(shown.id, "associations")
    if made is None:
        return Metric("held_out_auc", number(float("nan")), "not computed yet")
    best = Associations.from_saved(made.arrays, made.tables).best
    row = best[(best["neuron"] == j) & best["first"]]
    if row.empty or not np.isfinite(row["auc"].iloc[0]):
        return Metric("held_out_auc", number(float("nan")), "too little of it is held out")
    fact = row.iloc[0]
    ends = f"[{number(fact['low'])}, {number(fact['high'])}]"
    return Metric("held_out_auc", number(fact["auc"]), f"{fact['fact']} {ends}")


def slope_metric(shown: Run, j: int) -> Metric:
    """Give what a strong activation more brings to lists at first."""
    made = cache.analysis(shown.id, "responses")
    if made is None:
        return Metric("steer_slope", number(float("nan")), "not computed yet")
    response = Responses.from_saved(made.arrays, made.tables).of_neuron(j)
    if response is None:
        return Metric("steer_slope", number(float("nan")), "it was not measured")
    ends = f"[{signed(100 * response.slope_low, 1)}, {signed(100 * response.slope_high, 1)}]"
    note = "cannot move lists" if response.flat else f"points of {response.concept} {ends}"
    return Metric("steer_slope", signed(100 * response.slope, 1), note)


def show_stability(shown: Run, facts: Any) -> None:
    """Say whether the concept comes again in an SAE of another seed, where one was trained."""
    summary = shown.report["neurons"].get("stability")
    if summary is None:
        return
    score = facts[STABILITY]
    if np.isnan(score):
        show_note("Stability: it fires for no viewer, so it cannot be looked for in an SAE of another seed.")
        return
    found = "found again" if score >= summary["threshold"] else "not found again"
    show_note(
        f"Stability {number(float(score))}: {found} by an SAE trained from another seed (from "
        f"{number(summary['threshold'])} on; chance reaches {number(summary['chance_95th'])}). It is the mean of two "
        "likenesses to its match there: of what the two push, and of the viewers they fire for. "
        f"{percent(summary['surviving_share'])} of the concepts come again."
    )


def show_level(shown: Run, facts: Any) -> None:
    """Say how broad the concept is, where neurons are nested."""
    levels = shown.sae.config.levels
    if levels:
        level = int(np.searchsorted(levels, int(facts["neuron"]), side="right"))
        show_note(
            f"Level {level + 1} of {len(levels)}: the first {levels[level]:,} neurons rebuild a viewer without the "
            "others. Early levels are meant to be broad, late ones fine."
        )
