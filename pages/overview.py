"""Overview: what lies here, how good it is, and where to go on."""

import math
from typing import Any

import numpy as np
import streamlit as st

from core.errors import MissingStageError
from core.pipeline import DEMO
from core.recommenders.base import entry
from core.runs import Run
from dashboard import cache
from dashboard.charts import DASH, match_phrase, measured, number, percent, table_html
from dashboard.escape import for_html, for_markdown
from dashboard.navigation import go, steer_edit
from dashboard.panels import Metric, show_card, show_header, show_metrics, show_note, show_section
from dashboard.sidebar import current_run

N_BEST = 6
PURPOSE = (
    "SteerLens opens a trained recommender, shows which concepts it thinks in and how far to trust them, "
    "and lets you move them."
)


def run() -> None:
    """Draw the page."""
    try:
        shown = current_run()
    except MissingStageError:
        if cache.runs():
            raise
        show_empty()
        return
    report = shown.report
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header("Overview", PURPOSE, [(report["dataset"]["name"], True), (f"seed {shown.seed}", False)])
        if st.button("Steer a viewer", type="primary", icon=":material/tune:"):
            go("steer")
    if shown.dataset.simulated:
        show_note("Simulated viewers: the titles are real, the viewers and their histories are drawn by a program.")
    show_funnel(shown, report)
    show_measures(report)
    show_best(shown)
    show_cost(report)
    show_next()


def show_empty() -> None:
    """Say which stage is missing and how to make it."""
    show_header("Overview", PURPOSE)
    if built := cache.built_stages():
        text = f"There is: {', '.join(built)}. Run the build once more: it goes on where it stopped."
        show_card(f"Half built: the stage “{cache.missing_stage()}” is missing", text, cache.build_command())
    else:
        text = "Build the demo: a film catalogue that is here already, with simulated viewers. It takes about a minute."
        show_card("Nothing here yet", text, cache.build_command(DEMO))
        text = (
            "A folder with interactions.csv and items.csv is a dataset; python -m core datasets shows the known ones."
        )
        show_card("Or your own data", text, cache.build_command())
    show_note(f"Workspace: {cache.workspace_path()}. Reload this page when the build is done.")


def show_funnel(shown: Run, report: dict[str, Any]) -> None:
    """Draw what was made from what."""
    data, model, sae = report["dataset"], report["recommender"], report["sae"]
    frame = shown.table.frame
    pure = int((frame["purity_at_20"] >= 0.8).sum())
    steps = [
        (
            "Dataset", data["name"],
            f"{data['n_users']:,} viewers · {data['n_items']:,} items · {data['n_interactions']:,} interactions",
        ),
        (
            "Recommender", entry(model["name"]).title,
            f"{model['d_in']} numbers a viewer · recall@20 {number(measured(model, 'recall_at_20'), 3)}",
        ),
        (
            "Sparse autoencoder", sae["preset"],
            f"{sae['d_sae']:,} neurons · {number(measured(sae, 'l0'), 0)} active in a viewer",
        ),
        ("Concepts", f"{int(frame['alive'].sum()):,} alive", f"{pure:,} with a purity of 80 % or more in their top 20"),
    ]  # fmt: skip
    cards = (
        f"<div><div class='sl-card'><p class='stage'>{stage}</p><p class='big'>{for_html(name, 40)}</p>"
        f"<p>{for_html(text)}</p></div></div>"
        for stage, name, text in steps
    )
    st.html(f"<div class='sl-funnel'>{''.join(cards)}</div>")


def show_measures(report: dict[str, Any]) -> None:
    """Draw the four numbers that say how good the lens is."""
    sae, neurons = report["sae"], report["neurons"]
    random, raw = (measured(neurons["baselines"][name], "20") for name in ("random_directions", "raw_dimensions"))
    low, high = interval(sae, "ndcg")
    kept = f"95 %: {percent(1 - high)} to {percent(1 - low)}" if np.isfinite(low) else "no interval"
    kept = f"{kept}, n = {sae['n_unseen_viewers']:,}" if report["dataset"]["n_interactions"] else "no log was brought"
    show_metrics(
        [
            Metric("fidelity", percent(1 - measured(sae, "ndcg_loss"), 1), kept),
            Metric("overlap", number(measured(sae, "rbo_at_30")), "1 is identical"),
            Metric(
                "purity", percent(measured(neurons["paper_purity"], "20")),
                f"random {percent(random)}, raw {percent(raw)}",
                f"Purity@20, {neurons.get('n_concepts', 0)} concepts",
            ),
            Metric("alive", f"{sae['alive']:,} of {sae['d_sae']:,}", f"{percent(measured(sae, 'dead_share'), 1)} dead"),
        ]
    )  # fmt: skip


