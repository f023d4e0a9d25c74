"""Charts: widths and sentences that a head can check, and a table that says the same."""

import re

import numpy as np
import pytest

from dashboard.charts import (
    Item,
    PurityRow,
    activation_figure,
    density_figure,
    head_share_figure,
    histogram,
    items_table,
    match_phrase,
    number,
    percent,
    purity_figure,
    table_html,
)

NAN = float("nan")
EVIL = "<img src=x onerror=1>"


def _widths(html: str, what: str = "width") -> list[float]:
    return [float(w) for w in re.findall(rf"{what}:([\d.]+)%", html)]


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.0, 0, "0 %"),
        (0.004, 0, "< 1 %"),
        (0.006, 0, "1 %"),
        (0.0004, 1, "< 0.1 %"),
        (1.0, 1, "100.0 %"),
        (NAN, 0, "–"),
    ],
)
def test_a_small_share_is_never_written_as_zero(share: float, digits: int, text: str) -> None:
    assert percent(share, digits) == text


def test_an_unknown_number_is_a_dash() -> None:
    assert number(NAN) == "–"
    assert number(float("inf")) == "–"


def test_matches_read_as_sentences_for_each_kind() -> None:
    assert [match_phrase("X", kind) for kind in ("genre", "tag", "decade")] == [
        "are X", "are tagged “X”", "are from the X",
    ]  # fmt: skip


def test_the_purity_plot_draws_the_shares_and_the_base_rate() -> None:
    figure = purity_figure([PurityRow("Horror", "genre", (1.0, 0.9, 0.5), 0.1)])
    assert _widths(figure.html) == [100.0, 90.0, 50.0]
    assert _widths(figure.html, "left") == [10.0]
    assert figure.takeaway == "90 % of its top 20 items are Horror, against 10.0 % of the catalogue."
    assert "9.0 ×" in figure.html


def test_the_purity_plot_says_when_only_ten_items_fire() -> None:
    figure = purity_figure([PurityRow("Horror", "genre", (0.8, NAN, NAN), 0.1)])
    assert figure.takeaway.startswith("80 % of its top 10 items")
    assert "80 / – / –" in figure.html


@pytest.mark.parametrize("rows", [[], [PurityRow("Horror", "genre", (NAN, NAN, NAN), 0.1)]])
def test_the_purity_plot_says_when_too_few_items_fire(rows: list[PurityRow]) -> None:
    assert purity_figure(rows).takeaway.startswith("Fewer than 10 items")


def test_a_purity_at_the_base_rate_is_not_sold_as_a_finding() -> None:
    figure = purity_figure([PurityRow("Drama", "genre", (0.4, 0.4, 0.4), 0.4)])
    assert "no more Drama than the catalogue" in figure.takeaway


@pytest.mark.parametrize(
    ("head", "word"), [(0.4, "Mainstream"), (0.1, "Neither"), (0.01, "Niche"), (NAN, "No item makes it fire")]
)
def test_the_head_share_is_read_against_the_catalogue(head: float, word: str) -> None:
    figure = head_share_figure((head, 0.3, 0.3), (0.1, 0.3, 0.6), (0.2, 0.6, 0.2), (0.2, 0.6, 0.2), 20)
    assert figure.takeaway.startswith(word)
    assert len(_widths(figure.html)) == 12


def test_the_activation_histogram_gives_the_zeros_as_text_and_every_bin_in_its_table() -> None:
    figure = activation_figure(np.array([9, 0, 99]), np.array([0.0, 1.0, 2.0, 3.0]), 1000, "viewers")
    assert "fires for 108 of 1,000 viewers (10.8 %)" in figure.takeaway
    assert "the other 892" in figure.takeaway
    assert figure.html.count("<tr>") == 1 + 1 + 2  # head, zeros, two bins that hold something


def test_heights_are_logarithmic() -> None:
    bars = re.findall(r"<i style='height:([\d.]+)%'", histogram(np.array([0, 9, 99]), ["a", "b", "c"], "x"))
    assert [float(b) for b in bars] == [0.0, 50.0, 100.0]


def test_an_empty_histogram_is_drawn() -> None:
    assert "sl-hist" in histogram(np.zeros(4, int), ["a"], "x")


def test_the_density_histogram_holds_every_living_concept() -> None:
    density = np.array([0.001, 0.01, 0.1, 0.9])
    figure = density_figure(density, 1000)
    counted = sum(int(n) for n in re.findall(r"<td class='num'>(\d+)</td></tr>", figure.html))
    assert counted == len(density)
    assert "1 fire in more than half" in figure.takeaway


def test_a_density_histogram_of_nothing_says_so() -> None:
    assert density_figure(np.zeros(3), 100).takeaway == "None of these concepts fires in a viewer."


def test_bars_are_relative_to_the_largest_and_signs_show_direction() -> None:
    items = [Item("A", "1990", ("Drama",), -0.5), Item("B", "", (), -0.25)]
    html = items_table(items, "Change", "down")
    assert _widths(html) == [100.0, 50.0]
    assert "-0.50" in html
    assert "+0.50" in items_table([Item("A", "1990", (), 0.5)], "Change", "up")


def test_no_chart_lets_markup_through() -> None:
    figures = [
        purity_figure([PurityRow(EVIL, "tag", (1.0, 1.0, 1.0), 0.1)]).html,
        items_table([Item(EVIL, EVIL, (EVIL,), 1.0)], EVIL),
        table_html([EVIL], [[EVIL]]),
    ]
    for html in figures:
        assert "<img" not in html


def test_every_figure_has_a_sentence_and_a_table() -> None:
    figure = density_figure(np.array([0.1]), 10)
    assert figure.takeaway in figure.html
    assert "<details>" in figure.html
    assert "<table" in figure.html
