"""Charts of one viewer, one title or two concepts: a score split into its parts, and lists beside each other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.steering.compare import Move
from dashboard.charts import DASH, Figure, figure, histogram, number, percent, signed, table_html
from dashboard.escape import for_html


class Part(NamedTuple):
    """One part of a sum."""

    name: str
    note: str
    value: float
    quiet: bool = False
    """Whether it is no concept's: drawn grey."""


def waterfall_figure(title: str, takeaway: str, parts: Sequence[Part], total: str, measure: str) -> Figure:
    """Show how parts add up, one after the other, the sum last.

    Args:
        title: Untrusted.
        takeaway: Untrusted.
        parts: In their order; all that there are, so that the last bar is their sum.
        total: Name of the sum.
        measure: What the values are in, for the table.
    """
    ends = np.cumsum([0.0, *(p.value for p in parts)])
    low, high = float(min(ends.min(), 0.0)), float(max(ends.max(), 0.0))
    reach = (high - low) or 1.0
    rows = [(p.name, p.note, ends[i], p.value, "quiet" if p.quiet else "") for i, p in enumerate(parts)]
    rows.append((total, "the sum", 0.0, float(ends[-1]), "sum"))
    lanes = []
    for name, note, start, value, kind in rows:
        left, width = (min(start, start + value) - low) / reach, abs(value) / reach
        side = kind or ("up" if value >= 0 else "down")
        lanes.append(
            f"<span class='name{' strong' * (kind == 'sum')}'>{for_html(name, 60)}<small>{for_html(note, 60)}</small>"
            f"</span><span class='sl-fall'><u style='left:{100 * -low / reach:.1f}%'></u>"
            f"<i class='{side}' style='left:{100 * left:.1f}%;width:{100 * width:.2f}%'></i></span>"
            f"<span class='value'>{signed(value)}</span>"
        )
    key = (
        "<div class='sl-key'><span>raises it</span><span style='--swatch:var(--sl-down)'>lowers it</span>"
        "<span style='--swatch:var(--sl-quiet)'>no concept's</span>"
        "<span style='--swatch:var(--sl-accent)'>the sum</span></div>"
    )
    cells = [[name, note, signed(value, 3)] for name, note, _, value, _ in rows]
    table = table_html(["Part", "", measure], cells, numeric=(2,))
    return figure(title, takeaway, f"<div class='sl-rows'>{''.join(lanes)}</div>{key}", table)


class Column(NamedTuple):
    """One list beside others. All text is untrusted."""

    name: str
    note: str
    moves: Sequence[Move]
    """The items in their order, each with its place in the list it is read against."""
    against: bool
    """Whether the movements are shown: not for the list that the others are read against."""


def lists_html(columns: Sequence[Column], titles: Sequence[str], years: Sequence[str]) -> str:
    """Give lists beside each other with how far each title moved, as glyph and number; safe HTML.

    Args:
        columns: The lists.
        titles: Of all items.
        years: Of all items, "" where unknown.
    """
    parts = []
    for column in columns:
        rows = "".join(
            f"<li><b>{move.rank_after}</b><span>{for_html(titles[move.item])}"
            f"<small>{for_html(years[move.item])}</small></span>{_moved(move) if column.against else ''}</li>"
            for move in column.moves
        )
        empty = "" if rows else "<p class='sl-note'>The list is empty: nothing is left to recommend.</p>"
        parts.append(
            f"<section><h3>{for_html(column.name)}</h3><p class='sl-note'>{for_html(column.note, 200)}</p>"
            f"<ul>{rows}</ul>{empty}</section>"
        )
    return f"<div class='sl-lists'>{''.join(parts)}</div>"


def _moved(move: Move) -> str:
    text, kind = movement(move)
    return f"<i class='{kind}'>{text}</i>"


