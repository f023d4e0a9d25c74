"""The inner loops of training, compiled: what a step does apart from the multiplication with the encoder.

Plain loops over NumPy arrays, which numba makes machine code of when they are first called, and keeps beside this file
or, where that cannot be written, in the user's cache. Each has one order of summation, so that the same arguments give
the same bits. Nothing here checks its arguments.

A *pair* is a row and one of the neurons chosen for it: `where[i, p]` with the activation `values[i, p]`; there is none
where `where` is -1. A *level* is one of the groups that nested neurons fall into: `levels[j]` is the first
reconstruction that neuron j has a part in.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

__all__ = [
    "adam", "add", "backward_decode", "backward_encode", "compiled", "decode", "fired", "largest", "least_of_largest",
    "reaching",
]  # fmt: skip

SUMS = {"reassoc", "contract", "nsz"}
"""What a compiler may do to sums: take them in vectors. Numbers that are not finite stay so."""
TINY = np.float32(1e-8)
"""Keeps a division by a vanishing length finite."""
LANES = 16
"""Numbers that are compared at a time."""
Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Loop], Loop]:
    """Give the decorator that compiles a function; with no place for machine code, every process makes its own."""

    def made(loop: Loop) -> Loop:
        try:
            return cast(Loop, njit(cache=True, **options)(loop))
        except RuntimeError:  # neither beside this file nor in the user's cache can be written
            return cast(Loop, njit(**options)(loop))

    return made


@compiled(fastmath=SUMS, error_model="numpy")
def least_of_largest(values: np.ndarray, k: int) -> np.float32:
    """Give a number that `k` of the values reach, 1 <= k <= len(values), by bisection.

    Others than the k largest reach it only where they tie with the least of these. A value that is not a number reaches
    nothing.
    """
    n = len(values)
    lows, highs = np.full(LANES, np.float32(np.inf)), np.full(LANES, np.float32(-np.inf))
    for start in range(0, n, LANES):
        some = values[start : start + LANES]
        for j in range(len(some)):
            lows[j] = some[j] if some[j] < lows[j] else lows[j]
            highs[j] = some[j] if some[j] > highs[j] else highs[j]
    low, high = lows.min(), highs.max()
    if k == n:
        return low
    if _n_reaching(values, high) >= k:
        return high
    while True:
        middle = low + (high - low) * np.float32(0.5)
        if not low < middle < high:
            return low
        n_reaching = _n_reaching(values, middle)
        if n_reaching == k:
            return middle
        if n_reaching > k:
            low = middle
        else:
            high = middle


@compiled(fastmath=SUMS, error_model="numpy")
def _n_reaching(values: np.ndarray, least: np.float32) -> np.float32:
    """Give how many values are at least `least`; sums in float32, exact below 2^24, are the faster ones."""
    n = np.float32(0)
    for j in range(len(values)):
        n += np.float32(1) if values[j] >= least else np.float32(0)
    return n


@compiled(fastmath=SUMS, error_model="numpy")
def largest(products: np.ndarray, bias: np.ndarray, k: int, values: np.ndarray, where: np.ndarray) -> None:
    """Choose the k largest numbers of each row of `products + bias`; of equal ones any, always the same.

    The row is laid out in strips below each other, and the largest of each column found: k columns reach the k-th
    largest of these, so that only they have to be looked at.

    Args:
        products: (n, m).
        bias: (m,).
        k: At most m.
        values: (n, k), to be filled: the chosen numbers, 0 for those below 0.
        where: (n, k) int64, to be filled: their columns.
    """
    n, m = products.shape
    width = min(m, max(8 * k, m // 8))
    tops = np.empty(width, np.float32)
    columns, found, kept = np.empty(width + 1, np.int64), np.empty(m + 1, np.int64), np.empty(m + 1, np.float32)
    for i in range(n):
        row = products[i]
        for j in range(width):
            tops[j] = row[j] + bias[j]
        for start in range(width, m, width):
            strip, biases = row[start : start + width], bias[start : start + width]
            for j in range(len(strip)):
                v = strip[j] + biases[j]
                tops[j] = v if v > tops[j] else tops[j]
        least = least_of_largest(tops, k)
        n_columns = n_found = 0
        for j in range(width):  # written always, kept where the next one is not written over it
            columns[n_columns] = j
            n_columns += tops[j] >= least
        for j in columns[:n_columns]:
            for column in range(j, m, width):
                v = row[column] + bias[column]
                found[n_found], kept[n_found] = column, v
                n_found += v >= least
        _choose(kept[:n_found], found[:n_found], values[i], where[i])


@compiled(fastmath=SUMS, error_model="numpy")
def add(products: np.ndarray, bias: np.ndarray) -> None:
    """Add `bias` (m,) to each row of `products` (n, m)."""
    for i in range(len(products)):
        row = products[i]
        for j in range(len(bias)):
            row[j] += bias[j]


@compiled(fastmath=SUMS, error_model="numpy")
def reaching(rows: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the numbers of `rows` (n, m) that are at least `least` (m,): (n_found,), with their rows and columns."""
    n, m = rows.shape
    counts = np.empty(n, np.int64)
    for i in range(n):
        row, n_reaching = rows[i], np.float32(0)
        for j in range(m):
            n_reaching += np.float32(1) if row[j] >= least[j] else np.float32(0)
        counts[i] = np.int64(n_reaching)
    n_found = counts.sum()
    values = np.empty(n_found, np.float32)
    row_of, column_of = np.empty(n_found, np.int64), np.empty(n_found, np.int64)
    place = 0
    for i in range(n):
        row, end = rows[i], place + counts[i]
        for j in range(m):
            if place == end:
                break
            values[place], row_of[place], column_of[place] = row[j], i, j
            place += row[j] >= least[j]
    return values, row_of, column_of


