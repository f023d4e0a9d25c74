"""The analysis "responses": the dose-response curve of every alive neuron that stands for a concept."""

import numpy as np

from core.analyses.base import Made
from core.neurons.concepts import concepts_of
from core.progress import Progress
from core.recommenders.base import embed_users
from core.runs import Run
from core.seeding import generator
from core.steering.lists import Panel, panel
from core.steering.responses import N_PARTS, N_PLACEBOS, STRENGTHS, Target, respond

MOST_VIEWERS, FEWEST_VIEWERS = 500, 40
BUDGET = {"linear": 4e10, "scored": 2e9, "pairs": 2e8}
"""Scores that may be computed, by what one costs: a sum, a scorer, a network for each pair."""


def make(run: Run, progress: Progress) -> Made:
    """Measure the curves of a run's neurons: those of the clearest concepts first where a budget ends before all."""
    targets = targets_of(run)
    n_users, n_targets = within_budget(run, len(targets))
    users, unseen = viewers_of(run, n_users)
    found = respond(
        targets[:n_targets], run.sae, run.recommender, panel_of(run, users), run.table.frame["alive"].to_numpy(bool),
        run.seed, unseen, told=lambda done: progress("responses", done, n_targets, {}),
    )  # fmt: skip
    measured = found.frame[found.frame["measured"]]
    metrics = {
        "n_viewers": len(users), "unseen": unseen, "n_neurons": len(measured), "n_flat": int(measured["flat"].sum()),
        "n_left_out": len(targets) - n_targets,
    }  # fmt: skip
    arrays, tables = found.to_saved()
    return Made(arrays, tables, metrics)


def targets_of(run: Run) -> list[Target]:
    """Give the alive neurons that stand for a concept, most evidence first."""
    masks = {c.name: c.mask for c in concepts_of(run.dataset)}
    frame = run.table.frame
    known = frame[frame["alive"] & frame["best_concept"].isin(list(masks)) & (frame["strong_activation"] > 0)]
    known = known.sort_values(["evidence", "neuron"], ascending=[False, True], kind="stable")
    return [
        Target(int(r.neuron), float(r.strong_activation), r.best_concept, r.best_kind, masks[r.best_concept])
        for r in known.itertuples()
    ]


def within_budget(run: Run, n_targets: int) -> tuple[int, int]:
    """Give how many viewers and neurons can be measured: fewer viewers first, then fewer neurons."""
    a_neuron = len(STRENGTHS) * (1 + N_PLACEBOS / N_PARTS)
    n_users = affordable(run, a_neuron * n_targets)
    return n_users, int(min(n_targets, max(_allowed(run) // (a_neuron * n_users), 1)))


def affordable(run: Run, n_lists: float) -> int:
    """Give on how many viewers something can be measured that takes `n_lists` lists a viewer."""
    return int(np.clip(_allowed(run) / max(n_lists, 1), FEWEST_VIEWERS, MOST_VIEWERS))


def _allowed(run: Run) -> float:
    """Give how many lists may be computed."""
    model = run.recommender
    kind = "linear" if model.linear is not None else "pairs" if model.scores_pairs else "scored"
    return BUDGET[kind] / max(model.n_items, 1)


def viewers_of(run: Run, n: int) -> tuple[np.ndarray, bool]:
    """Draw up to `n` viewers that the SAE never saw, of all where it saw all; gives them and whether it never did."""
    unseen = run.split.unseen_users
    users = unseen if len(unseen) else np.arange(run.dataset.n_users)
    drawn = generator(run.seed, "steered viewers").permutation(users)[:n]
    return np.sort(drawn), bool(len(unseen))


def panel_of(run: Run, users: np.ndarray) -> Panel:
    """Give the panel of some viewers: their vectors, scored, with their histories left out."""
    embeddings = embed_users(run.recommender, run.dataset, users)
    return panel(run.recommender, embeddings, run.sae.normalise(embeddings).scale, run.dataset.histories(users))
