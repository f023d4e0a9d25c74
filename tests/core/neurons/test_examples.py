"""Examples of a neuron: out of every part of its range, near misses, and what a viewer's activation rests on."""

import numpy as np
import pytest
from scipy import sparse

from core.neurons.concepts import Concept
from core.neurons.examples import BANDS, Examples, examples_of, facts_of, leave_one_out
from core.neurons.series import series_of
from core.runs import Run


def given(acts: np.ndarray, facts: np.ndarray | None = None, n: int = 4, seed: int = 0, **more: np.ndarray) -> Examples:
    """Give examples of neuron 3 over items that are no series and share `facts` (none by default)."""
    known = sparse.csr_matrix(np.zeros((len(acts), 1), np.float32) if facts is None else facts.astype(np.float32))
    values = {"series": np.arange(len(acts)), "counts": np.zeros(len(acts), np.int64)} | more
    return examples_of(np.asarray(acts, np.float32), facts=known, seed=seed, neuron=3, n_top=n, n=n, **values)


def test_each_band_holds_items_of_its_percentiles_strongest_first() -> None:
    acts = np.concatenate([np.zeros(50), np.arange(1, 201)])  # 200 items fire, item 49 + a has activation a
    found = given(acts, n=6)
    assert found.n_firing == 200
    assert found.top.acts.tolist() == [200, 199, 198, 197, 196, 195]
    for name, (low, high) in BANDS.items():
        band = found.bands[name]
        share = (band.acts - 0.5) / 200
        assert len(band.items) == 6 and (np.diff(band.acts) < 0).all()
        assert (share >= low).all() and (share < high).all()
        assert (acts[band.items] == band.acts).all()
    assert {name: band.n_all for name, band in found.bands.items()} == {"90-99": 18, "50-90": 80, "1-50": 98}


def test_no_item_is_an_example_twice() -> None:
    found = given(np.arange(0, 30), n=8)
    parts = [found.top, *found.bands.values(), found.near]
    items = np.concatenate([part.items for part in parts])
    assert len(set(items.tolist())) == len(items) > 15


def test_the_same_seed_gives_the_same_examples_and_another_one_does_not() -> None:
    acts = np.random.default_rng(1).random(400)
    again, other = given(acts), given(acts, seed=1)
    assert all((given(acts).bands[b].items == again.bands[b].items).all() for b in BANDS)
    assert any((other.bands[b].items != again.bands[b].items).any() for b in BANDS)
    assert (other.top.items == again.top.items).all()


def test_near_misses_are_silent_items_most_like_the_top_ones_the_known_first_among_equals() -> None:
    facts = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1], [0.6, 0.8], [0, 0]])
    found = given(np.array([5.0, 4, 0, 0, 0, 0, 0]), facts, counts=np.array([0, 0, 1, 7, 9, 9, 9]))
    assert found.near.items.tolist() == [3, 2, 5]  # 4 shares nothing with the top, of 6 nothing is known
    assert found.near.n_all == 3 and not found.near.acts.any()


def test_a_neuron_that_fires_on_one_item_has_one_example_and_one_that_fires_on_none_has_none() -> None:
    one = given(np.array([0, 0, 2.0, 0]))
    assert one.n_firing == 1 and one.top.items.tolist() == [2]
    assert not any(band.items.size for band in one.bands.values())
    none = given(np.zeros(5), np.ones((5, 1)))
    assert none.n_firing == 0 and not none.top.items.size and not none.near.items.size


def test_at_most_two_parts_of_a_series_are_shown_over_all_bands_together() -> None:
    titles = [f"Rocky {number}" for number in ("", "II", "III", "IV", "V")] + [
        f"Film {'abcdefgh'[i]}" for i in range(8)
    ]
    acts = np.concatenate([[9.0, 8.5, 8, 0, 0], np.arange(8, 0, -1)])
    facts = np.concatenate([np.ones(5), np.zeros(8)])[:, None]
    found = given(acts, facts, n=8, series=series_of(titles))
    shown = np.concatenate([found.top.items, *(b.items for b in found.bands.values()), found.near.items])
    assert sorted(i for i in shown.tolist() if i < 5) == [0, 1]


def test_rare_facts_weigh_more_than_common_ones() -> None:
    masks = {"Drama": [1, 1, 1, 1, 0, 0], "Heist": [1, 0, 0, 0, 1, 0]}
    rows = facts_of([Concept(name, "genre", np.array(m, bool)) for name, m in masks.items()], 6)
    dense = rows.toarray()
    weights = np.log([6 / 4, 6 / 2])
    assert dense[0] == pytest.approx(weights / np.linalg.norm(weights), rel=1e-5)
    assert np.linalg.norm(dense[:5], axis=1) == pytest.approx(1) and not dense[5].any()
    assert dense[0] @ dense[4] > dense[0] @ dense[1]
    assert facts_of([], 6).shape == (6, 0)


def test_leaving_an_item_out_is_embedding_the_history_without_it(tiny_run: Run) -> None:
    table, run = tiny_run.table, tiny_run
    neuron = int(table.frame["evidence"].idxmax())
    user = int(table.top_users[neuron, 0])
    history = run.dataset.history(user)
    item_acts = run.activations("items")[:, [neuron]].toarray().ravel()
    found = leave_one_out(run.recommender, run.sae, history, neuron, item_acts)
    whole = run.sae.encode(run.recommender.embed([history]))[0, neuron]
    assert found.activation == pytest.approx(whole) and whole > 0
    assert found.items.tolist() == history.tolist()
    for item, lost in zip(found.items, found.lost, strict=True):
        without = run.sae.encode(run.recommender.embed([history[history != item]]))[0, neuron]
        assert lost == pytest.approx(1 - without / whole, abs=1e-5)
    assert found.lost[np.argmax(item_acts[found.items])] > 0


def test_of_a_long_history_the_items_that_fire_most_and_then_the_latest_are_left_out(tiny_run: Run) -> None:
    history = tiny_run.dataset.history(0)
    acts = np.zeros(tiny_run.dataset.n_items, np.float32)
    acts[history[2]] = 1
    found = leave_one_out(tiny_run.recommender, tiny_run.sae, history, 0, acts, most=3)
    assert found.items.tolist() == history[[2, len(history) - 2, len(history) - 1]].tolist()


def test_a_viewer_in_whom_it_does_not_fire_has_nothing_to_lose(tiny_run: Run) -> None:
    history = tiny_run.dataset.history(0)
    quiet = int(np.flatnonzero(tiny_run.sae.encode(tiny_run.recommender.embed([history]))[0] == 0)[0])
    found = leave_one_out(tiny_run.recommender, tiny_run.sae, history, quiet, np.zeros(60, np.float32))
    assert found.activation == 0 and np.isnan(found.lost).all()
