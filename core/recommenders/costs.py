"""What fitting a recommender will cost, told before it starts.

    seconds = sum over kinds of operations: how often it is done x how long it takes once x how slow this machine is

How often follows from the algorithm, its config and the size of the log. How long once was measured on a reference
machine (`python -m tests.benchmarks.costs` measures it again). How slow this one is, a matrix product tells at once.
"""

import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from core.recommenders.mf import MFConfig

REFERENCE_GFLOPS = 86.0
"""Single-precision speed of `machine_gflops` on the machine of NANOSECONDS: one core of a server of 2023."""
MEGABYTE = 2**20


class Shape(NamedTuple):
    """The size of a log."""

    n_users: int
    n_items: int
    n_interactions: int


class Cost(NamedTuple):
    """What a fit will take; NaN where nothing is known of the recommender."""

    seconds: float
    """Processor time, of one core."""
    megabytes: float
    """Memory on top of the program and the log, at the most."""


class _Work(NamedTuple):
    counts: dict[str, float]
    """Kind of operation -> how often it is done."""
    numbers: float
    """Bytes of the largest arrays that live at the same time."""


def estimate(name: str, config: Any, shape: Shape) -> Cost:
    """Give what fitting a recommender is going to cost on this machine, within about a factor of two.

    Args:
        name: A name of RECOMMENDERS.
        config: Its settings.
        shape: Of the log it is fitted on.
    """
    if name not in WORK:
        return Cost(float("nan"), float("nan"))
    counts, size = WORK[name](config, shape)
    nanoseconds = sum(counts[kind] * NANOSECONDS[name][kind] for kind in counts)
    return Cost(nanoseconds * 1e-9 * REFERENCE_GFLOPS / machine_gflops(), size / MEGABYTE)


@cache
def machine_gflops() -> float:
    """Measure the speed of one core in 0.05 s: products of 64 x 64 matrices, too small for a second thread."""
    a = np.full((64, 64), 0.5, np.float32)
    best, end = 0.0, time.process_time() + 0.05
    while (start := time.process_time()) < end:
        for _ in range(100):
            a @ a
        best = max(best, 100 * 2 * 64**3 / (time.process_time() - start))
    return best * 1e-9


def _popularity(config: Any, shape: Shape) -> _Work:  # noqa: ARG001
    return _Work({"once": 1, "interaction": shape.n_interactions}, 8.0 * shape.n_interactions)


def _ease(config: Any, shape: Shape) -> _Work:  # noqa: ARG001
    """XᵀX of the sparse log, then the inverse of a matrix of all items in double precision."""
    n_users, n_items, n = shape
    return _Work({"pair": n * n / max(n_users, 1), "square": n_items**2, "cube": n_items**3}, 28.0 * n_items**2)


def _mf(config: Any, shape: Shape) -> _Work:
    """A Newton step for every row of both sides: the Hessians are cells x width² / 2, the solutions rows x width³."""
    n_users, n_items, _ = shape
    width = config.embedding_size + 1
    cells = 2 * config.epochs * n_users * n_items
    counts = {
        "cell": cells,
        "hessian": cells * width * (width + 1) / 2,
        "solution": config.epochs * (n_users + n_items) * width**3,
    }
    outer = 4 * max(n_users, n_items) * width * (width + 1) / 2
    return _Work(counts, 60e6 + 3 * outer)


