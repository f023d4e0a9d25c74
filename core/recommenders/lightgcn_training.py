"""The training of LightGCN: that of BPR, with vectors that are propagated before they are multiplied."""

import numpy as np
import torch
from scipy import sparse

from core.progress import Progress
from core.recommenders.bpr_training import Propagate, Towers, train_pairwise
from core.recommenders.lightgcn import LightGCNConfig


def train_lightgcn(
    x: sparse.csr_matrix, config: LightGCNConfig, *, seed: int, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Give the (n_users, d) and (n_items, d) float32 final vectors.

    Args:
        x: (n_users, n_items) binary interactions, at least one.
        config: How to train.
        seed: Of the run.
        progress: Called after each epoch; an exception from it ends the training.

    Raises:
        TrainingError: The vectors are not finite any more.
    """
    propagate = propagation(x, config.n_layers)
    U, V, b = train_pairwise(x, config, item_bias=False, propagate=propagate, seed=seed, progress=progress)
    users, items, _ = propagate(Towers(*(torch.from_numpy(array) for array in (U, V, b))))
    return users.numpy(), items.numpy()


def propagation(x: sparse.csr_matrix, n_layers: int) -> Propagate:
    """Give what makes final vectors of first ones: the mean of the layers E, L E, .. with L = D^-1/2 A D^-1/2.

    A, the graph of `x`, is symmetric, so this is its own adjoint. Who has no edge keeps a share of their first vector.
    SciPy multiplies: for a matrix as sparse as a log it is faster than torch.

    Args:
        x: (n_users, n_items) binary interactions.
        n_layers: Steps along the graph.
    """
    by_user, by_item = (sparse.diags(np.maximum(np.asarray(x.sum(axis=axis)).ravel(), 1) ** -0.5) for axis in (1, 0))
    to_users = (by_user @ x @ by_item).tocsr().astype(np.float32)
    to_items = to_users.T.tocsr()

    def propagate(towers: Towers) -> Towers:
        u, q = towers.users.numpy(), towers.items.numpy()
        users, items = u.copy(), q.copy()
        for _ in range(n_layers):
            u, q = to_users @ q, to_items @ u
            users += u
            items += q
        n = np.float32(n_layers + 1)
        return Towers(torch.from_numpy(users / n), torch.from_numpy(items / n), towers.biases)

    return propagate
