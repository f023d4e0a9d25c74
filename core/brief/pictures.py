"""The pictures of a brief: inline SVG whose colours follow the page, beside text of the page's own size."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.brief.page import text
from core.steering.responses import Response
from core.written import percent, signed

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 260, 48, 34, 12


class Bar(NamedTuple):
    """A share in [0, 1] and the one that it is to be read against."""

    name: str
    share: float
    base: float
    value: str
    """Written beside it."""
    note: str = ""


class Interval(NamedTuple):
    """An estimate with the ends of its interval."""

    name: str
    note: str
    value: float
    low: float
    high: float
    written: str


def bars(rows: Sequence[Bar]) -> str:
    """Show shares as bars, each with a mark at its base rate."""
    parts = []
    for row in rows:
        mark = f"<rect class='mark' x='{_at(row.base) - 0.3:.2f}' y='0' width='0.6' height='14'/>"
        parts.append(
            f"<span dir='auto'>{text(row.name, 60)}<small>{text(row.note)}</small></span>"
            f"<svg viewBox='0 0 100 14' preserveAspectRatio='none' role='img' aria-label='{text(row.value)}'>"
            f"<rect class='track' y='2' width='100' height='10'/>"
            f"<rect class='up' y='2' width='{_at(row.share):.2f}' height='10'/>"
            f"{mark if np.isfinite(row.base) else ''}</svg><span class='value'>{text(row.value)}</span>"
        )
    return f"<div class='bars'>{''.join(parts)}</div>"


def forest(rows: Sequence[Interval]) -> str:
    """Show estimates with their intervals on one scale around zero."""
    ends = [abs(v) for row in rows for v in (row.value, row.low, row.high) if np.isfinite(v)]
    reach = max(ends, default=1.0) * 1.05 or 1.0

    def at(value: float) -> float:
        return 50 + 50 * value / reach

    parts = []
    for row in rows:
        kind = "up" if row.value >= 0 else "down"
        interval = (
            f"<rect class='{kind} range' x='{at(row.low):.2f}' y='4' height='6' "
            f"width='{at(row.high) - at(row.low):.2f}'/>"
            if np.isfinite([row.low, row.high]).all() else ""
        )  # fmt: skip
        parts.append(
            f"<span dir='auto'>{text(row.name, 60)}<small>{text(row.note)}</small></span>"
            f"<svg viewBox='0 0 100 14' preserveAspectRatio='none' role='img' aria-label='{text(row.written)}'>"
            f"<rect class='track' y='2' width='100' height='10'/><rect class='zero' x='49.9' width='0.2' height='14'/>"
            f"{interval}<rect class='{kind}' x='{at(row.value) - 0.5:.2f}' y='1' width='1' height='12'/></svg>"
            f"<span class='value'>{text(row.written)}</span>"
        )
    return f"<div class='bars'>{''.join(parts)}</div>"


def dose(response: Response) -> str:
    """Show how the share of a concept in the lists follows the strength of a neuron."""
    r = response
    top = max(float(np.nanmax(np.concatenate([r.high, r.placebo, [r.base_rate, 0.05]]))) * 1.06, 1e-9)
    first, last = float(r.strengths[0]), float(r.strengths[-1])

    def x(strength: float) -> float:
        return LEFT + (WIDTH - LEFT - 12) * (strength - first) / (last - first)

    def y(share: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share / top

    def path(values: np.ndarray) -> str:
        return " ".join(f"{x(float(s)):.1f},{y(float(v)):.1f}" for s, v in zip(r.strengths, values, strict=True))

    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if top / s <= 6)
    grid = "".join(
        f"<path class='grid' d='M{LEFT} {y(v):.1f}H{WIDTH - 12}'/>"
        f"<text x='{LEFT - 6}' y='{y(v) + 4:.1f}' text-anchor='end'>{percent(v)}</text>"
        for v in np.arange(0, top, step)
    )
    ticks = "".join(
        f"<text x='{x(float(s)):.1f}' y='{HEIGHT - 16}' text-anchor='middle'>{signed(float(s), 0)}</text>"
        for s in r.strengths if float(s).is_integer()
    )  # fmt: skip
    backwards = " ".join(reversed(path(r.low).split(" ")))
    return (
        f"<figure><svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='Share of the top 20 by strength'>{grid}"
        f"<path class='grid' d='M{x(0):.1f} {TOP}V{HEIGHT - BOTTOM}'/>"
        f"<path class='base' d='M{LEFT} {y(r.base_rate):.1f}H{WIDTH - 12}'/>"
        f"<polygon class='band' points='{path(r.high)} {backwards}'/>"
        f"<polyline class='placebo' points='{path(r.placebo)}'/>"
        f"<polyline class='line' points='{path(r.fitted)}'/>{ticks}"
        f"<text x='{(LEFT + WIDTH) / 2}' y='{HEIGHT - 2}' text-anchor='middle'>← suppress · strength, in strong "
        "activations · promote →</text></svg></figure>"
        "<p class='soft small'>Line: share of the top 20, fitted so that it never falls. Area: 95 % interval over "
        f"viewers. Dashed: random directions of the same size. Dotted: base rate {percent(r.base_rate, 1)}.</p>"
    )


def _at(share: float) -> float:
    return 100 * float(np.clip(np.nan_to_num(share), 0, 1))
