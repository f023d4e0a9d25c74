import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from core.neurons.shards import Shard, shard_stats
from core.neurons.table import N_TOP_USERS, NeuronTable
from core.sae.model import SAE, SAEConfig
from tests.core.catalogues import catalogue

N_ITEMS, N_USERS, D_SAE = 200, 60, 6
HORROR, COMEDY, SILENT, EIGHTIES, LATE, SHY = range(D_SAE)
"""Neurons 0-3 by what fires them; LATE fires in viewers only, SHY on eight comedies only."""


@pytest.fixture(scope="module")
def planted():
    """40 horror films, 100 comedies, the rest drama; half of all of the 1980s; neurons that fire on exactly that."""
    genres = [["Horror"]] * 40 + [["Comedy"]] * 100 + [["Drama"]] * 60
    years = [1985 if i % 2 else 1975 for i in range(N_ITEMS)]
    rng = np.random.default_rng(0)
    histories = [
        np.unique(rng.choice(40, 12) if u < 20 else rng.choice(np.arange(40, N_ITEMS), 12)).tolist()
        for u in range(N_USERS)
    ]
    dataset = catalogue(genres, years, histories=histories)
    masks = {
        HORROR: np.arange(N_ITEMS) < 40,
        COMEDY: (np.arange(N_ITEMS) >= 40) & (np.arange(N_ITEMS) < 140),
        EIGHTIES: np.arange(N_ITEMS) % 2 == 1,
        SHY: (np.arange(N_ITEMS) >= 40) & (np.arange(N_ITEMS) < 48),
    }
    items = np.zeros((N_ITEMS, D_SAE), np.float32)
    for j, mask in masks.items():
        items[mask, j] = rng.uniform(1, 2, mask.sum())
    users = np.zeros((N_USERS, D_SAE), np.float32)
    users[:20, LATE] = rng.uniform(1, 2, 20)
    users[20:, COMEDY] = rng.uniform(1, 2, 40)
    users[:, SILENT] = -1.0
    return dataset, items, users


def build(dataset, items, users):
    rng = np.random.default_rng(3)
    d_sae = items.shape[1]
    weights = [rng.normal(size=s).astype(np.float32) for s in ((4, d_sae), (d_sae,), (d_sae, 4), (4,))]
    sae = SAE(SAEConfig(4, d_sae, "relu"), *weights)
    stats = shard_stats(Shard(np.arange(len(users)), sparse.csr_matrix(users)), N_TOP_USERS)
    return NeuronTable.build(items, stats, sae, dataset, rng.normal(size=(dataset.n_items, 4)).astype(np.float32))


@pytest.fixture(scope="module")
def table(planted):
    return build(*planted)


def test_each_planted_neuron_gets_its_concept_with_its_hand_made_figures(table):
    frame = table.frame
    assert frame["best_concept"].tolist() == ["Horror", "Comedy", "", "1980s", "", "Comedy"]
    assert frame["best_kind"].tolist() == ["genre", "genre", "", "decade", "", "genre"]
    assert frame.loc[[HORROR, COMEDY, EIGHTIES], "purity_at_20"].tolist() == [1, 1, 1]
    np.testing.assert_allclose(frame.loc[[HORROR, COMEDY, EIGHTIES], "base_rate"], [0.2, 0.5, 0.5])
    np.testing.assert_allclose(frame.loc[[HORROR, COMEDY, EIGHTIES], "lift"], [5, 2, 2])
    np.testing.assert_allclose(frame.loc[[HORROR, COMEDY, EIGHTIES], "auc"], [1, 1, 1])
    np.testing.assert_allclose(frame.loc[SHY, "auc"], (8 + 92 * 0.5) / 100, rtol=1e-6)


def test_purity_is_nan_where_too_few_items_fire(table):
    assert np.isnan(table.frame.loc[HORROR, "purity_at_50"])  # 40 horror films
    assert table.frame.loc[COMEDY, "purity_at_50"] == 1
    assert np.isnan(table.frame.loc[SHY, ["purity_at_10", "lift"]].astype(float)).all()
    assert np.isnan(table.purity[:, :, LATE]).all()


def test_labels_name_what_was_planted(table):
    labels = table.frame["label"].tolist()
    assert labels[HORROR] == "Horror"
    assert labels[COMEDY] == "Comedy"
    assert labels[SILENT] == "Never fires"
    assert labels[EIGHTIES] == "1980s"
    assert labels[LATE].startswith("Fans of Horror")
    assert labels[SHY] == "Mixed · #5"  # eight of eight where half are comedies: not enough to speak
    assert set(table.frame["label_source"]) == {"keyword"}


def test_a_neuron_that_fires_on_nothing_is_dead_and_one_that_fires_in_viewers_only_is_alive(table):
    assert table.frame["alive"].tolist() == [True, True, False, True, True, True]
    assert (table.top_items[SILENT] == -1).all() and (table.top_users[SILENT] == -1).all()
    assert table.item_histogram[SILENT].sum() == 0
    assert (table.neighbours[SILENT] == -1).all()
    assert SILENT not in table.neighbours


