"""What a build measured, in the form that `build --json` and `evaluate --json` write.

Recommender: every viewer with held-out items. SAE: viewers the SAE never saw, original and reconstructed embeddings
side by side, so that a loss is a loss on the same viewers.
"""

import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.data.dataset import Dataset
from core.data.groups import GROUPS, popularity_groups
from core.data.split import Split
from core.evaluation.lists import (
    average_popularity,
    coverage,
    gini,
    intra_list_diversity,
    kendall,
    long_tail_coverage,
    novelty,
    overlap,
    rbo,
)
from core.evaluation.ranking import (
    Interval,
    hit_at_n,
    map_at_n,
    mean_interval,
    mpr,
    mrr_at_n,
    ndcg_at_n,
    paired_interval,
    precision_at_n,
    recall_at_n,
)
from core.neurons.baselines import best_neurons, random_directions, raw_dimensions
from core.neurons.concepts import LENGTHS, concepts_of, paper_concepts
from core.neurons.table import NeuronTable
from core.progress import Progress, no_progress
from core.recommenders.base import Recommender, embed_users, rank
from core.sae.metrics import alive, cosines, density, fvu, l0
from core.sae.model import SAE
from core.seeding import derive_seed, generator
from core.workspace import STAGES, Meta

N_ACCURACY, N_EXPOSURE, N_FIDELITY = 20, 10, 30
LIST_LENGTHS = (N_EXPOSURE, N_ACCURACY)
N_PAPER_CONCEPTS = 15
"""Concepts of `paper_concepts`; a catalogue with fewer than half of them is judged by its own genres."""
CHUNK, CHUNK_SCORES = 512, 10_000_000
"""Viewers, and scores, computed at a time: bounds the memory also where there are many items."""
LEAST_VIEWERS, MOST_VIEWERS, MOST_SCORES = 1_000, 10_000, 100_000_000
"""A recommender is measured on at most MOST_VIEWERS drawn viewers; on fewer where that were more than MOST_SCORES
scores, but never on fewer than LEAST_VIEWERS. All of MovieLens-1M are within."""
ACCURACY = {
    "recall": recall_at_n, "ndcg": ndcg_at_n, "precision": precision_at_n, "hit": hit_at_n, "mrr": mrr_at_n,
    "map": map_at_n,
}  # fmt: skip
"""How well a list finds the held-out items; each is measured at LIST_LENGTHS."""
VIEWERS = ("recall_at_20", "ndcg_at_20", "ndcg_at_10", "recall_at_10", "hit_at_10", "mrr_at_10")
"""What is kept of each viewer, so that recommenders of one split can be compared later."""
INTERVALS = ("recall_at_20", "ndcg_at_20", "ndcg_at_10")
FIDELITY = (
    "recall_before", "recall_after", "ndcg_before", "ndcg_after", "rbo", "kendall", "overlap", "cosine",
)  # fmt: skip
"""What is measured of each viewer between the original and the reconstructed embedding."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How a recommender is measured.

    Attributes:
        mask_seen: Whether the items that a viewer has consumed are left out of the list. `no` is for the protocols of
            papers that rank every item: there the consumed ones take the places of the held-out ones.
    """

    mask_seen: bool = True


class RecommenderMeasure(NamedTuple):
    """What was measured of a recommender."""

    metrics: dict[str, Any]
    """Means over the viewers, and what the lists look like together."""
    viewers: pd.DataFrame
    """A row for each viewer with held-out items: `user` (row number, ascending) and VIEWERS as float32."""


