"""What sets the viewers of one title apart from the others: in concepts, with the title itself taken out of account."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from core.neurons.contrast import Contrast, contrast
from core.runs import Run
from core.seeding import generator

MOST_VIEWERS = 500
"""Viewers of a title that are embedded anew, drawn by the run's seed."""
LEAST_VIEWERS = 2
"""A spread needs as many."""


class Audience(NamedTuple):
    """The viewers of a title against all who do not have it."""

    contrast: Contrast | None
    """Group A: its viewers. None where there are too few of either."""
    n_viewers: int
    """Who have it in the history."""
    n_compared: int
    """Of them, those that were compared: drawn where there are many, and with another title in the history."""
    without_title: bool
    """Whether they were embedded without the title. Vectors that were brought with a model cannot be."""


def audience_of(run: Run, item: int, acts: sparse.csc_matrix) -> Audience:
    """Compare the viewers of a title with the others, concept by concept.

    The title itself makes its concepts fire in whoever watched it. So its viewers are embedded as if they had not: what
    is left is what they share besides.

    Args:
        run: A finished run.
        item: The title.
        acts: (n_users, d_sae) activations of all viewers, by columns.
    """
    dataset = run.dataset
    users = np.unique(dataset.user_index[dataset.item_index == item])
    others = np.setdiff1d(np.flatnonzero(np.diff(dataset.indptr) > 0), users)
    native = run.recommender.native_users is not None
    left = users if native else users[np.diff(dataset.indptr)[users] > 1]
    if len(left) > MOST_VIEWERS and not native:
        left = np.sort(generator(run.seed, "audience", str(item)).choice(left, MOST_VIEWERS, replace=False))
    if min(len(left), len(others)) < LEAST_VIEWERS:
        return Audience(None, len(users), len(left), not native)
    by_row = sparse.csr_matrix(acts)
    if native:
        own = by_row[left]
    else:
        histories = [history[history != item] for history in dataset.histories(left)]
        own = sparse.csr_matrix(run.sae.encode(run.recommender.embed(histories)))
    stacked = sparse.vstack([own, by_row[others]], format="csc")
    mask = np.arange(stacked.shape[0]) < len(left)
    return Audience(contrast(stacked, mask, ~mask), len(users), len(left), not native)
