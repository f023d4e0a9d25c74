"""Taxonomy audit: which parts of the catalogue can be steered here."""

import numpy as np
import pandas as pd
import streamlit as st

from core.analyses.base import Made
from core.neurons.contrast import FDR
from core.runs import Run
from core.steering.audit import FEW, FEWEST_ITEMS, LEAST_AUC, SEEN, STEERED, UNSEEN, VERDICTS
from core.steering.responses import LEAST_RISE, STRENGTHS
from dashboard import cache, state
from dashboard.briefs import show_audit_brief
from dashboard.charts import DASH, Figure, percent
from dashboard.charts_audit import AuditRow, audit_figure, verdict_text
from dashboard.escape import for_csv
from dashboard.glossary import help_of
from dashboard.listing import named
from dashboard.navigation import go
from dashboard.panels import (
    Metric,
    show_card,
    show_figure,
    show_header,
    show_metrics,
    show_missing,
    show_note,
    show_section,
)
from dashboard.saving import show_save
from dashboard.sidebar import current_run

TITLE = "Taxonomy audit"
QUESTION = "Which parts of the catalogue can be steered here, and which does the recommender not see at all?"
VERDICT, FACT, ALL = "verdict", "fact", "all"
BY_VERDICT = dict(zip(("steered", "seen", "unseen", "few"), VERDICTS, strict=True))
BY_KIND = {"genre": "Genres", "tag": "Tags", "decade": "Decades"}
N_SHOWN, N_NAMED = 24, 5


def run() -> None:
    """Draw the page."""
    shown = current_run(TITLE, QUESTION)
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header(TITLE, QUESTION, [("simulated viewers", False)] * shown.dataset.simulated)
        actions = st.container(horizontal=True, width="content")
    made = cache.analysis(shown.id, "audit")
    if made is None:
        show_missing(shown, "audit")
        return
    facts = listed(made.tables["audit"], shown.table.frame["label"])
    if facts.empty:
        show_card(
            "Nothing to audit",
            "The catalogue has no genre, tag or decade with enough titles: there is no taxonomy to be held against "
            "what the recommender learnt.",
        )
        return
    show_strip(facts, made)
    chosen = show_filters(facts)
    with actions:
        st.download_button(
            "Download as CSV", to_csv(chosen), f"audit-{shown.id}.csv", "text/csv", icon=":material/download:",
            on_click="ignore",
        )  # fmt: skip
        steered = chosen.loc[chosen["verdict"] == STEERED, "neuron"].drop_duplicates()
        show_save(shown, "neurons", [str(j) for j in steered], key="audit")
        show_audit_brief(shown, chosen, made, takeaway(chosen[chosen["neuron"] >= 0]))
    judged = chosen[chosen["neuron"] >= 0]
    if len(judged):
        show_figure(picture(judged))
    show_notes(shown, made)
    selected = show_table(chosen)
    if selected is not None:
        go("concept", neuron=str(selected))


