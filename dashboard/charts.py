"""Charts as values: HTML and CSS with escaped text, a sentence that says what is to be seen, and the same as a table.

Plotly's code is 4.7 MB, which a browser needs a second or more to load and run; these charts are a few kB, have text of
the page's own size on every screen and follow both themes. No function here calls Streamlit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from core.written import DASH, number, percent, signed
from dashboard.escape import for_html

N_NAMES = 12
"""Choices of a frontier that are named below it; all are in its table."""


class Figure(NamedTuple):
    """A chart, ready to draw."""

    html: str
    """Safe HTML: title, takeaway, chart and table."""
    takeaway: str
    """One sentence computed from the data, as plain text."""


def measured(values: Mapping[str, Any], name: str) -> float:
    """Give a figure of a report; NaN where it could not be measured.

    >>> measured({"ndcg": 0.25, "recall": None}, "ndcg"), measured({"recall": None}, "recall"), measured({}, "mpr")
    (0.25, nan, nan)
    """
    found = values.get(name)
    return float("nan") if found is None else float(found)


def match_phrase(name: str, kind: str) -> str:
    """Say that items match a concept of the catalogue.

    >>> match_phrase("Horror", "genre"), match_phrase("1980s", "decade"), match_phrase("revenge", "tag")
    ('are Horror', 'are from the 1980s', 'are tagged “revenge”')
    """
    return {"decade": f"are from the {name}", "tag": f"are tagged “{name}”"}.get(kind, f"are {name}")


def table_html(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = (), keep: Sequence[int] = ()
) -> str:
    """Give a table; every cell is plain text and is escaped here.

    Args:
        columns: Their names.
        rows: One text a column.
        numeric: Which columns are numbers: aligned to the right.
        keep: Which columns never break a line.
    """
    kinds = ["num" if i in numeric else "keep" if i in keep else "" for i in range(len(columns))]
    head = "".join(f"<th scope='col' class='{k}'>{for_html(c)}</th>" for c, k in zip(columns, kinds, strict=True))
    lines = ("".join(f"<td class='{k}'>{for_html(c)}</td>" for c, k in zip(row, kinds, strict=True)) for row in rows)
    return _table(head, "".join(f"<tr>{line}</tr>" for line in lines))


def figure(title: str, takeaway: str, chart: str, table: str) -> Figure:
    """Put a chart together. `chart` and `table` are safe HTML already."""
    name, sentence = for_html(title), for_html(takeaway, 300)
    return Figure(
        f"<figure class='sl-figure' aria-label='{name}'><h3>{name}</h3><p class='take'>{sentence}</p>"
        f"<div role='img' aria-label='{sentence}'>{chart}</div>"
        f"<details><summary>Show as a table</summary>{table}</details></figure>",
        takeaway,
    )


def bar(share: float, kind: str = "") -> str:
    """Give a bar that is filled to a share of [0, 1]."""
    return f"<span class='sl-bar {kind}'><i style='width:{_width(share)}'></i></span>"


class PurityRow(NamedTuple):
    """How well a concept of the catalogue explains a neuron."""

    name: str
    kind: str
    purity: tuple[float, float, float]
    """At 10, 20 and 50; NaN where fewer items fire."""
    base_rate: float


def purity_figure(rows: Sequence[PurityRow]) -> Figure:
    """Show what a neuron's top items have in common, against the base rates; best first."""
    lanes, cells = [], []
    for row in rows:
        bars = "".join(
            f"<i class='n{n}' style='width:{_width(p)}'></i>" for n, p in zip((10, 20, 50), row.purity, strict=True)
        )
        lanes.append(
            f"<span class='name'>{for_html(row.name, 40)}</span><span class='sl-lane'>{bars}"
            f"<u style='left:{_width(row.base_rate)}'></u></span><span class='value'>{_joined(row.purity)}</span>"
        )
        lift = f"{number(row.purity[1] / row.base_rate, 1)} ×" if row.base_rate else DASH
        cells.append([row.name, *(percent(p) for p in row.purity), percent(row.base_rate, 1), lift])
    key = (
        "<div class='sl-key'><span>top 10</span>"
        "<span style='--swatch:color-mix(in srgb,var(--sl-up) 72%,transparent)'>top 20</span>"
        "<span style='--swatch:color-mix(in srgb,var(--sl-up) 45%,transparent)'>top 50</span>"
        "<span class='tick'>base rate</span></div>"
    )
    table = table_html(["Concept", "@10", "@20", "@50", "Base rate", "Lift @20"], cells, numeric=range(1, 6))
    chart = f"<div class='sl-rows'>{''.join(lanes)}</div>{key}"
    return figure("What its top items have in common", _purity_takeaway(rows), chart, table)


