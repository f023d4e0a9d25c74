"""The most consumed items, the same list for everybody: the reference that every recommender must beat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from core.data.dataset import Dataset, Histories
from core.progress import Progress, no_progress
from core.recommenders.base import LinearRecommender, LinearScorer, require_interactions


@dataclass(frozen=True)
class PopularityConfig:
    """There is nothing to set."""


class Popularity(LinearRecommender):
    """A fitted popularity list. Every viewer's embedding is the number 1.

    Args:
        config: Nothing.
        share: (n_items,) float32, the share of viewers who consumed each item.
    """

    name: ClassVar[str] = "popularity"
    Config: ClassVar[type] = PopularityConfig
    d_in = 1

    def __init__(self, config: PopularityConfig, share: np.ndarray) -> None:
        self.config = config
        self.share = share
        self.n_items = len(share)

    @classmethod
    def fit(
        cls,
        train: Dataset,
        config: PopularityConfig,
        *,
        seed: int,  # noqa: ARG003
        progress: Progress = no_progress,
    ) -> "Popularity":
        """Count the viewers of each item.

        Raises:
            TrainingError: `train` has no interactions.
        """
        require_interactions(train)
        share = (train.item_counts / train.n_users).astype(np.float32)
        progress("recommender", 1, 1, {})
        return cls(config, share)

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), 1) ones."""
        return np.ones((len(histories), 1), np.float32)

    def embed_items(self) -> np.ndarray:
        """Give the (n_items, 1) shares."""
        return self.share[:, None]

    def probe_items(self) -> np.ndarray:
        """Give (n_items, 1) ones: a viewer of one item is a viewer like every other."""
        return np.ones((self.n_items, 1), np.float32)

    @property
    def linear(self) -> LinearScorer:
        """The shares, and no bias."""
        return LinearScorer(self.share[:, None], np.zeros(self.n_items, np.float32))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the shares for saving."""
        return {"share": self.share}

    @classmethod
    def from_arrays(cls, config: PopularityConfig, arrays: Mapping[str, np.ndarray]) -> "Popularity":
        """Restore what `to_arrays` gave."""
        return cls(config, np.asarray(arrays["share"], np.float32))
