"""What the recommender learns from, what it is asked for, and the viewers that the SAE never sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.configs import check
from core.data.dataset import Dataset
from core.errors import DataError
from core.seeding import generator


@dataclass(frozen=True)
class SplitConfig:
    """How held-out items and unseen viewers are drawn."""

    name: Literal["leave-n-out", "per-user-ratio", "held-out-users", "temporal-leave-one-out"] = "leave-n-out"
    """leave-n-out: `n_held_out` random items of each viewer. per-user-ratio: a random `ratio` of each viewer's items.
    held-out-users: the unseen viewers are new to the recommender too; `ratio` of their items is asked for.
    temporal-leave-one-out: the last item of each viewer."""
    n_held_out: int = 5
    """Items held out of each viewer by leave-n-out."""
    ratio: float = 0.2
    """Share of a viewer's items held out by per-user-ratio and held-out-users; at least one item."""
    unseen_user_share: float = 1 / 6
    """Share of the viewers with targets whose embeddings the SAE never trains on."""
    min_history: int = 2
    """A viewer who would keep fewer items than this keeps all of them and has no targets."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check(self.n_held_out >= 1, f"split.n_held_out is {self.n_held_out}.", "Set split.n_held_out to 1 or more.")
        check(0 < self.ratio < 1, f"split.ratio is {self.ratio}.", "Set split.ratio between 0 and 1.")
        check(
            0 <= self.unseen_user_share < 1,
            f"split.unseen_user_share is {self.unseen_user_share}.",
            "Set split.unseen_user_share to 0 or more and below 1.",
        )
        check(self.min_history >= 1, f"split.min_history is {self.min_history}.", "Set split.min_history to 1 or more.")
        check(
            self.name != "held-out-users" or self.unseen_user_share > 0,
            "split.unseen_user_share is 0, and held-out-users asks only unseen viewers.",
            "Set split.unseen_user_share above 0.",
        )


@dataclass(frozen=True, eq=False)
class Split:
    """A dataset in parts; all parts have the same users and items.

    Attributes:
        train: What the recommender learns from.
        history: What is known of each viewer at evaluation; `train`, and for held-out-users also the visible part of
            the unseen viewers.
        targets: The held-out item indices of each user, oldest first; may be empty.
        unseen_users: Sorted indices of the viewers that the SAE never trains on.
        held_out: (n_interactions of the whole log,) bool: the interactions that are targets.
        learnt: The same shape: the interactions of `train`.
    """

    train: Dataset
    history: Dataset
    targets: list[np.ndarray]
    unseen_users: np.ndarray
    held_out: np.ndarray
    learnt: np.ndarray

    @classmethod
    def from_masks(
        cls, dataset: Dataset, held_out: np.ndarray, learnt: np.ndarray, unseen_users: np.ndarray
    ) -> "Split":
        """Cut a whole log where two masks of its interactions say."""
        history = dataset.with_interactions(~held_out)
        n_targets = np.bincount(dataset.user_index[held_out], minlength=dataset.n_users)
        targets, ends = dataset.item_index[held_out], np.cumsum(n_targets)
        return cls(
            train=history if np.array_equal(learnt, ~held_out) else dataset.with_interactions(learnt),
            history=history,
            targets=[targets[end - n : end] for n, end in zip(n_targets, ends, strict=True)],
            unseen_users=unseen_users,
            held_out=held_out,
            learnt=learnt,
        )

    def to_saved(self) -> dict[str, np.ndarray]:
        """Give the arrays to save; `from_saved` needs the whole log beside them."""
        return {"held_out": self.held_out, "learnt": self.learnt, "unseen_users": self.unseen_users}

    @classmethod
    def from_saved(cls, dataset: Dataset, arrays: Mapping[str, np.ndarray]) -> "Split":
        """Restore what `to_saved` gave."""
        return cls.from_masks(dataset, arrays["held_out"], arrays["learnt"], arrays["unseen_users"])

    @property
    def seen_users(self) -> np.ndarray:
        """Sorted indices of the viewers the SAE may train on: all others who have something in `train`.

        Of a log without any interaction (a model that was brought without one): all others.
        """
        users = (
            np.flatnonzero(np.diff(self.train.indptr) > 0)
            if self.train.n_interactions
            else np.arange(self.train.n_users)
        )
        return np.setdiff1d(users, self.unseen_users, assume_unique=True)


def split(dataset: Dataset, config: SplitConfig = SplitConfig(), *, seed: int) -> Split:
    """Split a dataset; the same dataset, config and seed give the same split.

    Raises:
        DataError: No viewer has enough items to hold one out, nobody is left to learn from, or the split needs times
            that the log has not.
    """
    if config.name == "temporal-leave-one-out" and dataset.timestamps is None:
        raise DataError(
            f"temporal-leave-one-out needs timestamps, and {dataset.name} has none.",
            "Use split.name=leave-n-out, or give interactions.csv a timestamp column.",
        )
    lengths = np.diff(dataset.indptr)
    if not dataset.n_interactions:  # a model that was brought without a log: nothing to ask for, all users are known
        nothing = np.zeros(0, bool)
        unseen = _draw_unseen(lengths, np.arange(dataset.n_users), config.unseen_user_share, seed)
        return Split.from_masks(dataset, nothing, nothing, unseen)
    n_targets = _n_targets(lengths, config)
    if not n_targets.any():
        longest = int(lengths.max()) if lengths.size else 0
        raise DataError(
            f"No viewer of {dataset.name} has enough items for {config.name}: the longest history has {longest}.",
            "Lower split.n_held_out or split.min_history, or give a longer log.",
        )
    unseen = _draw_unseen(lengths, np.flatnonzero(n_targets), config.unseen_user_share, seed)
    train_users = np.ones(dataset.n_users, dtype=bool)
    if config.name == "held-out-users":
        train_users[unseen] = False
        n_targets[train_users] = 0
    held_out = _draw_targets(dataset, n_targets, config.name, seed)
    learnt = ~held_out & train_users[dataset.user_index]
    if not learnt.any():
        raise DataError(
            f"Every viewer of {dataset.name} is unseen: nobody is left to learn from.",
            f"Lower split.unseen_user_share; it is {config.unseen_user_share:g}.",
        )
    return Split.from_masks(dataset, held_out, learnt, unseen)


def _n_targets(lengths: np.ndarray, config: SplitConfig) -> np.ndarray:
    """Give how many items of each user are held out: (n_users,) int64."""
    if config.name == "leave-n-out":
        wanted = np.full(len(lengths), config.n_held_out)
    elif config.name == "temporal-leave-one-out":
        wanted = np.ones(len(lengths), dtype=np.int64)
    else:
        wanted = np.maximum(1, np.rint(config.ratio * lengths)).astype(np.int64)
    return np.where(lengths - wanted >= config.min_history, wanted, 0)


def _draw_targets(dataset: Dataset, n_targets: np.ndarray, name: str, seed: int) -> np.ndarray:
    """Give the boolean mask of the interactions that are held out."""
    n = dataset.n_interactions
    position = np.arange(n)
    if name == "temporal-leave-one-out":
        place_from_end = dataset.indptr[dataset.user_index + 1] - 1 - position
        return place_from_end < n_targets[dataset.user_index]
    # A random order within each user: sorting user + a number in [0, 1) keeps users together.
    keys = dataset.user_index + generator(seed, "split", "targets").random(n)
    order = np.argsort(keys, kind="stable")
    held_out = np.empty(n, dtype=bool)
    held_out[order] = position - dataset.indptr[dataset.user_index] < n_targets[dataset.user_index]
    return held_out


def _draw_unseen(lengths: np.ndarray, eligible: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw viewers stratified by history length: sorted by it, cut into equal strata, one of each stratum."""
    n_unseen = round(share * len(eligible))
    if share > 0 and len(eligible) > 1:
        n_unseen = max(1, n_unseen)
    rng = generator(seed, "split", "unseen")
    shuffled = rng.permutation(eligible)  # users of equal length in random order
    by_length = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    borders = np.linspace(0, len(eligible), n_unseen + 1)
    low, high = np.ceil(borders[:-1]).astype(np.int64), np.ceil(borders[1:]).astype(np.int64)
    return np.sort(by_length[low + (rng.random(n_unseen) * (high - low)).astype(np.int64)])