def _purity_takeaway(rows: Sequence[PurityRow]) -> str:
    n, at = next(((n, i) for i, n in ((1, 20), (0, 10)) if rows and np.isfinite(rows[0].purity[i])), (0, 0))
    if not n:
        return "Fewer than 10 items make it fire: too few to say what they have in common."
    best, share = rows[0], rows[0].purity[at]
    n = (10, 20)[at]
    if share <= best.base_rate:
        return f"Its top {n} items hold no more {best.name} than the catalogue does."
    phrase = match_phrase(best.name, best.kind)
    return f"{percent(share)} of its top {n} items {phrase}, against {percent(best.base_rate, 1)} of the catalogue."


Shares = tuple[float, float, float]
"""Of head, mid and tail; they sum to 1, or are NaN."""


def head_share_figure(activation: Shares, items: Shares, viewers: Shares, log: Shares, n_viewers: int) -> Figure:
    """Show whether a neuron lives on popular or on rare items, against what a neuron without taste would show.

    Args:
        activation: Shares of its activation over items.
        items: Shares of the catalogue's items: what `activation` is to be read against.
        viewers: Mean shares of its top viewers' histories.
        log: Shares of all interactions: what `viewers` is to be read against.
        n_viewers: How many top viewers there are.
    """
    rows = [
        ("Its activation", "over items", activation),
        ("Catalogue", "all items", items),
        ("Its viewers", f"top {n_viewers} histories", viewers),
        ("All viewers", "all histories", log),
    ]
    lanes = []
    for name, note, shares in rows:
        parts = "".join(f"<i class='{c}' style='width:{_width(s)}'></i>" for c, s in zip("hmt", shares, strict=True))
        lanes.append(
            f"<span class='name'>{name}<small>{for_html(note)}</small></span>"
            f"<span class='sl-stack'>{parts}</span><span class='value'>{_joined(shares)}</span>"
        )
    takeaway = "No item makes it fire, so it has no preference for popular or rare ones."
    if np.isfinite(activation[0]):
        ratio = activation[0] / items[0] if items[0] else np.nan
        word = "Mainstream" if ratio > 1.5 else "Niche" if ratio < 0.67 else "Neither mainstream nor niche"
        takeaway = (
            f"{word}: {percent(activation[0], 1)} of its activation is on head items, "
            f"which are {percent(items[0], 1)} of the catalogue."
        )
    key = (
        "<div class='sl-key'><span style='--swatch:var(--sl-head)'>head: most popular, 20 % of interactions</span>"
        "<span style='--swatch:var(--sl-mid)'>mid</span>"
        "<span style='--swatch:var(--sl-tail)'>tail: rarest, 20 % of interactions</span></div>"
    )
    cells = [[f"{name}, {note}", *(percent(s, 1) for s in shares)] for name, note, shares in rows]
    table = table_html(["Share", "Head", "Mid", "Tail"], cells, numeric=range(1, 4))
    return figure("Popular or rare", takeaway, f"<div class='sl-rows'>{''.join(lanes)}</div>{key}", table)


class Estimate(NamedTuple):
    """A measured value and how far to trust it."""

    name: str
    note: str
    value: float
    low: float
    """Lower end of the 95 % interval; NaN where there is none."""
    high: float
    strong: bool = False
    """Whether the row stands out."""


