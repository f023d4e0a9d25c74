"""A label of a model may become a name only where it tells more than the keywords, chance and what is in use."""

from typing import Any

import pandas as pd
import pytest

from core.labels.offers import Offer, offers, strength
from core.labels.pace import Pace

KEYWORD = "Prison"
TOLD = {"Prison": 0.8, "Jails": 0.9, "Other": 0.6, "Strong": 1.0, "Even": 0.8, "Weak": 0.7}


class OneTest:
    """Every neuron's titles are told as well as `TOLD` says; "Jails" names the facts of neuron 0 alone."""

    cards = pd.DataFrame({"neuron": [0, 1], "label": [KEYWORD, KEYWORD]})

    def card(self, neuron: int, label: str) -> dict[str, Any] | None:
        if neuron > 1:
            return None
        value = TOLD.get(label, float("nan"))
        status = "untested" if value != value else "reads" if value > 0.65 else "fails"
        return {"label": label, "random": value, "hard": value, "status": status}


def made(proposal: str, now: str = KEYWORD, source: str = "keyword", other: str = "Weak") -> Offer:
    frame = pd.DataFrame({"label": [now, KEYWORD], "label_source": [source, "keyword"]})
    return offers(OneTest(), frame, {0: proposal, 1: other}, 0)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("proposal", "more", "reason"),
    [
        ("Jails", {}, "better"),
        ("Even", {}, "keyword"),
        ("Weak", {}, "keyword"),
        ("Other", {}, "fails"),
        ("Lovely things", {}, "untested"),
        ("Unclear", {}, "nameless"),
        ("prison", {}, "same"),
        ("Jails", {"now": "Mine", "source": "human"}, "person"),
        ("Jails", {"other": "Strong"}, "chance"),
        ("Jails", {"now": "Strong", "source": "llm"}, "used"),
        ("Even", {"now": "Weak", "source": "llm"}, "keyword"),
    ],
)
def test_a_label_is_offered_only_where_it_tells_more(proposal: str, more: dict[str, str], reason: str) -> None:
    found = made(proposal, **more)
    assert found.reason == reason and found.better == (reason == "better")


def test_a_neuron_that_never_fires_is_offered_nothing() -> None:
    frame = pd.DataFrame({"label": [KEYWORD] * 3, "label_source": ["keyword"] * 3})
    assert offers(OneTest(), frame, {2: "Jails"}, 0) == []  # type: ignore[arg-type]


def test_a_label_that_was_not_tested_is_as_strong_as_a_coin() -> None:
    assert strength(OneTest().card(0, "Lovely things")) == 0.5


def test_the_pace_counts_from_the_first_call_and_gives_time_and_cost_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("core.labels.pace.time.time", lambda: clock[0])
    pace = Pace("labels", 100, usd=1.0, n_calls=7)
    assert pace.beat("m", 0, 0, 1.0, None).left_s is None
    for _ in range(40):  # kept answers
        clock[0] += 0.01
        pace.step(7)
    assert pace.beat("m", 0, 0, 1.0, None).left_s is None
    for n in range(10):
        clock[0] += 2
        pace.step(8 + n)
    beat = pace.beat("m", 3, 500, 1.5, 4.0)
    assert (beat.done, beat.total, beat.failed, beat.started, beat.at) == (50, 100, 3, 1000.0, clock[0])
    assert beat.left_s == pytest.approx(100) and beat.usd_at_end == pytest.approx(1.5 + 0.05 * 50)
    assert pace.beat("m", 3, 500, None, None).usd_at_end is None