def recommender_metrics(
    model: Recommender,
    split: Split,
    progress: Progress = no_progress,
    *,
    config: EvaluationConfig = EvaluationConfig(),
    seed: int = 0,
) -> RecommenderMeasure:
    """Measure a recommender on the held-out items of the viewers that have some.

    Of very many viewers some are drawn by the seed, the same ones for every recommender (see MOST_VIEWERS). Where
    nobody has held-out items, the lists of all viewers with a history are looked at (without a log: of all for whom the
    model brought a vector), and what needs held-out items is NaN. `fold_in_ndcg_loss` is there where the model has
    vectors for the users of its log: the share of nDCG@20 that is lost where their histories are folded in instead.

    Args:
        model: The recommender; right after `fit` its `trained_users` are known.
        split: What it learnt from, what is known of each viewer, and what is asked for.
        progress: Called after each chunk of viewers.
        config: Whether seen items are masked.
        seed: Of the drawn viewers and the bootstrap over them.
    """
    with_targets = viewers_with_targets(split)
    asked = drawn_viewers(with_targets, model.n_items, seed)
    users = asked if len(asked) else drawn_viewers(_viewers_without_targets(model, split), model.n_items, seed)
    parts: dict[str, list[np.ndarray]] = {}
    shown = [np.empty((0, N_EXPOSURE), np.int32)]
    for chunk in _chunks(users, model.n_items):
        histories, targets = split.history.histories(chunk), [split.targets[u] for u in chunk]
        seen = histories if config.mask_seen else None
        scores = model.score(embed_users(model, split.history, chunk))
        lists = rank(scores, N_ACCURACY, seen)
        shown.append(lists[:, :N_EXPOSURE])
        if len(asked):
            values = {f"{name}_at_{n}": f(lists, targets, n) for name, f in ACCURACY.items() for n in LIST_LENGTHS}
            values["mpr"] = mpr(scores, targets, seen or [np.empty(0, np.int64)] * len(chunk))
            values |= _both_ways(model, split, chunk, seen, values["ndcg_at_20"])
            for name, part in values.items():
                parts.setdefault(name, []).append(part)
        progress("measure", int(np.searchsorted(users, chunk[-1])) + 1, len(users), {})
    columns = {name: np.concatenate(part) for name, part in parts.items()}
    exposure = _exposure(model, np.concatenate(shown), split.train)
    names = [f"{name}_at_{n}" for n in LIST_LENGTHS for name in ACCURACY]
    metrics: dict[str, Any] = {
        "d_in": model.d_in,
        **{name: _mean(parts.get(name, [])) for name in ("recall_at_20", "ndcg_at_20", "mpr")},
        **exposure,
        "n_viewers": len(asked),
        "n_viewers_with_targets": len(with_targets),
        **{name: _mean(parts.get(name, [])) for name in names},
    }
    none = np.full(len(asked), np.nan)
    for name in INTERVALS:
        _, *ends = mean_interval(columns.get(name, none), derive_seed(seed, "bootstrap", name))
        metrics[f"{name}_interval"] = ends
    if "ndcg_by_training" in columns:
        change, low, high = paired_interval(
            columns["ndcg_by_training"], columns["ndcg_by_fold_in"], derive_seed(seed, "bootstrap", "fold-in")
        )
        metrics |= {"fold_in_ndcg_loss": -change, "fold_in_ndcg_loss_interval": [-high, -low]}
    viewers = {name: columns.get(name, none).astype(np.float32) for name in VIEWERS}
    return RecommenderMeasure(metrics, pd.DataFrame({"user": asked.astype(np.int32), **viewers}))


def viewers_with_targets(split: Split) -> np.ndarray:
    """Give the viewers who have held-out items, ascending."""
    return np.flatnonzero([len(t) for t in split.targets])


