"""Labels: how the concepts of this SAE got their names, and how far these can be trusted."""

import pandas as pd
import streamlit as st

from core.analyses.base import Made
from core.labels.trust import STATUSES
from core.runs import Run
from core.written import DASH, number, percent
from dashboard import cache, state
from dashboard.charts import Figure, measured, table_html
from dashboard.charts_trust import (
    WORDS,
    Told,
    interval_text,
    status_text,
    statuses_figure,
    told_figure,
)
from dashboard.escape import for_html
from dashboard.glossary import help_of
from dashboard.label_parts import show_one, show_people
from dashboard.label_run import show_model_run
from dashboard.listing import named
from dashboard.panels import Metric, show_figure, show_header, show_metrics, show_missing, show_note, show_section
from dashboard.sidebar import current_run

TITLE = "Labels"
QUESTION = "How did the concepts get their names, and how far can each name be trusted?"
VERDICT, ALL = "label_verdict", "all"
WAYS = {
    "keyword": ("Keywords", "rules of up to three facts of the catalogue, and titles that a concept's own are like"),
    "catalogue": ("Keywords, catalogue only", "the same without pointing to titles"),
    "knots-tag": ("TF-IDF, a tag as document", "From Knots to Knobs: the genre or tag of the highest score"),
    "knots-neuron": ("TF-IDF, a concept as document", "the same, turned around"),
}


def run() -> None:
    """Draw the page."""
    shown = current_run(TITLE, QUESTION)
    show_header(TITLE, QUESTION, [("simulated viewers", False)] * shown.dataset.simulated)
    made, bench = cache.analysis(shown.id, "trust"), cache.bench(shown.id)
    if made is None or bench is None:
        show_missing(shown, "trust")
        show_model_run(shown)
        return
    cards = current_cards(shown, bench.cards)
    show_strip(made, cards)
    left, right = st.columns(2)
    with left:
        show_figure(told(made))
    with right:
        counts = {str(k): int(v) for k, v in cards["status"].value_counts().items()}
        show_figure(statuses_figure(counts, takeaway(counts)))
    chosen = show_table(cards)
    if chosen is not None:
        show_one(shown, chosen)
    show_ways(made)
    show_model_run(shown)
    show_whole(made)
    show_people(shown)


def current_cards(shown: Run, keyword: pd.DataFrame) -> pd.DataFrame:
    """Give the card of the label that each living concept shows now, with `source` first."""
    bench, frame = cache.bench(shown.id), shown.table.frame
    labels, sources = frame["label"].to_numpy(object), frame["label_source"].to_numpy(object)
    own = keyword["label"].to_numpy(object) == labels[keyword["neuron"].to_numpy()]
    cards = keyword.assign(source=sources[keyword["neuron"].to_numpy()])
    if bench is None or own.all():
        return cards
    other = bench.table([(int(j), str(labels[j]), str(sources[j])) for j in keyword["neuron"].to_numpy()[~own]])
    both = [part for part in (cards[own], other) if len(part)]
    return pd.concat(both, ignore_index=True).sort_values("neuron", kind="stable").reset_index(drop=True)


def show_strip(made: Made, cards: pd.DataFrame) -> None:
    """Draw the figures that say at a glance how far names go here."""
    metrics, ours = made.metrics, made.metrics["sources"]["keyword"]
    confirmed, named_share = int(cards["status"].isin(["holds", "reads"]).sum()), metrics["coverage"]
    show_metrics(
        [
            Metric("label_holds", f"{confirmed:,} of {metrics['n_tested']:,}", f"{metrics['n_alive']:,} alive"),
            Metric("label_random", number(measured(ours, "random")), f"median of {ours['n']:,}"),
            Metric("label_hard", number(measured(ours, "hard")), f"median of {ours['n']:,}"),
            Metric("label_null", number(measured(ours, "random_shuffled")), "against random titles"),
            Metric(
                "label_coverage", percent(measured(named_share, "share")),
                f"{named_share['n_named']:,} of {named_share['n']:,} genres and tags",
            ),
        ]
    )  # fmt: skip


def told(made: Made) -> Figure:
    """Show the medians of keyword labels, near and far."""
    ours = made.metrics["sources"]["keyword"]
    nan = float("nan")
    rows = [
        Told("20 strongest titles", "against random ones", measured(ours, "random"), nan, nan,
             measured(ours, "random_shuffled")),
        Told("20 strongest titles", "against similar ones", measured(ours, "hard"), nan, nan,
             measured(ours, "hard_shuffled")),
        Told("50 strongest titles", "against random ones", measured(ours, "random_wide"), nan, nan, nan),
        Told("50 strongest titles", "against similar ones", measured(ours, "hard_wide"), nan, nan, nan),
    ]  # fmt: skip
    sentence = (
        f"The middle keyword label tells held-out titles from random ones with {number(rows[0].value)}, from similar "
        f"ones with {number(rows[1].value)}, where 1 is always right; labels of other concepts reach "
        f"{number(rows[0].shuffled)}."
    )
    return told_figure(rows, "What the labels can tell", sentence)


