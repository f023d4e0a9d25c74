"""One boundary: what a person can mend is told, a bug leaves a reference and its traceback in the log only."""

import logging
import re

import pytest
from streamlit.testing.v1 import AppTest

from core.errors import UserError
from dashboard.guard import failure_card, problem_card


def _html(app: AppTest) -> str:
    return "".join(element.proto.body for element in app.get("html"))


def _bug() -> None:
    from dashboard import guard

    with guard.boundary():
        raise KeyError("secret-token-42")


def _bug_in_a_fragment() -> None:
    from dashboard import guard

    @guard.fragment
    def part() -> None:
        raise ZeroDivisionError("secret-token-42")

    part()


def _stopped() -> None:
    import streamlit as st

    from dashboard import guard

    with guard.boundary():
        st.stop()
    st.text("not reached")


@pytest.mark.parametrize("script", [_bug, _bug_in_a_fragment])
def test_a_bug_shows_a_reference_and_logs_the_traceback_under_it(script, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="steerlens.dashboard"):
        app = AppTest.from_function(script).run()
    assert not app.exception
    shown = _html(app)
    record = next(r for r in caplog.records if r.name == "steerlens.dashboard")
    reference = str(record.args[0])
    assert "Something went wrong here" in shown
    assert reference in shown
    assert "secret-token-42" not in shown
    assert "secret-token-42" in caplog.text


def test_streamlits_own_stop_passes_through() -> None:
    app = AppTest.from_function(_stopped).run()
    assert not app.exception
    assert not app.text
    assert "sl-problem" not in _html(app)


def test_a_problem_card_has_problem_fix_and_the_command_as_code() -> None:
    card = problem_card(UserError("Nothing was built.", "Run: python -m core build --dataset ml-1m"))
    assert "<h2>Nothing was built.</h2>" in card
    assert "<p>Run:</p>" in card
    code = card.partition("<code>")[2].partition("</code>")[0]
    assert re.sub("</?span>", "", code) == "python -m core build --dataset ml-1m"


def test_a_problem_card_without_a_command_has_no_code() -> None:
    assert "<code" not in problem_card(UserError("Wrong.", "Choose another."))


def test_cards_escape_what_they_are_given() -> None:
    card = problem_card(UserError("<img src=x onerror=a()>", "<script>1</script>"))
    assert "<img" not in card
    assert "<script" not in card
    assert "<b>" not in failure_card("<b>")