def movement(move: Move) -> tuple[str, str]:
    """Give a movement as glyph and number, and its kind.

    >>> movement(Move(1, 8, 1)), movement(Move(1, 2, 5)), movement(Move(1, None, 3)), movement(Move(1, 2, 2))
    (('▲ 7', 'up'), ('▼ 3', 'down'), ('NEW', 'new'), ('=', ''))
    """
    if move.is_new:
        return "NEW", "new"
    places = move.places_up
    return (f"▲ {places}", "up") if places > 0 else (f"▼ {-places}", "down") if places < 0 else ("=", "")


class ShareRow(NamedTuple):
    """A share of a group, its 95 % interval, and what it is in everybody."""

    name: str
    note: str
    share: float
    low: float
    high: float
    base: float


def shares_figure(title: str, takeaway: str, rows: Sequence[ShareRow], of: str) -> Figure:
    """Show shares with their intervals against base rates, in the order given.

    Args:
        title: Untrusted.
        takeaway: Untrusted.
        rows: The shares.
        of: What they are shares of, for the table.
    """
    top = max((v for r in rows for v in (r.high, r.base)), default=1.0) * 1.04 or 1.0
    lanes, cells = [], []
    for row in rows:
        side = " down" if row.share < row.base else ""
        lanes.append(
            f"<span class='name'>{for_html(row.name, 60)}<small>{for_html(row.note, 60)}</small></span>"
            f"<span class='sl-dots'><i class='ci{side}' style='left:{100 * row.low / top:.1f}%;"
            f"width:{100 * (row.high - row.low) / top:.1f}%'></i>"
            f"<i class='dot{side}' style='left:{100 * row.share / top:.1f}%'></i>"
            f"<u class='base' style='left:{100 * row.base / top:.1f}%'></u></span>"
            f"<span class='value'>{percent(row.share)}</span>"
        )
        lift = f"{row.share / row.base:.2f} ×" if row.base else DASH
        cells.append(
            [row.name, row.note, percent(row.share, 1), f"{percent(row.low, 1)} to {percent(row.high, 1)}",
             percent(row.base, 1), lift]
        )  # fmt: skip
    key = (
        "<div class='sl-key'><span class='round'>more than among all</span>"
        "<span class='round' style='--swatch:var(--sl-down)'>less than among all</span>"
        "<span style='--swatch:color-mix(in srgb,var(--sl-quiet) 40%,transparent)'>95 % interval</span>"
        "<span class='tick'>base rate</span></div>"
    )
    table = table_html(["", "", of, "95 % interval", "Base rate", "Lift"], cells, numeric=(2, 3, 4, 5))
    return figure(title, takeaway, f"<div class='sl-rows'>{''.join(lanes)}</div>{key}", table)


def likeness_figure(likeness: np.ndarray, chance: np.ndarray, threshold: float) -> Figure:
    """Show how alike matched concepts are, beside what chance reaches.

    Args:
        likeness: (n_pairs,) of the pairs.
        chance: (n,) of pairs of SAEs that have nothing in common.
        threshold: From which on two count as the same.
    """
    edges = np.linspace(0, 1, 21)
    counts, by_chance = (np.histogram(np.clip(values, 0, 1), bins=edges)[0] for values in (likeness, chance))
    again, border = (
        int((likeness >= threshold).sum()),
        float(np.percentile(chance, 95)) if len(chance) else float("nan"),
    )
    above = int((likeness > border).sum())
    takeaway = (
        f"{again:,} of {len(likeness):,} pairs are the same concept (likeness {threshold:g} or more); {above:,} are "
        f"more alike than 95 % of pairs by chance ({number(border)})."
    )
    chart = histogram(counts, ["0", "0.5", "1"], "likeness · number of pairs, log scale")
    rows = [
        [f"{low:.2f} to {high:.2f}", f"{n:,}", f"{m:,}"]
        for low, high, n, m in zip(edges[:-1], edges[1:], counts, by_chance, strict=True)
        if n or m
    ]
    return figure(
        "How alike the pairs are", takeaway, chart, table_html(["Likeness", "Pairs", "By chance"], rows, (0, 1, 2))
    )
