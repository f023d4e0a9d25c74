"""The recipes an SAE can be trained with: their settings and what differs between them.

A variant is a gate for training, the gate that takes its place at inference, and the loss terms of its own. To add one:
write its `activate` and `penalty` here (and a loss in `losses`), and add a line to `VARIANTS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from core.configs import check
from core.errors import near
from core.sae import losses
from core.sae.model import GateKind, NormalisationKind


@dataclass(frozen=True)
class TrainConfig:
    """How an SAE is trained.

    Attributes:
        variant: The recipe, a key of `VARIANTS`.
        d_sae: Number of neurons.
        k: Active neurons an embedding (`topk`), or an embedding on average (`batchtopk`).
        tied: The encoder is the decoder transposed.
        normalisation: What is done to an embedding before it is encoded (see `SAEConfig`).
        centre_input: b_dec is subtracted before encoding.
        decoder_norm: Decoder rows have length 1 throughout.
        mse: Weight of the mean squared error of the normalised embedding.
        fvu: Weight of the fraction of variance unexplained of the normalised embedding.
        cosine: Weight of 1 - cosine.
        prediction: Weight of the squared difference of the scores, through the frozen recommender.
        n_prediction_rows: Viewers a step that the prediction term looks at.
        l1: Weight of the sum of activations (`relu` only).
        kl: Weight of the KL divergence of mean activations from `kl_rho` (`relu` only).
        kl_rho: The mean activation that `kl` pulls every neuron towards, in (0, 1).
        auxk_coefficient: Weight of the loss that revives dead neurons (`topk` and `batchtopk`).
        k_aux: Dead neurons that may fire for an embedding in that loss.
        dead_after: Steps without firing after which a neuron counts as dead in training.
        restart_dead: Dead neurons start again as directions of badly rebuilt embeddings, every `dead_after` steps.
        item_weight: Weight of the item probes beside the viewers, where items are trained on.
        init: Neurons start as directions of training embeddings (`data`) or random ones (`random`).
        history_dropout: Largest share of a viewer's history that is dropped when it is trained on, in [0, 1);
            each step draws its share between 0 and this, for half of its viewers. 0 leaves all histories whole.
        n_steps: Steps of gradient descent.
        batch_size: Embeddings a step; the same number of item probes joins where items are trained on.
        learning_rate: Of Adam, at its highest.
        warmup_share: Share of the steps, at the start, over which the learning rate rises.
        decay_share: Share of the steps, at the end, over which the learning rate falls to 0.
    """

    variant: str = "topk"
    d_sae: int = 1024
    k: int = 64
    tied: bool = False
    normalisation: NormalisationKind = "unit"
    centre_input: bool = True
    decoder_norm: bool = True
    mse: float = 0.0
    fvu: float = 0.0
    cosine: float = 1.0
    prediction: float = 0.0
    n_prediction_rows: int = 64
    l1: float = 0.0
    kl: float = 0.0
    kl_rho: float = 0.05
    auxk_coefficient: float = 1 / 32
    k_aux: int = 64
    dead_after: int = 50
    restart_dead: bool = True
    item_weight: float = 1.0
    init: Literal["data", "random"] = "data"
    history_dropout: float = 0.0
    n_steps: int = 1500
    batch_size: int = 1024
    learning_rate: float = 1e-3
    warmup_share: float = 0.0
    decay_share: float = 0.2

    def __post_init__(self) -> None:
        check(
            self.variant in VARIANTS,
            f"There is no SAE variant {self.variant!r}{near(self.variant, VARIANTS)}.",
            f"Set sae.variant to one of: {', '.join(VARIANTS)}.",
        )
        check(
            not VARIANTS[self.variant].has_k or 1 <= self.k <= self.d_sae,
            f"k is {self.k} with d_sae {self.d_sae}: at most d_sae neurons can be active.",
            f"Set sae.k between 1 and {self.d_sae}.",
        )
        for name in ("d_sae", "k_aux", "dead_after", "n_steps", "batch_size", "n_prediction_rows"):
            value = getattr(self, name)
            check(value >= 1, f"{name} is {value}, expected at least 1.", f"Set sae.{name} to 1 or more.")
        weights = ("mse", "fvu", "cosine", "prediction")
        for name in (*weights, "l1", "kl", "auxk_coefficient", "item_weight"):
            value = getattr(self, name)
            check(value >= 0, f"{name} is {value}, expected 0 or more.", f"Set sae.{name} to 0 or more.")
        check(
            any(getattr(self, name) > 0 for name in weights),
            "Every weight of the reconstruction is 0, so there is nothing to learn.",
            f"Set one of {', '.join('sae.' + name for name in weights)} above 0.",
        )
        check(0 < self.kl_rho < 1, f"kl_rho is {self.kl_rho}, expected between 0 and 1.", "Set sae.kl_rho to 0.05.")
        check(
            0 <= self.history_dropout < 1,
            f"history_dropout is {self.history_dropout}, expected from 0 to below 1.",
            "Set sae.history_dropout to a share, for example 0.5.",
        )
        check(
            self.learning_rate > 0,
            f"learning_rate is {self.learning_rate}, expected above 0.",
            "Set sae.learning_rate to 0.001.",
        )
        check(
            min(self.warmup_share, self.decay_share) >= 0 and self.warmup_share + self.decay_share <= 1,
            f"warmup_share and decay_share are {self.warmup_share} and {self.decay_share}: together at most 1.",
            "Set sae.warmup_share and sae.decay_share to shares of the training, for example 0 and 0.2.",
        )

    @property
    def only_direction(self) -> bool:
        """No term of the loss sees the length of a reconstruction."""
        return not (self.mse or self.fvu or self.prediction)


class Gate(NamedTuple):
    """What a gate in training goes by."""

    k: int
    """Active neurons an embedding."""


class Active(NamedTuple):
    """The activations of a batch, sparse where the variant knows how many there are."""

    values: Tensor
    """(n, k) activations at `where`, or (n, d_sae) when `where` is None. All >= 0."""
    where: Tensor | None
    """(n, k) indices of neurons."""

    def decode(self, W_dec: Tensor) -> Tensor:
        """Give `acts @ W_dec` (n, d_in), reading only the rows of active neurons where these are known."""
        if self.where is None:
            return self.values @ W_dec
        return functional.embedding_bag(self.where, W_dec, per_sample_weights=self.values, mode="sum")

    def fired(self, d_sae: int) -> Tensor:
        """Give (d_sae,) bool: which neurons are above 0 for some row."""
        if self.where is None:
            return (self.values > 0).any(dim=0)
        out = torch.zeros(d_sae, dtype=torch.bool)
        out[self.where[self.values > 0]] = True
        return out


class Pass(NamedTuple):
    """One pass of a batch of one kind (viewers or item probes), all on the normalised scale."""

    x: Tensor
    """(n, d_in) embeddings."""
    pre_acts: Tensor
    """(n, d_sae) before the gate."""
    active: Active
    x_hat: Tensor
    """(n, d_in) reconstructions."""
    dead: Tensor
    """(d_sae,) bool: neurons that have not fired for a while."""
    W_dec: Tensor
    """(d_sae, d_in)."""


class Variant(NamedTuple):
    """What makes one recipe different from the next."""

    summary: str
    """What it is, in one sentence for people."""
    gate: GateKind
    """The gate of the finished model."""
    activate: Callable[[Tensor, Gate], Active]
    """The gate in training: (n, d_sae) values before it to activations."""
    penalty: Callable[[Pass, TrainConfig], dict[str, Tensor]]
    """The loss terms of its own by name, weighted; empty terms are left out."""
    has_k: bool = True
    """`k` means something."""
    threshold: Literal["none", "measured"] = "none"
    """Where the thresholds of the finished model come from: it has none, or one number for all neurons is measured when
    training is over."""


def relu_active(pre_acts: Tensor, _: Gate) -> Active:
    """Keep what is above 0."""
    return Active(functional.relu(pre_acts), None)


def relu_penalty(batch: Pass, config: TrainConfig) -> dict[str, Tensor]:
    """Give the L1 and KL terms that keep a ReLU code sparse."""
    terms = {}
    if config.l1:
        terms["l1"] = config.l1 * losses.l1(batch.active.values)
    if config.kl:
        terms["kl"] = config.kl * losses.kl(batch.active.values, config.kl_rho)
    return terms


def topk_active(pre_acts: Tensor, gate: Gate) -> Active:
    """Keep the k largest of what is above 0."""
    values, where = pre_acts.topk(gate.k, dim=1, sorted=False)
    return Active(functional.relu(values), where)


def batchtopk_active(pre_acts: Tensor, gate: Gate) -> Active:
    """Keep the n k largest of what is above 0 in the n rows of the batch: some rows need more neurons than others."""
    acts = functional.relu(pre_acts)
    kept = acts.detach().flatten().topk(len(acts) * gate.k, sorted=False).indices
    return Active(acts * torch.zeros_like(acts).view(-1).index_fill_(0, kept, 1).view_as(acts), None)


def reviving_penalty(batch: Pass, config: TrainConfig) -> dict[str, Tensor]:
    """Give the term that revives dead neurons."""
    if not config.auxk_coefficient or not bool(batch.dead.any()):
        return {}
    auxk = losses.auxiliary(
        batch.x, batch.x_hat, pre_acts=batch.pre_acts, dead=batch.dead, W_dec=batch.W_dec, k_aux=config.k_aux
    )
    return {"auxk": config.auxk_coefficient * auxk}


VARIANTS: dict[str, Variant] = {
    "relu": Variant(
        "ReLU with an L1 or KL penalty on the activations (Arviv et al. 2025).",
        "relu", relu_active, relu_penalty, has_k=False,
    ),
    "topk": Variant(
        "The k strongest neurons of each embedding fire (Gao et al. 2024).", "topk", topk_active, reviving_penalty
    ),
    "batchtopk": Variant(
        "k neurons an embedding fire on average, more where more is to be said (Bussmann et al. 2024).",
        "threshold", batchtopk_active, reviving_penalty, threshold="measured",
    ),
}  # fmt: skip
