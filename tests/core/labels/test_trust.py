"""Samples, detection, causal scores, verdicts, RecSAE's numbers, ratings: hand-made numbers and laws."""

import shutil

import numpy as np
import pytest
from scipy import sparse

from core.errors import ConfigError
from core.labels import trust
from core.labels.detection import Sample, balanced, detect, sample_of
from core.labels.facts import Fact
from core.labels.overall import coverage, texture
from core.labels.ratings import krippendorff_alpha, matrix, rate, ratings
from core.labels.rules import Rule
from core.labels.tfidf import point_biserial, tfidf_scores
from core.neurons.separation import wilson
from core.store import open_store

N = 400
INDEX = np.arange(N)
EXPLAIN = INDEX % 5 < 3
HORROR = Fact("Horror", "genre", INDEX < 100)
ALIKE = (INDEX < 100) | (INDEX >= 350)
LIKENESS = sparse.csr_matrix(np.stack([ALIKE, ~ALIKE], axis=1).astype(np.float32))
COUNTS = np.arange(N)[::-1] + 1


def acts():
    return np.where(INDEX < 100, 2 - INDEX / 100, 0).astype(np.float32)


def drawn(**more):
    similar = np.where((INDEX >= 300) & (INDEX < 310), 1.0, 0)
    return sample_of(3, acts(), similar, LIKENESS, COUNTS, EXPLAIN, 7, **more)


def test_a_sample_holds_held_out_items_only_and_each_once():
    sample = drawn()
    assert not EXPLAIN[sample.items].any()
    assert len(set(sample.items.tolist())) == len(sample.items)
    assert (acts()[sample.positives] > 0).all() and (acts()[np.concatenate([sample.random, sample.hard])] == 0).all()


def test_positives_are_among_the_strongest_and_more_of_them_where_more_are_asked_for():
    assert drawn().positives.tolist() == [i for i in range(20) if not EXPLAIN[i]]
    assert len(drawn(strongest=50).positives) == 16


def test_half_of_the_negatives_are_hard_alike_of_the_neighbour_and_as_popular():
    sample = drawn()
    assert len(sample.random) == 8 and len(sample.hard) == 8
    alike, theirs = sample.hard[:3], sample.hard[3:6]
    assert (alike >= 350).all() and ((theirs >= 300) & (theirs < 310)).all()
    assert (COUNTS[sample.hard[6:]] >= 150).all()  # the positives are the most consumed titles


def test_the_same_seed_draws_the_same_sample():
    assert all((a == b).all() for a, b in zip(drawn(), drawn(), strict=True))


def test_a_neuron_of_few_items_has_no_sample_and_one_that_is_never_silent_has_its_weakest():
    assert sample_of(0, np.where(INDEX < 11, 1.0, 0), None, LIKENESS, COUNTS, EXPLAIN, 0) is None
    always = 1 + acts()
    sample = sample_of(0, always, None, LIKENESS, COUNTS, EXPLAIN, 0)
    assert sample is not None and always[sample.random].max() <= always[sample.positives].min()


def test_a_true_label_is_right_everywhere_and_its_opposite_nowhere():
    sample = drawn()
    right, wrong = detect(sample, HORROR.mask[sample.items]), detect(sample, ~HORROR.mask[sample.items])
    assert (right.random.value, right.hard.value) == (1, 1) and (wrong.random.value, wrong.hard.value) == (0, 0)
    assert (right.n_positives, right.n_random, right.n_hard) == (8, 8, 8)


def test_a_hand_made_detection():
    sample = Sample(np.arange(4), np.arange(4, 8), np.arange(8, 12))
    says = np.array([1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0], bool)
    found = detect(sample, says)
    assert found.random.value == 0.75 and found.hard.value == 0.625


