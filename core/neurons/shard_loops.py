"""The inner loops of `core.neurons.shards`, compiled. Nothing here checks its arguments."""

import numpy as np

from core.sae.kernels import compiled

__all__ = ["add_pairs", "add_rows"]


@compiled()
def add_rows(
    acts: tuple[np.ndarray, np.ndarray, np.ndarray],
    ids: np.ndarray,
    shape: tuple[int, int],
    counts: np.ndarray,
    mantissas: np.ndarray,
    top: np.ndarray,
) -> None:
    """Count some rows into the arrays of `Stats`.

    Args:
        acts: `indptr`, `indices` and the bits of the float32 activations as int32, by rows. Only those above 0 count.
        ids: (n,) int64.
        shape: How far to shift the bits of an activation to have the number of its bin, and the first bin's number.
        counts: (d_sae, n_bins) int32, changed.
        mantissas: (d_sae, 256) int64, changed.
        top: (d_sae, n_top) int64 ascending keys, changed.
    """
    indptr, indices, bits = acts
    shift, first = shape
    last_bin, n_top = counts.shape[1] - 1, top.shape[1]
    for row in range(len(ids)):
        for place in range(indptr[row], indptr[row + 1]):
            b, j = np.int64(bits[place]), indices[place]
            if b <= 0:  # the sign is the highest bit, and +0 is 0
                continue
            counts[j, min(max((b >> shift) - first, 0), last_bin)] += 1
            exponent = b >> 23
            mantissas[j, exponent] += (b & 0x7FFFFF) | (0x800000 if exponent else 0)
            key = ((0x7FFFFFFF - b) << 32) | ids[row]
            keys = top[j]
            if key < keys[n_top - 1]:
                at = n_top - 1
                while at > 0 and keys[at - 1] > key:
                    keys[at] = keys[at - 1]
                    at -= 1
                keys[at] = key


@compiled()
def add_pairs(indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, counts: np.ndarray) -> None:
    """Count into `counts` (d_sae, d_sae) int32 the rows in which two neurons both fire; changed.

    Args:
        indptr: Of the activations by rows.
        indices: Their neurons, each at most once a row.
        data: Their values; only those above 0 count.
        counts: Changed.
    """
    for row in range(len(indptr) - 1):
        for place in range(indptr[row], indptr[row + 1]):
            if data[place] > 0:
                partners = counts[indices[place]]
                for other in range(indptr[row], indptr[row + 1]):
                    if data[other] > 0:
                        partners[indices[other]] += 1
