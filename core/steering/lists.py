"""The lists of many viewers, steered along many directions: what every measurement of steerability counts in."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.data.dataset import Histories, to_matrix
from core.recommenders.base import Recommender, resolve

N_LISTED = 20
"""Length of the lists in which shares are counted."""
_ROWS = 512
"""Steered embeddings that a scorer without a linear form scores at a time."""


class Panel(NamedTuple):
    """The viewers on whom edits are measured."""

    embeddings: np.ndarray
    """(n_viewers, d_in) float32."""
    scale: np.ndarray
    """(n_viewers,) float32: what the SAE's normalisation divided each viewer by."""
    scores: np.ndarray
    """(n_viewers, n_items) float32 of the unsteered viewers, -inf for what each has seen."""

    @property
    def n(self) -> int:
        """Number of viewers."""
        return len(self.scores)

    def part(self, which: slice) -> "Panel":
        """Give some of the viewers."""
        return Panel(self.embeddings[which], self.scale[which], self.scores[which])

    def without(self, items: np.ndarray) -> "Panel":
        """Give the same viewers with lists that leave out some items: (n_items,) bool."""
        return Panel(self.embeddings, self.scale, np.where(items, np.float32(-np.inf), self.scores))


def panel(model: Recommender, embeddings: np.ndarray, scale: np.ndarray, seen: Histories) -> Panel:
    """Give a panel of viewers, scored once.

    Args:
        model: The recommender.
        embeddings: (n_viewers, d_in).
        scale: (n_viewers,) or (n_viewers, 1), see `core.sae.model.SAE.normalise`.
        seen: Items of each viewer that no list may show.
    """
    scores = np.array(model.score(embeddings), np.float32, ndmin=2)
    mask = to_matrix(seen, model.n_items)
    scores[np.repeat(np.arange(len(scores)), np.diff(mask.indptr)), mask.indices] = -np.inf
    scale = np.broadcast_to(np.asarray(scale, np.float32).reshape(-1), len(scores))
    return Panel(np.asarray(embeddings, np.float32), scale, scores)


def steered_lists(
    model: Recommender, viewers: Panel, direction: np.ndarray, strengths: Sequence[float] | np.ndarray, n: int
) -> np.ndarray:
    """Give the top-n items of every viewer at every strength of one edit: `u' = u + strength * scale(u) * direction`.

    For a linear scorer the edit adds `strength * scale(u) * <direction, v_i>` to each score: a row of the size of the
    catalogue, added to scores that were computed once. The lists are those of `core.recommenders.base.rank` on these
    sums, item for item; through `core.steering.steering.steer` the last digit of a score may differ.

    Args:
        model: The recommender that scored the panel.
        viewers: Whose lists.
        direction: (d_in,) float32, for example a row of the decoder.
        strengths: (n_strengths,) finite.
        n: List length.

    Returns:
        (n_viewers, n_strengths, n) int32 items in no order, -1 where a list ran out.
    """
    doses = viewers.scale[:, None] * np.asarray(strengths, np.float32)[None, :]
    out = np.empty((*doses.shape, n), np.int32)
    direction = np.asarray(direction, np.float32)
    top_items = resolve("core.steering.kernels:top_items")  # a page reads curves and never compiles loops
    if model.linear is not None:
        top_items(viewers.scores, model.linear.V @ direction, doses, out)
        return out
    nothing, still = np.zeros(model.n_items, np.float32), np.zeros((1, 1), np.float32)
    places = [(u, s) for u in range(viewers.n) for s in range(doses.shape[1])]
    for start in range(0, len(places), _ROWS):
        users, which = (np.array(part) for part in zip(*places[start : start + _ROWS], strict=True))
        steered = viewers.embeddings[users] + doses[users, which][:, None] * direction
        scores = np.array(model.score(steered), np.float32)
        scores[np.isneginf(viewers.scores[users])] = -np.inf
        some = np.empty((len(users), 1, n), np.int32)
        top_items(scores, nothing, np.broadcast_to(still, (len(users), 1)), some)
        out[users, which] = some[:, 0]
    return out


def shares(lists: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give the share of each list that has a concept: (...) float32 of (..., n) items, -1 padded; NaN for no item."""
    member = np.append(np.asarray(mask, np.float32), np.float32(0))  # -1, no item, points at the last one
    listed = (lists >= 0).sum(axis=-1)
    counted = member[lists].sum(axis=-1)
    return np.divide(counted, listed, out=np.full(counted.shape, np.nan, np.float32), where=listed > 0)
