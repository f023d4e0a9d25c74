"""Two towers that were trained here: what BPR and LightGCN share once their vectors are learnt.

score = u · q_i + b_i        u(h) = sum_{i in h} s_i / |h|^power + c,   0 for an empty history

with s_i = W q_i: the fold-in of `core.recommenders.fold_in`, one product shorter.
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from core.configs import check
from core.data.dataset import Dataset, Histories, to_matrix
from core.recommenders.base import LinearRecommender, LinearScorer
from core.recommenders.fold_in import regression


class Towers(LinearRecommender):
    """Item vectors and biases, and what each item gives to the vector of a viewer.

    Args:
        config: How they were trained.
        Q: (n_items, d_in) float32 item vectors.
        b: (n_items,) float32 item biases.
        S: (n_items, d_in) float32: s_i, what an item of a history gives.
        c: (d_in,) float32: what every history gives that is not empty.
        power: Of the number of items that their sum is divided by.
    """

    def __init__(self, config: Any, Q: np.ndarray, b: np.ndarray, S: np.ndarray, c: np.ndarray, power: float) -> None:
        self.config = config
        self.Q, self.b, self.S, self.c, self.power = Q, b, S, c, power
        self.n_items, self.d_in = Q.shape

    @classmethod
    def of_trained(cls, config: Any, users: np.ndarray, Q: np.ndarray, b: np.ndarray, train: Dataset) -> Self:
        """Make the model of trained vectors: its fold-in is what best foretells the users from their histories.

        Args:
            config: How they were trained.
            users: (n_users, d_in) float32 user vectors; they become `trained_users`.
            Q: (n_items, d_in) float32 item vectors.
            b: (n_items,) float32 item biases.
            train: The log that they were learnt from, with at least one interaction.
        """
        known = np.flatnonzero(np.diff(train.indptr))
        fold = regression(Q, train.histories(known), users[known], 0.0)
        model = cls(config, Q, b, Q @ fold.W, fold.c, fold.power)
        model.trained_users = users
        return model

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), d_in) float32, folded in; an empty history gives 0."""
        x = to_matrix(histories, self.n_items)
        sizes = np.diff(x.indptr)
        vectors = (x @ self.S) / (np.maximum(sizes, 1) ** self.power)[:, None] + self.c
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
        """Give the vectors, the biases and the fold-in for saving."""
        return {"Q": self.Q, "b": self.b, "S": self.S, "c": self.c, "power": np.array([self.power])}

    @classmethod
    def from_arrays(cls, config: Any, arrays: Mapping[str, np.ndarray]) -> Self:
        """Restore what `to_arrays` gave."""
        Q, b, S, c = (np.asarray(arrays[name], np.float32) for name in ("Q", "b", "S", "c"))
        return cls(config, Q, b, S, c, float(np.asarray(arrays["power"]).item()))


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
