"""The analysis "trust": how far the keyword label of every neuron holds, and what other labels are tested on."""

from typing import get_args

import numpy as np
import pandas as pd
from scipy import sparse

from core.analyses.base import Made
from core.analyses.responses import panel_of, viewers_of
from core.labels import trust
from core.labels.detection import N_HARD, N_POSITIVES, N_RANDOM, WIDE, Sample, sample_of
from core.labels.facts import Fact, facts_known
from core.labels.keywords import N_LIKE, Named, name_neurons
from core.labels.overall import coverage, texture
from core.labels.rules import Rule
from core.labels.split import explaining
from core.labels.tfidf import Orientation, tfidf_scores
from core.neurons.concepts import Concept, concepts_of
from core.neurons.examples import facts_of
from core.neurons.table import label_basis
from core.progress import Progress
from core.runs import Run
from core.steering.exposure import exposure_changes

MOST_VIEWERS, FEWEST_VIEWERS = 300, 20
BUDGET = {"linear": 8e9, "scored": 4e8, "pairs": 4e7}
"""Scores that may be computed, by what one costs; see `core.analyses.responses`."""


def make(run: Run, progress: Progress) -> Made:
    """Test the keyword labels of a run.

    Returns:
        Arrays `positives` (d_sae, 16), `random` (d_sae, 8), `hard` (d_sae, 8) int32, -1 padded: the samples on which
        any other label is tested too; `neurons` (n,) int32 and `changes` (n, n_facts) float32 of
        `core.labels.trust.Effects`. Tables `cards` (a row a neuron, see `core.labels.trust.card`), `facts` (`name`,
        `kind` of the columns of `changes`). Metrics by source in `sources`, `coverage`, `texture`, `n_viewers`.
    """
    dataset, table, frame = run.dataset, run.built_table, run.built_table.frame
    concepts = concepts_of(dataset)
    explain, likeness = explaining(dataset.items.ids), facts_of(concepts, dataset.n_items)
    alive = frame["alive"].to_numpy(bool)
    by_source = _labels(run, concepts)
    named = by_source["keyword"]
    acts = sparse.csc_matrix(run.activations("items"))
    samples, wide = (_samples(run, acts, likeness, explain, n) for n in (None, WIDE))
    facts = trust.behaviour_facts(facts_known(dataset, concepts))
    effects, of_rules, n_viewers = _effects(run, facts, named, progress)
    rows = []
    for j in np.flatnonzero(alive).tolist():
        rule = named[j].rule
        column = of_rules.get(j)
        own = [fact.name for fact in rule.facts] if rule else []
        nothing = np.zeros(len(effects.neurons))
        causal = effects.of(j, nothing if column is None else column, own, run.seed)
        values = np.asarray(acts[:, [j]].todense()).ravel()
        rows.append(trust.card(j, named[j].label, rule, samples.get(j), wide.get(j), causal, values, ~explain))
    cards = pd.DataFrame(rows, columns=list(trust.card(0, "", None, None, None, None, np.zeros(1), np.ones(1, bool))))
    null = trust.detections([n.rule for n in named], samples, trust.shuffled(list(samples), run.seed))
    cards = cards.merge(null[["neuron", "random", "hard"]], "left", "neuron", suffixes=("", "_shuffled"))
    holding = cards["status"].isin(["holds", "reads"])
    covered = coverage(
        [(c.name, c.kind) for c in concepts], [r for j in cards["neuron"][holding] if (r := named[j].rule) is not None]
    )
    woven = texture(table.top_items, np.flatnonzero(alive).tolist(), likeness, run.seed)
    metrics = {
        "n_alive": int(alive.sum()), "n_tested": len(samples), "n_viewers": n_viewers,
        "statuses": {str(k): int(v) for k, v in cards["status"].value_counts().items()},
        "sources": {
            source: _summary([n.rule for n in names], samples, wide, run.seed) for source, names in by_source.items()
        },
        "coverage": {"share": covered.share, "n_named": len(covered.named),
                     "n": len(covered.named) + len(covered.missing), "missing": list(covered.missing)[:50]},
        "texture": woven._asdict(),
    }  # fmt: skip
    arrays = {
        "positives": _padded(samples, "positives", len(alive), N_POSITIVES),
        "random": _padded(samples, "random", len(alive), N_RANDOM),
        "hard": _padded(samples, "hard", len(alive), N_HARD),
        "neurons": effects.neurons.astype(np.int32), "changes": effects.changes.astype(np.float32),
    }  # fmt: skip
    tables = {"cards": cards, "facts": pd.DataFrame({"name": [f.name for f in facts], "kind": [f.kind for f in facts]})}
    return Made(arrays, tables, metrics)


