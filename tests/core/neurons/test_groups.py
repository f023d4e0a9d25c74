"""Groups as people name them: who is in each, counted anew from the log."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.data.dataset import Dataset
from core.data.groups import popularity_groups
from core.errors import DataError
from core.neurons.groups import Kind, Of, kinds_of, listed
from core.runs import Run


@pytest.fixture(scope="module")
def log(tiny_run: Run) -> Dataset:
    """The tiny log, its 90 viewers with attributes of every sort."""
    n = tiny_run.dataset.n_users
    people = pd.DataFrame(
        {
            "gender": ["F", "M", None][: n % 3] + ["F", "M", None] * (n // 3),
            "age": np.arange(n) + 10,
            "code": np.arange(n) % 4,
            "likes": ["heist, Western" if i % 2 else "Western|robots" for i in range(n)],
            "zip": [f"Z{i}" for i in range(n)],
            "same": ["all"] * n,
            "{odd} <b>": ["x", "y"] * (n // 2),
        }
    )
    return replace(tiny_run.dataset, user_table=people)


def kind(dataset: Dataset, of: Of, key: str) -> Kind:
    return next(k for k in kinds_of(dataset, of) if k.key == key)


def test_an_attribute_makes_a_group_of_each_value(log: Dataset) -> None:
    gender = kind(log, "viewers", "by gender")
    assert list(gender.choices) == ["F", "M"]
    assert gender.group("F").tolist() == (log.user_table["gender"] == "F").tolist()
    assert gender.name("F") == "viewers with gender F"


def test_numbers_are_cut_into_fifths_and_few_ones_are_values(log: Dataset) -> None:
    age, code = kind(log, "viewers", "by age"), kind(log, "viewers", "by code")
    assert list(age.choices) == ["10 to 27", "28 to 45", "46 to 63", "64 to 81", "82 to 99"]
    assert [int(age.group(value).sum()) for value in age.choices] == [18] * 5
    assert age.group("28 to 45").nonzero()[0].tolist() == list(range(18, 36))
    assert list(code.choices) == ["0", "1", "2", "3"]


def test_codes_are_values_and_no_amounts(log: Dataset) -> None:
    n = log.n_users
    people = pd.DataFrame(
        {"occupation": np.arange(n) % 21, "children": np.arange(n) % 21 * 2, "day": np.arange(n) % 31}
    )
    coded = replace(log, user_table=people)
    assert list(kind(coded, "viewers", "by occupation").choices) == [str(code) for code in range(21)]
    assert len(kind(coded, "viewers", "by children").choices) == 5  # with gaps: amounts
    assert len(kind(coded, "viewers", "by day").choices) == 5  # too many


def test_a_cell_may_hold_several_values(log: Dataset) -> None:
    likes = kind(log, "viewers", "by likes")
    assert list(likes.choices) == ["heist", "robots"]  # everybody likes a Western: nobody is left to compare with
    assert likes.group("heist").sum() == log.n_users // 2


def test_attributes_that_make_no_groups_are_not_offered(log: Dataset) -> None:
    keys = [k.key for k in kinds_of(log, "viewers")]
    assert "by zip" not in keys and "by same" not in keys
    assert kind(log, "viewers", "by {odd} <b>").name("x") == "viewers with {odd} <b> x"
    bare = [k.key for k in kinds_of(replace(log, user_table=None), "viewers")]
    assert bare == ["taste", "title", "ids"]  # all histories are of one length


def test_mainstream_and_niche_are_the_fifths_by_head_share(log: Dataset) -> None:
    head = popularity_groups(log.item_counts) == 0
    share = np.array([head[log.history(u)].mean() for u in range(log.n_users)])
    taste = kind(log, "viewers", "taste")
    mainstream, niche = taste.group("mainstream"), taste.group("niche")
    assert share[mainstream].min() >= np.quantile(share, 0.8) > np.quantile(share, 0.2) >= share[niche].max()
    assert not (mainstream & niche).any() and mainstream.sum() >= 18 and niche.sum() >= 18


def test_histories_of_one_length_have_no_longest_fifth(log: Dataset) -> None:
    keep = np.ones(log.n_interactions, bool)
    keep[: log.indptr[30]] = np.arange(log.indptr[30]) % 2 == 0
    assert np.unique(np.diff(log.with_interactions(keep).indptr)).size > 1
    short = kind(log.with_interactions(keep), "viewers", "history").group("shortest")
    assert short.nonzero()[0].tolist() == list(range(30))
    same = log.with_interactions(np.arange(log.n_interactions) - log.indptr[log.user_index] < 5)
    assert "history" not in [k.key for k in kinds_of(same, "viewers")]


def test_consumers_of_a_title_are_those_whose_history_has_it(log: Dataset) -> None:
    consumed = kind(log, "viewers", "title")
    item = next(iter(consumed.choices))
    index = log.items.index(item)
    assert consumed.group(item).tolist() == [index in log.history(u) for u in range(log.n_users)]
    assert consumed.name(item) == f"viewers of “{log.titles()[index]}”"


def test_items_by_genre_decade_and_popularity(log: Dataset) -> None:
    genre = kind(log, "items", "genre")
    assert sorted(genre.choices) == ["Comedy", "Documentary", "Horror"]
    assert genre.group("Horror").tolist() == ["Horror" in g for g in log.item_table["genres"]]
    years = log.item_table["year"]
    assert kind(log, "items", "decade").group("1960s").tolist() == ((years >= 1960) & (years < 1970)).tolist()
    popular = kind(log, "items", "popularity")
    assert sum(popular.group(name).astype(int) for name in ("head", "mid", "tail")).tolist() == [1] * log.n_items
    assert "tag" not in [k.key for k in kinds_of(log, "items")]


def test_a_list_takes_ids_and_whole_titles(log: Dataset) -> None:
    mask = listed("film-3\n  FILM NUMBER 5 \nfilm-7, film-9;film-7\n\n", log.items, log.titles())
    assert {log.items.ids[i] for i in mask.nonzero()[0]} == {"film-3", "film-5", "film-7", "film-9"}
    assert kind(log, "viewers", "ids").group("viewer 4\nviewer 8").sum() == 2
    for text in ("film-33x", "film-3, film-33x"):
        with pytest.raises(DataError, match=r"no item 'film-33x'.*film-33"):
            listed(text, log.items, log.titles())
    with pytest.raises(DataError, match="no item 'Film number 666'"):
        listed("Film number 666", log.items, log.titles())


def test_a_group_that_is_not_there_is_refused_with_what_is_near(log: Dataset) -> None:
    with pytest.raises(DataError, match=r"no group 'Horor' by “Genre”.*'Horror'"):
        kind(log, "items", "genre").group("Horor")


def test_a_log_without_interactions_has_lists_and_attributes_alone(log: Dataset) -> None:
    empty = log.with_interactions(np.zeros(log.n_interactions, bool))
    keys = [k.key for k in kinds_of(empty, "viewers")]
    assert keys == ["by gender", "by age", "by code", "by likes", "by {odd} <b>", "ids"]
    assert [k.key for k in kinds_of(empty, "items")] == ["genre", "decade", "ids"]


def test_activations_are_those_of_every_viewer_in_order(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.runs._CHUNK", 7)
    acts = tiny_run.activations("viewers").toarray()
    assert acts.shape == (90, 24)
    for user in (0, 6, 7, 89):
        assert np.allclose(acts[user], tiny_run.sae.encode(tiny_run.embedding(user))[0], atol=1e-5)
    items = tiny_run.sae.encode(tiny_run.recommender.probe_items())
    assert np.array_equal(tiny_run.activations("items").toarray(), items)
