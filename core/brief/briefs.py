"""What stands in the brief of a concept, a comparison, an audit and a contrast of two groups."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.analyses.base import find, id_of
from core.brief.page import DASH, Brief, Fact, Section, Table, note_html, number, page, percent, table_html
from core.brief.pictures import Bar, Interval, bars, dose, forest
from core.data.groups import popularity_groups
from core.neurons.associations import Associations
from core.neurons.contrast import FDR, Contrast
from core.runs import Run
from core.steering.responses import Response, Responses
from core.workspace import STAGES

N_ITEMS, N_PUSHED, N_CONCEPTS, N_FACTS, N_FOREST = 20, 8, 6, 6, 16
FEW = 20
"""Titles below which purity is said to rest on few."""


class Side(NamedTuple):
    """One of two concepts that are compared, and what is said of it. Plain text."""

    neuron: int
    facts: Sequence[Fact]


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
    response, best = _response(run, neuron), _held_out(run, neuron)
    n_top = min(int(facts["n_items_firing"]), 20)
    clean = _clean_sentence(facts, n_top)
    sections = [
        Section(
            "What makes it fire",
            f"The {min(int(facts['n_items_firing']), N_ITEMS)} titles that make it fire most, each seen alone.",
            table_html(_top_items(run, neuron)),
        ),
        Section(
            "What they have in common",
            f"Share of the {n_top} strongest titles, against the whole catalogue (the mark): {clean}",
            bars(_purity_bars(run, neuron, n_top)),
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
        sections.append(_audience(run, neuron))
    if response is not None:
        sections.append(Section("What a dose of it brings", _dose_sentence(response), dose(response)))
    if run.recommender.linear is not None:
        sections.append(_pushes(run, neuron))
    sections.append(_nearest(run, neuron))
    if remarks:
        body = "".join(note_html(r.text, r.who) for r in remarks)
        sections.append(Section("Notes", "What people wrote about it.", body))
    seen = [
        Fact("Fires for viewers", percent(facts["density_users"], 1), _of(facts["n_users_firing"], data.n_users)),
        Fact("Fires for titles", percent(facts["density_items"], 1), _of(facts["n_items_firing"], data.n_items)),
        Fact("Purity", percent(facts["purity_at_20"]), f"{facts['best_concept'] or 'nothing'}, n = {n_top}"),
        Fact("Lift", f"{number(facts['lift'], 1)} ×", f"base rate {percent(facts['base_rate'], 1)}"),
        Fact("Share of the head", percent(facts["head_share"]), "of its activation is on the most popular titles"),
        Fact("Slope", _points(response.slope) if response else DASH, "of the top 20 for a strong activation"),
    ]
    by = {"human": "by a person", "llm": "by a language model", "keyword": "from the catalogue's own words"}
    source = by.get(str(facts["label_source"]), str(facts["label_source"]))
    summary = (
        f"Concept #{neuron} of {data_name(run)}, labelled {source}. It fires for {percent(facts['density_users'], 1)} "
        f"of {data.n_users:,} viewers. {clean}"
    )
    limits = [*_limits(run), *_concept_limits(facts, response, n_top)]
    title = label_of(run, neuron)
    return page(
        Brief(
            "Concept brief", title, summary, seen, sections, limits, sources(run, "associations", "responses"), written
        )
    )


def comparison_brief(
    run: Run, a: Side, b: Side, shared: Sequence[Fact], written: str, effects: Sequence[Interval] = ()
) -> str:
    """Write the brief of two concepts beside each other.

    Args:
        run: The run of both.
        a: The first, with its figures.
        b: The second, with the same figures in the same order.
        shared: What holds of the pair: cosine, overlap of viewers and titles.
        written: Date and author.
        effects: Where their viewers differ, if that was looked at: positive is more in A.
    """
    names = [f"{label_of(run, side.neuron)} #{side.neuron}" for side in (a, b)]
    rows = [[x.name, x.value, y.value] for x, y in zip(a.facts, b.facts, strict=True)]
    both = set(run.table.top_items[a.neuron, :N_ITEMS]) & set(run.table.top_items[b.neuron, :N_ITEMS]) - {-1}
    sections = [
        Section("Side by side", "The same figures of both.", table_html(Table(["", *names], rows))),
        *(
            Section(
                f"What makes {name} fire",
                f"{len(both)} of the {N_ITEMS} titles are among those of the other one too.",
                table_html(_top_items(run, side.neuron)),
            )
            for name, side in zip(names, (a, b), strict=True)
        ),
    ]
    if effects:
        sections.append(
            Section("Where their viewers differ", "Right: more in A. With 95 % intervals.", forest(effects))
        )
    for name, side in zip(names, (a, b), strict=True):
        response = _response(run, side.neuron)
        if response is not None:
            sections.append(Section(f"What a dose of {name} brings", _dose_sentence(response), dose(response)))
    summary = f"Two concepts of {data_name(run)}: A is {names[0]}, B is {names[1]}."
    brief = Brief(
        "Comparison",
        f"{names[0]} and {names[1]}",
        summary,
        shared,
        sections,
        _limits(run),
        sources(run, "responses"),
        written,
    )
    return page(brief)


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
    sections, said = [section], [*_limits(run), *limits]
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
            label_of(run, int(r.neuron)), f"#{int(r.neuron)} · q {_q(r.q)}", r.d, r.low, r.high,
            f"{number(r.d, sign=True)} [{number(r.low, sign=True)}, {number(r.high, sign=True)}]",
        )
        for r in found.largest(N_FOREST).itertuples()
    ]  # fmt: skip
    called = found.frame[found.frame["q"] <= FDR].sort_values("d", key=lambda d: -d.abs(), kind="stable")
    cells = [
        [f"#{int(r.neuron)}", label_of(run, int(r.neuron)), number(r.d, sign=True),
         f"{number(r.low, sign=True)} to {number(r.high, sign=True)}", _q(r.q), number(r.mean_a, 3),
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
        *_limits(run),
        "p by permutation of the groups, adjusted over all concepts; the intervals are one by one, not adjusted.",
        *(["Fewer than 60 members in a group: the intervals are too narrow."] * (min(found.n_a, found.n_b) < 60)),
        *([f"{found.n_both:,} are in both groups, which makes the differences smaller."] * bool(found.n_both)),
    ]
    summary = f"{of.capitalize()} of {data_name(run)}. A: {names[0]}. B: {names[1]}."
    title = f"{names[0]} against {names[1]}"
    return page(Brief("Two groups", title, summary, seen, sections, limits, sources(run), written))


def sources(run: Run, *analyses: str) -> Table:
    """Give what a brief was made from: every artefact of the run, and its analyses, with the checksums of the files."""
    rows = []
    for stage in (s for s in STAGES if s in run.ids):
        meta = run.meta(stage)
        rows += [[stage, meta.id, name, str(facts["sha256"])] for name, facts in sorted(meta.files.items())]
    for name in analyses:
        if run.workspace.has(name, id_of(run, name)):
            meta = run.workspace.meta(name, id_of(run, name))
            rows += [[name, meta.id, file, str(facts["sha256"])] for file, facts in sorted(meta.files.items())]
    return Table(["Made", "Id", "File", "SHA-256"], [*rows, ["seed", str(run.seed), "", ""]], hashes=(3,))


def data_name(run: Run) -> str:
    """Call a run by its dataset, its recommender and its SAE.

    The words that the side bar has.
    """
    sae = run.meta("sae")
    preset = sae.config.get("preset", sae.id)
    return (
        f"{run.meta('dataset').config['name']} · {run.meta('recommender').config['name']} · {preset}, seed {run.seed}"
    )


def label_of(run: Run, neuron: int) -> str:
    """Give the label of a neuron without the number that keeps it apart from others; it stands beside it."""
    return str(run.table.frame["label"].iloc[neuron]).removesuffix(f" · #{neuron}")


def _limits(run: Run) -> list[str]:
    found = [
        "Offline, on logged data: what people would do with other lists was not observed.",
        "It speaks of this recommender and this catalogue, at this seed; another SAE cuts concepts elsewhere.",
    ]
    if run.dataset.simulated:
        found.insert(0, "The viewers are simulated.")
    if not len(run.split.unseen_users):
        found.append("The SAE saw every viewer on whom it is measured here.")
    return found


def _concept_limits(facts: Any, response: Response | None, n_top: int) -> list[str]:
    found = []
    if n_top < FEW:
        found.append(f"It fires for {n_top} titles only: what they share rests on few.")
    if str(facts["label_source"]) != "human":
        found.append("The label was made by a program; it says what the strongest titles share, not why.")
    if response is None:
        found.append("Its dose-response was not measured.")
    elif response.flat:
        found.append("Moving it does not move lists more than random directions do.")
    elif not response.unseen:
        found.append("Its dose-response was measured on viewers whom the SAE saw.")
    return found


def _clean_sentence(facts: Any, n_top: int) -> str:
    if not facts["best_concept"] or not np.isfinite(facts["lift"]):
        return "Nothing that the catalogue knows is common to its strongest titles."
    at = "purity_at_20" if np.isfinite(facts["purity_at_20"]) else "purity_at_10"
    n = 20 if at == "purity_at_20" else min(n_top, 10)
    return (
        f"{percent(facts[at])} of the {n} strongest have “{facts['best_concept']}”, against "
        f"{percent(facts['base_rate'], 1)} of the catalogue ({number(facts['lift'], 1)} times)."
    )


def _top_items(run: Run, neuron: int) -> Table:
    table, items = run.table, run.dataset.item_table
    rows = []
    for place, (item, act) in enumerate(
        zip(table.top_items[neuron, :N_ITEMS], table.top_item_acts[neuron, :N_ITEMS], strict=True), start=1
    ):
        if item >= 0:
            row = items.iloc[int(item)]
            year = "" if pd.isna(row["year"]) else str(int(row["year"]))
            rows.append([str(place), str(row["title"]), year, ", ".join(row["genres"]), number(float(act))])
    return Table(["", "Title", "Year", "Genres", "Activation"], rows, (0, 4))


def _purity_bars(run: Run, neuron: int, n_top: int) -> list[Bar]:
    table, known = run.table, run.table.concepts
    at = 1 if n_top >= 20 else 0
    purity, base = np.nan_to_num(table.purity[at, :, neuron], nan=-1.0), known["base_rate"].to_numpy()
    best = (known["name"] == table.frame["best_concept"].iloc[neuron]).to_numpy()
    order = [c for c in np.lexsort((-(purity / np.maximum(base, 1e-9)), -purity, ~best)) if purity[c] > 0][:N_CONCEPTS]
    return [
        Bar(
            str(known["name"].iloc[c]), float(purity[c]), float(base[c]),
            f"{percent(float(purity[c]))}, base {percent(float(base[c]), 1)}", str(known["kind"].iloc[c]),
        )
        for c in order
    ]  # fmt: skip


def _held_out(run: Run, neuron: int) -> pd.DataFrame | None:
    made = find(run, "associations")
    if made is None:
        return None
    rows = Associations.from_saved(made.arrays, made.tables).of_neuron(neuron)
    rows = rows[np.isfinite(rows["auc"]) & (rows["low"] > 0.5)]
    return rows.head(N_FACTS) if len(rows) else None


def _response(run: Run, neuron: int) -> Response | None:
    made = find(run, "responses")
    return None if made is None else Responses.from_saved(made.arrays, made.tables).of_neuron(neuron)


def _audience(run: Run, neuron: int) -> Section:
    facts = run.table.frame.iloc[neuron]
    groups = popularity_groups(run.dataset.item_counts)
    share = np.bincount(groups, minlength=3) / max(run.dataset.n_items, 1)
    log = np.bincount(groups, weights=run.dataset.item_counts, minlength=3) / max(run.dataset.n_interactions, 1)
    names = ("head", "mid", "tail")
    said = ("the most popular titles, which make 20 % of the log", "between", "the least popular, which make 20 %")
    items = [
        Bar(f"Its titles: {name}", float(facts[f"{name}_share"]), float(share[i]),
            f"{percent(facts[f'{name}_share'])}, catalogue {percent(float(share[i]))}", said[i])
        for i, name in enumerate(names)
    ]  # fmt: skip
    viewers = [
        Bar(f"Its viewers: {name}", float(facts[f"viewer_{name}_share"]), float(log[i]),
            f"{percent(facts[f'viewer_{name}_share'])}, log {percent(float(log[i]))}", "of their histories")
        for i, name in enumerate(names)
    ]  # fmt: skip
    n = int((run.table.top_users[neuron] >= 0).sum())
    take = f"By activation over titles, and by the histories of the {n} viewers in whom it is strongest."
    return Section("Popular or rare", take, bars([*items, *viewers]))


def _pushes(run: Run, neuron: int) -> Section:
    scorer = run.recommender.linear
    assert scorer is not None
    effect = scorer.V @ run.sae.W_dec[neuron]
    order, titles = np.argsort(-effect, kind="stable"), run.dataset.titles()
    up, down = order[:N_PUSHED], order[::-1][:N_PUSHED]
    rows = [
        [titles[i], number(float(effect[i]), sign=True), titles[j], number(float(effect[j]), sign=True)]
        for i, j in zip(up, down, strict=True)
    ]
    take = "Change of a title's score for one unit more of this concept; exact, since the scores are linear."
    columns = ["Pushes up", "Change", "Pushes down", "Change"]
    return Section("What moving it does", take, table_html(Table(columns, rows, (1, 3))))


def _nearest(run: Run, neuron: int) -> Section:
    table = run.table
    near = zip(table.neighbours[neuron, :N_PUSHED], table.neighbour_cosine[neuron, :N_PUSHED], strict=True)
    rows = [[f"#{j}", label_of(run, int(j)), number(float(cosine))] for j, cosine in near if j >= 0]
    take = "Concepts that push in the most similar direction: it may be confused with these."
    return Section("Similar concepts", take, table_html(Table(["", "Concept", "Cosine"], rows, (2,))))


def _dose_sentence(r: Response) -> str:
    zero = float(r.fitted[int(np.argmin(np.abs(r.strengths)))])
    viewers = f"{r.n_viewers:,} viewers{' the SAE never saw' * r.unseen}"
    moved = (
        f"At strength {r.strengths[-1]:g} {percent(float(r.fitted[-1]), 1)} of the top 20 of {viewers} are "
        f"{r.concept}, without an edit {percent(zero, 1)}"
    )
    flat = "flat: too little, or no more than random directions bring" if r.flat else ""
    first = (
        f"{_points(r.slope)} [{_points(r.slope_low)}, {_points(r.slope_high)}] for a strong activation at the start, "
        f"random directions {_points(r.placebo_slope)}"
    )
    return f"{moved}: {flat or first}."


def _points(share: float) -> str:
    return f"{number(100 * share, 1, sign=True)} points" if np.isfinite(share) else DASH


def _of(n: Any, all_: int) -> str:
    return f"{int(n):,} of {all_:,}"


def _q(q: float) -> str:
    return "< 0.001" if q < 0.001 else number(q, 3)
