"""The chart of a dose-response curve: places, words, and what it says of a flat one."""

import numpy as np

from core.steering.responses import STRENGTHS, Response
from dashboard.charts_response import points, response_figure, takeaway_of


def response(**more: object) -> Response:
    share = np.array([0, 0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.79, 0.8])
    values = {
        "neuron": 4, "concept": "<i>Noir</i>", "kind": "tag", "base_rate": 0.05, "strengths": np.array(STRENGTHS),
        "share": share, "low": share - 0.02, "high": share + 0.02, "fitted": share, "placebo": np.full(9, 0.1),
        "slope": 0.4, "slope_low": 0.35, "slope_high": 0.45, "placebo_slope": -0.01, "placebo_spread": 0.02,
        "rise": 0.7, "saturation": 2.0, "flat": False, "n_viewers": 500, "unseen": True,
    }  # fmt: skip
    return Response(**(values | more))  # type: ignore[arg-type]


def test_the_curve_stands_where_its_numbers_are() -> None:
    html = response_figure(response(), "Label <b>").html
    top = 0.82 * 1.06
    assert f"left:{100 * 3 / 6:.2f}%;bottom:{100 * 0.1 / top:.2f}%" in html  # strength 0: in the middle of -3 to 3
    assert f"left:{100 * 5 / 6:.2f}%;bottom:{100 * 0.79 / top:.2f}%" in html
    assert f"class='grey' style='left:{100 * 5 / 6:.2f}%;width:{100 / 6:.2f}%" in html
    assert "Label &lt;b&gt;" in html and "&lt;i&gt;Noir&lt;/i&gt;" in html and "<i>Noir" not in html
    assert html.count("clip-path:polygon(") == 3 and "80.0 %" in html


def test_the_takeaway_gives_the_share_before_and_after_the_slope_and_the_placebo() -> None:
    said = takeaway_of(response())
    assert "goes from 10.0 % to 80.0 % at strength +3" in said and "500 viewers the SAE never saw" in said
    assert "+40.0 points for a strong activation" in said and "random directions −1.0 points" in said
    assert "beyond strength +2 next to nothing is added" in said
    assert "still rises" in takeaway_of(response(saturation=3.0))
    assert "never saw" not in takeaway_of(response(unseen=False))


def test_a_flat_curve_is_said_to_move_nothing_and_greys_nothing() -> None:
    flat = response(flat=True, fitted=np.full(9, 0.1), saturation=float("nan"))
    assert "cannot move lists towards <i>Noir</i>" in takeaway_of(flat)
    assert "class='grey'" not in response_figure(flat, "x").html


def test_a_share_of_zero_everywhere_is_drawn() -> None:
    nothing = {name: np.zeros(9) for name in ("share", "low", "high", "fitted", "placebo")}
    html = response_figure(response(**nothing, base_rate=0.0, flat=True, saturation=float("nan")), "x").html
    assert "nan" not in html and "bottom:0.00%" in html


def test_points_have_a_sign_and_unknown_is_a_dash() -> None:
    assert points(0.1) == "+10.0 points" and points(-0.1) == "−10.0 points" and points(float("nan")) == "–"
