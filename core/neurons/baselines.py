"""What purity is worth: the same search over neurons, but over directions that no training found."""

from typing import NamedTuple

import numpy as np

from core.neurons.concepts import LENGTHS, Masks, purity_of, top_firing
from core.seeding import generator


class BestNeurons(NamedTuple):
    """The neuron of each concept, and how pure it is."""

    neurons: np.ndarray
    """(n_masks,) int64, -1 where no neuron fires on ten items."""
    purity: np.ndarray
    """(3, n_masks) at n = 10, 20, 50; NaN where the neuron fires on fewer items."""

    def means(self) -> dict[str, float]:
        """Give the mean over the concepts at each length, by "10", "20", "50"; NaN where no concept has a value."""
        there = ~np.isnan(self.purity)
        sums = np.where(there, self.purity, 0).sum(axis=1, dtype=np.float64)
        return {
            str(n): float(total / k) if k else float("nan")
            for n, total, k in zip(LENGTHS, sums, there.sum(axis=1), strict=True)
        }


def best_neurons(acts_items: np.ndarray, masks: Masks) -> BestNeurons:
    """Give one neuron for each concept: the highest mean purity over n = 10, 20, 50, the first of equal ones.

    One neuron serves all three lengths, as in the paper's Table 1 (which does not say how it was chosen). A length at
    which a neuron fires on too few items counts 0 in the choice: a neuron of ten lucky items does not win.

    Args:
        acts_items: (n_items, d_sae).
        masks: The concepts.
    """
    top = top_firing(acts_items, max(LENGTHS))
    purity = np.stack([purity_of(top, masks, n) for n in LENGTHS])
    chosen = np.nan_to_num(purity, nan=0.0).mean(axis=0).argmax(axis=1)
    found = purity[:, np.arange(purity.shape[1]), chosen]
    return BestNeurons(np.where(np.isnan(found[0]), -1, chosen), found)


def random_directions(X_items: np.ndarray, masks: Masks, d_sae: int, seed: int, n_draws: int = 10) -> dict[str, float]:
    """Give the mean purity at 10, 20, 50 of `d_sae` random directions, `max(x @ W, 0)`, over `n_draws` draws.

    Args:
        X_items: (n_items, d_in) item embeddings as the SAE sees them.
        masks: The concepts that the SAE is measured by.
        d_sae: As many directions as the SAE has neurons: the best of more is purer by luck alone.
        seed: The run's seed.
        n_draws: How many sets of directions.
    """
    draws = []
    for draw in range(n_draws):
        W = generator(seed, "random directions", str(draw)).standard_normal((X_items.shape[1], d_sae))
        draws.append(best_neurons(np.maximum(X_items @ W.astype(np.float32), 0), masks).means())
    return {str(n): float(np.mean([d[str(n)] for d in draws])) for n in LENGTHS}


def raw_dimensions(X_items: np.ndarray, masks: Masks) -> dict[str, float]:
    """Give the mean purity at 10, 20, 50 of the embedding's own dimensions, each with both signs: 2 d_in directions."""
    return best_neurons(np.maximum(np.hstack([X_items, -X_items]), 0), masks).means()
