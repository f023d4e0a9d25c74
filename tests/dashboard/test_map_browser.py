"""The map in a real Chromium: a click opens a concept, a box selects, titles that try to be markup stay text."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from core.analyses.base import analyse
from core.runs import Run
from tests.dashboard.browser import ROOT, needs_chromium, ready, running_app

pytestmark = [needs_chromium, pytest.mark.browser]
APP = ROOT / "dashboard" / "app.py"
CHART = ".js-plotly-plot .nsewdrag"
PLACE = """(k) => {
  const chart = document.querySelector('.js-plotly-plot'), box = chart.getBoundingClientRect();
  const { xaxis, yaxis } = chart._fullLayout, trace = chart._fullData[0];
  return [box.x + xaxis._offset + xaxis.d2p(trace.x[k]), box.y + yaxis._offset + yaxis.d2p(trace.y[k]),
    String(trace.customdata[k])];
}"""


@pytest.fixture(scope="module")
def app(hostile_run: Run) -> Iterator[str]:
    """The address of the app on the hostile run, with its map."""
    analyse(hostile_run, ["map"])
    with running_app(APP, env={"STEERLENS_WORKSPACE": str(hostile_run.workspace.path)}) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    yield context.new_page()
    context.close()


def test_a_hover_shows_text_and_a_click_opens_the_concept(page: Page, app: str, hostile_run: Run) -> None:
    page.goto(f"{app}/map")
    ready(page, CHART)
    x, y, neuron = page.evaluate(PLACE, 0)
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    text = page.locator(".hoverlayer .hovertext").first.text_content(timeout=20_000)
    label = str(hostile_run.table.frame["label"].iloc[int(neuron)])
    assert text is not None and label[:12] in text, "as it is written, brackets and all"
    page.mouse.click(x, y)
    page.wait_for_url(f"**/concept?neuron={neuron}", timeout=30_000)


def test_a_box_selects_points_for_the_table_and_for_a_list(page: Page, app: str) -> None:
    page.goto(f"{app}/map?map=titles")
    ready(page, CHART)
    page.locator(".modebar-btn[data-title='Box Select']").click()
    box = page.locator(CHART).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 5, steps=8)
    page.mouse.up()
    page.wait_for_selector("h2.sl-section:has-text('selected')", timeout=30_000)
    ready(page)
    n = int(page.locator("h2.sl-section small").inner_text().split()[0])
    assert 0 < n < 60
    assert page.get_by_role("button", name="Save as a list").is_enabled()
    assert page.url.endswith("/map?map=titles"), "a selection is no click"
    assert page.evaluate("window.__pwned === undefined")
