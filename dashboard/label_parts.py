"""Parts of the page of labels: one concept's label, and what people say of it."""

import numpy as np
import streamlit as st

from core.labels.offers import REASONS
from core.labels.ratings import SCALE, krippendorff_alpha, matrix, rate, ratings
from core.runs import Run
from core.store import basis_of
from core.written import number
from dashboard import cache, guard
from dashboard.charts import table_html
from dashboard.charts_trust import interval_text, status_text
from dashboard.escape import for_html
from dashboard.label_run import said, take
from dashboard.listing import named
from dashboard.navigation import go
from dashboard.panels import Metric, show_metrics, show_note, show_section, show_title
from dashboard.saving import show_label_editor
from dashboard.trust_card import show_trust_card

N_TITLES = 8


def show_one(shown: Run, neuron: int) -> None:
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
    show_proposal(shown, neuron)


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


def show_proposal(shown: Run, neuron: int) -> None:
    """Draw a model's label beside the one in use: to be taken where it tells more, else with the reason."""
    offer = next((o for o in cache.offers(shown.id) if o.neuron == neuron), None)
    if offer is None or offer.reason == "same":
        return
    with st.container(border=True):
        show_title("A language model calls it", "tested by the facts that its words name")
        cells = [
            [which, str(card["label"]), status_text(card["status"]),
             interval_text(card["random"], card["random_low"], card["random_high"]), number(card["hard"])]
            for which, card in (("Now", offer.old), ("Model", offer.new))
        ]  # fmt: skip
        st.html(table_html(["", "Label", "Verdict", "Random", "Similar"], cells, numeric=(3, 4)))
        if offer.better:
            show_note(f"The model's label {REASONS[offer.reason]}.")
            if st.button("Take the model's label", icon=":material/check:", key=f"accept-{neuron}"):
                take(shown, [offer])
                st.rerun()
            return
        show_note(f"It stays a proposal: {said(offer.reason)}.")
        if offer.reason != "person" and st.button(
            "Use it all the same, as mine", key=f"accept-{neuron}",
            help="It becomes the label of a person: yours. No model puts another one in its place.",
        ):  # fmt: skip
            cache.store().set_label(shown.id, neuron, offer.label, "proposed by a model, taken without a better test")
            st.rerun()
