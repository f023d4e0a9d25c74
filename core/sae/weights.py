"""The parameters of an SAE while it is trained."""

import numpy as np
import torch
from torch import Tensor

from core.sae.losses import TINY
from core.sae.model import SAE, SAEConfig
from core.sae.rows import Rows
from core.sae.variants import PreActs


class Weights:
    """The parameters in training. The encoder is `W_dec` itself where the two are tied, so that tied stays tied.

    Args:
        W_dec: (d_sae, d_in) to start from.
        b_dec: (d_in,) to start from.
        encoder: (d_sae, d_in) to start from, the transposed encoder.
        tied: The encoder is the decoder transposed, and stays so; `encoder` does not matter.
        thresholds: Each neuron learns a threshold.
    """

    def __init__(
        self, W_dec: np.ndarray, b_dec: np.ndarray, encoder: np.ndarray, *, tied: bool, thresholds: bool = False
    ) -> None:
        self.tied = tied
        self.W_dec = _parameter(W_dec)
        self.b_dec = _parameter(b_dec)
        self.b_enc = _parameter(np.zeros(len(W_dec)))
        self.encoder = self.W_dec if tied else _parameter(encoder)
        """(d_sae, d_in): the transposed encoder."""
        self.log_threshold = _parameter(np.zeros(len(W_dec))) if thresholds else None
        """(d_sae,) natural logarithms of the thresholds, which therefore stay above 0."""

    def parameters(self) -> dict[str, Tensor]:
        """Give what is learnt by name."""
        learnt = {"W_dec": self.W_dec, "b_dec": self.b_dec, "b_enc": self.b_enc}
        if not self.tied:
            learnt["encoder"] = self.encoder
        if self.log_threshold is not None:
            learnt["log_threshold"] = self.log_threshold
        return learnt

    def of_neurons(self) -> list[str]:
        """Give the names of the parameters that have a row for each neuron."""
        return [name for name in self.parameters() if name != "b_dec"]

    def threshold(self) -> Tensor | None:
        """Give the (d_sae,) learnt thresholds."""
        return None if self.log_threshold is None else self.log_threshold.exp()

    def pre_acts(self, x: Tensor, centre_input: bool) -> PreActs:
        """Give the values before the gate of normalised embeddings."""
        return PreActs(x, self.b_dec if centre_input else None, self.encoder, self.b_enc)

    @torch.no_grad()
    def normalise_decoder(self) -> None:
        """Give every decoder row length 1."""
        self.W_dec /= self.W_dec.norm(dim=1, keepdim=True).clamp_min(TINY)

    @torch.no_grad()
    def scale_output(self, c: float, centre_input: bool) -> None:
        """Make reconstructions c times as long, and keep who fires: c > 0, untied.

        W_enc, b_enc and thresholds times c, b_dec times c, and b_enc made up for the other centre.
        """
        self.encoder *= c
        self.b_enc *= c
        if centre_input:
            self.b_enc += (c - 1) * (self.encoder @ self.b_dec)
        self.b_dec *= c
        if self.log_threshold is not None:
            self.log_threshold += float(np.log(c))

    def freeze(self, config: SAEConfig, global_scale: float) -> SAE:
        """Give the finished model; its thresholds are the learnt ones, or 0."""
        W_dec, encoder, b_enc, b_dec = (
            p.detach().numpy().copy() for p in (self.W_dec, self.encoder, self.b_enc, self.b_dec)
        )
        learnt = self.threshold()
        if learnt is not None:
            threshold = learnt.detach().numpy()
        else:
            threshold = np.zeros(len(b_enc) if config.gate == "threshold" else 0, np.float32)
        return SAE(config, np.ascontiguousarray(encoder.T), b_enc, W_dec, b_dec, threshold, global_scale)


def start(init: str, x: Rows, d_sae: int, seed: int, *, centred: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the first W_dec, rows of length 1, b_dec, the mean of the embeddings, and transposed encoder.

    Args:
        init: See `TrainConfig`.
        x: (n, d_in) normalised embeddings.
        d_sae: Number of neurons.
        seed: Draws what is random.
        centred: b_dec is subtracted before encoding; otherwise it starts at 0.
    """
    rng, d_in = np.random.default_rng(seed), x.shape[1]
    if init == "linear":
        encoder = rng.uniform(-1, 1, (d_sae, d_in)) / np.sqrt(d_in)
        return encoder / np.linalg.norm(encoder, axis=1, keepdims=True), np.zeros(d_in), encoder
    b_dec = x.mean() if centred else np.zeros(d_in, np.float32)
    if init == "random":
        W_dec = rng.standard_normal((d_sae, d_in))
    else:
        # Rows are drawn anew once all were used; a little noise keeps two neurons of one row apart.
        rounds = -(-d_sae // len(x))
        rows = np.concatenate([rng.permutation(len(x)) for _ in range(rounds)])[:d_sae]
        W_dec = x[rows] - b_dec
        spread = np.sqrt(np.square(W_dec).mean()) or 1.0
        W_dec = W_dec + 0.01 * spread * rng.standard_normal(W_dec.shape)
    W_dec = W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True)
    return W_dec, b_dec, W_dec


def _parameter(values: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(values, np.float32)).requires_grad_()
