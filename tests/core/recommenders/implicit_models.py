"""Models that `implicit` trained on a small log of three tastes."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.cpu.lmf import LogisticMatrixFactorization
from threadpoolctl import threadpool_limits

from core.data.dataset import Dataset
from tests.core.recommenders.blocks import dataset_of

KINDS = {
    "als": AlternatingLeastSquares,
    "bpr": BayesianPersonalizedRanking,
    "logistic": LogisticMatrixFactorization,
}
N_USERS, N_ITEMS = 80, 50
COLD_USER, COLD_ITEM = 7, 11


@cache
def taste_log() -> Dataset:
    """Give a log in which viewer 7 has no history and nobody has item 11."""
    random = np.random.default_rng(0)
    histories: list[list[int]] = []
    for user in range(N_USERS):
        likes = np.where(np.arange(N_ITEMS) % 3 == user % 3, 6.0, 1.0)
        likes[COLD_ITEM] = 0
        drawn = random.choice(N_ITEMS, random.integers(2, 16), replace=False, p=likes / likes.sum())
        histories.append([] if user == COLD_USER else drawn.tolist())
    return dataset_of(histories, N_ITEMS)


def train_implicit(kind: str, log: Dataset, **settings: Any) -> Any:
    """Give a model of `implicit` trained on a log."""
    with threadpool_limits(1, "blas"):
        model = KINDS[kind](**{"num_threads": 1, "random_state": 3, "factors": 6, **settings})
        model.fit(log.matrix(), show_progress=False)
        return model


def save_implicit(path: Path, kind: str, **settings: Any) -> Path:
    """Train on the log of three tastes and save as `implicit` does."""
    train_implicit(kind, taste_log(), **settings).save(path)
    return path


def recommended(model: Any, log: Dataset, users: np.ndarray, n: int, **how: Any) -> np.ndarray:
    """Give `implicit`'s own lists without what a viewer has seen."""
    with threadpool_limits(1, "blas"):
        found: np.ndarray = model.recommend(users, log.matrix()[users], N=n, filter_already_liked_items=True, **how)[0]
    return found
