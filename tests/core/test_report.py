"""What a build reports, measured again here in the plainest way, viewer by viewer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.configs import from_dict
from core.data.dataset import Dataset, Histories, to_matrix
from core.data.groups import popularity_groups
from core.data.split import Split, SplitConfig, split
from core.evaluation.ranking import paired_interval
from core.neurons.baselines import random_directions
from core.neurons.concepts import purity, top_firing
from core.progress import Progress, no_progress
from core.recommenders.base import LinearRecommender, LinearScorer
from core.report import (
    INTERVALS,
    VIEWERS,
    EvaluationConfig,
    compare_viewers,
    drawn_viewers,
    recommender_metrics,
)
from core.runs import Run, steer_viewer
from core.seeding import derive_seed
from core.steering.steering import Edit, Steering
from tests.core.recommenders.blocks import N_ITEMS, block_log, dataset_of

N = 20


def best_items(run: Run, embedding: np.ndarray, user: int, n: int = N) -> list[int]:
    """Give a viewer's list out of a plain sort of the unseen items."""
    scores = run.recommender.score(embedding)[0]
    seen = set(run.dataset.history(user).tolist())
    return [i for i in np.argsort(-scores, kind="stable").tolist() if i not in seen][:n]


def recall_and_ndcg(items: list[int], wanted: set[int]) -> tuple[float, float]:
    gains = [1 / np.log2(place + 2) for place, item in enumerate(items) if item in wanted]
    ideal = sum(1 / np.log2(place + 2) for place in range(min(len(wanted), N)))
    return len(gains) / min(len(wanted), N), sum(gains) / ideal


def means(run: Run, users: list[int], *, rebuilt: bool) -> tuple[float, float]:
    values = []
    for user in users:
        embedding = run.embedding(user)
        items = best_items(run, run.sae.reconstruct(embedding) if rebuilt else embedding, user)
        values.append(recall_and_ndcg(items, set(run.split.targets[user].tolist())))
    recall, ndcg = np.mean(values, axis=0)
    return float(recall), float(ndcg)


def test_the_recommender_is_measured_on_the_held_out_items_of_all_with_seen_ones_left_out(tiny_run: Run) -> None:
    report = tiny_run.report["recommender"]
    users = [u for u in range(tiny_run.dataset.n_users) if len(tiny_run.split.targets[u])]
    assert report["n_viewers"] == len(users)
    assert (report["recall_at_20"], report["ndcg_at_20"]) == pytest.approx(means(tiny_run, users, rebuilt=False))
    places, shown = [], set()
    for user in users:
        ranked = best_items(tiny_run, tiny_run.embedding(user), user, tiny_run.dataset.n_items)
        places.append(np.mean([ranked.index(i) / (len(ranked) - 1) for i in tiny_run.split.targets[user]]))
        shown |= set(ranked[:10])
    assert report["mpr"] == pytest.approx(np.mean(places))
    assert report["coverage_at_10"] == pytest.approx(len(shown) / tiny_run.dataset.n_items)


def test_every_accuracy_at_10_and_20_is_the_mean_over_viewers_of_a_plain_count(tiny_run: Run) -> None:
    report, targets = tiny_run.report["recommender"], tiny_run.split.targets
    values: dict[str, list[float]] = {}
    for user in (u for u in range(tiny_run.dataset.n_users) if len(targets[u])):
        ranked, wanted = best_items(tiny_run, tiny_run.embedding(user), user), set(targets[user].tolist())
        for n in (10, 20):
            places = [place for place, item in enumerate(ranked[:n], start=1) if item in wanted]
            ideal = sum(1 / np.log2(r + 1) for r in range(1, min(n, len(wanted)) + 1))
            of_viewer = {
                "recall": len(places) / min(n, len(wanted)),
                "ndcg": sum(1 / np.log2(r + 1) for r in places) / ideal,
                "precision": len(places) / n,
                "hit": float(bool(places)),
                "mrr": 1 / places[0] if places else 0.0,
                "map": sum((k + 1) / r for k, r in enumerate(places)) / min(n, len(wanted)),
            }
            for name, value in of_viewer.items():
                values.setdefault(f"{name}_at_{n}", []).append(value)
    assert {name: report[name] for name in values} == pytest.approx({k: np.mean(v) for k, v in values.items()})
    saved = tiny_run.workspace.tables("recommender", tiny_run.ids["recommender"])["viewers"]
    assert saved["user"].tolist() == [u for u in range(tiny_run.dataset.n_users) if len(targets[u])]
    assert list(saved) == ["user", *VIEWERS] and {str(saved[name].dtype) for name in VIEWERS} == {"float32"}
    for name in VIEWERS:
        np.testing.assert_allclose(saved[name], values[name], rtol=1e-6)
    for name in INTERVALS:
        low, high = report[f"{name}_interval"]
        error = np.std(values[name]) / np.sqrt(len(saved))
        assert low < report[name] < high and (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.15)


