"""Two towers whose viewers are folded in by one vector an item: what BPR and LightGCN share at inference.

u(h) = sum_{i in h} s_i / |h|^power + c,   0 for an empty history        score = u · q_i + b_i
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from core.configs import check
from core.data.dataset import Histories, to_matrix
from core.recommenders.base import LinearRecommender, LinearScorer


class Towers(LinearRecommender):
    """Item vectors, and what each item gives to the vector of a viewer.

    Args:
        config: How they were trained.
        Q: (n_items, d_in) float32 item vectors.
        b: (n_items,) float32 item biases.
        S: (n_items, d_in) float32: s_i, what an item of a history gives.
        c: (d_in,) float32: what every history gives that is not empty.
        native_users: (n_users, d_in) float32 of a model that was trained elsewhere; else None.
    """

    def __init__(
        self,
        config: Any,
        Q: np.ndarray,
        b: np.ndarray,
        S: np.ndarray,
        c: np.ndarray,
        native_users: np.ndarray | None = None,
    ) -> None:
        self.config = config
        self.Q, self.b, self.S, self.c, self.native_users = Q, b, S, c, native_users
        self.n_items, self.d_in = Q.shape

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), d_in) float32, folded in; an empty history gives 0."""
        x = to_matrix(histories, self.n_items)
        sizes = np.diff(x.indptr)
        vectors = (x @ self.S) / np.sqrt(np.maximum(sizes, 1))[:, None] + self.c
        vectors[sizes == 0] = 0
        return np.asarray(vectors, np.float32)

    def embed_items(self) -> np.ndarray:
        """Give the (n_items, d_in) item vectors."""
        return self.Q

    def probe_items(self) -> np.ndarray:
        """Give the (n_items, d_in) item vectors: in a two-tower model an item has a vector of its own."""
        return self.Q

    @property
    def linear(self) -> LinearScorer:
        """The item vectors and biases."""
        return LinearScorer(self.Q, self.b)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the vectors, the biases and the fold-in for saving; the users only where they were brought along."""
        arrays = {"Q": self.Q, "b": self.b, "S": self.S, "c": self.c}
        return arrays if self.native_users is None else arrays | {"users": self.native_users}

    @classmethod
    def from_arrays(cls, config: Any, arrays: Mapping[str, np.ndarray]) -> Self:
        """Restore what `to_arrays` gave."""
        Q, b, S, c = (np.asarray(arrays[name], np.float32) for name in ("Q", "b", "S", "c"))
        return cls(config, Q, b, S, c, arrays.get("users"))


def check_pairwise(config: Any) -> None:
    """Check the settings that models have in common which are trained by pairs.

    Raises:
        ConfigError: One of them is out of range.
    """
    for name in ("embedding_size", "n_negatives", "epochs", "min_steps", "batch_size"):
        value = getattr(config, name)
        check(
            value >= 1, f"recommender.{name} is {value}, expected at least 1.", f"Set recommender.{name} to 1 or more."
        )
    check(
        config.regularisation >= 0,
        f"recommender.regularisation is {config.regularisation:g}, expected 0 or more.",
        "Set recommender.regularisation to about 0.3.",
    )
    check(
        config.learning_rate > 0,
        f"recommender.learning_rate is {config.learning_rate:g}, expected more than 0.",
        "Set recommender.learning_rate to about 0.05.",
    )
