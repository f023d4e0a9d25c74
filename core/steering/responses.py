"""What an edit brings, dose by dose: the share of a neuron's best concept in the lists of viewers the SAE never saw.

    z_j' = z_j + s * strong_j        s in `STRENGTHS`, strong_j = the neuron's `strong_activation`

so that a strength of 1 adds to every viewer what the neuron does in the strongest twentieth of those in whom it fires,
and neurons compare. Negative strengths suppress, 0 is the original list.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from core.recommenders.base import Recommender
from core.sae.model import SAE
from core.seeding import generator
from core.steering.lists import N_LISTED, Panel, shares, steered_lists

STRENGTHS = (-3.0, -2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""In units of the neuron's own strong activation: as far as the sliders of the Steer page go."""
ZERO, NEAR = STRENGTHS.index(0.0), STRENGTHS.index(0.5)
LEAST_RISE = 0.05
"""A concept whose share rises by less than five points of the list at every strength is called flat."""
SATURATED = 0.95
"""Of the rise from 0 to the largest strength: from where on more strength brings next to nothing."""
N_PLACEBOS, N_PARTS = 8, 4
"""Random directions beside each neuron, and the parts of the viewers on which they are measured in turn."""
N_RESAMPLES = 1000
"""Of the bootstrap over viewers."""
_ARRAYS = ("strengths", "share", "low", "high", "fitted", "placebo", "n_viewers", "unseen")


class Response(NamedTuple):
    """The dose-response curve of one neuron. Shares are of the top 20, in [0, 1]."""

    neuron: int
    concept: str
    """Whose share; untrusted."""
    kind: str
    """genre, tag or decade."""
    base_rate: float
    """Share of the catalogue that has the concept."""
    strengths: np.ndarray
    """(n_strengths,) in units of the neuron's strong activation, rising; 0 is the original list."""
    share: np.ndarray
    """(n_strengths,) mean over viewers."""
    low: np.ndarray
    """(n_strengths,) lower end of the 95 % bootstrap band over viewers."""
    high: np.ndarray
    fitted: np.ndarray
    """(n_strengths,) the nearest curve that never falls."""
    placebo: np.ndarray
    """(n_strengths,) mean of random directions of the same norm, on the same viewers."""
    slope: float
    """Share gained per strong activation, between 0 and half of one."""
    slope_low: float
    slope_high: float
    placebo_slope: float
    """The same for random directions, their mean."""
    placebo_spread: float
    """Standard deviation of that slope over random directions."""
    rise: float
    """Share gained at the largest strength, by the fitted curve."""
    saturation: float
    """Strength that brings 95 % of the rise; NaN where nothing rises."""
    flat: bool
    """Whether promoting it moves the share of its concept too little, or no more than random directions do."""
    n_viewers: int
    unseen: bool
    """Whether the SAE never saw them; else there are none whom it did not see."""


@dataclass(frozen=True, eq=False)
class Responses:
    """The curves of all neurons of one SAE; row j of everything is neuron j.

    Attributes:
        frame: One row a neuron: `neuron`, `concept`, `kind`, `base_rate`, `slope`, `slope_low`, `slope_high`,
            `placebo_slope`, `placebo_spread`, `rise`, `saturation`, `flat`, `measured`. NaN, "" and False where not
            measured.
        strengths: (n_strengths,) float32.
        share: (d_sae, n_strengths) float32, NaN where not measured, like the next four.
        low: Lower ends of the 95 % bands.
        high: Upper ends.
        fitted: Isotonic fits.
        placebo: Means of random directions.
        n_viewers: (1,) int64: on how many viewers.
        unseen: (1,) bool: whether the SAE never saw them.
    """

    frame: pd.DataFrame
    strengths: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fitted: np.ndarray
    placebo: np.ndarray
    n_viewers: np.ndarray
    unseen: np.ndarray

    @property
    def slope(self) -> np.ndarray:
        """(d_sae,) share gained per strong activation, NaN where not measured."""
        return self.frame["slope"].to_numpy(float)

    @property
    def flat(self) -> np.ndarray:
        """(d_sae,) bool: measured, and promoting it does not move lists."""
        return self.frame["flat"].to_numpy(bool)

    def of_neuron(self, j: int) -> Response | None:
        """Give the curve of a neuron; None where it was not measured (dead, or without a concept)."""
        row = self.frame.iloc[j]
        if not row["measured"]:
            return None
        return Response(
            neuron=int(row["neuron"]), concept=str(row["concept"]), kind=str(row["kind"]),
            base_rate=float(row["base_rate"]), strengths=self.strengths, share=self.share[j], low=self.low[j],
            high=self.high[j], fitted=self.fitted[j], placebo=self.placebo[j], slope=float(row["slope"]),
            slope_low=float(row["slope_low"]), slope_high=float(row["slope_high"]),
            placebo_slope=float(row["placebo_slope"]), placebo_spread=float(row["placebo_spread"]),
            rise=float(row["rise"]), saturation=float(row["saturation"]), flat=bool(row["flat"]),
            n_viewers=int(self.n_viewers[0]),
            unseen=bool(self.unseen[0]),
        )  # fmt: skip

    def to_saved(self) -> tuple[dict[str, np.ndarray], dict[str, pd.DataFrame]]:
        """Give the arrays and the tables for saving."""
        return {name: getattr(self, name) for name in _ARRAYS}, {"responses": self.frame}

    @classmethod
    def from_saved(cls, arrays: Mapping[str, np.ndarray], tables: Mapping[str, pd.DataFrame]) -> "Responses":
        """Restore what `to_saved` gave."""
        return cls(frame=tables["responses"], **{name: arrays[name] for name in _ARRAYS})


