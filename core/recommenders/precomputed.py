"""The vectors of a model that was trained elsewhere, brought along: score = u · v_i + b_i, or the cosine of u and v_i.

Known users are shown with their own vectors. A history that the model never saw, of an invented viewer or of a user
without a vector, is folded in (see `core.recommenders.fold_in`), and what that costs on known users is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from core.data.dataset import Dataset, Histories
from core.errors import TrainingError
from core.progress import Progress, no_progress
from core.recommenders.base import LinearRecommender, LinearScorer
from core.recommenders.fold_in import FoldIn, discriminant, enough_users, lengths, regression, unit

N_KNOWN = 20_000
"""Known users that a fold-in is fitted to, at most: enough for vectors of hundreds of numbers."""


@dataclass(frozen=True)
class PrecomputedConfig:
    """How brought vectors are used.

    Attributes:
        scoring: `dot` is u · v_i + b_i; `cosine` the same with vectors of length 1.
        fold_in: `ridge` is learnt from known users, `discriminant` is made of the items (see
            `core.recommenders.fold_in`).
    """

    scoring: Literal["dot", "cosine"] = "dot"
    fold_in: Literal["ridge", "discriminant"] = "discriminant"


class Precomputed(LinearRecommender):
    """A model whose vectors were brought along.

    Args:
        config: How they are used.
        V: (n_items, d_in) float32; of length 1 for `cosine`.
        b: (n_items,) float32 biases.
        fold: How histories are folded in.
        native_users: (n_users, d_in) float32, a row of NaN for a user without a vector; None where nobody has one.
    """

    name: ClassVar[str] = "precomputed"
    Config: ClassVar[type] = PrecomputedConfig

    def __init__(
        self,
        config: PrecomputedConfig,
        V: np.ndarray,
        b: np.ndarray,
        fold: FoldIn,
        native_users: np.ndarray | None = None,
    ) -> None:
        self.config = config
        self.V, self.b, self.fold, self.native_users = V, b, fold, native_users
        self.n_items, self.d_in = V.shape

    @classmethod
    def fit(
        cls,
        train: Dataset,
        config: PrecomputedConfig,  # noqa: ARG003
        *,
        seed: int,  # noqa: ARG003
        progress: Progress = no_progress,  # noqa: ARG003
    ) -> "Precomputed":
        """Raise `TrainingError`: vectors that were trained elsewhere are brought, not trained."""
        raise TrainingError(
            f"precomputed is trained elsewhere: it cannot be trained on {train.name} here.",
            "Bring its vectors: python -m core import embeddings --help",
        )

    @classmethod
    def bring(
        cls, dataset: Dataset, V: np.ndarray, b: np.ndarray, users: np.ndarray | None, scoring: Literal["dot", "cosine"]
    ) -> "Precomputed":
        """Take vectors in and make their fold-in.

        Args:
            dataset: The log, which may have no interactions.
            V: (n_items, d_in) float32 item vectors; none of length 0 for `cosine`.
            b: (n_items,) float32 biases; zeros where the model has none.
            users: (n_users, d_in) float32, a row of NaN for a user without a vector; None where nobody has one.
            scoring: `dot` or `cosine`.
        """
        if scoring == "cosine":
            V, users = unit(V), None if users is None else unit(users)
        fixed = 1.0 if scoring == "cosine" else 0.0
        known = np.zeros(0, bool) if users is None else ~np.isnan(users[:, 0])
        if users is None or not known.any():
            return cls(PrecomputedConfig(scoring), V, b, discriminant(V, b, fixed or None))
        with_log = np.flatnonzero(known & (np.diff(dataset.indptr) > 0))
        if enough_users(len(with_log), V.shape[1]):
            some = with_log[np.linspace(0, len(with_log) - 1, min(len(with_log), N_KNOWN)).astype(np.int64)]
            fold = regression(V, dataset.histories(some), users[some], fixed)
            return cls(PrecomputedConfig(scoring, "ridge"), V, b, fold, users)
        fold = discriminant(V, b, fixed or float(np.nanmean(lengths(users))) or None)
        return cls(PrecomputedConfig(scoring), V, b, fold, users)

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), d_in) float32, folded in; an empty history gives 0."""
        return self.fold.embed(histories, self.V)

    def embed_items(self) -> np.ndarray:
        """Give the (n_items, d_in) item vectors."""
        return self.V

    def probe_items(self) -> np.ndarray:
        """Give the (n_items, d_in) item vectors: in a two-tower model an item has a vector of its own."""
        return self.V

    @property
    def linear(self) -> LinearScorer:
        """The item vectors and biases."""
        return LinearScorer(self.V, self.b)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the vectors and the fold-in for saving."""
        arrays = {"V": self.V, "b": self.b, **self.fold.to_arrays()}
        return arrays if self.native_users is None else arrays | {"users": self.native_users}

    @classmethod
    def from_arrays(cls, config: PrecomputedConfig, arrays: Mapping[str, np.ndarray]) -> "Precomputed":
        """Restore what `to_arrays` gave."""
        V, b = (np.asarray(arrays[name], np.float32) for name in ("V", "b"))
        return cls(config, V, b, FoldIn.from_arrays(arrays), arrays.get("users"))
