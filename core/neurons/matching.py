"""Which neuron of one SAE is which of another: one to one, also between SAEs of different recommenders.

On one recommender two neurons are alike when they push the same way and fire for the same viewers, as in
`core.neurons.stability`. The directions of two recommenders have nothing in common, so there it is the viewers and the
titles for which they fire.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from core.neurons.stability import SURVIVES, match
from core.seeding import generator

MOST = 4_096
"""Living neurons up to which all are assigned at once; beyond, two are a pair where each is the other's best."""
_CHUNK = 1_024


class Side(NamedTuple):
    """What the matching looks at of one SAE."""

    W_dec: np.ndarray
    """(d_sae, d_in)."""
    viewers: sparse.csc_matrix
    """(n_users, d_sae) activations of the viewers, the same ones for both SAEs."""
    items: sparse.csc_matrix
    """(n_items, d_sae) activations of the titles, the same ones for both SAEs."""

    @property
    def firing(self) -> np.ndarray:
        """Give the neurons that fire for a viewer or a title, ascending."""
        return np.flatnonzero((np.diff(self.viewers.indptr) > 0) | (np.diff(self.items.indptr) > 0))


class Matching(NamedTuple):
    """The pairs of two SAEs."""

    pairs: pd.DataFrame
    """`a`, `b` (neurons), `likeness`, and its parts `direction` (cosine of decoder rows, NaN on two recommenders),
    `viewers`, `titles` (correlation of activations); most alike first."""
    alone_a: np.ndarray
    """Living neurons of A without a partner."""
    alone_b: np.ndarray
    by: Literal["direction and viewers", "viewers and titles"]
    """Whose mean the likeness is."""
    chance: np.ndarray
    """(n_pairs,) likenesses of the same search where the rows of B were permuted: nothing in common is left."""

    @property
    def n_again(self) -> int:
        """Give the number of pairs that count as the same concept."""
        return int((self.pairs["likeness"] >= SURVIVES).sum())


def match_saes(a: Side, b: Side, *, same_recommender: bool, seed: int) -> Matching:
    """Match the living neurons of two SAEs one to one.

    Args:
        a: One SAE.
        b: Another one, of the same viewers and titles.
        same_recommender: Whether both rebuild the embeddings of one recommender.
        seed: Of the permutation that shows what chance reaches.

    Raises:
        ValueError: They are not of the same viewers, titles or embeddings.
    """
    if a.viewers.shape[0] != b.viewers.shape[0] or a.items.shape[0] != b.items.shape[0]:
        raise ValueError(
            f"{a.viewers.shape[0]} viewers and {a.items.shape[0]} titles on one side, "
            f"{b.viewers.shape[0]} and {b.items.shape[0]} on the other"
        )
    if same_recommender and a.W_dec.shape[1] != b.W_dec.shape[1]:
        raise ValueError(f"embeddings of {a.W_dec.shape[1]} and of {b.W_dec.shape[1]} numbers")
    own, others = a.firing, b.firing
    first, second = _of(a, own), _of(b, others)
    rows, columns, _ = _pairs(first, second, same_recommender)
    rng = generator(seed, "matching")
    viewers, items = rng.permutation(b.viewers.shape[0]), rng.permutation(b.items.shape[0])
    dimensions = rng.permutation(b.W_dec.shape[1])
    permuted = Side(second.W_dec[:, dimensions], second.viewers[viewers], second.items[items])
    parts = {
        "direction": _along(_unit(first.W_dec), _unit(second.W_dec), rows, columns) if same_recommender else np.nan,
        "viewers": _correlations_at(first.viewers, second.viewers, rows, columns),
        "titles": _correlations_at(first.items, second.items, rows, columns),
    }
    frame = pd.DataFrame({"a": own[rows], "b": others[columns], **parts})
    used = ("direction", "viewers") if same_recommender else ("viewers", "titles")
    frame.insert(2, "likeness", (frame[used[0]] + frame[used[1]]) / 2)
    frame = frame.iloc[np.lexsort((frame["a"], -frame["likeness"]))].reset_index(drop=True)
    return Matching(
        frame,
        np.setdiff1d(own, frame["a"]),
        np.setdiff1d(others, frame["b"]),
        "direction and viewers" if same_recommender else "viewers and titles",
        _pairs(first, permuted, same_recommender)[2],
    )