def listed(audit: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """Give the audited facts with the label of their neuron, those that can be steered and gain most first."""
    order = {verdict: place for place, verdict in enumerate(VERDICTS)}
    names = [named(str(labels.iloc[j]), int(j)) if j >= 0 else "" for j in audit["neuron"]]
    return (
        audit.assign(label=pd.Series(names, index=audit.index, dtype="str"), place=audit["verdict"].map(order))
        .sort_values(["place", "rise", "n_items"], ascending=[True, False, False], kind="stable")
        .drop(columns="place")
        .reset_index(drop=True)
    )


def show_strip(facts: pd.DataFrame, made: Made) -> None:
    """Draw how many facts have each verdict, and how many that mean nothing are called steerable."""
    n = {verdict: int((facts["verdict"] == verdict).sum()) for verdict in VERDICTS}
    judged = len(facts) - n[FEW]
    none, called = int(made.metrics["n_permuted"]), int(made.metrics["n_permuted_called"])
    share = percent(called / none, 1) if none else DASH
    show_metrics(
        [
            Metric("audit_steered", f"{n[STEERED]:,} of {judged:,}", f"{n[FEW]:,} with too few titles"),
            Metric("audit_seen", f"{n[SEEN]:,}", "told apart, lists do not follow"),
            Metric("audit_unseen", f"{n[UNSEEN]:,}", "no single concept tells them apart"),
            Metric("audit_null", f"{called:,} of {none:,}", f"{share} of facts that mean nothing"),
        ]
    )


def show_filters(facts: pd.DataFrame) -> pd.DataFrame:
    """Draw the choice of verdict and kind, and give the facts that are left."""
    verdict = state.page_choice(VERDICT, [ALL, *BY_VERDICT], ALL)
    kind = state.page_choice(FACT, [ALL, *BY_KIND], ALL)
    verdicts = {ALL: "All"} | {key: verdict_text(text) for key, text in BY_VERDICT.items()}
    kinds = {ALL: "All"} | BY_KIND
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.segmented_control(
            "Verdict", list(verdicts), format_func=verdicts.__getitem__, key=state.show_choice(VERDICT, verdict),
            on_change=state.take_page_choice, args=(VERDICT, ALL), required=True,
        )  # fmt: skip
        st.segmented_control(
            "Kind", list(kinds), format_func=kinds.__getitem__, key=state.show_choice(FACT, kind),
            on_change=state.take_page_choice, args=(FACT, ALL), required=True,
        )  # fmt: skip
    keep = (facts["verdict"] == BY_VERDICT.get(verdict, "")) | (verdict == ALL)
    return facts[keep & ((facts["kind"] == kind) | (kind == ALL))].reset_index(drop=True)


def picture(judged: pd.DataFrame) -> Figure:
    """Show the facts that were judged, those that gain most first."""
    rows = [
        AuditRow(
            str(r.concept), f"{r.kind} · {r.n_items:,} titles · #{r.neuron}", str(r.verdict),
            (r.auc, r.auc_low, r.auc_high), (r.rise, r.rise_low, r.rise_high), (r.rise_placebo, r.rise_spread),
        )
        for r in judged.head(N_SHOWN).itertuples()
    ]  # fmt: skip
    return audit_figure(rows, takeaway(judged), STRENGTHS[-1], len(judged))


def takeaway(judged: pd.DataFrame) -> str:
    """Say what the shown facts come to, and name those that are not seen."""
    steered, blind = judged[judged["verdict"] == STEERED], judged.loc[judged["verdict"] == UNSEEN, "concept"].tolist()
    more = f" and {len(blind) - N_NAMED:,} more" if len(blind) > N_NAMED else ""
    unseen = f" Not seen: {', '.join(blind[:N_NAMED])}{more}." if blind else ""
    if steered.empty:
        these = f"Of these {len(judged):,} facts none" if len(judged) > 1 else "This fact cannot"
        return f"{these}{' can' if len(judged) > 1 else ''} be steered by a single concept.{unseen}"
    most = steered.loc[steered["rise"].idxmax()]
    return (
        f"Of these {len(judged):,} facts {len(steered):,} can be steered; {most['concept']} moves most: from "
        f"{percent(most['share'], 1)} of the top 20 to {percent(most['share'] + most['rise'], 1)} at strength "
        f"{STRENGTHS[-1]:g}.{unseen}"
    )


def show_notes(shown: Run, made: Made) -> None:
    """Say how it was measured and how often the procedure is wrong."""
    none, called = int(made.metrics["n_permuted"]), int(made.metrics["n_permuted_called"])
    if none:
        show_note(
            f"The same procedure on {none:,} permuted facts (as many titles of the same popularity, drawn at random) "
            f"calls {called:,} of them steerable ({percent(called / none, 1)}): so often it errs on what means nothing."
        )
    n, unseen = made.metrics["n_viewers"], "that the SAE did see (none was kept from it)"
    unseen = "the SAE never saw" if made.metrics["unseen"] else unseen
    show_note(
        f"Each concept was chosen on one half of the titles and measured on the other, on lists of {n:,} viewers "
        f"{unseen}; offline, logged data, seed {shown.seed}. Lists hold titles of that other half only."
    )
    show_note(
        f"Seen: AUC {LEAST_AUC:g} or more among titles of like popularity. Steered: {100 * LEAST_RISE:.0f} points or "
        f"more at strength {STRENGTHS[-1]:g}, beyond random directions. Both at a false discovery rate of "
        f"{percent(FDR)}; with fewer than {FEWEST_ITEMS} titles in a half a fact is not judged."
    )


def show_table(facts: pd.DataFrame) -> int | None:
    """Draw the facts, and give the neuron of the selected row."""
    show_section("All facts of the catalogue", "select one to open its concept")
    if facts.empty:
        show_note("No fact of this kind has this verdict.")
        return None
    view = pd.DataFrame(
        {
            "Verdict": facts["verdict"].map(verdict_text),
            "Fact": facts["concept"],
            "Kind": facts["kind"],
            "Titles": facts["n_items"],
            "Base rate": 100 * facts["base_rate"],
            "Concept": [
                f"#{j} {label}" if j >= 0 else "" for j, label in zip(facts["neuron"], facts["label"], strict=True)
            ],
            "AUC": facts["auc"],
            "AUC, 95 %": _interval(facts["auc_low"], facts["auc_high"], "{:.2f}"),
            "Slope": 100 * facts["slope"],
            "Slope, 95 %": _interval(100 * facts["slope_low"], 100 * facts["slope_high"], "{:+.1f}"),
            "Gain": 100 * facts["rise"],
            "Gain, 95 %": _interval(100 * facts["rise_low"], 100 * facts["rise_high"], "{:+.1f}"),
        }
    )
    config = st.column_config
    event = st.dataframe(
        view, hide_index=True, height=min(38 + 35 * len(view), 528), on_select="rerun",
        selection_mode=["single-row", "single-cell"], key="audit-table", placeholder=DASH,
        column_config={
            "Verdict": config.TextColumn(width=150),
            "Fact": config.TextColumn(width=150),
            "Kind": config.TextColumn(width=70),
            "Titles": config.NumberColumn(help="Of the catalogue; half of them were held out", format="%d", width=65),
            "Base rate": config.NumberColumn(help=help_of("base_rate"), format="%.1f %%", width=80),
            "Concept": config.TextColumn(help="Chosen on the other half of the titles", width=200),
            "AUC": config.NumberColumn(help=help_of("audit_auc"), format="%.2f", width=60),
            "AUC, 95 %": config.TextColumn(width=100),
            "Slope": config.NumberColumn(help=help_of("steer_slope"), format="%+.1f", width=65),
            "Slope, 95 %": config.TextColumn(width=110),
            "Gain": config.NumberColumn(help=help_of("steer_gain"), format="%+.1f", width=65),
            "Gain, 95 %": config.TextColumn(width=110),
        },
    )  # fmt: skip
    picked = event.selection.rows or [row for row, _ in event.selection.cells]
    neuron = int(facts["neuron"].iloc[picked[0]]) if picked else -1
    return neuron if neuron >= 0 else None


def _interval(low: pd.Series, high: pd.Series, form: str) -> list[str]:
    pairs = zip(low, high, strict=True)
    return [f"{form.format(a)} to {form.format(b)}".replace("-", "−") if np.isfinite(a) else DASH for a, b in pairs]


def to_csv(facts: pd.DataFrame) -> bytes:
    """Write the facts as CSV (UTF-8 with its mark, for spreadsheets); no cell can run as a formula."""
    texts = {name: [for_csv(text) for text in facts[name]] for name in ("concept", "kind", "label", "verdict")}
    return facts.assign(**texts).to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")


if __name__ == "__main__":
    run()
