"""EASE: item-to-item weights in closed form (Steck, WWW 2019, eq. 8).

    B = I - P diag(1 / diag(P)),   P = (XᵀX + λ I)⁻¹,   score(x) = x B

The embedding of a viewer is the binary history itself, so that `d_in` is the number of items.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import linalg

from core.configs import check
from core.data.dataset import Dataset, Histories, to_matrix
from core.progress import Progress, no_progress
from core.recommenders.base import LinearRecommender, LinearScorer, require_interactions


@dataclass(frozen=True)
class EASEConfig:
    """How EASE is fitted.

    Attributes:
        regularisation: λ, in viewers: how much is added to each item's count.
    """

    regularisation: float = 300.0

    def __post_init__(self) -> None:
        check(
            self.regularisation > 0,
            f"recommender.regularisation is {self.regularisation}, expected more than 0.",
            "Set recommender.regularisation to about 300.",
        )


class EASE(LinearRecommender):
    """A fitted EASE.

    Args:
        config: How it was fitted.
        B: (n_items, n_items) float32; row: the item that was consumed, column: the item that is scored.
    """

    name: ClassVar[str] = "ease"
    Config: ClassVar[type] = EASEConfig

    def __init__(self, config: EASEConfig, B: np.ndarray) -> None:
        self.config = config
        self.B = B
        self.n_items = self.d_in = len(B)

    @classmethod
    def fit(
        cls,
        train: Dataset,
        config: EASEConfig,
        *,
        seed: int,  # noqa: ARG003
        progress: Progress = no_progress,
    ) -> "EASE":
        """Solve for the weights from `train`. Time and memory grow with the cube and the square of the items.

        Raises:
            TrainingError: `train` has no interactions.
        """
        require_interactions(train)
        x = train.matrix().astype(np.float64)
        gram = (x.T @ x).toarray()
        gram[np.diag_indices(train.n_items)] += config.regularisation
        progress("recommender", 1, 2, {})
        P = linalg.cho_solve(linalg.cho_factor(gram, overwrite_a=True), np.eye(train.n_items), overwrite_b=True)
        B = (P / -np.diag(P)).astype(np.float32)
        B[np.diag_indices(train.n_items)] = 0
        progress("recommender", 2, 2, {})
        return cls(config, B)

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), n_items) float32: 1 where an item was consumed."""
        return np.asarray(to_matrix(histories, self.n_items).toarray())

    def embed_items(self) -> np.ndarray:
        """Give the (n_items, n_items) unit vectors of the items: they are not learnt."""
        return np.eye(self.n_items, dtype=np.float32)

    def probe_items(self) -> np.ndarray:
        """Give the (n_items, n_items) embeddings of the viewers whose whole history is one item."""
        return self.embed_items()

    @property
    def linear(self) -> LinearScorer:
        """The weights, and no bias."""
        return LinearScorer(self.B.T, np.zeros(self.n_items, np.float32))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the weights for saving."""
        return {"B": self.B}

    @classmethod
    def from_arrays(cls, config: EASEConfig, arrays: Mapping[str, np.ndarray]) -> "EASE":
        """Restore what `to_arrays` gave."""
        return cls(config, np.asarray(arrays["B"], np.float32))
