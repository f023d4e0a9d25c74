"""The one training loop of every SAE recipe."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from core.configs import check
from core.errors import TrainingError
from core.progress import Progress, no_progress
from core.sae import losses, metrics
from core.sae.checkpoint import (
    Batches,
    Checkpoint,
    digest_of,
    is_due,
    pack_generator,
    pack_log,
    unpack_generator,
    unpack_log,
)
from core.sae.config import TrainConfig
from core.sae.history import LogRow, TrainHistory, history_of, warnings_of
from core.sae.model import SAE, NormalisationKind, SAEConfig
from core.sae.objective import Objective
from core.sae.optimiser import Adam
from core.sae.parallel import Peers
from core.sae.rows import Rows
from core.sae.variants import VARIANTS, Gate, Pass, Variant
from core.sae.weights import Weights, start
from core.seeding import derive_seed, generator

__all__ = ["Augment", "TrainConfig", "TrainHistory", "train"]

Augment = Callable[[np.random.Generator, np.ndarray, float], np.ndarray]
"""`augment(rng, rows, dropout)` embeds the histories of these rows anew with the share `dropout` of each dropped:
(len(rows), d_in)."""

N_LOGGED = 100
"""Steps of a training that are logged and reported."""
N_MEASURED = 16_384
"""Embeddings that are looked at when training is over: all, or so many at random."""
DIVERGED = 1000.0
"""A loss that is so many times its best, above its first value and above 1, has diverged.

