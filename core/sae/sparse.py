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


def encode_above(
    x: Tensor, b_dec: Tensor | None, encoder: Tensor, b_enc: Tensor, threshold: Tensor, bandwidth: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Give JumpReLU of z = `(x - b_dec) @ encoder.T + b_enc` and L0, with pseudo-gradients for the thresholds.

    Rajamanoharan et al. 2024, "Jumping Ahead", equations 11 and 12:

        JumpReLU(z) = z H(z - θ)        H(u) = 1 where u > 0, else 0
        dJumpReLU/dz = H(z - θ)         dJumpReLU/dθ = -(θ / ε) K((z - θ) / ε)        K(u) = 1 where |u| < 1/2, else 0
        dH/dz = 0                       dH/dθ        = -(1 / ε) K((z - θ) / ε)

    Both are flat in θ almost everywhere, so that their true gradients say nothing. These estimate how the loss EXPECTED
    over embeddings changes with θ, from those embeddings whose value lies within ε / 2 of it.

    Args:
        x: (n, d_in), which gets no gradient.
        b_dec: (d_in,), or None: 0.
        encoder: (d_sae, d_in).
        b_enc: (d_sae,).
        threshold: (d_sae,) θ, above 0.
        bandwidth: ε, in units of z.

    Returns:
        (n, w) activations and (n, w) int64 numbers of neurons, as wide as the row with most has it: those that fire,
        and with 0 those that nearly do; 0 and -1 where a row has fewer. (n,) numbers of neurons that fire.
    """
    return _EncodeAbove.apply(x, b_dec, encoder, b_enc, threshold, bandwidth)  # type: ignore[no-untyped-call]


def decode_levels(values: Tensor, where: Tensor, W_dec: Tensor, borders: Sequence[int] = ()) -> Tensor:
    """Give `sum_p values[i, p] W_dec[where[i, p]]` over the neurons before each border, (n_borders, n, d_in).

    Args:
        values: (n, k).
        where: (n, k) int64; -1 where there is no neuron, with a value of 0.
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
    before = _all(centred, rows, biases)
    sample = np.sort(before.ravel()[:: before.size // N_SAMPLED | 1])  # odd: of all columns
    share, tiny = 1.5 * k / len(rows), np.float32(np.finfo(np.float32).tiny)
    while True:
        guess = sample[max(0, int(len(sample) * (1 - share)))] if share < 1 else tiny
        guess = max(guess, tiny) if np.isfinite(guess) else tiny
        kept, row_of, column_of = kernels.reaching(before, np.full(len(rows), guess))
        if len(kept) >= n_kept or guess == tiny:
            break
        share *= 2
    if len(kept) > n_kept:
        stay = np.sort(np.argpartition(-kept, n_kept - 1)[:n_kept])
        kept, row_of, column_of = kept[stay], row_of[stay], column_of[stay]
    return _padded(kept, row_of, column_of, n)


def _all(centred: np.ndarray, rows: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """Give all values before the gate, (n, d_sae)."""
    before = _products(centred, rows, np.empty((len(centred), len(rows)), np.float32))
    kernels.add(before, biases)
    return before


def _padded(found: np.ndarray, row_of: np.ndarray, column_of: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Give what was found, row by row, and the columns: 0 and -1 where a row has fewer than others."""
    counts = np.bincount(row_of, minlength=n)
    place = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
    values = np.zeros((n, max(1, int(counts.max()))), np.float32)
    where = np.full(values.shape, -1)
    values[row_of, place], where[row_of, place] = found, column_of
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
        return *_backward(ctx, gradient, *ctx.saved_tensors), None


class _EncodeAbove(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, b_dec: Tensor | None, encoder: Tensor, b_enc: Tensor, threshold: Tensor, bandwidth: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        centred, least = x if b_dec is None else x - b_dec, threshold.numpy()
        before = _all(centred.numpy(), encoder.numpy(), b_enc.numpy())
        z, where = _padded(*kernels.reaching(before, least - np.float32(bandwidth / 2)), len(x))
        fires = (z > least[where]) & (where >= 0)
        near = (np.abs(z - least[where]) < bandwidth / 2) & (where >= 0)
        values, neurons = torch.from_numpy(np.where(fires, z, 0)), torch.from_numpy(where)
        ctx.mark_non_differentiable(neurons)
        ctx.save_for_backward(centred, encoder, values, neurons, threshold, torch.from_numpy(near))
        ctx.is_centred, ctx.bandwidth = b_dec is not None, bandwidth
        return values, neurons, torch.from_numpy(fires.sum(axis=1, dtype=np.float32))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor, of_count: Tensor) -> tuple[Tensor | None, ...]:
        *saved, threshold, near = ctx.saved_tensors
        rows, places = near.nonzero(as_tuple=True)
        neurons = saved[-1][rows, places]
        slopes = -(threshold[neurons] * gradient[rows, places] + of_count[rows]) / ctx.bandwidth
        to_threshold = np.bincount(neurons.numpy(), weights=slopes.numpy(), minlength=len(threshold))
        return *_backward(ctx, gradient, *saved), torch.from_numpy(to_threshold.astype(np.float32)), None


def _backward(
    ctx: Any, gradient: Tensor, centred: Tensor, encoder: Tensor, values: Tensor, where: Tensor
) -> tuple[Tensor | None, ...]:
    """Give the gradients of x (none), b_dec, the encoder and b_enc, from that of the activations."""
    to_encoder, to_b_enc = np.empty_like(encoder.numpy()), np.empty(len(encoder), np.float32)
    kernels.backward_encode(
        gradient.contiguous().numpy(), values.numpy(), where.numpy(), centred.numpy(), to_encoder, to_b_enc
    )
    to_b_dec = torch.from_numpy(-(to_b_enc @ encoder.numpy())) if ctx.is_centred else None
    return None, to_b_dec, torch.from_numpy(to_encoder), torch.from_numpy(to_b_enc)


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
