"""The recipes an SAE can be trained with, as what differs between them.

A variant is a gate for training, the gate that takes its place at inference, and the loss terms of its own. To add one:
write its `activate` and `penalty` here (and a loss in `losses`), and add a line to `VARIANTS`.
"""

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from core.sae import losses, sparse
from core.sae.model import GateKind

if TYPE_CHECKING:  # the settings are checked against VARIANTS
    from core.sae.config import TrainConfig


class Gate(NamedTuple):
    """What a gate in training goes by."""

    k: int
    """Active neurons an embedding."""
    threshold: Tensor | None = None
    """(d_sae,) learnt thresholds, above 0."""
    bandwidth: float = 0.0
    """Width of the window from which the gradient of a threshold is estimated, in units of values before the gate."""


class PreActs:
    """The values before the gate, `(x - b_dec) @ encoder.T + b_enc`, computed as far as a gate looks at them.

    A gate that keeps the largest asks for them, and the step costs little more than the product with the encoder. One
    that keeps what is above thresholds which few reach asks for these. One that may keep most of them (ReLU) takes all.

    Args:
        x: (n, d_in) normalised embeddings.
        b_dec: (d_in,) what is subtracted before encoding, or None.
        encoder: (d_sae, d_in).
        b_enc: (d_sae,).
    """

    def __init__(self, x: Tensor, b_dec: Tensor | None, encoder: Tensor, b_enc: Tensor) -> None:
        self.x, self.b_dec, self.encoder, self.b_enc = x, b_dec, encoder, b_enc

    @cached_property
    def dense(self) -> Tensor:
        """All of them, (n, d_sae)."""
        return torch.addmm(self.b_enc, self.x if self.b_dec is None else self.x - self.b_dec, self.encoder.T)

    def strongest(self, k: int, among: Tensor | None = None) -> "Active":
        """Give the k largest of each row, 0 where they are below: of all neurons, or of some, (d_sae,) bool."""
        return Active(*sparse.encode_strongest(self.x, self.b_dec, self.encoder, self.b_enc, k, among))

    def strongest_of_batch(self, k: int) -> "Active":
        """Give the n k largest of the n rows together, of those above 0."""
        return Active(*sparse.encode_strongest_of_batch(self.x, self.b_dec, self.encoder, self.b_enc, k))

    def above(self, threshold: Tensor, bandwidth: float) -> "Active":
        """Give those above the threshold of their neuron (see `sparse.encode_above`)."""
        return Active(*sparse.encode_above(self.x, self.b_dec, self.encoder, self.b_enc, threshold, bandwidth))


class Active(NamedTuple):
    """The activations of a batch, sparse where the variant knows how many there are."""

    values: Tensor
    """(n, k) activations at `where`, or (n, d_sae) when `where` is None. All >= 0."""
    where: Tensor | None
    """(n, k) indices of neurons; -1 where a row has fewer than others."""
    n_firing: Tensor | None = None
    """(n,) neurons above their threshold, with a gradient for thresholds that are learnt."""

    def decode(self, W_dec: Tensor) -> Tensor:
        """Give `acts @ W_dec` (n, d_in), reading only the rows of active neurons where these are known."""
        if self.where is None:
            return self.values @ W_dec
        return sparse.decode_levels(self.values, self.where, W_dec)[0]

    def decode_prefixes(self, W_dec: Tensor, borders: tuple[int, ...]) -> list[Tensor]:
        """Give what the first neurons alone decode to, (n, d_in) for each border: all neurons where there is none."""
        if not borders:
            return [self.decode(W_dec)]
        if self.where is not None:
            return list(sparse.decode_levels(self.values, self.where, W_dec, borders))
        decoded: list[Tensor] = []
        for start, end in pairwise((0, *borders)):
            part = self.values[:, start:end] @ W_dec[start:end]
            decoded.append(decoded[-1] + part if decoded else part)
        return decoded

    def fired(self, d_sae: int) -> Tensor:
        """Give (d_sae,) bool: which neurons are above 0 for some row."""
        if self.where is None:
            return (self.values > 0).any(dim=0)
        return sparse.fired(self.values, self.where, d_sae)

    def chosen(self, d_sae: int) -> Tensor:
        """Give (d_sae,) bool: which neurons are among the k of some row, also with a value of 0 where k are chosen."""
        if self.where is None:
            return self.fired(d_sae)
        return torch.zeros(d_sae, dtype=torch.bool).index_fill_(0, self.where[self.where >= 0], True)


