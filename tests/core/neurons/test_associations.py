"""A planted fact is found, and judged on rows that had no part in the choice; chance finds none."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from core.neurons.associations import Associations, judge, permuted, random_directions, raw_dimensions
from core.neurons.facts import LEAST, Fact, Side, facts_of, first_half
from core.neurons.separation import auc_interval, wilson
from core.sae.model import SAE, SAEConfig
from tests.core.catalogues import catalogue

N, D = 400, 7
HORROR, SEVENTIES, SILENT, NOISE, SHY = range(5)
"""Neurons: three of planted facts, one that never fires, one of chance, and one that fires in the first half alone."""


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    genres = [["Horror"] if i % 5 == 0 else ["Comedy"] for i in range(N)]
    years = [1975 if rng.random() < 0.3 else 1985 for i in range(N)]
    return catalogue(genres, years, histories=[np.unique(rng.choice(N, 30)).tolist() for _ in range(200)])


@pytest.fixture(scope="module")
def side(dataset):
    return Side.make("items", dataset, np.arange(N))


@pytest.fixture(scope="module")
def acts(dataset, side):
    rng = np.random.default_rng(1)
    out = np.where(rng.random((N, D)) < 0.1, rng.random((N, D)), 0)
    facts = {fact.name: fact.mask for fact in side.facts}
    out[facts["Horror"], HORROR] += rng.uniform(0.5, 2, facts["Horror"].sum())
    out[facts["1970s"], SEVENTIES] += rng.uniform(0.2, 1, facts["1970s"].sum())
    out[:, SILENT] = 0
    out[:, SHY] = np.where(side.first & facts["Horror"], 1.0, 0)
    return sparse.csc_matrix(out.astype(np.float32))


@pytest.fixture(scope="module")
def made(acts, side):
    return Associations.build([(side, judge(acts, side))])


def test_planted_facts_are_chosen_and_hold_on_the_other_half(made):
    best = made.best.set_index("neuron")
    assert best.loc[HORROR, "fact"] == "Horror" and best.loc[SEVENTIES, "fact"] == "1970s"
    assert (best.loc[[HORROR, SEVENTIES], "low"] > 0.9).all() and (best.loc[[HORROR, SEVENTIES], "q"] < 1e-6).all()
    assert best.loc[HORROR, "precision"] == 1 and best.loc[HORROR, "lift"] == pytest.approx(
        1 / best.loc[HORROR, "base_rate"]
    )
    assert best.loc[NOISE, "q"] > 0.05
    assert best.loc[SILENT, "fact"] == "" and np.isnan(best.loc[SILENT, "auc"]) and not best.loc[SILENT, "first"]


def test_a_neuron_that_is_silent_in_the_half_that_judges_has_a_fact_but_no_proof(made):
    row = made.best.set_index("neuron").loc[SHY]
    assert row["fact"] == "Horror" and row["n_firing"] == 0
    assert np.isnan(row["auc"]) and row["p"] == 1 and row["q"] == 1


def test_every_row_of_a_neuron_is_that_of_a_naive_look_at_the_half_that_judges(made, acts, side):
    dense, held = acts.toarray()[~side.first], ~side.first
    for j in (HORROR, NOISE):
        frame = made.of_neuron(j).set_index("fact")
        assert len(frame) == len(side.facts)
        assert frame["low"].is_monotonic_decreasing
        a = dense[:, j]
        top = np.lexsort((np.arange(len(a)), -a))[: min(20, (a > 0).sum())]
        for fact in side.facts:
            mask, row = fact.mask[held], frame.loc[fact.name]
            wins = (a[mask][:, None] > a[~mask]) + (a[mask][:, None] == a[~mask]) / 2
            assert row["auc"] == pytest.approx(wins.mean(), abs=1e-6)
            assert (row["n"], row["base_rate"]) == (mask.sum(), pytest.approx(mask.mean()))
            assert row["precision"] == pytest.approx(mask[top].mean()) and row["n_top"] == len(top)
            assert row["lift"] == pytest.approx(mask[top].mean() / mask.mean())
            assert (row["precision_low"], row["precision_high"]) == pytest.approx(
                [float(end) for end in wilson(mask[top].sum(), len(top))]
            )
            assert row["firing_precision"] == pytest.approx(mask[a > 0].mean())
            assert row["correlation"] == pytest.approx(np.corrcoef(a, mask)[0, 1], abs=1e-5)
            assert row["low"] <= row["auc"] <= row["high"] and row["kind"] == fact.kind


def test_each_fact_has_the_neuron_that_was_planted_for_it(made):
    neurons = made.facts.set_index("fact")["neuron"]
    assert neurons["1970s"] == SEVENTIES and neurons["Horror"] in (HORROR, SHY)


def test_permuted_facts_convince_of_nothing(acts, side):
    null, real = permuted(acts, side, 0), judge(acts, side).summary(side)
    assert null["significant_share"] <= 0.05 and null["concept_coverage"] == 0
    assert abs(null["median_auc"] - 0.5) < 0.05
    assert real["significant_share"] >= 2 / 6 and real["concept_coverage"] > 0
    assert permuted(acts, side, 0) == null and permuted(acts, side, 1) != null


def test_baselines_are_as_many_random_directions_as_sparse_and_the_dimensions_with_both_signs():
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=s).astype(np.float32) for s in ((4, 30), (30,), (30, 4), (4,))]
    sae, X = SAE(SAEConfig(4, 30, "topk", 5, "unit"), *weights), rng.normal(size=(50, 4)).astype(np.float32)
    assert ((random_directions(sae, 0).encode(X) > 0).sum(axis=1) <= 5).all()
    assert random_directions(sae, 0).encode(X).shape == (50, 30)
    seen = sae.normalise(X).x_n - sae.b_dec
    np.testing.assert_allclose(raw_dimensions(sae).encode(X), np.maximum(np.hstack([seen, -seen]), 0), atol=1e-6)


def test_the_surer_side_comes_first(acts, side):
    weaker = side._replace(of="viewers", facts=[Fact("odd", "Number", np.arange(N) % 2 == 1)])
    best = Associations.build([(side, judge(acts, side)), (weaker, judge(acts, weaker))]).best
    assert best.groupby("neuron")["first"].sum().tolist() == [1, 1, 0, 1, 1, 1, 1]
    assert best.query("first and neuron == 0")["of"].item() == "items"
    assert best.query("of == 'viewers' and neuron == 0")["fact"].item() == "odd"


def test_what_was_saved_comes_back_and_survives_parquet(made, tmp_path):
    arrays, tables = made.to_saved()
    for name, frame in tables.items():
        frame.to_parquet(tmp_path / name)
    again = Associations.from_saved(arrays, {name: pd.read_parquet(tmp_path / name) for name in tables})
    pd.testing.assert_frame_equal(again.of_neuron(HORROR), made.of_neuron(HORROR))
    pd.testing.assert_frame_equal(again.best, made.best)


def test_a_row_is_in_the_same_half_in_whatever_order_it_comes():
    ids = [f"item {i}" for i in range(1000)]
    half = first_half(ids)
    np.testing.assert_array_equal(first_half(reversed(ids)), half[::-1])
    assert 420 < half.sum() < 580


def test_facts_are_genres_decades_and_tenths_by_popularity_and_rare_ones_are_left_out(dataset, side):
    facts = {fact.name: fact for fact in facts_of(dataset, "items")}
    tenth = facts["most popular tenth"]
    assert tenth.kind == "popularity" and tenth.mask.sum() == N / 10
    assert dataset.item_counts[tenth.mask].min() >= dataset.item_counts[~tenth.mask].max()
    assert len([f for f in facts.values() if f.kind == "popularity"]) == 10
    few = np.r_[np.flatnonzero(facts["Horror"].mask)[: 2 * LEAST - 1], np.flatnonzero(facts["Comedy"].mask)]
    assert "Horror" not in [fact.name for fact in Side.make("items", dataset, few).facts]
    assert {"Horror", "Comedy", "1970s", "1980s"} < {fact.name for fact in side.facts}


def test_nothing_known_of_the_rows_gives_empty_tables():
    bare = catalogue([[]] * 60)
    side = Side.make("items", bare, np.arange(60))
    assert side.facts == [] and side.masks.shape == (60, 0)
    found = judge(sparse.csc_matrix(np.ones((60, 3), np.float32)), side)
    made = Associations.build([(side, found)])
    assert made.best["fact"].tolist() == [""] * 3 and len(made.of_neuron(0)) == 0
    assert found.summary(side)["n_neurons"] == 0


def test_limits_of_the_table_are_those_of_its_interval(made):
    frame = made.of_neuron(NOISE)
    facts = made.facts.set_index("fact").loc[frame["fact"]]
    column = [made.facts.index[made.facts["fact"] == name].item() for name in frame["fact"]]
    ends = partial(auc_interval, made.auc[NOISE, column], made.error[NOISE, column])
    low, high = ends(facts["n"].to_numpy(), (facts["n_rows"] - facts["n"]).to_numpy())
    np.testing.assert_allclose(frame[["low", "high"]].to_numpy().T, [low, high], atol=1e-6)
