"""What a concept does and is, in numbers: pushes, how strongly it fires, for whom, dose and response, neighbours."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.neurons.associations import Associations
from core.neurons.contrast import FDR
from core.neurons.relatives import Related
from core.runs import Run
from core.steering.responses import Responses
from dashboard import cache
from dashboard.charts import (
    Figure,
    PurityRow,
    activation_figure,
    head_share_figure,
    percent,
    purity_figure,
    signed,
)
from dashboard.charts_concept import Cosine, cosines_figure, values_html
from dashboard.charts_portrait import ShareRow, shares_figure
from dashboard.charts_response import response_figure
from dashboard.concept_parts.beside import link, relatives_of, told
from dashboard.listing import named
from dashboard.navigation import item_link
from dashboard.panels import show_card, show_figure, show_missing, show_note, show_title

N_PUSHED, N_CONCEPTS, N_FACTS, N_AROUND = 12, 7, 8, 8


def show_pushes(shown: Run, j: int) -> None:
    """Draw which titles rise and which fall with this concept."""
    found, made = cache.lens(shown.id, j), cache.analysis(shown.id, "relatives")
    if found is None:
        show_title("What moving it does", "scores are not linear here: the mean over some viewers")
        show_missing(shown, "relatives")
        return
    n_viewers = 0 if made is None else int(made.metrics["n_probe_viewers"])
    show_title("What moving it does", "change of a title's score")
    show_note(
        f"The mean over {n_viewers} viewers when it is added at its mean activation: these scores are not linear."
        if n_viewers
        else "For one unit more of it, in a viewer of typical scale. Scores are linear here, so this is exact."
    )
    with st.container(horizontal=True, key="pushes", gap="medium"):
        for name, kind, side in (("Pushes up", "up", found.up), ("Pushes down", "down", found.down)):
            with st.container(gap=None):
                show_title(name)
                show_moved(shown, side.neurons[0][:N_PUSHED], side.values[0][:N_PUSHED], kind)


def show_moved(shown: Run, items: np.ndarray, changes: np.ndarray, kind: str) -> None:
    """Draw links to titles with what their score changes by."""
    titles, years, ids = cache.titles(shown.id), cache.years(shown.id), shown.dataset.items.ids
    if items[0] < 0:
        show_note("No title's score moves this way.")
        return
    with st.container(horizontal=True, gap="small"):
        with st.container(gap=None, key=f"ranked-{kind}"):
            for item in items[items >= 0]:
                item_link(ids[item], titles[item], years[item])
        st.html(values_html(changes[items >= 0].tolist(), float(np.abs(changes[0])), kind), width="content")


def show_distribution(shown: Run, j: int) -> None:
    """Draw how strongly it fires, in viewers and for titles."""
    table = shown.table
    edges = table.histogram_edges[j]
    show_figure(activation_figure(table.user_histogram[j], edges, shown.dataset.n_users, "viewers"))
    show_figure(activation_figure(table.item_histogram[j], edges, shown.dataset.n_items, "items"))


def show_who(shown: Run, j: int) -> None:
    """Draw what its titles and its viewers have in common, against base rates."""
    show_figure(purity_figure(purity_rows(shown, j)))
    if shown.dataset.n_interactions:
        show_figure(popularity(shown, j))
    else:
        with st.container(border=True):
            show_title("Popular or rare")
            show_note("The model was brought without a log, so nothing is known of what is popular.")
    made = cache.analysis(shown.id, "associations")
    if made is None:
        show_missing(shown, "associations")
        return
    facts = Associations.from_saved(made.arrays, made.tables).of_neuron(j)
    for of, name in (("items", "titles"), ("viewers", "viewers")):
        show_figure(facts_figure(facts[facts["of"] == of], name))


def facts_figure(facts: pd.DataFrame, name: str) -> Figure:
    """Show which facts tell most of the titles, or the viewers, that fire it most, on those kept for judging."""
    known = facts[facts["precision"].notna() & facts["auc"].notna()]
    top = known.head(N_FACTS)
    rows = [
        ShareRow(
            str(r.fact), f"{r.kind} · AUC {r.auc:.2f} · n = {int(r.n):,}", r.precision, r.precision_low,
            r.precision_high, r.base_rate,
        )
        for r in top.itertuples()
    ]  # fmt: skip
    title = f"What its {name} have in common, among those kept for judging"
    if not rows:
        return shares_figure(title, f"Too few of the {name} that were kept for judging make it fire.", [], "Share")
    clear, n_top = top[(top["q"] <= FDR) & (top["precision_low"] > top["base_rate"])], int(top["n_top"].iloc[0])
    takeaway = f"None of these is clearly more common among the {n_top} {name} that fire it most than among all."
    if len(clear):
        best = clear.iloc[0]
        takeaway = (
            f"“{best['fact']}” holds for {percent(best['precision'])} of the {n_top} {name} that fire it most, against "
            f"{percent(best['base_rate'], 1)} of all (AUC {best['auc']:.2f} [{best['low']:.2f}, {best['high']:.2f}])."
        )
    return shares_figure(title, takeaway, rows, f"Share of the top {n_top}")


def show_dose(shown: Run, j: int) -> None:
    """Draw what a dose of it brings."""
    made = cache.analysis(shown.id, "responses")
    if made is None:
        show_missing(shown, "responses")
        return
    response = Responses.from_saved(made.arrays, made.tables).of_neuron(j)
    if response is None:
        show_card(
            "No curve for this concept",
            "A curve follows the share of what a concept stands for in lists. This one stands for no genre, tag or "
            "decade of the catalogue, or the time for curves was over before it.",
        )
        return
    show_figure(response_figure(response, named(str(shown.table.frame["label"].iloc[j]), j)))


def show_neighbourhood(shown: Run, j: int) -> None:
    """Draw the concepts around it, by direction and by what they do to scores."""
    table, found = shown.table, relatives_of(shown)
    near = Related(table.neighbours, table.neighbour_cosine)
    rows = cosine_rows(shown, near, j)
    if found is not None:
        rows += cosine_rows(shown, found.opposite, j)[::-1]
    show_figure(cosines_figure("Nearest and opposite directions", rows, "cosine of what they add to a viewer"))
    if found is None:
        show_missing(shown, "relatives")
        return
    with st.container(border=True, gap=None, key="against"):
        show_title("Act against it", "correlation over titles of what they do to scores")
        pairs = list(zip(found.against.neurons[j], found.against.values[j], strict=True))[:N_AROUND]
        for k, value in pairs:
            if k >= 0:
                link(shown, int(k), signed(float(value)))
        if found.against.neurons[j, 0] < 0:
            show_note("No concept lowers what this one raises.")


def cosine_rows(shown: Run, related: Related, j: int) -> list[Cosine]:
    """Give related concepts with their cosines for a figure."""
    pairs = list(zip(related.neurons[j], related.values[j], strict=True))[:N_AROUND]
    return [Cosine(told(shown, int(k)), f"#{k}", float(value)) for k, value in pairs if k >= 0]


def purity_rows(shown: Run, j: int) -> list[PurityRow]:
    """Give the concepts of the catalogue that explain a neuron best, the best one first."""
    table = shown.table
    at_10, at_20, at_50 = table.purity[:, :, j]
    known_20 = np.nan_to_num(at_20, nan=-1.0)
    base = table.concepts["base_rate"].to_numpy()
    best = table.concepts["name"] == table.frame["best_concept"].iloc[j]
    order = np.lexsort((-(known_20 / np.maximum(base, 1e-9)), -known_20, ~best.to_numpy()))[:N_CONCEPTS]
    known = table.concepts
    return [
        PurityRow(
            str(known["name"].iloc[c]), str(known["kind"].iloc[c]),
            (float(at_10[c]), float(at_20[c]), float(at_50[c])), float(base[c]),
        )
        for c in order
    ]  # fmt: skip


def popularity(shown: Run, j: int) -> Any:
    """Give the figure of head, mid and tail."""
    facts = shown.table.frame.iloc[j]
    groups = cache.groups(shown.id)
    counts = np.bincount(groups, weights=shown.dataset.item_counts, minlength=3)
    names = ("head", "mid", "tail")
    return head_share_figure(
        tuple(facts[f"{n}_share"] for n in names),
        tuple(np.bincount(groups, minlength=3) / shown.dataset.n_items),
        tuple(facts[f"viewer_{n}_share"] for n in names),
        tuple(counts / max(counts.sum(), 1)),
        int((shown.table.top_users[j] >= 0).sum()),
    )
