"""What promoting a neuron does to lists, against lists made one by one."""

import numpy as np

from core.analyses.responses import panel_of
from core.recommenders.base import embed_users
from core.runs import Run
from core.steering.exposure import exposure_changes
from core.steering.steering import Edit, Steering


def test_the_change_of_a_share_is_that_of_lists_steered_one_by_one(tiny_run: Run) -> None:
    users = np.arange(12)
    alive = np.flatnonzero(tiny_run.table.frame["alive"])[:3].tolist()
    strengths = np.linspace(0.5, 2.0, tiny_run.sae.config.d_sae)
    masks = np.array([np.arange(60) % 3 == 0, np.arange(60) < 20])
    told: list[int] = []
    found = exposure_changes(
        tiny_run.recommender, panel_of(tiny_run, users), tiny_run.sae.W_dec, alive, strengths, masks, told.append
    )
    seen, embeddings = tiny_run.dataset.histories(users), embed_users(tiny_run.recommender, tiny_run.dataset, users)
    for row, j in enumerate(alive):
        lists = tiny_run.three_lists(embeddings, seen, Steering((Edit(j, "add", float(strengths[j])),)), 20)
        for column, mask in enumerate(masks):
            shares = [
                np.mean([mask[items[items >= 0]].mean() for items in part]) for part in (lists.original, lists.steered)
            ]
            assert abs(found[row, column] - (shares[1] - shares[0])) < 1e-5
    assert told == [1, 2, 3] and np.abs(found).max() > 0
