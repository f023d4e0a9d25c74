"""Recommenders of a few numbers, linear and not, for what is measured on lists."""

from types import SimpleNamespace

import numpy as np

from core.recommenders.base import LinearRecommender, LinearScorer, NonLinearRecommender


class Straight(LinearRecommender):
    """Scores `x @ V.T + b`."""

    def __init__(self, V: np.ndarray, b: np.ndarray | None = None) -> None:
        self.V = np.asarray(V, np.float32)
        self.b = np.zeros(len(V), np.float32) if b is None else np.asarray(b, np.float32)
        self.n_items, self.d_in = self.V.shape

    @property
    def linear(self) -> LinearScorer:
        return LinearScorer(self.V, self.b)


class Curved(NonLinearRecommender):
    """Scores `tanh(x) @ V.T`."""

    def __init__(self, V: np.ndarray) -> None:
        self.V = np.asarray(V, np.float32)
        self.n_items, self.d_in = self.V.shape

    def score(self, embeddings: np.ndarray) -> np.ndarray:
        return np.tanh(np.asarray(embeddings, np.float32)) @ self.V.T

    def torch_scorer(self):
        raise NotImplementedError


def fake_sae(W_dec: np.ndarray) -> SimpleNamespace:
    """Give what measurements of lists read of an SAE: its decoder and its number of neurons."""
    W_dec = np.asarray(W_dec, np.float32)
    return SimpleNamespace(W_dec=W_dec, config=SimpleNamespace(d_sae=len(W_dec)))
