"""Encoding and decoding that touch active neurons only, with gradients.

Of the (n, d_sae) values before the gate only those of the chosen neurons are kept. Outputs and gradients are those of
the same equations over full matrices, up to the order of summation; `core.sae.kernels` has the loops. Products with the
encoder are NumPy's, as at inference.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from core.sae import kernels

Choose = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

N_ROWS = 256
"""Rows of which the values before the gate are held at a time."""
N_SAMPLED = 2**16
"""Values before the gate that are looked at to guess how large those are that stay."""


def encode_strongest(
    x: Tensor, b_dec: Tensor | None, encoder: Tensor, b_enc: Tensor, k: int, among: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Give the k largest of each row of `(x - b_dec) @ encoder.T + b_enc`, 0 for those below 0, and which they are.

    Args:
        x: (n, d_in), which gets no gradient.
        b_dec: (d_in,), or None: 0.
        encoder: (d_sae, d_in).
        b_enc: (d_sae,).
        k: All neurons are chosen where there are fewer.
        among: (d_sae,) bool, some of them: the neurons to choose from; None: all.

    Returns:
        (n, k) activations and (n, k) int64 numbers of neurons, in no order, but always the same.
    """
    chosen = None if among is None else among.numpy().nonzero()[0]

    def choose(centred: np.ndarray, rows: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if chosen is not None:
            rows, biases = rows[chosen], biases[chosen]
        values, where = _of_each(centred, rows, biases, min(k, len(rows)))
        return values, where if chosen is None else chosen[where]

    return _Encode.apply(x, b_dec, encoder, b_enc, choose)  # type: ignore[no-untyped-call]


def encode_strongest_of_batch(
    x: Tensor, b_dec: Tensor | None, encoder: Tensor, b_enc: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Give the n k largest of the n rows of `(x - b_dec) @ encoder.T + b_enc` together, of those above 0.

    Args:
        x: (n, d_in), which gets no gradient.
        b_dec: (d_in,), or None: 0.
        encoder: (d_sae, d_in).
        b_enc: (d_sae,).
        k: At most d_sae.

    Returns:
        (n, w) activations and (n, w) int64 numbers of neurons, as wide as the row with most has it: 0 and -1 where a
        row has fewer.
    """

    def choose(centred: np.ndarray, rows: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _of_all(centred, rows, biases, k)

    return _Encode.apply(x, b_dec, encoder, b_enc, choose)  # type: ignore[no-untyped-call]


def decode_levels(values: Tensor, where: Tensor, W_dec: Tensor, borders: Sequence[int] = ()) -> Tensor:
    """Give `sum_p values[i, p] W_dec[where[i, p]]` over the neurons before each border, (n_borders, n, d_in).

    Args:
        values: (n, k).
        where: (n, k) int64; does not matter where the value is 0.
        W_dec: (d_sae, d_in).
        borders: Rising numbers of neurons, the last one d_sae; empty: all neurons.
    """
    borders = tuple(borders) or (len(W_dec),)
    return _DecodeLevels.apply(values, where, W_dec, borders)  # type: ignore[no-untyped-call]


def fired(values: Tensor, where: Tensor, d_sae: int) -> Tensor:
    """Give (d_sae,) bool: which neurons are above 0 in some row."""
    out = np.zeros(d_sae, np.bool_)
    kernels.fired(values.detach().numpy(), where.numpy(), out)
    return torch.from_numpy(out)


def _of_each(centred: np.ndarray, rows: np.ndarray, biases: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the k largest of each row, a few rows at a time."""
    n = len(centred)
    values, where = np.empty((n, k), np.float32), np.empty((n, k), np.int64)
    buffer = np.empty((min(n, N_ROWS), len(rows)), np.float32)
    for start in range(0, n, N_ROWS):
        part = slice(start, min(start + N_ROWS, n))
        products = _products(centred[part], rows, buffer[: part.stop - start])
        kernels.largest(products, biases, k, values[part], where[part])
    return values, where


def _of_all(centred: np.ndarray, rows: np.ndarray, biases: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the n k largest of all rows that are above 0, as `encode_strongest_of_batch` has them.

    A sample says what number a few more than n k exceed, so that few have to be sorted. It decides how long this takes,
    not what comes out.
    """
    n, n_kept = len(centred), len(centred) * k
    before = _products(centred, rows, np.empty((n, len(rows)), np.float32))
    kernels.add(before, biases)
    sample = np.sort(before.ravel()[:: before.size // N_SAMPLED | 1])  # odd: of all columns
    share, tiny = 1.5 * k / len(rows), np.float32(np.finfo(np.float32).tiny)
    while True:
        guess = sample[max(0, int(len(sample) * (1 - share)))] if share < 1 else tiny
        guess = max(guess, tiny) if np.isfinite(guess) else tiny
        kept, row_of, column_of = kernels.reaching(before, guess)
        if len(kept) >= n_kept or guess == tiny:
            break
        share *= 2
    if len(kept) > n_kept:
        stay = np.sort(np.argpartition(-kept, n_kept - 1)[:n_kept])
        kept, row_of, column_of = kept[stay], row_of[stay], column_of[stay]
    counts = np.bincount(row_of, minlength=n)
    place = np.arange(len(kept)) - np.repeat(np.cumsum(counts) - counts, counts)
    values = np.zeros((n, max(1, int(counts.max()))), np.float32)
    where = np.full(values.shape, -1)
    values[row_of, place], where[row_of, place] = kept, column_of
    return values, where


def _products(x: np.ndarray, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Fill `out` with `x @ rows.T`. Numbers that are not finite come out in the loss."""
    with np.errstate(all="ignore"):
        return np.matmul(x, rows.T, out=out)


class _Encode(torch.autograd.Function):
    """The activations that `choose(centred, encoder, b_enc)` gives, and the neurons that they belong to."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, b_dec: Tensor | None, encoder: Tensor, b_enc: Tensor, choose: Choose
    ) -> tuple[Tensor, Tensor]:
        centred = x if b_dec is None else x - b_dec
        values, where = (torch.from_numpy(part) for part in choose(centred.numpy(), encoder.numpy(), b_enc.numpy()))
        ctx.mark_non_differentiable(where)
        ctx.save_for_backward(centred, encoder, values, where)
        ctx.is_centred = b_dec is not None
        return values, where

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        centred, encoder, values, where = (part.numpy() for part in ctx.saved_tensors)
        to_encoder, to_b_enc = np.empty_like(encoder), np.empty(len(encoder), np.float32)
        kernels.backward_encode(gradient.contiguous().numpy(), values, where, centred, to_encoder, to_b_enc)
        to_b_dec = torch.from_numpy(-(to_b_enc @ encoder)) if ctx.is_centred else None
        return None, to_b_dec, torch.from_numpy(to_encoder), torch.from_numpy(to_b_enc), None


class _DecodeLevels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, where: Tensor, W_dec: Tensor, borders: tuple[int, ...]) -> Tensor:
        ctx.levels = np.searchsorted(borders, np.arange(len(W_dec)), side="right")
        ctx.save_for_backward(values, where, W_dec)
        out = np.empty((len(borders), len(values), W_dec.shape[1]), np.float32)
        kernels.decode(values.numpy(), where.numpy(), W_dec.numpy(), ctx.levels, out)
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, where, W_dec = (part.numpy() for part in ctx.saved_tensors)
        to_values, to_W_dec = np.empty_like(values), np.empty_like(W_dec)
        # Neurons of a level have a part in all later reconstructions.
        suffixes = gradient.flip(0).cumsum(0).flip(0) if len(gradient) > 1 else gradient
        kernels.backward_decode(suffixes.contiguous().numpy(), values, where, W_dec, ctx.levels, to_values, to_W_dec)
        return torch.from_numpy(to_values), None, torch.from_numpy(to_W_dec), None
