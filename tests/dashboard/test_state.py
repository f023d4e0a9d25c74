"""What the address says is read strictly: a value that cannot be is told, with the way on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError, UserError
from core.steering.steering import Edit, Steering
from dashboard.state import Filters, edit_texts, parse_edits, parse_filters, parse_neuron


def test_a_neuron_is_a_whole_number_of_this_sae() -> None:
    assert parse_neuron("0", 5) == 0
    assert parse_neuron("4", 5) == 4


@pytest.mark.parametrize("text", ["5", "-1", "1.0", "", "abc", "١", "1e3", " 1", "9" * 400, "1\n"])
def test_anything_else_is_no_neuron(text: str) -> None:
    with pytest.raises(ConfigError, match="numbered 0 to 4"):
        parse_neuron(text, 5)


def test_edits_are_read_as_the_address_bar_writes_them() -> None:
    steering = Steering((Edit(17, "add", 2.0), Edit(3, "scale", 0.0), Edit(4, "set", -1.5)))
    assert edit_texts(steering) == ["17:add:2.0", "3:scale:0.0", "4:set:-1.5"]
    assert parse_edits(edit_texts(steering)) == steering


@given(st.lists(st.tuples(st.integers(0, 9999), st.floats(-1e4, 1e4)), max_size=5, unique_by=lambda e: e[0]))
def test_edits_survive_the_address_bar_exactly(edits: list[tuple[int, float]]) -> None:
    steering = Steering(tuple(Edit(j, "add", value) for j, value in edits))
    assert parse_edits(edit_texts(steering)) == steering


@pytest.mark.parametrize(
    "text",
    ["", "17", "17:2.0", "17:add", "17:add:x", "17:push:1", "a:add:1", "1:add:nan", "1:add:1e9", "1:2:3:4", "17=2"],
)
def test_a_text_that_is_no_edit_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_edits([text])


@given(st.lists(st.text(max_size=30), max_size=3))
def test_whatever_the_address_holds_is_an_edit_or_a_user_error(texts: list[str]) -> None:
    try:
        assert isinstance(parse_edits(texts), Steering)
    except UserError as error:
        assert error.fix


def test_filters_are_read() -> None:
    values = {"q": [" noir "], "about": ["Tag", "Genre"], "purity": ["80"], "audience": ["Niche"], "dead": ["true"]}
    assert parse_filters(values) == Filters("noir", ("Tag", "Genre"), 0.8, ("Niche",), True)
    assert parse_filters({}) == Filters()


@pytest.mark.parametrize(("key", "value"), [("about", "genre"), ("purity", "0.8"), ("audience", "x"), ("dead", "1")])
def test_a_filter_that_cannot_be_is_refused_with_the_choices(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}={value}"):
        parse_filters({key: [value]})
