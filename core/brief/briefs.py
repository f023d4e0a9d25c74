"""What stands in the brief of a concept, a comparison, an audit and a contrast of two groups."""

from collections.abc import Sequence
from typing import NamedTuple

from core.brief.evidence import (
    N_ITEMS,
    audience,
    clean_sentence,
    concept_limits,
    data_name,
    dose_sentence,
    figures,
    held_out,
    label_of,
    limits_of,
    nearest,
    purity_bars,
    pushes,
    q_text,
    response_of,
    sources,
    top_items,
    with_note,
)
from core.brief.page import Brief, Fact, Section, Table, note_html, page, table_html
from core.brief.pictures import Interval, bars, dose, forest
from core.neurons.contrast import FDR, Contrast
from core.runs import Run
from core.written import number, percent, signed

N_FOREST = 16


class Remark(NamedTuple):
    """Something that a person wrote. Plain text."""

    text: str
    who: str


def concept_brief(run: Run, neuron: int, written: str, remarks: Sequence[Remark] = ()) -> str:
    """Write the brief of a concept: what it stands for, the evidence, what moving it does, and the limits.

    Args:
        run: A finished run; analyses that are there are used.
        neuron: One that fires.
        written: Date and author.
        remarks: Notes on it.
    """
    facts, data = run.table.frame.iloc[neuron], run.dataset
    response, best = response_of(run, neuron), held_out(run, neuron)
    n_top = min(int(facts["n_items_firing"]), 20)
    clean = clean_sentence(facts, n_top)
    sections = [
        Section(
            "What makes it fire",
            f"The {min(int(facts['n_items_firing']), N_ITEMS)} titles that make it fire most, each seen alone.",
            table_html(top_items(run, neuron)),
        ),
        Section(
            "What they have in common",
            f"Share of the {n_top} strongest titles, against the whole catalogue (the mark): {clean}",
            bars(purity_bars(run, neuron, n_top)),
        ),
    ]
    if best is not None:
        rows = [
            [str(r.fact), str(r.of), number(r.auc), f"{number(r.low)} to {number(r.high)}",
             f"{percent(r.precision)} of {int(r.n_top)}", percent(r.base_rate, 1), f"{number(r.lift, 1)} ×"]
            for r in best.itertuples()
        ]  # fmt: skip
        sections.append(
            Section(
                "Whom and what it tells apart",
                "On the half of titles and viewers that was kept from choosing: 0.5 is chance, 1 is perfect.",
                table_html(
                    Table(["Fact", "Of", "AUC", "95 %", "Among the top", "Base rate", "Lift"], rows, range(2, 7))
                ),
            )
        )
    if data.n_interactions:
        sections.append(audience(run, neuron))
    if response is not None:
        sections.append(Section("What a dose of it brings", dose_sentence(response), dose(response)))
    if run.recommender.linear is not None:
        sections.append(pushes(run, neuron))
    sections.append(nearest(run, neuron))
    if remarks:
        body = "".join(note_html(r.text, r.who) for r in remarks)
        sections.append(Section("Notes", "What people wrote about it.", body))
    by = {"human": "by a person", "llm": "by a language model", "keyword": "from the catalogue's own words"}
    source = by.get(str(facts["label_source"]), str(facts["label_source"]))
    summary = (
        f"Concept #{neuron} of {data_name(run)}, labelled {source}. It fires for {percent(facts['density_users'], 1)} "
        f"of {data.n_users:,} viewers. {clean}"
    )
    limits = [*limits_of(run), *concept_limits(facts, response, n_top)]
    title = label_of(run, neuron)
    made_from = sources(run, "associations", "responses")
    numbers = figures(run, neuron)
    return page(Brief("Concept brief", title, summary, numbers, sections, limits, made_from, written))


