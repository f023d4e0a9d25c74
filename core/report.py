"""What a build measured, in the form that `build --json` and `evaluate --json` write.

Recommender: every viewer with held-out items. SAE: viewers the SAE never saw, original and reconstructed embeddings
side by side, so that a loss is a loss on the same viewers.
"""

import resource
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from core.data.dataset import Dataset
from core.data.split import Split
from core.evaluation.lists import coverage, gini, kendall, overlap, rbo
from core.evaluation.ranking import mpr, ndcg_at_n, paired_interval, recall_at_n
from core.neurons.baselines import best_neurons, random_directions, raw_dimensions
from core.neurons.concepts import LENGTHS, concepts_of, paper_concepts
from core.neurons.table import NeuronTable
from core.progress import Progress
from core.recommenders.base import Recommender, embed_users, rank
from core.sae.metrics import alive, cosine, density, fvu, l0
from core.sae.model import SAE
from core.seeding import derive_seed
from core.workspace import STAGES, Meta

N_ACCURACY, N_EXPOSURE, N_FIDELITY = 20, 10, 30
N_PAPER_CONCEPTS = 15
"""Concepts of `paper_concepts`; a catalogue with fewer than half of them is judged by its own genres."""
CHUNK = 512
"""Viewers scored at a time: bounds the memory at CHUNK x n_items."""


def recommender_metrics(model: Recommender, split: Split, progress: Progress) -> dict[str, Any]:
    """Measure a recommender on the held-out items of every viewer that has some, seen items masked."""
    users = np.array([u for u in range(split.history.n_users) if len(split.targets[u])], np.int64)
    recalls, ndcgs, positions, shown = [], [], [], []
    for chunk in _chunks(users):
        histories, targets = split.history.histories(chunk), [split.targets[u] for u in chunk]
        scores = model.score(embed_users(model, split.history, chunk))
        lists = rank(scores, N_ACCURACY, histories)
        recalls.append(recall_at_n(lists, targets, N_ACCURACY))
        ndcgs.append(ndcg_at_n(lists, targets, N_ACCURACY))
        positions.append(mpr(scores, targets, histories))
        shown.append(lists[:, :N_EXPOSURE])
        progress("measure", int(np.searchsorted(users, chunk[-1])) + 1, len(users), {})
    n_items = split.history.n_items
    lists = np.concatenate(shown) if shown else np.empty((0, N_EXPOSURE), np.int32)
    return {
        "d_in": model.d_in,
        "recall_at_20": _mean(recalls),
        "ndcg_at_20": _mean(ndcgs),
        "mpr": _mean(positions),
        "coverage_at_10": coverage(lists, n_items) if len(lists) else float("nan"),
        "gini_at_10": gini(lists, n_items) if len(lists) else float("nan"),
        "n_viewers": len(users),
    }


def sae_metrics(sae: SAE, model: Recommender, split: Split, seed: int, progress: Progress) -> dict[str, Any]:
    """Measure what is lost between the original and the reconstructed embeddings of unseen viewers.

    `recall_loss` and `ndcg_loss` are shares of the original value with the ends of a 95 % interval of the paired
    bootstrap over viewers. Alive: fires above 0 for an item probe or a viewer.
    """
    users = split.unseen_users
    embeddings = embed_users(model, split.history, users)
    rebuilt = sae.reconstruct(embeddings)
    columns: dict[str, list[np.ndarray]] = {}
    for chunk in _chunks(np.arange(len(users))):
        seen, targets = split.history.histories(users[chunk]), [split.targets[u] for u in users[chunk]]
        before = rank(model.score(embeddings[chunk]), N_FIDELITY, seen)
        after = rank(model.score(rebuilt[chunk]), N_FIDELITY, seen)
        values = {
            "recall_before": recall_at_n(before, targets, N_ACCURACY),
            "recall_after": recall_at_n(after, targets, N_ACCURACY),
            "ndcg_before": ndcg_at_n(before, targets, N_ACCURACY),
            "ndcg_after": ndcg_at_n(after, targets, N_ACCURACY),
            "rbo": rbo(before, after),
            "kendall": kendall(before, after),
            "overlap": overlap(before[:, :N_ACCURACY], after[:, :N_ACCURACY]),
        }
        for name, part in values.items():
            columns.setdefault(name, []).append(part)
        progress("fidelity", int(chunk[-1]) + 1, len(users), {})
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    acts = sae.encode(embeddings)
    everybody = embed_users(model, split.history, np.arange(split.history.n_users))
    awake = alive(sae.encode(model.probe_items())) | alive(sae.encode(everybody))
    losses: dict[str, Any] = {}
    for name in ("recall", "ndcg"):
        if len(users):
            change, low, high = paired_interval(
                joined[f"{name}_before"], joined[f"{name}_after"], seed=derive_seed(seed, "bootstrap", name)
            )
            losses[f"{name}_loss"] = -change
            losses[f"{name}_loss_interval"] = [-high, -low]
    return {
        "d_sae": sae.config.d_sae,
        "k": sae.config.k,
        "l0": l0(acts),
        "density": float(density(acts).mean()),
        "fvu": fvu(embeddings, rebuilt),
        "cosine": cosine(embeddings, rebuilt),
        "alive": int(awake.sum()),
        "dead_share": float(1 - awake.mean()),
        "recall_at_20": _mean(columns.get("recall_after", [])),
        "ndcg_at_20": _mean(columns.get("ndcg_after", [])),
        "recall_at_20_original": _mean(columns.get("recall_before", [])),
        "ndcg_at_20_original": _mean(columns.get("ndcg_before", [])),
        **losses,
        "rbo_at_30": _mean(columns.get("rbo", [])),
        "kendall_at_30": _mean(columns.get("kendall", [])),
        "overlap_at_20": _mean(columns.get("overlap", [])),
        "n_unseen_viewers": len(users),
    }