Embeddings are trained on at unit scale: below 1 a loss is no worse than that of a model that gives their mean. A few
viewers can be rebuilt without any loss at the first step, and any number is many times nothing.
"""


def train(
    X: np.ndarray | Sequence[np.ndarray],
    config: TrainConfig,
    *,
    seed: int,
    X_items: np.ndarray | None = None,
    scorer: losses.Scorer | None = None,
    augment: Augment | None = None,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
) -> tuple[SAE, TrainHistory]:
    """Train an SAE on embeddings. The same arguments give the same weights bit for bit; one thread is used.

    So does a training that was stopped, by a KeyboardInterrupt of `progress` or by the end of its process, and is
    called again with the same `checkpoint`: it goes on from there.

    Where torch.distributed has a process group, all its processes train one model together (see `core.sae.parallel`);
    the first one keeps the checkpoint.

    Args:
        X: (n, d_in) embeddings of viewers, or several arrays of them, one after another. Not changed. Memory-mapped
            ones (`np.load(file, mmap_mode="r")`) are read in blocks and batches, and give the same as in memory.
        config: The recipe.
        seed: Of the start, the batches and the dropped histories.
        X_items: (n_items, d_in) item probes trained on beside the viewers, or None.
        scorer: The frozen recommender in torch (see `losses.Scorer`); needed when `config.prediction` is above 0.
        augment: Embeds histories anew with a part dropped; needed when `config.history_dropout` is above 0.
        progress: Told the loss, l0 and the share of dead neurons. It may raise KeyboardInterrupt, which passes through.
        checkpoint: Where the state is kept now and then, and looked for at the start; None: nowhere.

    Returns:
        The model and its history.

    Raises:
        ConfigError: A term or an option of `config` lacks what it needs.
        TrainingError: Nothing to learn from, embeddings that are not finite, or a loss that diverged, which leaves the
            last good checkpoint as it is.
    """
    populations = [_embeddings(X, "viewers")] + ([] if X_items is None else [_embeddings(X_items, "items")])
    _check_inputs(config, scorer, augment)
    with _one_thread():
        return _Training(populations, config, seed, scorer, augment).run(progress, checkpoint)


class _Training:
    """The state of one run of the loop."""

    def __init__(
        self,
        populations: Sequence[Rows],
        config: TrainConfig,
        seed: int,
        scorer: losses.Scorer | None,
        augment: Augment | None,
    ) -> None:
        self.populations, self.augment = populations, augment
        self.seed, self.rng = seed, generator(seed, "sae", "batches")
        self.batches = [Batches(self.rng, len(p), config.batch_size) for p in populations]
        self.peers = Peers()
        self.peers.check_batches([batches.size for batches in self.batches])
        self.n_done, self.log = 0, list[LogRow]()
        d_in = populations[0].shape[1]
        squares = [np.float32(p.mean_of(lambda block: np.square(block).mean())) for p in populations]
        self.global_scale = float(np.sqrt(np.mean(squares))) or 1.0
        self.normaliser = _normaliser(d_in, config.normalisation, self.global_scale)
        length = self._length()
        self.digest = digest_of(config, seed, populations)
        self.config = config = config.decided(len(populations[0]), d_in, length)
        assert config.d_sae is not None and config.k is not None and config.dead_after is not None
        self.k, self.dead_after = config.k, config.dead_after
        self.epoch_steps = config.epoch_steps(len(populations[0]))
        self.objective = Objective(config, scorer, generator(seed, "sae", "pairs"))
        self.bandwidth = config.bandwidth * length
        self.variant: Variant = VARIANTS[config.variant]
        gate_k = self.k if self.variant.gate == "topk" else 0
        self.model_config = SAEConfig(
            d_in, config.d_sae, self.variant.gate, gate_k, config.normalisation, config.centre_input,
            tuple(round(share * config.d_sae) for share in config.levels),
        )  # fmt: skip
        x = Rows([part for p in populations for part in p.parts], self._normalised)
        self.weights = Weights(
            *start(config.init, x, config.d_sae, derive_seed(seed, "sae", "start"), centred=config.centre_input),
            tied=config.tied,
            thresholds=self.variant.threshold == "learnt",
        )
        self._start_thresholds()
        self.silent_steps = torch.zeros(self.model_config.d_sae, dtype=torch.int64)
        self.chosen = torch.zeros(self.model_config.d_sae, dtype=torch.bool)
        """Neurons that were among the k of some embedding in this epoch."""
        self.left_out = torch.zeros(self.model_config.d_sae, dtype=torch.bool)
        """Neurons that were not, in the epoch before."""
        on_sphere = frozenset({"W_dec"} if config.decoder_norm == "always" else ())
        self.optimiser = Adam(self.weights.parameters(), on_sphere)

    def _length(self) -> float:
        """Give the root mean square length of the normalised embeddings."""
        normalised = [p.through(self._normalised) for p in self.populations]
        squares = [np.float32(p.mean_of(lambda x: np.square(x).sum(axis=1).mean())) for p in normalised]
        return float(np.sqrt(np.mean(squares))) or 1.0

    def _normalised(self, X: np.ndarray) -> np.ndarray:
        return self.normaliser.normalise(X).x_n

    def _start_thresholds(self) -> None:
        """Start all learnt thresholds at the number at which k neurons fire on average."""
        log_threshold = self.weights.log_threshold
        if log_threshold is not None:
            start = self._threshold_at_k(self.weights.freeze(self.model_config, self.global_scale))
            with torch.no_grad():
                log_threshold.fill_(float(np.log(max(start, self.bandwidth / 2))))

    def run(self, progress: Progress, checkpoint: Checkpoint | None) -> tuple[SAE, TrainHistory]:
        """Run the loop to its end, from where `checkpoint` is."""
        config, every = self.config, max(1, self.config.n_steps // N_LOGGED)
        if checkpoint is not None and (saved := checkpoint.load()) is not None:
            self._restore(saved)
        stand = np.append(self.digest, np.array([self.n_done], np.int64).view(np.uint8))
        self.peers.check_equal("embeddings, settings, seed and steps", stand)
        checkpoint = checkpoint if self.peers.rank == 0 else None  # one keeps it for all
        saved_at = time.monotonic()
        while self.n_done < config.n_steps:
            step = self.n_done + 1
            if step > 1 and (step - 1) % self.epoch_steps == 0:
                self._begin_epoch()
            x = [self.peers.share(self._embed(kind, batches.next())) for kind, batches in enumerate(self.batches)]
            terms, l0 = self._step(x, learning_rate(config, step))
            if config.restart_dead and step % self.dead_after == 0 and step < config.n_steps * 0.9:
                self._restart_dead()
            self.n_done = step
            to_log = step % every == 0 or step in (1, config.n_steps)
            to_save = checkpoint is not None and is_due(checkpoint, step, time.monotonic() - saved_at)
            if not (to_log or to_save):
                continue
            values = {name: float(value.detach()) for name, value in terms.items()}
            self._refuse_divergence(sum(values.values()))
            if to_log:
                self.log.append(LogRow(step, sum(values.values()), l0, float(self._dead().float().mean()), values))
            if checkpoint is not None and to_save:
                checkpoint.save(self._state())
                saved_at = time.monotonic()
            if to_log:
                self._tell(progress, checkpoint)
        if config.only_direction:
            self._restore_length()
        history = history_of(self.log)
        warnings = warnings_of(self.model_config, len(self.populations[0]), history)
        return self._finished(), replace(history, warnings=warnings)

    def _tell(self, progress: Progress, checkpoint: Checkpoint | None) -> None:
        """Tell how it goes. Between two steps the state is whole: one who stops the training here can go on here."""
        row = self.log[-1]
        try:
            numbers = {"loss": row.loss, "l0": row.l0, "dead_share": row.dead_share}
            progress("sae", row.step, self.config.n_steps, numbers)
        except KeyboardInterrupt:
            if checkpoint is not None:
                checkpoint.save(self._state())
            raise

    def _refuse_divergence(self, loss: float) -> None:
        """Raise where the loss or a weight is not finite, or the loss has grown as `DIVERGED` says."""
        finite = np.isfinite(loss) and all(bool(p.sum().isfinite()) for p in self.weights.parameters().values())
        logged = [row.loss for row in self.log]
        if finite and not (logged and loss > max(1.0, logged[0], DIVERGED * min(logged))):
            return
        value = f"{loss:.3g}, after a best of {min(logged):.3g}," if finite else "not finite"
        raise TrainingError(
            f"The SAE's loss is {value} at step {self.n_done:,} of {self.config.n_steps:,}.",
            f"Lower sae.learning_rate (it is {self.config.learning_rate:g}) or the largest weight of the loss.",
        )

    def _state(self) -> dict[str, np.ndarray]:
        """Give all that the rest of the training depends on and that is not in its arguments."""
        state = {
            "digest": self.digest,
            "n_done": np.array([self.n_done]),
            "rng": pack_generator(self.rng),
            "pairs_rng": pack_generator(self.objective.rng),
            "silent_steps": self.silent_steps.numpy(),
            "chosen": self.chosen.numpy(),
            "left_out": self.left_out.numpy(),
        }
        state |= {f"waiting.{kind}": batches.waiting for kind, batches in enumerate(self.batches)}
        for name, parameter in self.weights.parameters().items():
            state[f"weights.{name}"] = parameter.detach().numpy()
        state |= {f"adam.{name}": array for name, array in self.optimiser.state().items()}
        return {name: array.copy() for name, array in (state | pack_log(self.log)).items()}

    @torch.no_grad()
    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to where `_state` was taken, unless it is of another training."""
        if not np.array_equal(state.get("digest", ()), self.digest):
            return
        self.n_done = int(state["n_done"][0])
        self.rng.bit_generator.state = unpack_generator(state["rng"])
        self.objective.rng.bit_generator.state = unpack_generator(state["pairs_rng"])
        for kind, batches in enumerate(self.batches):
            batches.waiting = state[f"waiting.{kind}"].copy()
        for name, parameter in self.weights.parameters().items():
            parameter.copy_(torch.from_numpy(state[f"weights.{name}"]))
        self.optimiser.restore(
            {name.removeprefix("adam."): array for name, array in state.items() if name.startswith("adam.")}
        )
        self.silent_steps, self.chosen, self.left_out = (
            torch.from_numpy(state[name].copy()) for name in ("silent_steps", "chosen", "left_out")
        )
        self.log = unpack_log(state)

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

    def _some(self, X: Rows) -> np.ndarray:
        """Give all rows in their order, or `N_MEASURED` of them, always the same."""
        if len(X) <= N_MEASURED:
            return X[np.arange(len(X))]
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
        config, d_sae = self.config, self.model_config.d_sae
        terms: dict[str, Tensor] = {}
        fired = torch.zeros(d_sae, dtype=torch.bool)
        n_active = n_rows = 0
        for kind, X in enumerate(embeddings):
            batch, scale, shift = self._forward(X)
            own = self.objective.terms(batch, scale, shift, with_prediction=kind == 0)
            weight = config.item_weight if kind else 1.0
            terms |= {name: terms.get(name, 0) + weight * value for name, value in own.items()}
            fired |= batch.active.fired(d_sae)
            self.chosen |= batch.active.chosen(d_sae)
            n_active, n_rows = n_active + int((batch.active.values > 0).sum()), n_rows + len(X)
        parameters = self.weights.parameters()
        # Only our own parameters get a gradient: whatever the scorer holds stays untouched.
        loss = torch.stack(list(terms.values())).sum()
        gradients: Sequence[Tensor | None]
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        l0 = n_active / n_rows
        if self.peers.n > 1:
            gradients, terms, fired, l0 = self._pooled(gradients, terms, fired, l0)
        self.optimiser.step(dict(zip(parameters, gradients, strict=True)), rate)
        self.silent_steps = torch.where(fired, 0, self.silent_steps + 1)
        return terms, l0

    def _pooled(
        self, gradients: Sequence[Tensor | None], terms: Mapping[str, Tensor], fired: Tensor, l0: float
    ) -> tuple[Sequence[Tensor | None], dict[str, Tensor], Tensor, float]:
        """Give the means of what `_step` found over all processes; a neuron has fired that fired in any of them."""
        known = [gradient for gradient in gradients if gradient is not None]
        means = iter(self.peers.means([*known, *terms.values(), fired, self.chosen, torch.tensor(l0)]))
        pooled = [None if gradient is None else next(means) for gradient in gradients]
        mean_terms = {name: next(means) for name in terms}
        fired, self.chosen = next(means) > 0, next(means) > 0
        return pooled, mean_terms, fired, float(next(means))

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
        for name in weights.of_neurons():
            self.optimiser.forget(name, where)
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


