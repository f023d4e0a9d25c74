"""What each neuron stands for, judged on items and viewers that had no part in the choice, beside what chance reaches.

Every alive neuron against every fact: genres, tags, decades and popularity of items, and what is known of viewers. The
fact of a neuron is chosen on one half of the rows and judged on the other, so that the best of many is not flattered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from core.neurons.contrast import FDR, adjusted
from core.neurons.facts import CONCEPTS, Side
from core.neurons.separation import N_TOP, Separation, auc_interval, separation, wilson
from core.sae.model import SAE
from core.seeding import generator

COVERED = 0.8
"""Held-out AUC from which a neuron counts as one of a concept."""
N_DRAWS = 5
"""How often the facts are permuted."""
_ARRAYS = ("auc", "error", "correlation", "q", "hits", "top_hits", "n_firing")


class Judged(NamedTuple):
    """The fact of each neuron, and the neuron of each fact, chosen on one half and judged on the other."""

    held: Separation
    """On the half that judges."""
    fact: np.ndarray
    """(d,) int64 fact with the highest lower limit of the AUC on the first half; -1 for a neuron that is silent there,
    and where there are no facts."""
    limit: np.ndarray
    """(d,) that limit, NaN without a fact."""
    neuron: np.ndarray
    """(f,) int64 neuron that is chosen for each fact in the same way, -1 without one."""

    @property
    def p(self) -> np.ndarray:
        """Give (d,) the held-out p of each neuron's fact; 1 where it is silent in the half that judges."""
        return np.where(self.fact >= 0, np.nan_to_num(_at(self.held.p, self.fact), nan=1.0), np.nan)

    def summary(self, side: Side) -> dict[str, float | int]:
        """Give what the neurons reach: figures of `Associations.metrics`."""
        known = self.fact >= 0
        q, auc = adjusted(self.p), np.nan_to_num(_at(self.held.auc, self.fact)[known], nan=0.5)
        summary: dict[str, float | int] = {"n_neurons": int(known.sum())}
        summary["median_auc"] = float(np.median(auc)) if known.any() else float("nan")
        summary["high_auc_share"] = float((auc >= COVERED).mean()) if known.any() else float("nan")
        summary["significant_share"] = float((q[known] <= FDR).mean()) if known.any() else float("nan")
        named = np.array([fact.kind in CONCEPTS for fact in side.facts], bool)
        if named.any():
            chosen = self.neuron[named]
            reached = np.where(chosen >= 0, self.held.auc[chosen, np.flatnonzero(named)], np.nan)
            summary["n_concepts"] = int(named.sum())
            summary["concept_coverage"] = float((reached >= COVERED).mean())
        return summary


