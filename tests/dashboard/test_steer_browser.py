"""The steering element in a real Chromium: hands, keys, hostile titles, silence on the wire, and the twin in Python."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dashboard.components import steer
from dashboard.components.steer import SteerInput, SteerNeuron, pack_items, rerank, rescore
from tests.dashboard.browser import needs_chromium, ready, running_app
from tests.dashboard.generated import LABELS, steer_input

pytestmark = [pytest.mark.browser, needs_chromium]

APP = Path(__file__).parent / "apps" / "steer_app.py"
SMALL = "/?items=1000&sliders=3"
ROW = ".steer .steered .row"


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    with running_app(APP) as url:
        yield url


class Wire:
    """Counts what goes over the WebSockets and to other hosts."""

    def __init__(self, page: Page, own: str) -> None:
        self.sent = self.received = self.bytes = 0
        self.foreign: list[str] = []
        self.errors: list[str] = []
        page.on("websocket", self._listen)
        page.on("request", lambda r: None if r.url.startswith((own, "blob:", "data:")) else self.foreign.append(r.url))
        page.on("pageerror", lambda e: self.errors.append(str(e)))

    def _listen(self, socket) -> None:
        socket.on("framesent", lambda _: setattr(self, "sent", self.sent + 1))
        socket.on("framereceived", self._receive)

    def _receive(self, frame: str | bytes) -> None:
        self.received += 1
        self.bytes += len(frame)


@pytest.fixture
def page(browser: Browser, app: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    opened = context.new_page()
    opened.wire = Wire(opened, app)
    yield opened
    errors = opened.wire.errors
    context.close()
    assert errors == []


def visit(page: Page, app: str, path: str = SMALL) -> None:
    page.goto(app + path)
    ready(page, ROW)


def slider(page: Page, j: int) -> Locator:
    return page.locator(".slider input[type=range]").nth(j)


def number(page: Page, j: int) -> Locator:
    return page.locator(".slider input[type=number]").nth(j)


def type_value(page: Page, j: int, text: str) -> None:
    number(page, j).fill(text)
    number(page, j).press("Enter")


def in_python(page: Page, values: str) -> None:
    expect(page.locator(".st-key-python")).to_contain_text(f"values={values}\n", use_inner_text=True)


def steered(page: Page) -> list[str]:
    return page.locator(f"{ROW} .title").all_inner_texts()


def items_of(titles: list[str]) -> list[int]:
    return [int(title.rsplit(" ", 1)[1]) for title in titles]


def python_list(page: Page) -> list[int]:
    text = re.search(r"list=([\d,]+)", page.locator(".st-key-python").inner_text())
    return [int(i) for i in text[1].split(",")] if text else []


def middle(box: dict[str, float]) -> tuple[float, float]:
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


# --- the twin -----------------------------------------------------------------------------------------------------

RUN_TWIN = """([payload, edits]) => {
  const model = readPayload(Uint8Array.from(atob(payload), c => c.charCodeAt(0)));
  return edits.map(values => {
    rescore(model.scores, model.base, model.rows, values);
    const list = Array.from(best(model.scores, model.seen, model.n));
    const ranks = list.slice(0, 3).map(item => rankOf(item, model.scores, model.seen));
    const sum = Array.from(model.scores.slice(0, 5));
    return {list, ranks, sum};
  });
}"""


def test_browser_and_python_give_identical_lists_on_a_thousand_random_edits(browser: Browser) -> None:
    rng = np.random.default_rng(5)
    fine = steer_input(3260, 8)
    coarse = fine._replace(  # many equal scores: the order of ties must agree as well
        base_scores=np.round(fine.base_scores * 4).astype(np.float32) / 4,
        neurons=[x._replace(row=np.round(x.row * 8).astype(np.float32) / 8) for x in fine.neurons],
    )
    page = browser.new_page()
    page.add_script_tag(content=(Path(steer.__file__).parent / "engine.js").read_text("utf-8"))
    for world, size in ((fine, 600), (coarse, 400)):
        units = np.array([x.unit for x in world.neurons])
        edits = rng.uniform(-3, 3, (size, 8)) * units * (rng.random((size, 8)) < 0.6)
        if world is coarse:
            edits = np.round(edits)
        payload = base64.b64encode(steer._pack("k", world)[1]).decode()
        answers = page.evaluate(RUN_TWIN, [payload, edits.tolist()])
        rows = [x.row for x in world.neurons]
        for answer, values in zip(answers, edits, strict=True):
            assert answer["list"] == rerank(world.base_scores, rows, values, world.seen, 20).tolist()
            assert answer["ranks"] == [1, 2, 3]
            scores = rescore(world.base_scores, rows, values)
            assert np.float32(answer["sum"]).tobytes() == scores[:5].tobytes()
    page.close()


def test_the_twins_agree_where_items_run_out_and_scores_are_equal(browser: Browser) -> None:
    base = np.array([0, 1, 1, 0, -np.float32(0.0)], np.float32)
    items = pack_items([(str(i), None, []) for i in range(5)])
    row = np.array([0, 0, 0, 1, 0], np.float32)
    world = SteerInput(items, base, np.array([]), np.array([2]), [SteerNeuron(0, "", 1.0, 0.0, row)])
    page = browser.new_page()
    page.add_script_tag(content=(Path(steer.__file__).parent / "engine.js").read_text("utf-8"))
    payload = base64.b64encode(steer._pack("k", world)[1]).decode()
    answers = page.evaluate(RUN_TWIN, [payload, [[0.0], [1.0], [-1.0]]])
    assert [a["list"] for a in answers] == [[1, 0, 3, 4], [1, 3, 0, 4], [1, 0, 4, 3]]
    page.close()


# --- hands and keys -----------------------------------------------------------------------------------------------


def test_sliders_at_zero_show_the_original_list_and_say_so(page: Page, app: str) -> None:
    visit(page, app)
    original = page.locator(".steer .original .title").all_inner_texts()
    assert len(original) == 20 and steered(page) == original
    expect(page.locator(".caption")).to_have_text("Sliders at zero: the original list, 20 of 20 the same.")
    assert page.locator(f"{ROW} .glyph").all_inner_texts() == ["="] * 20
    world = steer_input(1000, 3)
    assert items_of(original) == rerank(world.base_scores, [], [], world.seen, 20).tolist()


def test_keys_move_a_slider_and_python_gets_the_value(page: Page, app: str) -> None:
    visit(page, app)
    slider(page, 0).focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    expect(number(page, 0)).to_have_value("0.6")
    in_python(page, "0.9;0;0")
    page.keyboard.press("End")
    in_python(page, "4.5;0;0")
    assert items_of(steered(page)) == python_list(page)
    expect(page.locator(".slider").first).to_contain_text("▲ promote")
    assert slider(page, 0).get_attribute("aria-valuetext") == "+3.00 times strong"


def test_a_typed_number_is_taken_and_limited_to_the_range(page: Page, app: str) -> None:
    visit(page, app)
    type_value(page, 1, "-0.73")
    in_python(page, "0;-1.33833;0")
    expect(page.locator(".slider").nth(1)).to_contain_text("▼ suppress")
    type_value(page, 1, "99")
    in_python(page, "0;5.5;0")
    slider(page, 0).focus()
    expect(number(page, 1)).to_have_value("3")
    type_value(page, 1, "")
    slider(page, 0).focus()
    expect(number(page, 1)).to_have_value("3")
    assert items_of(steered(page)) == python_list(page)


def test_undo_redo_and_reset_work_with_buttons_and_keys(page: Page, app: str) -> None:
    visit(page, app)
    type_value(page, 0, "1")
    in_python(page, "1.5;0;0")
    type_value(page, 2, "-1")
    in_python(page, "1.5;0;-2.16667")
    slider(page, 0).focus()
    page.keyboard.press("Control+z")
    in_python(page, "1.5;0;0")
    page.get_by_role("button", name="Undo").click()
    in_python(page, "0;0;0")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    page.get_by_role("button", name="Redo").click()
    in_python(page, "1.5;0;0")
    slider(page, 0).focus()
    page.keyboard.press("Control+Shift+Z")
    in_python(page, "1.5;0;-2.16667")
    page.get_by_title("All sliders to zero").click()
    in_python(page, "0;0;0")
    slider(page, 0).focus()
    page.keyboard.press("Control+z")
    in_python(page, "1.5;0;-2.16667")


def test_a_row_of_key_presses_is_one_step_of_undo(page: Page, app: str) -> None:
    visit(page, app)
    slider(page, 0).focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    expect(number(page, 0)).to_have_value("0.3")
    page.keyboard.press("Control+z")
    expect(number(page, 0)).to_have_value("0")


def test_mute_silences_a_slider_and_leaves_its_thumb(page: Page, app: str) -> None:
    visit(page, app)
    before = steered(page)
    type_value(page, 0, "2")
    in_python(page, "3;0;0")
    assert steered(page) != before
    page.get_by_role("button", name=f"Mute {LABELS[0]}").click()
    in_python(page, "0;0;0")
    assert steered(page) == before
    expect(number(page, 0)).to_have_value("2")
    page.get_by_role("button", name=f"Unmute {LABELS[0]}").click()
    in_python(page, "3;0;0")


def test_removing_a_concept_keeps_the_values_of_the_others(page: Page, app: str) -> None:
    visit(page, app)
    type_value(page, 1, "1")
    in_python(page, "0;1.83333;0")
    page.get_by_role("button", name=f"Remove {LABELS[0]}").click()
    in_python(page, "1.83333;0")
    expect(page.locator(".slider")).to_have_count(2)
    expect(number(page, 0)).to_have_value("1")
    for label in LABELS[1:3]:
        page.get_by_role("button", name=f"Remove {label}").click()
        expect(page.locator(".slider .label", has_text=label)).to_have_count(0)
    expect(page.locator(".steer .empty")).to_contain_text("No concept chosen yet")
    assert page.locator(f"{ROW} .glyph").all_inner_texts() == ["="] * 20


def test_a_preset_of_the_page_moves_the_sliders_and_can_be_undone(page: Page, app: str) -> None:
    visit(page, app)
    type_value(page, 0, "-1")
    in_python(page, "-1.5;0;0")
    page.get_by_role("button", name="Preset").click()
    in_python(page, "1.5;1.83333;2.16667")
    expect(number(page, 2)).to_have_value("1")
    page.get_by_role("button", name="Undo").click()
    in_python(page, "-1.5;0;0")


def test_values_survive_when_the_element_was_away(page: Page, app: str) -> None:
    visit(page, app)
    type_value(page, 0, "1.2")
    in_python(page, "1.8;0;0")
    moved = steered(page)
    toggle = page.locator("[data-testid=stCheckbox] label")
    toggle.click()
    expect(page.locator(".steer")).to_have_count(0)
    toggle.click()
    ready(page, ROW)
    expect(number(page, 0)).to_have_value("1.2")
    assert steered(page) == moved


# --- what the lists say -------------------------------------------------------------------------------------------


def test_the_waterfall_sums_to_the_change_of_the_score(page: Page, app: str) -> None:
    visit(page, app)
    type_value(page, 0, "1.5")
    type_value(page, 1, "-2")
    in_python(page, "2.25;-3.66667;0")
    row = page.locator(ROW).first
    item = items_of(row.locator(".title").all_inner_texts())[0]
    row.focus()
    page.keyboard.press("Enter")
    why = page.locator(".why")
    expect(why.locator(".what")).to_have_text(row.locator(".title").inner_text())
    amounts = [float(t.replace("−", "-")) for t in why.locator(".step:not([hidden]) .amount").all_inner_texts()]
    world = steer_input(1000, 3)
    pushes = [2.25 * world.neurons[0].row[item], -3.66667 * world.neurons[1].row[item]]
    expected = [world.base_scores[item], *pushes, sum(pushes), world.base_scores[item] + sum(pushes)]
    assert amounts == pytest.approx(expected, abs=2e-3)
    scores = rescore(world.base_scores, [x.row for x in world.neurons], [2.25, -5.5 / 1.5, 0])
    unseen = np.setdiff1d(np.arange(1000), world.seen)
    before = 1 + int((world.base_scores[unseen] > world.base_scores[item]).sum())
    after = 1 + int((scores[unseen] > scores[item]).sum())
    expect(why.locator(".ranks")).to_have_text(f"Rank {before} → {after}")
    page.get_by_role("button", name="Close").click()
    expect(why.locator(".kicker")).to_have_text("biggest change")


def test_glyphs_numbers_and_departed_items_agree_with_the_lists(page: Page, app: str) -> None:
    visit(page, app)
    type_value(page, 0, "2")
    in_python(page, "3;0;0")
    world = steer_input(1000, 3)
    rows = [x.row for x in world.neurons]
    before = rerank(world.base_scores, rows, [0, 0, 0], world.seen, 20).tolist()
    after = rerank(world.base_scores, rows, [3, 0, 0], world.seen, 20).tolist()
    assert items_of(steered(page)) == after
    expected = []
    for r, item in enumerate(after):
        by = before.index(item) - r if item in before else None
        expected.append("NEW" if by is None else f"▲ {by}" if by > 0 else f"▼ {-by}" if by < 0 else "=")
    assert page.locator(f"{ROW} .glyph").all_inner_texts() == expected
    gone = [i for i in before if i not in after]
    assert gone, "the edit must change the list"
    expect(page.locator(".fact.kept strong")).to_have_text(f"{20 - len(gone)} of 20")
    expect(page.locator(".fact.fresh strong")).to_have_text(str(len(gone)))
    target = world.neurons[0].target
    assert target is not None
    horror = [sum(bool(target.mask[i]) for i in items) for items in (before, after)]
    expect(page.locator(".fact.target strong")).to_have_text(f"{horror[0]} → {horror[1]} of 20")
    assert items_of(page.locator(".departed .left bdi").all_inner_texts()) == gone
    assert page.locator(".original .row[data-gone=true]").count() == len(gone)


def test_the_three_lists_show_what_the_sae_costs(page: Page, app: str) -> None:
    visit(page, app)
    page.get_by_role("button", name="Three lists").click()
    world = steer_input(1000, 3)
    original = rerank(world.base_scores, [], [], world.seen, 20).tolist()
    lost = len(set(world.reconstructed.tolist()) - set(original))
    expect(page.locator(".tax")).to_contain_text(f"The SAE alone changes {lost} of 20")
    columns = [items_of(c.locator(".title").all_inner_texts()) for c in page.locator(".three .column").all()]
    assert columns == [original, world.reconstructed.tolist(), original]


def test_the_table_says_the_same_as_the_ribbons(page: Page, app: str) -> None:
    visit(page, app)
    type_value(page, 0, "2")
    in_python(page, "3;0;0")
    titles, glyphs = steered(page), page.locator(f"{ROW} .glyph").all_inner_texts()
    page.get_by_role("button", name="Table").click()
    assert page.locator(".steer td.title").all_inner_texts() == titles
    assert page.locator(".steer td.move").all_inner_texts() == glyphs
    slider(page, 0).focus()
    page.keyboard.press("Home")
    in_python(page, "-4.5;0;0")
    assert items_of(page.locator(".steer td.title").all_inner_texts()) == python_list(page)


# --- silence, speed of the wire, hostility ------------------------------------------------------------------------


def test_nothing_goes_over_the_wire_during_a_drag_and_little_after_it(page: Page, app: str) -> None:
    visit(page, app, "/?items=20000&sliders=8")
    loaded = page.wire.bytes
    page.wait_for_timeout(500)
    x, y = middle(slider(page, 0).bounding_box())
    page.mouse.move(x, y)
    page.mouse.down()
    before = page.wire.sent, page.wire.received
    lists = set()
    for step in range(1, 41):
        page.mouse.move(x + 2 * step, y)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        lists.add(tuple(steered(page)))
    assert len(lists) > 5, "the list must move with the thumb"
    assert (page.wire.sent, page.wire.received) == before
    page.mouse.up()
    expect(page.locator(".st-key-python")).to_contain_text("released=True")
    ready(page)
    assert page.wire.sent > before[0]
    assert items_of(steered(page)) == python_list(page)
    assert page.wire.bytes - loaded < 60_000 < loaded, "the payload must not be sent again"


def test_hostile_titles_are_text_and_nothing_but_text(page: Page, app: str) -> None:
    visit(page, app, "/?items=400&sliders=8&hostile=1")
    type_value(page, 0, "2")
    for name in ("Table", "Three lists", "Ribbons"):
        page.get_by_role("button", name=name).click()
    page.locator(ROW).first.click()
    page.wait_for_timeout(500)
    assert page.evaluate("() => window.__pwned") is None
    assert page.wire.foreign == []
    shown = " ".join(steered(page))
    assert "<img src=x onerror=" in shown and "<script>" in shown and "\\frac{1}{0}" in shown
    assert page.locator(".steer :is(img, script, a, iframe, b, object)").count() == 0
    wide = page.evaluate("() => { const m = document.querySelector('[data-testid=stMain]'); return m.scrollWidth - m.clientWidth }")  # noqa: E501  # fmt: skip
    assert wide <= 1


def test_values_that_cannot_be_are_refused_by_python(page: Page, app: str) -> None:
    def spoil(socket) -> None:
        server = socket.connect_to_server()
        socket.on_message(
            lambda m: server.send(m.replace(b'"values":[1.5,', b'"values":[NaN,') if type(m) is bytes else m)
        )
        server.on_message(socket.send)

    page.route_web_socket(re.compile(r"_stcore/stream"), spoil)
    visit(page, app)
    type_value(page, 0, "1")
    expect(page.locator("[data-testid=stAlert]")).to_contain_text("The browser sent values that cannot be")


# --- looks that a machine can check -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 700, 1000, 1440])
def test_every_width_keeps_sliders_and_list_together_without_overflow(browser: Browser, app: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    visit(page, app)
    page.mouse.move(width / 2, 400)
    page.mouse.wheel(0, 150)
    page.wait_for_timeout(200)
    wide = page.evaluate("() => { const m = document.querySelector('[data-testid=stMain]'); return m.scrollWidth - m.clientWidth }")  # noqa: E501  # fmt: skip
    assert wide <= 1
    thumb, row = slider(page, 0).bounding_box(), page.locator(ROW).nth(4).bounding_box()
    for box in (thumb, row):
        assert box["y"] >= 0 and box["y"] + box["height"] <= 844, "both must be in sight"
    for control in page.locator(".steer :is(button, input)").all():
        if control.is_visible():
            assert control.bounding_box()["height"] >= 24
    page.close()


def test_the_height_of_the_element_stays_while_a_thumb_moves(page: Page, app: str) -> None:
    visit(page, app)
    element = page.locator(".steer .lists")
    before = element.bounding_box()["height"]
    slider(page, 0).focus()
    for key in ("End", "Home", "PageUp"):
        page.keyboard.press(key)
        page.wait_for_timeout(60)
        assert element.bounding_box()["height"] == before


def test_the_tints_follow_the_theme(browser: Browser, app: str) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme, viewport={"width": 1440, "height": 900})
        visit(page, app)
        type_value(page, 0, "1")
        colours[scheme] = page.locator(".slider .word").first.evaluate("e => getComputedStyle(e).color")
        page.close()
    assert colours == {"light": "rgb(0, 114, 178)", "dark": "rgb(86, 180, 233)"}


# --- scorers that are not linear ------------------------------------------------------------------------------------

CURVED = "/?items=1000&sliders=3&curved=1"


def test_where_scores_are_not_linear_the_old_list_dims_and_the_servers_list_follows(page: Page, app: str) -> None:
    visit(page, app, CURVED)
    root = page.locator(".steer")
    expect(root).not_to_have_attribute("data-waiting", "")
    expect(page.locator(".caption")).to_contain_text("20 of 20 the same")
    before = steered(page)
    assert items_of(before) == python_list(page)
    type_value(page, 0, "2.5")
    expect(root).to_have_attribute("data-waiting", "")
    assert steered(page) == before, "nothing is guessed while the server computes"
    in_python(page, "3.75;0;0")
    expect(root).not_to_have_attribute("data-waiting", "")
    assert steered(page) != before
    assert items_of(steered(page)) == python_list(page)
    expect(page.locator(".speed")).to_contain_text("ranked by the server")
    page.get_by_role("button", name="Undo").click()
    expect(root).not_to_have_attribute("data-waiting", "")
    in_python(page, "0;0;0")
    assert steered(page) == before


def test_the_parts_of_a_change_that_is_not_linear_sum_to_it(page: Page, app: str) -> None:
    visit(page, app, CURVED)
    type_value(page, 0, "2")
    in_python(page, "3;0;0")
    expect(page.locator(".steer")).not_to_have_attribute("data-waiting", "")
    amount = {row: page.locator(f".step.{row} .amount").first for row in ("start", "sum", "end")}
    start, total, end = (float(amount[row].inner_text().replace("−", "-").replace("+", "")) for row in amount)
    assert total > 0 and start + total == pytest.approx(end, abs=0.011)
    expect(page.locator(".why")).to_contain_text("Shapley")


def test_a_linear_scorer_speaks_of_no_shares(page: Page, app: str) -> None:
    visit(page, app)
    type_value(page, 0, "2")
    in_python(page, "3;0;0")
    expect(page.get_by_text("Shapley")).to_be_hidden()
