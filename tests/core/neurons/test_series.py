"""Series: parts of one film are told from their titles, and other films are not taken for them."""

from collections import Counter

import numpy as np
import pytest

from core.neurons.series import LARGEST, at_most, series_of, stem

FAMILIES = [
    ["Star Trek: The Motion Picture (1979)", "Star Trek: The Wrath of Khan", "Star Trek VI: The Undiscovered Country",
     "Star Trek: First Contact", "Star Trek Generations"],
    ["Rocky", "Rocky II", "Rocky III", "Rocky IV", "Rocky V"],
    ["Toy Story", "Toy Story 2"],
    ["Star Wars: Episode IV - A New Hope", "Star Wars: Episode V - The Empire Strikes Back"],
    ["The Godfather", "Godfather: Part II, The", "The Godfather: Part III"],
    ["A Nightmare on Elm Street", "A Nightmare on Elm Street Part 2: Freddy's Revenge",
     "Nightmare on Elm Street 4: The Dream Master, A"],
    ["Friday the 13th", "Friday the 13th Part V: A New Beginning", "Friday the 13th Part VIII: Jason Takes Manhattan"],
    ["Planet of the Apes", "Beneath the Planet of the Apes", "Escape from the Planet of the Apes"],
    ["Indiana Jones and the Last Crusade", "Indiana Jones and the Temple of Doom"],
    ["Alien", "Aliens", "Alien³", "Alien: Resurrection"],
    ["Batman", "Batman Returns", "Batman Forever", "Batman & Robin"],
    ["Police Academy", "Police Academy 5: Assignment: Miami Beach"],
    ["Lethal Weapon", "Lethal Weapon 4"],
    ["Mission: Impossible", "Mission: Impossible 2"],
    ["Godzilla (Gojira)", "Godzilla 2000 (Gojira ni-sen mireniamu)"],
]  # fmt: skip
STRANGERS = [
    "Alien Nation", "The Rocky Horror Picture Show", "The Pink Panther", "Starship Troopers", "Story of Us, The",
    "12 Angry Men", "12 Monkeys", "2001: A Space Odyssey", "Romeo and Juliet", "Thelma & Louise", "Heat",
    "The Lord of the Flies", "Lord of Illusions", "Return to Me", "Return to Paradise", "American Beauty",
    "American History X", "X-Men", "", "???", "M", "I, Robot",
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family[0])
def test_parts_of_a_series_are_one_series_among_all_others(family: list[str]) -> None:
    titles = [title for other in FAMILIES for title in other] + STRANGERS
    found = series_of(titles)
    mine = {int(found[titles.index(title)]) for title in family}
    assert len(mine) == 1
    assert {title for title, series in zip(titles, found, strict=True) if series in mine} == set(family)


def test_films_of_their_own_stay_alone() -> None:
    found = series_of(STRANGERS)
    assert found.tolist() == list(range(len(STRANGERS)))


def test_a_catalogue_that_only_numbers_its_titles_has_no_series() -> None:
    titles = [f"Track number {i}" for i in range(LARGEST + 1)]
    assert series_of(titles).tolist() == list(range(LARGEST + 1))
    assert set(series_of(titles[:-1])) == {0}


def test_an_odd_title_breaks_nothing() -> None:
    odd = ["x" * 10_000, "(" * 2_000, "::--::", "II", "The", "שלום עולם 2", "שלום עולם", "\ud800"]
    found = series_of(odd)
    assert found[5] == found[6] and len(set(found)) == len(odd) - 1
    assert stem("The") == ("the",) and stem("II") == ("ii",)


def test_at_most_two_of_a_series_are_taken_in_order_and_over_several_calls() -> None:
    series = np.array([0, 0, 0, 3, 3, 5, 0])
    shown: Counter[int] = Counter()
    assert at_most([2, 1, 0, 3, 5], series, 4, shown) == [2, 1, 3, 5]
    assert at_most([6, 4, 3, 5], series, 4, shown) == [4, 5]
    assert at_most([0, 1, 3], series, 1) == [0]
