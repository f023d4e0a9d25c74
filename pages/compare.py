"""Compare: two concepts side by side, or two SAEs with their concepts matched."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import streamlit as st

from core.analyses.relatives import scale_of
from core.neurons.contrast import FDR
from core.neurons.matching import correlation
from core.neurons.pair import cosine, together
from core.runs import Run
from core.steering.steering import Edit, Steering, steer
from dashboard import cache, state
from dashboard.briefs import either, show_comparison_brief
from dashboard.charts import DASH, Effect, effects_figure, number, percent, signed, table_html
from dashboard.commands import run_request
from dashboard.listing import named
from dashboard.navigation import concept_link, go, steer_edit
from dashboard.panels import (
    Metric,
    show_card,
    show_figure,
    show_header,
    show_metrics,
    show_note,
    show_section,
    show_title,
)
from dashboard.picking import show_pick
from dashboard.sae_pairs import show_alone, show_likeness, show_pairs, show_reports
from dashboard.saving import show_save
from dashboard.sidebar import current_run, current_viewer, name_of

QUESTION = "What do they share, and where do they differ?"
WHAT, OTHER = "compare", "with"
LEAST_VIEWERS = 10
"""In each of two audiences that are told apart."""
KINDS = {"concepts": "Two concepts", "saes": "Two SAEs"}
N_ITEMS, N_PUSHED, N_CONTRAST = 20, 8, 8


def run() -> None:
    """Draw the page."""
    shown = current_run("Compare", QUESTION)
    what = state.page_choice(WHAT, list(KINDS), "concepts")
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header("Compare", QUESTION)
        st.segmented_control(
            "Compare", list(KINDS), format_func=lambda key: KINDS[key], key=state.show_choice(WHAT, what),
            on_change=state.take_page_choice, args=(WHAT, "concepts"), label_visibility="collapsed",
        )  # fmt: skip
    if what == "concepts":
        compare_concepts(shown)
    else:
        compare_saes(shown)


def compare_concepts(shown: Run) -> None:
    """Draw two concepts side by side."""
    concepts = cache.concepts(shown.id)
    alive = concepts.loc[concepts["alive"], "neuron"].tolist()
    if len(alive) < 2:
        show_card("Nothing to compare", "Fewer than two concepts ever fire in this SAE.")
        return
    d_sae, labels = len(concepts), shown.table.frame["label"]
    a = state.parse_neuron(state.page_choice(state.A, None, str(alive[0])), d_sae)
    b = state.parse_neuron(state.page_choice(state.B, None, str(nearest(shown, a))), d_sae)
    set_both(a, b)  # also when they are there: a link to the same page does not change the address

    def name(id_: str) -> str:
        return f"{named(str(labels.iloc[int(id_)]), int(id_))} #{id_}"

    options = [str(j) for j in alive]
    left, right = st.columns(2)
    for column, letter, key, j in ((left, "A", state.A, a), (right, "B", state.B, b)):
        with column:
            show_pick(f"Concept {letter}", key, options, str(j), name, "concepts")
    ways = st.container(horizontal=True, horizontal_alignment="right", gap="small")
    with ways:
        st.button("Swap", icon=":material/swap_horiz:", on_click=set_both, args=(b, a), type="tertiary")
        show_save(shown, "neurons", [str(a), str(b)])
        if st.button("Steer with both", type="primary", icon=":material/tune:", disabled=a == b):
            strong = shown.table.frame["strong_activation"]
            go("steer", edit=[steer_edit(j, float(np.nan_to_num(strong.iloc[j]))) for j in (a, b)])
    if a == b:
        show_card("The same concept twice", "Choose another one for B.")
        return
    dead = [j for j in (a, b) if not shown.table.frame["alive"].iloc[j]]
    if dead:
        show_card(f"#{dead[0]} never fires", "It stands for nothing, so there is nothing to compare it by.")
        return
    viewers = together(cache.activations(shown.id, "viewers"), a, b)
    items = together(cache.activations(shown.id, "items"), a, b)
    with ways:
        alike = cosine(shown.sae.W_dec[a], shown.sae.W_dec[b])
        show_comparison_brief(shown, a, b, alike, viewers, items, cache.pair_contrast(shown.id, a, b))
    show_metrics(
        [
            Metric("pair_cosine", number(cosine(shown.sae.W_dec[a], shown.sae.W_dec[b])), "1: they push the same way"),
            Metric("pair_viewers", percent(viewers.jaccard), either(viewers)),
            Metric("pair_lift", f"{number(viewers.lift, 1)} ×", "1: no more than by chance"),
            Metric("pair_items", percent(items.jaccard), either(items)),
        ]
    )
    left, right = st.columns(2)
    with left:
        show_facts(shown, a, b)
    with right:
        show_audiences(shown, a, b)
    show_items(shown, a, b)
    show_effects(shown, a, b)


def nearest(shown: Run, a: int) -> int:
    """Give the living concept that fires most for the same viewers as another one."""
    acts = cache.activations(shown.id, "viewers")
    alike = correlation(acts[:, [a]], acts)[0]
    alike[~shown.table.frame["alive"].to_numpy() | (np.arange(len(alike)) == a)] = -np.inf
    return int(np.argmax(alike))


def set_both(a: int, b: int) -> None:
    """Choose both concepts; for callbacks."""
    state.set_page_choices({state.A: str(a), state.B: str(b)})


def show_facts(shown: Run, a: int, b: int) -> None:
    """Draw the numbers of both, beside each other, with links to them."""
    frame = cache.concepts(shown.id).sort_values("neuron", ignore_index=True)
    with st.container(border=True, height="stretch"):
        show_title("Side by side")
        rows = []
        for name, column, form in (
            ("Fires for viewers", "density_users", lambda v: percent(v, 1)),
            ("Fires for titles", "density_items", lambda v: percent(v, 1)),
            ("Max activation", "max_activation", number),
            ("Head share", "head_share", percent),
            ("Best match", "best_concept", lambda v: str(v) or DASH),
            ("Purity@20", "purity_at_20", percent),
            ("Base rate", "base_rate", lambda v: percent(v, 1)),
            ("Lift", "lift", lambda v: f"{number(v, 1)} ×" if np.isfinite(v) else DASH),
            ("Held-out AUC ≥", "held_out_auc_low", number),
            ("Steer slope", "slope", lambda v: signed(100 * v, 1)),
            ("Stability", "stability", number),
        ):
            if column in frame:
                rows.append([name, *(form(frame[column].iloc[j]) for j in (a, b))])
        st.html(table_html(["", f"A · #{a}", f"B · #{b}"], rows, numeric=(1, 2), keep=(0,)))
        with st.container(horizontal=True):
            for j in (a, b):
                concept_link(j, str(frame["label"].iloc[j]))


def show_items(shown: Run, a: int, b: int) -> None:
    """Draw the top titles: those of both, and those of one alone."""
    top, titles = shown.table.top_items, shown.dataset.titles()
    first, second = ([int(i) for i in top[j, :N_ITEMS] if i >= 0] for j in (a, b))
    both = [i for i in first if i in second]
    show_section("What makes them fire", f"top {N_ITEMS} titles of each, seen alone")
    for column, title, found in zip(
        st.columns(3),
        (f"Only A · {len(first) - len(both)}", f"Both · {len(both)}", f"Only B · {len(second) - len(both)}"),
        ([i for i in first if i not in both], both, [i for i in second if i not in both]),
        strict=True,
    ):
        with column, st.container(border=True, height="stretch"):
            show_title(title)
            years = cache.years(shown.id)
            if found:
                st.html(table_html(["Title", "Year"], [[titles[i], years[i]] for i in found], numeric=(1,)))
            else:
                show_note("No title.")


def show_effects(shown: Run, a: int, b: int) -> None:
    """Draw which titles both push, and where they differ."""
    scorer = shown.recommender.linear
    strong = [float(np.nan_to_num(shown.table.frame["strong_activation"].iloc[j])) for j in (a, b)]
    if scorer is None:
        user = current_viewer(shown)
        note = f"change of the scores of viewer {shown.dataset.users.ids[user]} for one strong activation"
        u = shown.embedding(user)
        moved = [
            shown.recommender.score(steer(u, Steering((Edit(j, "add", s),)), shown.sae))[0]
            for j, s in zip((a, b), strong, strict=True)
        ]
        push = [scores - shown.recommender.score(u)[0] for scores in moved]
    else:
        note = "change of a title's score for one strong activation"
        made = cache.analysis(shown.id, "relatives")
        scale = scale_of(shown) if made is None else float(made.metrics["scale"])
        push = [scale * s * (scorer.V @ shown.sae.W_dec[j]) for j, s in zip((a, b), strong, strict=True)]
    show_section("What they do to lists", note)
    titles = shown.dataset.titles()
    both, differ = np.minimum(push[0], push[1]), push[0] - push[1]
    order = np.argsort(-both, kind="stable")
    lists: list[tuple[str, Iterable[int]]] = [
        ("Both promote", [i for i in order[:N_PUSHED] if both[i] > 0]),
        ("A more than B", np.argsort(-differ, kind="stable")[:N_PUSHED]),
        ("B more than A", np.argsort(differ, kind="stable")[:N_PUSHED]),
    ]
    for column, (title, chosen) in zip(st.columns(3), lists, strict=True):
        found = [int(i) for i in chosen]
        with column, st.container(border=True, height="stretch"):
            show_title(title)
            if found:
                rows = [[titles[i], signed(float(push[0][i])), signed(float(push[1][i]))] for i in found]
                st.html(table_html(["Title", "A", "B"], rows, numeric=(1, 2)))
            else:
                show_note("No title is promoted by both.")


def show_audiences(shown: Run, a: int, b: int) -> None:
    """Draw what sets the viewers of one apart from those of the other."""
    found = cache.pair_contrast(shown.id, a, b)
    if found is None or min(found.n_a, found.n_b) < LEAST_VIEWERS:
        sizes = "fewer than two" if found is None else f"{found.n_a:,} and {found.n_b:,}"
        show_card(
            "Too few viewers",
            f"Of viewers who have one of the two and not the other there are {sizes}; {LEAST_VIEWERS} each are needed "
            "to tell their audiences apart.",
        )
        return
    labels = shown.table.frame["label"]
    frame = found.frame[~found.frame["neuron"].isin([a, b]) & found.frame["d"].notna()]
    top = frame.iloc[np.argsort(-frame["d"].abs().to_numpy(), kind="stable")[:N_CONTRAST]].sort_values(
        "d", ascending=False
    )
    rows = [
        Effect(named(str(labels[r.neuron]), r.neuron), f"#{r.neuron}", r.d, r.low, r.high) for r in top.itertuples()
    ]
    called = int((frame["q"] <= FDR).sum())
    takeaway = (
        f"{called:,} of {len(frame):,} other concepts differ between the {found.n_a:,} viewers of A alone and the "
        f"{found.n_b:,} of B alone, at a false discovery rate of 5 %."
    )
    sides = ("more with A", "more with B")
    show_figure(effects_figure("What sets their audiences apart", takeaway, rows, "Cohen's d", sides))
    few = " Fewer than 60 in a group: the intervals are too narrow." if min(found.n_a, found.n_b) < 60 else ""
    show_note(
        f"The two concepts themselves are left out. Intervals one by one, not adjusted.{few} Offline, logged data."
    )


def compare_saes(shown: Run) -> None:
    """Draw two SAEs side by side, with their concepts matched."""
    known = {info.id: info for info in cache.runs()}
    others = [id_ for id_ in known if id_ != shown.id]
    if not others:
        request = run_request(shown)
        command = cache.build_command(None if request is None else replace(request, seed=shown.seed + 1))
        show_card("Only one run here", "A second SAE is needed, for example of another seed. This builds one:", command)
        return
    on_same = [id_ for id_ in others if cache.run(id_).ids["dataset"] == shown.ids["dataset"]]
    other_id = state.page_choice(OTHER, others, (on_same or others)[0])
    words = {id_: f"{name_of(info)} · {id_.rpartition('-')[2]}" for id_, info in known.items()}
    show_pick("Compare this run with", OTHER, others, other_id, lambda id_: words[id_], "runs")
    other = cache.run(other_id)
    left, right = st.columns(2)
    with left:
        show_reports(shown, other)
    if other.ids["dataset"] != shown.ids["dataset"]:
        with right:
            show_card(
                "Of different datasets",
                "Concepts are matched by the viewers and the titles for which they fire. These two runs have none in "
                "common, so only their numbers can be compared.",
            )
        return
    found = cache.matching(shown.id, other_id)
    with right:
        show_likeness(found)
    if not found.pairs.empty:
        show_pairs(shown, other, found)
        show_alone(shown, other, found)


if __name__ == "__main__":
    run()