class Target(NamedTuple):
    """A neuron and what it is to bring."""

    neuron: int
    strong: float
    """Its strong activation: the unit of strengths."""
    name: str
    kind: str
    mask: np.ndarray
    """(n_items,) bool."""


def respond(
    targets: Sequence[Target],
    sae: SAE,
    model: Recommender,
    viewers: Panel,
    alive: np.ndarray,
    seed: int,
    unseen: bool = True,
    told: Callable[[int], object] = int,
) -> Responses:
    """Measure the curve of each target.

    Beside each neuron stand `N_PLACEBOS` random mixtures of the decoder rows of all alive neurons (weights drawn from a
    normal distribution), of the norm of its own row: they point wherever neurons point, and mean nothing. Each is
    measured on one of `N_PARTS` parts of the viewers.

    The band is a percentile bootstrap over viewers (Efron, Tibshirani 1993, ch. 13); the fitted curve is the isotonic
    regression of the means (Barlow et al. 1972). `flat` where the fitted rise is below `LEAST_RISE`, or the lower end
    of the rise, resampled viewer by viewer, is no higher than two standard deviations above the mean random direction.

    Args:
        targets: At most one a neuron.
        sae: Whose neurons they are.
        model: The recommender that scored the panel.
        viewers: On whom.
        alive: (d_sae,) bool.
        seed: Of random directions and of the bootstrap.
        unseen: Whether the SAE never saw the viewers; kept beside the curves.
        told: Called with the number of targets that are done.
    """
    d_sae, n_strengths = sae.config.d_sae, len(STRENGTHS)
    curves = {name: np.full((d_sae, n_strengths), np.nan, np.float32) for name in _ARRAYS[1:6]}
    columns = ("slope", "slope_low", "slope_high", "placebo_slope", "placebo_spread", "rise", "saturation", "base_rate")
    figures = {name: np.full(d_sae, np.nan) for name in columns}
    names, kinds = np.full(d_sae, "", object), np.full(d_sae, "", object)
    flat, measured = np.zeros(d_sae, bool), np.zeros(d_sae, bool)
    rng = generator(seed, "responses", "bootstrap")
    draws = rng.multinomial(viewers.n, np.full(viewers.n, 1 / viewers.n), N_RESAMPLES).astype(np.float32) / viewers.n
    rows = sae.W_dec[alive]
    for done, target in enumerate(targets):
        j, steps = target.neuron, target.strong * np.array(STRENGTHS)
        share = shares(steered_lists(model, viewers, sae.W_dec[j], steps, N_LISTED), target.mask)
        kept = ~np.isnan(share).any(axis=1)  # a viewer who has seen everything has no list
        mean = share[kept].mean(axis=0, dtype=np.float64) if kept.any() else np.full(n_strengths, np.nan)
        told(done + 1)
        if np.isnan(mean).any():
            continue
        resampled = _resampled(draws, share, kept)
        gains = resampled - resampled[:, [ZERO]]
        directions = mixtures(rows, float(np.linalg.norm(sae.W_dec[j])), N_PLACEBOS, generator(seed, "placebo", str(j)))
        changes = _placebos(model, viewers, directions, steps, target.mask)
        fitted = isotonic_regression(mean).x
        slopes = gains[:, NEAR] / STRENGTHS[NEAR]
        per_direction = changes[:, NEAR] / STRENGTHS[NEAR]
        curves["share"][j], curves["fitted"][j] = mean, fitted
        curves["low"][j], curves["high"][j] = np.quantile(resampled, (0.025, 0.975), axis=0)
        curves["placebo"][j] = mean[ZERO] + np.nanmean(changes, axis=0)
        figures["slope"][j] = (mean[NEAR] - mean[ZERO]) / STRENGTHS[NEAR]
        figures["slope_low"][j], figures["slope_high"][j] = np.quantile(slopes, (0.025, 0.975))
        figures["placebo_slope"][j], figures["placebo_spread"][j] = mean_and_spread(per_direction)
        figures["rise"][j] = fitted[-1] - fitted[ZERO]
        figures["saturation"][j] = saturation_of(fitted)
        figures["base_rate"][j] = target.mask.mean()
        centre, spread = mean_and_spread(changes[:, -1])
        beyond = np.quantile(gains[:, -1], 0.025) > max(centre + 2 * spread, 0)
        flat[j] = not (figures["rise"][j] >= LEAST_RISE and beyond)
        names[j], kinds[j], measured[j] = target.name, target.kind, True
    frame = pd.DataFrame(
        {
            "neuron": np.arange(d_sae),
            "concept": pd.Series(names, dtype="str"),
            "kind": pd.Series(kinds, dtype="str"),
            **figures,
            "flat": flat,
            "measured": measured,
        }
    )
    strengths = np.array(STRENGTHS, np.float32)
    facts = {"n_viewers": np.array([viewers.n]), "unseen": np.array([unseen])}
    return Responses(frame=frame, strengths=strengths, **facts, **curves)