@dataclass(frozen=True, eq=False)
class Associations:
    """Every neuron against every fact, in the half of the rows that judges. Row j of an array is neuron j.

    Attributes:
        facts: A row for each fact: `fact`, `kind`, `of`; `n` rows of the half that have it, of `n_rows`; `base_rate`;
            `neuron`, the one chosen for it on the other half, -1 without one.
        best: A row for each neuron and side: `neuron`, `of`, `first` (its fact of this side is the surer one of both
            sides), and the columns of `of_neuron` for the fact that was chosen on the other half, with `p` and `q`
            among the neurons alone; `fact` is "" where there is none.
        auc: (d_sae, f) float32, like `error` and `correlation` as in `core.neurons.separation.Separation`.
        error: DeLong's.
        correlation: Point-biserial.
        q: (d_sae, f) float32: `p` adjusted over all neurons and facts of a side (Benjamini, Hochberg 1995).
        hits: (d_sae, f) int32 rows with the fact among those that fire.
        top_hits: (d_sae, f) int32 those among the 20 that fire most.
        n_firing: (d_sae, f) int32 rows that fire, of the fact's side.
    """

    facts: pd.DataFrame
    best: pd.DataFrame
    auc: np.ndarray
    error: np.ndarray
    correlation: np.ndarray
    q: np.ndarray
    hits: np.ndarray
    top_hits: np.ndarray
    n_firing: np.ndarray

    @classmethod
    def build(cls, judged: Sequence[tuple[Side, Judged]]) -> "Associations":
        """Put the sides together."""
        facts = pd.concat([_facts_frame(side, found) for side, found in judged], ignore_index=True)
        held = [found.held for _, found in judged]
        columns = {
            "auc": [one.auc for one in held],
            "error": [one.error for one in held],
            "correlation": [one.correlation for one in held],
            "q": [adjusted(one.p.ravel()).reshape(one.p.shape) for one in held],
        }
        counts = {
            "hits": [one.hits for one in held],
            "top_hits": [one.top_hits for one in held],
            "n_firing": [np.repeat(one.n_firing[:, None], len(one.n_with), axis=1) for one in held],
        }
        arrays = {name: np.hstack(parts).astype(np.float32) for name, parts in columns.items()}
        arrays |= {name: np.hstack(parts).astype(np.int32) for name, parts in counts.items()}
        made = cls(facts, pd.DataFrame(), **arrays)
        limits = np.nan_to_num(np.array([found.limit for _, found in judged]), nan=-np.inf)
        best, offset = [], 0
        for i, (side, found) in enumerate(judged):
            neurons = np.arange(len(found.fact))
            rows = made._rows(neurons, np.where(found.fact >= 0, found.fact + offset, -1))
            rows.insert(0, "first", (limits.argmax(axis=0) == i) & (found.fact >= 0))
            rows.insert(0, "neuron", neurons)
            best.append(rows.assign(of=side.of, p=found.p, q=adjusted(found.p)))
            offset += len(side.facts)
        return replace(made, best=pd.concat(best, ignore_index=True))

    def of_neuron(self, neuron: int) -> pd.DataFrame:
        """Give one neuron against every fact, surest first.

        Returns:
            A row for each fact: `fact`, `kind`, `of` (items | viewers); `n` rows that have it and `base_rate`, their
            share of the half that judges; `n_top` of the (at most 20) rows that fire most, the share `precision` of
            these that have it with `precision_low`, `precision_high` (Wilson), `lift` = precision / base_rate;
            `n_firing`, `firing_precision`, the same share of all that fire; `auc` with `low`, `high`; `correlation`;
            `q`. NaN where the neuron is silent.
        """
        every = np.arange(len(self.facts))
        frame = self._rows(np.full(len(every), neuron), every)
        return frame.sort_values(["low", "fact"], ascending=[False, True], na_position="last", ignore_index=True)

    def to_saved(self) -> tuple[dict[str, np.ndarray], dict[str, pd.DataFrame]]:
        """Give the arrays and the tables for saving."""
        return {name: getattr(self, name) for name in _ARRAYS}, {"facts": self.facts, "best": self.best}

    @classmethod
    def from_saved(cls, arrays: Mapping[str, np.ndarray], tables: Mapping[str, pd.DataFrame]) -> "Associations":
        """Restore what `to_saved` gave."""
        return cls(tables["facts"], tables["best"], **{name: arrays[name] for name in _ARRAYS})

    def _rows(self, neurons: np.ndarray, facts: np.ndarray) -> pd.DataFrame:
        """Give the columns of `of_neuron` for pairs of a neuron and a fact; empty ones where the fact is -1."""
        known = (facts >= 0) & (len(self.facts) > 0)
        about = self.facts.iloc[np.where(known, facts, 0)] if len(self.facts) else self.facts.reindex([0] * len(facts))

        def at(values: np.ndarray) -> np.ndarray:
            if not len(self.facts):
                return np.full(len(facts), np.nan)
            return np.where(known, values[neurons, facts].astype(np.float64), np.nan)

        fires, hits, top_hits = at(self.n_firing), at(self.hits), at(self.top_hits)
        n, n_rows = (np.where(known, about[name].to_numpy(np.float64), np.nan) for name in ("n", "n_rows"))
        base, n_top = n / n_rows, np.minimum(fires, N_TOP)
        low, high = auc_interval(at(self.auc), at(self.error), n, n_rows - n)
        precision_low, precision_high = wilson(top_hits, n_top)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision, firing = top_hits / n_top, hits / fires
        texts = {
            name: pd.Series(np.where(known, about[name].fillna("").to_numpy(object), ""), dtype="str")
            for name in ("fact", "kind")
        }
        return pd.DataFrame(
            {
                **texts,
                "of": about["of"].to_numpy(object),
                "n": n,
                "base_rate": base,
                "n_top": n_top,
                "precision": precision,
                "precision_low": precision_low,
                "precision_high": precision_high,
                "lift": precision / base,
                "n_firing": fires,
                "firing_precision": firing,
                "auc": at(self.auc),
                "low": low,
                "high": high,
                "correlation": at(self.correlation),
                "q": at(self.q),
            }
        )


