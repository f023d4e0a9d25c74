"""The viewer whose list is steered: one of the log, or one that was built from a few titles."""

from typing import NamedTuple

import numpy as np

from core.labels.keywords import MIXED, UNCLEAR
from core.recommenders.base import rank
from core.runs import Run
from dashboard import cache

N_START = 4
"""Sliders that an untouched page starts with."""


class Viewer(NamedTuple):
    """Everything the Steer page needs of a viewer."""

    user: int | None
    """Index in the log; None for a viewer built from titles."""
    history: np.ndarray
    embedding: np.ndarray
    """(1, d_in)."""
    acts: np.ndarray
    """(1, d_sae)."""
    scale: np.float32
    """Of the SAE's normalisation for this embedding."""
    scores: np.ndarray
    """(n_items,) the recommender's own."""
    reconstructed: np.ndarray
    """Top list through the SAE without edits, -1 padded."""


def build_viewer(run: Run, watched: list[int] | None, user: int | None = None, n: int = 20) -> Viewer:
    """Embed a viewer: the items `watched`, else the history of `user`."""
    if watched is not None:
        history = np.array(watched, np.int64)
        embedding = run.recommender.embed([history])
    else:
        history, embedding = run.dataset.history(int(user or 0)), run.embedding(int(user or 0))
    scores = run.recommender.score(embedding)[0]
    rebuilt = rank(run.recommender.score(run.sae.reconstruct(embedding)), n, [history])[0]
    return Viewer(
        user, history, embedding, run.sae.encode(embedding), run.sae.normalise(embedding).scale[0, 0], scores, rebuilt
    )


def starting_concepts(run: Run, viewer: Viewer) -> list[int]:
    """Give the concepts of an untouched page: the best-evidenced ones of several meanings, last the viewer's own.

    The viewer's own is the strongest one in them, in units of what is strong for that concept. An SAE in which nothing
    fires has none.
    """
    concepts = cache.concepts(run.id)
    alive = concepts[concepts["alive"]]
    named = alive[~alive["label"].str.startswith((MIXED, UNCLEAR))]  # "Less Mixed" would tell nobody what moves
    alive = alive if named.empty else named
    if alive.empty:
        return []
    unit = run.table.frame["strong_activation"].to_numpy()[alive["neuron"]]
    own = alive["neuron"].iloc[int(np.argmax(np.nan_to_num(viewer.acts[0, alive["neuron"]] / unit)))]
    best = alive[alive["neuron"] != own].drop_duplicates("best_concept")
    return [int(j) for j in best["neuron"].head(N_START - 1)] + [int(own)]


def history_phrase(n: int) -> str:
    """Say how long a history is.

    >>> history_phrase(1), history_phrase(1200)
    ('1 title in the history', '1,200 titles in the history')
    """
    return f"{n:,} title{'s' * (n != 1)} in the history"
