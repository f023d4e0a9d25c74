"""The sparse autoencoder at inference: one model for every training recipe, in NumPy.

x_n, scale, shift = normalise(x)
pre_acts = (x_n - b_dec * centre_input) @ W_enc + b_enc
acts     = gate(pre_acts)                             relu | topk(k) | threshold
x_hat    = (acts @ W_dec + b_dec) * scale + shift
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from core.configs import check

GateKind = Literal["relu", "topk", "threshold"]
NormalisationKind = Literal["none", "global", "sample", "unit"]

EPSILON = 1e-7
LARGEST = 2**29
"""Weights of a matrix: 2 GiB."""


@dataclass(frozen=True)
class SAEConfig:
    """What the inference model is, apart from its weights.

    Attributes:
        d_in: Width of an embedding.
        d_sae: Number of neurons.
        gate: `relu`; `topk`: of the ReLU values the k largest stay; `threshold`: values above a threshold of each
            neuron stay.
        k: Active neurons of the `topk` gate, 0 otherwise.
        normalisation: `none`; `global`: divided by one number, the root mean square of the training embeddings;
            `sample`: each embedding less its mean over its own dimensions, divided by its own deviation;
            `unit`: divided by its own length.
        centre_input: b_dec is subtracted before encoding (the papers' choice), or not.
        levels: Where neurons are nested (Matryoshka): how many belong to each prefix of them, the last one d_sae. The
            first prefix rebuilds an embedding roughly by itself, each longer one better. Empty: they are not nested.
    """

    d_in: int
    d_sae: int
    gate: GateKind = "topk"
    k: int = 0
    normalisation: NormalisationKind = "none"
    centre_input: bool = True
    levels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check(self.d_in >= 1, f"d_in is {self.d_in}, expected at least 1.", "Give the width of the embeddings.")
        check(self.d_sae >= 1, f"d_sae is {self.d_sae}, expected at least 1.", "Set sae.d_sae to 1 or more.")
        check(
            self.d_in * self.d_sae <= LARGEST,
            f"{self.d_sae:,} neurons of embeddings of {self.d_in:,} numbers are more than {LARGEST:,} weights.",
            f"Set sae.d_sae to at most {max(1, LARGEST // self.d_in):,}.",
        )
        if self.gate == "topk":
            check(
                1 <= self.k <= self.d_sae,
                f"k is {self.k} with d_sae {self.d_sae}: at most d_sae neurons can be active.",
                f"Set sae.k between 1 and {self.d_sae}.",
            )
        check(
            self.normalisation != "sample" or self.d_in > 1,
            "Embeddings of one dimension have no deviation over their own dimensions.",
            "Set sae.normalisation to unit, global or none.",
        )
        borders = (0, *self.levels)
        check(
            not self.levels or (borders[-1] == self.d_sae and all(a < b for a, b in pairwise(borders))),
            f"The levels of {self.d_sae} neurons end at {', '.join(map(str, self.levels))}.",
            "Set sae.levels to rising shares that end with 1 and have a neuron each, for example 0.25,0.5,1.",
        )


class Normalised(NamedTuple):
    """Embeddings as the encoder sees them and the way back: `x = x_n * scale + shift`."""

    x_n: np.ndarray
    """(n, d_in)."""
    scale: np.ndarray
    """(n, 1), always positive."""
    shift: np.ndarray
    """(n, 1)."""


@dataclass(frozen=True, eq=False)
class SAE:
    """A trained sparse autoencoder. Arrays are float32 and never written to.

    Attributes:
        W_enc: (d_in, d_sae).
        b_enc: (d_sae,).
        W_dec: (d_sae, d_in).
        b_dec: (d_in,).
        threshold: (d_sae,), used by the `threshold` gate only.
        global_scale: Divisor of the `global` normalisation.
    """

    config: SAEConfig
    W_enc: np.ndarray
    b_enc: np.ndarray
    W_dec: np.ndarray
    b_dec: np.ndarray
    threshold: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    global_scale: float = 1.0

    def __post_init__(self) -> None:
        d_in, d_sae = self.config.d_in, self.config.d_sae
        expected = {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        if self.config.gate == "threshold" and self.threshold.shape != (d_sae,):
            raise ValueError(f"threshold has shape {self.threshold.shape}, expected {(d_sae,)}")

    @property
    def level_of(self) -> np.ndarray:
        """Give (d_sae,) int: the level of each neuron, 0 the broadest; all 0 where neurons are not nested."""
        return np.searchsorted(self.config.levels[:-1], np.arange(self.config.d_sae), side="right")

    def normalise(self, X: np.ndarray) -> Normalised:
        """Bring (n, d_in) embeddings to the encoder's scale. Never in place: the caller's array stays as it is."""
        X = np.asarray(X, dtype=np.float32)
        if X.ndim != 2 or X.shape[1] != self.config.d_in:
            raise ValueError(f"X has shape {X.shape}, expected (n, {self.config.d_in})")
        ones, zeros = np.ones((len(X), 1), np.float32), np.zeros((len(X), 1), np.float32)
        kind = self.config.normalisation
        if kind == "sample":
            shift = X.mean(axis=1, keepdims=True)
            scale = X.std(axis=1, ddof=1, keepdims=True) + np.float32(EPSILON)
            return Normalised((X - shift) / scale, scale, shift)
        if kind == "unit":
            scale = np.linalg.norm(X, axis=1, keepdims=True) + np.float32(EPSILON)
            return Normalised(X / scale, scale, zeros)
        if kind == "global":
            return Normalised(X / np.float32(self.global_scale), ones * np.float32(self.global_scale), zeros)
        return Normalised(X, ones, zeros)

    def pre_acts(self, X: np.ndarray) -> np.ndarray:
        """Give the (n, d_sae) values before the gate."""
        x_n = self.normalise(X).x_n
        if self.config.centre_input:
            x_n = x_n - self.b_dec
        return x_n @ self.W_enc + self.b_enc

    def encode(self, X: np.ndarray) -> np.ndarray:
        """Give the (n, d_sae) activations, all >= 0."""
        return self.gate(self.pre_acts(X))

    def gate(self, pre_acts: np.ndarray) -> np.ndarray:
        """Give the activations that the gate makes of values before it."""
        if self.config.gate == "threshold":
            return np.where(pre_acts > self.threshold, np.maximum(pre_acts, 0), 0).astype(np.float32, copy=False)
        acts = np.maximum(pre_acts, 0)
        if self.config.gate == "topk" and self.config.k < self.config.d_sae:
            dropped = np.argpartition(-acts, self.config.k - 1, axis=1)[:, self.config.k :]
            np.put_along_axis(acts, dropped, 0, axis=1)
        return acts

    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        """Give the (n, d_in) embeddings as the SAE rebuilds them, on the scale of `X`."""
        normalised = self.normalise(X)
        return (self.encode(X) @ self.W_dec + self.b_dec) * normalised.scale + normalised.shift

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the weights for saving."""
        return {
            "W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec,
            "threshold": self.threshold, "global_scale": np.array([self.global_scale], np.float32),
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, config: SAEConfig, arrays: Mapping[str, Any]) -> "SAE":
        """Restore what `to_arrays` gave."""
        weights = {
            name: np.asarray(arrays[name], np.float32) for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
        }
        return cls(config, **weights, global_scale=float(np.asarray(arrays["global_scale"])[0]))
