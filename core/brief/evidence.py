"""What the briefs say of a run and of its concepts: figures, tables, bars and sentences out of what was computed."""

from typing import Any

import numpy as np
import pandas as pd

from core.analyses.base import find, id_of
from core.brief.page import Fact, Section, Table, table_html
from core.brief.pictures import Bar, bars
from core.data.groups import popularity_groups
from core.neurons.associations import Associations
from core.runs import Run
from core.steering.responses import Response, Responses
from core.workspace import STAGES
from core.written import DASH, number, percent, signed

N_ITEMS, N_PUSHED, N_CONCEPTS, N_FACTS = 20, 8, 6, 6
FEW = 20
"""Titles below which purity is said to rest on few."""


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


def figures(run: Run, neuron: int) -> list[Fact]:
    """Give the six numbers of a concept."""
    facts, data, response = run.table.frame.iloc[neuron], run.dataset, response_of(run, neuron)
    n_top = min(int(facts["n_items_firing"]), 20)
    return [
        Fact("Fires for viewers", percent(facts["density_users"], 1), count_of(facts["n_users_firing"], data.n_users)),
        Fact("Fires for titles", percent(facts["density_items"], 1), count_of(facts["n_items_firing"], data.n_items)),
        Fact("Purity@20", percent(facts["purity_at_20"]), f"{facts['best_concept'] or 'nothing'}, n = {n_top}"),
        Fact("Lift", f"{number(facts['lift'], 1)} ×", f"base rate {percent(facts['base_rate'], 1)}"),
        Fact("Share of the head", percent(facts["head_share"]), "of its activation is on the most popular titles"),
        Fact("Slope", points(response.slope) if response else DASH, "of the top 20 for a strong activation"),
    ]


def with_note(fact: Fact) -> str:
    """Give a figure with what it is to be read against."""
    return f"{fact.value} ({fact.note})"


def limits_of(run: Run) -> list[str]:
    """Give what holds of every brief of a run, a sentence each."""
    found = [
        "Offline, on logged data: what people would do with other lists was not observed.",
        "It speaks of this recommender and this catalogue, at this seed; another SAE cuts concepts elsewhere.",
    ]
    if run.dataset.simulated:
        found.insert(0, "The viewers are simulated.")
    if not len(run.split.unseen_users):
        found.append("The SAE saw every viewer on whom it is measured here.")
    return found


def concept_limits(facts: Any, response: Response | None, n_top: int) -> list[str]:
    """Give what limits what is said of one concept."""
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


def clean_sentence(facts: Any, n_top: int) -> str:
    """Say what the strongest titles share."""
    if not facts["best_concept"] or not np.isfinite(facts["lift"]):
        return "Nothing that the catalogue knows is common to its strongest titles."
    at = "purity_at_20" if np.isfinite(facts["purity_at_20"]) else "purity_at_10"
    n = 20 if at == "purity_at_20" else min(n_top, 10)
    return (
        f"{percent(facts[at])} of the {n} strongest have “{facts['best_concept']}”, against "
        f"{percent(facts['base_rate'], 1)} of the catalogue ({number(facts['lift'], 1)} times)."
    )


def top_items(run: Run, neuron: int) -> Table:
    """Give the titles that make a neuron fire most."""
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


def purity_bars(run: Run, neuron: int, n_top: int) -> list[Bar]:
    """Give the facts of the catalogue that the strongest titles share most."""
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


def held_out(run: Run, neuron: int) -> pd.DataFrame | None:
    """Give the facts that a neuron tells apart on held-out titles and viewers; None where there is none."""
    made = find(run, "associations")
    if made is None:
        return None
    rows = Associations.from_saved(made.arrays, made.tables).of_neuron(neuron)
    rows = rows[np.isfinite(rows["auc"]) & (rows["low"] > 0.5)]
    return rows.head(N_FACTS) if len(rows) else None


def response_of(run: Run, neuron: int) -> Response | None:
    """Give the dose-response curve of a neuron; None where it was not measured."""
    made = find(run, "responses")
    return None if made is None else Responses.from_saved(made.arrays, made.tables).of_neuron(neuron)


def audience(run: Run, neuron: int) -> Section:
    """Give how popular the titles of a concept are, and those of its viewers."""
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


def pushes(run: Run, neuron: int) -> Section:
    """Give the titles that rise and fall with a concept, of a linear scorer."""
    scorer = run.recommender.linear
    assert scorer is not None
    effect = scorer.V @ run.sae.W_dec[neuron]
    order, titles = np.argsort(-effect, kind="stable"), run.dataset.titles()
    up, down = order[:N_PUSHED], order[::-1][:N_PUSHED]
    rows = [
        [titles[i], signed(float(effect[i])), titles[j], signed(float(effect[j]))]
        for i, j in zip(up, down, strict=True)
    ]
    take = "Change of a title's score for one unit more of this concept; exact, since the scores are linear."
    columns = ["Pushes up", "Change", "Pushes down", "Change"]
    return Section("What moving it does", take, table_html(Table(columns, rows, (1, 3))))


def nearest(run: Run, neuron: int) -> Section:
    """Give the concepts that push in the most similar direction."""
    table = run.table
    near = zip(table.neighbours[neuron, :N_PUSHED], table.neighbour_cosine[neuron, :N_PUSHED], strict=True)
    rows = [[f"#{j}", label_of(run, int(j)), number(float(cosine))] for j, cosine in near if j >= 0]
    take = "Concepts that push in the most similar direction: it may be confused with these."
    return Section("Similar concepts", take, table_html(Table(["", "Concept", "Cosine"], rows, (2,))))


def dose_sentence(r: Response) -> str:
    """Say what a dose of a concept brings."""
    zero = float(r.fitted[int(np.argmin(np.abs(r.strengths)))])
    viewers = f"{r.n_viewers:,} viewers{' the SAE never saw' * r.unseen}"
    moved = (
        f"At strength {r.strengths[-1]:g}, {percent(float(r.fitted[-1]), 1)} of the top 20 of {viewers} are "
        f"{r.concept}, without an edit {percent(zero, 1)}"
    )
    flat = "flat: too little, or no more than random directions bring" if r.flat else ""
    first = (
        f"{points(r.slope)} [{points(r.slope_low)}, {points(r.slope_high)}] for a strong activation at the start, "
        f"random directions {points(r.placebo_slope)}"
    )
    return f"{moved}: {flat or first}."


def points(share: float) -> str:
    """Write a difference of shares in points of the list."""
    return f"{signed(100 * share, 1)} points" if np.isfinite(share) else DASH


def count_of(n: Any, all_: int) -> str:
    """Say how many of all."""
    return f"{int(n):,} of {all_:,}"


def q_text(q: float) -> str:
    """Write a q-value; never 0 for what is only small."""
    return "< 0.001" if q < 0.001 else number(q, 3)
