"""Neural collaborative filtering: a network scores the vector of a viewer beside the vector of an item.

    score(u, i) = w · [h_L, u' * q'_i] + c,    h_1 = ReLU([u, q_i] W_0 + b_0),  h_2 = ReLU(h_1 W_1 + b_1),  ..

He et al. 2017, "Neural Collaborative Filtering", section 3.3, with the layers of 64, 32 and 16 that Arviv et al. (AAAI
2026) open. The products u' * q'_i are GMF, with which the model is NeuMF (section 3.4); by default there are none. The
score is the logit: the sigmoid after it changes no ranking.

A viewer of any history h, known or invented, has the vector that minimises

    sum_{i in h} softplus(-s_i) + n_negatives |h| sum_i p_i softplus(s_i)
        + λ / 2 sqrt((1 + n_negatives) |h|) (|(u - centre) / spread|² + b²),    s_i = score(u, i) + b

the loss and the prior of `core.recommenders.mf`, through the network: the prior is where the viewers of the training
lie, and b, how much a viewer consumes, changes no ranking and is no part of the score. The sampled items of the
paper's loss are an expectation here too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from scipy import sparse
from scipy.special import expit
from threadpoolctl import threadpool_limits

from core.configs import check
from core.data.dataset import Dataset, Histories, to_matrix
from core.progress import Progress, no_progress
from core.recommenders.base import NonLinearRecommender, require_interactions, resolve
from core.recommenders.mf import check_loss
from core.recommenders.mf_training import prior_strength
from core.recommenders.ncf_network import Network, fold_in

SAMPLE = 512
"""Items that stand for all in the first steps of a fold-in."""
STEPS = 5
"""Newton steps of a fold-in on the sample, before the last one on all items."""


@dataclass(frozen=True)
class NCFConfig:
    """How NCF is trained and viewers are folded in.

    Attributes:
        embedding_size: Width of the vectors that go through the hidden layers (Arviv et al. 2026: 20).
        hidden: Widths of the hidden layers.
        gmf_size: Width of the vectors that are multiplied, beside them; 0 is NCF, more is NeuMF.
        negatives: Which items a viewer is told apart from: `uniform`, every item alike, or `popularity`, in proportion
            to an item's viewers (see `core.recommenders.mf.MFConfig`).
        n_negatives: Expected negatives per positive; by default 5 for `uniform` and 1 for `popularity`.
        regularisation: λ of a fold-in, without unit.
        teacher_size: Width of the matrix factorisation whose scores the network learns; at least that of a vector.
        epochs: Passes over as many pairs of a viewer and an item as the log has interactions.
        min_steps: On a small log there are more passes, until this many steps are made.
        learning_rate: Of Adam for the network, at its highest; for the vectors it is twice as high.
    """

    embedding_size: int = 20
    hidden: tuple[int, ...] = (64, 32, 16)
    gmf_size: int = 0
    negatives: Literal["uniform", "popularity"] = "uniform"
    n_negatives: float | None = None
    regularisation: float = 0.03
    teacher_size: int = 40
    epochs: int = 48
    min_steps: int = 450
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        check_loss(self)
        for name in ("embedding_size", "teacher_size", "epochs", "min_steps"):
            value = getattr(self, name)
            check(
                value >= 1,
                f"recommender.{name} is {value}, expected at least 1.",
                f"Set recommender.{name} to 1 or more.",
            )
        check(
            len(self.hidden) > 0 and min(self.hidden) >= 1,
            f"recommender.hidden is {self.hidden}, expected widths of at least 1.",
            "Set recommender.hidden to 64,32,16.",
        )
        check(
            self.gmf_size >= 0,
            f"recommender.gmf_size is {self.gmf_size}, expected 0 or more.",
            "Set recommender.gmf_size to 0.",
        )
        check(
            self.learning_rate > 0,
            f"recommender.learning_rate is {self.learning_rate:g}, expected more than 0.",
            "Set recommender.learning_rate to about 0.01.",
        )


class NCF(NonLinearRecommender):
    """A fitted NCF or NeuMF; the sizes follow from the arrays, L hidden layers, d and g as below.

    Args:
        config: How it was trained; the fold-in takes `n_negatives` and `regularisation` from it.
        arrays: By name, the first line of each size needed, the others with a default.
            `items` (n_items, d + g): d numbers of an item's vector for the hidden layers, then g for the products.
            `W_0` (2 d, h_1): rows of the viewer, then of the item. `W_1` (h_1, h_2) .. `W_{L-1}`; `b_0` (h_1,) ..
            `w_out` (h_L + g,): for the last hidden layer, then for the products.
            `b_out` (1,): 0. `centre`, `spread` (d + g,): mean and standard deviation of the viewers' vectors; 0 and 1.
            `column_weight` (n_items,): expected negatives of each item per positive; n_negatives / n_items.
            `starts` (any number, d + g): where a fold-in may begin; the centre.
            `users` (n_users, d + g): vectors of known viewers of a model that was trained elsewhere; none.

    Raises:
        ValueError: The shapes do not fit each other.
    """

    name: ClassVar[str] = "ncf"
    scores_pairs = True
    Config: ClassVar[type] = NCFConfig

    def __init__(self, config: NCFConfig, arrays: Mapping[str, np.ndarray]) -> None:
        self.config = config
        self._arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        self.n_items, self.d_in = self._arrays["items"].shape
        defaults = {
            "b_out": np.zeros(1),
            "centre": np.zeros(self.d_in),
            "spread": np.ones(self.d_in),
            "column_weight": np.full(self.n_items, (config.n_negatives or 0.0) / self.n_items),
        }
        defaults["starts"] = self._arrays.get("centre", defaults["centre"])[None]
        for name, array in defaults.items():
            self._arrays.setdefault(name, array.astype(np.float32))
        self.network = Network.of(self._arrays)
        self.native_users = self._arrays.get("users")

    @classmethod
    def fit(cls, train: Dataset, config: NCFConfig, *, seed: int, progress: Progress = no_progress) -> "NCF":
        """Learn item vectors and network from `train`; see `core.recommenders.ncf_training`.

        Raises:
            TrainingError: `train` has no interactions, or the loss diverged.
        """
        require_interactions(train)
        train_ncf = resolve("core.recommenders.ncf_training:train_ncf")
        arrays, users = train_ncf(train, config, seed=seed, progress=progress)
        model = cls(config, arrays)
        model.trained_users = users
        return model

    def embed(self, histories: Histories) -> np.ndarray:
        """Give (len(histories), d_in) float32: the vectors that fit each history best, given network and items.

        By Newton's method from the best of the starts, first on a sample of the items, then one step on all:
        deterministic, and the same for a viewer alone as among others.
        """
        x = to_matrix(histories, self.n_items)
        lists = np.split(x.indices, x.indptr[1:-1])[: x.shape[0]]
        centre, spread = (np.append(self._arrays[name], last) for name, last in (("centre", 0.0), ("spread", 1.0)))
        n_examples = (1 + (self.config.n_negatives or 0.0)) * np.diff(x.indptr)
        precision = prior_strength(self.config.regularisation, n_examples)[:, None] / spread.astype(np.float64) ** 2
        v = np.column_stack([self._starts(x, precision), np.zeros(len(lists))])
        with threadpool_limits(1, "blas"):  # the products of one viewer are too small to share
            for (columns, weights), n_steps in zip(self._columns, (STEPS, 1), strict=True):
                v = fold_in(self.network, lists, columns, weights, precision, centre, v, n_steps)
        return v[:, :-1].astype(np.float32)

    def _starts(self, x: sparse.csr_matrix, precision: np.ndarray) -> np.ndarray:
        """Give the start of the least loss for each history: the loss has other minima than the best one."""
        starts, of_positive, of_negatives = self._losses
        loss = x @ of_positive + np.diff(x.indptr)[:, None] * of_negatives
        loss += precision[:, :-1] @ ((starts - self._arrays["centre"]) ** 2).T / 2
        return np.asarray(starts[loss.argmin(axis=1)])

    @cached_property
    def _losses(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The starts, what an item adds to the loss of each where it is consumed, and all the negatives together."""
        starts = self._arrays["starts"]
        scores = self.network.score(starts).T.astype(np.float64)
        return starts, np.logaddexp(0, -scores), self._arrays["column_weight"] @ np.logaddexp(0, scores)

    @cached_property
    def _columns(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The items that stand for the negatives and their weights: a sample, then all.

        An item is in the sample in proportion to its weight and the root of its chance at the centre: about in
        proportion to how far its share in the gradient spreads. One draw serves everybody, by equal distances along the
        items in the order of that chance.
        """
        weight = self._arrays["column_weight"].astype(np.float64)
        everything = np.flatnonzero(weight)
        mass = weight * np.sqrt(expit(self.network.score(self._arrays["centre"][None])[0].astype(np.float64)))
        chance = _inclusion(mass[everything], SAMPLE)
        order = np.argsort(-chance, kind="stable")
        drawn = order[np.diff(np.floor(np.cumsum(chance[order]) + 0.5), prepend=0.0) > 0]
        return [(everything[drawn], weight[everything[drawn]] / chance[drawn]), (everything, weight[everything])]

    def embed_items(self) -> np.ndarray:
        """Give the (n_items, d_in) item vectors."""
        return self.network.items

    def probe_items(self) -> np.ndarray:
        """Give the (n_items, d_in) item vectors: in a two-tower model an item has a vector of its own.

        They start as the other half of one balanced factorisation, so they lie in the space of the viewers, as wide.
        """
        return self.network.items

    def score(self, embeddings: np.ndarray) -> np.ndarray:
        """Give (n, n_items) float32 logits of (n, d_in) embeddings."""
        return self.network.score(embeddings)

    def torch_scorer(self) -> Callable[[Any], Any]:
        """Give the differentiable twin of `score`."""
        scorer: Callable[[Any], Any] = resolve("core.recommenders.ncf_training:torch_scorer")(self.network)
        return scorer

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give network, item vectors and what the fold-in needs for saving."""
        return dict(self._arrays)

    @classmethod
    def from_arrays(cls, config: NCFConfig, arrays: Mapping[str, np.ndarray]) -> "NCF":
        """Restore what `to_arrays` gave."""
        return cls(config, arrays)


def _inclusion(mass: np.ndarray, n: int) -> np.ndarray:
    """Give chances in proportion to `mass`, above 0 and none above 1, that sum to `n`; all 1 where there are no more.

    >>> _inclusion(np.array([5.0, 1.0, 1.0, 2.0]), 2)
    array([1.  , 0.25, 0.25, 0.5 ])
    """
    sure = np.full(len(mass), len(mass) <= n)
    while not sure.all():
        chance = np.where(sure, 1.0, (n - sure.sum()) * mass / mass[~sure].sum())
        if chance.max() <= 1:
            return chance
        sure |= chance >= 1
    return np.ones(len(mass))
