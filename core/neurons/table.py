"""What every neuron of one SAE is: when it fires, on what, for whom, what it stands for, and its relatives."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from core.data.dataset import Dataset
from core.labels.keywords import keyword_labels
from core.neurons import measures
from core.neurons.concepts import LENGTHS, Concept, auc, concepts_of, evidence, purity_of, top_firing
from core.neurons.shards import Stats
from core.sae.model import SAE

N_TOP_ITEMS = 50
N_TOP_USERS = 20
N_NEIGHBOURS = 10
N_BINS = 40
N_TELLING = 5
"""A neuron that fires on fewer items is named by its viewers, if it fires in as many."""
_ARRAYS = (
    "purity", "auc", "top_items", "top_item_acts", "top_users", "top_user_acts", "item_histogram", "user_histogram",
    "histogram_edges", "neighbours", "neighbour_cosine",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class NeuronTable:
    """All that is known of the neurons of one SAE; row j of everything is neuron j. Nothing here is ever written to.

    Attributes:
        frame: One row a neuron. A share or estimate that cannot be had is NaN; a name that cannot be had is "".

            - `neuron` index; `alive`: it fires above 0 on an item or in a viewer; `label` (see `core.labels.keywords`),
              `label_source`.
            - `density_items`, `density_users`: share in which it fires; `n_items_firing`, `n_users_firing`.
            - `mean_activation`: mean over the viewers in whom it fires; `max_activation`: over items and viewers;
              `strong_activation`: 95th percentile over the viewers in whom it fires, within 1.6 % (see
              `core.neurons.shards.Stats.quantile`), over such items if no viewer.
            - `best_concept`, `best_kind`: the concept with the most evidence (see `core.neurons.concepts.evidence`, in
              nats in `evidence`); its `purity_at_10`, `_20`, `_50`, `base_rate`, `lift` = purity / base rate at 20
              (at 10 where fewer than 20 items fire), `auc`.
            - `head_share`, `mid_share`, `tail_share`: of the sum of its activations over items.
            - `viewer_head_share`, ...: of a viewer's history, mean over its top 20 viewers.
            - `popularity_percentile_at_10`, ...: mean popularity rank / n_items of its top items, 0 = most popular.
            - `monosemanticity`: see `core.neurons.measures.monosemanticity`.
            - `level`: of nested neurons (Matryoshka), 1 = the first prefix; only there where they are nested.
            - `stability`: see `core.neurons.stability`; only there where a second SAE of another seed was trained.
        concepts: `name`, `kind`, `n_items`, `base_rate`: the rows of `purity` and `auc`.
        purity: (3, n_concepts, d_sae) float32 at n = 10, 20, 50; NaN where fewer items fire.
        auc: (n_concepts, d_sae) float32.
        top_items: (d_sae, 50) int32 firing items, strongest first, -1 padded.
        top_item_acts: (d_sae, 50) float32, NaN padded.
        top_users: (d_sae, 20) int32, as for items; every viewer at most once.
        top_user_acts: (d_sae, 20) float32, NaN padded.
        item_histogram: (d_sae, 40) int64 counts of the items that fire.
        user_histogram: (d_sae, 40) int64 counts of the viewers in whom it fires, made of finer bins (see
            `core.neurons.shards.Stats.histogram`).
        histogram_edges: (d_sae, 41) float32 from 0 to `max_activation`, for both histograms.
        neighbours: (d_sae, 10) int32 alive neurons of the nearest decoder rows, nearest first, -1 padded.
        neighbour_cosine: (d_sae, 10) float32, NaN padded.
    """

    frame: pd.DataFrame
    concepts: pd.DataFrame
    purity: np.ndarray
    auc: np.ndarray
    top_items: np.ndarray
    top_item_acts: np.ndarray
    top_users: np.ndarray
    top_user_acts: np.ndarray
    item_histogram: np.ndarray
    user_histogram: np.ndarray
    histogram_edges: np.ndarray
    neighbours: np.ndarray
    neighbour_cosine: np.ndarray

    @classmethod
    def build(
        cls, item_acts: np.ndarray, users: Stats, sae: SAE, dataset: Dataset, X_items: np.ndarray
    ) -> "NeuronTable":
        """Look at every neuron.

        Args:
            item_acts: (n_items, d_sae) activations of the items' probes.
            users: What was seen of all viewers; at least `N_TOP_USERS` kept.
            sae: The SAE that gave them.
            dataset: The viewers' histories and the catalogue.
            X_items: (n_items, d_in) original embeddings of the items, for `monosemanticity`.

        Raises:
            ValueError: The shapes do not fit each other.
        """
        d_sae = sae.config.d_sae
        if item_acts.shape != (dataset.n_items, d_sae):
            raise ValueError(f"item_acts has shape {item_acts.shape}, expected {(dataset.n_items, d_sae)}")
        if (users.n_rows, len(users.top)) != (dataset.n_users, d_sae):
            raise ValueError(
                f"{users.n_rows} viewers and {len(users.top)} neurons, expected {dataset.n_users} and {d_sae}"
            )
        top_items, top_users = top_firing(item_acts, N_TOP_ITEMS), users.top_ids[:, :N_TOP_USERS]
        top_item_acts, top_user_acts = measures.values_at(item_acts, top_items), users.top_values[:, :N_TOP_USERS]
        known = concepts_of(dataset)
        masks = np.array([c.mask for c in known], bool).reshape(len(known), dataset.n_items)
        concepts = pd.DataFrame(
            {
                "name": pd.Series([c.name for c in known], dtype="str"),
                "kind": pd.Series([c.kind for c in known], dtype="str"),
                "n_items": masks.sum(axis=1),
                "base_rate": masks.mean(axis=1),
            }
        )
        purities = np.stack([purity_of(top_items, masks, n) for n in LENGTHS])
        aucs = auc(item_acts, masks)
        frame = measures.firing(item_acts, users)
        alive, highest = frame["alive"].to_numpy(), frame["max_activation"].fillna(0).to_numpy()
        frame = frame.assign(
            **_best_concept(concepts, purities, aucs, evidence(top_items, masks)),
            **measures.popularity(item_acts, top_items, top_users, dataset),
            monosemanticity=measures.monosemanticity(item_acts, X_items),
            label=_labels((top_items, top_item_acts), (top_users, top_user_acts), dataset, known, alive),
            label_source="keyword",
        )
        if sae.config.levels:
            frame["level"] = np.searchsorted(sae.config.levels, frame["neuron"], side="right") + 1
        neighbours, cosine = measures.nearest(sae.W_dec, alive, N_NEIGHBOURS)
        return cls(
            frame=frame,
            concepts=concepts,
            purity=purities.astype(np.float32),
            auc=aucs,
            top_items=top_items,
            top_item_acts=top_item_acts,
            top_users=top_users,
            top_user_acts=top_user_acts,
            item_histogram=measures.histogram(item_acts, highest, N_BINS),
            user_histogram=users.histogram(highest, N_BINS),
            histogram_edges=(highest[:, None] * np.linspace(0, 1, N_BINS + 1)).astype(np.float32),
            neighbours=neighbours,
            neighbour_cosine=cosine,
        )

    def to_saved(self) -> tuple[dict[str, np.ndarray], dict[str, pd.DataFrame]]:
        """Give the arrays and the tables for saving."""
        return {name: getattr(self, name) for name in _ARRAYS}, {"neurons": self.frame, "concepts": self.concepts}

    @classmethod
    def from_saved(cls, arrays: Mapping[str, np.ndarray], tables: Mapping[str, pd.DataFrame]) -> "NeuronTable":
        """Restore what `to_saved` gave."""
        return cls(frame=tables["neurons"], concepts=tables["concepts"], **{name: arrays[name] for name in _ARRAYS})

    def with_labels(self, labels: Mapping[int, tuple[str, str]]) -> "NeuronTable":
        """Give the same table with other labels of some neurons: neuron -> (label, its source).

        One of a neuron that is not here, or that never fires, is left out.
        """
        frame = self.frame.copy()
        texts, sources = frame["label"].to_numpy(object).copy(), frame["label_source"].to_numpy(object).copy()
        alive = frame["alive"].to_numpy(bool)
        for neuron, (text, source) in labels.items():
            if 0 <= neuron < len(frame) and alive[neuron]:
                texts[neuron], sources[neuron] = text, source
        frame["label"], frame["label_source"] = pd.Series(texts, dtype="str"), pd.Series(sources, dtype="str")
        return replace(self, frame=frame)


def _best_concept(
    concepts: pd.DataFrame, purities: np.ndarray, aucs: np.ndarray, evidences: np.ndarray
) -> dict[str, np.ndarray | pd.Series]:
    d_sae = purities.shape[2]
    if not len(concepts):
        names, numbers = pd.Series([""] * d_sae, dtype="str"), np.full(d_sae, np.nan)
        columns = ("purity_at_10", "purity_at_20", "purity_at_50", "base_rate", "lift", "auc", "evidence")
        return {"best_concept": names, "best_kind": names, **dict.fromkeys(columns, numbers)}
    best, neurons = evidences.argmax(axis=0), np.arange(d_sae)
    found = evidences[best, neurons] > 0
    at = {n: np.where(found, purities[i, best, neurons], np.nan) for i, n in enumerate(LENGTHS)}
    base = np.where(found, concepts["base_rate"].to_numpy()[best], np.nan)
    return {
        "best_concept": pd.Series(np.where(found, concepts["name"].to_numpy(object)[best], ""), dtype="str"),
        "best_kind": pd.Series(np.where(found, concepts["kind"].to_numpy(object)[best], ""), dtype="str"),
        **{f"purity_at_{n}": value for n, value in at.items()},
        "base_rate": base,
        "lift": np.where(np.isnan(at[20]), at[10], at[20]) / base,
        "auc": np.where(found, aucs[best, neurons], np.nan),
        "evidence": np.where(found, evidences[best, neurons], np.nan),
    }


def label_basis(
    by_items: tuple[np.ndarray, np.ndarray], by_users: tuple[np.ndarray, np.ndarray], dataset: Dataset
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the items that neurons are named by, their activations, and (d_sae,) whether they stand for viewers.

    Those that fire in viewers but on next to no item are named by what the viewers share.
    """
    items, acts = by_items[0].copy(), by_items[1].copy()
    audience = (items[:, N_TELLING - 1] < 0) & (by_users[0][:, N_TELLING - 1] >= 0)
    items[audience], acts[audience] = measures.audience_items(
        by_users[0][audience], by_users[1][audience], dataset, N_TOP_ITEMS
    )
    return items, acts, audience


def _labels(
    by_items: tuple[np.ndarray, np.ndarray],
    by_users: tuple[np.ndarray, np.ndarray],
    dataset: Dataset,
    known: list[Concept],
    alive: np.ndarray,
) -> list[str]:
    items, acts, audience = label_basis(by_items, by_users, dataset)
    return keyword_labels(items, acts, dataset, concepts=known, alive=alive, audience=audience)