def takeaway(counts: dict[str, int]) -> str:
    """Say in one sentence what the labels come to."""
    total = sum(counts.values())
    good = counts.get("holds", 0) + counts.get("reads", 0)
    return (
        f"{good:,} of {total:,} labels hold on titles that they were not made from, {counts.get('holds', 0):,} of them "
        f"also name what promoting brings; {counts.get('untested', 0):,} could not be tested."
    )


def show_ways(made: Made) -> None:
    """Draw how the offline ways to name concepts compare on the same titles."""
    show_section("Ways to name a concept", "all of them tested on the same held-out titles")
    there = {way: found for way in WAYS if (found := made.metrics["sources"].get(way))}
    figures = ("random", "hard", "random_shuffled")
    cells = [
        [WAYS[way][0], f"{found['n_claims']:,}", *(number(measured(found, f)) for f in figures)]
        for way, found in there.items()
    ]
    columns = ["Way", "Names", "Random", "Similar", "Shuffled"]
    st.html(f"<div class='sl-card'>{table_html(columns, cells, numeric=range(1, 5))}</div>")
    ways = ". ".join(f"{WAYS[way][0]}: {WAYS[way][1]}" for way in there)
    show_note(f"{ways}.")
    show_note(
        "Median balanced accuracy. Labels are made from 60 % of the titles, by a hash of their ids; the other 40 % "
        "test them. A neuron that fires on fewer than 12 titles is not tested."
    )


def show_table(cards: pd.DataFrame) -> int | None:
    """Draw all labels with their trust, and give the concept of the selected row."""
    show_section("All labels", "select one to see its card, edit it or rate it")
    verdict = state.page_choice(VERDICT, [ALL, *STATUSES], ALL)
    names = {ALL: "All"} | {status: status_text(status) for status in STATUSES}
    st.segmented_control(
        "Verdict", list(names), format_func=names.__getitem__, key=state.show_choice(VERDICT, verdict),
        on_change=state.take_page_choice, args=(VERDICT, ALL), required=True,
    )  # fmt: skip
    found = cards if verdict == ALL else cards[cards["status"] == verdict]
    found = found.sort_values(["random_low", "hard", "neuron"], ascending=[False, False, True], kind="stable")
    if found.empty:
        show_note(f"No label comes to “{WORDS[verdict]}”.")  # type: ignore[index]
        return None
    view = pd.DataFrame(
        {
            "Label": [named(str(r.label), int(r.neuron)) for r in found.itertuples()],
            "#": found["neuron"],
            "Source": found["source"],
            "Verdict": found["status"].map(status_text),
            "Random": [interval_text(r.random, r.random_low, r.random_high) for r in found.itertuples()],
            "Similar": found["hard"],
            "Promoting it": 100 * found["effect"],
            "p": found["p"],
            "Behaves as": found["behaves_as"].replace("", DASH),
            "r": found["confidence"],
        }
    )
    config = st.column_config
    event = st.dataframe(
        view, hide_index=True, height=min(38 + 35 * len(view), 458), on_select="rerun",
        selection_mode=["single-row", "single-cell"], key=f"labels-{verdict}", placeholder=DASH,
        column_config={
            "Label": config.TextColumn(width=250),
            "#": config.NumberColumn(width=50),
            "Source": config.TextColumn(width=75),
            "Verdict": config.TextColumn(width=160),
            "Random": config.TextColumn("Random, 95 %", help=help_of("label_random"), width=135),
            "Similar": config.NumberColumn(help=help_of("label_hard"), format="%.2f", width=70),
            "Promoting it": config.NumberColumn(
                "Points", help="Of the top 20 that what the label names gains when the concept is promoted",
                format="%+.1f", width=70,
            ),
            "p": config.NumberColumn(
                help="Share of other concepts that bring as much of it when promoted", format="%.3f", width=60
            ),
            "Behaves as": config.TextColumn(help="The fact that promoting it brings most, beside others", width=105),
            "r": config.NumberColumn(
                help="Confidence: point-biserial correlation with activations, held-out titles", format="%.2f", width=55
            ),
        },
    )  # fmt: skip
    picked = event.selection.rows or [row for row, _ in event.selection.cells]
    return int(found["neuron"].iloc[picked[0]]) if picked else None


def show_whole(made: Made) -> None:
    """Draw the numbers of the whole SAE: coverage, coherence, distinctness."""
    show_section("The SAE as a whole", "coverage, coherence and distinctness, as RecSAE counts them")
    woven, covered = made.metrics["texture"], made.metrics["coverage"]
    coherence, chance = measured(woven, "coherence"), measured(woven, "chance")
    show_metrics(
        [
            Metric("label_coherence", number(coherence), f"random titles {number(chance)}"),
            Metric("label_coherence", number(measured(woven, "distinctness")), "1 − cosine of two concepts",
                   name="Distinctness"),
            Metric("label_coverage", percent(measured(covered, "share")), "RecSAE's paper asks for 20 %"),
        ]
    )  # fmt: skip
    missing = covered["missing"]
    if missing:
        more = covered["n"] - covered["n_named"] - len(missing)
        names = ", ".join(for_html(name, 40) for name in missing) + (f" and {more:,} more" if more > 0 else "")
        st.html(f"<p class='sl-note'>No confirmed label names: {names}.</p>")


if __name__ == "__main__":
    run()
