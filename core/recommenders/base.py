"""What a recommender is, the registry of those that are here, and how scores become a list."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from core.data.dataset import Dataset, Histories, to_matrix
from core.errors import ConfigError, TrainingError, near
from core.progress import Progress, no_progress


class LinearScorer(NamedTuple):
    """A scorer of the form `score(x) = x @ V.T + b`: allows exact attribution and steering in the browser."""

    V: np.ndarray
    """(n_items, d_in) float32."""
    b: np.ndarray
    """(n_items,) float32."""


@runtime_checkable
class Recommender(Protocol):
    """A recommender that was fitted, or can be.

    `score` takes embeddings, never user ids: a steered embedding is scored by the same line as the original.
    """

    name: str
    config: Any
    d_in: int
    n_items: int
    native_users: np.ndarray | None
    """(n_users, d_in) float32 of a model that was brought along with vectors of users: these viewers are shown with
    them. A row of NaN is a user of the log without one, who is folded in like invented ones. None where every viewer is
    folded in from a history."""
    trained_users: np.ndarray | None
    """(n_users, d_in) that training left for the users of its log, right after `fit` and never saved: what it costs to
    fold known users in is measured against them. None where a history is all that training knows of a user."""
    scores_pairs: bool
    """Whether a network runs for each pair of viewer and item: some items cost less than all, and all cost much."""

    @classmethod
    def fit(cls, train: Dataset, config: Any, *, seed: int, progress: Progress = no_progress) -> "Recommender":
        """Learn from `train`."""
        ...

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), d_in) float32 for any histories, also of invented viewers. Deterministic."""
        ...

    def embed_items(self) -> np.ndarray:
        """Give the (n_items, d_in) float32 vectors of the items themselves (for likeness and monosemanticity)."""
        ...

    def probe_items(self) -> np.ndarray:
        """Give (n_items, d_in): each item as the SAE sees it.

        Its own vector in two-tower models (MF), the viewer whose whole history is this item in autoencoders (ELSA).
        """
        ...

    def score(self, embeddings: np.ndarray) -> np.ndarray:
        """Give (n, n_items) float32 scores of (n, d_in) embeddings; higher is better; seen items are NOT masked."""
        ...

    @property
    def linear(self) -> LinearScorer | None:
        """The scorer as `x @ V.T + b`, or None where it is not linear."""
        ...

    def torch_scorer(self) -> Callable[[Any], Any]:
        """Give the differentiable twin of `score`: torch (n, d_in) -> torch (n, n_items). Imports torch."""
        ...

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give everything that was learnt, for saving."""
        ...

    @classmethod
    def from_arrays(cls, config: Any, arrays: Mapping[str, np.ndarray]) -> "Recommender":
        """Restore what `to_arrays` gave."""
        ...


class LinearRecommender(ABC):
    """What every recommender with a linear scorer shares: `score` and its twin follow from `linear`."""

    native_users: np.ndarray | None = None
    trained_users: np.ndarray | None = None
    scores_pairs: bool = False

    @property
    @abstractmethod
    def linear(self) -> LinearScorer:
        """The scorer as `x @ V.T + b`."""

    def score(self, embeddings: np.ndarray) -> np.ndarray:
        """Give (n, n_items) float32 scores of (n, d_in) embeddings."""
        V, b = self.linear
        return np.asarray(np.asarray(embeddings, np.float32) @ V.T + b)

    def torch_scorer(self) -> Callable[[Any], Any]:
        """Give the differentiable twin of `score`."""
        scorer: Callable[[Any], Any] = resolve("core.recommenders.torch_linear:torch_scorer")(self.linear)
        return scorer


class NonLinearRecommender(ABC):
    """What every recommender shares whose scorer has no linear form: its lists are steered on the server."""

    native_users: np.ndarray | None = None
    trained_users: np.ndarray | None = None
    scores_pairs: bool = False

    @property
    def linear(self) -> None:
        """None: the scores are not `x @ V.T + b`."""
        return

    @abstractmethod
    def score(self, embeddings: np.ndarray) -> np.ndarray:
        """Give (n, n_items) float32 scores of (n, d_in) embeddings."""

    @abstractmethod
    def torch_scorer(self) -> Callable[[Any], Any]:
        """Give the differentiable twin of `score`."""


class Entry(NamedTuple):
    """Where a recommender lives; resolved at first use, so that opening a page never imports torch."""

    model: str
    """`module:Class`, with a class attribute `Config`."""
    summary: str
    """What it is, in one sentence for people."""
    title: str
    """Its name as the field writes it."""
    fold_in: str
    """How a history that training never saw becomes a vector, in one sentence for people."""
    ordered: bool = False
    """Whether the order of a history counts: such a model needs a log with times."""
    live: bool = True
    """Whether its scores are linear: then lists are steered in the browser, else the server ranks anew."""


RECOMMENDERS: dict[str, Entry] = {
    "popularity": Entry(
        "core.recommenders.popularity:Popularity",
        "The most consumed items, the same list for everybody: a reference.",
        "Popularity",
        "Everybody has the same vector.",
    ),
    "ease": Entry(
        "core.recommenders.ease:EASE",
        "Item-to-item weights in closed form (Steck 2019): a strong reference.",
        "EASE",
        "The history itself is the vector: there is nothing to fold in.",
    ),
    "mf": Entry(
        "core.recommenders.mf:MF",
        "Matrix factorisation with biases, trained to tell consumed from not consumed items.",
        "Matrix factorisation",
        "The exact minimum of the training loss for this history, given the items.",
    ),
    "ncf": Entry(
        "core.recommenders.ncf:NCF",
        "A small network scores the vector of a viewer beside that of an item (He et al. 2017), taught by a matrix "
        "factorisation.",
        "Neural collaborative filtering",
        "The minimum of the loss of a matrix factorisation for this history, through the network, by Newton's method.",
        live=False,
    ),
    "als": Entry(
        "core.recommenders.als:ALS",
        "Matrix factorisation of implicit feedback by alternating least squares (Hu, Koren, Volinsky 2008).",
        "Alternating least squares",
        "The exact minimum of the training loss for this history, given the items.",
    ),
    "bpr": Entry(
        "core.recommenders.bpr:BPR",
        "Matrix factorisation that learns to rank a consumed item above a random one (Rendle et al. 2009).",
        "BPR",
        "A linear map of the history, learnt from the viewers and the vectors that training gave them.",
    ),
    "elsa": Entry(
        "core.recommenders.elsa:ELSA",
        "Shallow linear autoencoder with unit item vectors (Vančura et al. 2022).",
        "ELSA",
        "The sum of the vectors of the items: there is nothing to fold in.",
    ),
    "lightgcn": Entry(
        "core.recommenders.lightgcn:LightGCN",
        "BPR over vectors that are averaged along the graph of who consumed what (He et al. 2020).",
        "LightGCN",
        "A linear map of the history, learnt from the viewers and the vectors that training gave them.",
    ),
    "multvae": Entry(
        "core.recommenders.multvae:MultVAE",
        "Variational autoencoder with a softmax over the items (Liang et al. 2018).",
        "MultVAE",
        "The mean of the encoder for this history: there is nothing to fold in.",
        live=False,
    ),
    "sasrec": Entry(
        "core.recommenders.sasrec:SASRec",
        "Self-attention over the latest items in their order, trained to foresee the next one (Kang and McAuley 2018).",
        "SASRec",
        "One pass through the network, in order of time: there is nothing to fold in.",
        ordered=True,
    ),
}
"""The recommenders that can be trained here."""

BROUGHT: dict[str, Entry] = {
    "precomputed": Entry(
        "core.recommenders.precomputed:Precomputed",
        "The vectors of a model that was trained elsewhere: the score is their product or their cosine.",
        "Brought vectors",
        "Learnt from the known users where there are enough, else what sets a history apart from the catalogue.",
    ),
}
"""The recommenders that are trained elsewhere and brought along: `python -m core import`."""


def resolve(path: str) -> Any:
    """Import `module:name` now and give the object."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def recommender_class(name: str) -> Any:
    """Give the class of a registered recommender, trained here or brought along.

    Raises:
        ConfigError: There is no recommender of this name.
    """
    return resolve(entry(name).model)


