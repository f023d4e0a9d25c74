"""The analysis "audit": which genres, tags and decades of the catalogue can be steered."""

import numpy as np

from core.analyses.base import Made
from core.analyses.responses import affordable, panel_of, viewers_of
from core.neurons.concepts import concepts_of
from core.neurons.facts import first_half
from core.progress import Progress
from core.runs import Run
from core.seeding import generator
from core.steering.audit import (
    DOSES,
    FEW,
    N_CANDIDATES,
    N_PLACEBOS,
    STEERED,
    Items,
    Lens,
    audit,
    permuted,
    popularity_strata,
)
from core.steering.responses import N_PARTS

N_PERMUTED = 100
"""Concepts that mean nothing, at least: what the whole procedure calls steerable among them is its error."""
COSTLY_PLACEBOS = 12
"""Random directions where a network runs for each pair of viewer and item."""


def make(run: Run, progress: Progress) -> Made:
    """Audit a run's catalogue, then, by the same procedure, catalogues whose facts were dealt out anew."""
    concepts = concepts_of(run.dataset)
    costly = run.recommender.scores_pairs
    n_placebos = COSTLY_PLACEBOS if costly else N_PLACEBOS
    rounds = (1 if costly else -(-N_PERMUTED // max(len(concepts), 1))) if concepts else 0
    frame = run.table.frame
    n_neurons = min(len(concepts), int(frame["alive"].sum()))
    a_viewer = n_neurons * (1 + rounds) * (2 * N_CANDIDATES + len(DOSES) * (1 + n_placebos / N_PARTS))
    users, unseen = viewers_of(run, affordable(run, a_viewer))
    lens = Lens(
        run.sae, run.recommender, panel_of(run, users),
        np.where(frame["alive"], frame["strong_activation"].to_numpy(float), np.nan),
    )  # fmt: skip
    acts = run.sae.encode(run.recommender.probe_items())
    items = Items(acts, first_half(run.dataset.items.ids), popularity_strata(run.dataset.item_counts))
    found = audit(concepts, items, lens, run.seed, n_placebos)
    progress("audit", 1, 1 + rounds, {})
    masks = np.array([c.mask for c in concepts], bool)
    n_permuted = n_called = 0
    for draw in range(rounds):
        dealt = permuted(masks, items.strata, generator(run.seed, "audit", "permuted", str(draw)))
        dealt_concepts = [c._replace(mask=mask) for c, mask in zip(concepts, dealt, strict=True)]
        verdicts = audit(dealt_concepts, items, lens, run.seed, n_placebos)["verdict"]
        n_permuted += int((verdicts != FEW).sum())
        n_called += int((verdicts == STEERED).sum())
        progress("audit", 2 + draw, 1 + rounds, {})
    metrics = {
        "n_viewers": len(users), "unseen": unseen, "n_placebos": n_placebos, "n_permuted": n_permuted,
        "n_permuted_called": n_called, "verdicts": found["verdict"].value_counts().to_dict(),
    }  # fmt: skip
    return Made({"explore": items.explore}, {"audit": found}, metrics)
