"""How far labels can be trusted, as pictures: told on held-out items against chance, and how many come to what."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from core.labels.trust import STATUSES, Status
from dashboard.charts import DASH, Figure, bar, figure, number, percent, table_html
from dashboard.charts_response import points
from dashboard.escape import for_html

GLYPHS: dict[Status, str] = {"holds": "●", "reads": "◐", "moves": "◑", "fails": "○", "mixed": "∅", "untested": "·"}
WORDS: dict[Status, str] = {
    "holds": "confirmed, steers it", "reads": "confirmed", "moves": "steers it only", "fails": "not confirmed",
    "mixed": "claims nothing", "untested": "not tested",
}  # fmt: skip


class Told(NamedTuple):
    """What a label achieves on one kind of held-out items."""

    name: str
    note: str
    value: float
    """Balanced accuracy; NaN where it was not tested."""
    low: float
    """Lower end of the 95 % interval; NaN where there is none."""
    high: float
    shuffled: float
    """The same with the label of another concept."""


def status_text(status: str) -> str:
    """Give what a label comes to, with its glyph.

    >>> status_text("holds")
    '● confirmed, steers it'
    """
    known: Status = next((s for s in STATUSES if s == status), "untested")
    return f"{GLYPHS[known]} {WORDS[known]}"


def told_html(rows: Sequence[Told]) -> str:
    """Give lanes from 0 to 1 with a value, its interval, the half that a coin reaches, and another label's value."""
    lanes = []
    for row in rows:
        parts = "<u style='left:50%'></u>"
        if np.isfinite(row.shuffled):
            parts += f"<i class='dot quiet' style='left:{_at(row.shuffled)}'></i>"
        if np.isfinite(row.value):
            low, high = (row.low, row.high) if np.isfinite(row.low) else (row.value, row.value)
            parts += (
                f"<i class='ci' style='left:{_at(low)};width:{_at(high - low)}'></i>"
                f"<i class='dot' style='left:{_at(row.value)}'></i>"
            )
        lanes.append(
            f"<span class='name'>{for_html(row.name, 60)}<small>{for_html(row.note, 60)}</small></span>"
            f"<span class='sl-dots'>{parts}</span><span class='value'>{number(row.value)}</span>"
        )
    interval = "<span style='--swatch:color-mix(in srgb,var(--sl-up) 35%,transparent)'>95 % interval</span>"
    key = (
        f"<div class='sl-key'><span class='round'>its own label</span>"
        f"{interval if any(np.isfinite(row.low) for row in rows) else ''}"
        "<span class='round' style='--swatch:var(--sl-quiet)'>the label of another concept</span>"
        "<span class='tick'>0.5: a coin</span></div>"
    )
    return f"<div class='sl-rows'>{''.join(lanes)}</div>{key}"


def told_table(rows: Sequence[Told]) -> str:
    """Give the same as a table."""
    cells = [
        [row.name, row.note, number(row.value), _interval(row.low, row.high), number(row.shuffled)] for row in rows
    ]
    return table_html(["", "", "Balanced accuracy", "95 % interval", "Another label"], cells, numeric=(2, 3, 4))


def told_figure(rows: Sequence[Told], title: str, takeaway: str) -> Figure:
    """Show how well labels tell held-out items."""
    return figure(title, takeaway, told_html(rows), told_table(rows))


def statuses_figure(counts: Mapping[str, int], takeaway: str) -> Figure:
    """Show how many labels come to what."""
    n = max(sum(counts.values()), 1)
    there = [status for status in STATUSES if counts.get(status, 0)]
    lanes = "".join(
        f"<span class='name'>{GLYPHS[s]} {for_html(WORDS[s].capitalize())}</span>{bar(counts[s] / n)}"
        f"<span class='value'>{counts[s]:,}</span>"
        for s in there
    )
    cells = [[WORDS[s].capitalize(), STATUSES[s], f"{counts[s]:,}", percent(counts[s] / n)] for s in there]
    table = table_html(["Verdict", "", "Concepts", "Share"], cells, numeric=(2, 3))
    return figure("What the labels come to", takeaway, f"<div class='sl-rows'>{lanes}</div>", table)


def interval_text(value: float, low: float, high: float) -> str:
    """Give a value with its interval.

    >>> interval_text(0.875, 0.64, 0.965)
    '0.88 [0.64 to 0.96]'
    """
    return f"{number(value)} [{_interval(low, high)}]" if np.isfinite(value) else DASH


def causal_text(effect: float, p: float) -> str:
    """Say what promoting a concept does to the share of what its label names.

    >>> causal_text(0.056, 0.01)
    '+5.6 points; 1 % of other concepts bring as much'
    """
    return f"{points(effect)}; {percent(p)} of other concepts bring as much" if np.isfinite(effect) else DASH


def _interval(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}" if np.isfinite(low) else DASH


def _at(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"
