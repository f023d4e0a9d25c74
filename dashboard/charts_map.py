"""The map as a Plotly figure: the one chart with thousands of points to zoom, select and click. No Streamlit here."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.atlas import NONE, OTHER, Atlas, Colour
from dashboard.charts import number, percent
from dashboard.escape import for_html

MANY = 5_000
"""From this many points on the browser draws with WebGL."""
SIZES = {MANY: (3.0, 9.0), 1_500: (3.5, 11.0), 0: (5.0, 16.0)}
"""Least and largest diameter of a point in pixels, from how many points on."""
HEIGHT = 600
MARGIN = 0.07
"""Around the points, as a share of the map's extent."""
WIDE, NARROW = (1060, 450), (270, 380)
"""Pixels of the points' extent on a screen and on a phone, for which labels are kept apart."""
N_LABELS, N_NARROW = 30, 6
LABEL_LENGTH, LETTER, LINE = 26, 6.8, 18
"""Of a label: most characters, pixels of one character and of a line, with what keeps two apart."""
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
"""Okabe and Ito's without yellow; the seventh kind has the colour of the text."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star", "circle", "circle-open")
"""So that a kind can be told without its colour; the last two are of `OTHER` and `NONE`."""
GREY = "#8b8da3"
INK = {False: "#191a2c", True: "#ecedf6"}
"""The colour of text, by whether the theme is dark."""


def map_figure(atlas: Atlas, colour: Colour, *, dark: bool, unit: str) -> go.Figure:
    """Draw a map.

    Args:
        atlas: The points.
        colour: By what they are coloured.
        dark: Which of the two themes.
        unit: What the size says, after a share: "of viewers".

    Returns:
        A figure whose points carry their id as `customdata`. Every text of others in it is escaped: Plotly reads some
        HTML in labels and hover texts.
    """
    draw = go.Scattergl if len(atlas.ids) >= MANY else go.Scatter
    sizes, texts = point_sizes(atlas.size), hover_texts(atlas, colour, unit)
    traces = []
    layers = _layers(colour, dark)
    for rank, (name, chosen, marker) in enumerate(layers):
        at = np.flatnonzero(chosen)
        if not len(at):
            continue
        colours = (
            {"color": colour.of[at] if not colour.log else np.log10(colour.of[at])} if "coloraxis" in marker else {}
        )
        traces.append(
            draw(
                x=atlas.xy[at, 0], y=atlas.xy[at, 1], mode="markers", name=for_html(name, 30), customdata=atlas.ids[at],
                hovertext=texts[at], hovertemplate="%{hovertext}<extra></extra>",
                marker={"size": sizes[at], "opacity": 0.82, **marker, **colours},
                legendrank=1000 + rank if name not in (OTHER, NONE) else 2000 - rank,
                selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 0.14}},
            )
        )  # fmt: skip
    figure = go.Figure(traces)
    figure.update_layout(
        height=HEIGHT, margin={"l": 4, "r": 4, "t": 8, "b": 4}, hovermode="closest", uirevision="map",
        dragmode="pan", showlegend=bool(colour.kinds),
        legend={"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0, "itemsizing": "constant", "title": None},
        xaxis={"visible": False, "range": _span(atlas.xy[:, 0])},
        yaxis={"visible": False, "range": _span(atlas.xy[:, 1]), "scaleanchor": "x", "scaleratio": 1},
        coloraxis=_axis(colour), annotations=label_annotations(atlas, dark=dark),
    )  # fmt: skip
    return figure


def point_sizes(share: np.ndarray) -> np.ndarray:
    """Give the diameters in pixels: by the logarithm of the share, smaller where there are many points."""
    least, most = next(sizes for n, sizes in SIZES.items() if len(share) >= n)
    known = share[np.isfinite(share) & (share > 0)]
    if not known.size or known.min() == known.max():
        return np.full(len(share), (least + most) / 2, np.float32)
    low, high = np.log(known.min()), np.log(known.max())
    height = (np.log(np.maximum(np.nan_to_num(share), known.min())) - low) / (high - low)
    return (least + (most - least) * height).astype(np.float32)


def hover_texts(atlas: Atlas, colour: Colour, unit: str) -> np.ndarray:
    """Give what is shown of each point under the pointer, as text that Plotly does not read as markup."""
    values = colour.said if colour.kinds else [value_text(colour, value) for value in colour.of]
    sizes = [f"<br>{percent(s, 1)} {unit}" if np.isfinite(s) else "" for s in atlas.size]
    title = for_html(colour.title)
    lines = (
        f"<b>{for_html(name, 60)}</b><br>{title}: {for_html(value, 40)}{size}"
        for name, value, size in zip(atlas.names, values, sizes, strict=True)
    )
    return np.array(list(lines), object)


def value_text(colour: Colour, value: float) -> str:
    """Write a score for people.

    >>> value_text(Colour("Year", ""), 1993.0), value_text(Colour("Density", "", percent=True, digits=1), 0.0421)
    ('1993', '4.2 %')
    """
    if colour.percent:
        return percent(value, colour.digits)
    return number(value, colour.digits) if colour.digits or value >= 10_000 else f"{value:.0f}"


def label_annotations(atlas: Atlas, *, dark: bool) -> list[dict[str, Any]]:
    """Give the labels that are drawn on the map: of the first points in their order, no two of which collide.

    The first `N_NARROW` are apart on a phone too, where the style sheet hides the others.
    """
    names = [name if len(name) <= LABEL_LENGTH else f"{name[: LABEL_LENGTH - 1]}…" for name in atlas.names]
    first = spread(atlas.xy, names, atlas.order, NARROW, N_NARROW)
    chosen = spread(atlas.xy, names, atlas.order, WIDE, N_LABELS, first)
    ground = "rgba(15,16,25,0.66)" if dark else "rgba(255,255,255,0.72)"
    return [
        {
            "x": float(atlas.xy[i, 0]), "y": float(atlas.xy[i, 1]), "text": for_html(names[i]), "showarrow": False,
            "yshift": 17, "font": {"size": 12, "color": INK[dark]}, "bgcolor": ground, "borderpad": 1,
        }
        for i in chosen
    ]  # fmt: skip


def spread(
    xy: np.ndarray,
    names: Sequence[str],
    order: np.ndarray,
    window: tuple[int, int],
    most: int,
    start: Sequence[int] = (),
) -> list[int]:
    """Choose labels that do not collide when a map is drawn as large as a window allows, both axes on one scale.

    Greedy: point after point in `order`, each whose box touches no box before it; a name only once.

    Args:
        xy: (n, 2).
        names: As they are written.
        order: Places of the points, most worth a label first.
        window: Pixels, width and height.
        most: How many labels.
        start: Labels that are there already, apart from each other on a smaller window.

    Returns:
        Places of the chosen points, `start` first.
    """
    if not len(xy):
        return []
    extent = np.maximum(np.ptp(xy, axis=0), 1e-9)
    scale = min(window[0] / extent[0], window[1] / extent[1])
    chosen: list[int] = []
    boxes: list[tuple[float, float, float]] = []
    there = set(start)
    for i in [*start, *(int(i) for i in order if i not in there)]:
        if len(chosen) == most:
            break
        name = names[i]
        if not name.strip() or any(names[j] == name for j in chosen):
            continue
        box = (float(xy[i, 0] * scale), float(xy[i, 1] * scale), len(name) * LETTER / 2)
        if all(abs(box[1] - b[1]) >= LINE or abs(box[0] - b[0]) >= box[2] + b[2] + LETTER for b in boxes):
            chosen.append(i)
            boxes.append(box)
    return chosen


def _layers(colour: Colour, dark: bool) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
    """Give the name, the points and the marks of each trace: one a kind, or known and unknown scores; rarest on top."""
    if not colour.kinds:
        known = np.isfinite(colour.of) & ((colour.of > 0) | (not colour.log))
        return [("not known", ~known, {"color": GREY}), (colour.title, known, {"coloraxis": "coloraxis"})]
    own = len(colour.kinds) - 2
    layers = []
    for place in [own + 1, own, *range(own)]:
        name = colour.kinds[place]
        hue = GREY if name in (OTHER, NONE) else (*COLOURS, INK[dark])[place]
        symbol = SYMBOLS[-2] if name == OTHER else SYMBOLS[-1] if name == NONE else SYMBOLS[place]
        layers.append((name, colour.of == place, {"color": hue, "symbol": symbol}))
    return layers


def _span(values: np.ndarray) -> list[float]:
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    around = MARGIN * (high - low) or 1.0
    return [low - around, high + around]


def _axis(colour: Colour) -> dict[str, Any]:
    """Give the scale of a score: cividis, from the 2nd to the 98th percentile, so that a few extremes hide nothing."""
    known = colour.of[np.isfinite(colour.of) & ((colour.of > 0) | (not colour.log))]
    if colour.kinds or not known.size:
        return {"showscale": False}
    values = np.log10(known) if colour.log else known
    low, high = np.quantile(values, [0.02, 0.98])
    if low == high:
        low, high = values.min() - 0.5, values.max() + 0.5
    ticks = np.linspace(low, high, 3)
    texts = [value_text(colour, 10**t if colour.log else t) for t in ticks]
    bar = {
        "title": {"text": for_html(colour.title), "side": "top"}, "orientation": "h", "y": -0.02, "yanchor": "top",
        "len": 0.5, "x": 0, "xanchor": "left", "thickness": 12, "tickangle": 0, "tickvals": ticks, "ticktext": texts,
    }  # fmt: skip
    return {"colorscale": "Cividis", "cmin": low, "cmax": high, "colorbar": bar}
