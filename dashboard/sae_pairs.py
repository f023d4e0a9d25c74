"""The parts of the page Compare that are about two SAEs: what was measured of both, and which concept is which."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.neurons.matching import Matching
from core.neurons.stability import SURVIVES
from core.runs import Run
from dashboard.charts import DASH, measured, number, percent, table_html
from dashboard.charts_portrait import likeness_figure
from dashboard.escape import for_csv
from dashboard.glossary import help_of
from dashboard.listing import named
from dashboard.navigation import concept_link
from dashboard.panels import show_card, show_figure, show_note, show_rows, show_section, show_title

N_ALONE = 8


def show_reports(a: Run, b: Run) -> None:
    """Draw what was measured of both."""
    rows = []
    for name, section, key, form in (
        ("Dataset", "dataset", "name", str),
        ("Recommender", "recommender", "name", str),
        ("Recommender, nDCG@20", "recommender", "ndcg_at_20", lambda v: number(v, 3)),
        ("Preset", "sae", "preset", str),
        ("Seed", "split", "seed", str),
        ("Neurons", "sae", "d_sae", lambda v: number(v, 0)),
        ("Alive", "sae", "alive", lambda v: number(v, 0)),
        ("Active in a viewer, L0", "sae", "l0", lambda v: number(v, 1)),
        ("Direction kept, cosine", "sae", "cosine", lambda v: number(v, 3)),
        ("Variance not explained, FVU", "sae", "fvu", lambda v: number(v, 3)),
        ("List quality kept, nDCG@20", "sae", "ndcg_loss", lambda v: percent(1 - v, 1)),
        ("Monosemanticity", "neurons", "monosemanticity", lambda v: number(v, 3)),
    ):
        values = [report_value(run, section, key, form) for run in (a, b)]
        rows.append([name, *values])
    for n in ("10", "20", "50"):
        rows.append([f"Best purity@{n}, mean over genres", *(mean_purity(run, n) for run in (a, b))])
    with st.container(border=True, height="stretch"):
        show_title("Side by side", "as measured when they were built")
        st.html(table_html(["", "A: this run", "B: the other"], rows, numeric=(1, 2)))


def report_value(run: Run, section: str, key: str, form: Any) -> str:
    """Give a value of a report as text; a dash where it was not measured."""
    found = run.report.get(section, {}).get(key)
    return DASH if found is None else form(found if form is str else float(found))


def mean_purity(run: Run, n: str) -> str:
    """Give the mean purity over the concepts of the report."""
    values = [measured(best, n) for best in run.report["neurons"].get("purity", {}).values()]
    known = [v for v in values if np.isfinite(v)]
    return percent(float(np.mean(known)), 1) if known else DASH


def show_likeness(found: Matching) -> None:
    """Draw how alike the pairs are, and what that means."""
    if found.pairs.empty:
        show_card("No pairs", "In one of the two no neuron ever fires.")
        return
    show_figure(likeness_figure(found.pairs["likeness"].to_numpy(), found.chance, SURVIVES))
    if found.by == "viewers and titles":
        show_note(
            "The two are of different recommenders, whose directions have nothing in common: likeness is the mean "
            "correlation of the activations over viewers and over titles."
        )
    else:
        show_note("Likeness: the mean of the cosine of what they push and the correlation over viewers.")


def show_pairs(a: Run, b: Run, found: Matching) -> None:
    """Draw the pairs, and the ways to the concepts of a selected one."""
    pairs = found.pairs
    names = [run.table.frame["label"] for run in (a, b)]
    view = pd.DataFrame(
        {
            "#A": pairs["a"],
            "Concept in A": [named(str(names[0].iloc[j]), int(j)) for j in pairs["a"]],
            "#B": pairs["b"],
            "Concept in B": [named(str(names[1].iloc[j]), int(j)) for j in pairs["b"]],
            "Likeness": pairs["likeness"],
            **({"Direction": pairs["direction"]} if pairs["direction"].notna().any() else {}),
            "Viewers": pairs["viewers"],
            "Titles": pairs["titles"],
        }
    )
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_section("Which concept is which", f"{len(pairs):,} pairs, matched one to one, most alike first")
        st.download_button(
            "Download as CSV", pairs_csv(view), f"pairs-{a.id}-{b.id}.csv", "text/csv", icon=":material/download:",
            on_click="ignore",
        )  # fmt: skip
    config = st.column_config
    ids = {key: config.NumberColumn(width=50, format="%d") for key in ("#A", "#B")}
    numbers = {
        "Direction": config.NumberColumn(width=85, format="%.2f", help="Cosine of the decoder rows"),
        "Viewers": config.NumberColumn(width=85, format="%.2f", help="Correlation of the activations over viewers"),
        "Titles": config.NumberColumn(width=85, format="%.2f", help="Correlation of the activations over titles"),
    }
    like = config.ProgressColumn(width=110, format="%.2f", min_value=0, max_value=1, help=help_of("likeness"))
    picked = show_rows(view, "pairs-table", {**ids, **numbers, "Likeness": like})
    if picked is None:
        show_note("Select a pair to open its concepts.")
        return
    row = pairs.iloc[picked]
    with st.container(horizontal=True, key="links-pair"):
        concept_link(int(row["a"]), f"A: {view['Concept in A'].iloc[picked]}")
        concept_link(int(row["b"]), f"B: {view['Concept in B'].iloc[picked]}", run=b.id)


def pairs_csv(view: pd.DataFrame) -> bytes:
    """Write the pairs as CSV (UTF-8 with its mark, for spreadsheets); no cell can run as a formula."""
    table = view.assign(**{key: [for_csv(v) for v in view[key]] for key in ("Concept in A", "Concept in B")})
    return table.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")


def show_alone(a: Run, b: Run, found: Matching) -> None:
    """Draw what one has and the other has not, the concepts with the most evidence first."""
    for column, letter, run, alone in zip(st.columns(2), "AB", (a, b), (found.alone_a, found.alone_b), strict=True):
        key = letter.lower()
        weak = found.pairs[found.pairs["likeness"] < SURVIVES]
        nearest = dict(zip(weak[key], weak["likeness"], strict=True))
        left = np.concatenate([weak[key].to_numpy(np.int64), alone])
        evidence = run.table.frame["evidence"].fillna(-1.0).to_numpy()[left]
        with column, st.container(border=True, height="stretch"):
            show_title(f"Only in {letter}", f"{len(left):,} without a match of {SURVIVES:g} or more")
            with st.container(key=f"links-only-{key}", gap="xsmall"):
                for j in left[np.argsort(-evidence, kind="stable")][:N_ALONE]:
                    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                        concept_link(
                            int(j), str(run.table.frame["label"].iloc[j]), **({"run": b.id} if run is b else {})
                        )
                        show_note(number(nearest.get(int(j), float("nan"))), width="content")
            show_note("The number is the likeness to the match it got." if len(left) else "None.")
