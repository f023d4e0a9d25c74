"""The relatives of every neuron of a run: opposite ones, those that fire with it, and the items that it moves."""

import numpy as np

from core.analyses.base import Made
from core.neurons import relatives
from core.neurons.relatives import Lens, Related, Relatives
from core.neurons.shards import sampled, shards_of, stream_pairs
from core.progress import Progress
from core.recommenders.base import embed_users
from core.runs import Run
from core.seeding import generator

N_PROBE_VIEWERS = 32
"""Unseen viewers whose mean change is the lens of a scorer that is not linear."""
MOST_PAIRS = 10**8
"""Scores that such a lens may cost where a network runs for each: of fewer viewers then, but at least 4."""


def make(run: Run, progress: Progress) -> Made:
    """Make the analysis: the arrays of `core.neurons.relatives.Relatives`.

    Metrics: `scale`, what one unit of a neuron is multiplied with (see `typical_scale`); `n_viewers` that were looked
    at for what fires together; `n_probe_viewers`, 0 where the scorer is linear and the lens is exact.
    """
    sae, model, alive = run.sae, run.recommender, run.table.frame["alive"].to_numpy(bool)
    d_sae, neurons = sae.config.d_sae, np.flatnonzero(alive)
    users = np.arange(run.dataset.n_users)
    users = users[sampled(users, len(users))]
    pairs = stream_pairs(shards_of(sae, lambda part: embed_users(model, run.dataset, part), users), d_sae)
    together = relatives.together(pairs.counts, pairs.n_rows, alive)
    progress("relatives", 1, 3, {})
    scale, probe = scale_of(run), np.zeros(0, np.int64)
    if model.linear is not None:
        rows = relatives.effect_rows(model, sae)
        effects = relatives.linear_effects(model, sae, neurons, scale)
    else:
        probe = probe_viewers(run, neurons.size)
        rows = np.zeros((d_sae, min(relatives.N_PROBED, model.n_items)), np.float32)
        embeddings = embed_users(model, run.dataset, probe)
        effects = relatives.mean_effects(model, sae, neurons, typical_strength(run), embeddings)
        effects = relatives.noted(effects, rows, run.seed)
    lens = relatives.lens(effects, d_sae)
    progress("relatives", 2, 3, {})
    found = Relatives(relatives.opposite(sae.W_dec, alive), relatives.opposite(rows, alive), together, lens)
    metrics = {"scale": scale, "n_viewers": pairs.n_rows, "n_probe_viewers": len(probe)}
    return Made(found.to_arrays(), {}, metrics)


def lens_of(run: Run, made: Made | None, neuron: int) -> Lens | None:
    """Give the lens of one neuron, (1, n) arrays: of the analysis, else computed where that is exact; else None."""
    if made is not None:
        up, down = Relatives.from_arrays(made.arrays).lens
        return Lens(*(Related(side.neurons[[neuron]], side.values[[neuron]]) for side in (up, down)))
    if run.recommender.linear is None:
        return None
    effects = relatives.linear_effects(run.recommender, run.sae, np.array([neuron]), scale_of(run))
    return relatives.lens(((np.array([0]), change) for _, change in effects), 1)


def scale_of(run: Run) -> float:
    """Give `typical_scale` of some viewers of a run, the same ones each time."""
    users = _some(run, np.flatnonzero(np.diff(run.dataset.indptr)), relatives.N_SCALES, "scale")
    return relatives.typical_scale(run.sae, embed_users(run.recommender, run.dataset, users))


def typical_strength(run: Run) -> np.ndarray:
    """Give (d_sae,) the mean activation over the viewers in whom a neuron fires; of items alone the strong one."""
    frame = run.table.frame
    return np.nan_to_num(frame["mean_activation"].fillna(frame["strong_activation"]).to_numpy(float))


def probe_viewers(run: Run, n_neurons: int) -> np.ndarray:
    """Give the viewers, unseen by the SAE where there are some, over whom changes of scores are averaged."""
    n = N_PROBE_VIEWERS
    if run.recommender.scores_pairs:
        n = min(n, max(4, MOST_PAIRS // max(n_neurons * run.recommender.n_items, 1)))
    unseen = run.split.unseen_users
    return _some(run, unseen if len(unseen) else np.arange(run.dataset.n_users), n, "probe")


def _some(run: Run, users: np.ndarray, n: int, purpose: str) -> np.ndarray:
    return np.sort(generator(run.seed, "relatives", purpose).permutation(users)[:n])
