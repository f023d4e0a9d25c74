"""What the neurons know of one item: which ones it fires and how high, and which items are like it."""

from typing import NamedTuple

import numpy as np
from scipy import sparse


class Places(NamedTuple):
    """The neurons that one item fires, those that it fires nearly as strongly as any item does first."""

    neurons: np.ndarray
    """(n_active,) int64."""
    acts: np.ndarray
    """(n_active,)."""
    shares: np.ndarray
    """(n_active,) in (0, 1]: its activation over the highest of all items."""
    ranks: np.ndarray
    """(n_active,) int64 from 1: items that fire it more, and one; equal ones share a rank."""
    n_firing: np.ndarray
    """(n_active,) int64 items that fire it at all."""


def places(acts: sparse.csc_matrix, item: int) -> Places:
    """Give where an item stands in each of the neurons that it fires.

    Args:
        acts: (n_items, d_sae) activations of the items, by columns.
        item: Its row.
    """
    row = np.asarray(acts[[item]].todense()).ravel()
    active = np.flatnonzero(row > 0)
    ranks, n_firing = np.zeros(len(active), np.int64), np.zeros(len(active), np.int64)
    shares = np.zeros(len(active))
    for i, j in enumerate(active):
        column = acts.data[acts.indptr[j] : acts.indptr[j + 1]]
        ranks[i], n_firing[i] = (column > row[j]).sum() + 1, (column > 0).sum()
        shares[i] = row[j] / column.max()
    order = np.lexsort((active, -row[active], -shares))
    return Places(active[order], row[active][order], shares[order], ranks[order], n_firing[order])


class Alike(NamedTuple):
    """The items most like one item, most alike first."""

    items: np.ndarray
    """(n,) int64."""
    cosines: np.ndarray
    """(n,) in [-1, 1]."""


def alike(rows: np.ndarray | sparse.csr_matrix, item: int, n: int) -> Alike:
    """Give the items whose row has the highest cosine with an item's: codes of an SAE, or the embeddings themselves.

    Args:
        rows: (n_items, width).
        item: The one that is asked for, left out of the answer.
        n: How many at most. Rows of zeros are like nothing and stay out; an item whose own row is has no like.
    """
    if isinstance(rows, np.ndarray):
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
        products = rows.astype(np.float64) @ rows[item].astype(np.float64)
    else:
        lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), np.float64).ravel())
        products = np.asarray((rows @ rows[[item]].T).todense(), np.float64).ravel()
    there = lengths > 0
    there[item] = False
    if not lengths[item]:
        return Alike(np.empty(0, np.int64), np.empty(0))
    cosines = np.divide(products, lengths * lengths[item], out=np.full(len(lengths), -np.inf), where=there)
    order = np.argsort(-cosines, kind="stable")[: min(n, int(there.sum()))]
    return Alike(order, cosines[order])


def shared(rows: sparse.csr_matrix, item: int, other: int, n: int) -> np.ndarray:
    """Give the (<= n,) neurons that both items fire, those that make their codes most alike first: by z_a z_b."""
    product = rows[[item]].multiply(rows[[other]]).tocsr()
    order = np.lexsort((product.indices, -product.data))[:n]
    return np.asarray(product.indices[order], np.int64)