def test_the_interval_is_wilsons_where_both_parts_are_equal():
    share = balanced(7, 8, 5, 8)
    low, high = wilson(np.array(12), np.array(16))
    assert (share.value, share.low, share.high) == pytest.approx((0.75, float(low), float(high)))
    assert np.isnan(balanced(0, 0, 1, 2).value)


def test_a_label_that_claims_nothing_gets_a_half_and_shuffled_labels_change_neurons():
    sample = drawn()
    rules = [None, Rule((HORROR,), ()), None, Rule((HORROR,), ())]
    own = trust.detections(rules, {0: sample, 3: sample})
    assert own["random"].tolist() == [0.5, 1.0]
    swapped = trust.shuffled([0, 3, 5, 9], 1)
    assert sorted(swapped) == sorted(swapped.values()) == [0, 3, 5, 9] and all(a != b for a, b in swapped.items())
    assert trust.detections(rules, {0: sample}, {0: 3})["random"].tolist() == [1.0]


def test_a_judge_of_any_kind_is_asked_about_the_items_of_the_sample():
    asked = []

    def judge(text, items):
        asked.append((text, items.tolist()))
        return HORROR.mask[items]

    sample = drawn()
    assert trust.judged("scary", sample, judge).hard.value == 1
    assert asked == [("scary", sample.items.tolist())]


def effects():
    changes = np.zeros((40, 2), np.float32)
    changes[:, 0] = np.linspace(0, 0.02, 40)
    changes[7] = [0.30, 0.0]
    changes[9] = [0.0, 0.25]
    return trust.Effects(np.arange(40) * 2, changes, ("Horror", "1940s"))


def test_a_neuron_that_raises_its_label_more_than_all_others_has_the_least_p():
    found = effects()
    causal = found.of(14, found.changes[:, 0], ["Horror"], 0)
    assert causal.effect == pytest.approx(0.3) and causal.p == pytest.approx(1 / 40) and causal.raises
    assert causal.behaves_as == ""  # it does what it is called


def test_a_neuron_that_raises_something_else_behaves_as_that():
    found = effects()
    causal = found.of(18, found.changes[:, 0], ["Horror"], 0)
    assert not causal.raises and causal.behaves_as == "1940s" and causal.behaves_effect == pytest.approx(0.25)
    assert found.of(1, found.changes[:, 0], [], 0) is None


def test_the_verdict_is_one_sentence_for_each_case():
    good = detect(Sample(np.arange(8), np.arange(8, 16), np.arange(16, 24)), np.arange(24) < 8)
    poor = detect(Sample(np.arange(8), np.arange(8, 16), np.arange(16, 24)), np.arange(24) % 2 == 0)
    up, other, none = trust.Causal(0.1, 0.01, "", 0), trust.Causal(0, 0.9, "1940s", 0.2), trust.Causal(0, 0.9, "", 0)
    cases = [(good, up, "holds"), (good, other, "reads"), (poor, up, "moves"), (poor, none, "fails")]
    assert [trust.status_of(True, d, c) for d, c, _ in cases] == [s for *_, s in cases]
    assert trust.status_of(False, good, up) == "mixed" and trust.status_of(True, None, up) == "untested"
    assert trust.verdict("Noir", "reads", other) == "Reads as Noir, behaves as 1940s."
    assert trust.verdict("Noir", "reads", none) == "Reads as Noir; promoting it does not raise that."


def test_a_card_of_a_true_label():
    wide = drawn(strongest=50)
    card = trust.card(3, "Horror", Rule((HORROR,), ()), drawn(), wide, None, acts(), ~EXPLAIN)
    assert card["purity"] == 1 and card["base_rate"] == pytest.approx(0.25) and card["lift"] == pytest.approx(4)
    held = ~EXPLAIN
    assert card["confidence"] == pytest.approx(np.corrcoef(acts()[held], HORROR.mask[held])[0, 1])
    assert card["status"] == "reads" and card["wide_random"] == 1


