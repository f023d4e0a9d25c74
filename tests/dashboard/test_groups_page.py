"""Groups: the page compares what a person chose, and says so where that cannot be."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.data.groups import popularity_groups
from core.neurons.contrast import Contrast, contrast
from core.runs import Run
from dashboard.charts import Effect, effects_figure, signed
from pages.groups import Group, forest, listed, q_text, to_csv
from tests.dashboard.test_pages import OUR_ATTRIBUTES, OUR_TAGS, Markup, changed, metric, open_page, query, shown

HORROR = {"of": "items", "a_by": "genre", "a": "Horror"}


def widget(app: AppTest, name: str, kind: str = "selectbox") -> Any:
    """Give a widget of the two groups."""
    return next(w for w in app.get(kind) if w.key == f"contrast_{name}")


def table(app: AppTest) -> pd.DataFrame:
    return app.dataframe[0].value


def test_the_page_shows_the_contrast_of_the_chosen_groups(full: Run) -> None:
    app = open_page("groups", **HORROR)
    html = shown(app)
    horror = np.array(["Horror" in g for g in full.dataset.item_table["genres"]])
    found = contrast(full.activations("items"), horror, ~horror)
    assert (metric(app, "Group A"), metric(app, "Group B")) == ("20", "40")
    assert metric(app, "Concepts that differ") == f"{found.n_called} of {found.n_compared}"
    most = found.frame.loc[found.frame["d"].abs().idxmax()]
    assert most["q"] <= 0.05
    assert f"d {signed(most['d'])} [{signed(most['low'])}, {signed(most['high'])}], more in" in html
    assert "A: Horror titles · B: all other titles" in html
    rows = table(app)
    assert rows["#"].iloc[0] == most["neuron"] and len(rows) == found.n_compared
    assert np.allclose(rows["Mean in A"], found.frame["mean_a"][rows["#"]])


def test_a_page_without_a_choice_compares_at_once_and_writes_what_to_the_address(full: Run) -> None:
    app = open_page("groups")
    assert "sl-figure" in shown(app)
    assert (query(app, "of"), query(app, "a_by"), query(app, "a")) == ("viewers", "taste", "mainstream")
    assert query(app, "b_by") is None
    assert "B: everyone else" in shown(app)


def test_choosing_on_the_page_changes_the_address_and_the_result(full: Run) -> None:
    app = open_page("groups", **HORROR)
    widget(app, "b_by").select("genre").run()
    assert query(app, "b_by") == "genre" and query(app, "b") == "Comedy"
    widget(app, "b").select("Documentary").run()
    assert "A: Horror titles · B: Documentary titles" in shown(app)
    assert metric(app, "Group B") == "20"
    widget(app, "a_by").select("popularity").run()
    assert query(app, "a") == "head" and query(app, "b") == "Documentary"  # what was chosen for the other one stays
    widget(app, "b_by").select("rest").run()
    assert query(app, "b_by") is None and query(app, "b") is None


def test_the_choice_comes_back_when_the_page_is_entered_again(full: Run) -> None:
    app = open_page("groups", **HORROR)
    for key in HORROR:
        del app.query_params[key]
    assert "A: Horror titles" in shown(app.run())


def test_a_pasted_list_is_a_group_and_an_unknown_name_is_told(full: Run) -> None:
    app = open_page("groups", of="viewers", a_by="ids")
    assert "A group is empty" in shown(app)
    widget(app, "a", "text_area").input("viewer 3\nviewer 6\nviewer 9").run()
    assert metric(app, "Group A") == "3" and "Fewer than 60 members" in shown(app)
    widget(app, "a", "text_area").input("viewer 3\nviewer 666").run()
    html = shown(app)
    assert "sl-problem" in html and "There is no user &#x27;viewer 666&#x27;" in html
    assert widget(app, "a", "text_area").value == "viewer 3\nviewer 666"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({"of": "planets"}, "There are no groups of"),
        ({"of": "items", "a_by": "mood"}, "There is no group A by"),
        ({"of": "items", "a_by": "genre", "a": "Horor"}, "Horor"),
        ({"of": "viewers", "a_by": "ids", "a": "viewer 3"}, "Group A has 1 member: a spread needs at least 2."),
        ({"of": "items", "a_by": "genre", "a": "Horror", "b_by": "by gender"}, "There is no group B by"),
    ],
)
def test_what_cannot_be_compared_is_said_below_the_choice(full: Run, address: dict[str, str], said: str) -> None:
    app = open_page("groups", **address)
    html = shown(app)
    assert "sl-problem" in html and said in html
    assert any(w.key == "contrast_of" for w in app.get("button_group") + app.get("segmented_control"))


def test_the_takeaway_names_no_concept_that_chance_explains() -> None:
    frame = pd.DataFrame(
        {"neuron": [0, 1], "d": [0.9, -0.4], "low": [-0.2, -0.5], "high": [2.0, -0.3], "q": [0.4, 0.01]}
    )
    labels, a, b = pd.Series(["Rare", "Sure"]), Group("ids", "x", "one"), Group("rest", "rest", "all")
    said = forest(Contrast(9, 90, 0, frame), labels, a, b).takeaway
    assert "“Sure” does most: d −0.40 [−0.50, −0.30], more in B" in said
    said = forest(Contrast(9, 90, 0, frame.assign(q=0.4)), labels, a, b).takeaway
    assert "No concept differs at a false discovery rate of 5 %" in said


def test_overlapping_groups_are_called_so(full: Run) -> None:
    html = shown(open_page("groups", **HORROR, b_by="popularity", b="tail"))
    horror = np.array(["Horror" in g for g in full.dataset.item_table["genres"]])
    both = (horror & (popularity_groups(full.dataset.item_counts) == 2)).sum()
    assert f"{both} are in both groups" in html
    assert "in both groups" not in shown(open_page("groups", **HORROR))


def test_viewers_without_attributes_are_compared_by_what_they_consumed(full: Run) -> None:
    app = open_page("groups")
    assert not [key for key in widget(app, "a_by").options if key.startswith("by ")]


def test_attributes_of_viewers_make_groups(full: Run) -> None:
    people = pd.DataFrame({"gender": ["<b>F</b>", "M"] * (full.dataset.n_users // 2)})
    with changed(full.dataset, user_table=people):
        app = open_page("groups", of="viewers", a_by="by gender", a="<b>F</b>")
        html = shown(app)
    assert "viewers with gender &lt;b&gt;F&lt;/b&gt;" in html and "<b>F" not in html
    assert metric(app, "Group A") == "45"


def test_an_sae_in_which_nothing_varies_has_nothing_to_compare(full: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(full), "activations", lambda self, of: contrast_zeros(self))
    assert "Nothing to compare" in shown(open_page("groups", **HORROR))


def contrast_zeros(run: Run) -> np.ndarray:
    return np.zeros((run.dataset.n_items, run.sae.config.d_sae), np.float32)


def test_hostile_titles_and_genres_stay_text(hostile: Run) -> None:
    seen = Markup()
    seen.feed(shown(open_page("groups", of="items")))
    item = hostile.dataset.items.ids[int(np.argmax(hostile.dataset.item_counts))]
    seen.feed(shown(open_page("groups", of="viewers", a_by="title", a=item)))
    assert seen.tags <= OUR_TAGS and seen.attributes <= OUR_ATTRIBUTES


def test_the_csv_holds_every_concept_that_varies_and_no_formula(full: Run) -> None:
    horror = np.array(["Horror" in g for g in full.dataset.item_table["genres"]])
    found = contrast(full.activations("items"), horror, ~horror)
    a, b = Group("ids", "x", "=HYPERLINK(1)"), Group("rest", "rest", "all other titles")
    read = pd.read_csv(io.BytesIO(to_csv(listed(found, full), found, a, b)))
    assert len(read) == found.n_compared and read["group_a"].eq("'=HYPERLINK(1)").all()
    again = found.frame.set_index("neuron").loc[read["neuron"]]
    for column in ("d", "low", "high", "p", "q", "p_welch", "mean_a", "mean_b"):
        assert np.allclose(read[column], again[column])
    assert (read["n_a"] == 20).all() and read["d"].abs().is_monotonic_decreasing


def test_a_forest_has_one_scale_both_ways_and_names_its_sides() -> None:
    rows = [Effect("One <i>", "#1", 1.0, 0.5, 1.5), Effect("Two", "#2", -0.5, -0.8, -0.2)]
    drawn = effects_figure("A against B", "Says what.", rows, "d", ("more in A", "more in B")).html
    assert "One &lt;i&gt;" in drawn and "+1.00" in drawn and "−0.50" in drawn
    reach = 1.5 * 1.04
    places = [f"{(value / reach + 1) / 2 * 100:.1f}%" for value in (1.0, -0.5)]
    for side, place in zip(("", " down"), places, strict=True):
        assert f"class='dot{side}' style='left:{place}" in drawn
    assert drawn.count("<u style='left:50%'></u>") == 2 and "more in B" in drawn


def test_a_small_q_is_never_called_zero() -> None:
    assert q_text(1e-20) == "< 0.001" and q_text(0.0499) == "0.050"
