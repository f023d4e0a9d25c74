"""The taxonomy audit on worlds whose answer is known, and its parts by hand."""

from itertools import combinations

import numpy as np
import pytest

from core.analyses.base import analyse, find
from core.neurons.concepts import Concept, auc
from core.recommenders.base import rank
from core.runs import Run
from core.seeding import generator
from core.steering.audit import (
    FEW,
    SEEN,
    STEERED,
    UNSEEN,
    Items,
    Lens,
    audit,
    permuted,
    popularity_strata,
    stratified_auc,
)  # fmt: skip
from core.steering.lists import N_LISTED, panel
from core.steering.responses import STRENGTHS
from tests.core.steering.scorers import Straight, fake_sae

N_ITEMS, D, N_VIEWERS = 240, 8, 60


def concept(name: str, items: np.ndarray) -> Concept:
    mask = np.zeros(N_ITEMS, bool)
    mask[items] = True
    return Concept(name, "tag", mask)


def world(seed: int = 0) -> tuple[list[Concept], Items, Lens]:
    """Give a catalogue of which the neurons know "moved" and "only seen"; the latter's neuron pushes nothing."""
    rng = np.random.default_rng(seed)
    concepts = [
        concept("moved", np.arange(0, 60)),
        concept("only seen", np.arange(60, 120)),
        concept("unknown", rng.permutation(N_ITEMS)[:60]),
        concept("rare", np.arange(5)),
    ]
    acts = np.maximum(rng.standard_normal((N_ITEMS, D)), 0)
    acts[concepts[0].mask, 0] += 2
    acts[concepts[1].mask, 1] += 2
    V = 0.3 * rng.standard_normal((N_ITEMS, D))
    V[:, 0] = np.where(concepts[0].mask, 1.0, 0.0)
    W_dec = np.eye(D)
    W_dec[1] = 1e-6
    u = rng.standard_normal((N_VIEWERS, D))
    model = Straight(V)
    items = Items(acts.astype(np.float32), rng.random(N_ITEMS) < 0.5, np.arange(N_ITEMS) % 4)
    viewers = panel(model, u, np.ones(N_VIEWERS), [np.arange(0)] * N_VIEWERS)
    return concepts, items, Lens(fake_sae(W_dec), model, viewers, np.ones(D))


def test_what_is_moved_seen_unknown_and_rare_is_told_apart() -> None:
    found = audit(*world(), seed=0).set_index("concept")
    assert found["verdict"].to_dict() == {"moved": STEERED, "only seen": SEEN, "unknown": UNSEEN, "rare": FEW}
    assert found["neuron"][["moved", "only seen", "rare"]].tolist() == [0, 1, -1]
    moved = found.loc["moved"]
    assert moved["auc_low"] < moved["auc"] <= moved["auc_high"] and moved["auc"] > 0.9
    assert moved["rise"] > 0.5 and moved["rise_low"] <= moved["rise"] <= moved["rise_high"]
    assert moved["share"] + moved["rise"] <= 1
    assert abs(found["rise"]["only seen"]) < 0.01
    assert np.isnan(found["auc"]["rare"]) and np.isnan(found["rise_q"]["rare"])


def test_the_choice_looks_at_one_half_and_every_figure_at_the_other() -> None:
    concepts, items, lens = world()
    honest = audit(concepts, items, lens, seed=0)
    acts = items.acts.copy()
    acts[~items.explore, 2] = 0.0
    acts[~items.explore & concepts[0].mask, 2] = 9.0  # a neuron that is perfect on the held-out half alone
    tempted = audit(concepts, items._replace(acts=acts), lens, seed=0)
    assert tempted["neuron"].tolist() == honest["neuron"].tolist()
    acts = items.acts.copy()
    acts[items.explore, 0] = 0.0
    acts[items.explore & concepts[0].mask, 0] = 9.0  # better still where it is chosen: what is held out stays the same
    again = audit(concepts, items._replace(acts=acts), lens, seed=0)
    assert again["auc"][0] == honest["auc"][0] and again["rise"][0] == honest["rise"][0]
    assert again["auc_chosen"][0] == 1.0 > honest["auc"][0]


def test_what_a_concept_gains_is_counted_in_ranked_lists_of_held_out_items() -> None:
    concepts, items, lens = world()
    row = audit(concepts, items, lens, seed=0).iloc[0]
    naive = {}
    for dose in (0.0, 0.5, STRENGTHS[-1]):
        scores = lens.model.score(lens.viewers.embeddings + np.float32(dose) * lens.sae.W_dec[0])
        scores[:, items.explore] = -np.inf
        naive[dose] = concepts[0].mask[rank(scores, N_LISTED)].mean()
    assert row["share"] == pytest.approx(naive[0.0])
    assert row["slope"] == pytest.approx((naive[0.5] - naive[0.0]) / 0.5)
    assert row["rise"] == pytest.approx(naive[STRENGTHS[-1]] - naive[0.0])