def mixtures(rows: np.ndarray, norm: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Give `n` random mixtures of (n_rows, d_in) directions, each of the given norm: (n, d_in) float32."""
    drawn = rng.standard_normal((n, len(rows))) @ rows.astype(np.float64)
    length = np.linalg.norm(drawn, axis=1, keepdims=True)
    return np.asarray(np.divide(drawn, length, out=np.zeros_like(drawn), where=length > 0) * norm, np.float32)


def saturation_of(fitted: np.ndarray) -> float:
    """Give the least strength from 0 on that brings `SATURATED` of a curve's rise; NaN where it does not rise.

    >>> saturation_of(np.array([0, 0, 0, 0.1, 0.5, 0.8, 0.99, 1, 1])), saturation_of(np.zeros(9))
    (1.5, nan)
    """
    rise = fitted[-1] - fitted[ZERO]
    if rise <= 0:
        return float("nan")
    return next(
        s for s, v in zip(STRENGTHS[ZERO:], fitted[ZERO:], strict=True) if v - fitted[ZERO] >= SATURATED * rise - 1e-12
    )


def mean_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Give mean and standard deviation of the known values; NaN where there are none, or fewer than two."""
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if known.size else float("nan")
    return mean, float(known.std(ddof=1)) if known.size > 1 else float("nan")


def _resampled(draws: np.ndarray, share: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Give the (n_resamples, n_strengths) mean shares of resampled viewers."""
    weights = draws[:, kept]
    return np.asarray(weights @ share[kept] / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9), np.float64)


def _placebos(
    model: Recommender, viewers: Panel, directions: np.ndarray, steps: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Give the (n_directions, n_strengths) mean change of the share that each direction makes; NaN without a viewer."""
    out = np.full((len(directions), len(steps)), np.nan)
    for d, direction in enumerate(directions):
        share = shares(
            steered_lists(model, viewers.part(slice(d % N_PARTS, None, N_PARTS)), direction, steps, N_LISTED), mask
        )
        share = share[~np.isnan(share).any(axis=1)]
        if len(share):
            out[d] = (share - share[:, [ZERO]]).mean(axis=0, dtype=np.float64)
    return out
