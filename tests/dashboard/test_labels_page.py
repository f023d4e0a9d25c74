"""Labels: the page shows what was tested, takes a model's label only where no person spoke, and keeps ratings."""

import re
import shutil
import time
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.analyses.base import analyse, find
from core.labels.bench import Bench
from core.labels.calls import Calls
from core.labels.facts import facts_known
from core.labels.failures import Failure
from core.labels.offers import Offer, strength
from core.labels.ratings import rate, ratings
from core.labels.stored import COLUMNS, LABELLED, Heartbeat, write_heartbeat, write_labels
from core.neurons.concepts import concepts_of
from core.runs import Run, open_run
from core.store import open_store
from dashboard import cache
from dashboard.charts_trust import Told, statuses_figure, told_figure
from dashboard.label_run import command, helps, progress_text, take
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


def offer(neuron: int, label: str, reason: str = "better") -> Offer:
    return Offer(neuron, "old", "keyword", label, reason, {}, {})  # type: ignore[arg-type]


def test_labels_of_a_model_never_take_the_place_of_a_persons(run: Run) -> None:
    proposed(run, {0: "Scary", 1: "Funny", 2: "Odd"}, {})
    store = open_store(run.workspace)
    store.set_label(run.id, 0, "Mine")
    assert take(run, [offer(0, "Scary"), offer(1, "Funny"), offer(2, "Odd", "keyword")]) == 1
    labels = store.labels(run.ids["sae"])
    assert (labels[0].text, labels[0].source) == ("Mine", "human")
    assert (labels[1].text, labels[1].source, labels[1].author) == ("Funny", "llm", "tiny-model")
    assert 2 not in labels, "what tells no more than the keyword label is no name"
    assert [label.text for label in store.label_history(run.ids["sae"], 0)] == ["Mine"]


def a_better_label(run: Run, bench: Bench) -> tuple[int, str]:
    """Give a neuron and a fact that tells its held-out titles better than its keyword label does."""
    facts = [fact.name for fact in facts_known(run.dataset, concepts_of(run.dataset)) if fact.kind in ("genre", "tag")]
    found = [
        (strength(card) - strength(bench.card(neuron, str(own))), neuron, name)
        for neuron, own, n in bench.cards[["neuron", "label", "n_positives"]].itertuples(index=False)
        for name in facts
        if n and (card := bench.card(neuron, name)) is not None and card["status"] in ("holds", "reads")
    ]
    gain, neuron, name = max(found)
    assert gain > 0
    return neuron, name


def test_one_button_takes_the_labels_that_do_better_and_no_other(run: Run) -> None:
    bench = cache.bench(run.id)
    assert bench is not None
    good, label = a_better_label(run, bench)
    cards = bench.cards.query("n_positives > 0 and neuron != @good")
    weak, vague = (int(j) for j in cards["neuron"].iloc[:2])
    proposed(run, {good: label, weak: "Lovely things", vague: "Unclear"}, {})
    app = open_page("labels")
    assert "1 of 3 labels of the model tell held-out titles better than the keyword label" in shown(app)
    table = app.dataframe[-1].value.set_index("#")["What becomes of it"]
    assert table[good] == "can be taken: tells more than the keyword label"
    assert table[weak].startswith("stays a proposal: cannot be tested")
    assert table[vague] == "stays a proposal: claims nothing"
    button = next(b for b in app.button if b.label == "Take all that do better (1)")
    app = button.click().run()
    assert "1 label taken over" in texts(app) and "1 more is the name already" in shown(app)
    labels = open_store(run.workspace).labels(run.ids["sae"])
    assert {neuron: (found.text, found.source) for neuron, found in labels.items()} == {good: (label, "llm")}
    row = app.dataframe[0].value.set_index("#").loc[good]
    assert (row["Label"], row["Source"]) == (label, "llm")
    assert not [b for b in app.button if b.label.startswith("Take all")]


def test_the_name_of_a_person_is_offered_no_other(run: Run) -> None:
    bench = cache.bench(run.id)
    assert bench is not None
    good, label = a_better_label(run, bench)
    open_store(run.workspace).set_label(run.id, good, "Mine")
    proposed(run, {good: label}, {})
    app = open_page("labels")
    assert app.dataframe[-1].value["What becomes of it"].tolist() == ["stays a proposal: a person named it"]
    assert not [b for b in app.button if b.label.startswith("Take all")]


def test_the_trust_card_names_whose_label_was_tested_and_how(run: Run) -> None:
    bench = cache.bench(run.id)
    assert bench is not None
    neuron, label = a_better_label(run, bench)
    own = str(bench.cards.set_index("neuron")["label"][neuron])
    assert f"keyword label “{own}”" in shown(open_page("concept", neuron=str(neuron)))
    store = open_store(run.workspace)
    store.set_label(run.id, neuron, label, source="llm", by="tiny-model")
    page = shown(open_page("concept", neuron=str(neuron)))
    assert "given by a language model, tiny-model" in page
    assert f"What was tested: the language model's label “{label}”, by the facts that its words name" in unescape(page)
    store.set_label(run.id, neuron, "Lovely things", by="ann")
    page = shown(open_page("concept", neuron=str(neuron)))
    assert "given by a person, ann" in page and "label “Lovely things” could not be tested" in page


def test_a_running_labelling_says_how_far_it_is_and_what_it_will_cost(run: Run) -> None:
    beat = Heartbeat("tiny-model", "labels", 30, 120, 2, time.time() - 65, time.time(), 225.0, 5000, 0.02, 0.08, 1.0)
    write_heartbeat(run.workspace, run.id, beat)
    calls = Calls(run.workspace)
    with calls.working(run.id):
        page = shown(open_page("labels"))
    calls.close()
    said = r"Began 1 min \d+ s ago, about 3 min \d+ s left\. 2 without a label so far\."
    assert re.search(said, page)  # the page is drawn a moment later
    assert "Spent 0.0200 US dollars of at most 1, about 0.0800 at the end, 5,000 tokens." in page
    assert "No sign of life for 1 min" in progress_text(beat, beat.at + 60)
    assert "not known yet" in progress_text(beat._replace(left_s=None), beat.at)
    assert "Began 1 min" not in shown(open_page("labels")), "nobody works on it any more"


def test_each_kind_of_failure_has_the_command_that_helps(run: Run) -> None:
    assert helps(Failure.TOO_FEW)[1] is None and helps(Failure.TIMEOUT) == ("Go on", ())
    proposed(run, {}, {0: Failure.TOO_FEW})
    assert "--again" not in shown(open_page("labels")), "no call helps where there is too little to show"
    proposed(run, {}, {0: Failure.TRUNCATED, 1: Failure.CAP, 2: Failure.SERVER})
    page = shown(open_page("labels"))
    assert "<span>--again</span>" in page and "--token-cap N" in page and "For 1 concept." in page


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
