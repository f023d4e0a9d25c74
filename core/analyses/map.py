"""The analysis `map`: where the concepts and the items of a run stand in two dimensions."""

import numpy as np

from core.analyses.base import Made
from core.neurons.layout import MOST, N_NEIGHBOURS, Layout, place, stratified
from core.progress import Progress
from core.runs import Run


def make(run: Run, progress: Progress) -> Made:
    """Lay out the alive neurons by their decoder rows, and the items by their embeddings as the SAE sees them.

    Returns:
        Arrays `neurons` (n,) int32 and `neuron_xy` (n, 2) float32, `items` and `item_xy` alike. Metrics `neurons` and
        `items`: `n`, of `n_all`, `method`, and the `overlap`, `pca_overlap` and `chance` of a `Layout`.
    """
    neurons = np.flatnonzero(run.table.frame["alive"].to_numpy())
    of_neurons = place(run.sae.W_dec[neurons], run.seed)
    progress("map", 1, 2, {})
    items = stratified(run.dataset.item_counts, MOST, run.seed)
    of_items = place(run.recommender.probe_items()[items], run.seed)
    return Made(
        {
            "neurons": neurons.astype(np.int32), "neuron_xy": of_neurons.xy,
            "items": items.astype(np.int32), "item_xy": of_items.xy,
        },
        {},
        {
            "neighbours": N_NEIGHBOURS,
            "neurons": _facts(of_neurons, int(run.sae.config.d_sae)),
            "items": _facts(of_items, run.dataset.n_items),
        },
    )  # fmt: skip


def _facts(layout: Layout, n_all: int) -> dict[str, object]:
    return {
        "n": len(layout.xy), "n_all": n_all, "method": layout.method, "overlap": layout.overlap,
        "pca_overlap": layout.pca_overlap, "chance": layout.chance,
    }  # fmt: skip
