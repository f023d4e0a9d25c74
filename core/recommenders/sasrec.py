"""SASRec: self-attention over the last items of a viewer (Kang and McAuley, ICDM 2018), as RecBole builds it.

    x_t = LayerNorm(item[h_t] + position[t]),  then in each layer
    y   = LayerNorm(x + dense(softmax(Q Kᵀ / sqrt(d / heads)) V)),    x = LayerNorm(y + dense_2(gelu(dense_1(y))))
    score = x at the last item @ itemᵀ

Place 0 is the oldest item of the window. A place sees itself and what was before it, so nothing has to be padded here.

The arrays have the names and shapes of RecBole's `state_dict` (a weight is (out, in): y = x Wᵀ + b):

    item_embedding.weight      (n_items, d)     WITHOUT RecBole's padding row 0: item i here is its internal id i + 1
    position_embedding.weight  (max_length, d)
    LayerNorm.weight, .bias    (d,)
    trm_encoder.layer.{l}.multi_head_attention.{query,key,value,dense}.weight (d, d), .bias (d,)
    trm_encoder.layer.{l}.multi_head_attention.LayerNorm.weight, .bias        (d,)
    trm_encoder.layer.{l}.feed_forward.dense_1.weight (inner, d), .bias (inner,)
    trm_encoder.layer.{l}.feed_forward.dense_2.weight (d, inner), .bias (d,)
    trm_encoder.layer.{l}.feed_forward.LayerNorm.weight, .bias                (d,)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.special import erf

from core.configs import check
from core.data.dataset import Dataset, Histories, to_matrix
from core.errors import TrainingError
from core.progress import Progress, no_progress
from core.recommenders.base import LinearRecommender, LinearScorer, require_interactions, resolve

LAYER_NORM_EPSILON = 1e-12
PLACES = 4096
"""Places that are computed at a time: bounds the memory at about 20 MB."""


@dataclass(frozen=True)
class SASRecConfig:
    """How SASRec is built and trained.

    Attributes:
        embedding_size: Width of a vector; a multiple of `n_heads`.
        n_layers: Attention and feed-forward, so many times.
        n_heads: Attention patterns a layer.
        inner_size: Width inside the feed-forward part.
        max_length: Items of a history that count: the latest ones.
        hidden_dropout: Share of the numbers between the parts that training sets to zero.
        attention_dropout: Share of the attention weights that training sets to zero.
        loss: `ce`, the cross-entropy of the next item (RecBole, PopSteer); `bpr`, one random item that the viewer has
            not consumed below the next one (ReChorus, RecSAE).
        candidates: Among which items `ce` looks for the next one. `unseen`, those that a list can hold, makes better
            lists. `all` (RecBole) also learns not to repeat: for lists that may (evaluation.mask_seen=no).
        epochs: Passes over the histories.
        min_steps: On a small log there are more passes, until this many steps are made.
        batch_size: Windows in a step.
        learning_rate: Of Adam, at its highest: it rises over the first tenth, then falls along a half cosine.
        order: `timestamps` refuses a log without times, `as-given` trusts the order of its file.
    """

    embedding_size: int = 64
    n_layers: int = 2
    n_heads: int = 2
    inner_size: int = 256
    max_length: int = 50
    hidden_dropout: float = 0.2
    attention_dropout: float = 0.2
    loss: Literal["ce", "bpr"] = "ce"
    candidates: Literal["unseen", "all"] = "unseen"
    epochs: int = 15
    min_steps: int = 120
    batch_size: int = 32
    learning_rate: float = 0.002
    order: Literal["timestamps", "as-given"] = "timestamps"

    def __post_init__(self) -> None:
        at_least_one = ("embedding_size", "n_layers", "n_heads", "inner_size", "max_length", "epochs", "min_steps")
        for name in (*at_least_one, "batch_size"):
            value = getattr(self, name)
            check(
                value >= 1,
                f"recommender.{name} is {value}, expected at least 1.",
                f"Set recommender.{name} to 1 or more.",
            )
        check(
            self.embedding_size % self.n_heads == 0,
            f"recommender.embedding_size is {self.embedding_size}, expected a multiple of n_heads, {self.n_heads}.",
            f"Set recommender.embedding_size to {-(-self.embedding_size // self.n_heads) * self.n_heads}.",
        )
        for name in ("hidden_dropout", "attention_dropout"):
            value = getattr(self, name)
            check(
                0 <= value < 1,
                f"recommender.{name} is {value:g}, expected 0 or more and below 1.",
                f"Set recommender.{name} to about 0.5.",
            )
        check(
            self.learning_rate > 0,
            f"recommender.learning_rate is {self.learning_rate:g}, expected more than 0.",
            "Set recommender.learning_rate to about 0.001.",
        )
        choices = {"loss": ("ce", "bpr"), "candidates": ("unseen", "all"), "order": ("timestamps", "as-given")}
        for name, allowed in choices.items():
            value = getattr(self, name)
            check(
                value in allowed,
                f"recommender.{name} is {value!r}, expected {' or '.join(allowed)}.",
                f"Set recommender.{name} to {allowed[0]}.",
            )


class SASRec(LinearRecommender):
    """A fitted SASRec.

    Args:
        config: How it was trained; `n_layers` and `n_heads` must be those of the arrays.
        arrays: float32, with the names and shapes that stand at the top of this module.
    """

    name: ClassVar[str] = "sasrec"
    Config: ClassVar[type] = SASRecConfig

    def __init__(self, config: SASRecConfig, arrays: Mapping[str, np.ndarray]) -> None:
        self.config = config
        self.arrays = dict(arrays)
        self.items, self.positions = self.arrays["item_embedding.weight"], self.arrays["position_embedding.weight"]
        self.n_items, self.d_in = self.items.shape
        n_layers = sum(name.endswith("query.weight") for name in self.arrays)
        if n_layers != config.n_layers:
            raise ValueError(f"the arrays have {n_layers} layers, the config says {config.n_layers}")

    @classmethod
    def fit(cls, train: Dataset, config: SASRecConfig, *, seed: int, progress: Progress = no_progress) -> "SASRec":
        """Learn from `train`.

        Raises:
            TrainingError: `train` has no interactions or no times, or the loss diverged.
        """
        require_interactions(train)
        if train.timestamps is None and config.order == "timestamps":
            raise TrainingError(
                f"The dataset {train.name!r} has no timestamps, so the order of a history means nothing to sasrec.",
                "Give interactions.csv a timestamp column, or set recommender.order=as-given if its rows are in order.",
            )
        train_sasrec = resolve("core.recommenders.sasrec_training:train_sasrec")
        return cls(config, train_sasrec(train.histories(), train.n_items, config, seed=seed, progress=progress))

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), d_in) float32: the state at the last item of each history.

        An item twice keeps its latest place. Only the latest `max_length` items count. An empty history gives 0.
        """
        windows = [window(h, len(self.positions)) for h in histories]
        to_matrix(windows, self.n_items)  # refuses an item that is not in the catalogue
        lengths = np.fromiter((len(w) for w in windows), np.int64, len(windows))
        out = np.zeros((len(windows), self.d_in), np.float32)
        for length in np.unique(lengths[lengths > 0]):
            alike = np.flatnonzero(lengths == length)
            for rows in np.split(alike, range(PLACES // length, len(alike), PLACES // length)):
                out[rows] = self._last_state(np.stack([windows[row] for row in rows]))
        return out

    def _last_state(self, items: np.ndarray) -> np.ndarray:
        """Give the (n, d_in) states at the last of (n, length) items: the last layer asks for nothing else."""
        n, length = items.shape
        n_heads = self.config.n_heads
        heads = (n, -1, n_heads, self.d_in // n_heads)
        later = np.triu(np.full((length, length), -np.inf, np.float32), 1)
        x = self._norm("", self.items[items] + self.positions[:length])
        for layer in range(self.config.n_layers):
            attention = f"trm_encoder.layer.{layer}.multi_head_attention."
            forward = f"trm_encoder.layer.{layer}.feed_forward."
            asking = x[:, -1:] if layer == self.config.n_layers - 1 else x
            query = self._linear(attention + "query", asking).reshape(heads).transpose(0, 2, 1, 3)
            key = self._linear(attention + "key", x).reshape(heads).transpose(0, 2, 3, 1)
            value = self._linear(attention + "value", x).reshape(heads).transpose(0, 2, 1, 3)
            weights = query @ key / np.float32(np.sqrt(heads[-1])) + later[-asking.shape[1] :]
            weights = np.exp(weights - weights.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            context = (weights @ value).transpose(0, 2, 1, 3).reshape(asking.shape)
            x = self._norm(attention, asking + self._linear(attention + "dense", context))
            x = self._norm(forward, x + self._linear(forward + "dense_2", gelu(self._linear(forward + "dense_1", x))))
        return np.asarray(x[:, -1])

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return np.asarray(x @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"])

    def _norm(self, place: str, x: np.ndarray) -> np.ndarray:
        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + LAYER_NORM_EPSILON)
        return np.asarray(x * self.arrays[f"{place}LayerNorm.weight"] + self.arrays[f"{place}LayerNorm.bias"])

    def embed_items(self) -> np.ndarray:
        """Give the (n_items, d_in) item embeddings."""
        return self.items

    def probe_items(self) -> np.ndarray:
        """Give the (n_items, d_in) states of the viewers whose whole history is one item."""
        return self.embed([np.array([item]) for item in range(self.n_items)])

    @property
    def linear(self) -> LinearScorer:
        """The item embeddings, and no bias."""
        return LinearScorer(self.items, np.zeros(self.n_items, np.float32))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give all weights for saving."""
        return dict(self.arrays)

    @classmethod
    def from_arrays(cls, config: SASRecConfig, arrays: Mapping[str, np.ndarray]) -> "SASRec":
        """Restore what `to_arrays` gave."""
        return cls(config, {name: np.asarray(array, np.float32) for name, array in arrays.items()})


def window(history: np.ndarray, max_length: int) -> np.ndarray:
    """Give the latest `max_length` distinct items, oldest first; an item twice keeps its latest place.

    >>> window(np.array([7, 5, 7, 6]), 2)
    array([7, 6])
    """
    latest_first = np.asarray(history, np.int64)[::-1]
    places = np.sort(np.unique(latest_first, return_index=True)[1])[:max_length]
    return latest_first[places][::-1]


def gelu(x: np.ndarray) -> np.ndarray:
    """Give x Φ(x), with the error function itself (Hendrycks and Gimpel 2016)."""
    return np.asarray(x * np.float32(0.5) * (1 + erf(x * np.float32(np.sqrt(0.5)))))