def drawn_viewers(users: np.ndarray, n_items: int, seed: int) -> np.ndarray:
    """Give those of the viewers that are measured, ascending: all where they are few enough, else drawn ones."""
    most = min(MOST_VIEWERS, max(LEAST_VIEWERS, MOST_SCORES // max(n_items, 1)))
    if len(users) <= most:
        return users
    return np.sort(generator(seed, "measured viewers").choice(users, most, replace=False))


def compare_viewers(a: pd.DataFrame, b: pd.DataFrame, metric: str, seed: int) -> Interval:
    """Give the relative change of a metric from recommender `a` to `b`, paired over the viewers that both have.

    Args:
        a: The `viewers` of a `RecommenderMeasure`.
        b: Those of another recommender on the same split; above 0 it is the better one.
        metric: One of VIEWERS.
        seed: Of the bootstrap over viewers.

    Returns:
        NaNs where they have no viewer in common, or `a` finds nothing.
    """
    _, of_a, of_b = np.intersect1d(a["user"], b["user"], assume_unique=True, return_indices=True)
    return paired_interval(a[metric].to_numpy()[of_a], b[metric].to_numpy()[of_b], seed)


def _viewers_without_targets(model: Recommender, split: Split) -> np.ndarray:
    """Give the viewers whose lists can be looked at where nobody has held-out items."""
    if split.history.n_interactions:
        return np.flatnonzero(np.diff(split.history.indptr))
    return np.arange(0 if model.native_users is None else len(model.native_users))


def _both_ways(
    model: Recommender, split: Split, users: np.ndarray, seen: list[np.ndarray] | None, measured: np.ndarray
) -> dict[str, np.ndarray]:
    """Give nDCG@20 by the vectors that training left for these viewers and by their fold-in, if it left any.

    Args:
        model: Whose vectors.
        split: Of the viewers.
        users: Their row numbers.
        seen: What is masked.
        measured: nDCG@20 by the vectors that these viewers are shown with.
    """
    trained = model.trained_users
    if trained is None and model.native_users is None:
        return {}
    others = model.embed(split.history.histories(users)) if trained is None else trained[users]
    targets = [split.targets[u] for u in users]
    other = ndcg_at_n(rank(model.score(others), N_ACCURACY, seen), targets, N_ACCURACY)
    if trained is None:  # the measured ones are those that the model brought, but for users it brought none of
        other[np.isnan(np.asarray(model.native_users)[users, 0])] = np.nan
        return {"ndcg_by_training": measured, "ndcg_by_fold_in": other}
    other[np.diff(split.train.indptr)[users] == 0] = np.nan  # training knew nothing of them
    return {"ndcg_by_training": other, "ndcg_by_fold_in": measured}


def _exposure(model: Recommender, lists: np.ndarray, train: Dataset) -> dict[str, float]:
    """Measure what the lists show together, NaN where there is nothing to measure it with.

    The long tail are the least popular items with a fifth of all interactions of `train`, popularity is the share of
    its viewers. The items of EASE have unit vectors, none learnt: every list of it has a diversity of 1.
    """
    nan, n_viewers = float("nan"), int((np.diff(train.indptr) > 0).sum())
    tail = popularity_groups(train.item_counts) == GROUPS.index("tail") if n_viewers else np.zeros(train.n_items, bool)
    share = train.item_counts / max(n_viewers, 1)
    return {
        "coverage_at_10": coverage(lists, train.n_items) if len(lists) else nan,
        "gini_at_10": gini(lists, train.n_items) if len(lists) else nan,
        "long_tail_coverage_at_10": long_tail_coverage(lists, tail) if len(lists) else nan,
        "average_popularity_at_10": average_popularity(lists, share) if n_viewers else nan,
        "novelty_at_10": novelty(lists, train.item_counts, n_viewers),
        "intra_list_diversity_at_10": _mean([intra_list_diversity(lists, model.embed_items())]),
    }


def sae_metrics(
    sae: SAE,
    model: Recommender,
    split: Split,
    seed: int,
    progress: Progress,
    *,
    config: EvaluationConfig = EvaluationConfig(),
) -> dict[str, Any]:
    """Measure what is lost between the original and the reconstructed embeddings of unseen viewers.

    `recall_loss` and `ndcg_loss` are shares of the original value with the ends of a 95 % interval of the paired
    bootstrap over viewers. Alive: fires above 0 for an item probe or a viewer.
    """
    users = drawn_viewers(split.unseen_users, model.n_items, seed)
    embeddings = embed_users(model, split.history, users)
    acts, alive_ones = sae.encode(embeddings), awake(sae, model, split)
    return {
        "d_sae": sae.config.d_sae,
        "k": sae.config.k,
        "l0": l0(acts),
        "density": float(density(acts).mean()),
        "fvu": fvu(embeddings, sae.reconstruct(embeddings)),
        "alive": int(alive_ones.sum()),
        "dead_share": float(1 - alive_ones.mean()),
        **fidelity_metrics(viewer_fidelity(sae, model, split, users, progress, config=config), seed),
        "n_unseen_viewers": len(users),
    }


def viewer_fidelity(
    sae: SAE, model: Recommender, split: Split, users: np.ndarray, progress: Progress, *, config: EvaluationConfig
) -> pd.DataFrame:
    """Measure for each of some viewers how alike the lists of the original and the reconstructed embedding are.

    Returns:
        A row for each viewer: `user`; `recall_before`, `recall_after`, `ndcg_before`, `ndcg_after` at 20, NaN without
        held-out items; `rbo`, `kendall` at 30, `overlap` at 20; `cosine`, NaN for a vector of zeros.
    """
    parts: list[pd.DataFrame] = []
    embeddings = embed_users(model, split.history, users)
    rebuilt = sae.reconstruct(embeddings)
    for chunk in _chunks(np.arange(len(users)), model.n_items):
        targets = [split.targets[u] for u in users[chunk]]
        seen = split.history.histories(users[chunk]) if config.mask_seen else None
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
            "cosine": cosines(embeddings[chunk], rebuilt[chunk]),
        }
        parts.append(pd.DataFrame({"user": users[chunk].astype(np.int32), **values}))
        progress("fidelity", int(chunk[-1]) + 1, len(users), {})
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["user", *FIDELITY], dtype=float)


