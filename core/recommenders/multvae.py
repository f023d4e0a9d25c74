"""MultVAE: a variational autoencoder with a multinomial likelihood (Liang et al., WWW 2018).

    mean(x)  = tanh(x W_in / |x| + b_in) W_mean + b_mean          the embedding of a viewer
    score(z) = tanh(z W_hidden + b_hidden) Vᵀ + b                  logits of a softmax over the items

The variance of the encoder and the dropout of its input belong to training; at inference every viewer is the mean, the
same for known and for invented ones. With `decoder=linear` the hidden layer of the decoder is left out, `score(z) =
z Vᵀ + b`: its scores are then linear and can be steered in the browser.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from core.configs import check
from core.data.dataset import Dataset, Histories, to_matrix
from core.progress import Progress, no_progress
from core.recommenders.base import LinearScorer, require_interactions, resolve


@dataclass(frozen=True)
class MultVAEConfig:
    """How MultVAE is trained.

    Attributes:
        embedding_size: Width of the latent, and so of a viewer's vector.
        hidden_size: Width of the hidden layer of the encoder, and of the decoder where it has one.
        decoder: `hidden`, as in the paper, or `linear`, without a hidden layer.
        dropout: Share of a history that training hides in each step.
        kl_weight: β, what the KL divergence to the normal prior counts beside the likelihood, without unit; reached
            along a straight line in the first half of the steps. (The paper ends at 0.2, for logs of 10⁵ viewers.)
        epochs: Passes over the viewers.
        min_steps: On a small log there are more passes, until this many steps are made.
        batch_size: Viewers in a step.
        learning_rate: Of Adam, at the start; it falls to zero along a half cosine.
    """

    embedding_size: int = 200
    hidden_size: int = 600
    decoder: Literal["hidden", "linear"] = "hidden"
    dropout: float = 0.5
    kl_weight: float = 0.5
    epochs: int = 40
    min_steps: int = 160
    batch_size: int = 500
    learning_rate: float = 0.003

    def __post_init__(self) -> None:
        for name in ("embedding_size", "hidden_size", "epochs", "min_steps", "batch_size"):
            value = getattr(self, name)
            check(
                value >= 1,
                f"recommender.{name} is {value}, expected at least 1.",
                f"Set recommender.{name} to 1 or more.",
            )
        check(
            self.decoder in ("hidden", "linear"),
            f"recommender.decoder is {self.decoder!r}, expected hidden or linear.",
            "Set recommender.decoder to hidden or linear.",
        )
        check(
            0 <= self.dropout < 1,
            f"recommender.dropout is {self.dropout}, expected 0 or more and below 1.",
            "Set recommender.dropout to about 0.5.",
        )
        check(
            self.kl_weight >= 0,
            f"recommender.kl_weight is {self.kl_weight}, expected 0 or more.",
            "Set recommender.kl_weight to about 0.5.",
        )
        check(
            self.learning_rate > 0,
            f"recommender.learning_rate is {self.learning_rate}, expected more than 0.",
            "Set recommender.learning_rate to about 0.003.",
        )


class Weights(NamedTuple):
    """What was learnt, all float32."""

    W_in: np.ndarray
    """(n_items, hidden_size)."""
    b_in: np.ndarray
    W_mean: np.ndarray
    """(hidden_size, embedding_size)."""
    b_mean: np.ndarray
    W_hidden: np.ndarray
    """(embedding_size, hidden_size); (0, 0) with a linear decoder."""
    b_hidden: np.ndarray
    V: np.ndarray
    """(n_items, hidden_size); (n_items, embedding_size) with a linear decoder."""
    b: np.ndarray


class MultVAE:
    """A fitted MultVAE.

    Args:
        config: How it was trained.
        weights: Of the encoder and the decoder.
    """

    name: ClassVar[str] = "multvae"
    Config: ClassVar[type] = MultVAEConfig
    native_users: np.ndarray | None = None
    trained_users: np.ndarray | None = None
    scores_pairs = False

    def __init__(self, config: MultVAEConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights
        self.n_items, self.d_in = len(weights.V), weights.W_mean.shape[1]

    @classmethod
    def fit(cls, train: Dataset, config: MultVAEConfig, *, seed: int, progress: Progress = no_progress) -> "MultVAE":
        """Learn encoder and decoder from `train`.

        Raises:
            TrainingError: `train` has no interactions, or the loss diverged.
        """
        require_interactions(train)
        train_multvae = resolve("core.recommenders.multvae_training:train_multvae")
        return cls(config, train_multvae(train.matrix(), config, seed=seed, progress=progress))

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), d_in) float32: the mean of the latent, given each history."""
        x = to_matrix(histories, self.n_items)
        lengths = np.maximum(np.diff(x.indptr), 1)
        return self._encode((x @ self.weights.W_in) / np.sqrt(lengths, dtype=np.float32)[:, None])

    def probe_items(self) -> np.ndarray:
        """Give the (n_items, d_in) embeddings of the viewers whose whole history is one item."""
        return self._encode(self.weights.W_in)

    def embed_items(self) -> np.ndarray:
        """Give (n_items, d_in): the direction that raises the score of each item fastest, at the centre of the prior.

        The gradient `(V * (1 - tanh(b_hidden)²)) W_hiddenᵀ` of the logit at z = 0; V itself with a linear decoder. An
        autoencoder has no item vectors of its own. On MovieLens-1M these are nearer to the items of their genres than
        the probes are: the 10 nearest share .63 of their genres (Jaccard), of the probes .51, of any two films .16.
        """
        w = self.weights
        if not w.W_hidden.size:
            return w.V
        return np.asarray((w.V * (1 - np.tanh(w.b_hidden) ** 2)) @ w.W_hidden.T)

    def _encode(self, bags: np.ndarray) -> np.ndarray:
        w = self.weights
        hidden = np.tanh(bags + w.b_in, dtype=np.float64)  # in single precision a row's last bit hangs on its place
        return np.asarray(hidden @ w.W_mean.astype(np.float64) + w.b_mean, dtype=np.float32)

    def score(self, embeddings: np.ndarray) -> np.ndarray:
        """Give (n, n_items) float32 logits of (n, d_in) embeddings."""
        w, h = self.weights, np.asarray(embeddings, np.float32)
        if w.W_hidden.size:
            h = np.tanh(h @ w.W_hidden + w.b_hidden)
        scores = h @ w.V.T
        scores += w.b
        return np.asarray(scores)

    @property
    def linear(self) -> LinearScorer | None:
        """The decoder where it is linear."""
        return None if self.weights.W_hidden.size else LinearScorer(self.weights.V, self.weights.b)

    def torch_scorer(self) -> Callable[[Any], Any]:
        """Give the differentiable twin of `score`."""
        scorer: Callable[[Any], Any] = resolve("core.recommenders.multvae_training:torch_scorer")(self.weights)
        return scorer

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the weights for saving."""
        return self.weights._asdict()

    @classmethod
    def from_arrays(cls, config: MultVAEConfig, arrays: Mapping[str, np.ndarray]) -> "MultVAE":
        """Restore what `to_arrays` gave."""
        return cls(config, Weights(**{name: np.asarray(arrays[name], np.float32) for name in Weights._fields}))
