"""The golden run: the embedded demo, built as `python -m core demo` builds it, against what was planted in it."""

import numpy as np
import pytest

from core.data.demo import planted_concepts
from core.neurons.concepts import auc
from core.neurons.contrast import contrast
from core.pipeline import DEMO, build
from core.runs import Run
from core.steering.steering import Edit, Steering
from core.workspace import Workspace


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return build(DEMO, Workspace(tmp_path_factory.mktemp("demo")))


@pytest.mark.slow
def test_nine_of_ten_planted_concepts_have_a_neuron(demo_run: Run) -> None:
    masks = planted_concepts(demo_run.full)
    values = auc(demo_run.sae.encode(demo_run.recommender.probe_items()), np.array(list(masks.values())))
    found = np.nanmax(values, axis=1) >= 0.9
    assert len(masks) == 40
    assert found.mean() >= 0.9, [name for name, here in zip(masks, found, strict=True) if not here]


@pytest.mark.slow
def test_planted_concepts_are_not_found_among_shuffled_films(demo_run: Run) -> None:
    masks = np.array(list(planted_concepts(demo_run.full).values()))
    shuffled = np.random.default_rng(0).permutation(masks.shape[1])
    values = auc(demo_run.sae.encode(demo_run.recommender.probe_items())[shuffled], masks)
    assert (np.nanmax(values, axis=1) >= 0.9).mean() <= 0.1


@pytest.mark.slow
def test_labels_name_what_was_planted(demo_run: Run) -> None:
    masks = planted_concepts(demo_run.full)
    values = auc(demo_run.sae.encode(demo_run.recommender.probe_items()), np.array(list(masks.values())))
    labels = demo_run.table.frame["label"]
    themes = [k for k, name in enumerate(masks) if not name[0].isdigit() and name != "before 1960"]
    named = [
        name.lower() in labels[int(np.nanargmax(values[k]))].lower() for k, name in enumerate(masks) if k in themes
    ]
    assert np.mean(named) >= 0.85


@pytest.mark.slow
def test_the_viewers_of_two_planted_tastes_are_told_apart_by_the_neurons_of_these_tastes(demo_run: Run) -> None:
    masks = planted_concepts(demo_run.full)
    names = list(masks)
    of_neuron = auc(demo_run.sae.encode(demo_run.recommender.probe_items()), np.array(list(masks.values())))
    tastes = demo_run.full.user_table["tastes"].str.split(", ")
    fans = [np.array([name in row for row in tastes]) for name in names]
    acts = demo_run.activations("viewers")
    right = []
    for k in range(len(names)):
        other = (k + 1) % len(names)
        found = contrast(acts, fans[k] & ~fans[other], fans[other] & ~fans[k])
        right.append(found.frame["d"].idxmax() == np.nanargmax(of_neuron[k]))  # which the films of the taste fire most
    assert np.mean(right) >= 0.9, [name for name, here in zip(names, right, strict=True) if not here]


@pytest.mark.slow
def test_the_lens_costs_unseen_viewers_little(demo_run: Run) -> None:
    sae = demo_run.report["sae"]
    assert sae["ndcg_loss"] <= 0.02 and sae["recall_loss"] <= 0.02
    assert sae["cosine"] >= 0.97 and sae["dead_share"] <= 0.06


@pytest.mark.slow
def test_a_heist_promoted_brings_heists_and_keeps_most_of_the_list(demo_run: Run) -> None:
    frame = demo_run.table.frame
    neuron = int(frame[frame["best_concept"] == "heist"]["evidence"].idxmax())
    heist = np.array(["heist" in tags for tags in demo_run.dataset.item_table["tags"]])
    histories = demo_run.dataset.histories(demo_run.split.unseen_users)
    embeddings = demo_run.recommender.embed(histories)
    unit = float(frame["strong_activation"][neuron])
    before = demo_run.three_lists(embeddings, histories, Steering(), 20)
    after = demo_run.three_lists(embeddings, histories, Steering((Edit(neuron, "add", 0.4 * unit),)), 20)
    gained = heist[after.steered].sum(axis=1).mean() - heist[before.original].sum(axis=1).mean()
    kept = np.mean([np.isin(a, b).sum() for a, b in zip(after.steered, before.original, strict=True)])
    assert gained >= 2
    assert kept >= 12
