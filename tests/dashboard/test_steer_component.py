"""The adapter of the steering element: what it sends, what it refuses, and how it ranks."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from core.errors import UserError
from core.recommenders.base import rank
from dashboard.components import steer
from dashboard.components.steer import (
    LIMIT,
    MAX_TEXT,
    Catalogue,
    SteerAnswer,
    SteerEvent,
    SteerInput,
    SteerNeuron,
    SteerTarget,
    pack_items,
    parse_event,
    parse_released,
    rerank,
    rescore,
)
from tests.dashboard.generated import steer_input

APP = Path(__file__).parent / "apps" / "steer_app.py"
ROW = np.zeros(3, np.float32)
NEURONS = [SteerNeuron(7, "Horror", 2.0, 0.5, ROW), SteerNeuron(30, "Noir", 0.5, 0.0, ROW)]


def sent(values: object, core: str = "c", version: int = 0) -> dict[str, object]:
    return {"core": core, "version": version, "values": values}


def read(raw: object) -> tuple[tuple[int, float], ...] | None:
    return parse_released(raw, NEURONS, core="c", version=0)


def tiny(**changes: object) -> SteerInput:
    items = pack_items([("A", 1990, ["Horror", "Drama"]), ("B", None, []), ("C", 2001, ["Drama"])])
    base = np.array([3, 2, 1], np.float32)
    return SteerInput(items, base, np.array([1, 0]), np.array([2]), NEURONS, n=2)._replace(**changes)


# --- what the browser sends ---------------------------------------------------------------------------------------


def test_released_values_come_back_with_their_neurons() -> None:
    assert read(sent([1.5, -0.25])) == ((7, 1.5), (30, -0.25))


def test_whole_numbers_are_values_too() -> None:
    assert read(sent([2, 0])) == ((7, 2.0), (30, 0.0))
    assert all(isinstance(v, float) for _, v in read(sent([2, 0])) or ())


def test_nothing_released_is_none() -> None:
    assert read(None) is None


def test_values_of_another_viewer_or_an_older_version_are_out_of_date_and_not_an_error() -> None:
    assert read(sent([1.0, 0.0], core="other")) is None
    assert read(sent([1.0, 0.0], version=3)) is None


def test_a_value_at_the_end_of_its_slider_is_accepted_and_never_leaves_it() -> None:
    assert read(sent([LIMIT * 2.0, -LIMIT * 0.5])) == ((7, LIMIT * 2.0), (30, -LIMIT * 0.5))
    nearly = LIMIT * 2.0 * (1 + 5e-10)
    assert read(sent([nearly, 0])) == ((7, LIMIT * 2.0), (30, 0.0))


@pytest.mark.parametrize(
    "bad",
    [
        math.nan, math.inf, -math.inf, True, False, None, "1", [1], {"a": 1}, LIMIT * 2.01, -LIMIT * 2.01,
        1e308, 10**400, -(10**400),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused(bad: object) -> None:
    with pytest.raises(UserError, match="neuron 7"):
        read(sent([bad, 0.0]))


def test_the_range_is_that_of_each_slider() -> None:
    assert read(sent([1.6, 0.0])) is not None
    with pytest.raises(UserError, match=r"neuron 30 is beyond ±1\.5"):
        read(sent([0.0, 1.6]))


@pytest.mark.parametrize("bad", [[], [0.0], [0.0, 0.0, 0.0], "00", {"0": 1, "1": 2}, None, 3])
def test_a_wrong_number_of_values_is_refused(bad: object) -> None:
    with pytest.raises(UserError, match="expected 2 slider values"):
        read(sent(bad))


@pytest.mark.parametrize("bad", ["text", [0.0, 0.0], 5, {}, {"values": [0, 0]}, {**sent([0, 0]), "more": 1}])
def test_another_form_is_refused(bad: object) -> None:
    with pytest.raises(UserError, match="another form"):
        read(bad)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(json_values | st.builds(sent, json_values) | st.builds(sent, st.lists(json_values, min_size=2, max_size=2)))
@settings(max_examples=200, deadline=None)
def test_whatever_a_browser_sends_gives_values_in_range_or_a_user_error(raw: object) -> None:
    try:
        values = read(raw)
    except UserError as error:
        assert error.problem and error.fix
        return
    for neuron, (got, value) in zip(NEURONS, values or (), strict=values is not None):
        assert got == neuron.neuron and abs(value) <= LIMIT * neuron.unit


def test_events_are_read() -> None:
    assert parse_event(None, NEURONS) is None
    assert parse_event({"kind": "remove", "neuron": 30}, NEURONS) == SteerEvent("remove", 30)
    assert parse_event({"kind": "add", "neuron": None}, NEURONS) == SteerEvent("add", None)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "remove", "neuron": 8}, {"kind": "remove", "neuron": True}, {"kind": "remove", "neuron": "7"},
        {"kind": "remove", "neuron": 7.0}, {"kind": "explode", "neuron": 7}, {"kind": ["remove"], "neuron": 7},
        {"kind": "add", "neuron": 7}, {"kind": "remove"}, ["remove", 7], "remove", 1,
    ],
)  # fmt: skip
def test_events_that_cannot_be_are_refused(bad: object) -> None:
    with pytest.raises(UserError):
        parse_event(bad, NEURONS)


# --- the ranking --------------------------------------------------------------------------------------------------


def test_the_list_follows_the_sliders() -> None:
    base, row = np.array([3, 2, 1, 0.0]), np.array([0, 0, 0, 1.0])
    assert rerank(base, [row], [0.0], np.array([]), 2).tolist() == [0, 1]
    assert rerank(base, [row], [2.5], np.array([]), 2).tolist() == [0, 3]
    assert rerank(base, [row], [4.0], np.array([0]), 2).tolist() == [3, 1]


def test_equal_scores_are_in_the_order_of_the_items() -> None:
    assert rerank(np.array([0, 1, 0, 1, 1.0]), [], [], np.array([3]), 4).tolist() == [1, 4, 0, 2]


def test_a_list_that_runs_out_of_items_is_shorter() -> None:
    assert rerank(np.array([1, 2.0]), [], [], np.array([0]), 20).tolist() == [1]


def test_sliders_at_zero_give_the_scores_bit_for_bit() -> None:
    world = steer_input(500)
    scores = rescore(world.base_scores, [x.row for x in world.neurons], [0.0] * 8)
    assert scores.tobytes() == world.base_scores.tobytes()
    listed = rerank(world.base_scores, [x.row for x in world.neurons], [0.0] * 8, world.seen, 20)
    assert listed.tolist() == rank(world.base_scores[None], 20, [world.seen])[0].tolist()


def test_scores_are_rounded_to_float32_after_every_step() -> None:
    base, rows, values = np.float32([0.1]), [np.float32([0.3]), np.float32([0.7])], [1.1, -0.9]
    step = np.float32(base[0] + np.float32(np.float32(1.1) * np.float32(0.3)))
    assert rescore(base, rows, values)[0] == np.float32(step + np.float32(np.float32(-0.9) * np.float32(0.7)))


def test_the_given_scores_are_not_changed() -> None:
    base = np.array([1, 2], np.float32)
    rescore(base, [np.ones(2)], [1.0])
    assert base.tolist() == [1, 2]


# --- what goes to the browser -------------------------------------------------------------------------------------


def unpack(payload: bytes) -> tuple[dict[str, object], bytes]:
    (length,) = struct.unpack_from("<I", payload)
    return json.loads(payload[4 : 4 + length]), payload[4 + length :]


def test_the_payload_holds_the_arrays_in_their_order() -> None:
    target = SteerTarget("Drama", np.array([True, False, True]))
    row = np.array([0.5, 0, -1], np.float32)
    core, payload = steer._pack("k", tiny(neurons=[NEURONS[0]._replace(row=row, target=target)]))
    header, body = unpack(payload)
    assert header["core"] == core and header["slot"] == "k" and header["nItems"] == 3
    assert header["neurons"] == [{"neuron": 7, "label": "Horror", "unit": 2.0, "activation": 0.5, "target": "Drama"}]
    assert np.frombuffer(body, "<f4", 6).tolist() == [3, 2, 1, 0.5, 0, -1]
    assert np.frombuffer(body, "<i4", 3, 24).tolist() == [2, 1, 0]
    assert np.frombuffer(body, "u1", 3, 36).tolist() == [1, 0, 1]
    texts = json.loads(body[39:])
    assert texts["titles"] == ["A", "B", "C"] and texts["years"] == [1990, None, 2001]
    assert [[texts["vocabulary"][g] for g in item] for item in texts["genres"]] == [["Horror", "Drama"], [], ["Drama"]]


def test_the_payload_stays_the_same_when_only_values_change() -> None:
    moved = [x._replace(value=1.0) for x in NEURONS]
    assert steer._pack("k", tiny()) == steer._pack("k", tiny(neurons=moved, version=4, can_add=True))


@pytest.mark.parametrize(
    "change",
    [
        {"base_scores": np.array([3, 2, 1.5], np.float32)}, {"seen": np.array([1])}, {"n": 3},
        {"neurons": NEURONS[:1]}, {"neurons": NEURONS[::-1]}, {"reconstructed": np.array([0, 1])},
    ],
)  # fmt: skip
def test_the_fingerprint_changes_with_what_is_shown(change: dict[str, object]) -> None:
    assert steer._pack("k", tiny())[0] != steer._pack("k", tiny(**change))[0]


def test_long_titles_are_cut_and_broken_ones_survive() -> None:
    raw = ["x" * 10_000, "half \ud800", "<b>", "two\nlines\x00", " ", "👩‍👧 שלום"]
    titles = json.loads(pack_items([(title, None, []) for title in raw]).texts)["titles"]
    assert len(titles[0]) == MAX_TEXT
    assert titles[1:] == ["half ?", "<b>", "two lines", "(no title)", "👩‍👧 שלום"]


@pytest.mark.parametrize(
    "change",
    [
        {"base_scores": np.zeros(2)}, {"base_scores": np.array([1, np.nan, 0])}, {"seen": np.array([3])},
        {"reconstructed": np.array([-1])}, {"neurons": [NEURONS[0]] * 2},
        {"neurons": [NEURONS[0]._replace(neuron=i) for i in range(9)]}, {"neurons": [NEURONS[0]._replace(unit=0.0)]},
        {"neurons": [NEURONS[0]._replace(value=math.nan)]}, {"neurons": [NEURONS[0]._replace(row=np.zeros(4))]},
        {"neurons": [NEURONS[0]._replace(target=SteerTarget("T", np.zeros(4, bool)))]}, {"items": Catalogue(4, b"{}")},
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_a_mistake_of_the_caller(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        steer._check(tiny(**change))


def test_no_script_of_the_element_writes_markup_or_reaches_out() -> None:
    folder = Path(steer.__file__).parent
    scripts = sorted(folder.glob("*.js"))
    assert {p.name for p in scripts} == set(steer._PARTS)
    forbidden = (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "fetch(",
        "XMLHttp",
        "import(",
    )
    for path in scripts:
        assert not [word for word in forbidden if word in path.read_text("utf-8")], path.name
    assert "url(" not in (folder / "steer.css").read_text("utf-8")


# --- in a page ----------------------------------------------------------------------------------------------------


def open_app() -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=20)
    app.query_params["items"] = "300"
    app.query_params["sliders"] = "2"
    return app.run()


def fingerprint() -> str:
    return steer._pack("steer", steer_input(300, 2))[0]


def shown(app: AppTest) -> str:
    return app.text[0].value


def test_the_page_starts_with_the_values_it_gave() -> None:
    app = open_app()
    assert not app.exception
    assert shown(app) == "released=False values=0;0"


def test_released_values_reach_the_page_and_its_list() -> None:
    app = open_app()
    app.session_state["steer"] = {"released": sent([1.5, -0.5], core=fingerprint())}
    app.run()
    assert shown(app) == "released=True values=1.5;-0.5"
    world = steer_input(300, 2)
    expected = rerank(world.base_scores, [x.row for x in world.neurons], [1.5, -0.5], world.seen, 20)
    assert app.text[1].value == "list=" + ",".join(map(str, expected))


def test_values_are_kept_when_the_element_was_away() -> None:
    app = open_app()
    app.session_state["steer"] = {"released": sent([1.5, -0.5], core=fingerprint())}
    app.run()
    app.toggle[0].set_value(True).run()
    app.toggle[0].set_value(False).run()
    assert shown(app).endswith("values=1.5;-0.5")


def test_a_preset_wins_over_what_was_released_before() -> None:
    app = open_app()
    app.session_state["steer"] = {"released": sent([0.3, 0.3], core=fingerprint())}
    app.run()
    app.button[0].click().run()
    assert shown(app) == "released=False values=1.5;1.83333"


def test_a_refused_value_is_told_to_the_person_and_nothing_is_shown() -> None:
    app = open_app()
    app.session_state["steer"] = {"released": sent([math.nan, 0], core=fingerprint())}
    app.run()
    assert "The browser sent values that cannot be" in app.error[0].value
    assert not app.exception and not app.text


# --- where the server computes -----------------------------------------------------------------------------------


def unlike(shape: tuple[int, int]) -> SteerInput:
    neurons = [x._replace(row=None) for x in NEURONS]
    return tiny(neurons=neurons, recompute=lambda _: SteerAnswer(np.zeros(3, "f4"), np.zeros(shape, "f4")))


def test_rows_and_a_server_that_computes_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="rows are given"):
        steer._check(tiny(recompute=lambda _: SteerAnswer(ROW, ROW)))
    with pytest.raises(ValueError, match="row of 7"):
        steer._check(tiny(neurons=[x._replace(row=None) for x in NEURONS]))


def test_an_answer_of_another_shape_is_a_mistake() -> None:
    steer._answer("k", "core", unlike((2, 3)), [0.0, 0.0])
    with pytest.raises(ValueError, match=r"not of \(2, 3\)"):
        steer._answer("k", "core", unlike((1, 3)), [0.0, 0.0])