def learning_rate(config: TrainConfig, step: int) -> float:
    """Give the learning rate of a step from 1 to n_steps: a linear rise, level, then a linear fall towards 0."""
    rise, fall = config.warmup_share * config.n_steps, config.decay_share * config.n_steps
    up = step / rise if rise else 1.0
    down = (config.n_steps - step + 1) / fall if fall else 1.0
    return config.learning_rate * min(1.0, up, down)


def _embeddings(X: np.ndarray | Sequence[np.ndarray], of: str) -> Rows:
    parts: list[np.ndarray] = list(X) if isinstance(X, list | tuple) else [cast(np.ndarray, X)]
    shapes = [part.shape for part in parts]
    if not shapes or any(len(shape) != 2 or shape[1] != shapes[0][1] for shape in shapes):
        raise ValueError(f"embeddings of {of} have shape {', '.join(map(str, shapes))}, expected (n, d_in)")
    rows = Rows([np.ascontiguousarray(part, np.float32) if type(part) is np.ndarray else part for part in parts])
    if len(rows) == 0 or not rows.are_finite():
        problem = "There are no embeddings" if len(rows) == 0 else "Some embeddings are not finite: those"
        raise TrainingError(f"{problem} of {of} to train the SAE on.", "Train the recommender again, or on more data.")
    return rows


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
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(n_threads)
