"""The list of concepts: its order, its search and filters, and what leaves it as CSV."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from core.runs import Run
from dashboard.listing import around, audience_of, list_concepts, nearest_labels, search, select, to_csv
from dashboard.state import BANDS, Filters


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
