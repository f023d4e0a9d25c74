"""Every page opens on an empty, a half-built and a full workspace, and tells what is wrong with an address."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.pipeline import build
from core.runs import Run
from core.workspace import Workspace
from dashboard.charts import number, signed
from dashboard.state import LADDER
from tests.conftest import tiny_request

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "overview", "concepts", "concept", "map", "groups", "compare", "viewer", "item", "lists", "steer", "training",
    "quality", "labels",
)  # fmt: skip


OUR_TAGS = {
    "header", "section", "div", "span", "p", "h1", "h2", "h3", "small", "ul", "li", "pre", "code", "figure", "details",
    "summary", "table", "thead", "tbody", "tr", "th", "td", "i", "b", "u",
}  # fmt: skip
OUR_ATTRIBUTES = {"class", "style", "role", "scope", "aria-label"}


class Markup(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@contextmanager
def changed(value: object, **fields: object) -> Iterator[None]:
    """Change fields of a frozen value for a while."""
    before = {name: getattr(value, name) for name in fields}
    for name, new in fields.items():
        object.__setattr__(value, name, new)
    try:
        st.cache_resource.clear()
        yield
    finally:
        for name, old in before.items():
            object.__setattr__(value, name, old)


def query(app: AppTest, name: str) -> str | None:
    """Give a value of the address."""
    found = app.query_params.get(name)
    return found[0] if isinstance(found, list) else found


def open_page(page: str, **query: str) -> AppTest:
    """Run the app at a page."""
    app = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=60)
    app.switch_page(str(ROOT / "pages" / f"{page}.py"))
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def shown(app: AppTest) -> str:
    """Give all HTML and labels of a page, after a check that nothing failed."""
    assert not app.exception
    html = "".join(e.proto.body for e in app.get("html") if not e.proto.body.startswith("<style>"))
    assert "Something went wrong" not in html
    return html


def links(app: AppTest) -> str:
    """Give the labels of all links of a page, their backslashes removed."""
    return "\n".join(str(e.proto.label).replace("\\", "") for e in app.get("page_link"))


def metric(app: AppTest, label: str) -> str:
    """Give the value of a metric, its backslashes removed."""
    return str(next(m.value for m in app.metric if m.label == label)).replace("\\", "")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_full_workspace(full: Run, page: str) -> None:
    assert "sl-problem" not in shown(open_page(page))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_how_to_begin_in_an_empty_workspace(empty: Path, page: str) -> None:
    html = shown(open_page(page))
    assert "python -m core" in html
    assert "<h1>" in html, "what the page is for"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_what_is_missing_in_a_half_built_workspace(half: Path, page: str) -> None:
    html = shown(open_page(page))
    assert "the SAE was not built" in html or "“sae” is missing" in html
    assert "python -m core build" in html


def test_the_overview_of_a_half_built_workspace_goes_on_with_what_is_there(half: Path, tiny_folder: Path) -> None:
    html = shown(open_page("overview"))
    assert "the stage “sae” is missing" in html
    assert "There is: dataset, split, recommender" in html
    assert "<span>--recommender elsa</span> <span>--preset knots</span>" in html


def test_the_overview_shows_the_numbers_of_the_report(full: Run) -> None:
    app = open_page("overview")
    html = shown(app)
    facts = full.report["dataset"]
    assert f"{facts['n_users']:,} viewers · {facts['n_items']:,} items" in html
    assert f"{full.report['sae']['n_unseen_viewers']:,} viewers that the SAE never saw" in html
    assert metric(app, "Alive concepts") == f"{full.report['sae']['alive']} of {full.report['sae']['d_sae']}"
    kept = 1 - full.report["sae"]["ndcg_loss"]
    assert metric(app, "List quality kept") == f"{kept * 100:.1f} %"


def test_simulated_viewers_are_called_so(full: Run) -> None:
    assert "imulated viewer" not in shown(open_page("overview"))
    with changed(full.dataset, simulated=True):
        assert "Simulated viewers" in shown(open_page("overview"))
        assert "simulated viewers" in shown(open_page("concept"))


def test_the_first_concept_is_the_one_with_the_most_evidence_and_not_the_first_index(full: Run) -> None:
    app = open_page("concept")
    evidence = full.table.frame["evidence"]
    assert evidence[int(query(app, "neuron"))] == evidence.max() > evidence[0]


def test_a_concept_shows_its_own_numbers(full: Run) -> None:
    j = int(full.table.frame["evidence"].idxmax())
    facts = full.table.frame.iloc[j]
    app = open_page("concept", neuron=str(j))
    html = shown(app)
    assert f"#{j}" in html
    assert metric(app, "Max activation") == f"{facts['max_activation']:.2f}"
    assert metric(app, "Purity lift") == f"{facts['lift']:.1f} ×"
    for item in full.table.top_items[j, :5]:
        assert item < 0 or f"Film number {item} " in links(app)


def test_what_a_concept_pushes_up_and_down_are_the_ends_of_its_row(full: Run) -> None:
    j = int(full.table.frame["evidence"].idxmax())
    scale = np.median(full.sae.normalise(full.recommender.embed(full.dataset.histories())).scale)
    effect = full.recommender.linear.V @ full.sae.W_dec[j] * scale
    app = open_page("concept", neuron=str(j), tab="Pushes")
    for item in (effect.argmax(), effect.argmin()):
        assert f"Film number {item} :gray[{1950 + item}]" in links(app)
        assert f"<span>{signed(float(effect[item]))}</span></div>" in shown(app)


def test_next_and_previous_follow_the_list(unanalysed: Run) -> None:
    order = unanalysed.table.frame.sort_values("evidence", ascending=False)
    first, second = (int(j) for j in order.loc[order["alive"], "neuron"].head(2))
    app = open_page("concept", neuron=str(first))
    assert app.button(key="before").disabled
    app.button(key="after").click().run()
    assert query(app, "neuron") == str(second)
    app.button(key="before").click().run()
    assert query(app, "neuron") == str(first)


def test_a_dead_neuron_has_a_page_of_one_explaining_card(full: Run) -> None:
    frame = full.table.frame.copy()
    frame.loc[0, "alive"] = False
    with changed(full.table, frame=frame):
        app = open_page("concept", neuron="0")
        assert "This neuron never fires" in shown(app)
        assert not app.metric
        assert "1 dead hidden" in open_page("concepts").toggle(key="dead").label


@pytest.mark.parametrize(
    ("page", "query", "told"),
    [
        ("concept", {"neuron": "99999"}, "There is no concept #99999"),
        ("concept", {"neuron": "<script>"}, "There is no concept #&lt;script&gt;"),
        ("concepts", {"purity": "abc"}, "The filter purity=abc"),
        ("concepts", {"about": "<b>"}, "The filter about=&lt;b&gt;"),
        ("steer", {"edit": "1:add:oops"}, "is not an edit"),
        ("steer", {"edit": "nothing"}, "is no edit"),
        ("steer", {"viewer": "nobody"}, "There is no viewer &#x27;nobody&#x27;"),
        ("overview", {"run": "nope"}, "There is no run &#x27;nope&#x27;"),
        ("concept", {"run": "nope"}, "There is no run &#x27;nope&#x27;"),
    ],
)
def test_an_address_that_cannot_be_is_told_with_a_way_on(
    full: Run, page: str, query: dict[str, str], told: str
) -> None:
    html = shown(open_page(page, **query))
    assert told in html
    assert "<script" not in html


def test_a_viewer_that_is_not_there_leaves_the_other_pages_usable(full: Run) -> None:
    html = shown(open_page("concept", viewer="nobody"))
    assert "There is no viewer" in html
    assert "What makes it fire" in html


def test_the_search_narrows_the_list_and_the_count_says_so(full: Run) -> None:
    app = open_page("concepts")
    app.text_input(key="q").set_value("horror").run()
    html = shown(app)
    shown_rows = len(app.dataframe[0].value)
    assert 0 < shown_rows < len(full.table.frame)
    assert f"{shown_rows} of {len(full.table.frame)} concepts" in html


def test_a_title_finds_the_concepts_that_fire_for_it_also_where_it_is_not_among_their_first(full: Run) -> None:
    acts = full.sae.encode(full.recommender.probe_items())
    first = full.table.top_items[:, :3]
    item, hidden = next((i, j) for i, j in np.argwhere(acts > 0) if i not in first[j])
    app = open_page("concepts", q=f"film number {item}")
    listed = app.dataframe[0].value
    assert sorted(listed["#"]) == np.flatnonzero(acts[item] > 0).tolist()
    assert hidden in set(listed["#"])
    np.testing.assert_allclose(
        listed["Strength"], 100 * acts[item][listed["#"]] / full.table.frame["max_activation"].to_numpy()[listed["#"]],
        rtol=1e-5,
    )  # fmt: skip
    assert listed["Strength"].is_monotonic_decreasing
    assert f"fire for “Film number {item}”" in shown(app)
    order = listed["#"].tolist()
    app.switch_page(str(ROOT / "pages" / "concept.py"))
    app.query_params["neuron"] = str(order[0])
    app.run()
    app.button(key="after").click().run()
    assert query(app, "neuron") == str(order[1]), "next follows the search"


def test_the_concepts_of_a_viewer_are_listed_by_id_or_for_the_one_of_the_side_bar(full: Run) -> None:
    acts = full.sae.encode(full.embedding(full.dataset.users.index("viewer 7")))[0]
    firing = np.flatnonzero(acts > 0).tolist()
    named = open_page("concepts", q="viewer: viewer 7")
    assert sorted(named.dataframe[0].value["#"]) == firing
    assert "are active in viewer viewer 7" in shown(named)
    assert sorted(open_page("concepts", viewer="viewer 7", active="true").dataframe[0].value["#"]) == firing
    assert "There is no viewer “nobody” among the 90" in shown(open_page("concepts", q="viewer:nobody"))


def test_the_order_and_the_range_of_densities_stand_in_the_address_and_come_back(full: Run) -> None:
    app = open_page("concepts", sort="Fewest viewers")
    listed = app.dataframe[0].value
    assert listed["Viewers"].is_monotonic_increasing
    assert "sorted by fewest viewers" in shown(app)
    middle = float(listed["Viewers"].median())
    steps = [step for step in LADDER if float(step) <= middle]
    app.select_slider(key="density_0").set_value((steps[-1], "100")).run()
    kept = app.dataframe[0].value
    assert 0 < len(kept) < len(listed)
    assert kept["Viewers"].min() >= float(steps[-1])
    assert app.query_params["density"] == [steps[-1], "100"]
    app.switch_page(str(ROOT / "pages" / "overview.py")).run()
    app.switch_page(str(ROOT / "pages" / "concepts.py")).run()
    assert app.dataframe[0].value["#"].tolist() == kept["#"].tolist()
    app.query_params["density"] = ["0", "100"]  # a step back
    app.run()
    assert app.dataframe[0].value["#"].tolist() == listed["#"].tolist()


def test_another_viewer_can_be_chosen_beside_a_search(full: Run) -> None:
    app = open_page("concepts", q="film", active="true")
    choice = next(s for s in app.selectbox if s.label == "Viewer")
    other = choice.options[4]
    choice.set_value(other).run()
    acts = full.sae.encode(full.embedding(full.dataset.users.index(other)))[0]
    assert f"are active in viewer {other}" in shown(app)
    assert set(app.dataframe[0].value["#"]) <= set(np.flatnonzero(acts > 0).tolist())
    assert app.text_input(key="q").value == "film"


def test_a_list_of_one_concept_without_evidence_is_shown(full: Run) -> None:
    frame = full.table.frame.copy()
    j = int(frame.loc[frame["alive"], "neuron"].iloc[0])
    frame.loc[j, "evidence"] = float("nan")
    with changed(full.table, frame=frame):
        app = open_page("concepts", q=f"#{j}")
        assert f"1 of {len(frame)} concepts" in shown(app)


def test_a_search_without_a_hit_offers_the_nearest_labels_and_a_way_back(full: Run) -> None:
    frame = full.table.frame
    word = next(w for label in frame.loc[frame["alive"], "label"] for w in label.split() if len(w) > 4 and w.isalpha())
    app = open_page("concepts", q=word[0] + word[2:])
    assert "No concept fits" in shown(app)
    near = next(b for b in app.button if word in b.label)
    near.click().run()
    assert len(app.dataframe[0].value) > 0
    app.text_input(key="q").set_value("zzzzzz").run()
    next(b for b in app.button if b.label == "Clear filters").click().run()
    assert app.text_input(key="q").value == ""
    assert len(app.dataframe[0].value) == int(full.table.frame["alive"].sum())


def test_filters_come_back_when_the_page_is_opened_again(full: Run) -> None:
    app = open_page("concepts")
    app.text_input(key="q").set_value("horror").run()
    app.switch_page(str(ROOT / "pages" / "overview.py")).run()
    app.switch_page(str(ROOT / "pages" / "concepts.py")).run()
    assert app.text_input(key="q").value == "horror"


def test_the_viewer_is_kept_from_page_to_page_and_any_id_can_be_given(full: Run) -> None:
    app = open_page("concepts", viewer="viewer 7")
    app.switch_page(str(ROOT / "pages" / "concept.py")).run()
    assert query(app, "viewer") == "viewer 7"
    assert next(s for s in app.selectbox if s.label == "Viewer").value == "viewer 7"


def test_a_viewer_that_is_chosen_takes_the_place_of_one_built_from_titles(full: Run) -> None:
    app = open_page("steer", watched=full.dataset.items.ids[0])
    assert "A viewer built from titles: 1 title in the history" in shown(app)
    choice = next(s for s in app.selectbox if s.label == "Viewer")
    chosen = choice.options[3]
    choice.set_value(chosen).run()
    assert f"Viewer {chosen}: " in shown(app)
    assert "watched" not in app.query_params


def test_another_run_can_be_chosen_and_has_its_own_concepts(tiny_folder: Path, tmp_path: Path, monkeypatch) -> None:
    workspace = Workspace(tmp_path / "two")
    runs = [build(tiny_request(tiny_folder, **{"sae.d_sae": str(n)}), workspace) for n in (12, 16)]
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(workspace.path))
    app = open_page("concepts", viewer="viewer 7")
    choice = next(s for s in app.selectbox if s.label == "Run")
    for run in sorted(runs, key=lambda r: r.id == choice.value):  # the one that is not shown already comes first
        next(s for s in app.selectbox if s.label == "Run").set_value(run.id).run()
        assert f"of {run.sae.config.d_sae} concepts" in shown(app)
        assert query(app, "run") == run.id
        assert "viewer" not in app.query_params
    assert set(choice.options) == {f"tiny · elsa · knots · seed 0 · {run.id[-8:]}" for run in runs}


def test_an_address_from_before_another_run_was_chosen_shows_the_run_it_was_made_on(
    tiny_folder: Path, tmp_path: Path, monkeypatch
) -> None:
    workspace = Workspace(tmp_path / "two")
    built = [build(tiny_request(tiny_folder, **{"sae.d_sae": str(n)}), workspace).id for n in (12, 16)]
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(workspace.path))
    app = open_page("steer", edit="3:add:0.5")
    choice = next(s for s in app.selectbox if s.label == "Run")
    first, other = choice.value, next(i for i in built if i != choice.value)
    choice.set_value(other).run()
    assert query(app, "run") == other and "edit" not in app.query_params
    del app.query_params["run"]
    app.query_params["edit"] = "3:add:0.5"  # a step back
    app.run()
    assert next(s for s in app.selectbox if s.label == "Run").value == first
    assert query(app, "edit") == "3:add:0.5"


@pytest.mark.parametrize("page", PAGES)
def test_hostile_titles_and_genres_are_text_on_every_page(hostile: Run, page: str) -> None:
    app = open_page(page)
    seen = Markup()
    seen.feed(shown(app))
    assert seen.tags <= OUR_TAGS
    assert seen.attributes <= OUR_ATTRIBUTES
    for element in (*app.button, *app.get("page_link")):
        label = str(element.proto.label)
        assert "](" not in label
        assert "**" not in label.replace("\\*", "")


def test_no_page_needs_a_heavy_library(full: Run) -> None:
    code = (
        "import os, sys; from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('dashboard/app.py', default_timeout=60)\n"
        f"for page in {PAGES}:\n"
        "    app.switch_page(os.path.abspath(f'pages/{page}.py')).run()\n"
        "    assert not app.exception\n"
        "print(*(set(sys.modules) & {'torch', 'umap', 'sklearn', 'numba'}))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_stability_is_shown_where_a_second_sae_was_trained_and_nowhere_else(
    full: Run, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Stability" not in open_page("concepts").dataframe[0].value.columns
    assert "Stability" not in shown(open_page("concept"))
    run = build(replace(tiny_request(tiny_folder), stability=True), Workspace(tmp_path / "w"))
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "w"))
    monkeypatch.setattr("dashboard.cache.open_run", lambda *_: run)
    st.cache_resource.clear()
    frame, threshold = run.table.frame, run.report["neurons"]["stability"]["threshold"]
    listed = open_page("concepts").dataframe[0].value
    np.testing.assert_allclose(listed["Stability"], frame["stability"].to_numpy()[listed["#"]])
    for neuron in (frame["stability"].idxmin(), frame["stability"].idxmax()):
        value = frame["stability"].iloc[neuron]
        found = "found again" if value >= threshold else "not found again"
        assert f"Stability {number(value)}: {found}" in shown(open_page("concept", neuron=str(neuron)))