def test_of_two_neurons_that_see_alike_the_one_that_moves_is_chosen() -> None:
    concepts, items, lens = world()
    acts = items.acts.copy()
    acts[:, 1] = acts[:, 0] + 1e-3 * concepts[0].mask  # neuron 1 sees it a little better, and pushes nothing
    assert audit(concepts[:1], items._replace(acts=acts), lens, seed=0)["neuron"].tolist() == [0]


def test_a_concept_that_is_only_popular_is_not_seen() -> None:
    _, items, lens = world()
    rng = np.random.default_rng(5)
    popular = np.arange(N_ITEMS) < 120
    acts = np.maximum(rng.standard_normal((N_ITEMS, D)), 0) + np.where(popular[:, None], 3.0, 0.0)
    hits = concept("hits", np.flatnonzero(popular)[rng.random(120) < 0.7])
    blind = items._replace(acts=acts.astype(np.float32), strata=np.where(popular, 1, 0))
    assert audit([hits], blind, lens, seed=0)["verdict"].tolist() == [UNSEEN]
    assert auc(acts, hits.mask[None]).max() > 0.8  # though the plain AUC says otherwise


def test_the_audit_is_the_same_twice_and_of_nothing_is_empty() -> None:
    concepts, items, lens = world()
    assert audit(concepts, items, lens, seed=4).equals(audit(concepts, items, lens, seed=4))
    assert len(audit([], items, lens, seed=4)) == 0
    dead = audit(concepts, items, lens._replace(strong=np.full(D, np.nan)), seed=4)
    assert dead["verdict"].tolist() == [UNSEEN] * 3 + [FEW] and (dead["neuron"] == -1).all()


def test_an_auc_within_strata_by_hand() -> None:
    values = np.array([[3.0], [1.0], [2.0], [9.0], [8.0]])
    mask = np.array([[True, False, False, True, False]])
    assert stratified_auc(values, mask, np.array([0, 0, 0, 1, 1]))[0] == 1.0  # 2 of 2 pairs below, 1 of 1 above
    assert stratified_auc(values, mask, np.array([1, 0, 1, 0, 1]))[0] == pytest.approx(2 / 3)
    assert np.isnan(stratified_auc(values, mask, np.array([0, 1, 1, 0, 1]))[0]).all()  # no pair shares a stratum


def test_in_one_stratum_it_is_the_plain_auc() -> None:
    rng = np.random.default_rng(0)
    values, masks = np.round(np.maximum(rng.standard_normal((90, 7)), 0), 1), rng.random((5, 90)) < 0.3
    assert np.allclose(stratified_auc(values, masks, np.zeros(90, int))[0], auc(values, masks), atol=1e-6)


def test_its_z_is_that_of_all_permutations_within_strata() -> None:
    values = np.array([[0.0], [2.0], [2.0], [1.0], [0.0], [5.0], [0.0], [3.0], [3.0]])
    strata, mask = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1]), np.zeros((1, 9), bool)
    mask[0, [1, 3, 5]] = True
    observed, z = (float(v[0, 0]) for v in stratified_auc(values, mask, strata))
    every = []
    for below in combinations(range(5), 2):
        for above in range(5, 9):
            other = np.zeros((1, 9), bool)
            other[0, [*below, above]] = True
            every.append(float(stratified_auc(values, other, strata)[0][0, 0]))
    assert np.mean(every) == pytest.approx(0.5)
    assert z == pytest.approx((observed - 0.5) / np.std(every))


def test_permuted_facts_have_the_popularity_of_the_real_ones_and_other_items() -> None:
    counts = generator(0, "counts").integers(0, 500, N_ITEMS)
    strata = popularity_strata(counts)
    assert np.bincount(strata).tolist() == [24] * 10
    assert counts[strata == 0].max() <= counts[strata == 9].min()
    masks = np.array([c.mask for c in world()[0]])
    dealt = permuted(masks, strata, generator(1, "x"))
    for stratum in range(10):
        assert np.array_equal(dealt[:, strata == stratum].sum(axis=1), masks[:, strata == stratum].sum(axis=1))
    assert (dealt & masks)[0].sum() < 35


def test_permuted_facts_are_not_steered_even_where_neurons_push_strongly() -> None:
    concepts, items, lens = world()
    masks = np.array([c.mask for c in concepts[:3]])
    called = 0
    for draw in range(40):
        dealt = permuted(masks, items.strata, generator(draw, "null"))
        facts = [c._replace(mask=mask) for c, mask in zip(concepts, dealt, strict=False)]
        called += (audit(facts, items, lens, seed=0, n_placebos=12)["verdict"] == STEERED).sum()
    assert called <= 0.05 * 120


def test_the_audit_is_an_analysis_of_a_run(tiny_run: Run) -> None:
    analyse(tiny_run, ["audit"])
    made = find(tiny_run, "audit")
    assert made is not None
    table = made.tables["audit"]
    assert set(table["concept"][table["kind"] == "genre"]) == {"Horror", "Comedy", "Documentary"}
    assert made.metrics["n_permuted_called"] <= 0.05 * made.metrics["n_permuted"] and made.metrics["unseen"]
    assert made.arrays["explore"].shape == (tiny_run.dataset.n_items,)
