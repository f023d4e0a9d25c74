"""How an SAE is trained: every setting, and how those that are left open are decided."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from core.configs import check
from core.errors import near
from core.sae.model import NormalisationKind
from core.sae.variants import VARIANTS


@dataclass(frozen=True)
class TrainConfig:
    """How an SAE is trained.

    Attributes:
        variant: The recipe, a key of `VARIANTS`.
        d_sae: Number of neurons; None: see `decided`.
        expansion: Number of neurons as a multiple of d_in, instead of `d_sae`.
        k: Active neurons an embedding (`topk`), or an embedding on average (`batchtopk`, `jumprelu`); None: see
            `decided`.
        levels: Nests the neurons (Matryoshka): rising shares of them that end with 1, for example .25,.5,.75,1. The
            terms `mse`, `fvu` and `cosine` are then their means over the reconstructions by these first shares of the
            neurons alone. Empty: neurons are not nested.
        tied: The encoder is the decoder transposed.
        normalisation: What is done to an embedding before it is encoded (see `SAEConfig`).
        centre_input: b_dec is subtracted before encoding.
        decoder_norm: When decoder rows are brought to length 1: after each step (`always`), when an epoch begins
            (`epoch`), or only before the first step (`start`).
        mse: Weight of the mean squared error of the normalised embedding.
        fvu: Weight of the fraction of variance unexplained of the normalised embedding.
        cosine: Weight of 1 - cosine.
        prediction: Weight of the squared difference of the scores, through the frozen recommender.
        n_prediction_rows: Viewers a step that the prediction term looks at.
        n_prediction_pairs: Pairs of a viewer and a score a step that it compares, equally many for each viewer, drawn
            at random; 0: all scores. For recommenders of which a few scores cost much less than all.
        prediction_top_n: Above 0, so many of the highest scores of each viewer count as much as all that are compared.
        l1: Weight of the sum of activations (`relu` only); None: see `decided`.
        kl: Weight of the KL divergence of mean activations from `kl_rho` (`relu` only).
        kl_rho: The mean activation that `kl` pulls every neuron towards, in (0, 1).
        sparsity: Weight of the penalty on the number of active neurons (`jumprelu` only); None: see `decided`.
        sparsity_form: That penalty is `target`: (L0 / k - 1)^2 of the mean L0 of a batch, so that `k` neurons fire on
            average; or `plain`: L0, and `k` is only where the thresholds start.
        bandwidth: Width of the window around a threshold from which its gradient is estimated (`jumprelu` only), in
            root mean square lengths of the normalised embeddings.
        auxk_coefficient: Weight of the loss that revives dead neurons (`topk` and `batchtopk`).
        auxk_form: That loss is `residual` (Gao et al. 2024), or `recsae-code`, as RecSAE's and PopSteer's public codes
            have it (see `losses.auxiliary_recsae`); in that one a neuron is dead when it was not chosen in the epoch
            before.
        k_aux: Dead neurons that may fire for an embedding in that loss; None: `aux_expansion` times d_in.
        aux_expansion: `k_aux` as a multiple of d_in, where `k_aux` is not given.
        dead_after: Steps without firing after which a neuron counts as dead in training; None: those of an epoch.
        restart_dead: Dead neurons start again as directions of badly rebuilt embeddings, every `dead_after` steps.
        item_weight: Weight of the item probes beside the viewers, where items are trained on.
        init: Neurons start as directions of training embeddings (`data`), as random ones (`random`), or as a linear
            layer of torch does, with b_dec 0 (`linear`; the start of RecSAE and PopSteer).
        history_dropout: Largest share of a viewer's history that is dropped when it is trained on, in [0, 1);
            each step draws its share between 0 and this, for half of its viewers; of a sequence model the latest items
            are dropped. 0 leaves all histories whole.
        n_steps: Steps of gradient descent.
        batch_size: Embeddings a step; the same number of item probes joins where items are trained on.
        learning_rate: Of Adam, at its highest.
        warmup_share: Share of the steps, at the start, over which the learning rate rises.
        decay_share: Share of the steps, at the end, over which the learning rate falls to 0.
    """

    variant: str = "topk"
    d_sae: int | None = None
    expansion: int | None = None
    k: int | None = None
    levels: tuple[float, ...] = ()
    tied: bool = False
    normalisation: NormalisationKind = "unit"
    centre_input: bool = True
    decoder_norm: Literal["always", "epoch", "start"] = "always"
    mse: float = 0.0
    fvu: float = 0.0
    cosine: float = 1.0
    prediction: float = 0.0
    n_prediction_rows: int = 64
    n_prediction_pairs: int = 0
    prediction_top_n: int = 0
    l1: float | None = None
    kl: float = 0.0
    kl_rho: float = 0.05
    sparsity: float | None = None
    sparsity_form: Literal["target", "plain"] = "target"
    bandwidth: float = 0.05
    auxk_coefficient: float = 1 / 32
    auxk_form: Literal["residual", "recsae-code"] = "residual"
    k_aux: int | None = None
    aux_expansion: float = 0.5
    dead_after: int | None = 50
    restart_dead: bool = True
    item_weight: float = 1.0
    init: Literal["data", "random", "linear"] = "data"
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
            self.d_sae is None or self.expansion is None,
            f"d_sae is {self.d_sae} and expansion is {self.expansion}: both say how many neurons there are.",
            "Set sae.d_sae=none or sae.expansion=none.",
        )
        check(
            not VARIANTS[self.variant].has_k or self.k is None or 1 <= self.k <= (self.d_sae or self.k),
            f"k is {self.k} with d_sae {self.d_sae}: at most d_sae neurons can be active.",
            f"Set sae.k between 1 and {self.d_sae}." if self.d_sae else "Set sae.k to 1 or more.",
        )
        sizes = ("d_sae", "expansion", "k_aux", "dead_after", "n_steps", "batch_size", "n_prediction_rows")
        for name in sizes:
            value = getattr(self, name)
            check(
                value is None or value >= 1, f"{name} is {value}, expected at least 1.", f"Set sae.{name} to 1 or more."
            )
        check(
            not self.levels or (self.levels[-1] == 1 and all(a < b for a, b in pairwise((0.0, *self.levels)))),
            f"levels are {', '.join(f'{share:g}' for share in self.levels)}: expected rising shares that end with 1.",
            "Set sae.levels to 0.25,0.5,0.75,1, for example.",
        )
        weights = ("mse", "fvu", "cosine", "prediction")
        others = ("l1", "kl", "sparsity", "auxk_coefficient", "item_weight", "n_prediction_pairs", "prediction_top_n")
        for name in (*weights, *others):
            value = getattr(self, name)
            check(
                value is None or value >= 0, f"{name} is {value}, expected 0 or more.", f"Set sae.{name} to 0 or more."
            )
        check(
            any(getattr(self, name) > 0 for name in weights),
            "Every weight of the reconstruction is 0, so there is nothing to learn.",
            f"Set one of {', '.join('sae.' + name for name in weights)} above 0.",
        )
        check(0 < self.kl_rho < 1, f"kl_rho is {self.kl_rho}, expected between 0 and 1.", "Set sae.kl_rho to 0.05.")
        for name, usual in (("learning_rate", 0.001), ("bandwidth", 0.05), ("aux_expansion", 0.5)):
            value = getattr(self, name)
            check(value > 0, f"{name} is {value}, expected above 0.", f"Set sae.{name} to {usual}.")
        check(
            0 <= self.history_dropout < 1,
            f"history_dropout is {self.history_dropout}, expected from 0 to below 1.",
            "Set sae.history_dropout to a share, for example 0.5.",
        )
        check(
            min(self.warmup_share, self.decay_share) >= 0 and self.warmup_share + self.decay_share <= 1,
            f"warmup_share and decay_share are {self.warmup_share} and {self.decay_share}: together at most 1.",
            "Set sae.warmup_share and sae.decay_share to shares of the training, for example 0 and 0.2.",
        )

    def epoch_steps(self, n_rows: int) -> int:
        """Give the steps in which `n_rows` embeddings are gone through once."""
        return -(-n_rows // self.batch_size)

    def decided(self, n_rows: int, d_in: int, length: float) -> "TrainConfig":
        """Give these settings with what they leave open decided.

        `whole` is the loss of rebuilding every embedding as their mean, about `mse * length^2 / d_in + fvu + cosine`:
        the penalties are measured against it, so that they mean the same whatever the scale of the embeddings is.

        - `d_sae`: `expansion` times d_in where that is given, else one neuron for every 8 embeddings, between d_in and
          8 d_in: on few viewers a wide dictionary learns them by heart.
        - `k`: d_in / 2, as in PopSteer and RecSAE, no more than d_sae.
        - `l1`: 0 beside a `kl`, else `whole / (10 length)`.
        - `sparsity`: `whole` in its `target` form; `whole / (10 k)` in the `plain` one, where k active neurons cost a
          tenth of it.
        - `k_aux`: `aux_expansion` times d_in (half of d_in: Gao et al. 2024).
        - `dead_after`: the steps of an epoch.

        Args:
            n_rows: Embeddings of viewers.
            d_in: Width of an embedding.
            length: Root mean square length of the normalised embeddings.
        """
        whole = (self.mse * length**2 / d_in + self.fvu + self.cosine) or 1.0
        d_sae = self.d_sae or (self.expansion or 0) * d_in or min(max(n_rows // 8, d_in), 8 * d_in)
        k = self.k or max(1, min(d_in // 2, d_sae))
        l1 = 0.0 if self.kl else whole / (10 * length)
        price = whole if self.sparsity_form == "target" else whole / (10 * k)
        return replace(
            self,
            d_sae=d_sae,
            expansion=None,
            k=k,
            l1=l1 if self.l1 is None else self.l1,
            sparsity=price if self.sparsity is None else self.sparsity,
            k_aux=self.k_aux or max(1, int(self.aux_expansion * d_in)),
            dead_after=self.dead_after or self.epoch_steps(n_rows),
        )

    @property
    def only_direction(self) -> bool:
        """No term of the loss sees the length of a reconstruction."""
        return not (self.mse or self.fvu or self.prediction)
