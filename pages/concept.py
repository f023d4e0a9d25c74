"""Concept: what one neuron stands for, and what it does."""

import json
from typing import Any

import numpy as np
import streamlit as st

from core.runs import Run
from core.workspace import to_plain
from dashboard import cache, state
from dashboard.charts import (
    Item,
    PurityRow,
    activation_figure,
    head_share_figure,
    items_table,
    number,
    percent,
    purity_figure,
    table_html,
)
from dashboard.listing import STABILITY, around, named, select
from dashboard.navigation import concept_link, go, steer_edit
from dashboard.panels import (
    Metric,
    show_card,
    show_figure,
    show_header,
    show_metrics,
    show_note,
    show_section,
    show_title,
)
from dashboard.sidebar import current_run

QUESTION = "What makes this concept fire, for whom, and what does moving it do?"
N_ITEMS, N_PUSHED, N_CONCEPTS, N_NEAREST, N_VIEWERS = 20, 8, 7, 8, 10


def run() -> None:
    """Draw the page."""
    shown = current_run("Concept", QUESTION)
    concepts = cache.concepts(shown.id)
    table = shown.table
    j = state.neuron(len(concepts), int(concepts["neuron"].iloc[0]))
    facts = table.frame.iloc[j]
    show_head(shown, facts)
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
    left, right = st.columns([3, 2])
    with left, st.container(border=True, height="stretch"):
        show_examples(shown, j)
    with right:
        show_figure(purity_figure(purity_rows(shown, j)))
        if shown.dataset.n_interactions:
            show_figure(popularity(shown, facts))
        else:
            with st.container(border=True):
                show_title("Popular or rare", "")
                show_note("The model was brought without a log, so nothing is known of what is popular.")
    left, right = st.columns(2)
    edges = table.histogram_edges[j]
    with left:
        show_figure(activation_figure(table.user_histogram[j], edges, shown.dataset.n_users, "viewers"))
    with right:
        show_figure(activation_figure(table.item_histogram[j], edges, shown.dataset.n_items, "items"))
    show_pushes(shown, j)
    left, right = st.columns([3, 2])
    with left, st.container(border=True, height="stretch"):
        show_viewers(shown, j)
    with right, st.container(border=True, height="stretch"):
        show_nearest(shown, j)


def show_head(shown: Run, facts: Any) -> None:
    """Draw the label, its source and the ways on: the neighbours in the list, and steering."""
    j = int(facts["neuron"])
    concepts = cache.concepts(shown.id)
    place, before, after = around(select(concepts, state.filters()), j)
    label = named(facts["label"], j) if facts["alive"] else "A dead neuron"
    chips = [(f"#{j}", True), (f"label: {facts['label_source']}" if facts["alive"] else "no label", False)]
    if place is not None:
        chips.append((f"no. {place + 1} in the list", False))
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header(label, QUESTION, chips)
        with st.container(horizontal=True, width="content", gap="small"):
            st.button(
                "Previous", icon=":material/chevron_left:", key="before", type="tertiary", disabled=before is None,
                on_click=state.set_neuron, args=(before,),
            )  # fmt: skip
            st.button(
                "Next", icon=":material/chevron_right:", icon_position="right", key="after", type="tertiary",
                disabled=after is None, on_click=state.set_neuron, args=(after,),
            )  # fmt: skip
            st.download_button(
                "JSON", concept_json(shown, facts), f"concept-{j}.json", "application/json", on_click="ignore",
                icon=":material/download:", type="tertiary", help="Everything on this page, with the run it is from",
            )  # fmt: skip
            if st.button("Steer with this", type="primary", icon=":material/tune:", disabled=not facts["alive"]):
                go("steer", edit=steer_edit(j, facts["strong_activation"]))


def concept_json(shown: Run, facts: Any) -> str:
    """Write what is known of a concept, with the ids of everything it was made from."""
    j, table, data = int(facts["neuron"]), shown.table, shown.dataset
    top = [
        {"item": data.items.ids[i], "title": str(data.item_table["title"].iloc[i]), "activation": float(act)}
        for i, act in zip(table.top_items[j], table.top_item_acts[j], strict=True)
        if i >= 0
    ]
    return json.dumps(to_plain({"ids": shown.ids, "neuron": dict(facts), "top_items": top}), indent=1)


def show_strip(shown: Run, facts: Any) -> None:
    """Draw the six numbers of a concept."""
    n_users, n_items = shown.dataset.n_users, shown.dataset.n_items
    n = min(int(facts["n_items_firing"]), 20)
    match = f"{facts['best_concept']} · n = {n}" if facts["best_concept"] else f"n = {n}"
    head = (
        f"catalogue: {percent(share_of_items(shown)[0], 1)}" if shown.dataset.n_interactions else "no log was brought"
    )
    show_metrics(
        [
            Metric("fires_viewers", percent(facts["density_users"], 1), f"{facts['n_users_firing']:,} of {n_users:,}"),
            Metric("fires_items", percent(facts["density_items"], 1), f"{facts['n_items_firing']:,} of {n_items:,}"),
            Metric("max_activation", number(facts["max_activation"]), f"strong: {number(facts['strong_activation'])}"),
            Metric("head_share", percent(facts["head_share"]), head),
            Metric("purity", percent(facts["purity_at_20"]), match, "Purity@20"),
            Metric("lift", f"{number(facts['lift'], 1)} ×", f"base rate {percent(facts['base_rate'], 1)}"),
        ]
    )  # fmt: skip


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


