"""LightGCN: BPR over vectors that are averaged along the graph of the log (He et al., SIGIR 2020).

    E_k = D^-1/2 A D^-1/2 E_{k-1}        final vectors = mean of E_0 .. E_L        score_ui = u · q_i

Only E_0 is learnt, one vector for each user and each item, so the paper has no vector for a viewer whom training never
saw. Here every viewer, known or invented, has a linear map of the history that foretells the final vectors
(`core.recommenders.fold_in`). It was measured better than to let all layers but the first follow from the graph.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from core.configs import check
from core.data.dataset import Dataset
from core.progress import Progress, no_progress
from core.recommenders.base import require_interactions, resolve
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
        """Learn the first vectors from `train`, then the map from histories to the final vectors of users.

        Raises:
            TrainingError: `train` has no interactions, or the training diverged.
        """
        require_interactions(train)
        train_lightgcn = resolve("core.recommenders.lightgcn_training:train_lightgcn")
        users, items = train_lightgcn(train.matrix(), config, seed=seed, progress=progress)
        return cls.of_trained(config, users, items, np.zeros(len(items), np.float32), train)