def test_shuffled_labels_destroy_the_purity(planted):
    dataset, items, users = planted
    order = np.random.default_rng(5).permutation(N_ITEMS)
    frame = build(dataset, items[order], users).frame
    assert frame.loc[HORROR, "purity_at_20"] < 0.8
    assert abs(frame.loc[HORROR, "auc"] - 0.5) < 0.15


def test_top_lists_hold_the_strongest_once_with_their_activations(table, planted):
    _, items, users = planted
    for acts, top, values in (
        (items, table.top_items, table.top_item_acts),
        (users, table.top_users, table.top_user_acts),
    ):
        for j in range(D_SAE):
            found = top[j][top[j] >= 0]
            assert len(set(found.tolist())) == len(found) == min(top.shape[1], (acts[:, j] > 0).sum())
            np.testing.assert_array_equal(values[j][: len(found)], np.sort(acts[:, j])[::-1][: len(found)])
            assert np.isnan(values[j][len(found) :]).all()


def test_histograms_hold_every_firing_once(table):
    np.testing.assert_array_equal(table.item_histogram.sum(axis=1), table.frame["n_items_firing"])
    np.testing.assert_array_equal(table.user_histogram.sum(axis=1), table.frame["n_users_firing"])
    np.testing.assert_array_equal(table.histogram_edges[:, 0], 0)
    alive = table.frame["alive"]
    np.testing.assert_allclose(table.histogram_edges[alive, -1], table.frame.loc[alive, "max_activation"])


def test_the_row_of_a_concept_in_purity_and_auc_is_its_row_in_concepts(table):
    assert table.concepts["name"].tolist() == ["Comedy", "Drama", "Horror", "1970s", "1980s"]
    assert table.concepts["n_items"].tolist() == [100, 60, 40, 100, 100]
    row = table.concepts.index[table.concepts["name"] == "Horror"][0]
    assert table.purity[0, row, HORROR] == 1
    assert table.auc[row, HORROR] == 1


def test_what_was_saved_comes_back_exactly(table):
    arrays, tables = table.to_saved()
    again = NeuronTable.from_saved(arrays, tables)
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(again, name), array)
    pd.testing.assert_frame_equal(again.frame, table.frame)
    pd.testing.assert_frame_equal(again.concepts, table.concepts)
    assert arrays.keys() | {"frame", "concepts"} == set(NeuronTable.__dataclass_fields__)


def test_the_tables_survive_parquet(table, tmp_path):
    for name, frame in table.to_saved()[1].items():
        frame.to_parquet(tmp_path / name)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / name), frame)


def test_the_same_activations_give_the_same_table(planted, table):
    again = build(*planted)
    pd.testing.assert_frame_equal(again.frame, table.frame)
    np.testing.assert_array_equal(again.neighbours, table.neighbours)


def test_a_catalogue_without_facts_still_gives_a_table():
    dataset = catalogue([[]] * 30, histories=[[0, 1, 2], [3, 4]])
    table = build(dataset, np.ones((30, 2), np.float32), np.ones((2, 2), np.float32))
    assert table.purity.shape == (3, 0, 2) and table.auc.shape == (0, 2)
    assert table.frame["best_concept"].tolist() == ["", ""]
    assert table.frame["label"].is_unique


def test_activations_of_another_dataset_are_refused(planted):
    dataset, items, users = planted
    with pytest.raises(ValueError, match=r"item_acts has shape \(199, 6\), expected \(200, 6\)"):
        build(dataset, items[1:], users)
    with pytest.raises(ValueError, match="59 viewers and 6 neurons, expected 60 and 6"):
        build(dataset, items, users[1:])


def test_a_common_concept_does_not_win_by_being_common_and_lift_is_that_at_twenty():
    # 90 of 100 films are drama; a neuron fires on 14 horror films among 20 dramas, another on 15 with ten of horror.
    genres = [["Horror", "Drama"]] * 20 + [["Drama"]] * 70 + [["Comedy"]] * 10
    dataset = catalogue(genres, histories=[[0, 1], [2, 3]])
    items = np.zeros((100, 2), np.float32)
    items[:10, 0], items[20:26, 0], items[10:14, 0] = 3, 2, 1
    items[:8, 1], items[20:27, 1] = 3, 2
    frame = build(dataset, items, np.zeros((2, 2), np.float32)).frame
    assert frame["best_concept"].tolist() == ["Horror", "Horror"]
    np.testing.assert_allclose(frame["purity_at_10"], [1.0, 0.8])
    np.testing.assert_allclose(frame["purity_at_20"], [0.7, np.nan])
    np.testing.assert_allclose(frame["lift"], [0.7 / 0.2, 0.8 / 0.2])
