"""Data and training: what the data is, and which recommender fits it, at what cost."""

import numpy as np
import streamlit as st

from core.data.split import SplitConfig
from core.errors import MissingStageError, one_line
from core.pipeline import DEMO
from core.runs import Run
from dashboard import cache
from dashboard.charts import DASH, Estimate, interval_figure, number, percent
from dashboard.models import Model, card, ends, list_models, value
from dashboard.panels import Metric, show_card, show_figure, show_header, show_metrics, show_note, show_section
from dashboard.sidebar import current_run

QUESTION = "Which recommender fits this dataset, what does it need, and what does it cost?"
IMPORT = "python -m core import embeddings --items items.npy --users users.npy --item-table items.csv --name mine"


def run() -> None:
    """Draw the page."""
    try:
        shown = current_run()
    except MissingStageError:
        if not cache.built_stages():
            show_header("Data and training", QUESTION)
            show_card("Nothing here yet", "Build the demo, or a dataset of your own.", cache.build_command(DEMO))
            show_own()
            return
        shown = cache.newest_split()
        show_header("Data and training", QUESTION)
        text = f"The stage “{cache.missing_stage()}” is missing: the concepts cannot be shown before it is built."
        show_card("Half built", text, cache.build_command())
    else:
        kinds = [(shown.dataset.name, True)] + [("simulated viewers", False)] * shown.dataset.simulated
        show_header("Data and training", QUESTION, kinds)
    show_data(shown)
    models = list_models(shown)
    show_quality(shown, models)
    show_models(shown, models)
    show_own()


def show_data(shown: Run) -> None:
    """Draw what the log holds and how it was split."""
    log, lengths = shown.full, np.diff(shown.full.indptr)
    head = np.sort(log.item_counts)[::-1][: max(1, round(0.1 * log.n_items))].sum()
    known = log.n_interactions > 0
    show_metrics(
        [
            Metric("viewers", f"{log.n_users:,}", f"{len(shown.split.unseen_users):,} unseen by SAEs"),
            Metric("titles", f"{log.n_items:,}", f"{int((log.item_counts == 0).sum()):,} never consumed"),
            Metric(
                "interactions", f"{log.n_interactions:,}" if known else "none",
                f"{percent(log.n_interactions / (log.n_users * log.n_items), 2)} of all pairs",
            ),
            Metric(
                "history", f"{int(np.median(lengths)):,}" if known else DASH,
                f"{int(lengths.min()):,} to {int(lengths.max()):,} titles" if known else "no log was brought",
            ),
            Metric(
                "long_tail", percent(head / log.n_interactions) if known else DASH,
                "top 10 % of titles" if known else "",
            ),
        ]
    )  # fmt: skip
    cut = SplitConfig(**shown.meta("split").config)
    held_out = {
        "leave-n-out": f"{cut.n_held_out} random titles of each viewer",
        "per-user-ratio": f"a random {percent(cut.ratio)} of each viewer's titles",
        "held-out-users": f"{percent(cut.ratio)} of the titles of viewers who are new to the recommender",
        "temporal-leave-one-out": "the last title of each viewer",
    }[cut.name]
    times = "with times" if log.timestamps is not None else "without times"
    sentences = [f"Held out: {held_out}." if known else "", f"A log {times}." if known else "", *log.notes]
    show_note(" ".join(one_line(s, 200) for s in sentences if s))


def show_quality(shown: Run, models: list[Model]) -> None:
    """Draw how well every trained recommender finds the held-out titles."""
    measured = [m for m in models if np.isfinite(value(m, "ndcg_at_20"))]
    if not measured:
        return
    rows = []
    for model in measured:
        low, high = ends(model, "ndcg_at_20_interval")
        recall = f"recall@20 {number(value(model, 'recall_at_20'), 3)}"
        rows.append(Estimate(model.entry.title, recall, value(model, "ndcg_at_20"), low, high, model.in_use))
    best, n = measured[0], int(value(measured[0], "n_viewers"))
    lead = f"{best.entry.title} finds most of what was held out" if len(measured) > 1 else "Only one is trained so far"
    takeaway = f"{lead}: nDCG@20 {number(value(best, 'ndcg_at_20'), 3)} over {n:,} viewers, every unseen title ranked."
    show_figure(interval_figure("List quality on held-out titles", takeaway, rows, "nDCG@20"))
    show_note(f"Offline, logged data, seed {shown.seed}. Intervals by bootstrap over viewers.")


def show_models(shown: Run, models: list[Model]) -> None:
    """Draw a card for every recommender."""
    show_section("Recommenders", "what each needs, costs and reaches here")
    cards = "".join(card(shown, model, models) for model in models)
    st.html(f"<div class='sl-models'>{cards}</div>")


def show_own() -> None:
    """Draw the way to bring a model of one's own."""
    show_section("Bring your own", "without retraining anything")
    text = (
        "Vectors as .npy, .npz, .safetensors or Parquet, RecBole checkpoints and models of implicit open as they are. "
        "The page docs/bring-your-own.md shows the export in ten lines for PyTorch, TensorFlow and Merlin."
    )
    show_card("A model that was trained elsewhere", text, IMPORT)


if __name__ == "__main__":
    run()
