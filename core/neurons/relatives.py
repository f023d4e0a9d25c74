"""Neurons beside others: which push the other way, which fire together, and which items each one moves."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from core.neurons.separation import wilson
from core.recommenders.base import Recommender, rank
from core.sae.model import SAE
from core.seeding import generator

LEAST_BOTH = 10
"""Viewers in whom two neurons fire together, for their lift to be told."""
N_SCALES = 200
"""Viewers whose scale gives the typical one."""
N_PROBED = 512
"""Items by which neurons are compared whose effect has no linear form."""
CELLS = 2**24
"""Numbers of a block that is held at a time: 64 MiB of float32."""


class Related(NamedTuple):
    """For each neuron the others that are most related, in order."""

    neurons: np.ndarray
    """(d_sae, n) int32, -1 padded."""
    values: np.ndarray
    """(d_sae, n) float32, NaN padded."""


def opposite(rows: np.ndarray, alive: np.ndarray, n: int = 10) -> Related:
    """Give the alive neurons whose rows have the lowest cosine with each alive neuron's row, those below 0 only; exact.

    Args:
        rows: (d_sae, width): decoder rows, or `effect_rows`.
        alive: (d_sae,) bool.
        n: How many at most.
    """
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, length, out=np.zeros_like(rows, np.float32), where=length > 1e-12)
    neurons = np.flatnonzero(alive)
    found = _nothing(len(rows), n)
    for part in _blocks(neurons, neurons.size):
        _keep(found, part, neurons, -(unit[part] @ unit[neurons].T), n)
    return Related(found.neurons, -found.values)


class Together(NamedTuple):
    """For each neuron those that fire in the same viewers more than chance would have it, surest first."""

    neurons: np.ndarray
    """(d_sae, n) int32, -1 padded."""
    lift: np.ndarray
    """(d_sae, n) float32, NaN padded, as the next two."""
    low: np.ndarray
    high: np.ndarray
    n_both: np.ndarray
    """(d_sae, n) int64 viewers in whom both fire, 0 padded."""


def together(counts: np.ndarray, n_viewers: int, alive: np.ndarray, n: int = 10) -> Together:
    """Give the neurons that fire with each neuron, by lift: counts alone name the neurons that always fire.

        lift = (n_both / n_j) / (n_k / n_viewers)

    The interval is that of Wilson (1927) for the share n_both / n_j, over the base rate n_k / n_viewers, taken as
    known. Only pairs with at least `LEAST_BOTH` viewers and an interval above 1 are given, by its lower end.

    Args:
        counts: (d_sae, d_sae) viewers in whom both fire, on the diagonal those in whom one does (see
            `core.neurons.shards.Pairs`).
        n_viewers: How many were looked at.
        alive: (d_sae,) bool.
        n: How many at most.
    """
    shape, neurons = (len(counts), n), np.flatnonzero(alive)
    base = counts.diagonal()[neurons] / max(n_viewers, 1)
    found = _nothing(*shape)
    lift_, low_, high_ = (np.full(shape, np.nan, np.float32) for _ in range(3))
    out = Together(found.neurons, lift_, low_, high_, np.zeros(shape, np.int64))
    for part in _blocks(neurons, 8 * len(counts)):  # several arrays of float64
        both, firing = counts[np.ix_(part, neurons)].astype(np.float64), counts.diagonal()[part][:, None]
        low, high = wilson(both, firing)
        with np.errstate(divide="ignore", invalid="ignore"):
            lows, highs, lift = low / base, high / base, both / firing / base
        told = (both >= LEAST_BOTH) & (lows > 1) & (part[:, None] != neurons)
        places = _keep(found, part, neurons, np.where(told, lows, 0), n)
        for target, values in ((out.lift, lift), (out.low, lows), (out.high, highs), (out.n_both, both)):
            chosen = np.take_along_axis(values, np.maximum(places, 0), axis=1)
            target[part] = np.where(places >= 0, chosen, np.nan if target.dtype.kind == "f" else 0)
    return out


class Lens(NamedTuple):
    """The items that each neuron moves most."""

    up: Related
    """(d_sae, n) items and the change of their score; what is not above 0 is not there."""
    down: Related
    """The same below 0, the largest fall first."""


def lens(effects: Iterator[tuple[np.ndarray, np.ndarray]], d_sae: int, n: int = 20) -> Lens:
    """Give the items that each neuron pushes up and down, from blocks of (neurons, (len(neurons), n_items) changes)."""
    up, down = _nothing(d_sae, n), _nothing(d_sae, n)
    for neurons, change in effects:
        items = np.arange(change.shape[1])
        _keep(up, neurons, items, change, n)
        _keep(down, neurons, items, -change, n)
    return Lens(up, Related(down.neurons, -down.values))


class Relatives(NamedTuple):
    """The relatives of all neurons."""

    opposite: Related
    """By the cosine of decoder rows."""
    against: Related
    """By the correlation over items of what they do to scores."""
    together: Together
    lens: Lens

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the arrays for saving."""
        pairs = {"opposite": self.opposite, "against": self.against, "up": self.lens.up, "down": self.lens.down}
        arrays = {name: pair.neurons for name, pair in pairs.items()}
        arrays |= {f"{name}_value": pair.values for name, pair in pairs.items()}
        return arrays | {f"together_{name}": value for name, value in self.together._asdict().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Relatives":
        """Restore what `to_arrays` gave."""
        opposite_, against, up, down = (
            Related(arrays[name], arrays[f"{name}_value"]) for name in ("opposite", "against", "up", "down")
        )
        fired = Together(**{name: arrays[f"together_{name}"] for name in Together._fields})
        return cls(opposite_, against, fired, Lens(up, down))


def typical_scale(sae: SAE, embeddings: np.ndarray) -> float:
    """Give the median over some viewers of what the SAE divides an embedding by: one unit of a neuron is that long."""
    return float(np.median(sae.normalise(embeddings).scale)) if len(embeddings) else 1.0


def linear_effects(
    model: Recommender, sae: SAE, neurons: np.ndarray, scale: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give, block by block, the change of each item's score for one unit more of each neuron: exact.

        effect = scale * W_dec @ V.T

    Raises:
        ValueError: The scorer is not linear.
    """
    if model.linear is None:
        raise ValueError(f"the scores of {model.name} are not linear")
    V = model.linear.V
    for part in _blocks(np.asarray(neurons, np.int64), len(V)):
        yield part, np.float32(scale) * (sae.W_dec[part] @ V.T)


def mean_effects(
    model: Recommender, sae: SAE, neurons: np.ndarray, strength: np.ndarray, embeddings: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give, block by block, the mean change of each item's score over some viewers when a neuron is added to them.

        effect_j = mean over u of [score(u + scale(u) strength_j W_dec[j]) - score(u)]

    For scorers that are not linear: it holds for these viewers and this strength.

    Args:
        model: Fitted.
        sae: On its embeddings.
        neurons: Which.
        strength: (d_sae,) how much of each is added, in units of its activation.
        embeddings: (n, d_in) of the viewers.
    """
    scale, before = sae.normalise(embeddings).scale, model.score(embeddings).mean(axis=0)
    for part in _blocks(np.asarray(neurons, np.int64), model.n_items):
        moved = [model.score(embeddings + scale * np.float32(strength[j]) * sae.W_dec[j]).mean(axis=0) for j in part]
        yield part, np.array(moved, np.float32) - before


def effect_rows(model: Recommender, sae: SAE) -> np.ndarray:
    """Give (d_sae, d_in) rows whose cosines are the correlations over items of what linear neurons do to scores.

    With C the covariance of the items' vectors, the changes `W V.T` of two neurons correlate as `W C^(1/2)`: the mean
    goes, because a push that all items share moves no list.
    """
    if model.linear is None:
        raise ValueError(f"the scores of {model.name} are not linear")
    centred = (model.linear.V - model.linear.V.mean(axis=0)).astype(np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return np.asarray(sae.W_dec @ (vectors * np.sqrt(np.maximum(values, 0))), np.float32)


def noted(
    effects: Iterator[tuple[np.ndarray, np.ndarray]], rows: np.ndarray, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pass effects on, and note those on some items, the same for all neurons, in `rows`, centred.

    What `effect_rows` are where there is no linear form.

    Args:
        effects: Blocks of (neurons, changes).
        rows: (d_sae, at most `N_PROBED`), changed.
        seed: Of the run.
    """
    for neurons, change in effects:
        n_items = change.shape[1]
        chosen = np.sort(generator(seed, "relatives", "items").permutation(n_items)[: rows.shape[1]])
        rows[neurons] = change[:, chosen] - change[:, chosen].mean(axis=1, keepdims=True)
        yield neurons, change


def _nothing(d_sae: int, n: int) -> Related:
    return Related(np.full((d_sae, n), -1, np.int32), np.full((d_sae, n), np.nan, np.float32))


def _keep(found: Related, rows: np.ndarray, columns: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Write the `n` columns of the highest values above 0 into some rows of `found`.

    Returns:
        (len(rows), n) their places in `columns`, -1 padded.
    """
    if not columns.size:
        return np.full((len(rows), n), -1)
    places = rank(values, n)
    kept = np.take_along_axis(values, np.maximum(places, 0), axis=1)
    places[~(kept > 0)] = -1
    found.neurons[rows] = np.where(places >= 0, columns[np.maximum(places, 0)], -1)
    found.values[rows] = np.where(places >= 0, kept, np.nan)
    return places


def _blocks(neurons: np.ndarray, width: int) -> Iterator[np.ndarray]:
    step = max(1, CELLS // max(width, 1))
    for start in range(0, len(neurons), step):
        yield neurons[start : start + step]