def interval_figure(title: str, takeaway: str, rows: Sequence[Estimate], measure: str, digits: int = 3) -> Figure:
    """Show values with their 95 % intervals on one axis from 0, best first."""
    ordered = sorted(rows, key=lambda r: -np.nan_to_num(r.value, nan=-np.inf))
    ends = [v for r in ordered for v in (r.value, r.high) if np.isfinite(v)]
    top = max(ends, default=1.0) * 1.04 or 1.0
    lanes, cells = [], []
    for row in ordered:
        low, high = (row.low, row.high) if np.isfinite(row.low) else (row.value, row.value)
        dot = (
            f"<i class='ci' style='left:{_width(low / top)};width:{_width((high - low) / top)}'></i>"
            f"<i class='dot' style='left:{_width(row.value / top)}'></i>"
        )
        lanes.append(
            f"<span class='name{' strong' * row.strong}'>{for_html(row.name, 60)}"
            f"<small>{for_html(row.note, 60)}</small></span>"
            f"<span class='sl-dots'>{dot if np.isfinite(row.value) else ''}</span>"
            f"<span class='value'>{number(row.value, digits)}</span>"
        )
        ends_text = f"{number(row.low, digits)} to {number(row.high, digits)}" if np.isfinite(row.low) else DASH
        cells.append([row.name, row.note, number(row.value, digits), ends_text])
    key = (
        "<div class='sl-key'><span class='round'>mean over viewers</span>"
        "<span style='--swatch:color-mix(in srgb,var(--sl-up) 35%,transparent)'>95 % interval</span></div>"
    )
    table = table_html(["Recommender", "", measure, "95 % interval"], cells, numeric=(2, 3))
    return figure(title, takeaway, f"<div class='sl-rows'>{''.join(lanes)}</div>{key}", table)


class Effect(NamedTuple):
    """A difference with its 95 % interval, either way from 0."""

    name: str
    note: str
    value: float
    low: float
    high: float


def effects_figure(title: str, takeaway: str, rows: Sequence[Effect], measure: str, sides: tuple[str, str]) -> Figure:
    """Show differences around a line at 0, in the order given.

    Args:
        title: Of the chart.
        takeaway: What is to be seen.
        rows: The differences, all known.
        measure: What they are in, for the table.
        sides: What a value above 0, and one below, means.
    """
    reach = max((abs(v) for r in rows for v in (r.value, r.low, r.high) if np.isfinite(v)), default=1.0) * 1.04 or 1.0

    def place(value: float) -> float:
        return (value / reach + 1) / 2

    lanes, cells = [], []
    for row in rows:
        low, high = (row.low, row.high) if np.isfinite(row.low) else (row.value, row.value)
        side = "" if row.value >= 0 else " down"
        lanes.append(
            f"<span class='name'>{for_html(row.name, 60)}<small>{for_html(row.note, 60)}</small></span>"
            f"<span class='sl-dots'><u style='left:50%'></u>"
            f"<i class='ci{side}' style='left:{_width(place(low))};width:{_width(place(high) - place(low))}'></i>"
            f"<i class='dot{side}' style='left:{_width(place(row.value))}'></i></span>"
            f"<span class='value'>{signed(row.value)}</span>"
        )
        cells.append([row.name, row.note, signed(row.value), f"{signed(row.low)} to {signed(row.high)}"])
    ends = "".join(f"<span>{text}</span>" for text in (signed(-reach), "0", signed(reach)))
    axis = f"<span></span><span class='sl-ends'>{ends}</span><span></span>"
    key = (
        f"<div class='sl-key'><span class='round'>{for_html(sides[0])}</span>"
        f"<span class='round' style='--swatch:var(--sl-down)'>{for_html(sides[1])}</span>"
        "<span style='--swatch:color-mix(in srgb,var(--sl-quiet) 40%,transparent)'>95 % interval</span></div>"
    )
    table = table_html(["Concept", "", measure, "95 % interval"], cells, numeric=(2, 3))
    return figure(title, takeaway, f"<div class='sl-rows'>{''.join(lanes)}{axis}</div>{key}", table)


