"""Parts of the page of labels: one concept's label and what people say of it, and the run of a language model."""

import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.labels.bench import Bench
from core.labels.calls import working_on
from core.labels.endpoint import OPENAI_HOST
from core.labels.ratings import SCALE, krippendorff_alpha, matrix, rate, ratings
from core.labels.stored import Labels, jobs, read_labels
from core.runs import Run
from core.store import basis_of
from dashboard import cache, guard, state
from dashboard.charts import number, table_html
from dashboard.charts_trust import interval_text, status_text
from dashboard.escape import for_html, for_markdown
from dashboard.listing import named
from dashboard.navigation import go
from dashboard.panels import Metric, show_card, show_metrics, show_note, show_section, show_title
from dashboard.saving import show_label_editor
from dashboard.trust_card import show_trust_card

N_TITLES, N_PAIRS = 8, 500
REFRESH_S = 3


def show_one(shown: Run, bench: Bench, neuron: int) -> None:
    """Draw the trust card of a concept beside the titles that fire it, with what can be done about its label."""
    facts = shown.table.frame.iloc[neuron]
    label = str(facts["label"])
    show_section(named(label, neuron), f"concept #{neuron}")
    left, right = st.columns([3, 2])
    with left, st.container(border=True):
        show_trust_card(shown, neuron)
    with right, st.container(border=True):
        show_title("Its strongest titles")
        titles = cache.titles(shown.id)
        tops = [titles[i] for i in shown.table.top_items[neuron] if i >= 0][:N_TITLES]
        st.html("<ul>" + "".join(f"<li>{for_html(title, 80)}</li>" for title in tops) + "</ul>")
        with st.container(horizontal=True):
            show_label_editor(shown, neuron)
            if facts["label_source"] != "human" and st.button(
                "Lock this label", icon=":material/lock:", key=f"lock-{neuron}",
                help="Makes it yours: no model and no later build puts another one in its place.",
            ):  # fmt: skip
                cache.store().set_label(shown.id, neuron, named(label, neuron), "locked as it was")
                st.rerun()
            if st.button("Open concept", icon=":material/open_in_new:", key=f"open-{neuron}"):
                go("concept", neuron=str(neuron))
        show_rating(shown, neuron, label)
    proposal = proposals(shown).get(neuron)
    if proposal and proposal != label:
        show_proposal(shown, bench, neuron, label, proposal)


@guard.fragment
def show_rating(shown: Run, neuron: int, label: str) -> None:
    """Draw the form with which a person says how right a label is."""
    with st.form(f"rate-{neuron}", border=False):
        value = st.radio(
            "How right is this label for these titles?", list(SCALE), index=None, horizontal=True,
            format_func=lambda v: f"{v} {SCALE[v]}", key=f"rating-{neuron}",
        )  # fmt: skip
        sent = st.form_submit_button("Rate")
    if sent and value is None:
        show_note("Choose a number from 0 to 4 first.")
    elif sent and value is not None:
        rate(cache.store(), shown.id, neuron, label, value)
        st.success("Kept. Your last rating of a label counts.", icon=":material/check:")


def show_people(shown: Run) -> None:
    """Draw what people said of the labels, and how far they agree."""
    given = ratings(cache.store(), basis_of(shown.ids, "neurons"))
    show_section("What people say", "rated 0 to 4 beside the titles that fire a concept")
    if not given:
        show_note("Nobody rated a label yet: select one above. Two people are needed to see whether they agree.")
        return
    people = len({r.author for r in given})
    show_metrics(
        [
            Metric("label_agreement", f"{np.mean([r.rating for r in given]):.2f}", f"{len(given):,} ratings",
                   name="Mean rating, 0 to 4"),
            Metric("label_agreement", number(krippendorff_alpha(matrix(given))), f"{people:,} people"),
        ]
    )  # fmt: skip


def proposals(shown: Run) -> dict[int, str]:
    """Give the labels of the last run of a language model."""
    found = read_labels(shown.workspace, shown.id)
    return {} if found is None else found.named


def show_proposal(shown: Run, bench: Bench, neuron: int, label: str, proposal: str) -> None:
    """Draw a model's label beside the one in use, with the button that takes it."""
    with st.container(border=True):
        show_title("A language model calls it", "tested by the facts that its words name")
        cards = [card for text in (label, proposal) if (card := bench.card(neuron, text)) is not None]
        cells = [
            [which, str(card["label"]), status_text(card["status"]),
             interval_text(card["random"], card["random_low"], card["random_high"]), number(card["hard"])]
            for which, card in zip(("Now", "Model"), cards, strict=False)
        ]  # fmt: skip
        st.html(table_html(["", "Label", "Verdict", "Random", "Similar"], cells, numeric=(3, 4)))
        if st.button("Use the model's label", icon=":material/check:", key=f"accept-{neuron}"):
            accept(shown, {neuron: proposal})
            st.rerun()


def accept(shown: Run, labels: dict[int, str]) -> int:
    """Take labels of a model over into the store, but for concepts that a person named; gives how many."""
    store, sae = cache.store(), basis_of(shown.ids, "neurons")
    human = {neuron for neuron, label in store.labels(sae).items() if label.source == "human"}
    found = read_labels(shown.workspace, shown.id)
    by = str(found.about.get("model", "")) if found else ""
    taken = {neuron: text for neuron, text in labels.items() if neuron not in human}
    for neuron, text in taken.items():
        store.set_label(shown.id, neuron, text, "accepted on the page of labels", "llm", by or None)
    return len(taken)


