"""BPR-MF: matrix factorisation that learns to rank, by pairs of a consumed and a random item (Rendle et al., UAI 2009).

    s_ui = u · q_i + b_i        loss = sum_{u, i consumed, j not} softplus(s_uj - s_ui) + λ / 2 (|U|² + |Q|² + |b|²)

The paper leaves open how a viewer whom training never saw gets a vector. Here the vector of every viewer, known or
invented, is a linear map of their history that foretells the trained vectors (`core.recommenders.fold_in`). What a
trained vector knows beyond it is mostly noise: on MovieLens-1M the lists of known viewers are better with the map.
"""

from dataclasses import dataclass
from typing import ClassVar

from core.data.dataset import Dataset
from core.progress import Progress, no_progress
from core.recommenders.base import require_interactions, resolve
from core.recommenders.towers import Towers, check_pairwise


@dataclass(frozen=True)
class BPRConfig:
    """How BPR is trained.

    Attributes:
        embedding_size: Width of a vector.
        item_bias: Whether an item has a bias; without it the vectors have to carry popularity.
        n_negatives: Random items that each consumed one is compared with in a step.
        regularisation: λ, without unit; the same for every vector.
        epochs: Passes over the viewers.
        min_steps: On a small log there are more passes, until this many steps are made.
        batch_size: Viewers in a step, each with the whole history.
        learning_rate: Of Adam, at the start; it falls to zero along a half cosine.
    """

    embedding_size: int = 64
    item_bias: bool = True
    n_negatives: int = 4
    regularisation: float = 0.1
    epochs: int = 60
    min_steps: int = 150
    batch_size: int = 1024
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        check_pairwise(self)


class BPR(Towers):
    """A fitted BPR-MF."""

    name: ClassVar[str] = "bpr"
    Config: ClassVar[type] = BPRConfig

    @classmethod
    def fit(cls, train: Dataset, config: BPRConfig, *, seed: int, progress: Progress = no_progress) -> "BPR":
        """Learn user vectors, item vectors and biases from `train`, then the map from histories to user vectors.

        Raises:
            TrainingError: `train` has no interactions, or the training diverged.
        """
        require_interactions(train)
        train_pairwise = resolve("core.recommenders.bpr_training:train_pairwise")
        users, Q, b = train_pairwise(train.matrix(), config, item_bias=config.item_bias, seed=seed, progress=progress)
        return cls.of_trained(config, users, Q, b, train)