def test_what_the_lists_show_together_is_measured_at_10_against_the_log_that_was_learnt(tiny_run: Run) -> None:
    report, train = tiny_run.report["recommender"], tiny_run.split.train
    counts, items = train.item_counts, tiny_run.recommender.embed_items().astype(float)
    unit = items / np.linalg.norm(items, axis=1, keepdims=True)
    users = [u for u in range(train.n_users) if len(tiny_run.split.targets[u])]
    shown = [best_items(tiny_run, tiny_run.embedding(user), user, 10) for user in users]
    tail = np.flatnonzero(popularity_groups(counts) == 2)
    assert report["long_tail_coverage_at_10"] == pytest.approx(np.isin(tail, shown).mean())
    assert report["average_popularity_at_10"] == pytest.approx(np.mean(counts[shown] / train.n_users))
    assert report["novelty_at_10"] == pytest.approx(np.mean(-np.log2(counts[shown] / train.n_users)))
    cosines = [unit[a] @ unit[b] for row in shown for k, a in enumerate(row) for b in row[k + 1 :]]
    assert report["intra_list_diversity_at_10"] == pytest.approx(1 - np.mean(cosines), abs=1e-5)


class Towers(LinearRecommender):
    """Item vectors, given, and viewers who are the sums of theirs."""

    name = "towers"
    config = None

    def __init__(self, items: np.ndarray) -> None:
        self.items = items.astype(np.float32)
        self.n_items, self.d_in = items.shape

    @classmethod
    def fit(cls, train: Dataset, config: Any, *, seed: int, progress: Progress = no_progress) -> "Towers":
        raise NotImplementedError

    def embed(self, histories: Histories) -> np.ndarray:
        return np.asarray(to_matrix(histories, self.n_items) @ self.items)

    def embed_items(self) -> np.ndarray:
        return self.items

    probe_items = embed_items

    @property
    def linear(self) -> LinearScorer:
        return LinearScorer(self.items, np.zeros(self.n_items, np.float32))

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {"items": self.items}

    @classmethod
    def from_arrays(cls, config: Any, arrays: Mapping[str, np.ndarray]) -> "Towers":
        return cls(arrays["items"])


def towers() -> Towers:
    return Towers(np.random.default_rng(0).normal(size=(N_ITEMS, 6)))


def block_split(name: str = "leave-n-out") -> Split:
    settings = {"n_held_out": 2, "unseen_user_share": 0.25}
    return split(block_log()[0], SplitConfig(name=name, **settings), seed=0)  # type: ignore[arg-type]


def ndcgs(model: Towers, parts: Split, vectors: np.ndarray, *, masked: bool = True) -> np.ndarray:
    """Give nDCG@20 of these vectors, viewer by viewer; NaN without held-out items."""
    out = np.full(len(vectors), np.nan)
    for user, wanted in enumerate(parts.targets):
        if len(wanted):
            order = np.argsort(-(vectors[user] @ model.items.T), kind="stable").tolist()
            seen = set(parts.history.history(user).tolist()) if masked else set()
            out[user] = recall_and_ndcg([i for i in order if i not in seen][:N], set(wanted.tolist()))[1]
    return out