def histogram(counts: np.ndarray, labels: Sequence[str], axis: str) -> str:
    """Give bars of counts on a logarithmic height, with its grid and the first, middle and last label."""
    top = float(np.log10(max(int(counts.max(initial=0)), 1) + 1))
    bars = "".join(f"<i style='height:{_width(np.log10(c + 1) / top)}'></i>" for c in counts)
    most = int(counts.max(initial=0))
    ticks = [10**e for e in range(7) if 10**e * 1.6 <= most] + [most] * (most > 0)
    grid = "".join(f"<b style='bottom:{_width(np.log10(t + 1) / top)}'><span>{t:,}</span></b>" for t in ticks)
    ends = "".join(f"<span>{for_html(t)}</span>" for t in labels)
    return (
        f"<div class='sl-hist'>{grid}{bars}</div><div class='sl-axis'>{ends}</div>"
        f"<p class='sl-axis-name'>{for_html(axis)}</p>"
    )


def activation_figure(counts: np.ndarray, edges: np.ndarray, n_all: int, what: str) -> Figure:
    """Show how strongly a neuron fires, where it does.

    Args:
        counts: (n_bins,) how many values > 0 lie in each bin.
        edges: (n_bins + 1,).
        n_all: How many were looked at; those that are not in a bin are zeros, given in the text.
        what: "viewers" or "items".
    """
    firing = int(counts.sum())
    takeaway = (
        f"It fires for {firing:,} of {n_all:,} {what} ({percent(firing / max(n_all, 1), 1)}); "
        f"the other {n_all - firing:,} are at exactly zero and not drawn."
    )
    labels = [number(float(edges[i])) for i in (0, len(counts) // 2, len(counts))]
    chart = histogram(counts, labels, f"activation · number of {what}, log scale")
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    rows = [[f"{number(a)} to {number(b)}", f"{int(c):,}"] for a, b, c in bins if c]
    table = table_html(["Activation", what.capitalize()], [["0", f"{n_all - firing:,}"], *rows], numeric=(0, 1))
    return figure(f"How strongly it fires · {what}", takeaway, chart, table)


def density_figure(density: np.ndarray, n_viewers: int, n_bins: int = 24) -> Figure:
    """Show how common concepts are, on a logarithmic axis.

    Args:
        density: (n_concepts,) share of viewers in whom each fires.
        n_viewers: Number of viewers, which gives the smallest share that can be.
        n_bins: Number of bars.
    """
    low = 1 / max(n_viewers, 2)
    seen = density[density > 0]
    edges = np.geomspace(low, 1, n_bins + 1)
    counts = np.histogram(np.clip(seen, low, 1), bins=edges)[0]
    takeaway = "None of these concepts fires in a viewer."
    if seen.size:
        middle = percent(float(np.median(density)), 1)
        takeaway = (
            f"The middle one of these {len(density):,} concepts fires in {middle} of the viewers; "
            f"{int((seen > 0.5).sum()):,} fire in more than half."
        )
    labels = [*(percent(float(edges[i]), 2) for i in (0, n_bins // 2)), "100 %"]
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    rows = [[f"{percent(a, 2)} to {percent(b, 2)}", f"{c:,}"] for a, b, c in bins if c]
    table = table_html(["Fires in", "Concepts"], rows, numeric=(0, 1))
    chart = histogram(counts, labels, "share of viewers in whom it fires · number of concepts, both log scale")
    return figure("How common the concepts are", takeaway, chart, table)


class Curve(NamedTuple):
    """A number along a training."""

    name: str
    values: np.ndarray
    """(n_steps_logged,)."""
    digits: int
    log: bool = False
    """Whether heights are logarithms, from the least value to the largest: for what falls by orders of magnitude."""


def curves_figure(title: str, takeaway: str, steps: np.ndarray, curves: Sequence[Curve]) -> Figure:
    """Show how numbers moved while something was trained, each on an axis of its own."""
    shown = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 60)).astype(int))
    panels = []
    for curve in curves:
        values = np.nan_to_num(np.asarray(curve.values, float))
        heights = _heights(values, log=curve.log)
        bars = "".join(f"<i style='height:{_width(heights[i])}'></i>" for i in shown)
        panels.append(
            f"<div><p class='name'>{for_html(curve.name)}<b>{number(values[-1], curve.digits)}</b></p>"
            f"<div class='sl-curve'>{bars}</div>"
            f"<div class='sl-ends'><span>step {int(steps[0]):,}</span><span>{int(steps[-1]):,}</span></div></div>"
        )
    rows = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 11)).astype(int))
    cells = [[f"{int(steps[i]):,}", *(number(float(c.values[i]), c.digits) for c in curves)] for i in rows]
    table = table_html(["Step", *(c.name for c in curves)], cells, numeric=range(len(curves) + 1))
    return figure(title, takeaway, f"<div class='sl-curves'>{''.join(panels)}</div>", table)