def _labels(run: Run, concepts: list[Concept]) -> dict[str, list[Named]]:
    """Give the labels of every way to make them offline."""
    table, dataset = run.built_table, run.dataset
    alive = table.frame["alive"].to_numpy(bool)
    items, acts, audience = label_basis(
        (table.top_items, table.top_item_acts), (table.top_users, table.top_user_acts), dataset
    )
    made = {
        source: name_neurons(items, acts, dataset, concepts=concepts, alive=alive, audience=audience, n_like=n_like)
        for source, n_like in (("keyword", N_LIKE), ("catalogue", 0))
    }
    facts = [Fact(c.name, c.kind, c.mask) for c in concepts if c.kind != "decade"]
    if facts:
        explain = explaining(dataset.items.ids)
        item_acts = run.activations("items").toarray()[explain]
        masks = np.array([fact.mask[explain] for fact in facts])
        for orientation in get_args(Orientation):
            scores = tfidf_scores(item_acts, masks, orientation)
            best = scores.argmax(axis=0)
            made[orientation] = [
                Named(facts[t].name, Rule((facts[t],), ())) if scores[t, j] > 0 else Named("", None)
                for j, t in enumerate(best)
            ]
    return made


def _samples(
    run: Run, acts: sparse.csc_matrix, likeness: sparse.csr_matrix, explain: np.ndarray, strongest: int | None
) -> dict[int, Sample]:
    frame, neighbours = run.built_table.frame, run.built_table.neighbours
    more = {} if strongest is None else {"strongest": strongest}
    found = {}
    for j in np.flatnonzero(frame["alive"]).tolist():
        own = np.asarray(acts[:, [j]].todense()).ravel()
        near = int(neighbours[j, 0])
        similar = np.asarray(acts[:, [near]].todense()).ravel() if near >= 0 else None
        sample = sample_of(j, own, similar, likeness, run.dataset.item_counts, explain, run.seed, **more)
        if sample is not None:
            found[j] = sample
    return found


def _effects(
    run: Run, facts: list[Fact], named: list[Named], progress: Progress
) -> tuple[trust.Effects, dict[int, np.ndarray], int]:
    """Promote every neuron; gives what it does to facts, and to what each label names."""
    frame, model = run.built_table.frame, run.recommender
    strong = frame["strong_activation"].fillna(0).to_numpy(float)
    neurons = np.flatnonzero(frame["alive"].to_numpy(bool) & (strong > 0))
    allowed = BUDGET["linear" if model.linear is not None else "pairs" if model.scores_pairs else "scored"]
    a_viewer = 2 * model.n_items * max(len(neurons), 1)
    users, _ = viewers_of(run, int(np.clip(allowed / a_viewer, FEWEST_VIEWERS, MOST_VIEWERS)))
    ruled = [j for j in neurons.tolist() if named[j].rule is not None]
    masks = [fact.mask for fact in facts] + [rule.holds() for j in ruled if (rule := named[j].rule) is not None]
    changes = exposure_changes(
        model, panel_of(run, users), run.sae.W_dec, neurons.tolist(), strong,
        np.array(masks, bool).reshape(len(masks), model.n_items),
        told=lambda done: progress("trust", done, len(neurons), {}),
    )  # fmt: skip
    names = tuple(fact.name for fact in facts)
    of_rules = {j: changes[:, len(facts) + column] for column, j in enumerate(ruled)}
    return trust.Effects(neurons, changes[:, : len(facts)], names), of_rules, len(users)


def _summary(
    rules: list[Rule | None], samples: dict[int, Sample], wide: dict[int, Sample], seed: int
) -> dict[str, float | int]:
    """Give the medians over the neurons that can be tested; a label that claims nothing counts as a half."""
    own, far = trust.detections(rules, samples), trust.detections(rules, wide)
    null = trust.detections(rules, samples, trust.shuffled(list(samples), seed))
    return {
        "n": len(own), "n_claims": sum(rules[j] is not None for j in samples),
        "random": _median(own["random"]), "hard": _median(own["hard"]),
        "random_shuffled": _median(null["random"]), "hard_shuffled": _median(null["hard"]),
        "random_wide": _median(far["random"]), "hard_wide": _median(far["hard"]),
        "random_mean": float(own["random"].mean()) if len(own) else float("nan"),
        "hard_mean": float(own["hard"].mean()) if len(own) else float("nan"),
    }  # fmt: skip


def _median(values: pd.Series) -> float:
    return float(values.median()) if len(values) else float("nan")


def _padded(samples: dict[int, Sample], part: str, d_sae: int, width: int) -> np.ndarray:
    out = np.full((d_sae, width), -1, np.int32)
    for j, sample in samples.items():
        items = getattr(sample, part)
        out[j, : len(items)] = items
    return out