def judge(acts: sparse.csc_matrix, side: Side, masks: np.ndarray | None = None) -> Judged:
    """Choose the fact of each neuron on one half of the rows, and judge it on the other.

    Args:
        acts: (n_rows, d) activations.
        side: The facts and the halves.
        masks: Other rows that have the facts, for example permuted ones.
    """
    masks, first, rows = side.masks if masks is None else masks, side.first, sparse.csr_matrix(acts)
    limit = separation(sparse.csc_matrix(rows[first]), masks[first]).interval()[0]
    held = separation(sparse.csc_matrix(rows[~first]), masks[~first])
    fact = _largest(limit)
    return Judged(held, fact, _at(limit, fact), _largest(limit.T))


def random_directions(sae: SAE, seed: int) -> SAE:
    """Give an SAE whose neurons are random directions, as many, and as many active of them where that is fixed."""
    W = generator(seed, "random directions").standard_normal((sae.config.d_in, sae.config.d_sae)).astype(np.float32)
    return _directions(sae, W, sae.config.k if sae.config.gate == "topk" else 0)


def raw_dimensions(sae: SAE) -> SAE:
    """Give an SAE whose neurons are the embedding's own dimensions, each with both signs."""
    eye = np.eye(sae.config.d_in, dtype=np.float32)
    return _directions(sae, np.hstack([eye, -eye]), 0)


def permuted(acts: sparse.csc_matrix, side: Side, seed: int) -> dict[str, float]:
    """Give the mean summary when the facts are dealt out among the rows anew, `N_DRAWS` times: the null."""
    masks, draws = side.masks, []
    for draw in range(N_DRAWS):
        order = generator(seed, "permuted facts", side.of, str(draw)).permutation(len(masks))
        draws.append(judge(acts, side, masks[order]).summary(side))
    return {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}


def _directions(sae: SAE, W: np.ndarray, k: int) -> SAE:
    """Put other directions behind the normalisation and the centring of an SAE."""
    config = replace(sae.config, d_sae=W.shape[1], gate="topk" if k else "relu", k=k, levels=())
    return SAE(config, W, np.zeros(W.shape[1], np.float32), W.T.copy(), sae.b_dec, global_scale=sae.global_scale)


def _largest(values: np.ndarray) -> np.ndarray:
    """Give the column with the largest value of each row, the first of equal ones; -1 where all are NaN."""
    if not values.shape[1]:
        return np.full(len(values), -1)
    return np.where(np.isnan(values).all(axis=1), -1, np.nan_to_num(values, nan=-np.inf).argmax(axis=1))


def _at(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Give one value of each row, NaN where the column is -1."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    return np.where(columns >= 0, values[np.arange(len(values)), columns], np.nan)


def _facts_frame(side: Side, judged: Judged) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "fact": pd.Series([fact.name for fact in side.facts], dtype="str"),
            "kind": pd.Series([fact.kind for fact in side.facts], dtype="str"),
            "of": pd.Series([side.of] * len(side.facts), dtype="str"),
            "n": judged.held.n_with,
            "n_rows": judged.held.n_rows,
            "base_rate": judged.held.n_with / max(judged.held.n_rows, 1),
            "neuron": judged.neuron,
        }
    )