class Pass(NamedTuple):
    """One pass of a batch of one kind (viewers or item probes), all on the normalised scale."""

    x: Tensor
    """(n, d_in) embeddings."""
    pre_acts: PreActs
    """Before the gate."""
    gate: Gate
    active: Active
    x_hats: list[Tensor]
    """(n, d_in) reconstructions by the first neurons up to each level, those by all neurons last."""
    dead: Tensor
    """(d_sae,) bool: neurons that have not fired for a while."""
    W_dec: Tensor
    """(d_sae, d_in)."""
    b_dec: Tensor
    """(d_in,)."""

    @property
    def x_hat(self) -> Tensor:
        """The (n, d_in) reconstructions by all neurons."""
        return self.x_hats[-1]


class Variant(NamedTuple):
    """What makes one recipe different from the next."""

    summary: str
    """What it is, in one sentence for people."""
    gate: GateKind
    """The gate of the finished model."""
    activate: Callable[[PreActs, Gate], Active]
    """The gate in training."""
    penalty: "Callable[[Pass, TrainConfig], dict[str, Tensor]]"
    """The loss terms of its own by name, weighted; empty terms are left out."""
    has_k: bool = True
    """`k` means something."""
    threshold: Literal["none", "learnt", "measured"] = "none"
    """Where the thresholds of the finished model come from: it has none, each neuron learns its own, or one number for
    all neurons is measured when training is over."""


def relu_active(pre_acts: PreActs, _: Gate) -> Active:
    """Keep what is above 0."""
    return Active(functional.relu(pre_acts.dense), None)


def relu_penalty(batch: Pass, config: "TrainConfig") -> dict[str, Tensor]:
    """Give the L1 and KL terms that keep a ReLU code sparse."""
    terms = {}
    if config.l1:
        terms["l1"] = config.l1 * losses.l1(batch.active.values)
    if config.kl:
        terms["kl"] = config.kl * losses.kl(batch.active.values, config.kl_rho)
    return terms


def topk_active(pre_acts: PreActs, gate: Gate) -> Active:
    """Keep the k largest of what is above 0."""
    return pre_acts.strongest(gate.k)


def batchtopk_active(pre_acts: PreActs, gate: Gate) -> Active:
    """Keep the n k largest of what is above 0 in the n rows of the batch: some rows need more neurons than others."""
    return pre_acts.strongest_of_batch(gate.k)


def reviving_penalty(batch: Pass, config: "TrainConfig") -> dict[str, Tensor]:
    """Give the term that revives dead neurons."""
    if not config.auxk_coefficient or not bool(batch.dead.any()):
        return {}
    assert config.k_aux is not None
    e_hat = batch.pre_acts.strongest(config.k_aux, batch.dead).decode(batch.W_dec)
    if config.auxk_form == "residual":
        auxk = losses.auxiliary(batch.x, batch.x_hat, e_hat)
    else:
        share = min(int(batch.dead.sum()) / config.k_aux, 1)
        auxk = losses.auxiliary_recsae(batch.x, batch.x_hat, e_hat + batch.b_dec, share)
    return {"auxk": config.auxk_coefficient * auxk}


def jumprelu_active(pre_acts: PreActs, gate: Gate) -> Active:
    """Keep what is above the threshold of its neuron."""
    assert gate.threshold is not None
    return pre_acts.above(gate.threshold, gate.bandwidth)


def jumprelu_penalty(batch: Pass, config: "TrainConfig") -> dict[str, Tensor]:
    """Give the penalty on the mean number of active neurons of the batch.

    Rajamanoharan et al. 2024 have `sparsity * L0`, and in an appendix the square of `L0 / k - 1` for each embedding;
    the square of the mean over the batch leaves an embedding that needs more neurons the freedom to have them.
    """
    if not config.sparsity:
        return {}
    assert batch.active.n_firing is not None
    l0 = batch.active.n_firing.mean()
    return {"l0": config.sparsity * (l0 if config.sparsity_form == "plain" else (l0 / batch.gate.k - 1).square())}


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
    "jumprelu": Variant(
        "Each neuron learns a threshold, and how many fire has a price (Rajamanoharan et al. 2024).",
        "threshold", jumprelu_active, jumprelu_penalty, threshold="learnt",
    ),
}  # fmt: skip
