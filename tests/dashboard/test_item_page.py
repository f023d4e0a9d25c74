"""Item: the page says what a title stands for and who likes it, also where little is known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.neurons.profile import alike
from core.runs import Run
from dashboard import picking
from dashboard.charts_portrait import ShareRow, shares_figure
from dashboard.navigation import path_of
from dashboard.picking import find
from tests.dashboard.test_pages import OUR_ATTRIBUTES, OUR_TAGS, Markup, changed, metric, open_page, query, shown


def popular(run: Run) -> int:
    return int(np.argmax(run.dataset.item_counts))


def links(app: AppTest) -> list[Any]:
    return [element.proto for element in app.get("page_link")]


def test_the_page_starts_with_the_most_popular_title_and_says_so_in_the_address(full: Run) -> None:
    app = open_page("item")
    item = popular(full)
    assert query(app, "item") == full.dataset.items.ids[item]
    assert f"<h1>{full.dataset.titles()[item]}</h1>" in shown(app)
    assert metric(app, "Viewers") == f"{full.dataset.item_counts[item]}" and metric(app, "Popularity rank") == "1"


def test_its_concepts_are_those_that_fire_with_their_place(full: Run) -> None:
    app = open_page("item", item="film-7")
    shown(app)
    item = full.dataset.items.index("film-7")
    acts = full.sae.encode(full.recommender.probe_items())
    rows = app.dataframe[0].value
    assert set(rows["#"]) == set(np.flatnonzero(acts[item] > 0))
    for row in rows.itertuples(index=False):
        j = row[1]
        assert np.isclose(row[3], 100 * acts[item, j] / acts[:, j].max())
        assert row.Place == 1 + (acts[:, j] > acts[item, j]).sum() and row.Of == (acts[:, j] > 0).sum()
    counts = full.dataset.item_counts
    assert metric(app, "Popularity rank") == f"{1 + (counts > counts[item]).sum()}"


def test_neighbours_by_concept_stand_beside_those_of_the_recommender(full: Run) -> None:
    app = open_page("item", item="film-7")
    html = shown(app)
    item = full.dataset.items.index("film-7")
    acts, vectors = full.sae.encode(full.recommender.probe_items()), full.recommender.embed_items()
    titles = full.dataset.titles()
    labels = [link.label for link in links(app) if link.page.endswith("item") and "Film number" in link.label]
    by_code, by_vector = alike(acts, item, 6), alike(vectors, item, 6)
    expected = [titles[i] for i in (*by_code.items, *by_vector.items)]
    assert [label.replace("• ", "").split(" :gray")[0] for label in labels] == expected
    both = set(by_code.items.tolist()) & set(by_vector.items.tolist())
    assert sum("•" in label for label in labels) == 2 * len(both)
    assert f"{len(both)} of 6 are neighbours both ways" in html and "shares “" in html


def test_typing_a_title_opens_it(full: Run) -> None:
    app = open_page("item")
    next(w for w in app.selectbox if w.key == "item_widget").select("film-11").run()
    assert query(app, "item") == "film-11" and "<h1>Film number 11</h1>" in shown(app)


def test_of_very_many_titles_only_those_that_fit_are_offered(full: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picking, "MOST_OPTIONS", 20)
    app = open_page("item", item="film-7")
    box = next(w for w in app.selectbox if w.key == "item_widget")
    assert box.options == ["Film number 7 (1957)"]
    next(w for w in app.text_input if w.key == "item_search").input("number 1").run()
    box = next(w for w in app.selectbox if w.key == "item_widget")
    assert len(box.options) == 12 and "Film number 19 (1969)" in box.options
    box.select("film-19").run()
    assert query(app, "item") == "film-19"
    next(w for w in app.text_input if w.key == "item_search").input("nothing such").run()
    assert "None of the 60 titles has “nothing such”" in shown(app)


def test_what_was_typed_is_found_at_the_start_of_names_first() -> None:
    names = {"a": "The Alien", "b": "Alien", "c": "ALIENS", "d": "Bee"}
    assert find(list(names), " alien ", names.__getitem__) == ["b", "c", "a"]
    assert find(list(names), "", names.__getitem__) == []


def test_a_title_that_nobody_has_watched_is_described_as_such(full: Run) -> None:
    data, item = full.dataset, full.dataset.items.index("film-7")
    with changed(full.split, history=data.with_interactions(data.item_index != item)):
        app = open_page("item", item="film-7")
        html = shown(app)
        assert metric(app, "Viewers") == "0"
    assert "Nobody has watched it" in html and "Concepts of its viewers" not in html


def test_a_title_with_one_viewer_has_no_spread(full: Run) -> None:
    data, item = full.dataset, full.dataset.items.index("film-7")
    keep = data.item_index != item
    keep[np.flatnonzero(~keep)[0]] = True
    with changed(full.split, history=data.with_interactions(keep)):
        assert "Too few viewers" in shown(open_page("item", item="film-7"))


def test_a_title_for_which_nothing_fires_is_described_as_such(full: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = type(full.sae).encode

    def silent(self: Any, X: np.ndarray) -> np.ndarray:
        acts = encode(self, X)
        if len(X) == full.dataset.n_items:
            acts[popular(full)] = 0
        return acts

    monkeypatch.setattr(type(full.sae), "encode", silent)
    app = open_page("item")
    html = shown(app)
    assert "No concept fires for this title" in html and "Nothing is known of this title that others" in html
    assert next(b for b in app.button if b.label == "Steer with its strongest concept").disabled


def test_attributes_of_its_viewers_stand_against_base_rates(full: Run) -> None:
    data, item = full.dataset, popular(full)
    fans = np.unique(data.user_index[data.item_index == item])
    people = pd.DataFrame({"club": ["<b>in</b>" if u in fans else "out" for u in range(data.n_users)]})
    with changed(data, user_table=people):
        html = shown(open_page("item"))
    n = len(fans)
    assert f"Its {n} viewers" in html and "Club: &lt;b&gt;in&lt;/b&gt;" in html and "<b>in" not in html
    assert f"of its viewers have “Club: &lt;b&gt;in&lt;/b&gt;”, against {100 * n / data.n_users:.0f} % of all" in html


def test_shares_have_their_interval_and_base_rate_on_one_scale() -> None:
    drawn = shares_figure("T", "Says.", [ShareRow("x", "n = 5", 0.5, 0.25, 0.75, 0.125)], "Share").html
    top = 0.75 * 1.04
    assert f"left:{100 * 0.25 / top:.1f}%;width:{100 * 0.5 / top:.1f}%" in drawn
    assert f"<u class='base' style='left:{100 * 0.125 / top:.1f}%'>" in drawn
    assert "4.00 ×" in drawn and "25.0 % to 75.0 %" in drawn


def test_a_title_that_is_not_there_is_told(full: Run) -> None:
    html = shown(open_page("item", item="film-700"))
    assert "sl-problem" in html and "item=film-700" in html


def test_the_button_starts_steering_with_its_strongest_concept(full: Run) -> None:
    app = open_page("item", item="film-7")
    first = int(app.dataframe[0].value["#"].iloc[0])
    next(b for b in app.button if b.label == "Steer with its strongest concept").click().run()
    assert str(query(app, "edit")).startswith(f"{first}:add:") and "<h1>Steer</h1>" in shown(app)


def test_hostile_titles_and_genres_stay_text(hostile: Run) -> None:
    seen = Markup()
    seen.feed(shown(open_page("item")))
    assert seen.tags <= OUR_TAGS and seen.attributes <= OUR_ATTRIBUTES


def test_there_is_a_page_behind_every_link() -> None:
    assert all(path_of(name).exists() for name in ("item", "viewer", "compare", "concept"))
