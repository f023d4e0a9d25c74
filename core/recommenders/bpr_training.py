"""The training of BPR, and of every model of two towers that learns from the same pairs (LightGCN).

A step takes some viewers with all of their positives, scores the whole catalogue for them, and draws for each positive
a few items: one product of matrices instead of thousands of short ones. The gradient is written down, not recorded.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse

from core.errors import TrainingError
from core.progress import Progress
from core.recommenders.elsa_training import one_thread
from core.recommenders.mf_training import prior_strength
from core.seeding import derive_seed

START = 0.1
"""Standard deviation of the vectors at the start."""
BETAS = (0.9, 0.99)
"""Of Adam: what it remembers of the gradients and of their squares."""
CELLS = 2_000_000
"""Viewers times items that are scored at a time: bounds the memory at about 40 MB."""


class Towers(NamedTuple):
    """The vectors of both sides, or gradients of their shapes."""

    users: torch.Tensor
    """(n_users, d)."""
    items: torch.Tensor
    """(n_items, d)."""
    biases: torch.Tensor
    """(n_items,)."""


Propagate = Callable[[Towers], Towers]
"""From the vectors that are learnt to those that are multiplied: linear and its own adjoint, so that it also brings
the gradient back."""


def pairwise_gradients(
    towers: Towers, x: sparse.csr_matrix, rows: np.ndarray, n_negatives: int, random: torch.Generator
) -> tuple[float, Towers]:
    """Give the BPR loss of some viewers and its gradient.

        sum_{u in rows} sum_{i in h_u} mean_{j drawn for (u, i)} [j not in h_u] softplus(s_uj - s_ui)

    (Rendle et al. 2009, sec. 4.1; they draw one triple at a time.) A drawn item that was consumed counts nothing.

    Args:
        towers: What is multiplied: s_ui = user · item + bias.
        x: (n_users, n_items) binary interactions.
        rows: (n,) distinct viewers.
        n_negatives: Items drawn for each positive, uniformly from the catalogue.
        random: Draws them.

    Returns:
        The loss and the gradients; those of viewers not in `rows` are 0.
    """
    loss, (users, items, biases) = 0.0, towers
    gradients = Towers(*(torch.zeros_like(t) for t in towers))
    n_items = len(items)
    size = max(1, CELLS // n_items)
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        positives = x[part]
        index = torch.from_numpy(part)
        row_start = n_items * torch.from_numpy(np.repeat(np.arange(len(part)), np.diff(positives.indptr)))
        consumed = row_start + torch.from_numpy(positives.indices).long()
        vectors = users[index]
        scores = torch.addmm(biases, vectors, items.T).view(-1)
        of_positive = scores[consumed]
        scores[consumed] = -torch.inf
        slope = torch.zeros_like(scores)
        for _ in range(n_negatives):
            drawn = row_start + torch.randint(n_items, consumed.shape, generator=random)
            difference = scores[drawn] - of_positive
            share = torch.sigmoid(difference).div_(n_negatives)
            slope.index_add_(0, drawn, share).index_add_(0, consumed, share, alpha=-1)
            loss += torch.nn.functional.softplus(difference).sum().item() / n_negatives
        slope = slope.view(len(part), n_items)
        gradients.users[index] = slope @ items
        gradients.items.addmm_(slope.T, vectors)
        gradients.biases.add_(slope.sum(dim=0))
    return loss, gradients


def train_pairwise(
    x: sparse.csr_matrix,
    config: Any,
    *,
    item_bias: bool,
    propagate: Propagate = lambda towers: towers,
    seed: int,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give what is learnt, float32: (n_users, d) users, (n_items, d) items and (n_items,) biases of items.

    The loss is that of `pairwise_gradients` over all viewers, estimated from those of a step, plus the squares of
    everything that is learnt, λ / 2 times the root of the number of triples that it is part of (one at least).

    Args:
        x: (n_users, n_items) binary interactions, at least one.
        config: Of the model: `embedding_size`, `epochs`, `min_steps`, `batch_size`, `n_negatives`, `learning_rate` and
            `regularisation`, which is λ.
        item_bias: Whether biases are learnt; else they stay 0.
        propagate: Makes what is multiplied of what is learnt.
        seed: Of the run.
        progress: Called after each epoch; an exception from it ends the training.

    Raises:
        TrainingError: The vectors are not finite any more.
    """
    n_users, n_items = x.shape
    lengths = np.diff(x.indptr)
    viewers = np.flatnonzero(lengths)
    random = torch.Generator().manual_seed(derive_seed(seed, "pairwise"))
    of_user, of_item = (
        torch.from_numpy(prior_strength(config.regularisation, n_triples)).float()
        for n_triples in (lengths, np.bincount(x.indices, minlength=n_items) + x.nnz / n_items)
    )
    strengths = Towers(of_user[:, None], of_item[:, None], of_item)
    steps_an_epoch = -(-len(viewers) // config.batch_size)
    epochs = max(config.epochs, -(-config.min_steps // steps_an_epoch))
    with one_thread():
        size = config.embedding_size
        learnt = Towers(
            START * torch.randn(n_users, size, generator=random),
            START * torch.randn(n_items, size, generator=random),
            torch.zeros(n_items),
        )
        optimizer = torch.optim.Adam(list(learnt)[: 3 if item_bias else 2], lr=config.learning_rate, betas=BETAS)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps_an_epoch)
        for epoch in range(epochs):
            losses = 0.0
            order = viewers[torch.randperm(len(viewers), generator=random).numpy()]
            for rows in np.array_split(order, steps_an_epoch):
                towers = propagate(learnt)
                loss, gradients = pairwise_gradients(towers, x, rows, config.n_negatives, random)
                losses += loss
                gradients = propagate(Towers(*(g.mul_(x.nnz / lengths[rows].sum()) for g in gradients)))
                for parameter, gradient, strength in zip(learnt, gradients, strengths, strict=True):
                    parameter.grad = gradient.addcmul_(strength, parameter)
                optimizer.step()
                schedule.step()
            mean = losses / x.nnz
            if not np.isfinite(mean):
                raise TrainingError(
                    f"The loss is {mean} after epoch {epoch + 1} of {epochs}.",
                    f"Set recommender.learning_rate below {config.learning_rate:g}.",
                )
            progress("recommender", epoch + 1, epochs, {"loss": mean})
    users, items, biases = (t.numpy() for t in learnt)
    return users, items, biases
