"""The frontier of a sweep as one HTML page that needs nothing else: two pictures and the table."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from core.errors import one_line
from core.sweep.points import Point, Sweep

WIDTH, HEIGHT = 520, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 16, 52
SMALLEST, LARGEST = 5.0, 15.0
"""Radius of a marker, in pixels, at a density of 0 and at the highest one of the sweep; its area grows evenly."""

COLUMNS: tuple[tuple[str, Callable[[Point], str]], ...] = (
    ("nDCG loss", lambda p: share(p.ndcg_loss, 2)),
    ("95 %", lambda p: f"{share(p.ndcg_loss_low, 2)} … {share(p.ndcg_loss_high, 2)}"),
    ("recall loss", lambda p: share(p.recall_loss, 2)),
    ("95 %", lambda p: f"{share(p.recall_loss_low, 2)} … {share(p.recall_loss_high, 2)}"),
    ("cos", lambda p: number(p.cosine)),
    ("RBO", lambda p: number(p.rbo_at_30)),
    ("tau", lambda p: number(p.kendall_at_30)),
    ("purity", lambda p: number(p.neuron_purity)),
    ("named", lambda p: number(p.named_purity)),
    ("pure", lambda p: number(p.n_neurons_pure, 0)),
    ("monosem", lambda p: number(p.monosemanticity)),
    ("dead", lambda p: share(p.dead_share, 1)),
    ("density", lambda p: share(p.density, 1)),
    ("L0", lambda p: number(p.l0, 1)),
    ("s", lambda p: number(p.seconds, 0)),
)
"""The columns of the table, on the page and on the terminal: heading and text of a point."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --line: #d0d5dd; --page: #fff; --mark: #2f6fde;
  --best: #c2410c }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #344054; --page: #12161d;
  --mark: #6ea8fe; --best: #fb923c } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 1320px; padding: 0 1rem }
