"""SAE quality: how far one SAE can be trusted, and what a sweep would take instead."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from core.runs import SOURCE, Run
from core.sweep.stored import StoredSweep
from dashboard import cache
from dashboard.charts import (
    Curve,
    Figure,
    Spot,
    bar,
    curves_figure,
    figure,
    frontier_figure,
    measured,
    number,
    percent,
    stability_figure,
    table_html,
)
from dashboard.commands import run_request
from dashboard.escape import for_html
from dashboard.listing import LEVEL, STABILITY
from dashboard.panels import Metric, show_card, show_figure, show_header, show_metrics, show_note, show_section
from dashboard.sidebar import current_run

N_SWEEPS = 3
"""The newest ones that are drawn."""
QUESTION = "How far can this SAE be trusted, and what would make it better?"


def run() -> None:
    """Draw the page."""
    shown = current_run("SAE quality", QUESTION)
    show_header("SAE quality", QUESTION)
    show_measures(shown)
    if SOURCE in shown.meta("sae").config:
        show_note("It was trained elsewhere: how that went is not known here.")
    else:
        show_warnings(shown.report["sae"].get("warnings", ()))
    history = shown.workspace.tables("sae", shown.ids["sae"]).get("history")
    if history is not None and len(history):
        show_figure(training_figure(history))
    show_levels(shown)
    show_stability(shown)
    show_sweeps(shown)


def show_measures(shown: Run) -> None:
    """Draw what is lost between a viewer's vector and the one that the SAE rebuilds."""
    sae = shown.report["sae"]
    stable = shown.report["neurons"].get("stability", {})
    again = stable.get("surviving_share", float("nan"))
    show_metrics(
        [
            Metric("cosine", number(measured(sae, "cosine"), 3), f"{sae['n_unseen_viewers']:,} viewers"),
            Metric(
                "overlap", number(measured(sae, "rbo_at_30")), f"Kendall's tau {number(measured(sae, 'kendall_at_30'))}"
            ),
            Metric(
                "explained", percent(1 - measured(sae, "fvu"), 1), f"{number(measured(sae, 'l0'), 0)} neurons active"
            ),
            Metric("alive", f"{sae['alive']:,} of {sae['d_sae']:,}", f"{percent(measured(sae, 'dead_share'), 1)} dead"),
            Metric("stability", percent(again), "come again" if stable else "not measured"),
        ]
    )


def show_warnings(warnings: list[str] | tuple[str, ...]) -> None:
    """Say what the training noticed, or that it noticed nothing."""
    if not warnings:
        show_note(
            "The training noticed nothing wrong: enough viewers, few silent neurons, nothing still falling at the end."
        )
        return
    items = "".join(f"<li>{for_html(text, 300)}</li>" for text in warnings)
    st.html(
        "<section class='sl-card sl-info'><h2>What the training noticed</h2>"
        f"<ul class='sl-warnings'>{items}</ul></section>"
    )


def training_figure(history: pd.DataFrame) -> Figure:
    """Show loss, active and silent neurons along the training."""
    first, last = float(history["loss"].iloc[0]), float(history["loss"].iloc[-1])
    change = f"{percent(1 - last / first)} below its start" if 0 < last < first else "not below its start"
    takeaway = (
        f"After {int(history['step'].iloc[-1]):,} steps the loss is {change}; {number(history['l0'].iloc[-1], 0)} "
        f"neurons are active in a viewer, {percent(float(history['dead_share'].iloc[-1]), 1)} are silent."
    )
    curves = [
        Curve("Loss, log scale", history["loss"].to_numpy(), 4, log=True),
        Curve("Active neurons", history["l0"].to_numpy(), 1),
        Curve("Silent neurons, %", 100 * history["dead_share"].to_numpy(), 1),
    ]
    return curves_figure("How it was trained", takeaway, history["step"].to_numpy(), curves)