def _heights(values: np.ndarray, *, log: bool) -> np.ndarray:
    """Give heights of [0, 1]; of logarithms the least is 4 %, to be seen."""
    if log and values.min(initial=1.0) > 0 and values.max() > values.min():
        logs = np.log(values)
        return np.asarray(0.04 + 0.96 * (logs - logs.min()) / (logs.max() - logs.min()))
    return np.asarray(values / (float(values.max(initial=0)) or 1.0))


class Spot(NamedTuple):
    """A choice among several: what it costs to the right, what it gives upwards."""

    name: str
    x: float
    low: float
    """Lower end of the 95 % interval of `x`."""
    high: float
    y: float
    taken: bool
    """Whether it is the recommended one."""
    best: bool
    """Whether no other one is better in both."""


def frontier_figure(title: str, takeaway: str, spots: Sequence[Spot], bound: float, names: tuple[str, str]) -> Figure:
    """Show what can be had for what: shares to the right with their intervals, against values upwards.

    Args:
        title: Untrusted.
        takeaway: Untrusted.
        spots: Numbered from 1 in this order; one without a number is left out of the picture.
        bound: The largest `x` that is acceptable, drawn as a line.
        names: Of the two axes.
    """
    shown = [(i, s) for i, s in enumerate(spots, start=1) if np.isfinite([s.x, s.y]).all()]
    ends = [bound, 0.0, *(v for _, s in shown for v in (s.x, s.low, s.high) if np.isfinite(v))]
    low, high = min(ends), max(ends)
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    heights = [spot.y for _, spot in shown] or [0.0, 1.0]
    air = 0.15 * (max(heights) - min(heights)) or 0.05
    bottom, top = min(heights) - air, max(heights) + air

    def at(x: float) -> float:
        return (x - low) / (high - low)

    def up(y: float) -> float:
        return (y - bottom) / (top - bottom)

    grid = "".join(
        f"<b style='bottom:{_width(share)}'><span>{number(bottom + share * (top - bottom))}</span></b>"
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    marks = f"<u class='zero' style='left:{_width(at(0.0))}'></u><u style='left:{_width(at(bound))}'></u>"
    for i, spot in shown:
        ends_ = (spot.low, spot.high) if np.isfinite([spot.low, spot.high]).all() else (spot.x, spot.x)
        place = f"bottom:{_width(up(spot.y))}"
        kind = " taken" * spot.taken + " best" * spot.best
        width = _width(at(ends_[1]) - at(ends_[0]))
        marks += f"<i class='ci' style='left:{_width(at(ends_[0]))};width:{width};{place}'></i>"
        marks += f"<i class='spot{kind}' style='left:{_width(at(spot.x))};{place}'>{i}</i>"
    key = (
        "<div class='sl-key'><span class='round' style='--swatch:var(--sl-down)'>recommended</span>"
        "<span class='round'>none is better in both</span>"
        "<span class='round' style='--swatch:var(--sl-quiet)'>others</span>"
        f"<span class='tick'>at most {percent(bound)} lost</span></div>"
    )
    listed = " · ".join(f"<b>{i}</b> {for_html(s.name, 60)}" for i, s in shown[:N_NAMES])
    more = " · …" if len(shown) > N_NAMES else ""
    chart = (
        f"<div class='sl-scatter'>{grid}{marks}</div>"
        f"<div class='sl-axis'><span>{percent(low, 1)}</span><span>{percent(high, 1)}</span></div>"
        f"<p class='sl-axis-name'>{for_html(names[0])} → · {for_html(names[1])} ↑</p>{key}"
        f"<p class='sl-names'>{listed}{more}</p>"
    )
    rows = [
        [str(i), s.name, percent(s.x, 2), f"{percent(s.low, 2)} to {percent(s.high, 2)}", number(s.y, 3)]
        for i, s in enumerate(spots, start=1)
    ]
    table = table_html(["", "Setting", names[0], "95 % interval", names[1]], rows, numeric=(0, 2, 3, 4))
    return figure(title, takeaway, chart, table)


def stability_figure(scores: np.ndarray, threshold: float, chance: float) -> Figure:
    """Show how far neurons come again in an SAE of another seed.

    Args:
        scores: (n,) of the neurons that were looked for.
        threshold: From which on one counts as found again.
        chance: What 95 % of the matches of a permuted SAE stay below.
    """
    edges = np.linspace(0, 1, 21)
    counts = np.histogram(np.clip(scores, 0, 1), bins=edges)[0]
    share = float((scores >= threshold).mean()) if len(scores) else float("nan")
    takeaway = (
        f"{percent(share)} of {len(scores):,} concepts come again from another seed (stability {threshold:g} or more); "
        f"matches by chance stay below {number(chance)}."
    )
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    rows = [[f"{a:.2f} to {b:.2f}", f"{int(c):,}"] for a, b, c in bins if c]
    chart = histogram(counts, ["0", "0.5", "1"], "stability · number of concepts, log scale")
    return figure("Do the concepts come again?", takeaway, chart, table_html(["Stability", "Concepts"], rows, (0, 1)))


class Item(NamedTuple):
    """An item of the catalogue with a value, for tables. All text is untrusted."""

    title: str
    year: str
    genres: tuple[str, ...]
    value: float


def items_table(items: Sequence[Item], value_name: str, kind: str = "") -> str:
    """Give items with year, genres and their value as number and bar, as safe HTML.

    Args:
        items: In the order of the table.
        value_name: Head of the value's column.
        kind: "up" or "down" colours the bars as promoted or suppressed and gives the values their sign.
    """
    largest = max((abs(i.value) for i in items), default=0.0) or 1.0
    head = (
        "<th scope='col'>Title</th><th scope='col' class='num'>Year</th><th scope='col' class='wide'>Genres</th>"
        f"<th scope='col' class='wide'></th><th scope='col' class='num'>{for_html(value_name)}</th>"
    )
    lines = (
        f"<tr><td>{for_html(i.title)}</td><td class='num quiet'>{for_html(i.year)}</td>"
        f"<td class='quiet wide'>{for_html(', '.join(i.genres[:3]), 60)}</td>"
        f"<td class='wide'>{bar(abs(i.value) / largest, kind)}</td>"
        f"<td class='num'>{i.value:{'+' if kind else ''}.2f}</td></tr>"
        for i in items
    )
    return _table(head, "".join(lines))


def _table(head: str, body: str) -> str:
    table = f"<table class='sl-table'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='sl-scroll'>{table}</div>"


def _width(share: float) -> str:
    return f"{100 * float(np.clip(np.nan_to_num(share), 0, 1)):.1f}%"


def _joined(shares: Sequence[float]) -> str:
    return f"{' / '.join(percent(s).removesuffix(' %') for s in shares)} %"