def show_model_run(shown: Run, bench: Bench | None) -> None:
    """Draw what a language model was asked, what came of it, and what can be asked again."""
    show_section("Labels of a language model", "optional: the page is complete without")
    found = read_labels(shown.workspace, shown.id)
    if working_on(shown.workspace, shown.id):
        _watch(shown.id)
    elif found is None:
        show_card(
            "No model was asked",
            "Any OpenAI-compatible server can propose labels from facts of the catalogue alone; nothing of any viewer "
            "leaves. --dry-run says what it comes to and sends nothing.",
            command(shown, "MODEL", "contrast", "--dry-run"),
        )
        return
    if found is not None:
        _show_outcome(shown, found)
        if bench is not None:
            _show_old_and_new(shown, bench, found)


@st.fragment(run_every=REFRESH_S)
def _watch(run_id: str) -> None:
    """Draw how far a running labelling is, again every few seconds."""
    with guard.boundary():
        shown = cache.run(run_id)
        found = read_labels(shown.workspace, run_id)
        if not working_on(shown.workspace, run_id):
            st.rerun()
        done = 0 if found is None else len(found.frame)
        spent = "" if found is None else f" {_money(found.about)}"
        show_card("A model is being asked now", f"{done:,} concepts are stored so far.{spent} Ctrl-C there stops it.")


def _show_outcome(shown: Run, found: Labels) -> None:
    about, failed = found.about, found.failed
    n, n_jobs, host = len(found.named), len(jobs(shown.workspace, shown.id)), str(about.get("host", ""))
    others = f" The last of {n_jobs:,} such runs." if n_jobs > 1 else ""
    show_note(
        f"{about.get('model', '')} on {host}, preset {about.get('preset', '')}: {n:,} concepts named, "
        f"{sum(map(len, failed.values())):,} not. {_money(about)}{others}"
    )
    if not failed:
        return
    cells = [[why, f"{len(neurons):,}", ", ".join(f"#{j}" for j in neurons[:8])] for why, neurons in failed.items()]
    st.html(
        f"<div class='sl-card'>{table_html(['Not named because', 'Concepts', 'Such as'], cells, numeric=(1,))}</div>"
    )
    own = [] if host == OPENAI_HOST else ["--base-url", "BASE_URL"]
    where = f" BASE_URL is the address on {host} that was given before." if own else ""
    show_card(
        "Ask again",
        f"Only calls without a usable answer are sent anew; all others were kept.{where}",
        command(shown, str(about.get("model", "MODEL")), str(about.get("preset", "contrast")), *own, "--again"),
    )


def _show_old_and_new(shown: Run, bench: Bench, found: Labels) -> None:
    """Draw the labels in use beside the model's, and the button that takes those that tell held-out titles better."""
    frame = shown.table.frame
    rows = []
    for neuron, new in sorted(found.named.items())[:N_PAIRS]:
        old = str(frame["label"].iloc[neuron])
        cards = bench.card(neuron, old), bench.card(neuron, new)
        if cards[0] is None or cards[1] is None:
            continue
        better = cards[1]["random"] > max(np.nan_to_num(cards[0]["random"]), np.nan_to_num(cards[0]["random_shuffled"]))
        rows.append(
            {"#": neuron, "Now": named(old, neuron), "Source": frame["label_source"].iloc[neuron], "Model": new,
             "Now, random": cards[0]["random"], "Model, random": cards[1]["random"],
             "Now, similar": cards[0]["hard"], "Model, similar": cards[1]["hard"],
             "Verdict": status_text(cards[1]["status"]), "better": bool(better)}
        )  # fmt: skip
    if not rows:
        return
    view = pd.DataFrame(rows)
    form = st.column_config.NumberColumn(format="%.2f", width=95)
    first = f", the first of {len(found.named):,}" if len(found.named) > N_PAIRS else ""
    with st.expander(f"Old and new, {len(view):,} concepts{first}"):
        st.dataframe(
            view.drop(columns="better"), hide_index=True, height=min(38 + 35 * len(view), 388),
            column_config={name: form for name in view if name.endswith(("random", "similar"))},
        )  # fmt: skip
    better = {int(j): str(text) for j, text, yes in zip(view["#"], view["Model"], view["better"], strict=True) if yes}
    if better and st.button(f"Use the model's label for {len(better):,} concepts that it tells better"):
        state.keep("labels_accepted", accept(shown, better))
        st.rerun()
    taken = state.kept("labels_accepted")
    if taken is not None:
        st.success(for_markdown(f"{taken:,} labels taken over; those of people stay."), icon=":material/check:")
        state.keep("labels_accepted", None)


def command(shown: Run, model: str, preset: str, *more: str) -> str:
    """Give the command that asks a model for labels of this run."""
    words = ["python", "-m", "core", "label", "--workspace", str(shown.workspace.path), "--run", shown.id]
    return shlex.join([*words, "--llm", model, "--preset", preset, *more])


def _money(about: Mapping[str, Any]) -> str:
    usd, cap = about.get("spent_usd"), about.get("cap_usd")
    said = f"Spent {usd:.4f} US dollars" if isinstance(usd, int | float) else "Its price is not known"
    most = f" of {cap:g}" if isinstance(cap, int | float) else ""
    return f"{said}{most}, {int(about.get('spent_tokens') or 0):,} tokens."
