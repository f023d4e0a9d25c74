"""How a training is stopped and gone on with: its state as plain arrays, which whoever calls it keeps."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from core.sae.config import TrainConfig
from core.sae.history import LogRow, history_of
from core.sae.rows import Rows

WORD = 2**64


class Checkpoint(Protocol):
    """Where the state of a training is kept. A file has to be written whole or not at all: beside its place, renamed.

    It belongs to one training: the recommender has to be a part of its place. A state of other settings or embeddings
    is recognised and not used.
    """

    @property
    def every_steps(self) -> int:
        """Steps between two savings; 0: time decides alone."""
        ...

    @property
    def every_s(self) -> float:
        """Seconds between two savings; 0: steps decide alone."""
        ...

    def load(self) -> dict[str, np.ndarray] | None:
        """Give what was saved last, or None."""
        ...

    def save(self, state: dict[str, np.ndarray]) -> None:
        """Keep the state in the place of the one before."""
        ...


def is_due(checkpoint: Checkpoint, step: int, waited_s: float) -> bool:
    """Say whether the state is to be kept after this step, so many seconds after it was kept last."""
    by_steps = checkpoint.every_steps > 0 and step % checkpoint.every_steps == 0
    return by_steps or 0 < checkpoint.every_s <= waited_s


def digest_of(config: TrainConfig, seed: int, populations: Sequence[Rows]) -> np.ndarray:
    """Give (32,) uint8 that stand for what a training is about."""
    digest = hashlib.sha256(repr((config, seed, [p.shape for p in populations])).encode())
    for population in populations:
        for block in population.blocks():
            digest.update(block.data)
    return np.frombuffer(digest.digest(), np.uint8)


def pack_generator(rng: np.random.Generator) -> np.ndarray:
    """Give the state of a PCG64 generator (that of `np.random.default_rng`) as (6,) uint64."""
    state = rng.bit_generator.state
    wide = [part for name in ("state", "inc") for part in divmod(state["state"][name], WORD)]
    return np.array([*wide, state["has_uint32"], state["uinteger"]], np.uint64)


def unpack_generator(packed: np.ndarray) -> dict[str, Any]:
    """Give the `bit_generator.state` that `pack_generator` saw."""
    high, low, inc_high, inc_low, has_uint32, uinteger = (int(word) for word in packed)
    return {
        "bit_generator": "PCG64",
        "state": {"state": high * WORD + low, "inc": inc_high * WORD + inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


def pack_log(log: Sequence[LogRow]) -> dict[str, np.ndarray]:
    """Give the rows of a log as arrays."""
    if not log:
        return {}
    history = history_of(log)
    numbers = np.column_stack([history.step, history.loss, history.l0, history.dead_share])
    return {"log": numbers} | {f"log.{name}": values for name, values in history.terms.items()}


def unpack_log(state: Mapping[str, np.ndarray]) -> list[LogRow]:
    """Give the rows that `pack_log` saw."""
    terms = {name.removeprefix("log."): values for name, values in state.items() if name.startswith("log.")}
    return [
        LogRow(int(step), float(loss), float(l0), float(dead), {name: float(v[i]) for name, v in terms.items()})
        for i, (step, loss, l0, dead) in enumerate(state.get("log", np.zeros((0, 4))))
    ]


class Batches:
    """Row numbers for ever: every row once before any comes again.

    Args:
        rng: Draws the orders; shared with whatever else draws from it.
        n: Number of rows.
        size: Rows a batch; at most n.
    """

    def __init__(self, rng: np.random.Generator, n: int, size: int) -> None:
        self.rng, self.n, self.size = rng, n, min(size, n)
        self.waiting = np.empty(0, np.int64)
        """Rows that are still to come before all come again."""

    def next(self) -> np.ndarray:
        """Give the next batch."""
        if len(self.waiting) < self.size:
            self.waiting = np.concatenate([self.waiting, self.rng.permutation(self.n)])
        batch, self.waiting = self.waiting[: self.size], self.waiting[self.size :]
        return batch
