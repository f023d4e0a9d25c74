"""The training of MultVAE (Liang et al., WWW 2018), and the differentiable twin of its scores.

The loss of a viewer with binary history x is, with z drawn from the encoder by the reparameterisation trick (eq. 7),

    - sum_{i in x} log softmax(score(z))_i  +  β KL(N(mean, exp(log_variance)) || N(0, I))

where the encoder sees x / |x| with a part of its entries dropped. The input is sparse, so the first layer costs only
what the histories hold; the product with V is nearly all of a step.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from torch.nn.functional import embedding_bag

from core.errors import TrainingError
from core.progress import Progress
from core.recommenders.elsa_training import one_thread
from core.recommenders.multvae import MultVAEConfig, Weights
from core.seeding import derive_seed

Parameters = dict[str, torch.Tensor]
"""The arrays of `Weights` as tensors, and W_log_variance, b_log_variance, which only training needs."""


def decode(w: Parameters, z: torch.Tensor) -> torch.Tensor:
    """Give the (n, n_items) logits of (n, embedding_size) latents."""
    if w["W_hidden"].numel():
        z = torch.tanh(torch.addmm(w["b_hidden"], z, w["W_hidden"]))
    return torch.addmm(w["b"], z, w["V"].T)


def torch_scorer(weights: Weights) -> Callable[[torch.Tensor], torch.Tensor]:
    """Give the differentiable twin of `MultVAE.score`."""
    w = {name: torch.from_numpy(array) for name, array in weights._asdict().items()}
    return lambda z: decode(w, z)


def negative_elbo(
    w: Parameters, items: torch.Tensor, offsets: torch.Tensor, kept: torch.Tensor, noise: torch.Tensor, kl_weight: float
) -> torch.Tensor:
    """Give the mean over viewers of the negative log likelihood and `kl_weight` times the KL divergence.

    Args:
        w: The weights.
        items: (n_interactions,) item indices of the viewers one after the other; no viewer without an item.
        offsets: (n_viewers,) where each viewer begins in `items`.
        kept: (n_interactions,) what dropout multiplies each entry by: 0 or 1 / (1 - dropout).
        noise: (n_viewers, embedding_size) standard normal.
        kl_weight: β now.
    """
    n = torch.diff(offsets, append=torch.tensor([len(items)]))
    viewer = torch.repeat_interleave(torch.arange(len(n)), n)
    entry = kept / n.sqrt()[viewer]
    hidden = torch.tanh(embedding_bag(items, w["W_in"], offsets, mode="sum", per_sample_weights=entry) + w["b_in"])
    mean = torch.addmm(w["b_mean"], hidden, w["W_mean"])
    log_variance = torch.addmm(w["b_log_variance"], hidden, w["W_log_variance"])
    logits = decode(w, mean + noise * torch.exp(log_variance / 2))
    log_likelihood = logits[viewer, items].sum() - (n * torch.logsumexp(logits, dim=1)).sum()
    kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2
    return (kl_weight * kl - log_likelihood) / len(n)


def train_multvae(x: sparse.csr_matrix, config: MultVAEConfig, *, seed: int, progress: Progress) -> Weights:
    """Give the weights of encoder and decoder.

    Args:
        x: (n_viewers, n_items) binary interactions, at least one.
        config: How to train.
        seed: Of the run.
        progress: Called after each epoch; an exception from it ends the training.

    Raises:
        TrainingError: The weights are not finite any more.
    """
    counts = np.asarray(x.sum(axis=0)).ravel()
    x = x[np.diff(x.indptr) > 0]
    n_viewers = x.shape[0]
    random = torch.Generator().manual_seed(derive_seed(seed, "multvae"))
    with one_thread():
        w = _start(config, counts, random)
        optimizer = torch.optim.Adam(w.values(), lr=config.learning_rate, fused=True)
        steps_an_epoch = -(-n_viewers // config.batch_size)
        epochs = max(config.epochs, -(-config.min_steps // steps_an_epoch))
        n_steps = epochs * steps_an_epoch
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
        step = 0
        for epoch in range(epochs):
            losses = []
            order = torch.randperm(n_viewers, generator=random).numpy()
            for start in range(0, n_viewers, config.batch_size):
                batch = x[order[start : start + config.batch_size]]
                items, offsets = torch.from_numpy(batch.indices).long(), torch.from_numpy(batch.indptr[:-1]).long()
                kept = (torch.rand(len(items), generator=random) >= config.dropout) / (1 - config.dropout)
                noise = torch.randn(batch.shape[0], config.embedding_size, generator=random)
                loss = negative_elbo(w, items, offsets, kept, noise, config.kl_weight * min(1, 2 * step / n_steps))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                step += 1
                losses.append(loss.item())
            mean = float(np.mean(losses))
            if not math.isfinite(sum(float(tensor.detach().sum()) for tensor in w.values())):
                raise TrainingError(
                    f"The weights of MultVAE are not finite after epoch {epoch + 1} of {epochs}, the loss is {mean:g}.",
                    f"Set recommender.learning_rate below {config.learning_rate:g}.",
                )
            progress("recommender", epoch + 1, epochs, {"loss": mean})
        return Weights(**{name: w[name].detach().numpy() for name in Weights._fields})


def _start(config: MultVAEConfig, counts: np.ndarray, random: torch.Generator) -> Parameters:
    """Give the weights before the first step: Xavier's, and items as likely as they are popular."""
    n_items, hidden, d = len(counts), config.hidden_size, config.embedding_size
    inner = hidden if config.decoder == "hidden" else 0
    shapes = {
        "W_in": (n_items, hidden),
        "W_mean": (hidden, d),
        "W_log_variance": (hidden, d),
        "W_hidden": (d if inner else 0, inner),
        "V": (n_items, inner or d),
    }
    w = {name: torch.randn(shape, generator=random) * (2 / max(sum(shape), 1)) ** 0.5 for name, shape in shapes.items()}
    w |= {"b_in": torch.zeros(hidden), "b_mean": torch.zeros(d), "b_log_variance": torch.zeros(d)}
    w |= {"b_hidden": torch.zeros(inner), "b": torch.from_numpy(np.log(counts + 0.5)).float()}
    return {name: tensor.requires_grad_() for name, tensor in w.items()}