def comparison_brief(
    run: Run, a: int, b: int, shared: Sequence[Fact], written: str, effects: Sequence[Interval] = ()
) -> str:
    """Write the brief of two concepts beside each other.

    Args:
        run: The run of both.
        a: The first neuron.
        b: The second.
        shared: What holds of the pair: cosine, overlap of viewers and titles.
        written: Date and author.
        effects: Where their viewers differ, if that was looked at: positive is more in A.
    """
    names = [f"{label_of(run, j)} #{j}" for j in (a, b)]
    rows = [[x.name, with_note(x), with_note(y)] for x, y in zip(figures(run, a), figures(run, b), strict=True)]
    tops = [[i for i in run.table.top_items[j, :N_ITEMS] if i >= 0] for j in (a, b)]
    n_both = len(set(tops[0]) & set(tops[1]))
    sections = [Section("Side by side", "The same figures of both.", table_html(Table(["", *names], rows)))]
    for name, j, top in zip(names, (a, b), tops, strict=True):
        take = f"{n_both} of these {len(top)} titles are among those of the other one too; each seen alone."
        sections.append(Section(f"What makes {name} fire", take, table_html(top_items(run, j))))
    if effects:
        take = "Cohen's d of the viewers of one alone: right is more with A, left more with B."
        sections.append(Section("Where their viewers differ", take, forest(effects)))
    for name, j in zip(names, (a, b), strict=True):
        response = response_of(run, j)
        if response is not None:
            sections.append(Section(f"What a dose of {name} brings", dose_sentence(response), dose(response)))
    summary = f"Two concepts of {data_name(run)}: A is {names[0]}, B is {names[1]}."
    made_from = sources(run, "responses")
    return page(Brief("Comparison", " and ".join(names), summary, shared, sections, limits_of(run), made_from, written))


def audit_brief(run: Run, facts: Sequence[Fact], table: Table, take: str, limits: Sequence[str], written: str) -> str:
    """Write the brief of a taxonomy audit.

    Args:
        run: The run that was audited.
        facts: How many facts of the catalogue have each verdict, and how often the procedure errs.
        table: The audited facts.
        take: One sentence that says what came out.
        limits: How it was measured, a sentence each.
        written: Date and author.
    """
    section = Section("Every fact of the catalogue", "With the concept that was chosen for it.", table_html(table))
    sections, said = [section], [*limits_of(run), *limits]
    summary = f"{take} Audited: {data_name(run)}."
    return page(
        Brief("Taxonomy audit", "What can be steered", summary, facts, sections, said, sources(run, "audit"), written)
    )


def groups_brief(run: Run, found: Contrast, names: tuple[str, str], of: str, written: str) -> str:
    """Write the brief of two groups of viewers or titles.

    Args:
        run: The run.
        found: How far they are apart.
        names: What the groups are called.
        of: "viewers" or "titles".
        written: Date and author.
    """
    rows = [
        Interval(
            label_of(run, int(r.neuron)), f"#{int(r.neuron)} · q {q_text(r.q)}", r.d, r.low, r.high,
            f"{signed(r.d)} [{signed(r.low)}, {signed(r.high)}]",
        )
        for r in found.largest(N_FOREST).itertuples()
    ]  # fmt: skip
    called = found.frame[found.frame["q"] <= FDR].sort_values("d", key=lambda d: -d.abs(), kind="stable")
    cells = [
        [f"#{int(r.neuron)}", label_of(run, int(r.neuron)), signed(r.d),
         f"{signed(r.low)} to {signed(r.high)}", q_text(r.q), number(r.mean_a, 3),
         number(r.mean_b, 3)]
        for r in called.itertuples()
    ]  # fmt: skip
    columns = ["", "Concept", "d", "95 %", "q", "Mean in A", "Mean in B"]
    seen = [
        Fact("Group A", f"{found.n_a:,}", names[0]),
        Fact("Group B", f"{found.n_b:,}", names[1]),
        Fact("Concepts that differ", f"{found.n_called:,} of {found.n_compared:,}", f"false discovery {percent(FDR)}"),
    ]
    sections = [
        Section("The largest differences", "Cohen's d: right is more in A, left more in B. 0.2 is little, 0.8 is much.",
                forest(rows)),
        Section("All concepts that differ", f"{found.n_called:,} at a false discovery rate of {percent(FDR)}.",
                table_html(Table(columns, cells, range(2, 7)))),
    ]  # fmt: skip
    limits = [
        *limits_of(run),
        "p by permutation of the groups, adjusted over all concepts; the intervals are one by one, not adjusted.",
        *(["Fewer than 60 members in a group: the intervals are too narrow."] * (min(found.n_a, found.n_b) < 60)),
        *([f"{found.n_both:,} are in both groups, which makes the differences smaller."] * bool(found.n_both)),
    ]
    summary = f"{of.capitalize()} of {data_name(run)}. A: {names[0]}. B: {names[1]}."
    title = f"{names[0]} against {names[1]}"
    return page(Brief("Two groups", title, summary, seen, sections, limits, sources(run), written))
