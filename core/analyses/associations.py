"""Every neuron of a run against every fact of items and viewers, beside what chance and the raw embedding reach."""

from typing import Any

import numpy as np
from scipy import sparse

from core.analyses.base import Made
from core.neurons.associations import Associations, judge, permuted, random_directions, raw_dimensions
from core.neurons.facts import Side
from core.neurons.groups import Of
from core.neurons.shards import sampled, shards_of
from core.progress import Progress
from core.recommenders.base import embed_users
from core.runs import Run
from core.sae.model import SAE

MOST_ROWS = 20_000
"""Items, and viewers, that are looked at, of however many; by a hash of their row numbers."""
SIDES: tuple[Of, ...] = ("items", "viewers")


def make(run: Run, progress: Progress) -> Made:
    """Make the analysis: what `core.neurons.associations.Associations` holds.

    Metrics: for `items` and `viewers` the number of `rows` and `facts`, and what `neurons`, `random_directions`,
    `raw_dimensions` and `permuted_facts` reach in the half that judges: `median_auc` of the chosen facts,
    `high_auc_share` of .8 at least, `significant_share` (false discovery rate of 5 %), all among the `n_neurons` that
    have a chosen fact; `concept_coverage`, the share of `n_concepts` genres, tags and decades whose neuron has an AUC
    of .8 at least.
    """
    sae, judged = run.sae, []
    metrics: dict[str, Any] = {}
    for step, of in enumerate(SIDES):
        dataset = run.dataset
        rows = np.arange(dataset.n_items if of == "items" else dataset.n_users)
        rows = rows[sampled(rows, len(rows), MOST_ROWS)]
        side = Side.make(of, dataset, rows)
        model = run.recommender
        X = model.probe_items()[rows] if of == "items" else embed_users(model, dataset, rows)
        acts = _encoded(sae, X)
        found = judge(acts, side)
        metrics[of] = {
            "rows": len(rows),
            "facts": len(side.facts),
            "neurons": found.summary(side),
            "random_directions": judge(_encoded(random_directions(sae, run.seed), X), side).summary(side),
            "raw_dimensions": judge(_encoded(raw_dimensions(sae), X), side).summary(side),
            "permuted_facts": permuted(acts, side, run.seed),
        }
        judged.append((side, found))
        progress("associations", step + 1, len(SIDES) + 1, {})
    arrays, tables = Associations.build(judged).to_saved()
    return Made(arrays, tables, metrics)


def _encoded(sae: SAE, X: np.ndarray) -> sparse.csc_matrix:
    shards = shards_of(sae, X.__getitem__, np.arange(len(X)))
    nothing = sparse.csr_matrix((0, sae.config.d_sae), dtype=np.float32)
    return sparse.vstack([nothing, *(shard.acts for shard in shards)], format="csc")
