"""The training of ELSA (Vančura et al., RecSys 2022), without the matrix of scores.

The loss of a viewer is the squared distance of prediction and history after both are brought to length 1, which is
`2 - 2 cos(s, x)` with `s = x A Aᵀ - x`. With `h = x A` and `G = Aᵀ A` both parts of the cosine are cheap:

    s · x = |h|² - |x|²          |s|² = h G hᵀ - 2 |h|² + |x|²

so a step costs O(batch d² + n_items d² + interactions d) instead of O(batch n_items d), with the same gradient.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy import sparse

from core.errors import TrainingError
from core.progress import Progress
from core.recommenders.elsa import ELSAConfig
from core.seeding import derive_seed

EPSILON = 1e-8


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread and with denormals as zeros: in steps this small more threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


def cosine_loss(items: torch.Tensor, offsets: torch.Tensor, A: torch.Tensor) -> torch.Tensor:
    """Give the mean over viewers of `2 - 2 cos(x A Aᵀ - x, x)`.

    Args:
        items: (n_interactions,) item indices of the viewers one after the other; no viewer without an item.
        offsets: (n_viewers,) where each viewer begins in `items`.
        A: (n_items, d) rows of length 1.
    """
    h = torch.nn.functional.embedding_bag(items, A, offsets, mode="sum")
    n = torch.diff(offsets, append=torch.tensor([len(items)])).to(A.dtype)
    h2 = (h * h).sum(dim=1)
    s2 = ((h @ (A.T @ A)) * h).sum(dim=1) - 2 * h2 + n
    cosine = (h2 - n) / (s2.clamp_min(EPSILON) * n).sqrt()
    return (2 - 2 * cosine).mean()


def train_elsa(x: sparse.csr_matrix, config: ELSAConfig, *, seed: int, progress: Progress) -> np.ndarray:
    """Give the (n_items, embedding_size) float32 item vectors, rows of length 1.

    Args:
        x: (n_viewers, n_items) binary interactions, at least one.
        config: How to train.
        seed: Of the run.
        progress: Called after each epoch; an exception from it ends the training.

    Raises:
        TrainingError: The vectors are not finite any more.
    """
    x = x[np.diff(x.indptr) > 0]
    n_viewers, n_items = x.shape
    random = torch.Generator().manual_seed(derive_seed(seed, "elsa"))
    with one_thread():
        W = torch.nn.Parameter(torch.randn(n_items, config.embedding_size, generator=random))
        optimizer = torch.optim.NAdam([W], lr=config.learning_rate)
        steps_an_epoch = -(-n_viewers // config.batch_size)
        epochs = max(config.epochs, -(-config.min_steps // steps_an_epoch))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps_an_epoch)
        for epoch in range(epochs):
            losses = []
            order = torch.randperm(n_viewers, generator=random).numpy()
            for start in range(0, n_viewers, config.batch_size):
                batch = x[order[start : start + config.batch_size]]
                items, offsets = torch.from_numpy(batch.indices).long(), torch.from_numpy(batch.indptr[:-1]).long()
                loss = cosine_loss(items, offsets, torch.nn.functional.normalize(W, dim=1))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            mean = float(np.mean(losses))
            # A length beyond all numbers would be "normalised" to zero without a word.
            if not torch.isfinite(W.detach().norm(dim=1)).all():
                raise TrainingError(
                    f"The vectors of ELSA are not finite after epoch {epoch + 1} of {epochs}, the loss is {mean:g}.",
                    f"Set recommender.learning_rate below {config.learning_rate:g}.",
                )
            progress("recommender", epoch + 1, epochs, {"loss": mean})
        return torch.nn.functional.normalize(W.detach(), dim=1).numpy()
