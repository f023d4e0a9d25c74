"""The histogram above the range of densities: how many concepts fire in how many viewers, and which are chosen."""

from collections.abc import Sequence

import numpy as np

from dashboard.escape import for_html


def brush_html(density: np.ndarray, ladder: Sequence[str], span: tuple[str, str]) -> str:
    """Give the bars over the steps of a slider, those within its range in colour; heights are logarithms of counts.

    Args:
        density: (n,) share of viewers in whom each concept fires.
        ladder: Percents at the slider's steps, rising from "0" to "100".
        span: The two that are chosen.
    """
    edges = np.array([float(step) for step in ladder]) / 100
    counts = np.histogram(density, edges)[0]
    inside = (edges[:-1] >= float(span[0]) / 100 - 1e-12) & (edges[1:] <= float(span[1]) / 100 + 1e-12)
    heights = np.log1p(counts) / max(np.log1p(counts).max(initial=0), 1e-9)
    bars = "".join(
        f"<i class='{'in' if chosen else ''}' style='height:{100 * height:.0f}%'></i>"
        for height, chosen in zip(heights, inside, strict=True)
    )
    n = int(counts[inside].sum())
    sentence = f"{n:,} of {len(density):,} concepts fire in {span[0]} to {span[1]} % of the viewers."
    bars = f"<div class='sl-brush' role='img' aria-label='{for_html(sentence)}'>{bars}</div>"
    return f"<p class='sl-note'>Fires in, % of viewers</p>{bars}"