def show_best(shown: Run) -> None:
    """Draw the concepts with the most evidence, each one of another meaning."""
    show_section("Concepts with the most evidence", "one for each genre, tag or decade")
    concepts = cache.concepts(shown.id)
    best = concepts[concepts["alive"]].drop_duplicates("best_concept").head(N_BEST)
    for start in range(0, len(best), 3):
        for column, (_, row) in zip(st.columns(3), best.iloc[start : start + 3].iterrows(), strict=False):
            with column, st.container(border=True, height="stretch", vertical_alignment="distribute"):
                titles = shown.dataset.item_table["title"]
                films = [str(titles.iloc[i]) for i in shown.table.top_items[row["neuron"], :3] if i >= 0]
                match = match_phrase(row["best_concept"], row["best_kind"])
                phrase = f"{percent(row['purity_at_20'])} of its top 20 {match}"
                st.html(
                    f"<h3 class='sl-cardtitle'>{for_html(row['label'], 60)}</h3>"
                    f"<p class='sl-note'>{for_html(phrase)}, {number(row['lift'], 1)} × the base rate</p>"
                    f"<ul class='sl-films'>{''.join(f'<li>{for_html(t, 70)}</li>' for t in films)}</ul>"
                )
                with st.container(horizontal=True, gap="small"):
                    if st.button("Steer with it", key=f"steer-{row['neuron']}", icon=":material/tune:"):
                        go("steer", edit=steer_edit(row["neuron"], row["strong_activation"]))
                    if st.button("Look closer", key=f"open-{row['neuron']}", type="tertiary"):
                        go("concept", neuron=str(row["neuron"]))


def show_cost(report: dict[str, Any]) -> None:
    """Draw what is lost by looking through the SAE, before anything is steered."""
    sae = report["sae"]
    show_section("What the lens itself costs", "before anything is steered")
    if not report["dataset"]["n_interactions"]:
        show_note(
            "The model was brought without a log, so no titles are held out and list quality cannot be measured. "
            "“Order kept” above compares the lists themselves. Steering keeps what the SAE cannot explain."
        )
        return
    rows = []
    for name, title in (("recall", "Recall@20"), ("ndcg", "nDCG@20")):
        low, high = interval(sae, name)
        change = -measured(sae, f"{name}_loss")
        rows.append(
            [
                title,
                number(measured(sae, f"{name}_at_20_original"), 4),
                number(measured(sae, f"{name}_at_20"), 4),
                f"{change * 100:+.1f} %" if np.isfinite(change) else DASH,
                f"{-high * 100:+.1f} to {-low * 100:+.1f} %" if np.isfinite(low) else DASH,
            ]
        )
    columns = ["Measure", "Recommender's own list", "Through the lens", "Changes by", "95 % interval"]
    with st.container(border=True):
        st.html(table_html(columns, rows, numeric=range(1, 5)))
        show_note(
            f"Offline, logged data: held-out titles of {sae['n_unseen_viewers']:,} viewers that the SAE "
            f"{'may have seen' if 'source' in sae else 'never saw'}, seed {report['split']['seed']}, paired bootstrap. "
            "Steering keeps what the SAE cannot explain: without "
            "edits the list is the recommender's own."
        )


def show_next() -> None:
    """Draw the ways on."""
    show_section("Where to go on")
    ways = [
        (
            "concepts",
            "Browse the concepts",
            "Search and filter what the neurons stand for; take the list along as CSV.",
        ),
        ("concept", "Look at one concept", "What makes it fire, for whom, what it pushes up and down, how pure it is."),
        ("steer", "Steer a viewer", "Promote and suppress concepts and watch the list change, move by move."),
    ]
    for column, (page, title, text) in zip(st.columns(3), ways, strict=True):
        with column, st.container(border=True, height="stretch", vertical_alignment="distribute"):
            st.html(f"<h3 class='sl-cardtitle'>{title}</h3><p class='sl-note'>{text}</p>")
            if st.button(for_markdown(title), key=f"way-{page}", icon=":material/arrow_forward:"):
                go(page)


def interval(sae: dict[str, Any], name: str) -> tuple[float, float]:
    """Give the ends of the 95 % interval of a loss, as shares; NaN where there is none."""
    low, high = sae.get(f"{name}_loss_interval") or (math.nan, math.nan)
    return (math.nan, math.nan) if low is None or high is None else (float(low), float(high))


if __name__ == "__main__":
    run()