def test_the_long_tail_is_the_least_popular_items_with_a_fifth_of_what_was_learnt() -> None:
    parts = block_split()
    users, counts = range(parts.train.n_users), parts.train.item_counts
    model = Towers((np.arange(N_ITEMS) % 9 == 0)[:, None])  # 0, 9, 18, 27, 36 to everybody, then by index
    model.native_users = np.ones((len(users), 1), np.float32)
    report = recommender_metrics(model, parts).metrics
    unseen = [set(range(N_ITEMS)) - set(parts.history.history(u).tolist()) for u in users]
    shown = {i for items in unseen for i in sorted(items, key=lambda i: (i % 9 != 0, i))[:10]}
    tail: set[int] = set()
    for item in sorted(range(N_ITEMS), key=lambda i: (counts[i], -i)):
        if counts[list(tail)].sum() < counts.sum() / 5:
            tail.add(item)
    assert report["coverage_at_10"] == len(shown) / N_ITEMS
    assert report["long_tail_coverage_at_10"] == pytest.approx(len(tail & shown) / len(tail))
    assert 0 < len(tail & shown) < len(tail) and report["long_tail_coverage_at_10"] != report["coverage_at_10"]


def test_what_folding_in_costs_is_the_share_lost_against_the_vectors_that_training_left() -> None:
    parts, model = block_split(), towers()
    folded = model.embed(parts.history.histories())
    without = recommender_metrics(model, parts).metrics
    assert "fold_in_ndcg_loss" not in without
    block = np.arange(parts.train.n_users) % 4
    centres = np.stack([model.items[10 * b : 10 * b + 10].mean(axis=0) for b in range(4)])
    model.trained_users = centres[block]
    report = recommender_metrics(model, parts).metrics
    trained, now = ndcgs(model, parts, model.trained_users), ndcgs(model, parts, folded)
    assert report["ndcg_at_20"] == without["ndcg_at_20"] == pytest.approx(now.mean()), "lists are those of the fold-in"
    assert now.mean() < trained.mean()
    assert report["fold_in_ndcg_loss"] == pytest.approx(1 - now.mean() / trained.mean()) and now.mean() > 0
    low, high = report["fold_in_ndcg_loss_interval"]
    assert low < report["fold_in_ndcg_loss"] < high
    model.trained_users = folded
    report = recommender_metrics(model, parts).metrics
    assert (report["fold_in_ndcg_loss"], report["fold_in_ndcg_loss_interval"]) == (0, [0, 0])


def test_viewers_that_training_never_saw_are_no_part_of_the_cost_of_folding_in() -> None:
    parts, model = block_split("held-out-users"), towers()
    model.trained_users = np.zeros((parts.train.n_users, model.d_in), np.float32)
    report = recommender_metrics(model, parts).metrics
    assert report["n_viewers"] == len(parts.unseen_users) > 0 and report["ndcg_at_20"] > 0
    assert np.isnan([report["fold_in_ndcg_loss"], *report["fold_in_ndcg_loss_interval"]]).all()


def test_a_model_that_brought_viewers_is_measured_with_them_and_its_fold_in_against_them() -> None:
    parts, model = block_split(), towers()
    model.native_users = np.random.default_rng(1).normal(size=(parts.train.n_users, 6)).astype(np.float32)
    report = recommender_metrics(model, parts).metrics
    brought = ndcgs(model, parts, model.native_users)
    folded = ndcgs(model, parts, model.embed(parts.history.histories()))
    assert report["ndcg_at_20"] == pytest.approx(brought.mean())
    assert report["fold_in_ndcg_loss"] == pytest.approx(1 - folded.mean() / brought.mean())


def test_seen_items_take_places_where_they_are_not_masked() -> None:
    parts, model = block_split(), towers()
    masked, unmasked = (
        recommender_metrics(model, parts, config=EvaluationConfig(mask_seen=m)).metrics for m in (True, False)
    )
    values = ndcgs(model, parts, model.embed(parts.history.histories()), masked=False)
    assert unmasked["ndcg_at_20"] == pytest.approx(values.mean()) and unmasked["ndcg_at_20"] < masked["ndcg_at_20"]
    scores = model.score(model.embed(parts.history.histories()))
    places = [
        np.mean([(scores[u] > scores[u, i]).sum() / (N_ITEMS - 1) for i in wanted])
        for u, wanted in enumerate(parts.targets)
    ]
    assert unmasked["mpr"] == pytest.approx(np.mean(places))
    assert from_dict(EvaluationConfig, {"mask_seen": "no"}) == EvaluationConfig(mask_seen=False)