def entry(name: str) -> Entry:
    """Give what is known of a recommender, trained here or brought along.

    Raises:
        ConfigError: There is no recommender of this name.
    """
    known = RECOMMENDERS | BROUGHT
    if name not in known:
        raise ConfigError(
            f"There is no recommender {name!r}{near(name, RECOMMENDERS)}.", f"Use one of: {', '.join(RECOMMENDERS)}."
        )
    return known[name]


def embed_users(model: Recommender, dataset: Dataset, users: np.ndarray) -> np.ndarray:
    """Give the (len(users), d_in) embeddings of viewers of a log: those the model brought for them, else the fold-in.

    Args:
        model: Fitted or brought on the users of `dataset`.
        dataset: Whose histories are folded in.
        users: Row numbers.
    """
    if model.native_users is None:
        return model.embed(dataset.histories(users))
    users = np.asarray(users, np.int64)
    embeddings = np.array(model.native_users[users])
    without = np.isnan(embeddings[:, 0])
    if without.any():
        embeddings[without] = model.embed(dataset.histories(users[without]))
    return embeddings


def require_interactions(train: Dataset) -> None:
    """Raise `TrainingError` when there is nothing to learn from."""
    if not train.n_interactions:
        raise TrainingError(
            f"The dataset {train.name!r} has no interactions to learn from.",
            "Check its file and the filters of the build.",
        )


def rank(scores: np.ndarray, n: int, seen: Histories | None = None) -> np.ndarray:
    """Give the `n` best items of each row, best first; equal scores in the order of the item index.

    Args:
        scores: (n_rows, n_items); NaN is a mistake of the caller. Not changed.
        n: List length.
        seen: Items of each row that must not be in the list.

    Returns:
        (n_rows, n) int32 item indices; -1 fills a list that ran out of items.
    """
    scores = np.array(scores, dtype=np.float32, ndmin=2)
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN")
    n_rows, n_items = scores.shape
    if seen is not None:
        mask = to_matrix(seen, n_items)
        scores[np.repeat(np.arange(n_rows), np.diff(mask.indptr)), mask.indices] = -np.inf
    width = min(n, n_items)
    # The n-th best value is the border; a stable sort of all that reach it makes ties deterministic.
    out = np.full((n_rows, n), -1, dtype=np.int32)
    for row in range(n_rows):
        line = scores[row]
        border = np.partition(line, n_items - width)[n_items - width]
        above = np.flatnonzero(line >= border)
        best = above[np.argsort(-line[above], kind="stable")][:width]
        best = best[line[best] > -np.inf]
        out[row, : best.size] = best
    return out
