"""What an SAE is trained to make small: the weighted terms of its loss."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core.sae import losses
from core.sae.config import TrainConfig
from core.sae.variants import VARIANTS, Pass


class Objective:
    """The loss of a recipe.

    Args:
        config: The recipe, decided.
        scorer: The frozen recommender, where the recipe looks at scores.
        rng: Draws the scores that are compared.
    """

    def __init__(self, config: TrainConfig, scorer: losses.Scorer | None, rng: np.random.Generator) -> None:
        self.config, self.scorer, self.rng = config, scorer, rng
        self.n_columns = 0
        """Scores of an embedding; 0 where the scorer was not asked yet."""

    def terms(self, batch: Pass, scale: Tensor, shift: Tensor, *, with_prediction: bool) -> dict[str, Tensor]:
        """Give the weighted terms by name for a batch of one kind.

        Where neurons are nested, the terms of the reconstruction are means over the levels, each with b_dec (Bussmann
        et al. 2025; Arviv et al. 2025 have the sum, which only weighs them more); all others look at the full code.

        Args:
            batch: The batch on the normalised scale.
            scale: (n, 1), with `shift` the way back to the embeddings.
            shift: (n, 1).
            with_prediction: The rows are viewers, whose scores may be compared.
        """
        config, terms = self.config, {}
        if config.mse:
            terms["mse"] = config.mse * _mean([losses.mse(batch.x, x_hat) for x_hat in batch.x_hats])
        if config.fvu:
            terms["fvu"] = config.fvu * _mean([losses.fvu(batch.x, x_hat) for x_hat in batch.x_hats])
        if config.cosine:
            x = batch.x * scale + shift
            rebuilt = [x_hat * scale + shift for x_hat in batch.x_hats]
            terms["cosine"] = config.cosine * _mean([losses.cosine(x, x_hat) for x_hat in rebuilt])
        if config.prediction and with_prediction:
            some = slice(config.n_prediction_rows)
            x, x_hat = (part[some] * scale[some] + shift[some] for part in (batch.x, batch.x_hat))
            terms["prediction"] = config.prediction * self._prediction(x, x_hat)
        return terms | VARIANTS[config.variant].penalty(batch, config)

    def _prediction(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Give the squared difference of the scores, all or some drawn at random."""
        assert self.scorer is not None
        items = None
        if self.config.n_prediction_pairs:
            if not self.n_columns:
                with torch.no_grad():
                    self.n_columns = self.scorer(x[:1]).shape[1]
            each = -(-self.config.n_prediction_pairs // len(x))
            items = torch.from_numpy(self.rng.integers(self.n_columns, size=(len(x), each)))
        return losses.prediction(x, x_hat, self.scorer, items=items, top_n=self.config.prediction_top_n)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()
