"""ELSA: a shallow linear autoencoder over unit item vectors (Vančura et al., RecSys 2022).

    score(x) = x A Aᵀ,   rows of A of length 1

The embedding of a viewer is `x A`, the sum of the vectors of what they consumed. The paper subtracts `x`, which only
changes the scores of seen items: training does it, scoring need not, because seen items are masked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from core.configs import check
from core.data.dataset import Dataset, Histories, to_matrix
from core.progress import Progress, no_progress
from core.recommenders.base import LinearRecommender, LinearScorer, require_interactions, resolve


@dataclass(frozen=True)
class ELSAConfig:
    """How ELSA is trained.

    Attributes:
        embedding_size: Width of an item vector.
        epochs: Passes over the viewers.
        min_steps: On a small log there are more passes, until this many steps are made.
        batch_size: Viewers in a step.
        learning_rate: Of NAdam, at the start; it falls to zero along a half cosine.
    """

    embedding_size: int = 256
    epochs: int = 20
    min_steps: int = 240
    batch_size: int = 512
    learning_rate: float = 0.2

    def __post_init__(self) -> None:
        for name in ("embedding_size", "epochs", "min_steps", "batch_size"):
            value = getattr(self, name)
            check(
                value >= 1,
                f"recommender.{name} is {value}, expected at least 1.",
                f"Set recommender.{name} to 1 or more.",
            )
        check(
            self.learning_rate > 0,
            f"recommender.learning_rate is {self.learning_rate}, expected more than 0.",
            "Set recommender.learning_rate to about 0.2.",
        )


class ELSA(LinearRecommender):
    """A fitted ELSA.

    Args:
        config: How it was trained.
        A: (n_items, embedding_size) float32, rows of length 1.
    """

    name: ClassVar[str] = "elsa"
    Config: ClassVar[type] = ELSAConfig

    def __init__(self, config: ELSAConfig, A: np.ndarray) -> None:
        self.config = config
        self.A = A
        self.n_items, self.d_in = A.shape

    @classmethod
    def fit(cls, train: Dataset, config: ELSAConfig, *, seed: int, progress: Progress = no_progress) -> "ELSA":
        """Learn the item vectors from `train`.

        Raises:
            TrainingError: `train` has no interactions, or the loss diverged.
        """
        require_interactions(train)
        train_elsa = resolve("core.recommenders.elsa_training:train_elsa")
        return cls(config, train_elsa(train.matrix(), config, seed=seed, progress=progress))

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), d_in) float32: the sums of the item vectors of each history."""
        return np.asarray(to_matrix(histories, self.n_items) @ self.A, dtype=np.float32)

    def embed_items(self) -> np.ndarray:
        """Give the (n_items, d_in) item vectors."""
        return self.A

    def probe_items(self) -> np.ndarray:
        """Give the (n_items, d_in) embeddings of the viewers whose whole history is one item: the item vectors."""
        return self.A

    @property
    def linear(self) -> LinearScorer:
        """The item vectors, and no bias."""
        return LinearScorer(self.A, np.zeros(self.n_items, np.float32))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the item vectors for saving."""
        return {"A": self.A}

    @classmethod
    def from_arrays(cls, config: ELSAConfig, arrays: Mapping[str, np.ndarray]) -> "ELSA":
        """Restore what `to_arrays` gave."""
        return cls(config, np.asarray(arrays["A"], np.float32))
