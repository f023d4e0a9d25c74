"""What was measured of the SAEs of a sweep, and which of them to take."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Point:
    """One SAE and what was measured of it.

    Attributes:
        settings: What sets it apart in the grid.
        problem: Why there is none, if its training failed; every number is NaN then.
        run: Id of the run, which can be opened in the dashboard.
        recall_loss, ndcg_loss: Share lost at 20 between original and rebuilt lists of viewers that the SAE never saw;
            `_low`, `_high`: ends of the 95 % interval.
        cosine, rbo_at_30, kendall_at_30: Of the same viewers.
        neuron_purity: Mean over the living neurons of purity@10 of what each is best explained by; 0 for those that
            nothing explains or that fire for fewer than ten items.
        named_purity: Mean over the named concepts of purity@10 of the purest neuron of each (see
            `core.report.neuron_metrics`): with hundreds of neurons to choose from it tells few SAEs apart.
        n_neurons_pure: Neurons with a purity of .8 or more at 10.
        monosemanticity: Mean over the neurons.
        dead_share: Of the neurons; a mean over the folds in a cross-fit.
        density: Share of viewers in whom a neuron fires, mean over the neurons.
        l0: Mean number of active neurons of a viewer.
        n_viewers: On whom the fidelity was measured.
        seconds, cpu_s: Of training and measuring it, folds included, when it was made.
    """

    settings: dict[str, str]
    problem: str = ""
    run: str = ""
    d_sae: float = np.nan
    k: float = np.nan
    recall_loss: float = np.nan
    recall_loss_low: float = np.nan
    recall_loss_high: float = np.nan
    ndcg_loss: float = np.nan
    ndcg_loss_low: float = np.nan
    ndcg_loss_high: float = np.nan
    cosine: float = np.nan
    rbo_at_30: float = np.nan
    kendall_at_30: float = np.nan
    neuron_purity: float = np.nan
    named_purity: float = np.nan
    n_neurons_pure: float = np.nan
    monosemanticity: float = np.nan
    dead_share: float = np.nan
    density: float = np.nan
    l0: float = np.nan
    n_viewers: float = np.nan
    seconds: float = np.nan
    cpu_s: float = np.nan

    @property
    def name(self) -> str:
        """The settings as people type them; "the preset" where there is none."""
        return ", ".join(f"{key}={value}" for key, value in self.settings.items()) or "the preset"


class Choice(NamedTuple):
    """Which point to take."""

    point: int | None
    """Its place among the points; None where none is within the bound."""
    why: str
    """A sentence for people."""


class Sweep(NamedTuple):
    """The points that are measured so far."""

    title: str
    ids: dict[str, str]
    """Stage -> id of what all points share."""
    over: dict[str, tuple[str, ...]]
    n_folds: int | None
    loss_bound: float
    n_points: int
    """How many there will be."""
    points: list[Point]
    frontier: list[bool]
    choice: Choice
    folder: str
    """Where the table lies, below the workspace."""

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        rows = [asdict(p) | {"frontier": there} for p, there in zip(self.points, self.frontier, strict=True)]
        facts = {name: value for name, value in self._asdict().items() if name not in ("frontier", "choice", "folder")}
        return facts | {"recommended": self.choice.point, "why": self.choice.why, "points": rows}

    def to_table(self) -> pd.DataFrame:
        """Give a row a point: the swept settings as `sae.NAME`, every number, `frontier` and `recommended`."""
        rows = []
        for i, (point, there) in enumerate(zip(self.points, self.frontier, strict=True)):
            numbers = asdict(point)
            settings = {f"sae.{name}": value for name, value in numbers.pop("settings").items()}
            rows.append(settings | numbers | {"frontier": there, "recommended": i == self.choice.point})
        return pd.DataFrame(rows)


def frontier(points: Sequence[Point]) -> list[bool]:
    """Say of each point whether no other has both a loss and a purity that are as good, and one that is better.

    (Pareto: less loss of nDCG@20, more `neuron_purity`.) A point without these numbers is not on it.
    """
    values = [(p.ndcg_loss, -p.neuron_purity) for p in points]
    known = [value for value in values if not np.isnan(value).any()]

    def beaten(value: tuple[float, float]) -> bool:
        return any(other[0] <= value[0] and other[1] <= value[1] and other != value for other in known)

    return [not np.isnan(value).any() and not beaten(value) for value in values]


def choose(points: Sequence[Point], loss_bound: float) -> Choice:
    """Recommend a point: of those on the frontier that surely lose little, the purest.

    The rule: among the points of `frontier` whose 95 % interval of the loss of nDCG@20 ends at `loss_bound` or below,
    the one of the highest `neuron_purity`; of equal ones the one that loses less, then the first.
    """
    if not points:
        return Choice(None, "Nothing is measured yet.")
    best = [i for i, there in enumerate(frontier(points)) if there]
    within = [i for i in best if points[i].ndcg_loss_high <= loss_bound]
    if not within:
        least = min(best, key=lambda i: points[i].ndcg_loss_high, default=None)
        nearest = None if least is None else points[least]
        near = "" if nearest is None else f" {nearest.name} comes nearest: up to {_share(nearest.ndcg_loss_high)}."
        return Choice(None, f"No point is recommended: none stays within {_share(loss_bound)} of nDCG@20 lost.{near}")
    chosen = min(within, key=lambda i: (-points[i].neuron_purity, points[i].ndcg_loss))
    point = points[chosen]
    which = f"the purest of the {len(within)} points" if len(within) > 1 else "the only point"
    return Choice(
        chosen,
        f"{point.name} is recommended: {which} of the frontier whose loss of nDCG@20 stays within {_share(loss_bound)} "
        f"up to the end of its 95 % interval (loss {_share(point.ndcg_loss)}, up to {_share(point.ndcg_loss_high)}; "
        f"mean purity@10 of its neurons {point.neuron_purity:.3f}).",
    )


def _share(value: float) -> str:
    return f"{round(value * 100, 2) + 0.0:.3g} %"
