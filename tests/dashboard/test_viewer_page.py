"""Viewer: the page says why a list is what it is, and its numbers add up."""

import re
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.recommenders.base import rank
from core.runs import Run
from core.steering.compare import Move
from core.steering.portrait import split_scores
from core.steering.steering import Edit, Steering, steer
from dashboard.charts import signed
from dashboard.charts_portrait import Part, movement, waterfall_figure
from dashboard.sidebar import offered_viewers
from tests.dashboard.test_pages import OUR_ATTRIBUTES, OUR_TAGS, Markup, changed, metric, open_page, query, shown


def viewer_of(run: Run) -> int:
    return run.dataset.users.index(offered_viewers(run)[0])


def original(run: Run, user: int) -> np.ndarray:
    return rank(run.recommender.score(run.embedding(user)), 20, [run.dataset.history(user)])[0]


def table(app: AppTest, place: int) -> Any:
    return app.dataframe[place].value


def test_the_page_shows_the_history_newest_first_and_what_fires(full: Run) -> None:
    app = open_page("viewer")
    shown(app)
    user = viewer_of(full)
    history, titles = full.dataset.history(user), full.dataset.titles()
    assert table(app, 0)["Title"].tolist() == [titles[i] for i in history[::-1]]
    acts = full.sae.encode(full.embedding(user))[0]
    active = table(app, 1)
    assert set(active["#"]) == set(np.flatnonzero(acts > 0))
    assert np.allclose(active["Activation"], acts[active["#"]])
    density = full.table.frame["density_users"].to_numpy()
    assert np.allclose(active["Base rate"], 100 * density[active["#"]])
    assert active["Percentile"].is_monotonic_decreasing
    assert metric(app, "History") == f"{len(history)}" and metric(app, "Active concepts") == f"{(acts > 0).sum()}"


def test_a_title_of_the_list_is_taken_apart_into_parts_that_sum_to_its_score(full: Run) -> None:
    user = viewer_of(full)
    item = int(original(full, user)[3])
    app = open_page("viewer", why=full.dataset.items.ids[item])
    html = shown(app)
    score = full.recommender.score(full.embedding(user))[0, item]
    figure = next(f for f in re.findall(r"<figure.*?</figure>", html, re.S) if f"4. {full.dataset.titles()[item]}" in f)
    assert f"It scores {score:.2f}" in figure
    cells = [float(v.replace("−", "-")) for v in re.findall(r"<td class='num'>([+−]?[\d.]+)</td>", figure)]
    assert np.isclose(sum(cells[:-1]), cells[-1], atol=0.01) and np.isclose(cells[-1], score, atol=0.01)
    split = split_scores(full.embedding(user), full.sae, full.recommender, np.array([item]))
    assert signed(float(split.by_neuron[:, 0].max())) in figure


def test_another_title_can_be_chosen_and_stays_in_the_address(full: Run) -> None:
    app = open_page("viewer")
    known = [full.dataset.items.ids[i] for i in original(full, viewer_of(full))]
    box = next(w for w in app.selectbox if w.key == "why_widget")
    box.select(known[2]).run()
    assert query(app, "why") == known[2]
    assert f"3. {full.dataset.titles()[full.dataset.items.index(known[2])]}" in shown(app)


def test_without_edits_two_lists_and_with_them_three(full: Run) -> None:
    html = shown(open_page("viewer"))
    assert "Reconstructed" in html and "With the edits" not in html
    user = viewer_of(full)
    strong = int(np.argmax(full.sae.encode(full.embedding(user))[0]))
    html = shown(open_page("viewer", edit=f"{strong}:scale:-3.0"))
    assert "With the edits" in html
    moved = steer(full.embedding(user), Steering((Edit(strong, "scale", -3.0),)), full.sae)
    steered = rank(full.recommender.score(moved), 20, [full.dataset.history(user)])[0]
    column = html.split("With the edits")[1]
    titles = full.dataset.titles()
    assert re.findall(r"<li><b>\d+</b><span>(.*?)<small>", column) == [titles[i] for i in steered if i >= 0]
    assert ("NEW" in column) == bool(set(steered) - set(original(full, user)))


def test_the_button_leads_to_steering_this_viewer(full: Run) -> None:
    other = offered_viewers(full)[2]
    app = open_page("viewer", viewer=other)
    next(b for b in app.button if b.label == "Steer this viewer").click().run()
    assert query(app, "viewer") == other
    assert "<h1>Steer</h1>" in shown(app)


def test_a_viewer_of_whom_nothing_is_known_still_has_a_list(full: Run) -> None:
    user = viewer_of(full)
    data = full.dataset
    with changed(full.split, history=data.with_interactions(data.user_index != user)):
        html = shown(open_page("viewer", viewer=data.users.ids[user]))
    assert "Nothing is in this viewer&#x27;s history" in html and "sl-lists" in html


def test_a_viewer_in_whom_no_concept_fires_is_told_so(full: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        type(full.sae), "encode", lambda self, X: np.zeros((len(X), self.config.d_sae), np.float32), raising=True
    )
    assert "No concept fires in this viewer" in shown(open_page("viewer"))


def test_a_viewer_that_is_not_there_is_told_with_near_ones(full: Run) -> None:
    html = shown(open_page("viewer", viewer="viewer 1234"))
    assert "sl-problem" in html and "There is no viewer" in html


def test_hostile_titles_stay_text(hostile: Run) -> None:
    seen = Markup()
    seen.feed(shown(open_page("viewer")))
    assert seen.tags <= OUR_TAGS and seen.attributes <= OUR_ATTRIBUTES


def test_a_waterfall_starts_each_part_where_the_last_one_ended() -> None:
    drawn = waterfall_figure("T", "Says.", [Part("a <b>", "", 3.0), Part("b", "", -1.0)], "Sum", "Score").html
    assert "a &lt;b&gt;" in drawn
    assert "class='up' style='left:0.0%;width:100.00%'" in drawn
    assert "class='down' style='left:66.7%;width:33.33%'" in drawn
    assert "class='sum' style='left:0.0%;width:66.67%'" in drawn
    assert "+2.00" in drawn


def test_movements_have_glyph_and_number() -> None:
    assert movement(Move(1, 34, 3))[0] == "▲ 31" and movement(Move(1, 1, 3))[0] == "▼ 2"
    assert movement(Move(1, None, 3))[0] == "NEW" and movement(Move(1, 3, 3))[0] == "="


def test_a_title_that_is_not_in_the_list_is_said_to_be_so_and_one_that_is_none_is_refused(full: Run) -> None:
    user = viewer_of(full)
    outside = full.dataset.items.ids[int(full.dataset.history(user)[0])]
    assert "is not in the list of this viewer" in shown(open_page("viewer", why=outside))
    assert "why=film-x in the address" in shown(open_page("viewer", why="film-x"))
