"""The buttons that download briefs: from what a page shows to what `core.brief` writes."""

import pandas as pd

from core.analyses.base import Made
from core.brief.briefs import audit_brief, comparison_brief, concept_brief, groups_brief
from core.brief.page import Fact, Table
from core.brief.pictures import Interval
from core.neurons.contrast import Contrast
from core.neurons.pair import Together
from core.runs import Run
from core.steering.responses import STRENGTHS
from core.written import number, percent, signed
from dashboard.listing import named
from dashboard.saving import remarks, show_brief

N_EFFECTS = 10


def show_concept_brief(run: Run, neuron: int) -> None:
    """Draw the button for the brief of a concept, with the notes on it."""
    said = remarks(run, "neurons", str(neuron))
    show_brief(f"concept-{neuron}", lambda written: concept_brief(run, neuron, written, said), f"concept-{neuron}")


def show_comparison_brief(
    run: Run, a: int, b: int, cosine: float, viewers: Together, items: Together, audiences: Contrast | None
) -> None:
    """Draw the button for the brief of two concepts; `audiences` are the viewers of one alone, if there are enough."""
    shared = [
        Fact("Cosine", number(cosine), "1: they push the same way"),
        Fact("Viewers with both", percent(viewers.jaccard), either(viewers)),
        Fact("Lift", f"{number(viewers.lift, 1)} ×", "1: no more than by chance"),
        Fact("Titles of both", percent(items.jaccard), either(items)),
    ]
    effects = [] if audiences is None else effects_of(run, audiences, a, b)
    show_brief(
        f"concepts-{a}-{b}", lambda written: comparison_brief(run, a, b, shared, written, effects), f"pair-{a}-{b}"
    )


def either(found: Together) -> str:
    """Say of how many rows with either of two neurons how many have both.

    >>> either(Together(3, 4, 2, 10))
    '2 of 5 with either'
    """
    return f"{found.n_both:,} of {found.n_a + found.n_b - found.n_both:,} with either"


def effects_of(run: Run, found: Contrast, *without: int) -> list[Interval]:
    """Give the concepts in which two groups differ most, some left out."""
    labels = run.table.frame["label"]
    rows = [r for r in found.largest(N_EFFECTS + len(without)).itertuples() if int(r.neuron) not in without]
    return [
        Interval(
            named(str(labels.iloc[int(r.neuron)]), int(r.neuron)), f"#{int(r.neuron)}", r.d, r.low, r.high,
            f"{signed(r.d)} [{signed(r.low)}, {signed(r.high)}]",
        )
        for r in rows[:N_EFFECTS]
    ]  # fmt: skip


def show_groups_brief(run: Run, found: Contrast, a: str, b: str, of: str) -> None:
    """Draw the button for the brief of two groups, which are called `a` and `b`."""
    show_brief("groups", lambda written: groups_brief(run, found, (a, b), of, written), "groups")


def show_audit_brief(run: Run, facts: pd.DataFrame, made: Made, take: str) -> None:
    """Draw the button for the brief of the audited facts that are shown; `take` says what came out."""
    verdicts = facts["verdict"].value_counts()
    none, called = int(made.metrics["n_permuted"]), int(made.metrics["n_permuted_called"])
    seen = [Fact(str(verdict).capitalize(), f"{n:,} of {len(facts):,}") for verdict, n in verdicts.items()]
    seen.append(
        Fact("Meaningless facts called steerable", f"{called:,} of {none:,}", percent(called / max(none, 1), 1))
    )
    rows = [
        [str(r.concept), str(r.kind), f"{r.n_items:,}", str(r.verdict),
         f"#{r.neuron} {r.label}" if r.neuron >= 0 else "",
         number(r.auc), f"{number(r.auc_low)} to {number(r.auc_high)}", signed(100 * r.rise, 1),
         f"{signed(100 * r.rise_low, 1)} to {signed(100 * r.rise_high, 1)}"]
        for r in facts.itertuples()
    ]  # fmt: skip
    columns = [
        "Fact",
        "Kind",
        "Titles",
        "Verdict",
        "Concept",
        "AUC",
        "95 %",
        f"Points gained at {STRENGTHS[-1]:g}",
        "95 %",
    ]
    table = Table(columns, rows, (2, 5, 6, 7, 8))
    unseen = "the SAE never saw" if made.metrics["unseen"] else "whom the SAE did see"
    limits = [
        "Each concept was chosen on one half of the titles and measured on the other, on lists of "
        f"{made.metrics['n_viewers']:,} viewers {unseen}."
    ]
    show_brief("audit", lambda written: audit_brief(run, seen, table, take, limits, written), "audit")
