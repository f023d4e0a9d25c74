"""The training of MF: viewers and items take turns, each side one Newton step on its regressions given the other."""

import numpy as np
from scipy import sparse

from core.errors import TrainingError
from core.progress import Progress
from core.recommenders.logistic import Regressions, Side
from core.seeding import generator

START = 0.1
"""Standard deviation of the item vectors at the start."""


def train_mf(
    x: sparse.csr_matrix,
    column_weight: np.ndarray,
    *,
    embedding_size: int,
    n_negatives: float,
    regularisation: float,
    epochs: int,
    seed: int,
    progress: Progress,
) -> Side:
    """Give the item vectors and biases. An item that nobody consumed gets the vector 0 and the lowest bias.

    Args:
        x: (n_users, n_items) binary interactions, at least one.
        column_weight: (n_items,) expected negatives of each item per positive; sums to `n_negatives`.
        embedding_size: Width of a vector.
        n_negatives: Expected negatives per positive.
        regularisation: λ of the loss in `core.recommenders.mf`; an item's is scaled as a viewer's, by the root of its
            positives and expected negatives.
        epochs: How often each side takes its turn.
        seed: Of the run.
        progress: Called after each epoch; an exception from it ends the training.

    Raises:
        TrainingError: The vectors are not numbers any more.
    """
    n_users, n_items = x.shape
    per_user, per_item = (np.asarray(x.sum(axis=axis), np.float64).ravel() for axis in (1, 0))
    by_item = x.T.tocsr()
    user_strength = prior_strength(regularisation, (1 + n_negatives) * per_user)
    item_strength = prior_strength(regularisation, per_item + column_weight * per_user.sum())
    start = generator(seed, "mf").normal(0, START, (n_items, embedding_size))
    users, items = Side(np.zeros((n_users, embedding_size)), np.zeros(n_users)), Side(start, np.zeros(n_items))
    for epoch in range(epochs):
        before = items.vectors
        users = Regressions(items, column_weight).solve(x, per_user, user_strength, start=users, n_steps=1)
        items = Regressions(users, per_user).solve(by_item, column_weight, item_strength, start=items, n_steps=1)
        change = float(np.linalg.norm(items.vectors - before) / np.linalg.norm(before))
        if not np.isfinite(change):
            raise TrainingError(
                f"The vectors of MF are not numbers after epoch {epoch + 1} of {epochs}.",
                f"Set recommender.regularisation above {regularisation:g}.",
            )
        progress("recommender", epoch + 1, epochs, {"change": change})
    cold = per_item == 0
    vectors, biases = items.vectors.copy(), items.biases.copy()
    vectors[cold], biases[cold] = 0, biases[~cold].min()
    return Side(vectors, biases)


def prior_strength(regularisation: float, n_examples: np.ndarray) -> np.ndarray:
    """Give each row's λ: `regularisation` times the root of its number of examples, of one example at least.

    Between the two customs, the same for every row (0th power) and in proportion to its examples (1st power).
    """
    return regularisation * np.sqrt(np.maximum(n_examples, 1))
