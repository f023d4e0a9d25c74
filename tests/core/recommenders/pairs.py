"""The loss of BPR written out, one triple after the other."""

import torch
from scipy import sparse

from core.recommenders.bpr_training import Towers


def random_towers(n_users: int, n_items: int, seed: int = 0) -> Towers:
    """Give float32 vectors of width 3 and biases."""
    random = torch.Generator().manual_seed(seed)
    return Towers(*(torch.randn(*shape, generator=random) for shape in ((n_users, 3), (n_items, 3), (n_items,))))


def drawn_loss(towers: Towers, histories: list[list[int]], negatives: list[list[list[int]]]) -> torch.Tensor:
    """Give the loss of viewers, differentiable: negatives[u][k] are the items drawn for item k of the history of u."""
    loss = torch.zeros((), dtype=towers.users.dtype)
    for user, history in enumerate(histories):
        score = towers.items @ towers.users[user] + towers.biases
        for item, drawn in zip(history, negatives[user], strict=True):
            for other in drawn:
                if other not in history:
                    loss = loss - torch.log(torch.sigmoid(score[item] - score[other])) / len(drawn)
    return loss


def leaves(towers: Towers) -> Towers:
    """Give float64 copies that take gradients."""
    return Towers(*(t.double().requires_grad_() for t in towers))


def matrix_of(histories: list[list[int]], n_items: int) -> sparse.csr_matrix:
    """Give the (n_users, n_items) interactions."""
    x = sparse.lil_matrix((len(histories), n_items), dtype="float32")
    for user, history in enumerate(histories):
        x[user, history] = 1
    return x.tocsr()
