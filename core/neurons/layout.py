"""Where things stand on a map: two coordinates for rows of many, so that rows alike stand near each other.

umap is imported here and nowhere else: it takes seconds to import, so nothing that a page opens may lead here.
"""

from typing import NamedTuple

import numpy as np
from umap.umap_ import find_ab_params, fuzzy_simplicial_set, simplicial_set_embedding

from core.seeding import derive_seed, generator

N_NEIGHBOURS = 15
MIN_DIST, SPREAD = 0.1, 1.0
MOST = 20_000
"""Points of a map of items; of more, a sample is placed."""
_NEGATIVES = 5
_CHUNK = 1024
"""Rows compared with all others at a time: bounds the memory."""


class Layout(NamedTuple):
    """A map, and how far to trust it."""

    xy: np.ndarray
    """(n, 2) float32: about the origin, the longest extent along the first axis."""
    method: str
    """`UMAP`, or `PCA` where there are too few rows for it."""
    overlap: float
    """Share of the 15 nearest rows that are among the 15 nearest on the map, mean over rows; NaN for fewer than two."""
    pca_overlap: float
    """The same for the first two principal axes: what a map without UMAP would keep."""
    chance: float
    """The same for points placed at random: 15 / (n - 1)."""


def place(rows: np.ndarray, seed: int) -> Layout:
    """Lay out rows by their cosine.

    UMAP (McInnes, Healy and Melville 2018) over the exact 15 nearest rows, started from the first two principal axes,
    which keep more of what is far apart than a random start (Kobak and Linderman 2021). The same rows and seed give the
    same coordinates. At most 16 rows are placed by their principal axes: each would have all others as neighbours.

    Args:
        rows: (n, d); a row of zeros is as far from every other as an orthogonal one.
        seed: Of the run.
    """
    unit = _unit(rows)
    n = len(unit)
    axes = _principal(unit)
    near, distance = nearest(unit, min(N_NEIGHBOURS, n - 1), cosine=True)
    if n <= N_NEIGHBOURS + 1:
        xy, method = axes, "PCA"
    else:
        xy, method = _umap(unit, near, distance, axes, seed), "UMAP"
    xy = _turned(xy).astype(np.float32)
    chance = near.shape[1] / (n - 1) if n > 1 else float("nan")
    return Layout(xy, method, overlap(near, xy), overlap(near, axes), chance)


def overlap(near: np.ndarray, xy: np.ndarray) -> float:
    """Give the share of each row's nearest rows that are as near on a map, mean over rows; NaN where there are none.

    Args:
        near: (n, k) the `k` nearest rows of each one.
        xy: (n, 2) the map.
    """
    if not near.size:
        return float("nan")
    placed = nearest(np.asarray(xy, np.float32), near.shape[1], cosine=False)[0]
    n = len(near)
    row = np.arange(n)[:, None] * n
    return float(np.isin(row + placed, row + near).mean())


def nearest(rows: np.ndarray, k: int, *, cosine: bool) -> tuple[np.ndarray, np.ndarray]:
    """Give the `k` nearest rows of each row, nearest first, itself left out; exact.

    Args:
        rows: (n, d) float32; of length 1 or 0 where the cosine is asked for.
        k: At most n - 1.
        cosine: By 1 - cosine, else by the squared distance.

    Returns:
        (n, k) int32 rows and (n, k) float32 distances, >= 0.
    """
    n = len(rows)
    near, distance = np.empty((n, max(k, 0)), np.int32), np.empty((n, max(k, 0)), np.float32)
    if k < 1:
        return near, distance
    squares = np.einsum("ij,ij->i", rows, rows)
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        products = rows[part] @ rows.T
        far = 1 - products if cosine else squares[part, None] + squares - 2 * products
        far[np.arange(len(far)), np.arange(part.start, part.stop)] = np.inf
        chosen = np.argpartition(far, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(far, chosen, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        near[part] = np.take_along_axis(chosen, order, axis=1)
        distance[part] = np.maximum(np.take_along_axis(values, order, axis=1), 0)
    return near, distance


def stratified(counts: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Choose `n` of the items, one at random in each of `n` strata of equal size by popularity; all where n is enough.

    Args:
        counts: (n_items,) interactions of each item.
        n: How many.
        seed: Of the run.

    Returns:
        Sorted item indices.
    """
    if len(counts) <= n:
        return np.arange(len(counts))
    order = np.argsort(-counts, kind="stable")
    edges = np.linspace(0, len(counts), n + 1).astype(np.int64)
    return np.sort(order[generator(seed, "map", "sample").integers(edges[:-1], edges[1:])])


def _umap(unit: np.ndarray, near: np.ndarray, distance: np.ndarray, axes: np.ndarray, seed: int) -> np.ndarray:
    own = np.arange(len(unit), dtype=np.int32)[:, None]  # UMAP counts a row among its own neighbours
    near, distance = np.hstack([own, near[:, :-1]]), np.pad(distance[:, :-1], ((0, 0), (1, 0)))
    random = np.random.RandomState(derive_seed(seed, "map") % 2**32)
    graph = fuzzy_simplicial_set(unit, N_NEIGHBOURS, random, "cosine", knn_indices=near, knn_dists=distance)[0]
    a, b = find_ab_params(SPREAD, MIN_DIST)
    start = 10 * axes / max(np.abs(axes).max(), 1e-12) + random.normal(0, 1e-4, axes.shape)  # no two rows start as one
    return simplicial_set_embedding(
        unit, graph, 2, 1.0, a, b, 1.0, _NEGATIVES, None, start.astype(np.float32), random, "cosine", {}, False, {},
        False,
    )[0]  # fmt: skip


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def _principal(rows: np.ndarray) -> np.ndarray:
    """Give (n, 2) coordinates along the two principal axes, signs fixed; zeros where there is no second one."""
    if not len(rows):
        return np.zeros((0, 2))
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    return np.pad(centred @ axes, ((0, 0), (0, 2 - axes.shape[1])))


def _turned(xy: np.ndarray) -> np.ndarray:
    """Turn a map so that its longest extent lies along the first axis: distances stay."""
    return _principal(np.asarray(xy, np.float64))