def fidelity_metrics(viewers: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Give the means of `viewer_fidelity`, and what is lost, with the ends of a 95 % interval over the viewers.

    Args:
        viewers: The rows.
        seed: Of the paired bootstrap over viewers.
    """
    columns = {name: viewers[name].to_numpy(np.float64) for name in FIDELITY}
    losses: dict[str, Any] = {}
    for name in ("recall", "ndcg"):
        if len(viewers):
            change, low, high = paired_interval(
                columns[f"{name}_before"], columns[f"{name}_after"], seed=derive_seed(seed, "bootstrap", name)
            )
            losses[f"{name}_loss"] = -change
            losses[f"{name}_loss_interval"] = [-high, -low]
    return {
        "cosine": _mean([columns["cosine"]]),
        "recall_at_20": _mean([columns["recall_after"]]),
        "ndcg_at_20": _mean([columns["ndcg_after"]]),
        "recall_at_20_original": _mean([columns["recall_before"]]),
        "ndcg_at_20_original": _mean([columns["ndcg_before"]]),
        **losses,
        "rbo_at_30": _mean([columns["rbo"]]),
        "kendall_at_30": _mean([columns["kendall"]]),
        "overlap_at_20": _mean([columns["overlap"]]),
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


def awake(sae: SAE, model: Recommender, split: Split) -> np.ndarray:
    """Give (d_sae,) bool: the neurons that fire for an item probe or a viewer."""
    probes = model.probe_items()
    out = np.zeros(sae.config.d_sae, bool)
    for chunk in _chunks(np.arange(model.n_items), sae.config.d_sae):
        out |= alive(sae.encode(probes[chunk]))
    for chunk in _chunks(np.arange(split.history.n_users), sae.config.d_sae):
        out |= alive(sae.encode(embed_users(model, split.history, chunk)))
    return out


def _chunks(rows: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """Cut rows into parts of which `width` numbers a row can be held at a time."""
    size = max(1, min(CHUNK, CHUNK_SCORES // max(width, 1)))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _mean(parts: list[np.ndarray]) -> float:
    """Give the mean over those that have a value; NaN where none has."""
    values = np.concatenate(parts) if parts else np.empty(0)
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