def correlation(a: sparse.csc_matrix, b: sparse.csc_matrix) -> np.ndarray:
    """Give the (d_a, d_b) Pearson correlations of the columns of two matrices; 0 where one does not vary.

    >>> a = sparse.csc_matrix(np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]))
    >>> correlation(a, sparse.csc_matrix(np.array([[3.0], [2.0], [1.0]]))).round(6).tolist()
    [[-1.0], [0.0]]
    """
    n = max(a.shape[0], 1)
    (mean_a, length_a), (mean_b, length_b) = _moments(a), _moments(b)
    shared = (a.T.astype(np.float64) @ b.astype(np.float64)).toarray() - n * np.outer(mean_a, mean_b)
    length = np.outer(length_a, length_b)
    return np.clip(np.divide(shared, length, out=np.zeros_like(shared), where=length > 0), -1.0, 1.0)


def _moments(x: sparse.csc_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Give the means of the columns and the lengths of what is left without them, 0 where that is only rounding."""
    n = max(x.shape[0], 1)
    mean = np.asarray(x.sum(axis=0, dtype=np.float64)).ravel() / n
    squares = np.asarray(x.multiply(x).sum(axis=0, dtype=np.float64)).ravel()
    left = squares - n * mean**2
    return mean, np.sqrt(np.where(left > 1e-9 * np.maximum(squares, 1e-300), left, 0.0))


def _of(side: Side, neurons: np.ndarray) -> Side:
    return Side(side.W_dec[neurons], side.viewers[:, neurons], side.items[:, neurons])


def _similarity(a: Side, b: Side, same_recommender: bool) -> np.ndarray:
    other = _unit(a.W_dec) @ _unit(b.W_dec).T if same_recommender else correlation(a.items, b.items)
    return np.asarray((correlation(a.viewers, b.viewers) + other) / 2)


def _pairs(a: Side, b: Side, same_recommender: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the rows and the columns of the pairs, and how alike they are."""
    n_a, n_b = len(a.W_dec), len(b.W_dec)
    if max(n_a, n_b) <= MOST:
        similar = _similarity(a, b, same_recommender)
        partners = match(similar)
        rows = np.flatnonzero(partners >= 0)
        return rows, partners[rows], similar[rows, partners[rows]]
    best_b, of_a = np.zeros(n_a, np.int64), np.zeros(n_a)
    best_a, of_b = np.zeros(n_b, np.int64), np.full(n_b, -np.inf)
    for start in range(0, n_a, _CHUNK):
        chunk = np.arange(start, min(start + _CHUNK, n_a))
        similar = _similarity(_of(a, chunk), b, same_recommender)
        best_b[chunk], of_a[chunk] = similar.argmax(axis=1), similar.max(axis=1)
        better = similar.max(axis=0) > of_b
        best_a[better] = chunk[similar.argmax(axis=0)[better]]
        of_b[better] = similar.max(axis=0)[better]
    rows = np.flatnonzero(best_a[best_b] == np.arange(n_a))
    return rows, best_b[rows], of_a[rows]


def _correlations_at(a: sparse.csc_matrix, b: sparse.csc_matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Give the correlations of some pairs of columns only."""
    (mean_a, length_a), (mean_b, length_b) = _moments(a), _moments(b)
    products = np.asarray(a[:, rows].astype(np.float64).multiply(b[:, columns]).sum(axis=0)).ravel()
    shared = products - a.shape[0] * mean_a[rows] * mean_b[columns]
    length = length_a[rows] * length_b[columns]
    return np.clip(np.divide(shared, length, out=np.zeros_like(shared), where=length > 0), -1.0, 1.0)


def _along(a: np.ndarray, b: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.asarray((a[rows] * b[columns]).sum(axis=1))


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
