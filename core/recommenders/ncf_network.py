"""The network of neural collaborative filtering: its scores, their slopes, and the fold-in through it.

The first layer reads a viewer beside an item, so what it gives is the sum of a viewer's half and an item's half: one
product for each viewer and each item, and only the addition for each pair of them (here: a cell).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import expit

CELLS = 8192
"""Cells that are computed at a time, about: what a layer gives stays in the cache."""
EPSILON = 1e-30


class Network(NamedTuple):
    """What gives a score to the vector of a viewer; arrays are float32, d = embedding_size, g = gmf_size."""

    items: np.ndarray
    """(n_items, d + g)."""
    weights: Sequence[np.ndarray]
    """(in, out) of each hidden layer; the first has in = 2 d, the viewer's rows above the item's."""
    biases: Sequence[np.ndarray]
    """(out,) of each hidden layer."""
    w_out: np.ndarray
    """(out of the last hidden layer + g,): of that layer, then of the products."""
    b_out: float

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Network":
        """Put a network together from `items`, `W_0`, `b_0`, `W_1`, .., `w_out` and `b_out`.

        Raises:
            ValueError: The shapes do not fit each other.
        """
        n_layers = sum(name.startswith("W_") for name in arrays)
        weights, biases = ([arrays[f"{kind}_{layer}"] for layer in range(n_layers)] for kind in "Wb")
        network = cls(arrays["items"], weights, biases, arrays["w_out"], float(arrays["b_out"][0]))
        d, g = network.embedding_size, network.items.shape[1] - network.embedding_size
        widths = [2 * d, *(len(b) for b in biases)]
        fits = [W.shape for W in weights] == list(pairwise(widths))
        if not fits or g < 0 or network.w_out.shape != (widths[-1] + g,):
            shapes = {name: array.shape for name, array in arrays.items()}
            raise ValueError(f"shapes do not fit each other: {shapes}")
        return network

    @property
    def embedding_size(self) -> int:
        """d: how much of a vector goes through the hidden layers."""
        return len(self.weights[0]) // 2

    def user_half(self, users: np.ndarray) -> np.ndarray:
        """Give the (n, h) half of the first layer that is the viewer's."""
        d = self.embedding_size
        return np.asarray(users[:, :d] @ self.weights[0][:d])

    def item_half(self) -> np.ndarray:
        """Give the (n_items, h) half of the first layer that is the item's, the bias with it."""
        d = self.embedding_size
        return np.asarray(self.items[:, :d] @ self.weights[0][d:] + self.biases[0])

    def products(self) -> np.ndarray:
        """Give (n_items, g): the second part of a viewer's vector times these is the share of GMF in the score."""
        return np.asarray(self.items[:, self.embedding_size :] * self.w_out[len(self.biases[-1]) :])

    def mlp(self, first: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Give the (n_cells,) scores of the hidden layers, and what each of these layers gives.

        Args:
            first: (n_cells, h) the sums of both halves; overwritten.
        """
        hidden = [np.maximum(first, 0, out=first)]
        for W, b in zip(self.weights[1:], self.biases[1:], strict=True):
            h = hidden[-1] @ W
            h += b
            hidden.append(np.maximum(h, 0, out=h))
        return hidden[-1] @ self.w_out[: len(self.biases[-1])] + np.float32(self.b_out), hidden

    def slopes(self, hidden: Sequence[np.ndarray]) -> np.ndarray:
        """Give (n_cells, d): the gradient of each score of `mlp` by the first part of its viewer's vector."""
        slope = (hidden[-1] > 0) * self.w_out[: len(self.biases[-1])]
        for W, h in zip(self.weights[:0:-1], hidden[-2::-1], strict=True):
            slope = slope @ W.T
            slope *= h > 0
        return np.asarray(slope @ self.weights[0][: self.embedding_size].T)

    def score(self, users: np.ndarray) -> np.ndarray:
        """Give the (n, n_items) float32 scores of (n, d + g) vectors."""
        users = np.asarray(users, np.float32)
        user_half, item_half = self.user_half(users), self.item_half()
        scores = np.asarray(users[:, self.embedding_size :] @ self.products().T)
        rows = max(1, CELLS // len(item_half))
        for start in range(0, len(users), rows):
            first = user_half[start : start + rows, None] + item_half
            scores[start : start + rows] += self.mlp(first.reshape(-1, first.shape[2]))[0].reshape(first.shape[:2])
        return scores


def fold_in(
    network: Network,
    histories: Sequence[np.ndarray],
    columns: np.ndarray,
    column_weight: np.ndarray,
    precision: np.ndarray,
    centre: np.ndarray,
    start: np.ndarray,
    n_steps: int,
) -> np.ndarray:
    """Give the (n, d + g + 1) vectors v = (u, b) after `n_steps` Newton steps down the loss of each history.

        sum_{i in h} softplus(-s_i) + |h| sum_j w_j softplus(s_j) + sum_k precision_k / 2 (v_k - centre_k)²

    with s_i = score_i(u) + b, over the items i of the history h and the items j that stand for all. Between the kinks
    of the ReLUs a score is linear in u, so the Hessian is exact and positive definite. A step is shortened by
    log(1 + M) / M, where M is the most that it would move any score, as in `core.recommenders.logistic`, and then to a
    quarter where it led up, across a kink. Each viewer is computed alone: the same numbers in any company.

    Args:
        network: Frozen.
        histories: Distinct item indices of each viewer.
        columns: (m,) the items j.
        column_weight: (m,) w: expected negatives of each of them per positive.
        precision: (n, d + g + 1) above 0.
        centre: (d + g + 1,).
        start: (n, d + g + 1).
        n_steps: Newton steps.
    """
    out = np.array(start, np.float64)
    item_half, products = network.item_half(), network.products()
    d, m = network.embedding_size, len(columns)
    for row, (h, prior) in enumerate(zip(histories, precision, strict=True)):
        v = out[row]
        items = np.concatenate([columns, h])
        weight = np.append(len(h) * column_weight, np.ones(len(h))).astype(np.float32)
        first, slopes = item_half[items], np.ones((len(items), len(v)), np.float32)
        slopes[:, d:-1] = products[items]
        best, share, step = np.inf, 1.0, np.zeros(len(v))
        here = v.copy()
        for _ in range(n_steps):
            scores, hidden = network.mlp(first + network.user_half(here[None].astype(np.float32)))
            scores += slopes[:, d:] @ here[d:].astype(np.float32)
            loss = weight @ np.logaddexp(0, scores) - scores[m:].sum() + prior @ (here - centre) ** 2 / 2
            if loss < best:
                best, v[:] = loss, here
                slopes[:, :d] = network.slopes(hidden)
                p = expit(scores)
                residual = weight * p
                residual[m:] -= 1
                hessian = slopes.T @ (slopes * (weight * p * (1 - p))[:, None]) + np.diag(prior)
                step = np.linalg.solve(hessian, residual @ slopes + prior * (v - centre))
                most = np.abs(slopes @ step.astype(np.float32)).max()
                share = np.log1p(most) / max(most, EPSILON)
            else:
                share /= 4
            here = v - share * step
        v[:] = here
    return out
