"""LightGCN: BPR over vectors that are averaged along the graph of the log (He et al., SIGIR 2020).

    E_k = D^-1/2 A D^-1/2 E_{k-1}        final vectors = mean of E_0 .. E_L        score_ui = u · q_i

Only E_0 is learnt. Of a viewer whom training never saw, every layer but the first follows from the items,

    u_k = sum_{i in h} q_{i, k-1} / sqrt(|h| deg_i),

exactly as it does for a known one; their u_0, which the paper learns one by one, is foretold from these layers by a
linear map (`core.recommenders.fold_in`). Every embedding, of known and of invented viewers alike, is folded in so.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse

from core.configs import check
from core.data.dataset import Dataset
from core.progress import Progress, no_progress
from core.recommenders.base import require_interactions, resolve
from core.recommenders.fold_in import regression
from core.recommenders.towers import Towers, check_pairwise


@dataclass(frozen=True)
class LightGCNConfig:
    """How LightGCN is trained.

    Attributes:
        embedding_size: Width of a vector.
        n_layers: Steps along the graph.
        n_negatives: Random items that each consumed one is compared with in a step.
        regularisation: λ of the first vectors, without unit; the same for every vector.
        epochs: Passes over the viewers.
        min_steps: On a small log there are more passes, until this many steps are made.
        batch_size: Viewers in a step, each with the whole history; all vectors are propagated at every step.
        learning_rate: Of Adam, at the start; it falls to zero along a half cosine.
    """

    embedding_size: int = 64
    n_layers: int = 3
    n_negatives: int = 1
    regularisation: float = 0.01
    epochs: int = 75
    min_steps: int = 150
    batch_size: int = 1536
    learning_rate: float = 0.2

    def __post_init__(self) -> None:
        check_pairwise(self)
        check(
            self.n_layers >= 1,
            f"recommender.n_layers is {self.n_layers}, expected at least 1.",
            "Set recommender.n_layers to 3, or use recommender bpr, which has no layers.",
        )


class LightGCN(Towers):
    """A fitted LightGCN. Its Q are the final item vectors, its b are 0."""

    name: ClassVar[str] = "lightgcn"
    Config: ClassVar[type] = LightGCNConfig

    @classmethod
    def fit(cls, train: Dataset, config: LightGCNConfig, *, seed: int, progress: Progress = no_progress) -> "LightGCN":
        """Learn the first vectors from `train`, then the map from histories to the first vectors of viewers.

        Raises:
            TrainingError: `train` has no interactions, or the training diverged.
        """
        require_interactions(train)
        train_lightgcn = resolve("core.recommenders.lightgcn_training:train_lightgcn")
        U, V = train_lightgcn(train.matrix(), config, seed=seed, progress=progress)
        model = cls.from_first_vectors(config, U, V, train)
        model.trained_users, model.native_users = model.native_users, None
        return model

    @classmethod
    def from_first_vectors(cls, config: LightGCNConfig, U: np.ndarray, V: np.ndarray, train: Dataset) -> "LightGCN":
        """Give the model of learnt first vectors, which has the final vectors of its users as `native_users`.

        Args:
            config: Its `n_layers` counts.
            U: (n_users, d_in) first vectors of the users.
            V: (n_items, d_in) of the items.
            train: The log that they were learnt from, with at least one interaction.
        """
        by_user, by_item = normalised(train.matrix())
        u, q = U.astype(np.float32), V.astype(np.float32)
        users, items, sources = u, q, np.zeros_like(q)
        for _ in range(config.n_layers):
            sources = sources + q
            u, q = by_user @ q, by_item @ u
            users, items = users + u, items + q
        n = np.float32(config.n_layers + 1)
        # s_i of the layers 1 to L: what remains of D^-1/2 A D^-1/2 when a history brings its own sqrt(|h|).
        sources = sources / np.sqrt(np.maximum(train.item_counts, 1)).astype(np.float32)[:, None] / n
        known = np.flatnonzero(np.diff(train.indptr))
        first = regression(sources, train.histories(known), U[known] / n, 0.0, powers=(0.5,))
        biases = np.zeros(len(V), np.float32)
        return cls(config, items / n, biases, sources + sources @ first.W, first.c, users / n)


def normalised(x: sparse.csr_matrix) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Give x_ui / sqrt(deg_u deg_i), float32, and its transpose: the two halves of D^-1/2 A D^-1/2.

    Args:
        x: (n_users, n_items) binary interactions.
    """
    by_user, by_item = (sparse.diags(np.maximum(np.asarray(x.sum(axis=axis)).ravel(), 1) ** -0.5) for axis in (1, 0))
    half = (by_user @ x @ by_item).tocsr().astype(np.float32)
    return half, half.T.tocsr()
