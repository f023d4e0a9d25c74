"""How far the label of one concept can be trusted, as a card for any page."""

from typing import Any

import numpy as np
import streamlit as st

from core.runs import Run
from core.store import basis_of
from core.written import DASH, number, percent
from dashboard import cache
from dashboard.charts import table_html
from dashboard.charts_response import points
from dashboard.charts_trust import Told, causal_text, status_text, told_html, told_table
from dashboard.escape import for_html
from dashboard.panels import show_missing, show_note, show_title

SOURCES = {"keyword": "keywords of the catalogue", "llm": "a language model", "human": "a person"}


def show_trust_card(run: Run, neuron: int) -> None:
    """Draw whether the label that a concept has now tells items it has not seen, and is raised by steering.

    Args:
        run: The run that is shown.
        neuron: Index of a neuron.
    """
    bench = cache.bench(run.id)
    if bench is None:
        show_title("Can its label be trusted?")
        show_missing(run, "trust")
        return
    facts = run.table.frame.iloc[neuron]
    label = str(facts["label"])
    card = bench.card(neuron, label)
    source = str(facts["label_source"])
    show_title("Can its label be trusted?", f"given by {SOURCES.get(source, source)}{_who(run, neuron, source)}")
    if card is None:
        show_note("It never fires, so there is nothing to test.")
        return
    st.html(card_html(card))
    show_note(tested(card, source))


def tested(card: dict[str, Any], source: str) -> str:
    """Say what was tested: whose label, and by what."""
    whose = {"keyword": "keyword label", "llm": "language model's label", "human": "person's label"}.get(
        source, "label"
    )
    if card["status"] == "untested":
        return f"The {whose} “{card['label']}” could not be tested."
    if card["status"] == "mixed":
        return f"The {whose} “{card['label']}” claims nothing, so there is nothing to test."
    how = "as a rule over facts of the catalogue" if source == "keyword" else "by the facts that its words name"
    return f"What was tested: the {whose} “{card['label']}”, {how}."


def _who(run: Run, neuron: int, source: str) -> str:
    """Name the model or person that gave a label."""
    if source not in ("llm", "human"):
        return ""
    given = cache.store().labels(basis_of(run.ids, "neurons")).get(neuron)
    return "" if given is None else f", {given.author}"


def card_html(card: dict[str, Any]) -> str:
    """Give a card of `core.labels.bench.Bench.card` as safe HTML."""
    head = f"<p><b>{for_html(status_text(card['status']))}</b></p><p>{for_html(card['verdict'], 300)}</p>"
    if card["status"] == "untested" or not card["n_positives"]:
        return f"<div>{head}</div>"
    rows = told_rows(card)
    facts = [
        ("Purity lift", _lift(card)),
        ("Confidence (point-biserial r)", number(card["confidence"])),
        ("Promoting it: share of what it names", causal_text(card["effect"], card["p"])),
        ("What else it brings", _behaves(card)),
    ]
    more = table_html(["Also measured", ""], facts)
    table = f"<details><summary>Show as a table</summary>{told_table(rows)}</details>"
    return f"<div class='sl-figure'>{head}{told_html(rows)}{more}{table}</div>"


def told_rows(card: dict[str, Any]) -> list[Told]:
    """Give the two parts of the test of a label."""
    n = int(card["n_positives"])
    return [
        Told(
            name, f"{n} that fire it, {int(card[f'n_{part}'])} that do not", card[part], card[f"{part}_low"],
            card[f"{part}_high"], card[f"{part}_shuffled"],
        )
        for name, part in (("Told from random titles", "random"), ("Told from similar titles", "hard"))
    ]  # fmt: skip


def _lift(card: dict[str, Any]) -> str:
    if not np.isfinite(card["lift"]):
        return DASH
    return f"{number(card['lift'], 1)} × ({percent(card['purity'])} against {percent(card['base_rate'], 1)})"


def _behaves(card: dict[str, Any]) -> str:
    return (
        f"{card['behaves_as']} ({points(card['behaves_effect'])})" if card["behaves_as"] else "nothing more than that"
    )