def test_coverage_counts_genres_and_tags_that_are_named():
    tag = Fact("heist", "tag", INDEX < 9)
    era = Fact("1980s", "era", INDEX < 9)
    found = coverage([("Horror", "genre"), ("heist", "tag"), ("War", "genre"), ("1980s", "decade")],
                     [Rule((HORROR, era), ("and",)), Rule((tag,), ())])  # fmt: skip
    assert found.share == pytest.approx(2 / 3) and found.missing == ("War",)
    assert np.isnan(coverage([], []).share)


def test_texture_is_the_mean_of_all_pairs():
    rng = np.random.default_rng(0)
    rows = rng.random((60, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    tops = np.stack([rng.permutation(60)[:12] for _ in range(4)])
    found = texture(tops, range(4), sparse.csr_matrix(rows), 0)
    pairs = [rows[t[a]] @ rows[t[b]] for t in tops for a in range(10) for b in range(10) if a != b]
    means = np.stack([rows[t[:10]].sum(axis=0) for t in tops])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    between = np.mean([means[a] @ means[b] for a in range(4) for b in range(4) if a != b])
    assert found.coherence == pytest.approx(np.mean(pairs), abs=1e-5)
    assert found.distinctness == pytest.approx(1 - between, abs=1e-5) and found.n == 4


def test_tfidf_by_hand_in_both_orientations():
    item_acts = np.array([[1.0, 0.0], [1.0, 2.0], [0.0, 2.0]])
    masks = np.array([[True, True, False], [False, False, True]])
    M = np.array([[1.0, 1.0], [0.0, 2.0]])  # tag 0: half of items 0 and 1
    by_tag = M / M.sum(axis=1, keepdims=True) * (np.log(3 / np.array([2, 3])) + 1)
    by_neuron = M / M.sum(axis=0) * (np.log(3 / np.array([[3], [2]])) + 1)
    np.testing.assert_allclose(tfidf_scores(item_acts, masks, "knots-tag"), by_tag)
    np.testing.assert_allclose(tfidf_scores(item_acts, masks, "knots-neuron"), by_neuron)


def test_the_point_biserial_correlation_is_pearsons_with_a_fact_of_zero_and_one():
    rng = np.random.default_rng(1)
    item_acts, masks = rng.normal(size=(30, 3)), rng.random((4, 30)) < 0.4
    masks[3] = True
    found = point_biserial(item_acts, masks)
    expected = np.corrcoef(np.maximum(item_acts[:, 2], 0), masks[1])[0, 1]
    assert found[1, 2] == pytest.approx(expected) and np.isnan(found[3]).all()


def test_agreement_on_krippendorffs_own_example():
    n = np.nan
    values = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, n, n, n],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, n, 3],
            [n, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, n],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, n],
        ]
    )
    assert krippendorff_alpha(values) == pytest.approx(0.815, abs=5e-4)  # as published for ordered categories
    assert krippendorff_alpha(np.array([[0, 4, 2], [0, 4, 2.0]])) == 1
    assert np.isnan(krippendorff_alpha(np.array([[1, 2, 3.0]]))) and np.isnan(krippendorff_alpha(np.ones((2, 3))))


def test_ratings_are_kept_the_last_of_a_person_counts_and_a_bad_one_is_refused(tiny_run, tmp_path):
    shutil.copytree(tiny_run.workspace.path, tmp_path / "w")
    store = open_store(tmp_path / "w")
    sae = tiny_run.ids["sae"]
    assert ratings(store, sae) == []
    for person, value in (("ann", 1), ("bob", 4), ("ann", 3)):
        rate(store, tiny_run.id, 2, "Horror", value, by=person)
    given = ratings(store, sae)
    assert sorted((r.author, r.rating) for r in given) == [("ann", 3), ("bob", 4)]
    assert sorted(matrix(given)[:, 0].tolist()) == [3, 4]
    for bad in (5, -1, 2.5, True, None):
        with pytest.raises(ConfigError):
            rate(store, tiny_run.id, 2, "Horror", bad)
