"""The torch twin of a linear scorer: for losses that look at the recommender's scores."""

from collections.abc import Callable

import torch

from core.recommenders.base import LinearScorer


def torch_scorer(linear: LinearScorer) -> Callable[[torch.Tensor], torch.Tensor]:
    """Give `x -> x @ V.T + b` for torch tensors (n, d_in); V and b are constants, the gradient goes to x."""
    V, b = torch.tensor(linear.V), torch.tensor(linear.b)

    def score(x: torch.Tensor) -> torch.Tensor:
        return x @ V.T + b

    return score
