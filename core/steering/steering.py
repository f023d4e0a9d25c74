"""Edits of a viewer's code, and the embedding they lead to.

What the SAE cannot explain is kept: `u' = u + scale(u) * (z' - z) @ W_dec`, which is `u + (dec(z') - dec(z))` for every
normalisation that is affine in the decoded vector. No edits give exactly `u` back.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from core.errors import ConfigError, near
from core.sae.model import SAE

Mode = Literal["add", "scale", "set"]

MAX_VALUE = 1e4
"""Largest magnitude of an edit: far beyond any activation, and small enough that nothing overflows."""


@dataclass(frozen=True)
class Edit:
    """One neuron, moved.

    Attributes:
        neuron: Index of the neuron.
        mode: `add`: z' = z + value; `scale`: z' = z * value; `set`: z' = value.
        value: In units of the activation (`add`, `set`) or a factor (`scale`). Negative results are allowed:
            they push against what the neuron stands for, also for a viewer in whom it does not fire.
    """

    neuron: int
    mode: Mode
    value: float

    def __post_init__(self) -> None:
        if isinstance(self.neuron, bool) or not isinstance(self.neuron, int | np.integer) or self.neuron < 0:
            raise ConfigError(
                f"The neuron of an edit is {self.neuron!r}, expected a whole number from 0.", "Use a neuron's index."
            )
        if self.mode not in get_args(Mode):
            raise ConfigError(
                f"The mode of an edit is {self.mode!r}{near(str(self.mode), get_args(Mode))}.", "Use add, scale or set."
            )
        value = self.value
        a_number = not isinstance(value, bool) and isinstance(value, int | float | np.integer | np.floating)
        if not (a_number and abs(value) <= MAX_VALUE):  # NaN, infinity and whole numbers that no float holds, too
            raise ConfigError(
                f"The value of the edit of neuron {self.neuron} is {value!r}, expected a number within ±{MAX_VALUE:g}.",
                "Give a number that is not so large.",
            )
        object.__setattr__(self, "neuron", int(self.neuron))
        object.__setattr__(self, "value", float(value))

    def change(self, acts: np.ndarray) -> np.ndarray:
        """Give z' - z for the (n,) activations of this edit's neuron."""
        if self.mode == "add":
            return np.full_like(acts, self.value)
        if self.mode == "scale":
            return acts * np.float32(self.value - 1.0)
        return np.float32(self.value) - acts


@dataclass(frozen=True)
class Steering:
    """Some edits together, at most one a neuron.

    Raises:
        ConfigError: Two edits of one neuron.
    """

    edits: tuple[Edit, ...] = ()

    def __post_init__(self) -> None:
        neurons = [e.neuron for e in self.edits]
        twice = next((j for j in neurons if neurons.count(j) > 1), None)
        if twice is not None:
            raise ConfigError(f"Neuron {twice} is edited twice.", "Give each neuron one edit.")

    def check_against(self, d_sae: int) -> None:
        """Raise `ConfigError` when an edit names a neuron that the SAE does not have."""
        for edit in self.edits:
            if edit.neuron >= d_sae:
                raise ConfigError(
                    f"There is no neuron {edit.neuron}: this SAE has {d_sae}, numbered 0 to {d_sae - 1}.",
                    "Use the index of a neuron of this SAE.",
                )

    def to_json(self) -> str:
        """Give the edits as JSON text."""
        return json.dumps({"edits": [asdict(e) for e in self.edits]})

    @classmethod
    def from_json(cls, text: str) -> "Steering":
        """Read what `to_json` wrote.

        Raises:
            ConfigError: Not JSON, unknown keys, or an edit that cannot be.
        """
        try:
            data = json.loads(text)
            rows = data["edits"]
            if set(data) != {"edits"} or not isinstance(rows, list):
                raise KeyError("edits")
            return cls(tuple(_edit_from(row) for row in rows))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError(
                f"This is not a saved steering: {error}.", 'Give {"edits": [{"neuron", "mode", "value"}]}.'
            ) from None


def deltas(acts: np.ndarray, steering: Steering) -> np.ndarray:
    """Give z' - z of the edited neurons: (n, n_edits) for (n, d_sae) activations."""
    out = np.zeros((len(acts), len(steering.edits)), np.float32)
    for column, edit in enumerate(steering.edits):
        out[:, column] = edit.change(acts[:, edit.neuron])
    return out


def steer(u: np.ndarray, steering: Steering, sae: SAE) -> np.ndarray:
    """Give the steered embeddings (n, d_in) of embeddings `u` (n, d_in), error term kept.

    Without edits, and for edits that change nothing, the result equals `u` bit for bit.

    Raises:
        ConfigError: An edit names a neuron that the SAE does not have.
    """
    steering.check_against(sae.config.d_sae)
    u = np.asarray(u, np.float32)
    if not steering.edits:
        return u.copy()
    change = deltas(sae.encode(u), steering) @ sae.W_dec[[e.neuron for e in steering.edits]]
    return u + change * sae.normalise(u).scale


def _edit_from(row: Mapping[str, Any]) -> Edit:
    if set(row) != {"neuron", "mode", "value"}:
        raise KeyError(f"an edit has the keys {sorted(row)}")
    return Edit(row["neuron"], row["mode"], row["value"])


def parse_edits(texts: Sequence[str]) -> Steering:
    """Read edits as the command line and the address bar write them: `17=2.0`, `17=add:2.0`, `17=scale:0`, `17=set:1`.

    Raises:
        ConfigError: A text that is no edit.

    >>> parse_edits(["17=2.0"]).edits[0]
    Edit(neuron=17, mode='add', value=2.0)
    """
    edits = []
    for text in texts:
        neuron, equals, rest = text.partition("=")
        mode, colon, value = rest.rpartition(":")
        try:
            if not equals:
                raise ValueError
            edits.append(Edit(int(neuron), mode if colon else "add", float(value)))  # type: ignore[arg-type]
        except ValueError:
            raise ConfigError(
                f"{text[:60]!r} is not an edit.", "Write NEURON=VALUE, for example 17=2.0 or 17=scale:0."
            ) from None
    return Steering(tuple(edits))