@compiled(error_model="numpy")
def _choose(kept: np.ndarray, found: np.ndarray, values: np.ndarray, where: np.ndarray) -> None:
    """Fill `values` (k,) with the k largest of `kept`, of equal ones the first, and `where` with their `found`."""
    k, n_found, taken = len(where), len(kept), 0
    least = least_of_largest(kept, k) if n_found > k else np.float32(-np.inf)
    for c in range(n_found):
        if taken < k and (kept[c] > least or n_found == k):
            values[taken], where[taken] = max(kept[c], np.float32(0)), found[c]
            taken += 1
    for c in range(n_found):
        if taken < k and kept[c] == least:
            values[taken], where[taken] = max(kept[c], np.float32(0)), found[c]
            taken += 1
    if taken < k:  # numbers that are not finite: the loss is to tell
        values[:], where[:] = np.float32(np.nan), np.arange(k)


@compiled(fastmath=SUMS, error_model="numpy")
def decode(values: np.ndarray, where: np.ndarray, W_dec: np.ndarray, levels: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` (n_levels, n, d_in): what the neurons up to each level make of the activations."""
    n_levels, n, d_in = out.shape
    k = values.shape[1]
    active = np.empty(k + 4, np.int64)
    for i in range(n):
        for level in range(n_levels):
            sums = out[level, i]
            sums[:] = 0
            if level:
                sums[:] = out[level - 1, i]
            n_active = 0
            for p in range(k):
                active[n_active] = p
                n_active += (values[i, p] != 0) & (levels[where[i, p]] == level)
            for some in range(0, n_active - 3, 4):
                p, q, r, s = active[some], active[some + 1], active[some + 2], active[some + 3]
                a, b, c, d = values[i, p], values[i, q], values[i, r], values[i, s]
                P, Q, R, S = W_dec[where[i, p]], W_dec[where[i, q]], W_dec[where[i, r]], W_dec[where[i, s]]
                for j in range(d_in):
                    sums[j] += (a * P[j] + b * Q[j]) + (c * R[j] + d * S[j])
            for p in active[n_active - n_active % 4 : n_active]:
                a, P = values[i, p], W_dec[where[i, p]]
                for j in range(d_in):
                    sums[j] += a * P[j]


@compiled()
def fired(values: np.ndarray, where: np.ndarray, out: np.ndarray) -> None:
    """Set `out` (d_sae,) bool for the neurons of which some activation is above 0."""
    for i in range(values.shape[0]):
        for p in range(values.shape[1]):
            if values[i, p] > 0:
                out[where[i, p]] = True


@compiled()
def _by_neuron(kept: np.ndarray, where: np.ndarray, d_sae: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the `kept` pairs by neuron: those of neuron j are `pairs[start[j] : start[j + 1]]`, in the order of rows."""
    flat_kept, flat_where = kept.ravel(), where.ravel()
    start = np.zeros(d_sae + 1, np.int64)
    for pair in range(len(flat_where)):
        if flat_kept[pair]:
            start[flat_where[pair] + 1] += 1
    for j in range(d_sae):
        start[j + 1] += start[j]
    place = start[:-1].copy()
    pairs = np.empty(start[d_sae], np.int64)
    for pair in range(len(flat_where)):
        if flat_kept[pair]:
            j = flat_where[pair]
            pairs[place[j]] = pair
            place[j] += 1
    return start, pairs


@compiled(fastmath=SUMS, error_model="numpy")
def backward_decode(
    gradient: np.ndarray,
    values: np.ndarray,
    where: np.ndarray,
    W_dec: np.ndarray,
    levels: np.ndarray,
    to_values: np.ndarray,
    to_W_dec: np.ndarray,
) -> None:
    """Fill the gradients of what went into `decode`.

    Args:
        gradient: (n_levels, n, d_in): of each reconstruction and all later ones.
        values: As in `decode`, like the next three.
        where: (n, k).
        W_dec: (d_sae, d_in).
        levels: (d_sae,).
        to_values: (n, k), to be filled; 0 where there is no pair.
        to_W_dec: (d_sae, d_in), to be filled.
    """
    d_in, k = gradient.shape[2], values.shape[1]
    flat_values, flat_to_values = values.ravel(), to_values.ravel()
    flat_to_values[:] = 0
    start, pairs = _by_neuron(where >= 0, where, len(W_dec))
    for j in range(len(W_dec)):
        sums, weights, level = to_W_dec[j], W_dec[j], levels[j]
        sums[:] = 0
        for pair in pairs[start[j] : start[j + 1]]:
            row, v, product = gradient[level, pair // k], flat_values[pair], np.float32(0)
            for c in range(d_in):
                product += row[c] * weights[c]
                sums[c] += v * row[c]
            flat_to_values[pair] = product


@compiled(fastmath=SUMS, error_model="numpy")
def backward_encode(
    gradient: np.ndarray,
    values: np.ndarray,
    where: np.ndarray,
    x: np.ndarray,
    to_encoder: np.ndarray,
    to_bias: np.ndarray,
) -> None:
    """Fill the gradients of an encoder and its bias, which those pairs have of which the activation is not 0.

    Args:
        gradient: (n, k) of the activations.
        values: (n, k) the activations.
        where: (n, k).
        x: (n, d_in) what was encoded.
        to_encoder: (d_sae, d_in), to be filled.
        to_bias: (d_sae,), to be filled.
    """
    k, d_in = values.shape[1], x.shape[1]
    flat_gradient = gradient.ravel()
    start, pairs = _by_neuron(values != 0, where, len(to_encoder))
    for j in range(len(to_encoder)):
        sums, total = to_encoder[j], np.float32(0)
        sums[:] = 0
        for pair in pairs[start[j] : start[j + 1]]:
            row, g = x[pair // k], flat_gradient[pair]
            total += g
            for c in range(d_in):
                sums[c] += g * row[c]
        to_bias[j] = total


@compiled(fastmath=SUMS, error_model="numpy")
def adam(
    parameter: np.ndarray,
    gradient: np.ndarray,
    mean: np.ndarray,
    mean_square: np.ndarray,
    new_1: np.float32,
    new_2: np.float32,
    rate: np.float32,
    root: np.float32,
    epsilon: np.float32,
    on_sphere: bool,
) -> None:
    """Move the rows of a parameter once as Adam does.

    Args:
        parameter: (n, d), changed.
        gradient: (n, d).
        mean: (n, d) running mean of the gradient, changed.
        mean_square: (n, d) running mean of its square, changed.
        new_1: How much of `mean` is new, `1 - beta_1`: not computed here, where it would lose digits.
        new_2: How much of `mean_square` is new, `1 - beta_2`.
        rate: Learning rate over `1 - beta_1^t`.
        root: Root of `1 - beta_2^t`.
        epsilon: Keeps the division finite.
        on_sphere: The part of a gradient along its row is left out, and rows are brought to length 1.
    """
    n, d = parameter.shape
    for i in range(n):
        row, slope, m, s = parameter[i], gradient[i], mean[i], mean_square[i]
        along, square = np.float32(0), np.float32(0)
        if on_sphere:
            for c in range(d):
                along += slope[c] * row[c]
        for c in range(d):
            g = slope[c] - along * row[c]
            m[c] += new_1 * (g - m[c])
            s[c] += new_2 * (g * g - s[c])
            row[c] -= rate * m[c] / (np.sqrt(s[c]) / root + epsilon)
        if on_sphere:
            for c in range(d):
                square += row[c] * row[c]
            length = max(np.sqrt(square), TINY)
            for c in range(d):
                row[c] /= length
