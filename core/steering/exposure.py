"""What lists show when one neuron after the other is promoted: the measure of what steering it brings."""

from collections.abc import Callable, Sequence

import numpy as np

from core.recommenders.base import Recommender
from core.steering.lists import N_LISTED, Panel, steered_lists

_CHUNK = 64
"""Neurons whose lists are counted at a time."""


def exposure_changes(
    model: Recommender,
    viewers: Panel,
    W_dec: np.ndarray,
    neurons: Sequence[int],
    strengths: np.ndarray,
    masks: np.ndarray,
    told: Callable[[int], None],
) -> np.ndarray:
    """Give how much the share of each fact in the viewers' lists changes when a neuron is promoted.

        change[j, f] = mean over viewers (share of f in the top 20 with z_j + strength_j) - (the same without)

    A list that ran out counts by the items that it has.

    Args:
        model: The recommender that scored the panel.
        viewers: On whom, seen items left out.
        W_dec: (d_sae, d_in) decoder rows.
        neurons: Which ones are promoted.
        strengths: (d_sae,) by how much.
        masks: (n_facts, n_items) bool.
        told: Called with the number of neurons that are done.

    Returns:
        (len(neurons), n_facts) float32 in [-1, 1].
    """
    member = np.vstack([masks.T.astype(np.float32), np.zeros((1, len(masks)), np.float32)])  # -1, no item, is the last
    out = np.zeros((len(neurons), len(masks)), np.float32)
    for start in range(0, len(neurons), _CHUNK):
        part = neurons[start : start + _CHUNK]
        shown = np.zeros((len(part), len(member)), np.float32)  # in what share of the lists' places each item stands
        for row, j in enumerate(part):
            lists = steered_lists(model, viewers, W_dec[j], np.array([0.0, strengths[j]]), N_LISTED)
            for step, sign in ((0, -1.0), (1, 1.0)):
                listed = np.maximum((lists[:, step] >= 0).sum(axis=1, keepdims=True), 1)
                np.add.at(shown[row], lists[:, step], np.broadcast_to(sign / listed, lists[:, step].shape))
            told(start + row + 1)
        out[start : start + len(part)] = shown @ member / max(viewers.n, 1)
    return out