def neuron_metrics(
    table: NeuronTable, item_acts: np.ndarray, probes: np.ndarray, dataset: Dataset, seed: int
) -> dict[str, Any]:
    """Measure how clean the neurons are: purity by concept, and beside it what random and raw directions reach."""
    paper = paper_concepts(dataset)
    if 2 * len(paper) < N_PAPER_CONCEPTS:  # no films: the one "Comedy" among the tags of music measures nothing
        paper = {}
    genres = {c.name: c.mask for c in concepts_of(dataset) if c.kind == "genre"}
    named = genres | {name: mask for name, mask in paper.items() if name not in genres}
    judged = paper or genres
    masks = np.array(list(judged.values()), dtype=bool).reshape(len(judged), dataset.n_items)
    frame = table.frame
    lowest = {str(n): frame[f"popularity_percentile_at_{n}"].min() for n in LENGTHS}
    return {
        "purity": _purity_by_concept(item_acts, named),
        "paper_purity": best_neurons(item_acts, masks).means(),
        "n_concepts": len(judged),
        "concepts": "paper" if paper else "genres",
        "baselines": {
            "random_directions": random_directions(
                probes, masks, item_acts.shape[1], derive_seed(seed, "random directions")
            ),
            "raw_dimensions": raw_dimensions(probes, masks),
        },
        "popularity_percentile": lowest,
        "monosemanticity": _mean([frame["monosemanticity"].to_numpy()]),
        "n_neurons_pure": int((frame["purity_at_10"] >= 0.8).sum()),
    }


def assemble(stages: Mapping[str, Meta]) -> dict[str, Any]:
    """Put what each stage measured into one object; stages that were not built are left out."""
    parts = {stage: dict(stages[stage].metrics) for stage in STAGES if stage in stages}
    for metrics in parts.values():
        metrics.pop("facts", None), metrics.pop("model", None)
    seconds = {stage: stages[stage].seconds for stage in parts}
    peak = max((m.pop("peak_memory_mb", 0.0) for m in parts.values()), default=0.0)
    cpu = {stage: m.pop("cpu_s", 0.0) for stage, m in parts.items()}
    out: dict[str, Any] = {}
    if "dataset" in parts:
        out["dataset"] = {"name": stages["dataset"].config["name"]} | parts["dataset"]
    if "split" in parts:
        out["split"] = stages["split"].config | {"seed": stages["split"].seed} | parts["split"]
    if "recommender" in parts:
        out["recommender"] = {"name": stages["recommender"].config["name"]} | parts["recommender"]
    if "sae" in parts:
        out["sae"] = {"preset": stages["sae"].config["preset"]} | parts["sae"]
    if "neurons" in parts:
        out["neurons"] = parts["neurons"]
    return out | {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_memory_mb": peak,
        "ids": {stage: stages[stage].id for stage in parts},
    }


def peak_memory_mb() -> float:
    """Give the largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _purity_by_concept(item_acts: np.ndarray, concepts: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    best = best_neurons(item_acts, np.array(list(concepts.values()), dtype=bool).reshape(len(concepts), len(item_acts)))
    return {
        name: {
            "neuron": int(best.neurons[row]),
            "base_rate": float(mask.mean()),
            **{str(n): float(best.purity[i, row]) for i, n in enumerate(LENGTHS)},
        }
        for row, (name, mask) in enumerate(concepts.items())
    }


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def _mean(parts: list[np.ndarray]) -> float:
    """Give the mean over those that have a value; NaN where none has."""
    values = np.concatenate(parts) if parts else np.empty(0)
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