EXPOSURE = ("coverage_at_10", "gini_at_10", "intra_list_diversity_at_10")
OF_THE_LOG = ("long_tail_coverage_at_10", "average_popularity_at_10", "novelty_at_10")


def test_lists_are_looked_at_where_nobody_has_held_out_items() -> None:
    log, model = block_log()[0], towers()
    every, none = np.ones(log.n_interactions, bool), np.zeros(log.n_interactions, bool)
    model.trained_users = model.embed(log.histories())
    report, viewers = recommender_metrics(model, Split.from_masks(log, none, every, np.arange(3)))
    assert report["n_viewers"] == len(viewers) == 0 and list(viewers) == ["user", *VIEWERS]
    accuracy = {k for k in report if k.startswith(("recall", "ndcg", "hit", "mrr", "map", "precision", "mpr"))}
    assert len(accuracy) == 16
    assert all(np.isnan(report[name]).all() for name in accuracy)
    assert np.isfinite([report[name] for name in EXPOSURE + OF_THE_LOG]).all()


@pytest.mark.parametrize("brings_viewers", [True, False])
def test_a_model_without_a_log_has_lists_if_it_brought_viewers_and_crashes_never(brings_viewers: bool) -> None:
    log, nothing, model = dataset_of([[] for _ in range(5)], N_ITEMS), np.zeros(0, bool), towers()
    if brings_viewers:
        model.native_users = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    report, viewers = recommender_metrics(model, Split.from_masks(log, nothing, nothing, np.arange(2)))
    assert report["n_viewers"] == len(viewers) == 0 and np.isnan(report["ndcg_at_20"])
    assert np.isfinite([report[name] for name in EXPOSURE]).all() == brings_viewers
    assert np.isnan([report[name] for name in OF_THE_LOG]).all()


def test_recommenders_are_compared_on_the_viewers_that_both_have() -> None:
    a = pd.DataFrame({"user": [0, 2, 5, 7], "ndcg_at_20": np.float32([0.5, 0.5, 9, np.nan])})
    b = pd.DataFrame({"user": [2, 0, 7, 9], "ndcg_at_20": np.float32([1, 0.25, 1, 8])})
    assert compare_viewers(a, b, "ndcg_at_20", seed=0).mean == pytest.approx(0.25)
    assert compare_viewers(a, a, "ndcg_at_20", seed=0) == (0, 0, 0)
    assert np.isnan(compare_viewers(a, b[3:], "ndcg_at_20", seed=0)).all()


def test_a_comparison_from_what_was_saved_is_the_one_of_the_measured_values(tiny_run: Run) -> None:
    model, parts = tiny_run.recommender, tiny_run.split
    viewers = recommender_metrics(model, parts).viewers
    better = viewers.assign(ndcg_at_20=viewers["ndcg_at_20"] * 2)
    expected = paired_interval(viewers["ndcg_at_20"].to_numpy(), better["ndcg_at_20"].to_numpy(), 3)
    assert compare_viewers(viewers, better, "ndcg_at_20", seed=3) == expected == pytest.approx((1, 1, 1))


def test_the_sae_is_measured_on_the_same_unseen_viewers_before_and_after(tiny_run: Run) -> None:
    report, users = tiny_run.report["sae"], tiny_run.split.unseen_users.tolist()
    before, after = means(tiny_run, users, rebuilt=False), means(tiny_run, users, rebuilt=True)
    assert before != after
    assert (report["recall_at_20_original"], report["ndcg_at_20_original"]) == pytest.approx(before)
    assert (report["recall_at_20"], report["ndcg_at_20"]) == pytest.approx(after)
    for position, name in enumerate(("recall", "ndcg")):
        assert report[f"{name}_loss"] == pytest.approx(1 - after[position] / before[position])
        low, high = report[f"{name}_loss_interval"]
        assert low <= report[f"{name}_loss"] <= high
    x = np.vstack([tiny_run.embedding(u) for u in users])
    x_hat = tiny_run.sae.reconstruct(x)
    cosine = (x * x_hat).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(x_hat, axis=1)
    assert report["cosine"] == pytest.approx(cosine.mean(), abs=1e-5)
    assert report["fvu"] == pytest.approx(np.square(x - x_hat).sum() / np.square(x - x.mean(axis=0)).sum(), abs=1e-5)
    alike = [
        len({*best_items(tiny_run, x[k : k + 1], u)} & {*best_items(tiny_run, x_hat[k : k + 1], u)}) / N
        for k, u in enumerate(users)
    ]
    assert report["overlap_at_20"] == pytest.approx(np.mean(alike))
    assert report["rbo_at_30"] < 1 and report["kendall_at_30"] < 1


