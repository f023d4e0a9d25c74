"""Numbers as people read them, on pages and in briefs."""

import math

DASH = "–"
"""What could not be measured."""


def percent(share: float, digits: int = 0) -> str:
    """Write a share of [0, 1] in per cent; a dash where it is unknown; never 0 for what is only small.

    >>> percent(0.25), percent(float("nan")), percent(0.0004)
    ('25 %', '–', '< 1 %')
    """
    if not math.isfinite(share):
        return DASH
    least = 10.0**-digits
    return f"< {least:g} %" if 0 < share * 100 < least / 2 else f"{share * 100:.{digits}f} %"


def number(value: float, digits: int = 2) -> str:
    """Write a number; a dash where it is unknown.

    >>> number(-1234.5, 1), number(float("nan"))
    ('−1,234.5', '–')
    """
    return f"{value:,.{digits}f}".replace("-", "−") if math.isfinite(value) else DASH


def signed(value: float, digits: int = 2) -> str:
    """Write a difference with its sign; a dash where it is unknown.

    >>> signed(0.5), signed(-0.25), signed(0.001)
    ('+0.50', '−0.25', '0.00')
    """
    if not math.isfinite(value):
        return DASH
    text = f"{value:+,.{digits}f}"
    return text[1:] if float(text.replace(",", "")) == 0 else text.replace("-", "−")
