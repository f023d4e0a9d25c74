"""The real files: what they hold is counted here by other means than the loaders'."""

import csv
import os
import time
from pathlib import Path

import numpy as np
import pytest

from core.data.dataset import Dataset
from core.data.groups import popularity_groups
from core.data.loaders import has_layout, read_dataset
from core.data.split import SplitConfig, split

pytestmark = pytest.mark.real_data


def folder_of(name: str) -> Path:
    root = os.environ.get("DATASETS_DIR")
    if not root:
        pytest.skip("DATASETS_DIR is not set")
    if not has_layout(Path(root) / name):
        pytest.skip(f"{name} is not in DATASETS_DIR")
    return Path(root) / name


def read(name: str) -> Dataset:
    return read_dataset(folder_of(name))


def pairs(name: str, file: str, separator: str | None, skip: int = 1) -> set[tuple[str, ...]]:
    lines = (folder_of(name) / file).read_text(encoding="utf-8").splitlines()[skip:]
    return {tuple(line.split(separator)[:2]) for line in lines}


def as_pairs(dataset: Dataset) -> set[tuple[str, ...]]:
    users, items = np.array(dataset.users.ids), np.array(dataset.items.ids)
    return set(zip(users[dataset.user_index].tolist(), items[dataset.item_index].tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "file", "separator", "skip"),
    [
        ("ml-100k", "u.data", None, 0),
        ("ml-latest-small", "ratings.csv", ",", 1),
        ("lastfm-2k", "user_artists.dat", "\t", 1),
        ("ml-1m", "interactions.csv", ",", 1),
    ],
)
def test_every_pair_of_the_file_is_in_the_dataset_and_no_other(name: str, file: str, separator: str, skip: int) -> None:
    dataset = read(name)
    assert as_pairs(dataset) == pairs(name, file, separator, skip)
    assert dataset.n_items == len(set(dataset.item_index))
    assert (np.diff(dataset.user_index) >= 0).all()
    assert dataset.licence


def test_movielens_1m_has_the_films_and_people_it_is_known_for() -> None:
    started = time.perf_counter()
    dataset = read("ml-1m")
    seconds = time.perf_counter() - started
    assert (dataset.n_users, dataset.n_items, dataset.n_interactions) == (6040, 3260, 998_539)
    assert "623 items without any interaction were dropped." in dataset.notes
    toy_story = dataset.items.index(1)
    assert dataset.item_table.loc[toy_story, "genres"] == ("Animation", "Children's", "Comedy")
    assert dataset.titles()[dataset.items.index(11)] == "The American President"
    assert dataset.user_table is not None
    assert dataset.user_table.iloc[0].to_dict() == {"gender": "F", "age": "Under 18", "occupation": "10"}
    assert seconds < 10  # 0.6 s on an idle core: this only catches a loop over interactions


def test_the_head_of_movielens_1m_is_113_films() -> None:
    """The code of PopSteer has 113 films that cover the first fifth of the interactions."""
    assert np.bincount(popularity_groups(read("ml-1m").item_counts))[0] == 113


def test_splitting_movielens_1m_takes_no_loop_over_interactions() -> None:
    dataset = read("ml-1m")
    for name in ("leave-n-out", "per-user-ratio", "held-out-users"):
        started = time.perf_counter()
        parts = split(dataset, SplitConfig(name=name), seed=0)  # type: ignore[arg-type]
        assert time.perf_counter() - started < 5  # 0.08 s on an idle core
        assert len(parts.unseen_users) == 1007


def test_the_titles_of_movielens_100k_and_latest_keep_their_accents() -> None:
    assert any("é" in title for title in read("ml-100k").titles())
    with (folder_of("ml-latest-small") / "movies.csv").open(encoding="utf-8", newline="") as file:
        films = list(csv.DictReader(file))
    latest = read("ml-latest-small")
    known = {f["movieId"]: f["genres"] for f in films}
    for item in (0, 1000, latest.n_items - 1):
        genres = latest.item_table.loc[item, "genres"]
        assert "|".join(genres) == known[latest.items.ids[item]].replace("(no genres listed)", "")


def test_the_genres_of_lastfm_are_known_ones() -> None:
    dataset = read("lastfm-2k")
    genres = dataset.item_table["genres"]
    assert "metal" in genres[dataset.titles().index("Metallica")]
    assert not any("seen live" in row for row in genres)
    assert (genres.map(len) <= 4).all()
