"""What lists show when one neuron after the other is promoted: the measure of what steering it brings."""

from collections.abc import Callable, Sequence

import numpy as np

from core.recommenders.base import Recommender
from core.steering.lists import N_LISTED, Panel, steered_lists


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
    for row, j in enumerate(neurons):
        lists = steered_lists(model, viewers, W_dec[j], np.array([0.0, strengths[j]]), N_LISTED)
        seen = np.zeros((2, len(member)))
        for step in (0, 1):
            shown = lists[:, step]
            listed = np.maximum((shown >= 0).sum(axis=1, keepdims=True), 1)
            np.add.at(seen[step], shown, np.broadcast_to(1 / listed, shown.shape))
        out[row] = (seen[1] - seen[0]) @ member / max(viewers.n, 1)
        told(row + 1)
    return out
