"""The demo's viewers: always the same, quick to draw, long-tailed, and with the tastes that they are said to have."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.data.catalogue import CATALOGUE
from core.data.dataset import Dataset
from core.data.demo import DAYS, DEMO_FOLDER, MIN_ITEMS, demo_log, make_demo, planted_concepts
from core.data.loaders import DataConfig, read_dataset


@pytest.fixture(scope="module")
def demo() -> Dataset:
    return make_demo()


def test_the_demo_is_drawn_in_a_moment_and_says_that_it_is_simulated(demo: Dataset) -> None:
    started = time.process_time()
    again = make_demo()
    assert time.process_time() - started < 2
    assert again.fingerprint() == demo.fingerprint()
    assert make_demo(seed=1).fingerprint() != demo.fingerprint()
    assert demo.simulated
    assert any("simulated" in note for note in demo.notes)
    assert demo.n_users == 2400
    assert demo.n_items == len(pd.read_csv(DEMO_FOLDER / "items.csv"))


def test_the_folder_of_the_demo_is_a_dataset_and_takes_options(demo: Dataset) -> None:
    assert read_dataset(DEMO_FOLDER).fingerprint() == demo.fingerprint()
    assert read_dataset(DEMO_FOLDER, options=DataConfig(k_core=40)).n_users < demo.n_users


def test_histories_are_long_tailed_within_their_bounds(demo: Dataset) -> None:
    lengths = np.diff(demo.indptr)
    assert lengths.min() >= 15
    assert lengths.max() <= 200
    assert 45 < np.median(lengths) < 65
    assert lengths.mean() > np.median(lengths) + 4


def test_a_few_films_are_watched_by_many_and_many_by_few(demo: Dataset) -> None:
    counts = np.sort(demo.item_counts)[::-1]
    top_tenth = counts[: len(counts) // 10].sum() / counts.sum()
    assert 0.25 < top_tenth < 0.6  # a uniform log has 0.1
    assert counts[0] < 0.7 * demo.n_users
    assert counts[-1] >= 5


def test_times_are_evenings_after_every_film_was_made_and_in_order(demo: Dataset) -> None:
    assert demo.timestamps is not None
    days = pd.to_datetime(demo.timestamps, unit="s")
    assert days.min().year > int(demo.item_table["year"].max())
    assert (days.max() - days.min()).days <= DAYS
    assert days.hour.min() >= 6
    assert 18 <= np.median(days.hour) <= 21
    first, last = demo.indptr[:-1], demo.indptr[1:] - 1
    assert (np.diff(demo.timestamps)[np.diff(demo.user_index) == 0] >= 0).all()
    assert np.median(demo.timestamps[last] - demo.timestamps[first]) > 30 * 86_400


def test_the_planted_concepts_are_themes_genres_and_eras(demo: Dataset) -> None:
    concepts = planted_concepts(demo)
    assert {"zombies", "Western", "1980s"} <= set(concepts)
    assert len(concepts) >= 30
    assert all(
        mask.dtype == bool and mask.shape == (demo.n_items,) and mask.sum() >= MIN_ITEMS for mask in concepts.values()
    )
    year = demo.item_table["year"]
    assert np.array_equal(concepts["1980s"], year.between(1980, 1989).to_numpy(dtype=bool))


def test_viewers_watch_what_they_are_said_to_like_and_other_things_too(demo: Dataset) -> None:
    concepts = planted_concepts(demo)
    assert demo.user_table is not None
    tastes = demo.user_table["tastes"].str.split(", ")
    assert tastes.map(len).isin([1, 2, 3]).all()
    assert tastes.explode().isin(list(concepts)).all()
    assert set(tastes.explode()) == set(concepts)
    watched = demo.matrix()
    for name, mask in concepts.items():
        share = watched[:, mask].sum(axis=1).A1 / np.diff(demo.indptr)
        fans = tastes.map(lambda row, name=name: name in row).to_numpy()
        assert share[fans].mean() > 2.5 * share[~fans].mean(), name
        assert share[fans].mean() < 0.75, name


def test_some_viewers_want_what_everybody_watches(demo: Dataset) -> None:
    popularity = demo.item_counts.argsort().argsort() / demo.n_items
    means = np.array([popularity[h].mean() for h in demo.histories()])
    assert np.percentile(means, 95) - np.percentile(means, 5) > 0.12


def test_another_catalogue_may_be_drawn_from(tmp_path: Path) -> None:
    rows = [
        f"f{i},Film {i},{1940 + i},{'Western' if i % 2 else 'Drama'},{'robots' if i < 20 else ''}" for i in range(60)
    ]
    (tmp_path / "items.csv").write_text("item_id,title,year,genres,tags\n" + "\n".join(rows) + "\n")
    log = demo_log(tmp_path, n_users=50)
    assert log.interactions["user_id"].nunique() == 50
    assert set(", ".join(log.users["tastes"]).split(", ")) == {"robots", "Western", "before 1960"}  # type: ignore[index]


def test_the_catalogue_tells_the_size_of_the_demo(demo: Dataset) -> None:
    known = CATALOGUE["demo"]
    assert (known.n_users, known.n_items, known.n_interactions) == (demo.n_users, demo.n_items, demo.n_interactions)
    assert demo.licence == known.licence
