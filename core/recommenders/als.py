"""ALS: matrix factorisation of implicit feedback by alternating least squares (Hu, Koren, Volinsky, ICDM 2008).

    sum_{u, i} c_ui (p_ui - u · q_i)² + λ (sum_u |u|² + sum_i |q_i|²)

p_ui is 1 where viewer u consumed item i, with confidence c_ui = `confidence`, and else 0 with confidence 1. (The paper
has 1 + α; `implicit`, which trains it here, has α itself, and so have we: a saved model keeps its number.) Given the
items it is a ridge regression for a viewer, so every embedding, of known and of invented viewers alike, is its solution

    u = (QᵀQ + λ I + (c - 1) Q_hᵀ Q_h)⁻¹ c Q_hᵀ 1,   Q_h the rows of Q of the history (the paper's eq. 4)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from core.configs import check
from core.data.dataset import Dataset, Histories, to_matrix
from core.progress import Progress, no_progress
from core.recommenders.base import LinearRecommender, LinearScorer, require_interactions, resolve

CELLS = 4_000_000
"""Numbers in the systems that are solved at a time: bounds the memory at about 100 MB."""
MIN_CONFIDENCE, MAX_CONFIDENCE = 1e-6, 1e6
MAX_REGULARISATION = 1e9


@dataclass(frozen=True)
class ALSConfig:
    """How ALS is trained and viewers are folded in.

    Attributes:
        embedding_size: Width of a vector.
        confidence: Weight of a consumed item; one that was not consumed has weight 1. (α of `implicit`.)
        regularisation: λ, in the unit of the loss; by default what suits the size and density of the log.
        epochs: How often viewers and items take their turns.
    """

    embedding_size: int = 128
    confidence: float = 4.0
    regularisation: float | None = None
    epochs: int = 12

    def __post_init__(self) -> None:
        for name in ("embedding_size", "epochs"):
            value = getattr(self, name)
            check(
                value >= 1,
                f"recommender.{name} is {value}, expected at least 1.",
                f"Set recommender.{name} to 1 or more.",
            )
        check(
            MIN_CONFIDENCE <= self.confidence <= MAX_CONFIDENCE,
            f"recommender.confidence is {self.confidence:g}, expected {MIN_CONFIDENCE:g} to {MAX_CONFIDENCE:g}.",
            "Set recommender.confidence to about 4.",
        )
        check(
            self.regularisation is None or 0 <= self.regularisation <= MAX_REGULARISATION,
            f"recommender.regularisation is {self.regularisation}, expected 0 to {MAX_REGULARISATION:g}.",
            "Set recommender.regularisation to about 10, or leave it out.",
        )


class ALS(LinearRecommender):
    """A fitted ALS, or the factors of one that was brought along.

    Args:
        config: How it was trained; its `confidence` is that of the fold-in.
        Q: (n_items, embedding_size) float32 item vectors.
        regularisation: λ of the fold-in, 0 or more; that of the training.
        native_users: (n_users, embedding_size) float32 vectors of the viewers of its log, where they are to be shown
            with these and not with the fold-in.
    """

    name: ClassVar[str] = "als"
    Config: ClassVar[type] = ALSConfig

    def __init__(
        self, config: ALSConfig, Q: np.ndarray, regularisation: float, native_users: np.ndarray | None = None
    ) -> None:
        self.config = config
        self.Q, self.regularisation, self.native_users = Q, regularisation, native_users
        self.n_items, self.d_in = Q.shape

    @classmethod
    def fit(cls, train: Dataset, config: ALSConfig, *, seed: int, progress: Progress = no_progress) -> "ALS":
        """Learn the vectors from `train`.

        Raises:
            TrainingError: `train` has no interactions, or the loss diverged.
        """
        require_interactions(train)
        train_als = resolve("core.recommenders.als_training:train_als")
        trained = train_als(train.matrix(), config, seed=seed, progress=progress)
        model = cls(config, trained.items, trained.regularisation)
        model.trained_users = trained.users
        return model

    @cached_property
    def _unseen(self) -> np.ndarray:
        """QᵀQ + λ I: what everybody's system has in common, (d_in, d_in) float64."""
        Q = self.Q.astype(np.float64)
        gram = Q.T @ Q
        # Without a penalty the solution of least length, to nine digits.
        ridge = max(self.regularisation, 1e-10 * float(np.trace(gram))) or 1.0
        return gram + ridge * np.eye(self.d_in)

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), d_in) float32: the exact minimum of the loss for each history, given the items.

        Deterministic, and the same for a viewer alone as among others. An empty history gives 0.
        """
        x, c = to_matrix(histories, self.n_items), self.config.confidence
        out = np.empty((len(histories), self.d_in), np.float32)
        rows = max(1, CELLS // self.d_in**2)
        for first in range(0, len(out), rows):
            part = x[first : first + rows]
            systems = np.repeat(self._unseen[None], part.shape[0], axis=0)
            wanted = np.empty((part.shape[0], self.d_in, 1))
            for row, items in enumerate(np.split(part.indices, part.indptr[1:-1])):
                seen = self.Q[items].astype(np.float64)
                systems[row] += (c - 1) * (seen.T @ seen)
                wanted[row, :, 0] = c * seen.sum(axis=0)
            out[first : first + rows] = np.linalg.solve(systems, wanted)[..., 0]
        return out

    def embed_items(self) -> np.ndarray:
        """Give the (n_items, d_in) item vectors."""
        return self.Q

    def probe_items(self) -> np.ndarray:
        """Give the (n_items, d_in) item vectors: in a two-tower model an item has a vector of its own."""
        return self.Q

    @property
    def linear(self) -> LinearScorer:
        """The item vectors, and no bias."""
        return LinearScorer(self.Q, np.zeros(self.n_items, np.float32))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the item vectors, the penalty of the fold-in and, where they were brought, the viewers' own vectors."""
        arrays = {"Q": self.Q, "regularisation": np.array([self.regularisation], np.float64)}
        return arrays if self.native_users is None else arrays | {"native_users": self.native_users}

    @classmethod
    def from_arrays(cls, config: ALSConfig, arrays: Mapping[str, np.ndarray]) -> "ALS":
        """Restore what `to_arrays` gave."""
        users = arrays.get("native_users")
        return cls(
            config,
            np.asarray(arrays["Q"], np.float32),
            float(arrays["regularisation"][0]),
            None if users is None else np.asarray(users, np.float32),
        )
