"""The inner loop of measuring steered lists, compiled: thousands of lists a neuron, each exact.

Nothing here checks its arguments. Products and sums are taken one after the other, never fused, so that the numbers
that are compared are those of NumPy's `scores + dose * row` in float32.
"""

import numpy as np

from core.sae.kernels import compiled, least_of_largest

__all__ = ["top_items"]

STRIPS = 8
"""Columns that are looked at first, as a multiple of the list's length."""


@compiled(error_model="numpy")
def top_items(scores: np.ndarray, row: np.ndarray, doses: np.ndarray, out: np.ndarray) -> None:
    """Find the n best items of every viewer at every dose of one edit: the largest of `scores + dose * row`.

    The items are laid out in strips below each other, and the largest of each column found: n columns reach the n-th
    largest of these, so that only they have to be looked at again. Equal scores go by the item's index, as in
    `core.recommenders.base.rank`.

    Args:
        scores: (n_viewers, n_items) float32, -inf where an item must not be listed.
        row: (n_items,) float32, finite: what a dose of 1 adds to each item's score.
        doses: (n_viewers, n_doses) float32, finite.
        out: (n_viewers, n_doses, n) int32, to be filled: the items in no order, then -1 where a list ran out.
    """
    n_viewers, n_items = scores.shape
    n_doses, n = out.shape[1], out.shape[2]
    n_listed = min(n, n_items)
    width = min(n_items, max(STRIPS * n_listed, n_items // 32))
    tops = np.empty(width, np.float32)
    found, values = np.empty(n_items + 1, np.int64), np.empty(n_items + 1, np.float32)
    for u in range(n_viewers):
        line = scores[u]
        for s in range(n_doses):
            dose = doses[u, s]
            for j in range(width):
                tops[j] = line[j] + dose * row[j]
            for start in range(width, n_items, width):
                strip, pushes = line[start : start + width], row[start : start + width]
                for j in range(len(strip)):
                    v = strip[j] + dose * pushes[j]
                    tops[j] = v if v > tops[j] else tops[j]
            least = least_of_largest(tops, n_listed) if _fill(tops) >= n_listed else np.float32(-np.inf)
            n_found = 0
            for j in range(width):
                if tops[j] >= least:
                    for item in range(j, n_items, width):
                        v = line[item] + dose * row[item]
                        if v >= least and v > -np.inf:
                            found[n_found], values[n_found] = item, v
                            n_found += 1
            if n_found > n_listed:
                n_found = _keep_best(values, found, n_found, n_listed)
            out[u, s, :n_found] = found[:n_found]
            out[u, s, n_found:] = -1


@compiled(error_model="numpy")
def _fill(tops: np.ndarray) -> int:
    """Set what is -inf to the least of the others, and give how many others there are: bisection needs finite ends."""
    least, n_finite = np.float32(np.inf), 0
    for j in range(len(tops)):
        if tops[j] > -np.inf:
            n_finite += 1
            least = min(least, tops[j])
    if n_finite < len(tops):
        for j in range(len(tops)):
            tops[j] = max(tops[j], least)
    return n_finite


@compiled(error_model="numpy")
def _keep_best(values: np.ndarray, found: np.ndarray, n_found: int, n: int) -> int:
    """Bring the `n` largest of the first `n_found` values to the front, of equal ones those of the lowest index."""
    least = least_of_largest(values[:n_found], n)
    kept = 0
    for c in range(n_found):
        if values[c] >= least:
            values[kept], found[kept] = values[c], found[c]
            kept += 1
    while kept > n:
        worst = 0
        for c in range(1, kept):
            lower, equal = values[c] < values[worst], values[c] == values[worst]
            if lower or (equal and found[c] > found[worst]):
                worst = c
        kept -= 1
        values[worst], found[worst] = values[kept], found[kept]
    return kept