def _ncf(config: Any, shape: Shape) -> _Work:
    """The teacher; steps of 64 x 64 pairs; and the fold-in of everybody and a third again, on a sample and on all."""
    n_users, n_items, n = shape
    counts, size = _mf(MFConfig(max(config.teacher_size, config.embedding_size + config.gmf_size)), shape)
    steps = config.epochs * -(-max(n, config.min_steps * 64 * 64 / config.epochs) // (64 * 64))
    widths = (1, *config.hidden)
    weights = sum(a * b for a, b in pairwise(widths))
    folded = 4 / 3 * (n_users * (5 * min(512, n_items) + n_items) + 6 * n)
    return _Work({**counts, "pair": steps * 64 * 64 * weights, "fold": folded * weights}, size)


def _elsa(config: Any, shape: Shape) -> _Work:
    """A step multiplies all item vectors with a square matrix, normalises and moves them, and reads its histories."""
    n_users, n_items, n = shape
    d, (epochs, steps) = config.embedding_size, _schedule(config, n_users)
    counts = {"product": steps * (n_items + config.batch_size) * d * d, "weight": steps * n_items * d,
              "interaction": epochs * n * d}  # fmt: skip
    return _Work(counts, 4.0 * 10 * n_items * d)


def _als(config: Any, shape: Shape) -> _Work:
    """Three conjugate gradients for every row of both sides, and the loss: rows x width² and the log x width."""
    n_users, n_items, n = shape
    d = config.embedding_size
    rows = config.epochs * (n_users + n_items)
    counts = {"square": rows * d * d, "row": rows, "interaction": config.epochs * n * d, "pair": config.epochs * n}
    return _Work(counts, 8.0 * (n_users + n_items) * d + 40.0 * n)


def _multvae(config: Any, shape: Shape) -> _Work:
    """The last layer scores every item for every viewer; Adam moves two layers as wide as the catalogue."""
    n_users, n_items, n = shape
    epochs, steps = _schedule(config, n_users)
    inner = config.hidden_size if config.decoder == "hidden" else config.embedding_size
    weights = n_items * (config.hidden_size + inner)
    counts = {"product": epochs * n_users * n_items * inner, "score": epochs * n_users * n_items,
              "weight": steps * weights, "interaction": epochs * n * config.hidden_size}  # fmt: skip
    return _Work(counts, 4.0 * (4 * weights + 4 * config.batch_size * n_items))


def _sasrec(config: Any, shape: Shape) -> _Work:
    """The layers work on every place of a window, also on empty ones; the loss scores all items at every item.

    The windows are as many as histories of geometrically distributed lengths would have.
    """
    n_users, n_items, n = shape
    d, inner, length, layers = config.embedding_size, config.inner_size, config.max_length, config.n_layers
    n_windows = max(1, round(n_users / -np.expm1(-length * n_users / max(n, 1)))) if n_users else 1
    epochs, steps = _schedule(config, n_windows)
    places, candidates = epochs * n_windows * length * layers, n_items if config.loss == "ce" else 2
    counts = {
        "product": places * (4 * d * d + 2 * d * inner),
        "attention": places * length * config.n_heads,
        "score": epochs * n * candidates * d,
        "item": epochs * n * candidates,
        "weight": steps * n_items * d,
    }
    a_place = 4 * layers * (6 * d + 3 * inner + 9 * length * config.n_heads)
    return _Work(
        counts, config.batch_size * (length * a_place + 12.0 * n / n_windows * candidates) + 20.0 * n_items * d
    )


def _bpr(config: Any, shape: Shape) -> _Work:
    """A pass scores every item for every viewer, and draws items for every interaction; Adam moves all vectors."""
    n_users, n_items, n = shape
    d, (epochs, steps) = config.embedding_size, _schedule(config, n_users)
    cells = epochs * n_users * n_items
    counts = {"product": cells * d, "score": cells, "draw": epochs * n * config.n_negatives,
              "weight": steps * (n_users + n_items) * d}  # fmt: skip
    return _Work(counts, 40e6 + 4.0 * 6 * (n_users + n_items) * d)


def _lightgcn(config: Any, shape: Shape) -> _Work:
    """What BPR does; and every step spreads all vectors along the graph, and the gradient back."""
    counts, size = _bpr(config, shape)
    n, d = shape.n_interactions, config.embedding_size
    spread = (2 * _schedule(config, shape.n_users)[1] + 1) * config.n_layers * 2 * n * d
    return _Work({**counts, "spread": spread}, size + 16.0 * n + 4.0 * 6 * (shape.n_users + shape.n_items) * d)


def _schedule(config: Any, n_examples: int) -> tuple[int, int]:
    """Give epochs and steps of a training that has a floor in steps."""
    steps_an_epoch = max(1, -(-n_examples // config.batch_size))
    epochs = max(config.epochs, -(-config.min_steps // steps_an_epoch))
    return epochs, epochs * steps_an_epoch


WORK: dict[str, Callable[[Any, Shape], _Work]] = {
    "popularity": _popularity,
    "ease": _ease,
    "mf": _mf,
    "ncf": _ncf,
    "elsa": _elsa,
    "als": _als,
    "multvae": _multvae,
    "sasrec": _sasrec,
    "bpr": _bpr,
    "lightgcn": _lightgcn,
}
NANOSECONDS: dict[str, dict[str, float]] = {
    "popularity": {"once": 56_000, "interaction": 1.6},
    "ease": {"pair": 4.2, "square": 0.8, "cube": 0.055},
    "mf": {"cell": 19, "hessian": 0.014, "solution": 1.7},
    "ncf": {"cell": 19, "hessian": 0.014, "solution": 1.7, "pair": 0.25, "fold": 0.13},
    "elsa": {"product": 0.035, "weight": 16, "interaction": 0.92},
    "als": {"square": 0.28, "row": 700, "interaction": 1, "pair": 130},
    "multvae": {"product": 0.074, "score": 12, "weight": 2.2, "interaction": 0.4},
    "sasrec": {"product": 0.18, "attention": 9, "score": 0.05, "item": 12, "weight": 9},
    "bpr": {"product": 0.03, "score": 4.2, "draw": 32, "weight": 27},
    "lightgcn": {"product": 0.03, "score": 4.2, "draw": 32, "weight": 27, "spread": 0.18},
}
"""Of one operation on the reference machine; fitted to short fits on the logs of four public datasets."""