def show_examples(shown: Run, j: int) -> None:
    """Draw the items that make it fire most."""
    table = shown.table
    show_title("What makes it fire", f"top {N_ITEMS} items, each seen alone")
    items = items_of(shown, table.top_items[j, :N_ITEMS], table.top_item_acts[j, :N_ITEMS])
    if items:
        st.html(items_table(items, "Activation"))
    else:
        show_note("No single item makes it fire: it needs a history of several.")


def items_of(shown: Run, items: np.ndarray, values: np.ndarray) -> list[Item]:
    """Give items with their facts; -1, which fills a short list, is left out."""
    rows = shown.dataset.item_table
    out = []
    for item, value in zip(items, values, strict=True):
        if item >= 0:
            row = rows.iloc[int(item)]
            year = "" if np.isnan(row["year"]) else str(int(row["year"]))
            out.append(Item(str(row["title"]), year, tuple(row["genres"]), float(value)))
    return out


def purity_rows(shown: Run, j: int) -> list[PurityRow]:
    """Give the concepts of the catalogue that explain a neuron best, the best one first."""
    table = shown.table
    at_20 = np.nan_to_num(table.purity[1, :, j], nan=-1.0)
    base = table.concepts["base_rate"].to_numpy()
    best = table.concepts["name"] == table.frame["best_concept"].iloc[j]
    order = np.lexsort((-(at_20 / np.maximum(base, 1e-9)), -at_20, ~best.to_numpy()))[:N_CONCEPTS]
    known = table.concepts
    return [
        PurityRow(
            str(known["name"].iloc[c]), str(known["kind"].iloc[c]),
            tuple(float(p) for p in table.purity[:, c, j]), float(base[c]),
        )
        for c in order
    ]  # fmt: skip


def share_of_items(shown: Run) -> np.ndarray:
    """Give the shares of head, mid and tail among the items."""
    return np.bincount(cache.groups(shown.id), minlength=3) / shown.dataset.n_items


def popularity(shown: Run, facts: Any) -> Any:
    """Give the figure of head, mid and tail."""
    counts = np.bincount(cache.groups(shown.id), weights=shown.dataset.item_counts, minlength=3)
    log = counts / max(counts.sum(), 1)
    names = ("head", "mid", "tail")
    n_viewers = int((shown.table.top_users[int(facts["neuron"])] >= 0).sum())
    return head_share_figure(
        tuple(facts[f"{n}_share"] for n in names),
        tuple(share_of_items(shown)),
        tuple(facts[f"viewer_{n}_share"] for n in names),
        tuple(log),
        n_viewers,
    )


def show_pushes(shown: Run, j: int) -> None:
    """Draw which items rise and which fall with this concept."""
    scorer = shown.recommender.linear
    show_section("What moving it does", "change of an item's score for one unit more of this concept")
    if scorer is None:
        show_note("This recommender's scores are not linear, so the effect depends on the viewer: see the Steer page.")
        return
    effect = scorer.V @ shown.sae.W_dec[j]
    order = np.argsort(-effect, kind="stable")
    for column, title, chosen, kind in zip(
        st.columns(2),
        ("Pushes up", "Pushes down"),
        (order[:N_PUSHED], order[::-1][:N_PUSHED]),
        ("up", "down"),
        strict=True,
    ):
        with column, st.container(border=True, height="stretch"):
            show_title(title)
            st.html(items_table(items_of(shown, chosen, effect[chosen]), "Change of score", kind))


def show_viewers(shown: Run, j: int) -> None:
    """Draw the viewers in whom it is strongest."""
    data, table = shown.dataset, shown.table
    kind = "simulated viewers" if data.simulated else "viewers"
    show_title("Who it fires for most", f"top {N_VIEWERS} {kind}")
    titles, rows = data.item_table["title"], []
    for user, act in zip(table.top_users[j, :N_VIEWERS], table.top_user_acts[j, :N_VIEWERS], strict=True):
        if user >= 0:
            history = data.history(int(user))
            last = ", ".join(str(titles.iloc[i]) for i in history[-3:])
            rows.append([data.users.ids[user], number(float(act)), f"{len(history):,}", last])
    if rows:
        st.html(table_html(["Viewer", "Activation", "History", "Last titles"], rows, numeric=(1, 2), keep=(0,)))
    else:
        show_note("It fires for no viewer, only for items seen alone.")


def show_nearest(shown: Run, j: int) -> None:
    """Draw links to the concepts that push in the most similar direction."""
    table = shown.table
    show_title("Nearest concepts", "cosine of what they add to a viewer")
    with st.container(key="nearest", gap="xsmall"):
        for near, cosine in zip(table.neighbours[j, :N_NEAREST], table.neighbour_cosine[j, :N_NEAREST], strict=True):
            if near >= 0:
                with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                    concept_link(int(near), str(table.frame["label"].iloc[near]))
                    show_note(number(float(cosine)), width="content")


if __name__ == "__main__":
    run()