def test_neurons_are_counted_and_judged_as_their_table_says(tiny_run: Run) -> None:
    sae, neurons, frame = tiny_run.report["sae"], tiny_run.report["neurons"], tiny_run.table.frame
    assert sae["alive"] == frame["alive"].sum()
    assert sae["dead_share"] == pytest.approx(1 - frame["alive"].mean())
    assert neurons["n_neurons_pure"] == (frame["purity_at_10"] >= 0.8).sum()
    assert neurons["monosemanticity"] == pytest.approx(frame["monosemanticity"].mean())
    assert neurons["popularity_percentile"]["10"] == frame["popularity_percentile_at_10"].min()
    assert neurons["popularity_percentile"]["20"] is None  # no neuron fires on so many of the few items
    probes = tiny_run.recommender.probe_items()
    genres = ["Comedy", "Documentary", "Horror"]
    masks = np.array([[g in row for row in tiny_run.dataset.item_table["genres"]] for g in genres])
    acts = tiny_run.sae.encode(probes)
    for row, name in enumerate(genres):
        found = neurons["purity"][name]
        assert found["10"] == purity(acts, masks[row : row + 1], 10)[0, found["neuron"]]
    seed = derive_seed(tiny_run.seed, "random directions")
    expected = random_directions(probes, masks, tiny_run.sae.config.d_sae, seed)
    assert {n: v for n, v in neurons["baselines"]["random_directions"].items() if v is not None} == {
        n: v for n, v in expected.items() if not np.isnan(v)
    }


def test_a_neurons_top_viewers_are_known_by_their_visible_histories_only(tiny_run: Run) -> None:
    acts = tiny_run.sae.encode(tiny_run.recommender.embed(tiny_run.dataset.histories()))
    held_out_too = tiny_run.sae.encode(tiny_run.recommender.embed(tiny_run.full.histories()))
    np.testing.assert_array_equal(tiny_run.table.top_users, top_firing(acts, 20))
    assert not np.array_equal(top_firing(held_out_too, 20), top_firing(acts, 20))


def test_the_list_in_between_is_that_of_the_reconstruction(tiny_run: Run) -> None:
    user = tiny_run.dataset.users.index("viewer 3")
    embedding = tiny_run.embedding(user)
    result = steer_viewer(tiny_run, "viewer 3", Steering((Edit(1, "add", 5.0),)), N)
    ids = tiny_run.dataset.items.ids
    original = [ids[i] for i in best_items(tiny_run, embedding, user)]
    rebuilt = [ids[i] for i in best_items(tiny_run, tiny_run.sae.reconstruct(embedding), user)]
    assert original != rebuilt
    assert [row["item"] for row in result["original"]] == original
    assert [row["item"] for row in result["reconstructed"]] == rebuilt
    steered = [row["item"] for row in result["steered"]]
    assert result["n_kept"] == len({*original} & {*steered}) < N
    assert result["overlap"] == pytest.approx(result["n_kept"] / N)
    assert result["departed"] == [i for i in original if i not in steered]
    assert [row["rank_before"] for row in result["steered"]] == [
        original.index(i) + 1 if i in original else None for i in steered
    ]


def test_of_very_many_viewers_the_same_ones_are_drawn_for_every_recommender() -> None:
    users = np.arange(50_000) * 2
    drawn = drawn_viewers(users, 50_000, seed=3)
    assert len(drawn) == 2_000 and np.isin(drawn, users).all() and (np.diff(drawn) > 0).all()
    assert np.array_equal(drawn, drawn_viewers(users, 50_000, seed=3))
    assert not np.array_equal(drawn, drawn_viewers(users, 50_000, seed=4))
    assert len(drawn_viewers(users, 10**9, seed=3)) == 1_000
    assert len(drawn_viewers(users, 10, seed=3)) == 10_000
    assert np.array_equal(drawn_viewers(users[:6040], 3260, seed=3), users[:6040])
