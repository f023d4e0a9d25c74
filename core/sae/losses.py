"""The terms a sparse autoencoder is trained with: small pure functions of torch tensors, one number out.

`x` and `x_hat` are (n, d_in): the embeddings and what the SAE makes of them; `acts` are (n, d_sae) activations, >= 0.
"""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

TINY = 1e-8
"""Keeps a division by a vanishing norm or variance finite."""

Scorer = Callable[..., Tensor]
"""A frozen recommender, differentiable in the embeddings: `scorer(x)` gives the (n, n_columns) scores of (n, d_in)
embeddings. One that can do with less takes `scorer(x, items=columns)` too: of (n, m) int64 column numbers, a row for
each embedding, it gives the (n, m) scores and computes no others."""


def mse(x: Tensor, x_hat: Tensor) -> Tensor:
    """Give the mean of `(x - x_hat)**2` over rows and dimensions (Arviv et al. 2025, L_emb, per dimension)."""
    return functional.mse_loss(x_hat, x)


def fvu(x: Tensor, x_hat: Tensor) -> Tensor:
    """Give the fraction of variance unexplained, `sum (x - x_hat)**2 / sum (x - mean(x))**2`.

    The mean is that of each dimension over the rows of the batch, so that predicting it gives exactly 1.
    """
    return (x - x_hat).square().sum() / (x - x.mean(dim=0)).square().sum().clamp_min(TINY)


def cosine(x: Tensor, x_hat: Tensor) -> Tensor:
    """Give the mean of `1 - cos(x, x_hat)` over rows (Spišák et al. 2026, loss of the knots SAE)."""
    return 1 - functional.cosine_similarity(x, x_hat, dim=1, eps=TINY).mean()


def l1(acts: Tensor) -> Tensor:
    """Give the mean over rows of `sum_j |acts_j|`."""
    return acts.abs().sum(dim=1).mean()


def kl(acts: Tensor, rho: float) -> Tensor:
    """Give `sum_j KL(rho || p_j)` with `p_j` the MEAN ACTIVATION of neuron j (Arviv et al. 2025, L_sparse).

    `KL(rho || p) = rho log(rho / p) + (1 - rho) log((1 - rho) / (1 - p))`. The paper calls p_j a firing rate; it is the
    mean activation there and here, cut to [1e-6, 1 - 1e-6], since a rate has no gradient.
    """
    p = acts.mean(dim=0).clamp(1e-6, 1 - 1e-6)
    return (rho * torch.log(rho / p) + (1 - rho) * torch.log((1 - rho) / (1 - p))).sum()


def auxiliary(x: Tensor, x_hat: Tensor, e_hat: Tensor) -> Tensor:
    """Give the auxiliary loss that revives dead neurons (Gao et al. 2024, section A.2).

    `e = x - x_hat` is what the living leave unexplained; the loss is `sum (e - e_hat)**2 / sum (x - mean(x))**2`. Only
    the dead learn from it: `e` is held fixed.

    Args:
        x: (n, d_in).
        x_hat: (n, d_in).
        e_hat: (n, d_in) what the strongest of the dead neurons decode to, without b_dec.
    """
    error = (x - x_hat).detach()
    return (error - e_hat).square().sum() / (x - x.mean(dim=0)).square().sum().clamp_min(TINY)


def auxiliary_recsae(x: Tensor, x_hat: Tensor, e_hat: Tensor, share: float) -> Tensor:
    """Give the auxiliary loss of RecSAE's public code, which PopSteer's continues: to compare numbers with theirs.

    Where it departs from `auxiliary`:

    - The sign: `e = x_hat - x`, so that the dead learn to add what is there too much, and drive the error up.
    - b_dec is a part of `e_hat`, though it is already in `x_hat`.
    - `e` is not held fixed: the living learn from it too.
    - The loss counts `min(n_dead / k_aux, 1)`, less when few are dead.

    The dead in it are those that were not among the k of any row, be it with a value of 0, in the whole epoch before:
    none in the first one. PopSteer has `k_aux` 2 d_in and weighs the loss with 1 / 2, RecSAE d_in / 2 and 1 / 32.

    Args:
        x: (n, d_in).
        x_hat: (n, d_in).
        e_hat: (n, d_in) what the strongest of the dead neurons decode to, with b_dec.
        share: `min(n_dead / k_aux, 1)`.
    """
    loss = (e_hat - (x_hat - x)).square().sum() / (x - x.mean(dim=0)).square().sum().clamp_min(TINY)
    return share * loss


def takes_items(scorer: Scorer) -> bool:
    """Say whether a scorer can score some columns without the others."""
    called = scorer.forward if isinstance(scorer, nn.Module) else scorer
    return "items" in inspect.signature(called).parameters


def scores(scorer: Scorer, x: Tensor, items: Tensor | None) -> Tensor:
    """Give the (n, m) scores of the columns `items` (n, m), or of all: (n, n_columns)."""
    if items is None:
        return scorer(x)
    return scorer(x, items=items) if takes_items(scorer) else scorer(x).gather(1, items)


def prediction(x: Tensor, x_hat: Tensor, scorer: Scorer, *, items: Tensor | None = None, top_n: int = 0) -> Tensor:
    """Give the mean of `(score(x) - score(x_hat))**2` over rows and columns (Arviv et al. 2025, L_pred).

    The gradient goes through the frozen scorer into `x_hat`; its parameters are never changed. The paper samples pairs
    of users and items and rebuilds both; here rows are sampled, and columns are compared as the scorer holds them.

    Args:
        x: (n, d_in).
        x_hat: (n, d_in).
        scorer: The recommender.
        items: (n, m) the columns to compare in each row, or None: all.
        top_n: Above 0, the result is the mean of two means, that one and the mean over the `top_n` columns that score
            highest for `x`: what is recommended counts as much as all the rest. It takes the scores of all columns for
            `x`, without a gradient.
    """
    with torch.no_grad():
        wanted = scorer(x) if items is None or top_n else scores(scorer, x, items)
    if not top_n:
        return functional.mse_loss(scores(scorer, x_hat, items), wanted)
    best = wanted.topk(min(top_n, wanted.shape[1]), dim=1).indices
    rest = torch.arange(wanted.shape[1]).expand_as(wanted) if items is None else items
    columns = torch.cat([rest, best], dim=1)
    found = scorer(x_hat).gather(1, columns) if items is None else scores(scorer, x_hat, columns)
    squares = (found - wanted.gather(1, columns)).square()
    n_rest = rest.shape[1]
    return (squares[:, :n_rest].mean() + squares[:, n_rest:].mean()) / 2
