"""Matrix factorisation with biases, trained to tell consumed from not consumed items.

    P(u consumed i) = sigmoid(u · q_i + b_i + b_u)

The loss of a viewer with history h is the binary cross-entropy of the positives and of the EXPECTED negatives:

    sum_{i in h} softplus(-s_i) + n_negatives |h| sum_i p_i softplus(s_i)
        + λ / 2 sqrt((1 + n_negatives) |h|) (|u|² + b_u²)

with p_i = 1 / n_items (`uniform`) or in proportion to the number of viewers of the item (`popularity`). (Arviv et al.
2026 draw one negative for each positive; the expectation needs no draws, and its minimum is exact.) Given the items it
is convex in a viewer, so every embedding, of known and of invented viewers alike, is that minimum: the fold-in. The
bias b_u changes no ranking and is no part of the score.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from core.configs import check
from core.data.dataset import Dataset, Histories, to_matrix
from core.progress import Progress, no_progress
from core.recommenders.base import LinearRecommender, LinearScorer, require_interactions
from core.recommenders.logistic import Regressions, Side
from core.recommenders.mf_training import prior_strength, train_mf


@dataclass(frozen=True)
class MFConfig:
    """How MF is trained and viewers are folded in.

    Attributes:
        embedding_size: Width of a vector (Arviv et al. 2026: 20).
        negatives: Which items a viewer is told apart from. `uniform`, every item alike, gives the better lists;
            `popularity`, in proportion to an item's viewers, leaves popularity out of the vectors, and their
            directions are purer in genre.
        n_negatives: Expected negatives per positive; by default 5 for `uniform` and 1 for `popularity`.
        regularisation: λ, without unit; by default 0.2 for `uniform` and 0.65 for `popularity`.
        epochs: How often viewers and items take their turns.
    """

    embedding_size: int = 20
    negatives: Literal["uniform", "popularity"] = "uniform"
    n_negatives: float | None = None
    regularisation: float | None = None
    epochs: int = 10

    def __post_init__(self) -> None:
        if self.regularisation is None:
            object.__setattr__(self, "regularisation", 0.65 if self.negatives == "popularity" else 0.2)
        check_loss(self)
        for name in ("embedding_size", "epochs"):
            value = getattr(self, name)
            check(
                value >= 1,
                f"recommender.{name} is {value}, expected at least 1.",
                f"Set recommender.{name} to 1 or more.",
            )


def check_loss(config: Any) -> None:
    """Check the settings of the loss, which NCF's fold-in has too, and write down how many negatives there are.

    Raises:
        ConfigError: One of them is out of range.
    """
    check(
        config.negatives in ("uniform", "popularity"),
        f"recommender.negatives is {config.negatives!r}, expected uniform or popularity.",
        "Set recommender.negatives to uniform or popularity.",
    )
    # Written down at once, so that what is saved says what was used.
    if config.n_negatives is None:
        object.__setattr__(config, "n_negatives", 5.0 if config.negatives == "uniform" else 1.0)
    for name in ("n_negatives", "regularisation"):
        value = getattr(config, name)
        check(
            1e-4 <= value <= 1e4,
            f"recommender.{name} is {value:g}, expected 0.0001 to 10,000.",
            f"Set recommender.{name} to about 1.",
        )


class MF(LinearRecommender):
    """A fitted matrix factorisation.

    Args:
        config: How it was trained.
        Q: (n_items, embedding_size) float32 item vectors.
        b: (n_items,) float32 item biases.
        column_weight: (n_items,) expected negatives of each item per positive.
    """

    name: ClassVar[str] = "mf"
    Config: ClassVar[type] = MFConfig

    def __init__(self, config: MFConfig, Q: np.ndarray, b: np.ndarray, column_weight: np.ndarray) -> None:
        self.config = config
        self.Q, self.b, self.column_weight = Q, b, column_weight
        self.n_items, self.d_in = Q.shape

    @classmethod
    def fit(cls, train: Dataset, config: MFConfig, *, seed: int, progress: Progress = no_progress) -> "MF":
        """Learn item vectors and biases from `train`.

        Raises:
            TrainingError: `train` has no interactions, or the training diverged.
        """
        require_interactions(train)
        n_negatives, regularisation = _strengths(config)
        counts = train.item_counts if config.negatives == "popularity" else np.ones(train.n_items)
        column_weight = n_negatives * counts / counts.sum()
        items = train_mf(
            train.matrix(),
            column_weight,
            embedding_size=config.embedding_size,
            n_negatives=n_negatives,
            regularisation=regularisation,
            epochs=config.epochs,
            seed=seed,
            progress=progress,
        )
        return cls(config, items.vectors.astype(np.float32), items.biases.astype(np.float32), column_weight)

    @cached_property
    def _viewers(self) -> Regressions:
        return Regressions(Side(self.Q, self.b), self.column_weight)

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), d_in) float32: the vectors that fit each history best, given the items.

        Deterministic, and the same for a viewer alone as among others. An empty history gives 0.
        """
        n_negatives, regularisation = _strengths(self.config)
        x = to_matrix(histories, self.n_items)
        lengths = np.diff(x.indptr).astype(np.float64)
        strength = prior_strength(regularisation, (1 + n_negatives) * lengths)
        return self._viewers.solve(x, lengths, strength).vectors.astype(np.float32)

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
        """Give item vectors, biases and the weights of the fold-in for saving."""
        return {"Q": self.Q, "b": self.b, "column_weight": self.column_weight}

    @classmethod
    def from_arrays(cls, config: MFConfig, arrays: Mapping[str, np.ndarray]) -> "MF":
        """Restore what `to_arrays` gave."""
        Q, b = (np.asarray(arrays[name], np.float32) for name in ("Q", "b"))
        return cls(config, Q, b, np.asarray(arrays["column_weight"], np.float64))


def _strengths(config: MFConfig) -> tuple[float, float]:
    """Give `n_negatives` and `regularisation`, which the config has filled in."""
    if config.n_negatives is None or config.regularisation is None:
        raise ValueError("an MFConfig fills in what it was not given")
    return config.n_negatives, config.regularisation
