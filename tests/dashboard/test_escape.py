"""Untrusted text stays text wherever it is shown."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.escape import LIMIT, for_csv, for_html, for_markdown

SIGNS = "\\`*_{}[]()#+-.!|<>$~:&^=@/"


@pytest.mark.parametrize("sign", SIGNS)
def test_every_sign_that_markdown_reads_gets_a_backslash(sign: str) -> None:
    assert for_markdown(f"a{sign}b").replace("\u2060", "") == f"a\\{sign}b"


def test_plain_words_stay_as_they_are() -> None:
    assert for_markdown("Vančura, 1980s") == "Vančura, 1980s"


def test_markdown_of_hostile_titles_has_no_unescaped_sign() -> None:
    text = for_markdown("![x](http://evil.test/a.png) $5 and $6 :red[no] <img src=x> **b** `c`")
    assert re.search(rf"(?<!\\)[{re.escape(SIGNS.replace(chr(92), ''))}]", text) is None


@given(st.text())
def test_html_holds_no_markup_and_reads_back_as_the_folded_text(text: str) -> None:
    safe = for_html(text)
    assert not set(safe) & set("<>\"'")
    assert len(html.unescape(safe)) <= LIMIT


def test_html_cuts_long_text_with_a_sign() -> None:
    assert for_html("x" * 500, 10) == "x" * 9 + "…"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "  =", "\x1f="])
def test_a_cell_that_begins_like_a_formula_is_disarmed(start: str) -> None:
    assert for_csv(f"{start}1+1").startswith("'")


@given(st.text())
def test_no_cell_begins_like_a_formula(text: str) -> None:
    assert not for_csv(text).startswith(("=", "+", "-", "@"))
