"""The map: what its points are, that its labels stay apart and are text, and its page in every state."""

import json

import numpy as np
import pandas as pd
import pytest

from core.analyses.base import Made, analyse
from core.runs import Run
from dashboard import cache
from dashboard.atlas import MOST_CLASSES, NONE, OTHER, Atlas, Colour, concept_atlas, dominant_genres, item_atlas
from dashboard.charts_map import (
    COLOURS,
    LETTER,
    LINE,
    MANY,
    N_LABELS,
    NARROW,
    WIDE,
    label_annotations,
    map_figure,
    point_sizes,
    spread,
    value_text,
)  # fmt: skip
from dashboard.listing import list_concepts
from tests.dashboard.generated import HOSTILE
from tests.dashboard.test_pages import open_page, shown


@pytest.fixture(scope="module")
def placed(tiny_run: Run) -> Run:
    """The tiny run with its map."""
    analyse(tiny_run, ["map"])
    return tiny_run


def atlas_of(names: list[str], xy: np.ndarray | None = None, size: np.ndarray | None = None) -> Atlas:
    """Points without a meaning."""
    n = len(names)
    xy = np.random.default_rng(0).normal(size=(n, 2)) if xy is None else xy
    kinds = Colour("Genre", "One of two.", ("a", "b", OTHER, NONE), np.arange(n) % 4, [f"g{i}" for i in range(n)])
    size = np.full(n, np.nan) if size is None else size
    return Atlas(np.arange(n) + 100, xy, names, size, np.arange(n), [""] * n, {"genre": kinds})


def boxes(atlas: Atlas, chosen: list[int], window: tuple[int, int]) -> list[tuple[float, float, float]]:
    """Centre and half width in pixels of each label, on axes of one scale that fill the window."""
    extent = np.ptp(atlas.xy, axis=0)
    scale = min(window[0] / extent[0], window[1] / extent[1])
    return [(*(atlas.xy[i] * scale), len(atlas.names[i]) * LETTER / 2) for i in chosen]


@pytest.mark.parametrize("window", [WIDE, NARROW])
def test_no_two_labels_collide_and_none_is_written_twice(window: tuple[int, int]) -> None:
    atlas = atlas_of([f"Concept {i % 60}" for i in range(400)])
    chosen = spread(atlas.xy, atlas.names, atlas.order, window, N_LABELS)
    assert 5 < len(chosen) <= N_LABELS
    assert len({atlas.names[i] for i in chosen}) == len(chosen)
    assert chosen[0] == 0, "the first in the order has its label for sure"
    placed = boxes(atlas, chosen, window)
    for k, a in enumerate(placed):
        for b in placed[:k]:
            assert abs(a[1] - b[1]) >= LINE or abs(a[0] - b[0]) >= a[2] + b[2]


def test_labels_that_are_there_stay_and_keep_others_away() -> None:
    xy = np.array([[0.0, 0], [0.001, 0], [10, 10]])
    assert spread(xy, ["a", "b", "c"], np.arange(3), WIDE, 3) == [0, 2]
    assert spread(xy, ["a", "b", "c"], np.arange(3), WIDE, 3, start=[1]) == [1, 2]
    assert spread(np.empty((0, 2)), [], np.arange(0), WIDE, 3) == []


def test_points_are_larger_where_more_viewers_are_and_of_one_size_where_nothing_is_known() -> None:
    sizes = point_sizes(np.array([0.001, 0.01, 0.1, np.nan, 0.0]))
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[3] == sizes[4] == sizes[0]
    np.testing.assert_allclose(sizes[1], (sizes[0] + sizes[2]) / 2, rtol=1e-6)
    assert len(set(point_sizes(np.full(3, np.nan)).tolist())) == 1


def test_every_point_is_drawn_once_and_carries_its_id() -> None:
    for n, kind in ((30, "scatter"), (MANY, "scattergl")):
        figure = map_figure(
            atlas_of([f"c{i}" for i in range(n)]), atlas_of(["x"] * n).colours["genre"], dark=False, unit=""
        )
        assert {trace.type for trace in figure.data} == {kind}
        ids = np.concatenate([trace.customdata for trace in figure.data])
        assert sorted(ids.tolist()) == list(range(100, 100 + n))


def test_kinds_differ_in_colour_and_in_shape_and_a_score_has_one_scale() -> None:
    atlas = atlas_of([f"c{i}" for i in range(40)])
    kinds = (*(f"k{i}" for i in range(MOST_CLASSES)), OTHER, NONE)
    colour = Colour("Genre", "", kinds, np.arange(40) % 9, [kinds[i % 9] for i in range(40)])
    marks = [(t.marker.color, t.marker.symbol) for t in map_figure(atlas, colour, dark=True, unit="").data]
    assert len(set(marks)) == len(marks) == 9
    assert set(COLOURS) < {hue for hue, _ in marks}
    values = np.r_[np.nan, 0.0, np.linspace(1, 1000, 38)]
    score = map_figure(atlas, Colour("Lift", "", of=values, log=True), dark=False, unit="")
    unknown, known = score.data
    assert len(unknown.x) == 2, "no logarithm of 0, and nothing of what is not known"
    np.testing.assert_allclose(known.marker.color, np.log10(values[2:]))
    assert score.layout.coloraxis.cmin > 0 and score.layout.coloraxis.cmax <= 3