def show_levels(shown: Run) -> None:
    """Draw what each level of nested neurons is like: early ones broad, late ones fine."""
    frame = shown.table.frame
    if LEVEL not in frame:
        return
    show_section("Levels", "each one rebuilds a viewer together with those before it")
    rows = levels_of(frame)
    falls = rows["audience"].is_monotonic_decreasing
    cells = [
        [
            f"{row.level}",
            f"{row.n_alive:,} of {row.n:,}",
            percent(row.audience, 2),
            percent(row.purity),
            number(row.lift, 1),
        ]
        for row in rows.itertuples()
    ]
    table = table_html(["Level", "Alive", "Median audience", "Mean purity@20", "Mean lift"], cells, numeric=range(5))
    lanes = "".join(
        f"<span class='name'>Level {row.level}<small>{row.n_alive:,} concepts</small></span>{bar(row.audience)}"
        f"<span class='value'>{percent(row.audience, 1)}</span>"
        for row in rows.itertuples()
    )
    key = "<div class='sl-key'><span>share of the viewers in whom the middle concept of a level fires</span></div>"
    takeaway = (
        "From level to level the concepts become rarer."
        if falls
        else "The concepts do not become rarer with every level."
    )
    show_figure(figure("Broad first, fine later", takeaway, f"<div class='sl-rows'>{lanes}</div>{key}", table))


def levels_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a row a level: `n`, `n_alive`, and of the living ones median audience, mean purity and mean lift."""
    alive = frame[frame["alive"]].groupby(LEVEL)
    rows = pd.DataFrame(
        {
            "n": frame.groupby(LEVEL).size(),
            "n_alive": alive.size(),
            "audience": alive["density_users"].median(),
            "purity": alive["purity_at_20"].mean(),
            "lift": alive["lift"].mean(),
        }
    )
    return rows.assign(n_alive=rows["n_alive"].fillna(0).astype(int)).reset_index()


def show_stability(shown: Run) -> None:
    """Draw how many concepts come again from another seed, or how to measure it."""
    summary = shown.report["neurons"].get("stability")
    if summary is None:
        title, request = "Not measured: do the concepts come again?", run_request(shown)
        if request is None:
            show_card(title, "It is measured where recommender and SAE are trained here: build has --stability for it.")
            return
        text = (
            "Give the command that built this run again, with --stability: it trains a second SAE from another seed "
            "and looks for each concept in it. What is built is not built again."
        )
        show_card(title, text, cache.build_command(request, more=["--stability"]))
        return
    scores = shown.table.frame[STABILITY].dropna().to_numpy()
    show_figure(stability_figure(scores, summary["threshold"], summary["chance_95th"]))


def show_sweeps(shown: Run) -> None:
    """Draw the SAEs that were tried on this recommender, and which one is recommended."""
    sweeps = cache.sweeps(shown.ids["recommender"])
    show_section("Other SAEs on this recommender", "a sweep trains several and says which to take")
    if not sweeps:
        text = "Try several at once: each is a run that opens here, and the same command goes on where it was stopped."
        command = sweep_command(shown)
        if not command:
            text = "A sweep trains SAEs on a recommender that is trained here; each is a run that opens on these pages."
        show_card("No sweep yet", text, command)
    for sweep in sweeps[:N_SWEEPS]:
        show_figure(sweep_figure(sweep, shown.id))


def sweep_command(shown: Run) -> str:
    """Give the command that tries half and twice as many active neurons, or neurons where their share is not set.

    Nothing where the model or its SAE was trained elsewhere.
    """
    request = run_request(shown)
    if request is None:
        return ""
    config, n_neurons = shown.meta("sae").config, shown.report["sae"]["d_sae"]
    name, most = ("k", n_neurons) if config["k"] else ("d_sae", 2 * n_neurons)
    middle = config["k"] or n_neurons
    values = sorted({max(1, middle // 2), middle, min(2 * middle, most)})
    over = f"{name}={','.join(map(str, values))}"
    settings = {key: value for key, value in request.settings.items() if key != f"sae.{name}"}
    return cache.build_command(replace(request, settings=settings), "sweep", ["--over", over])


def sweep_figure(sweep: StoredSweep, run_id: str) -> Figure:
    """Show fidelity against purity, a spot for each SAE of a sweep; that of the run `run_id` is said to be in use."""
    spots = [
        Spot(
            point.problem or point.name + " (in use)" * (point.run == run_id),
            point.ndcg_loss, point.ndcg_loss_low, point.ndcg_loss_high,
            point.neuron_purity, i == sweep.recommended, best,
        )
        for i, (point, best) in enumerate(zip(sweep.points, sweep.frontier, strict=True))
    ]  # fmt: skip
    so_far = "" if len(spots) == sweep.n_points else f" · {len(spots)} of {sweep.n_points} so far"
    names = ("Loss of nDCG@20", "Mean purity@10")
    return frontier_figure(f"{sweep.title}{so_far}", sweep.why, spots, sweep.loss_bound, names)


if __name__ == "__main__":
    run()
