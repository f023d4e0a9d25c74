"""Charts of the page Concept: cosines either way from 0, and the history of a viewer with what fires in it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dashboard.charts import DASH, Figure, bar, figure, number, percent, signed, table_html
from dashboard.escape import for_html


class Cosine(NamedTuple):
    """A related concept. Its name is untrusted."""

    name: str
    note: str
    value: float


def cosines_figure(title: str, rows: Sequence[Cosine], what: str) -> Figure:
    """Show cosines in the order given, to the right of 0 those that push the same way."""
    lanes, cells = [], []
    for row in rows:
        width = 50 * min(abs(row.value), 1.0)
        side, left = ("up", 50.0) if row.value >= 0 else ("down", 50 - width)
        lanes.append(
            f"<span class='name'>{for_html(row.name, 44)}<small>{for_html(row.note, 20)}</small></span>"
            f"<span class='sl-sides'><i class='{side}' style='left:{left:.1f}%;width:{width:.1f}%'></i><u></u></span>"
            f"<span class='value'>{signed(row.value)}</span>"
        )
        cells.append([row.name, row.note, signed(row.value)])
    same = [row for row in rows if row.value >= 0]
    takeaway = "There is no other concept that fires."
    if same:
        word = "nearly the same" if same[0].value > 0.9 else "alike" if same[0].value > 0.5 else "not alike"
        takeaway = f"The nearest, {same[0].note} “{same[0].name}”, is {word}: cosine {signed(same[0].value)}."
        if len(rows) > len(same):
            takeaway += f" The most opposite is {rows[-1].note} “{rows[-1].name}”: {signed(rows[-1].value)}."
    key = (
        "<div class='sl-key'><span>push the same way</span>"
        "<span style='--swatch:var(--sl-down)'>push the other way</span></div>"
    )
    table = table_html(["Concept", "", what], cells, numeric=(2,))
    return figure(title, takeaway, f"<div class='sl-rows'>{''.join(lanes)}</div>{key}", table)


def values_html(values: Sequence[float], largest: float, kind: str = "") -> str:
    """Show numbers with bars, one below the other beside a list of as many links, as safe HTML.

    Args:
        values: From above to below.
        largest: What fills a bar.
        kind: "up" or "down" colours the bars and gives the numbers their sign.
    """
    write = signed if kind else number
    rows = "".join(
        f"<div>{bar(abs(value) / largest if largest else 0.0, kind)}<span>{write(float(value))}</span></div>"
        for value in values
    )
    return f"<div class='sl-values'>{rows}</div>"


def rests_on_html(titles: Sequence[str], alone: np.ndarray, lost: np.ndarray, n_left_out: int, n_history: int) -> str:
    """Show the titles without which a viewer's activation would be least, as safe HTML.

    Args:
        titles: Untrusted.
        alone: Activation of each title alone.
        lost: Share of the viewer's activation that goes without it; negative where it grows, NaN where there is none.
        n_left_out: How many titles of the history were left out in turn.
        n_history: Its length.
    """
    rows = [
        [title, f"{act:.2f}" if act > 0 else DASH, percent(share, 1) if share >= 0 else f"−{percent(-share, 1)}"]
        for title, act, share in zip(titles, alone, lost, strict=True)
        if np.isfinite(share)
    ]
    if not rows:
        return "<p class='sl-note'>Folded in from the history alone, it does not fire for this viewer.</p>"
    some = "" if n_left_out == n_history else f" Of {n_history:,} titles {n_left_out:,} were left out in turn."
    note = f"<p class='sl-note'>Without one title, so much of the activation goes.{some}</p>"
    return note + table_html(["Left out", "Fires alone", "Goes"], rows, numeric=(1, 2))


def history_html(titles: Sequence[str], fires: np.ndarray) -> str:
    """Show a whole history, oldest first, as safe HTML: the titles that fire the concept alone stand out."""
    marks = " · ".join(
        f"<b>{for_html(title)}</b>" if mark else for_html(title) for title, mark in zip(titles, fires, strict=True)
    )
    return (
        f"<details class='sl-more'><summary>Whole history, {len(titles):,} titles: those that fire it alone are bold"
        f"</summary><p class='sl-watched'>{marks}</p></details>"
    )
