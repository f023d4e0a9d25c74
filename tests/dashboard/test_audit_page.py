"""Taxonomy audit: the page shows the verdicts of the analysis, and how often the procedure errs."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.analyses.base import Made
from core.runs import Run
from core.steering.audit import FEW, SEEN, STEERED, UNSEEN
from dashboard.charts_audit import AuditRow, audit_figure, verdict_text
from dashboard.listing import named
from pages.audit import listed, takeaway, to_csv
from tests.dashboard.test_pages import OUR_ATTRIBUTES, OUR_TAGS, Markup, metric, open_page, query, shown

PARTS = ("", "_low", "_high", "_placebo", "_spread", "_p", "_q")
NUMBERS = [f"{effect}{part}" for effect in ("slope", "rise") for part in PARTS]
NUMBERS += ["auc_chosen", "auc", "auc_low", "auc_high", "auc_p", "auc_q", "share", "base_rate"]


def table() -> pd.DataFrame:
    """Give an audit of five facts."""
    rows = [
        ("Comedy", "genre", 0, UNSEEN, 0.52, 0.01),
        ("<b>spies</b>", "tag", 3, STEERED, 0.97, 0.55),
        ("=HYPERLINK(1)", "tag", 4, SEEN, 0.81, 0.02),
        ("1920s", "decade", -1, FEW, np.nan, np.nan),
        ("1980s", "decade", 3, STEERED, 0.77, 0.15),
    ]
    frame = pd.DataFrame(rows, columns=["concept", "kind", "neuron", "verdict", "auc", "rise"])
    frame = frame.assign(n_items=[300, 20, 30, 12, 90], n_held_out=[150, 10, 14, 5, 44])
    for name in NUMBERS:
        if name not in frame:
            frame[name] = np.where(frame["neuron"] >= 0, 0.1, np.nan)
    return frame


@pytest.fixture
def audited(full: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    metrics = {"n_viewers": 500, "unseen": True, "n_permuted": 110, "n_permuted_called": 2}
    made = Made({}, {"audit": table()}, metrics)
    monkeypatch.setattr("dashboard.cache.analysis", lambda run_id, name: made if name == "audit" else None)
    yield full


def rows_of(app: AppTest) -> pd.DataFrame:
    return app.dataframe[0].value


def choice(app: AppTest, key: str) -> Any:
    return next(w for w in app.get("button_group") if w.key == f"{key}_widget")


def test_the_page_shows_every_fact_with_its_verdict_and_what_chance_does(audited: Run) -> None:
    app = open_page("audit")
    html = shown(app)
    assert metric(app, "Can be steered") == "2 of 4" and metric(app, "Not seen") == "1"
    assert metric(app, "Called by mistake") == "2 of 110"
    assert "on 110 permuted facts" in html and "calls 2 of them steerable (1.8 %)" in html
    assert "500 viewers the SAE never saw" in html
    rows = rows_of(app)
    assert rows["Fact"].tolist() == ["<b>spies</b>", "1980s", "=HYPERLINK(1)", "Comedy", "1920s"]
    assert rows["Verdict"].tolist()[2:] == ["◐ seen, not steered", "○ not seen", "· too few items"]
    assert rows["Gain"][0] == pytest.approx(55) and rows["AUC"][1] == 0.77
    assert rows["Concept"][0] == f"#3 {named(audited.table.frame['label'][3], 3)}" and rows["Concept"][4] == ""
    assert "Of these 4 facts 2 can be steered" in html


def test_a_choice_filters_the_facts_and_stands_in_the_address(audited: Run) -> None:
    app = open_page("audit", verdict="steered")
    assert rows_of(app)["Fact"].tolist() == ["<b>spies</b>", "1980s"]
    choice(app, "fact").select("decade").run()
    assert rows_of(app)["Fact"].tolist() == ["1980s"] and query(app, "fact") == "decade"
    choice(app, "verdict").select("all").run()
    assert rows_of(app)["Fact"].tolist() == ["1980s", "1920s"] and query(app, "verdict") is None
    html = shown(open_page("audit", verdict="few", fact="genre"))
    assert "No fact of this kind has this verdict." in html and "sl-figure" not in html


def test_an_address_that_names_no_verdict_is_told(audited: Run) -> None:
    html = shown(open_page("audit", verdict="great"))
    assert "sl-problem" in html and "verdict=great" in html


def test_an_audit_that_is_missing_says_how_to_make_it(full: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.cache.analysis", lambda run_id, name: None)
    html = shown(open_page("audit"))
    assert "Not computed yet" in html and "analyse" in html and "audit" in html


def test_a_catalogue_without_facts_has_nothing_to_audit(full: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(
        {}, {"audit": table().iloc[:0]}, {"n_viewers": 9, "unseen": True, "n_permuted": 0, "n_permuted_called": 0}
    )
    monkeypatch.setattr("dashboard.cache.analysis", lambda run_id, name: made if name == "audit" else None)
    assert "Nothing to audit" in shown(open_page("audit"))


def test_an_audit_on_viewers_that_the_sae_saw_says_so(audited: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made({}, {"audit": table()}, {"n_viewers": 9, "unseen": False, "n_permuted": 0, "n_permuted_called": 0})
    monkeypatch.setattr("dashboard.cache.analysis", lambda run_id, name: made if name == "audit" else None)
    app = open_page("audit")
    assert "that the SAE did see" in shown(app) and "permuted facts" not in shown(app)
    assert metric(app, "Called by mistake") == "0 of 0"


def test_names_of_facts_stay_text(audited: Run) -> None:
    seen = Markup()
    seen.feed(shown(open_page("audit")))
    assert seen.tags <= OUR_TAGS and seen.attributes <= OUR_ATTRIBUTES
    assert "&lt;b&gt;spies&lt;/b&gt;" in shown(open_page("audit"))


def test_the_csv_holds_every_shown_fact_and_no_formula() -> None:
    facts = listed(table(), pd.Series(["a", "b", "c", "=d", "e"]))
    read = pd.read_csv(io.BytesIO(to_csv(facts)))
    assert read["concept"].tolist()[2] == "'=HYPERLINK(1)" and read["label"].tolist()[0] == "'=d"
    assert len(read) == 5 and np.allclose(read["rise"], facts["rise"], equal_nan=True)


def test_the_takeaway_names_the_fact_that_moves_most_or_says_that_none_does() -> None:
    facts = listed(table(), pd.Series(list("abcde")))
    assert "<b>spies</b> moves most: from 10.0 % of the top 20 to 65.0 % at strength 3" in takeaway(facts)
    assert takeaway(facts).endswith(" Not seen: Comedy.")
    one = facts[facts["verdict"] == UNSEEN]
    assert takeaway(one) == "This fact cannot be steered by a single concept. Not seen: Comedy."
    many = pd.concat([one] * 7, ignore_index=True)
    assert takeaway(many).startswith("Of these 7 facts none can be steered") and takeaway(many).endswith(" and 2 more.")


def test_the_picture_puts_both_intervals_chance_and_the_verdict_in_words_in_a_row() -> None:
    row = AuditRow("Spies", "tag", STEERED, (0.9, 0.8, 1.0), (0.5, 0.4, 0.6), (0.0, 0.1))
    none = AuditRow("Rain", "tag", UNSEEN, (0.5, 0.45, 0.55), (0.0, -0.1, 0.1), (0.0, float("nan")))
    html = audit_figure([row, none], "Says what.", 3.0, 7).html
    assert "the first 2 of 7" in html and "● can be steered" in html and "○ not seen" in html
    low, high = -0.2, 0.6  # of all gains and of what random directions reach
    assert f"class='dot' style='left:{100 * (0.5 - low) / (high - low):.2f}%'" in html
    assert f"class='dot quiet' style='left:{100 * (0.5 - 0.45) / 0.55:.2f}%'" in html
    assert html.count("class='chance'") == 1 and "+50 points" in html
    assert verdict_text(SEEN) == "◐ seen, not steered"
