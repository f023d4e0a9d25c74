"""What a build reports, measured again here in the plainest way, viewer by viewer."""

import numpy as np
import pytest

from core.neurons.baselines import random_directions
from core.neurons.concepts import purity, top_firing
from core.runs import Run, steer_viewer
from core.seeding import derive_seed
from core.steering.steering import Edit, Steering

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
