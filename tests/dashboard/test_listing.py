"""The list of concepts: its order, its search and filters, and what leaves it as CSV."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from core.runs import Run
from dashboard.listing import (
    Firing,
    around,
    audience_of,
    available_sorts,
    firing_for,
    known_columns,
    list_concepts,
    nearest_labels,
    search,
    select,
    sorted_by,
    titles_with,
    to_csv,
    to_parquet,
    worth,
)  # fmt: skip
from dashboard.state import BANDS, SORTS, Filters


@pytest.fixture
def concepts() -> pd.DataFrame:
    """Five concepts in the order of the list; the last one is dead."""
    return pd.DataFrame(
        {
            "neuron": [7, 3, 12, 0, 5],
            "alive": [True, True, True, True, False],
            "label": ["Horror · 1980s", "Film noir", "=cmd()", "Comedy", ""],
            "label_source": ["keyword"] * 4 + [""],
            "best_concept": ["Horror", "noir", "1990s", "Comedy", ""],
            "best_kind": ["genre", "tag", "decade", "genre", ""],
            "purity_at_20": [1.0, 0.8, 0.5, np.nan, np.nan],
            "base_rate": [0.1, 0.02, 0.3, 0.3, np.nan],
            "lift": [10.0, 40.0, 1.7, np.nan, np.nan],
            "evidence": [90.0, 60.0, 3.0, 0.0, 0.0],
            "head_share": [0.1, 0.2, 0.3, 0.4, np.nan],
            "audience": ["Niche", "Balanced", "Balanced", "Mainstream", ""],
            "density_users": [0.2, 0.1, 0.3, 0.4, 0.0],
            "density_items": [0.2, 0.1, 0.3, 0.4, 0.0],
            "top_titles": ["Alien · The Thing", "Laura", "Heat", "Airplane!", ""],
        }
    )


def _neurons(shown: pd.DataFrame) -> list[int]:
    return shown["neuron"].tolist()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [7, 3, 12, 0, 5]), ("horror", [7]), ("LAURA", [3]), ("#12", [12]), ("# 12", [12]), ("#1", []),
        (" noir ", [3]), ("(", [12]), (".*", []), ("1990", [12]), ("#99999999999999999999", []),
    ],
)  # fmt: skip
def test_search_looks_in_labels_titles_and_matches_or_takes_an_index(
    concepts: pd.DataFrame, text: str, found: list[int]
) -> None:
    assert _neurons(concepts[search(concepts, text)]) == found


def test_dead_concepts_are_hidden_until_asked_for(concepts: pd.DataFrame) -> None:
    assert _neurons(select(concepts, Filters())) == [7, 3, 12, 0]
    assert _neurons(select(concepts, Filters(dead=True))) == [7, 3, 12, 0, 5]


def test_filters_apply_together_and_keep_the_order(concepts: pd.DataFrame) -> None:
    assert _neurons(select(concepts, Filters(purity=0.8))) == [7, 3]
    assert _neurons(select(concepts, Filters(kinds=("Genre",)))) == [7, 0]
    assert _neurons(select(concepts, Filters(audiences=("Balanced",)))) == [3, 12]
    for band, (low, high) in BANDS.items():
        inside = concepts[concepts["alive"] & (concepts["density_users"] > low) & (concepts["density_users"] <= high)]
        assert _neurons(select(concepts, Filters(bands=(band,)))) == inside["neuron"].tolist()
    assert len(select(concepts, Filters(bands=tuple(BANDS)))) == int((concepts["density_users"] > 0).sum())
    assert _neurons(select(concepts, Filters(kinds=("Tag", "Decade"), purity=0.8, audiences=("Balanced",)))) == [3]


def test_a_search_that_finds_nothing_offers_labels_spelt_alike(concepts: pd.DataFrame) -> None:
    assert nearest_labels(concepts, "hororr")[0] == "Horror · 1980s"
    assert nearest_labels(concepts, "comdy")[0] == "Comedy"
    assert nearest_labels(concepts, "zzzzzzzz") == []


def test_previous_and_next_follow_the_list(concepts: pd.DataFrame) -> None:
    assert around(concepts, 7) == (0, None, 3)
    assert around(concepts, 12) == (2, 3, 0)
    assert around(concepts, 5) == (4, 0, None)
    assert around(concepts, 99) == (None, None, 7)
    assert around(concepts.head(0), 7) == (None, None, None)


def test_the_csv_has_every_row_and_no_cell_that_a_spreadsheet_would_run(concepts: pd.DataFrame) -> None:
    raw = to_csv(concepts)
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))
    assert [int(r["neuron"]) for r in rows] == _neurons(concepts)
    assert rows[2]["label"] == "'=cmd()"
    assert float(rows[0]["purity_at_20"]) == 1.0
    assert "stability" not in rows[0], "no second SAE was trained"
    rows = list(csv.DictReader(io.StringIO(to_csv(concepts.assign(stability=0.75)).decode("utf-8-sig"))))
    assert {float(r["stability"]) for r in rows} == {0.75}


def test_audiences_are_thirds_of_the_living() -> None:
    share = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, np.nan, 0.9])
    alive = np.array([True] * 7 + [False])
    names = audience_of(share, alive)
    assert names.tolist() == ["Niche", "Niche", "Balanced", "Balanced", "Mainstream", "Mainstream", "", ""]


def test_no_audience_where_nothing_lives() -> None:
    assert audience_of(np.array([0.5]), np.array([False])).tolist() == [""]


def test_the_list_is_in_the_order_of_evidence_with_the_dead_at_its_end(tiny_run: Run) -> None:
    listed = list_concepts(tiny_run.table, tiny_run.dataset.titles())
    assert sorted(_neurons(listed)) == list(range(len(tiny_run.table.frame)))
    living = listed[listed["alive"]]
    assert listed["alive"].is_monotonic_decreasing
    assert living["evidence"].is_monotonic_decreasing
    assert _neurons(listed) != sorted(_neurons(listed))
    first = listed.iloc[0]
    titles = [tiny_run.dataset.titles()[i] for i in tiny_run.table.top_items[first["neuron"], :3]]
    assert first["top_titles"] == " · ".join(titles)


def test_a_title_is_found_in_the_whole_catalogue_and_an_exact_one_alone() -> None:
    folded = ["alien (1979)", "aliens", "alien resurrection", "a", "alien"]
    assert titles_with(" ALIEN ", folded) == [0, 4]
    assert titles_with("alien r", folded) == [2]
    assert titles_with("lien", folded) == [0, 1, 2, 4]
    assert titles_with("", folded) == titles_with("#3", folded) == titles_with("zzz", folded) == []
    assert titles_with("x", ["xy"] * 51) == [], "too many to ask which concepts fire for them"


def test_concepts_that_fire_for_a_title_are_found_behind_labels_that_match_the_strongest_first(
    concepts: pd.DataFrame,
) -> None:
    acts = np.zeros((2, 13), np.float32)
    acts[0, [3, 12]], acts[1, [12, 0, 5]] = (1.0, 2.0), (1.0, 4.0, 9.0)
    highest = np.full(13, 4.0)
    highest[5] = np.nan
    firing = firing_for(["Laura", "Laura Mars"], acts, highest)
    assert firing.strength[[3, 12, 0, 5]].tolist() == [0.25, 0.5, 1.0, 0.0]
    assert [firing.names[j] for j in (3, 12, 0, 7)] == ["Laura", "Laura", "Laura Mars", ""]
    found = select(concepts, Filters("laura"), firing)
    assert _neurons(found) == [0, 12, 3]
    assert found["fires_for"].tolist() == ["Laura Mars", "Laura", "Laura"]
    assert found["strength"].tolist() == [1.0, 0.5, 0.25]
    assert _neurons(select(concepts, Filters("noir"), firing)) == [3, 0, 12], "a label that matches goes first"
    assert _neurons(select(concepts, Filters("laura", sort="Evidence"), firing)) == [3, 12, 0]
    assert _neurons(select(concepts, Filters("laura"))) == [3], "without activations by its first titles alone"


def test_the_concepts_of_a_viewer_are_those_that_fire_the_strongest_first(concepts: pd.DataFrame) -> None:
    strength = np.zeros(13)
    strength[[3, 12, 5]] = 0.2, 0.9, 1.0
    for filters in (Filters("viewer:42"), Filters(active=True)):
        assert _neurons(select(concepts, filters, None, Firing(strength))) == [12, 3]
    assert _neurons(select(concepts, Filters("noir", active=True), None, Firing(strength))) == [3]


def test_the_list_is_ordered_by_held_out_auc_times_steer_slope_as_far_as_they_are_known(concepts: pd.DataFrame) -> None:
    assert sorted_by(concepts) == "evidence"
    assert worth(concepts).tolist() == concepts["evidence"].tolist()
    sure = concepts.assign(held_out_auc_low=[0.6, 0.9, 0.4, np.nan, np.nan])
    assert "not computed" in sorted_by(sure)
    assert _neurons(select(sure, Filters())) == [3, 7, 12, 0]
    both = sure.assign(slope=[0.5, 0.1, 0.9, 0.3, np.nan])
    assert sorted_by(both) == "held-out AUC × steer slope"
    np.testing.assert_allclose(worth(both), [0.1, 0.08, 0.0, np.nan, np.nan])
    assert _neurons(select(both, Filters())) == [7, 3, 12, 0]
    assert _neurons(select(both, Filters(auc=0.6))) == [7, 3]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("Evidence", [7, 3, 12, 0]), ("Purity", [7, 3, 12, 0]), ("Lift", [3, 7, 12, 0]),
        ("Most viewers", [0, 12, 7, 3]), ("Fewest viewers", [3, 7, 12, 0]),
        ("Most niche", [7, 3, 12, 0]), ("Most mainstream", [0, 12, 3, 7]),
        ("Label A to Z", [12, 0, 3, 7]), ("Held-out AUC", [7, 3, 12, 0]),
    ],
)  # fmt: skip
def test_each_order_goes_by_its_figure_and_leaves_what_is_unknown_for_the_end(
    concepts: pd.DataFrame, sort: str, order: list[int]
) -> None:
    assert _neurons(select(concepts, Filters(sort=sort))) == order
    assert _neurons(select(concepts, Filters(sort=sort, dead=True))) == [*order, 5], "dead ones last"


def test_only_orders_are_offered_whose_figures_are_there(concepts: pd.DataFrame) -> None:
    offered = available_sorts(concepts)
    assert offered[0] == SORTS[0]
    assert not {"Held-out AUC", "Steer slope", "Stability"} & set(offered)
    assert "Steer slope" in available_sorts(concepts.assign(slope=0.1))
    assert set(available_sorts(concepts.assign(slope=0.1, held_out_auc_low=0.6, stability=0.5))) == set(SORTS)


def test_a_range_of_densities_holds_its_ends_and_labels_are_filtered_by_who_gave_them(concepts: pd.DataFrame) -> None:
    assert _neurons(select(concepts, Filters(density=(0.1, 0.3)))) == [7, 3, 12]
    assert _neurons(select(concepts, Filters(density=(0.0, 0.1), dead=True))) == [3, 5]
    named = concepts.assign(label_source=["human", "keyword", "human", "llm", ""])
    assert _neurons(select(named, Filters(sources=("human",)))) == [7, 12]


def test_analyses_add_trust_slope_and_verdict() -> None:
    best = pd.DataFrame(
        {"neuron": [0, 1, 0, 1], "first": [False, True, True, False], "low": [0.9, 0.7, 0.6, 0.5], "of": list("iivv")}
    )
    audit = pd.DataFrame(
        {
            "neuron": [2, 2, -1, 0], "auc_low": [0.6, 0.8, np.nan, 0.5],
            "verdict": ["not seen", "can be steered", "too few items", "seen, not steered"],
        }
    )  # fmt: skip
    known = known_columns(best, np.array([0.1, 0.2, np.nan]), audit, 3)
    np.testing.assert_array_equal(known["held_out_auc_low"], [0.6, 0.7, np.nan])
    np.testing.assert_array_equal(known["slope"], [0.1, 0.2, np.nan])
    assert known["verdict"].tolist() == ["seen, not steered", "", "can be steered"]
    assert known_columns(None, None, None, 3) == {}


def test_parquet_has_every_row_and_the_texts_as_they_are(concepts: pd.DataFrame) -> None:
    read = pd.read_parquet(
        io.BytesIO(to_parquet(concepts.assign(verdict=["=x", "", "", "", ""], held_out_auc_low=0.75)))
    )
    assert read["neuron"].tolist() == _neurons(concepts)
    assert read["label"].tolist()[2] == "=cmd()"
    assert read["verdict"].tolist()[0] == "=x"
    assert set(read["held_out_auc_low"]) == {0.75}
    assert "searched" not in read and "audience" not in read


def test_of_thousands_of_labels_that_say_little_one_is_offered() -> None:
    many = pd.DataFrame({"neuron": range(5000), "alive": True, "label": [f"Mixed · #{j}" for j in range(5000)]})
    assert nearest_labels(many, "mixd") == ["Mixed"]
