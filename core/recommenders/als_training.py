"""The training of ALS by `implicit`: conjugate gradients in compiled code (Takács, Pilászy, Tikk, RecSys 2011).

Unless λ is given it is set where the noise of the log ends. The penalty is `2 λ` times the nuclear norm of the
predictions (Srebro, Rennie, Jaakkola 2005): it takes λ off every singular value of the log, weighted by `confidence`,
and drops those below. The largest singular value of a log without any structure is about √n̄_u + √n̄_i, of the mean
numbers of items of a viewer and of viewers of an item (the edge of Marchenko and Pastur 1967). So

    λ = 0.45 confidence (√n̄_u + √n̄_i)

whatever the size of the log. Of 0.25 to 0.55 this was within 3 % of the best nDCG@10 on MovieLens-100K, -latest-small,
-1M and Last.fm 2K (a fifth of each viewer's items held out), where the best λ itself goes from 15 to 60.
"""

from typing import NamedTuple

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from scipy import sparse
from threadpoolctl import threadpool_limits

from core.errors import TrainingError
from core.progress import Progress
from core.recommenders.als import ALSConfig
from core.seeding import derive_seed

NOISE_SHARE = 0.45
"""λ in multiples of the largest singular value that the noise of the log has."""


class Trained(NamedTuple):
    """What a training leaves."""

    users: np.ndarray
    """(n_users, embedding_size) float32; 0 for a viewer without a history."""
    items: np.ndarray
    """(n_items, embedding_size) float32; 0 for an item that nobody consumed."""
    regularisation: float
    """λ that was used."""


def noise_level(x: sparse.csr_matrix) -> float:
    """Give √n̄_u + √n̄_i of a binary log with at least one interaction, over the rows and columns that have some."""
    n_users, n_items = (np.count_nonzero(np.asarray(x.sum(axis=axis))) for axis in (1, 0))
    return float(np.sqrt(x.nnz / n_users) + np.sqrt(x.nnz / n_items))


def train_als(x: sparse.csr_matrix, config: ALSConfig, *, seed: int, progress: Progress) -> Trained:
    """Give the vectors of viewers and items.

    One thread, the same arrays for the same seed: `implicit` adds in a fixed order then, and so does its BLAS.

    Args:
        x: (n_users, n_items) binary interactions, at least one.
        config: How to train.
        seed: Of the run.
        progress: Called after each epoch; an exception from it ends the training.

    Raises:
        TrainingError: The vectors are not finite any more.
    """
    regularisation = config.regularisation
    if regularisation is None:
        regularisation = NOISE_SHARE * config.confidence * noise_level(x)

    def diverged(epoch: int) -> TrainingError:
        return TrainingError(
            f"The vectors of ALS are not finite after epoch {epoch} of {config.epochs}.",
            f"Set recommender.confidence below {config.confidence:g}.",
        )

    def after_epoch(epoch: int, _seconds: float, loss: float) -> None:
        if not np.isfinite(loss):
            raise diverged(epoch + 1)
        progress("recommender", epoch + 1, config.epochs, {"loss": float(loss)})

    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=config.embedding_size,
            regularization=regularisation,
            alpha=config.confidence,
            iterations=config.epochs,
            calculate_training_loss=True,
            num_threads=1,
            random_state=derive_seed(seed, "als"),
        )
        try:
            model.fit(x, show_progress=False, callback=after_epoch)
        except ModelFitError:
            raise diverged(config.epochs) from None
    return Trained(model.user_factors, model.item_factors, float(regularisation))