def test_titles_are_text_in_labels_hover_texts_and_legend() -> None:
    names = [*HOSTILE, "<a href='http://evil.test'>x</a>", "%{x}", "a<br>b"]
    atlas = atlas_of(names)
    colour = Colour("<b>Genre</b>", "", ("<i>k</i>", OTHER, NONE), np.zeros(len(names), int), names)
    figure = map_figure(atlas, colour, dark=False, unit="of viewers")
    written = [a["text"] for a in label_annotations(atlas, dark=False)] + [t.name for t in figure.data]
    assert written and all("<" not in text for text in written)
    for text in figure.data[0].hovertext:
        assert text.replace("<b>", "").replace("</b>", "").replace("<br>", "").count("<") == 0
        assert text.count("<b>") == 1 and len(text) < 700
    assert figure.data[0].hovertemplate == "%{hovertext}<extra></extra>"
    json.loads(figure.to_json())


def test_a_value_is_written_as_people_write_it() -> None:
    assert value_text(Colour("Year", ""), 1993.0) == "1993"
    assert value_text(Colour("Lift", "", digits=1), 3.04) == "3.0"
    assert value_text(Colour("Share", "", percent=True), 0.25) == "25 %"


def test_the_dominant_genre_is_the_one_that_sets_the_top_items_apart(placed: Run) -> None:
    genres, of = dominant_genres(placed.table)
    rows = placed.table.concepts.reset_index(drop=True)
    for j in np.flatnonzero(placed.table.frame["alive"]):
        gains = {}
        for k in rows.index[rows["kind"] == "genre"]:
            p, b = placed.table.purity[1, k, j], rows.loc[k, "base_rate"]
            p = placed.table.purity[0, k, j] if np.isnan(p) else p
            if p > b:
                rest = 0 if p == 1 else (1 - p) * np.log((1 - p) / (1 - b))
                gains[rows.loc[k, "name"]] = p * np.log(p / b) + rest
        assert [*genres, None][of[j]] == (max(gains, key=gains.__getitem__) if gains else None)


def test_the_points_of_concepts_follow_the_list_and_those_of_titles_the_catalogue(placed: Run) -> None:
    made = analysis(placed)
    listed = list_concepts(placed.table, placed.dataset.titles())
    atlas = concept_atlas(made.arrays["neurons"], made.arrays["neuron_xy"], listed, placed.table)
    assert atlas.ids[atlas.order].tolist() == listed.loc[listed["alive"], "neuron"].tolist()
    np.testing.assert_array_equal(atlas.size, placed.table.frame["density_users"].to_numpy()[atlas.ids])
    np.testing.assert_array_equal(atlas.colours["evidence"].of, placed.table.frame["evidence"].to_numpy()[atlas.ids])
    assert "auc" not in atlas.colours and "verdict" not in atlas.colours
    counts = np.arange(placed.dataset.n_items)
    items = item_atlas(made.arrays["items"], made.arrays["item_xy"], placed.dataset, counts)
    assert items.names == placed.dataset.titles()
    assert items.colours["concepts"].of.tolist() == counts.tolist()
    assert items.colours["genre"].said[:3] == [placed.dataset.item_table["genres"].iloc[i][0] for i in range(3)]
    gaps = np.linalg.norm(items.xy - items.xy[7], axis=1)
    assert items.beside[7].split("; ") == [items.names[i] for i in np.argsort(gaps)[1:4]]


def test_of_many_kinds_the_most_frequent_have_a_colour(placed: Run) -> None:
    made = analysis(placed)
    listed = list_concepts(
        placed.table, placed.dataset.titles(), {"verdict": np.array([f"v{i % 12}" for i in range(24)], object)}
    )
    colour = concept_atlas(made.arrays["neurons"], made.arrays["neuron_xy"], listed, placed.table).colours["verdict"]
    assert len(colour.kinds) == MOST_CLASSES + 2
    counts = pd.Series(colour.said).value_counts()
    assert counts[list(colour.kinds[:-2])].min() >= counts[[k for k in counts.index if k not in colour.kinds]].max()
    own = [said if said in colour.kinds else OTHER for said in colour.said]
    assert [colour.kinds[i] for i in colour.of] == own


def analysis(run: Run) -> Made:
    """Give the map of a run."""
    made = cache.find(run, "map")
    assert made is not None
    return made


def test_the_page_shows_the_map_its_worth_and_all_points_as_a_table(placed: Run, full: Run) -> None:
    app = open_page("map")
    html = shown(app)
    facts = analysis(full).metrics["neurons"]
    assert "distances between far clusters carry no meaning" in html
    assert f"{facts['overlap'] * 100:.0f} % are among the 15 nearest on the map" in html
    table = app.dataframe[0].value
    listed = cache.concepts(full.id)
    assert table["#"].tolist() == listed.loc[listed["alive"], "neuron"].tolist()
    assert "Beside it on the map" in table.columns
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert sum(len(t["hovertext"]) for t in figure["data"]) == len(table)


def test_what_is_shown_and_its_colour_stand_in_the_address(placed: Run, full: Run) -> None:
    app = open_page("map", map="titles", colour="year")
    table = app.dataframe[0].value
    assert sorted(table["Title"]) == sorted(full.dataset.titles())
    assert set(table["Year"]) == set(full.dataset.item_table["year"])
    app.selectbox(key="colour_widget").set_value("viewers").run()
    assert app.query_params["colour"] in ("viewers", ["viewers"])
    assert "There is no" not in shown(app)
    assert "colour=nothing in the address is not one of those there are" in shown(open_page("map", colour="nothing"))


def test_without_a_map_the_page_says_how_to_make_it(full: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.cache.analysis", lambda *_: None)
    html = shown(open_page("map"))
    assert "Not computed yet: the map" in html
    assert "--what map" in html
