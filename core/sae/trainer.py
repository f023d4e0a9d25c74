"""The one training loop of every SAE recipe."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.configs import check
from core.errors import TrainingError
from core.progress import Progress, no_progress
from core.sae import losses, metrics
from core.sae.config import TrainConfig
from core.sae.history import TrainHistory, warnings_of
from core.sae.model import SAE, NormalisationKind, SAEConfig
from core.sae.variants import VARIANTS, Gate, Pass, Variant
from core.sae.weights import Weights
from core.seeding import derive_seed, generator

__all__ = ["Augment", "TrainConfig", "TrainHistory", "train"]

Augment = Callable[[np.random.Generator, np.ndarray, float], np.ndarray]
"""`augment(rng, rows, dropout)` embeds the histories of these rows anew with the share `dropout` of each dropped:
(len(rows), d_in)."""

N_LOGGED = 100
"""Steps of a training that are logged and reported."""
N_MEASURED = 16_384
"""Embeddings that are looked at when training is over: all, or so many at random."""


def train(
    X: np.ndarray,
    config: TrainConfig,
    *,
    seed: int,
    X_items: np.ndarray | None = None,
    scorer: losses.Scorer | None = None,
    augment: Augment | None = None,
    progress: Progress = no_progress,
) -> tuple[SAE, TrainHistory]:
    """Train an SAE on embeddings. The same arguments give the same weights bit for bit; one thread is used.

    Args:
        X: (n, d_in) embeddings of viewers. Not changed.
        config: The recipe.
        seed: Of the start, the batches and the dropped histories.
        X_items: (n_items, d_in) item probes trained on beside the viewers, or None.
        scorer: The frozen recommender in torch (see `losses.Scorer`); needed when `config.prediction` is above 0.
        augment: Embeds histories anew with a part dropped; needed when `config.history_dropout` is above 0.
        progress: Told the loss, l0 and the share of dead neurons. It may raise KeyboardInterrupt, which passes through.

    Returns:
        The model and its history.

    Raises:
        ConfigError: A term or an option of `config` lacks what it needs.
        TrainingError: Nothing to learn from, embeddings that are not finite, or a loss that is not finite.
    """
    populations = [_embeddings(X, "viewers")] + ([] if X_items is None else [_embeddings(X_items, "items")])
    _check_inputs(config, scorer, augment)
    with _one_thread():
        return _Training(populations, config, seed, scorer, augment).run(progress)


class _Training:
    """The state of one run of the loop."""

    def __init__(
        self,
        populations: Sequence[np.ndarray],
        config: TrainConfig,
        seed: int,
        scorer: losses.Scorer | None,
        augment: Augment | None,
    ) -> None:
        self.populations, self.scorer, self.augment = populations, scorer, augment
        self.seed, self.rng = seed, generator(seed, "sae", "batches")
        self.pairs_rng = generator(seed, "sae", "pairs")
        d_in = populations[0].shape[1]
        self.global_scale = float(np.sqrt(np.mean([np.square(p).mean() for p in populations]))) or 1.0
        self.normaliser = _normaliser(d_in, config.normalisation, self.global_scale)
        length = self._length()
        self.config = config = config.decided(len(populations[0]), d_in, length)
        assert config.d_sae is not None and config.k is not None and config.dead_after is not None
        self.k, self.dead_after = config.k, config.dead_after
        self.epoch_steps = config.epoch_steps(len(populations[0]))
        self.bandwidth = config.bandwidth * length
        self.variant: Variant = VARIANTS[config.variant]
        gate_k = self.k if self.variant.gate == "topk" else 0
        self.model_config = SAEConfig(
            d_in, config.d_sae, self.variant.gate, gate_k, config.normalisation, config.centre_input,
            tuple(round(share * config.d_sae) for share in config.levels),
        )  # fmt: skip
        self.weights = Weights(
            *self._start(derive_seed(seed, "sae", "start")),
            tied=config.tied,
            thresholds=self.variant.threshold == "learnt",
        )
        self._start_thresholds()
        self.n_columns = 0
        """Scores of an embedding; 0 where it was not asked yet."""
        self.silent_steps = torch.zeros(self.model_config.d_sae, dtype=torch.int64)
        self.chosen = torch.zeros(self.model_config.d_sae, dtype=torch.bool)
        """Neurons that were among the k of some embedding in this epoch."""
        self.left_out = torch.zeros(self.model_config.d_sae, dtype=torch.bool)
        """Neurons that were not, in the epoch before."""
        self.optimiser = torch.optim.Adam(self.weights.parameters().values(), lr=config.learning_rate, fused=True)

    def _length(self) -> float:
        """Give the root mean square length of the normalised embeddings."""
        squares = [np.square(self.normaliser.normalise(p).x_n).sum(axis=1).mean() for p in self.populations]
        return float(np.sqrt(np.mean(squares))) or 1.0

    def _start_thresholds(self) -> None:
        """Start all learnt thresholds at the number at which k neurons fire on average."""
        log_threshold = self.weights.log_threshold
        if log_threshold is not None:
            start = self._threshold_at_k(self.weights.freeze(self.model_config, self.global_scale))
            with torch.no_grad():
                log_threshold.fill_(float(np.log(max(start, self.bandwidth / 2))))

    def _start(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give the first W_dec, rows of length 1, b_dec, the mean of the normalised embeddings, and encoder."""
        config, rng = self.config, np.random.default_rng(seed)
        d_sae, d_in = self.model_config.d_sae, self.model_config.d_in
        if config.init == "linear":
            encoder = rng.uniform(-1, 1, (d_sae, d_in)) / np.sqrt(d_in)
            return encoder / np.linalg.norm(encoder, axis=1, keepdims=True), np.zeros(d_in), encoder
        x = np.concatenate([self.normaliser.normalise(p).x_n for p in self.populations])
        b_dec = x.mean(axis=0) if config.centre_input else np.zeros(d_in, np.float32)
        if config.init == "random":
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

    def run(self, progress: Progress) -> tuple[SAE, TrainHistory]:
        """Run the loop to its end."""
        config, every = self.config, max(1, self.config.n_steps // N_LOGGED)
        batches = [_batches(self.rng, len(p), config.batch_size) for p in self.populations]
        log: list[tuple[int, float, float, float, dict[str, float]]] = []
        for step in range(1, config.n_steps + 1):
            if step > 1 and (step - 1) % self.epoch_steps == 0:
                self._begin_epoch()
            x = [self._embed(kind, next(rows)) for kind, rows in enumerate(batches)]
            terms, l0 = self._step(x, learning_rate(config, step))
            if config.restart_dead and step % self.dead_after == 0 and step < config.n_steps * 0.9:
                self._restart_dead()
            if step % every == 0 or step in (1, config.n_steps):
                values = {name: float(value.detach()) for name, value in terms.items()}
                loss, dead_share = sum(values.values()), float(self._dead().float().mean())
                if not np.isfinite(loss):
                    raise TrainingError(
                        f"The SAE's loss is {loss} at step {step:,} of {config.n_steps:,}.",
                        f"Lower sae.learning_rate (it is {config.learning_rate:g}) or the largest weight of the loss.",
                    )
                log.append((step, loss, l0, dead_share, values))
                progress("sae", step, config.n_steps, {"loss": loss, "l0": l0, "dead_share": dead_share})
        if config.only_direction:
            self._restore_length()
        history = _history(log)
        warnings = warnings_of(self.model_config, len(self.populations[0]), history)
        return self._finished(), replace(history, warnings=warnings)

    def _finished(self) -> SAE:
        """Give the finished model.

        A measured threshold is the one that gives the embeddings of the training k active neurons on average. Bussmann
        et al. 2024 instead average, batch by batch, the least activation that stayed, which needs no second look at the
        embeddings, but mixes in what the weights were before, and thinned histories where these are dropped.
        """
        sae = self.weights.freeze(self.model_config, self.global_scale)
        if self.variant.threshold != "measured":
            return sae
        return replace(sae, threshold=np.full_like(sae.threshold, self._threshold_at_k(sae)))

    def _threshold_at_k(self, sae: SAE) -> float:
        """Give the threshold at which k neurons fire for the embeddings of the training on average."""
        return metrics.threshold_at(sae, np.concatenate([self._some(p) for p in self.populations]), self.k)

    def _some(self, X: np.ndarray) -> np.ndarray:
        """Give all rows in their order, or `N_MEASURED` of them, always the same."""
        if len(X) <= N_MEASURED:
            return X
        return X[np.sort(generator(self.seed, "sae", "measured").permutation(len(X))[:N_MEASURED])]

    def _begin_epoch(self) -> None:
        """Take stock of the epoch that is over."""
        if self.config.decoder_norm == "epoch":
            self.weights.normalise_decoder()
        self.left_out, self.chosen = ~self.chosen, torch.zeros_like(self.chosen)

    @torch.no_grad()
    def _restore_length(self) -> None:
        """Scale activations and b_dec by one number, so that reconstructions have the length of what they rebuild.

        The cosine sees directions only, and lengths drift in training. With c = sum x·x_hat / sum x_hat·x_hat over the
        viewers (`N_MEASURED` at most), x_hat becomes c x_hat. A tied model stays as it is: its encoder is no longer its
        own.
        """
        batch = self._forward(self._some(self.populations[0]))[0]
        c = (batch.x * batch.x_hat).sum() / batch.x_hat.square().sum().clamp_min(losses.TINY)
        if bool(c > 0) and not self.config.tied:
            self.weights.scale_output(float(c), self.config.centre_input)

    def _embed(self, kind: int, rows: np.ndarray) -> np.ndarray:
        """Give the embeddings of a batch; where histories are dropped, the second half of its viewers lose a share.

        The first half stays whole: a neuron must live on real viewers, not on thinned ones only.
        """
        X, dropout = self.populations[kind], self.config.history_dropout
        if kind or self.augment is None or not dropout:
            return X[rows]
        whole, thinned = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        return np.concatenate([X[whole], self.augment(self.rng, thinned, float(self.rng.uniform(0, dropout)))])

    def _dead(self) -> Tensor:
        return self.silent_steps >= self.dead_after

    def _step(self, embeddings: Sequence[np.ndarray], rate: float) -> tuple[dict[str, Tensor], float]:
        """Move the weights once; give the weighted terms of the loss and the mean number of active neurons."""
        config, weights, d_sae = self.config, self.weights, self.model_config.d_sae
        terms: dict[str, Tensor] = {}
        fired = torch.zeros(d_sae, dtype=torch.bool)
        n_active = n_rows = 0
        for kind, X in enumerate(embeddings):
            batch, scale, shift = self._forward(X)
            own = self._terms(batch, scale, shift, with_prediction=kind == 0)
            weight = config.item_weight if kind else 1.0
            terms |= {name: terms.get(name, 0) + weight * value for name, value in own.items()}
            fired |= batch.active.fired(d_sae)
            self.chosen |= batch.active.chosen(d_sae)
            n_active, n_rows = n_active + int((batch.active.values > 0).sum()), n_rows + len(X)
        parameters = list(weights.parameters().values())
        # Only our own parameters get a gradient: whatever the scorer holds stays untouched.
        gradients = torch.autograd.grad(torch.stack(list(terms.values())).sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if config.decoder_norm == "always":
            weights.project_gradient()
        self.optimiser.step()
        if config.decoder_norm == "always":
            weights.normalise_decoder()
        self.silent_steps = torch.where(fired, 0, self.silent_steps + 1)
        return terms, n_active / n_rows

    @torch.no_grad()
    def _restart_dead(self) -> None:
        """Start dead neurons again as directions of the embeddings that are rebuilt worst, one embedding a neuron.

        Their rows get the mean length of the living rows, their biases and thresholds the mean of the living, and Adam
        forgets them.
        """
        dead, weights = self._dead(), self.weights
        if not bool(dead.any()) or bool(dead.all()):
            return
        rows = self.rng.permutation(len(self.populations[0]))[: max(self.config.batch_size, int(dead.sum()))]
        batch = self._forward(self.populations[0][rows])[0]
        worst = (batch.x - batch.x_hat).square().sum(dim=1).argsort(descending=True)
        where = dead.nonzero().flatten()[: len(worst)]
        directions = functional.normalize(batch.x[worst[: len(where)]] - weights.b_dec, dim=1)
        for matrix in [weights.W_dec] if self.config.tied else [weights.W_dec, weights.encoder]:
            matrix[where] = directions * matrix[~dead].norm(dim=1).mean()
        for vector in [weights.b_enc] if weights.log_threshold is None else [weights.b_enc, weights.log_threshold]:
            vector[where] = vector[~dead].mean()
        for parameter in weights.of_neurons():
            for moment in ("exp_avg", "exp_avg_sq"):
                self.optimiser.state[parameter][moment][where] = 0
        self.silent_steps[where] = 0

    def _forward(self, X: np.ndarray) -> tuple[Pass, Tensor, Tensor]:
        """Encode and decode a batch; give it on the normalised scale, with the way back."""
        x, scale, shift = (torch.from_numpy(part) for part in self.normaliser.normalise(X))
        pre_acts = self.weights.pre_acts(x, self.config.centre_input)
        gate = Gate(self.k, self.weights.threshold(), self.bandwidth)
        active = self.variant.activate(pre_acts, gate)
        decoded = active.decode_prefixes(self.weights.W_dec, self.model_config.levels)
        x_hats = [part + self.weights.b_dec for part in decoded]
        dead = self._dead() if self.config.auxk_form == "residual" else self.left_out
        return Pass(x, pre_acts, gate, active, x_hats, dead, self.weights.W_dec, self.weights.b_dec), scale, shift

    def _terms(self, batch: Pass, scale: Tensor, shift: Tensor, *, with_prediction: bool) -> dict[str, Tensor]:
        """Give the weighted terms of the loss of one population by name.

        Where neurons are nested, the terms of the reconstruction are means over the levels, each with b_dec (Bussmann
        et al. 2025; Arviv et al. 2025 have the sum, which only weighs them more); all others look at the full code.
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
            assert self.scorer is not None
            some = slice(config.n_prediction_rows)
            x, x_hat = (part[some] * scale[some] + shift[some] for part in (batch.x, batch.x_hat))
            terms["prediction"] = config.prediction * losses.prediction(
                x, x_hat, self.scorer, items=self._pairs(x), top_n=config.prediction_top_n
            )
        return terms | self.variant.penalty(batch, config)

    def _pairs(self, x: Tensor) -> Tensor | None:
        """Draw the columns whose scores are compared, (n, m); None: all."""
        if not self.config.n_prediction_pairs:
            return None
        if not self.n_columns:
            assert self.scorer is not None
            with torch.no_grad():
                self.n_columns = self.scorer(x[:1]).shape[1]
        each = -(-self.config.n_prediction_pairs // len(x))
        return torch.from_numpy(self.pairs_rng.integers(self.n_columns, size=(len(x), each)))


def learning_rate(config: TrainConfig, step: int) -> float:
    """Give the learning rate of a step from 1 to n_steps: a linear rise, level, then a linear fall towards 0."""
    rise, fall = config.warmup_share * config.n_steps, config.decay_share * config.n_steps
    up = step / rise if rise else 1.0
    down = (config.n_steps - step + 1) / fall if fall else 1.0
    return config.learning_rate * min(1.0, up, down)


def _batches(rng: np.random.Generator, n: int, size: int) -> Iterator[np.ndarray]:
    """Give row numbers for ever: every row once before any comes again."""
    size = min(size, n)
    waiting = np.empty(0, np.int64)
    while True:
        if len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(n)])
        yield waiting[:size]
        waiting = waiting[size:]


def _embeddings(X: np.ndarray, of: str) -> np.ndarray:
    X = np.asarray(X, np.float32)
    if X.ndim != 2:
        raise ValueError(f"embeddings of {of} have shape {X.shape}, expected (n, d_in)")
    if len(X) == 0 or not np.isfinite(X).all():
        problem = "There are no embeddings" if len(X) == 0 else "Some embeddings are not finite: those"
        raise TrainingError(f"{problem} of {of} to train the SAE on.", "Train the recommender again, or on more data.")
    return X


def _check_inputs(config: TrainConfig, scorer: losses.Scorer | None, augment: Augment | None) -> None:
    check(
        config.prediction == 0 or scorer is not None,
        f"prediction is {config.prediction}, and this recommender has no differentiable scorer.",
        "Set sae.prediction to 0, or use a recommender with a torch scorer.",
    )
    check(
        config.history_dropout == 0 or augment is not None,
        f"history_dropout is {config.history_dropout}, and there are no histories to embed anew.",
        "Set sae.history_dropout to 0.",
    )


def _history(log: Sequence[tuple[int, float, float, float, dict[str, float]]]) -> TrainHistory:
    step, loss, l0, dead_share = (np.array(column) for column in list(zip(*log, strict=True))[:4])
    names = sorted({name for *_, terms in log for name in terms})
    terms = {name: np.array([row[4].get(name, 0.0) for row in log]) for name in names}
    return TrainHistory(step, loss, l0, dead_share, terms)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _normaliser(d_in: int, normalisation: NormalisationKind, global_scale: float) -> SAE:
    """Give an SAE of one neuron that is asked for nothing but `normalise`."""
    blank = np.zeros((1, d_in), np.float32)
    config = SAEConfig(d_in, 1, "relu", normalisation=normalisation)
    return SAE(config, blank.T, blank[:, 0], blank, blank[0], global_scale=global_scale)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, so that sums have one order, and flush denormals, which slow Adam many times; undo both after."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(n_threads)
