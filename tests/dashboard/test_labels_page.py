"""Labels: the page shows what was tested, takes a model's label only where no person spoke, and keeps ratings."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.analyses.base import analyse, find
from core.labels.failures import Failure
from core.labels.ratings import rate, ratings
from core.labels.stored import COLUMNS, LABELLED, write_labels
from core.runs import Run, open_run
from core.store import open_store
from dashboard.charts_trust import Told, statuses_figure, told_figure
from dashboard.label_parts import accept, command
from dashboard.trust_card import card_html
from tests.dashboard.test_pages import OUR_ATTRIBUTES, OUR_TAGS, Markup, metric, open_page, shown

HOSTILE = "</p><script>alert(1)</script>"


@pytest.fixture(scope="module")
def tested(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the labels were tested."""
    folder = tmp_path_factory.mktemp("labels") / "w"
    shutil.copytree(tiny_run.workspace.path, folder)
    analyse(open_run(folder), ["trust"])
    return folder


@pytest.fixture
def run(tested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of it that a test may write to."""
    shutil.copytree(tested, tmp_path / "w")
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "w"))
    monkeypatch.setenv("STEERLENS_AUTHOR", "ann")
    return open_run(tmp_path / "w")


def proposed(run: Run, labels: dict[int, str], failed: dict[int, str]) -> None:
    """Write what a model is said to have answered."""
    nothing: dict[str, Any] = {"str": "", "int64": 0, "float64": np.nan, "object": []}
    rows = [
        {**{name: nothing[kind] for name, kind in COLUMNS.items()}, "neuron": j, "label": labels.get(j, ""),
         "status": LABELLED if j in labels else failed[j]}
        for j in sorted({*labels, *failed})
    ]  # fmt: skip
    about = {"model": "tiny-model", "host": "127.0.0.1", "preset": "contrast", "spent_usd": 0.25, "spent_tokens": 1234,
             "cap_usd": 1.0}  # fmt: skip
    write_labels(run.workspace, run.id, "tiny-model-1", pd.DataFrame(rows), about)


def texts(app: AppTest) -> str:
    return shown(app) + " ".join(str(e.value) for e in app.get("success"))


def test_without_the_analysis_the_page_says_how_to_make_it(full: Run) -> None:
    page = shown(open_page("labels"))
    assert "Not computed yet: how far the labels can be trusted" in page and "--what trust" in page
    assert "No model was asked" in page


def test_the_page_shows_what_was_measured(run: Run) -> None:
    made = find(run, "trust")
    assert made is not None
    app = open_page("labels")
    page, ours = shown(app), made.metrics["sources"]["keyword"]
    assert metric(app, "Told at random") == f"{ours['random']:.2f}"
    assert metric(app, "Told from similar") == f"{ours['hard']:.2f}"
    confirmed = int(made.tables["cards"]["status"].isin(["holds", "reads"]).sum())
    assert metric(app, "Confirmed labels") == f"{confirmed} of {made.metrics['n_tested']}"
    assert "TF-IDF, a tag as document" in page and "No model was asked" in page and "Nobody rated a label yet" in page
    table = app.dataframe[0].value
    assert sorted(table["#"]) == sorted(made.tables["cards"]["neuron"])


def test_the_label_of_a_person_is_shown_and_tested_by_the_facts_that_it_names(run: Run) -> None:
    made = find(run, "trust")
    assert made is not None
    neuron = int(made.tables["cards"].query("n_positives > 0")["neuron"].iloc[0])
    open_store(run.workspace).set_label(run.id, neuron, "Frightening horror")
    table = open_page("labels").dataframe[0].value
    row = table[table["#"] == neuron].iloc[0]
    assert row["Label"] == "Frightening horror" and row["Source"] == "human" and row["Random"] != "–"
    open_store(run.workspace).set_label(run.id, neuron, "Lovely things")
    row = open_page("labels").dataframe[0].value.query("`#` == @neuron").iloc[0]
    assert row["Verdict"] == "· not tested"


def test_a_filter_of_the_address_leaves_labels_of_one_verdict(run: Run) -> None:
    made = find(run, "trust")
    assert made is not None
    counts = made.tables["cards"]["status"].value_counts()
    status = str(counts.index[0])
    assert len(open_page("labels", label_verdict=status).dataframe[0].value) == counts.iloc[0]
    assert "not one of those there are" in shown(open_page("labels", label_verdict="nonsense"))


def test_the_run_of_a_model_is_shown_with_its_failures_and_the_command_that_asks_again(run: Run) -> None:
    proposed(run, {0: "Horror"}, {1: Failure.DECLINED, 2: Failure.TRUNCATED})
    page = shown(open_page("labels"))
    assert "tiny-model on 127.0.0.1" in page and "1 concepts named, 2 not" in page
    assert Failure.DECLINED in page and Failure.TRUNCATED in page and "--again" in page
    assert "--base-url BASE_URL" in page and "BASE_URL is the address on 127.0.0.1" in page  # never to another server
    assert "Spent 0.2500 US dollars of 1, 1,234 tokens" in page


def test_labels_of_a_model_never_take_the_place_of_a_persons(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    proposed(run, {0: "Scary", 1: "Funny"}, {})
    store = open_store(run.workspace)
    store.set_label(run.id, 0, "Mine")
    assert accept(run, {0: "Scary", 1: "Funny"}) == 1
    labels = store.labels(run.ids["sae"])
    assert (labels[0].text, labels[0].source) == ("Mine", "human")
    assert (labels[1].text, labels[1].source, labels[1].author) == ("Funny", "llm", "tiny-model")
    assert [label.text for label in store.label_history(run.ids["sae"], 0)] == ["Mine"]


def test_ratings_are_summed_up_with_their_agreement(run: Run) -> None:
    store = open_store(run.workspace)
    for person in ("ann", "bob"):
        rate(store, run.id, 0, "Horror", 4, by=person)
        rate(store, run.id, 1, "Comedy", 1, by=person)
    app = open_page("labels")
    assert metric(app, "Mean rating, 0 to 4") == "2.50" and metric(app, "Agreement of people") == "1.00"
    assert len(ratings(store, run.ids["sae"])) == 4


def test_text_of_strangers_stays_text() -> None:
    card = {
        "label": HOSTILE, "status": "holds", "verdict": f"Reads as {HOSTILE}.", "n_positives": 8, "n_random": 8,
        "n_hard": 8, "lift": 2.0, "purity": 0.5, "base_rate": 0.25, "confidence": 0.4, "effect": 0.1, "p": 0.01,
        "behaves_as": HOSTILE, "behaves_effect": 0.2,
        **{f"{part}{end}": 0.7 for part in ("random", "hard") for end in ("", "_low", "_high", "_shuffled")},
    }  # fmt: skip
    html = card_html(card) + told_figure([Told(HOSTILE, HOSTILE, 0.7, 0.5, 0.9, 0.5)], HOSTILE, HOSTILE).html
    html += statuses_figure({"holds": 3, "fails": 1}, HOSTILE).html
    found = Markup()
    found.feed(html)
    assert found.tags <= OUR_TAGS and found.attributes <= OUR_ATTRIBUTES
    assert "<script" not in html


def test_the_command_of_a_model_quotes_what_needs_it(run: Run) -> None:
    assert "'my model'" in command(run, "my model", "recsae", "--again")
