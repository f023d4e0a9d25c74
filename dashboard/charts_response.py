"""The dose-response curve of a concept: how the share of what it stands for follows its strength."""

import numpy as np

from core.steering.lists import N_LISTED
from core.steering.responses import LEAST_RISE, Response
from dashboard.charts import DASH, Figure, figure, percent, table_html
from dashboard.escape import for_html

TITLE = "What a dose of it brings"
_THICK = 0.9
"""Half the height of a level line, in hundredths of the chart's height."""
_ASPECT = 0.5
"""Height of a chart by its width, about."""


def points(share: float, digits: int = 1) -> str:
    """Write a difference of shares in points of the list; a dash where it is unknown.

    >>> points(0.123), points(-0.05), points(float("nan"))
    ('+12.3 points', '−5.0 points', '–')
    """
    return f"{100 * share:+.{digits}f} points".replace("-", "−") if np.isfinite(share) else DASH


def response_figure(response: Response, label: str) -> Figure:
    """Show how the share of a concept follows the strength of a neuron, with band, fitted curve and placebo.

    Args:
        response: See `core.steering.responses.Responses.of_neuron`.
        label: Of the neuron; untrusted.
    """
    r = response
    top = max(float(np.nanmax(np.concatenate([r.high, r.placebo, [r.base_rate, 0.05]]))) * 1.06, 1e-9)
    x = (r.strengths - r.strengths[0]) / (r.strengths[-1] - r.strengths[0])
    band = _area(x, r.low / top, r.high / top, "band")
    fitted, placebo = _line(x, r.fitted / top, "fitted"), _line(x, r.placebo / top, "placebo")
    dots = "".join(f"<i style='left:{_at(a)};bottom:{_at(b)}'></i>" for a, b in zip(x, r.share / top, strict=True))
    zero = f"<u class='zero' style='left:{_at(float(x[_zero(r)]))}'></u>"
    grey = ""
    if np.isfinite(r.saturation) and r.saturation < r.strengths[-1] and not r.flat:
        start = float(np.interp(r.saturation, r.strengths, x))
        grey = f"<span class='grey' style='left:{_at(start)};width:{_at(1 - start)}'></span>"
    grid = "".join(f"<b style='bottom:{_at(step / top)}'><span>{percent(step)}</span></b>" for step in _steps(top))
    base = f"<u class='base' style='bottom:{_at(r.base_rate / top)}'></u>"
    ticks = "".join(
        f"<span style='left:{_at(float(a))}'>{_strength(float(s))}</span>"
        for a, s in zip(x, r.strengths, strict=True) if float(s).is_integer()
    )  # fmt: skip
    name = for_html(r.concept, 40)
    key = (
        f"<div class='sl-key'><span>share of the top {N_LISTED} that is {name}, fitted</span>"
        "<span style='--swatch:color-mix(in srgb,var(--sl-up) 30%,transparent)'>95 % interval</span>"
        "<span style='--swatch:var(--sl-tail)'>random directions of the same size</span>"
        "<span class='tick'>original list</span>"
        f"<span style='--swatch:var(--sl-quiet)'>base rate {percent(r.base_rate, 1)}</span>"
        + ("<span style='--swatch:var(--sl-track)'>saturated</span>" if grey else "")
        + "</div>"
    )
    chart = (
        f"<div class='sl-dose'>{grey}{grid}{base}{zero}{band}{placebo}{fitted}{dots}</div>"
        f"<div class='sl-dose-axis'>{ticks}</div>"
        f"<p class='sl-axis-name'>← suppress · strength, in strong activations · promote →</p>{key}"
    )
    rows = [
        [_strength(float(s)), percent(float(m), 1), f"{percent(float(a), 1)} to {percent(float(b), 1)}",
         percent(float(f), 1), percent(float(p), 1)]
        for s, m, a, b, f, p in zip(r.strengths, r.share, r.low, r.high, r.fitted, r.placebo, strict=True)
    ]  # fmt: skip
    table = table_html(["Strength", "Share", "95 % interval", "Fitted", "Random directions"], rows, numeric=range(5))
    return figure(f"{TITLE} · {label}", takeaway_of(r), chart, table)


def takeaway_of(response: Response) -> str:
    """Say what the curve shows, in one sentence."""
    r = response
    zero, most = float(r.fitted[_zero(r)]), float(r.fitted[-1])
    of = f"share of {r.concept} in the top {N_LISTED} of {r.n_viewers:,} viewers{' the SAE never saw' * r.unseen}"
    if r.flat:
        return (
            f"This concept cannot move lists towards {r.concept}: at the largest strength the {of} is "
            f"{percent(most, 1)}, against {percent(zero, 1)} without an edit (flat: below "
            f"{points(LEAST_RISE, 0)}, or no more than random directions bring)."
        )
    more = (
        f"beyond strength {_strength(r.saturation)} next to nothing is added"
        if r.saturation < r.strengths[-1]
        else "and it still rises there"
    )
    return (
        f"The {of} goes from {percent(zero, 1)} to {percent(most, 1)} at strength {_strength(float(r.strengths[-1]))}, "
        f"{points(r.slope)} for a strong activation at the start (random directions {points(r.placebo_slope)}); {more}."
    )


def _zero(r: Response) -> int:
    return int(np.argmin(np.abs(r.strengths)))


def _strength(value: float) -> str:
    """Write a strength with its sign.

    >>> _strength(2.0), _strength(-0.5), _strength(0.0)
    ('+2', '−0.5', '0')
    """
    return "0" if value == 0 else f"{value:+g}".replace("-", "−")


def _steps(top: float) -> list[float]:
    """Give the shares at which lines are drawn: four to six round ones."""
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if top / s <= 6)
    return [step * i for i in range(int(top / step) + 1)]


def _area(x: np.ndarray, low: np.ndarray, high: np.ndarray, kind: str) -> str:
    """Give the area between two curves; all values are shares of the width and the height."""
    corners = [(a, b) for a, b in zip(x, high, strict=True)] + [(a, b) for a, b in zip(x[::-1], low[::-1], strict=True)]
    polygon = ",".join(f"{100 * a:.2f}% {100 * (1 - b):.2f}%" for a, b in corners)
    return f"<span class='{kind}' style='clip-path:polygon({polygon})'></span>"


def _line(x: np.ndarray, y: np.ndarray, kind: str) -> str:
    """Give a line of one thickness: where it is steep, its height is more."""
    steep = np.hypot(1, _ASPECT * np.diff(y) / np.diff(x))
    half = _THICK / 100 * (np.append(steep, steep[-1]) + np.append(steep[0], steep)) / 2
    return _area(x, y - half, y + half, kind)


def _at(share: float) -> str:
    return f"{100 * float(np.clip(np.nan_to_num(share), 0, 1)):.2f}%"
