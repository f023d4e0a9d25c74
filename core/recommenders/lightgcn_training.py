"""The training of LightGCN: that of BPR, with vectors that are propagated before they are multiplied."""

import numpy as np
import torch
from scipy import sparse

from core.progress import Progress
from core.recommenders.bpr_training import Towers, train_pairwise
from core.recommenders.lightgcn import LightGCNConfig, normalised


def train_lightgcn(
    x: sparse.csr_matrix, config: LightGCNConfig, *, seed: int, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Give the (n_users, d) and (n_items, d) float32 first vectors.

    Args:
        x: (n_users, n_items) binary interactions, at least one.
        config: How to train.
        seed: Of the run.
        progress: Called after each epoch; an exception from it ends the training.

    Raises:
        TrainingError: The vectors are not finite any more.
    """
    by_user, by_item = normalised(x)

    def propagate(towers: Towers) -> Towers:
        """Give the mean of the layers. The matrix of a step is symmetric, so this is its own adjoint.

        SciPy multiplies: for a matrix as sparse as a log it is faster than torch.
        """
        u, q = towers.users.numpy(), towers.items.numpy()
        users, items = u.copy(), q.copy()
        for _ in range(config.n_layers):
            u, q = by_user @ q, by_item @ u
            users += u
            items += q
        n = np.float32(config.n_layers + 1)
        return Towers(torch.from_numpy(users / n), torch.from_numpy(items / n), towers.biases)

    U, V, _ = train_pairwise(x, config, item_bias=False, propagate=propagate, seed=seed, progress=progress)
    return U, V
