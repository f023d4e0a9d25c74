"""One training by several processes: each works on its share of every batch, and all make the same steps.

Every process is given the same embeddings, settings and seed, and therefore draws the same batches. The means over the
processes of the gradients, of the terms of the loss and of what fired are those of the whole batch wherever a term is a
mean over embeddings. What looks at a batch as a whole looks at each share by itself, as it does wherever shares are
averaged: the choice of `batchtopk`, `fvu`, `kl`, the mean number of active neurons of `jumprelu`, the auxiliary loss.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, distributed

from core.errors import ConfigError


class Peers:
    """The processes of the group that torch.distributed was told of when the training begins; else this one alone."""

    def __init__(self) -> None:
        joined = distributed.is_available() and distributed.is_initialized()
        self.n, self.rank = (distributed.get_world_size(), distributed.get_rank()) if joined else (1, 0)
        on_gpu = joined and distributed.get_backend() == "nccl"
        self.device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        """Where the processes exchange numbers: NCCL knows only what lies on a GPU."""

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Give this process's share of some rows: every `n`-th."""
        return rows if self.n == 1 else rows[self.rank :: self.n]

    def means(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Give the means over all processes of tensors that have the same shapes in each: the same bits to all."""
        if self.n == 1:
            return list(parts)
        numbers = torch.cat([part.detach().flatten().float() for part in parts]).to(self.device)
        distributed.all_reduce(numbers)
        numbers = (numbers / self.n).cpu()
        ends = np.cumsum([part.numel() for part in parts])
        return [numbers[end - part.numel() : end].view_as(part) for part, end in zip(parts, ends, strict=True)]

    def check_batches(self, sizes: Sequence[int]) -> None:
        """Raise where a batch cannot be shared out evenly.

        Raises:
            ConfigError: A size is no multiple of the number of processes.
        """
        if any(size % self.n for size in sizes):
            raise ConfigError(
                f"Batches of {' and '.join(map(str, sizes))} embeddings cannot be shared out among {self.n} processes.",
                f"Set sae.batch_size to {max(min(sizes) // self.n, 1) * self.n}, or use another number of processes.",
            )

    def check_equal(self, what: str, values: np.ndarray) -> None:
        """Raise in every process where some numbers are not the same in all.

        Args:
            what: What they are, for the message: "embeddings, settings and seed".
            values: Equally many bytes in each process.

        Raises:
            ConfigError: They are not.
        """
        own = torch.from_numpy(np.frombuffer(values.tobytes(), np.uint8).astype(np.int32)).to(self.device)
        if self.n > 1:
            least, most = own.clone(), own.clone()
            distributed.all_reduce(least, distributed.ReduceOp.MIN)
            distributed.all_reduce(most, distributed.ReduceOp.MAX)
            if not torch.equal(least, most):
                raise ConfigError(
                    f"The {what} are not the same in all {self.n} processes.",
                    "Start every process with the same command, on the same files.",
                )


@contextmanager
def joined() -> Iterator[Peers]:
    """Join the processes that `torchrun` started with this one, if it did.

    By gloo, also where there are GPUs: the training computes on processors.

    Raises:
        ConfigError: The environment speaks of several processes, and they cannot be joined.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield Peers()
        return
    try:
        distributed.init_process_group("gloo")
    except (ValueError, RuntimeError) as error:  # an address that lacks, no other process that comes
        raise ConfigError(
            f"The processes that WORLD_SIZE={os.environ['WORLD_SIZE']} stands for do not find each other: {error}",
            "Start all of them by torchrun, or unset WORLD_SIZE to train alone.",
        ) from error
    try:
        yield Peers()
    finally:
        distributed.destroy_process_group()