h1 { font-size: 1.3rem; margin: 0 } p { margin: .5rem 0 } .soft { color: var(--soft) }
.why { border-left: 3px solid var(--best); padding-left: .75rem }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem } svg { flex: 1 1 460px; max-width: 100%; height: auto }
svg text { fill: var(--soft); font-size: 12px } svg .axis { stroke: var(--line) }
svg .bound { stroke: var(--best); stroke-dasharray: 4 4 } svg .interval { stroke: var(--soft); opacity: .6 }
svg circle { fill: var(--page); stroke: var(--mark); stroke-width: 1.5 }
svg .frontier circle { fill: var(--mark); fill-opacity: .5 }
svg .recommended circle { stroke: var(--best); fill: var(--best); fill-opacity: .6; stroke-width: 3 }
svg g text.number { fill: var(--ink); text-anchor: middle } svg .recommended text.number { font-weight: 700 }
.table { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:nth-child(2), td:nth-child(2) { text-align: left } tr.recommended { color: var(--best); font-weight: 600 }
"""


class Axis(NamedTuple):
    """A linear axis in pixels."""

    low: float
    high: float
    start: float
    """Pixel of `low`."""
    end: float

    def at(self, value: float) -> float:
        """Give the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def page(sweep: Sweep) -> str:
    """Write the page; whatever comes from data or from a person is escaped.

    Loss to the right, purity (and monosemanticity) up: a point is on the frontier where no other one is both further up
    and further left. The area of a marker is the density of the neurons, whiskers are the 95 % interval of the loss.
    """
    done = "" if len(sweep.points) == sweep.n_points else f" · {len(sweep.points)} of {sweep.n_points} points so far"
    pictures = picture(sweep, lambda p: p.neuron_purity, "purity@10, mean over neurons")
    pictures += picture(sweep, lambda p: p.monosemanticity, "monosemanticity, mean over neurons")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sweep · {text(sweep.title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{text(sweep.title)}{done}</h1><p class='why'>{text(sweep.choice.why)}</p>"
        f"<div class='pictures'>{pictures}</div>"
        "<p class='soft'>Filled: on the frontier of less loss and more purity. Larger: neurons fire for more viewers. "
        "Whiskers: 95 % interval over viewers. Dashed: the loss that may be at most. Losses at 20, RBO and Kendall's "
        "tau at 30, purity at 10: mean over neurons; named: of the purest neuron of each named concept; pure: neurons "
        "of 80 % or more.</p>"
        f"<div class='table'>{table(sweep)}</div></body></html>\n"
    )


def picture(sweep: Sweep, height_of: Callable[[Point], float], name: str) -> str:
    """Draw loss against another figure as SVG; a point without one of the two is left out."""
    shown = [i for i, p in enumerate(sweep.points) if np.isfinite([p.ndcg_loss, height_of(p)]).all()]
    points = [sweep.points[i] for i in shown]
    losses = [v for p in points for v in (p.ndcg_loss, p.ndcg_loss_low, p.ndcg_loss_high) if math.isfinite(v)]
    x = axis([*losses, sweep.loss_bound], LEFT, WIDTH - RIGHT)
    y = axis([height_of(p) for p in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{text(f'Loss of nDCG@20 against {name}')}'>",
        f"<path class='axis' fill='none' d='M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}'/>",
    ]
    parts += [
        f"<text x='{x.at(v):.1f}' y='{HEIGHT - BOTTOM + 18}' text-anchor='middle'>{v * 100:.3g} %</text>"
        for v in ticks(x)
    ]
    parts += [f"<text x='{LEFT - 8}' y='{y.at(v) + 4:.1f}' text-anchor='end'>{v:.4g}</text>" for v in ticks(y)]
    middle = (HEIGHT - BOTTOM + TOP) / 2
    parts += [
        f"<text x='{(LEFT + WIDTH - RIGHT) / 2}' y='{HEIGHT - 10}' text-anchor='middle'>loss of nDCG@20</text>",
        f"<text x='14' y='{middle}' text-anchor='middle' transform='rotate(-90 14 {middle})'>{text(name)}</text>",
        f"<path class='bound' d='M{x.at(sweep.loss_bound):.1f} {TOP}V{HEIGHT - BOTTOM}'/>",
    ]
    densest = max((p.density for p in points if math.isfinite(p.density)), default=0.0) or 1.0
    # The largest first, so that a small marker is never hidden under a large one; the recommended one last.
    order = sorted(shown, key=lambda i: (i == sweep.choice.point, -sweep.points[i].density))
    for i in order:
        p = sweep.points[i]
        at_x, at_y, r = x.at(p.ndcg_loss), y.at(height_of(p)), radius(p.density / densest)
        kinds = ["frontier"] * sweep.frontier[i] + ["recommended"] * (i == sweep.choice.point)
        whisker = (
            f"<path class='interval' d='M{x.at(p.ndcg_loss_low):.1f} {at_y:.1f}H{x.at(p.ndcg_loss_high):.1f}'/>"
            if np.isfinite([p.ndcg_loss_low, p.ndcg_loss_high]).all() else ""
        )  # fmt: skip
        facts = "; ".join(f"{heading} {value(p)}" for heading, value in COLUMNS)
        parts.append(
            f"<g class='{' '.join(kinds)}'>{whisker}<circle cx='{at_x:.1f}' cy='{at_y:.1f}' r='{r:.1f}'/>"
            f"<text class='number' x='{at_x:.1f}' y='{at_y - r - 4:.1f}'>{i + 1}</text>"
            f"<title>{i + 1}. {text(p.name)}: {text(facts)}</title></g>"
        )
    return "".join(parts) + "</svg>"


def table(sweep: Sweep) -> str:
    """Write all points as a table."""
    head = "".join(f"<th>{text(heading)}</th>" for heading, _ in COLUMNS)
    rows = []
    for i, p in enumerate(sweep.points):
        cells = "".join(f"<td>{text(value(p))}</td>" for _, value in COLUMNS)
        if p.problem:
            cells = f"<td colspan='{len(COLUMNS)}' style='text-align:left'>{text(p.problem)}</td>"
        chosen = " class='recommended'" if i == sweep.choice.point else ""
        rows.append(f"<tr{chosen}><td>{i + 1}</td><td>{text(p.name)}</td>{cells}</tr>")
    return f"<table><thead><tr><th></th><th>Point</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Give an axis that holds all values with some room, also where there is one value or none.

    >>> axis([1.0, 2.0], 0, 100).at(1.5)
    50.0
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 0.5
    return Axis(low - room, high + room, start, end)


def ticks(of: Axis) -> list[float]:
    """Give four to nine round values inside an axis: steps of 1, 2 or 5 times a power of ten.

    >>> ticks(Axis(0.1, 1.0, 0, 100))
    [0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (of.high - of.low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.9)
    first, last = math.ceil(of.low / step - 1e-9), math.floor(of.high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def radius(part: float) -> float:
    """Give the radius of a marker whose area grows evenly with a share in [0, 1]."""
    part = part if math.isfinite(part) else 0.0
    return math.sqrt(SMALLEST**2 + part * (LARGEST**2 - SMALLEST**2))


def number(value: float, digits: int = 3) -> str:
    """Write a number; one that could not be measured is a dash."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def share(value: float, digits: int) -> str:
    """Write a share in percent."""
    return f"{round(value * 100, digits) + 0.0:.{digits}f} %" if math.isfinite(value) else "–"  # never "-0.00"


def text(of: str) -> str:
    """Escape text for HTML, on one line."""
    return escape(one_line(of), quote=True)
