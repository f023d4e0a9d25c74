"""Which neurons fire for which embedding, without a full matrix of activations in between: inference in rows.

For anything that looks at every viewer of a log. The same activations as `SAE.encode`, up to the order of summation.
"""

import numpy as np
from scipy import sparse

from core.sae import kernels
from core.sae.model import SAE

N_ROWS = 256
"""Rows of which the values before the gate are held at a time."""


def encode(sae: SAE, X: np.ndarray) -> sparse.csr_matrix:
    """Give the (n, d_sae) float32 activations above 0, by rows.

    Args:
        sae: The encoder.
        X: (n, d_in) embeddings.
    """
    x_n = sae.normalise(X).x_n
    if sae.config.centre_input:
        x_n = x_n - sae.b_dec
    parts = [sparse.csr_matrix((0, sae.config.d_sae), dtype=np.float32)]
    buffer = np.empty((min(len(x_n), N_ROWS), sae.config.d_sae), np.float32)
    for start in range(0, len(x_n), N_ROWS):
        rows = x_n[start : start + N_ROWS]
        parts.append(_gated(sae, np.matmul(rows, sae.W_enc, out=buffer[: len(rows)])))
    return sparse.vstack(parts, format="csr") if len(parts) > 1 else parts[0]


def _gated(sae: SAE, products: np.ndarray) -> sparse.csr_matrix:
    n, d_sae = products.shape
    if sae.config.gate == "topk" and sae.config.k < d_sae:
        values, where = np.empty((n, sae.config.k), np.float32), np.empty((n, sae.config.k), np.int64)
        kernels.largest(products, sae.b_enc, sae.config.k, values, where)
        fires = values > 0
        return _by_rows(values[fires], where[fires], fires.sum(axis=1), d_sae)
    least = sae.threshold if sae.config.gate == "threshold" else np.zeros(d_sae, np.float32)
    kernels.add(products, sae.b_enc)
    above = np.nextafter(np.maximum(least, 0), np.float32(np.inf), dtype=np.float32)
    values, rows, neurons = kernels.reaching(products, above)
    return _by_rows(values, neurons, np.bincount(rows, minlength=n), d_sae)


def _by_rows(values: np.ndarray, neurons: np.ndarray, counts: np.ndarray, d_sae: int) -> sparse.csr_matrix:
    starts = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_matrix((values, neurons.astype(np.int32), starts.astype(np.int32)), (len(counts), d_sae))
