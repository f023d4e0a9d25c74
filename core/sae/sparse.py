"""Encoding and decoding that touch active neurons only, with gradients.

Of the (n, d_sae) values before the gate only those of the k chosen neurons are kept: one buffer of `N_BUFFERED` numbers
is filled and read again and again. Outputs and gradients are those of the same equations over full matrices, up to the
order of summation; `core.sae.kernels` has the loops. Products with the encoder are NumPy's, whose BLAS is the one that
inference uses.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from core.sae import kernels

N_BUFFERED = 2**23
"""Values before the gate that are held at a time: 32 MiB."""


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
    values, where = _EncodeStrongest.apply(x, b_dec, encoder, b_enc, k, among)  # type: ignore[no-untyped-call]
    return values, where


def decode_levels(values: Tensor, where: Tensor, W_dec: Tensor, borders: Sequence[int] = ()) -> Tensor:
    """Give `sum_p values[i, p] W_dec[where[i, p]]` over the neurons before each border, (n_borders, n, d_in).

    Args:
        values: (n, k).
        where: (n, k) int64.
        W_dec: (d_sae, d_in).
        borders: Rising numbers of neurons, the last one d_sae; empty: all neurons.
    """
    borders = tuple(borders) or (len(W_dec),)
    return _DecodeLevels.apply(values, where, W_dec, borders)  # type: ignore[no-untyped-call]


class _EncodeStrongest(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, b_dec: Tensor | None, encoder: Tensor, b_enc: Tensor, k: int, among: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        centred = (x if b_dec is None else x - b_dec).numpy()
        rows, biases = encoder.numpy(), b_enc.numpy()
        chosen = None if among is None else among.numpy().nonzero()[0]
        if chosen is not None:
            rows, biases = rows[chosen], biases[chosen]
        n, d_sae = len(centred), len(rows)
        k = min(k, d_sae)
        values, where = np.empty((n, k), np.float32), np.empty((n, k), np.int64)
        size = min(n, max(1, N_BUFFERED // d_sae))
        buffer = np.empty((size, d_sae), np.float32)
        for start in range(0, n, size):
            part = slice(start, min(start + size, n))
            with np.errstate(all="ignore"):  # a loss that is not finite says so
                products = np.matmul(centred[part], rows.T, out=buffer[: part.stop - start])
            kernels.largest(products, biases, k, values[part], where[part])
        if chosen is not None:
            where = chosen[where]
        values_, where_ = torch.from_numpy(values), torch.from_numpy(where)
        ctx.mark_non_differentiable(where_)
        ctx.save_for_backward(torch.from_numpy(centred), encoder, values_, where_)
        ctx.is_centred = b_dec is not None
        return values_, where_

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        centred, encoder, values, where = (part.numpy() for part in ctx.saved_tensors)
        to_encoder, to_b_enc = np.empty_like(encoder), np.empty(len(encoder), np.float32)
        kernels.backward_encode(gradient.contiguous().numpy(), values, where, centred, to_encoder, to_b_enc)
        to_b_dec = torch.from_numpy(-(to_b_enc @ encoder)) if ctx.is_centred else None
        return None, to_b_dec, torch.from_numpy(to_encoder), torch.from_numpy(to_b_enc), None, None


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
