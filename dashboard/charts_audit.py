"""The taxonomy audit as a picture: for each fact of a catalogue, how well it is seen and how far it moves lists."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from core.steering.audit import FEW, LEAST_AUC, SEEN, STEERED, UNSEEN
from dashboard.charts import DASH, Figure, figure, number, table_html
from dashboard.charts_response import points
from dashboard.escape import for_html

GLYPHS = {STEERED: "●", SEEN: "◐", UNSEEN: "○", FEW: "·"}
"""Beside the words, so that a verdict is found at a glance in a long table, without colour."""


class AuditRow(NamedTuple):
    """A fact of the catalogue and its verdict; see `core.steering.audit.audit`."""

    name: str
    """Untrusted."""
    note: str
    """Untrusted: its kind and how many titles."""
    verdict: str
    auc: tuple[float, float, float]
    """Value and the ends of the 95 % interval."""
    rise: tuple[float, float, float]
    """Share of the list gained, the same."""
    placebo: tuple[float, float]
    """Mean and standard deviation of that gain over random directions."""


def verdict_text(verdict: str) -> str:
    """Give a verdict with its glyph.

    >>> verdict_text("can be steered")
    '● can be steered'
    """
    return f"{GLYPHS.get(verdict, '')} {verdict}".strip()


def audit_figure(rows: Sequence[AuditRow], takeaway: str, strength: float, n_all: int) -> Figure:
    """Show how well facts are seen (AUC) and how far promoting their concepts moves lists, each with its interval.

    Args:
        rows: In the order of the picture, all of them judged.
        takeaway: What is to be seen; untrusted.
        strength: The largest strength, at which the gain was measured.
        n_all: How many there are; the others are in the table of the page.
    """
    aucs = [v for r in rows for v in r.auc if np.isfinite(v)]
    rises = [v for r in rows for v in (*r.rise, r.placebo[0] - 2 * r.placebo[1], r.placebo[0] + 2 * r.placebo[1])]
    left = min([0.45, *aucs])
    low, high = min([0.0, *(v for v in rises if np.isfinite(v))]), max([0.05, *(v for v in rises if np.isfinite(v))])

    def seen_at(value: float) -> float:
        return (value - left) / (1 - left)

    def moved_at(value: float) -> float:
        return (value - low) / (high - low)

    lanes, cells = [], []
    for row in rows:
        side = "" if row.verdict == STEERED else " quiet"
        centre, spread = row.placebo
        chance = (
            ""
            if not np.isfinite(spread)
            else _span("chance", moved_at(centre - 2 * spread), moved_at(centre + 2 * spread))
        )
        name = f"{for_html(row.name, 60)}<small>{for_html(row.note, 60)}</small>"
        value = f"{points(row.rise[0], 0)}<small>{for_html(verdict_text(row.verdict))}</small>"
        lanes.append(
            f"<div class='row'><span class='name'>{name}</span>"
            f"<span class='sl-dots'><u style='left:{_at(seen_at(0.5))}'></u>"
            f"<u class='base' style='left:{_at(seen_at(LEAST_AUC))}'></u>{_estimate(row.auc, seen_at, side)}</span>"
            f"<span class='sl-dots'>{chance}<u style='left:{_at(moved_at(0.0))}'></u>"
            f"{_estimate(row.rise, moved_at, side)}</span>"
            f"<span class='value'>{value}</span></div>"
        )
        cells.append(
            [
                row.name, row.note, verdict_text(row.verdict), number(row.auc[0]),
                f"{number(row.auc[1])} to {number(row.auc[2])}", points(row.rise[0]),
                f"{points(row.rise[1])} to {points(row.rise[2])}", points(centre),
            ]
        )  # fmt: skip
    ends = (
        f"<span class='sl-ends'><span>{number(left)}</span><span>AUC held out</span><span>1</span></span>",
        f"<span class='sl-ends'><span>{points(low, 0)}</span><span>gained at strength {strength:g}</span>"
        f"<span>{points(high, 0)}</span></span>",
    )
    axis = f"<div class='row axis'><span></span>{ends[0]}{ends[1]}<span></span></div>"
    key = (
        "<div class='sl-key'><span class='round'>can be steered</span>"
        "<span class='round' style='--swatch:var(--sl-quiet)'>not called so</span>"
        "<span style='--swatch:color-mix(in srgb,var(--sl-up) 35%,transparent)'>95 % interval</span>"
        "<span style='--swatch:color-mix(in srgb,var(--sl-tail) 35%,transparent)'>95 % of random directions</span>"
        f"<span class='tick'>AUC {LEAST_AUC:g}: from here on seen</span></div>"
    )
    columns = ["Fact", "", "Verdict", "AUC", "95 % interval", "Gain", "95 % interval", "Random directions"]
    table = table_html(columns, cells, numeric=(3, 4, 5, 6, 7), keep=(2,))
    more = f" · the first {len(rows)} of {n_all:,}" if n_all > len(rows) else ""
    return figure(f"Seen, and moved{more}", takeaway, f"<div class='sl-audit'>{axis}{''.join(lanes)}</div>{key}", table)


def _estimate(value: tuple[float, float, float], place: Callable[[float], float], side: str) -> str:
    middle, low, high = value
    if not np.isfinite(middle):
        return DASH
    return f"{_span('ci' + side, place(low), place(high))}<i class='dot{side}' style='left:{_at(place(middle))}'></i>"


def _span(kind: str, start: float, end: float) -> str:
    start, end = (float(np.clip(v, 0, 1)) for v in (start, end))
    return f"<i class='{kind}' style='left:{_at(start)};width:{_at(end - start)}'></i>"


def _at(share: float) -> str:
    return f"{100 * float(np.clip(np.nan_to_num(share), 0, 1)):.2f}%"
