"""Concept: every side of a neuron, with and without the analyses, for neurons that are odd."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.analyses.base import KNOWN, analyse
from core.neurons.relatives import Relatives
from core.runs import Run, open_run
from dashboard.charts_concept import Cosine, cosines_figure, history_html, rests_on_html, values_html
from dashboard.concept_parts.beside import told
from dashboard.concept_parts.head import concept_json
from pages.concept import TABS
from tests.dashboard.test_pages import changed, links, metric, open_page, query, shown


@pytest.fixture(scope="module")
def analysed(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tiny run with the relatives of its neurons, in a workspace of its own."""
    copy = tmp_path_factory.mktemp("workspaces") / "analysed"
    copy.mkdir()
    for folder in tiny_run.workspace.path.iterdir():
        if folder.is_dir() and folder.name not in KNOWN:
            (copy / folder.name).symlink_to(folder)
    run = open_run(copy)
    analyse(run, ["relatives"])
    return run


@pytest.fixture
def related(analysed: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The pages show the run with relatives."""
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(analysed.workspace.path))
    monkeypatch.setattr("dashboard.cache.open_run", lambda *_: analysed)
    st.cache_resource.clear()
    yield analysed
    st.cache_resource.clear()


def best(run: Run) -> int:
    return int(run.table.frame["evidence"].idxmax())


def html_of(app: AppTest) -> str:
    """Give what is shown as one text without tags."""
    return re.sub(r"<[^>]+>", " ", shown(app))


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_opens_with_the_address_that_names_it(related: Run, tab: str) -> None:
    app = open_page("concept", neuron=str(best(related)), tab=tab)
    assert "sl-problem" not in shown(app)
    assert ("What makes it fire" in shown(app)) == (tab == "Examples")


def test_a_tab_that_is_not_there_is_told(full: Run) -> None:
    assert "tab=Dreams in the address is not one of those" in html_of(open_page("concept", tab="Dreams"))


def test_the_open_tab_stays_from_one_concept_to_the_next(full: Run) -> None:
    app = open_page("concept", tab="Distribution")
    app.button(key="after").click().run()
    assert "How strongly it fires" in shown(app)
    assert query(app, "tab") == "Distribution"


def test_the_bands_hold_titles_that_fire_as_they_say(full: Run) -> None:
    j = best(full)
    acts = full.activations("items")[:, [j]].toarray().ravel()
    text = html_of(open_page("concept", neuron=str(j)))
    assert f"n = {(acts > 0).sum()} of 60 titles" in text
    order = np.sort(acts[acts > 0])[::-1]
    values = [float(v) for v in re.findall(r"\b\d\.\d\d\b", text.split("Strongest")[1].split("90-99")[0])]
    assert values[:8] == pytest.approx(order[:8], abs=0.006)


def test_near_misses_are_of_the_same_genre_and_do_not_fire(full: Run) -> None:
    j = next(
        int(n) for n in full.table.frame.sort_values("evidence", ascending=False)["neuron"]
        if full.table.frame["n_items_firing"][n] >= 5
    )  # fmt: skip
    app = open_page("concept", neuron=str(j))
    assert "Near misses" in shown(app)
    acts = full.activations("items")[:, [j]].toarray().ravel()
    near = [int(n) for n in re.findall(r"Film number (\d+) :gray\[\d{4} · [A-Z]", links(app))]
    assert near and not acts[near].any()


def test_the_histories_of_the_strongest_viewers_are_whole_and_say_what_fires(full: Run) -> None:
    j = best(full)
    html = shown(open_page("concept", neuron=str(j)))
    acts = full.activations("items")[:, [j]].toarray().ravel()
    for user in full.table.top_users[j, :3]:
        history = full.dataset.history(int(user))
        marked = " · ".join(f"<b>Film number {i}</b>" if acts[i] > 0 else f"Film number {i}" for i in history)
        assert f"<p class='sl-watched'>{marked}</p>" in html


def test_titles_and_viewers_are_links(full: Run) -> None:
    j = best(full)
    app = open_page("concept", neuron=str(j))
    pages = {str(e.proto.page).split("/")[-1] for e in app.get("page_link")}
    assert {"item", "viewer", "concept"} <= pages
    user = full.dataset.users.ids[int(full.table.top_users[j, 0])]
    assert f"{user} " in links(app) and f"Viewer {user}" not in links(app)  # the id says itself what it is of


def test_relatives_are_linked_with_what_relates_them(related: Run) -> None:
    found = Relatives.from_arrays(_arrays(related))
    j = int(np.flatnonzero((found.together.neurons[:, 0] >= 0) & (found.opposite.neurons[:, 0] >= 0))[0])
    app = open_page("concept", neuron=str(j))
    k, lift = int(found.together.neurons[j, 0]), found.together.lift[j, 0]
    assert re.search(rf"{lift:.2f} × \[.*\] · n {found.together.n_both[j, 0]} · #{k}\]", links(app))
    other = int(found.opposite.neurons[j, 0])
    assert f":gray[−{-found.opposite.values[j, 0]:.2f} · #{other}]" in links(app)


def test_what_is_not_computed_yet_is_told_with_the_command_and_the_rest_is_shown(unanalysed: Run) -> None:
    text = html_of(open_page("concept", neuron=str(best(unanalysed))))
    assert re.search(r"Not computed yet: opposite concepts.*--what relatives", text)
    assert "What makes it fire" in text
    for tab, name in (("Dose-response", "responses"), ("Who", "associations")):
        assert f"--what {name}" in html_of(open_page("concept", tab=tab))


def test_pushes_of_a_scorer_that_is_not_linear_wait_for_the_analysis(
    unanalysed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(unanalysed.recommender), "linear", None)
    assert "--what relatives" in html_of(open_page("concept", tab="Pushes"))


def test_a_neuron_with_one_title_has_no_purity_and_says_n_is_1(full: Run) -> None:
    j = best(full)
    frame, top = full.table.frame.copy(), full.table.top_items.copy()
    frame.loc[j, ["n_items_firing", "purity_at_10", "purity_at_20", "purity_at_50", "lift"]] = [1, *[np.nan] * 4]
    top[j, 1:] = -1
    with changed(full.table, frame=frame, top_items=top):
        app = open_page("concept", neuron=str(j))
        shown(app)
        assert metric(app, "Purity lift") == "–"
        assert "n = 1" in [str(m.delta).replace("\\", "") for m in app.metric]


def test_the_json_holds_what_the_page_shows(related: Run) -> None:
    j = best(related)
    told = json.loads(concept_json(related, related.table.frame.iloc[j]))
    assert told["ids"] == related.ids and told["neuron"]["neuron"] == j
    assert told["top_items"][0]["item"] == related.dataset.items.ids[int(related.table.top_items[j, 0])]
    lens = Relatives.from_arrays(_arrays(related)).lens
    assert told["pushes_up"][0]["change_of_score"] == pytest.approx(float(lens.up.values[j, 0]))
    assert [row["neuron"] for row in told["similar"]] == [int(k) for k in related.table.neighbours[j] if k >= 0]
    assert {"opposite", "fires_together", "pushes_down"} <= told.keys()


def test_compare_starts_with_this_concept(full: Run) -> None:
    app = open_page("concept", neuron="5")
    next(b for b in app.button if b.label == "Compare").click().run()
    assert query(app, "a") == "5"


def test_charts_say_what_they_show_and_escape_names() -> None:
    figure = cosines_figure("Near", [Cosine("<b>x</b>", "#3", 0.95), Cosine("y", "#4", -0.5)], "cosine")
    assert "nearly the same: cosine +0.95" in figure.takeaway and "#4 “y”: −0.50" in figure.takeaway
    assert "<b>x" not in figure.html and "width:47.5%" in figure.html and "left:25.0%" in figure.html
    assert cosines_figure("Near", [], "cosine").takeaway == "There is no other concept that fires."
    assert history_html(["<i>a</i>", "b"], np.array([False, True])).count("<b>") == 1
    assert "<i>a" not in history_html(["<i>a</i>"], np.array([True]))
    html = rests_on_html(["a", "b"], np.array([0.5, 0.0]), np.array([0.25, -0.1]), 2, 9)
    assert "25.0 %" in html and "−10.0 %" in html and "Of 9 titles 2 were left out" in html
    assert "does not fire" in rests_on_html(["a"], np.array([0.0]), np.array([np.nan]), 1, 1)
    assert "+0.50" in values_html([0.5], 1.0, "up") and "width:50.0%" in values_html([0.5], 1.0)


def _arrays(run: Run) -> dict[str, np.ndarray]:
    folder = next(p for p in Path(run.workspace.path / "relatives").iterdir() if not p.name.startswith("."))
    return dict(run.workspace.arrays("relatives", folder.name))


def test_a_concept_whose_label_claims_nothing_is_told_from_others_by_its_strongest_title() -> None:
    table = SimpleNamespace(
        frame=pd.DataFrame({"label": ["Mixed · #0", "Horror", "Unclear · #2"]}), top_items=np.array([[1], [0], [-1]])
    )
    run: Any = SimpleNamespace(
        table=table, dataset=SimpleNamespace(item_table=pd.DataFrame({"title": ["Alien", "Big"]}))
    )
    assert [told(run, j) for j in range(3)] == ["Mixed · top: Big", "Horror", "Unclear · fires for no title"]
