"""The pages in a real Chromium: what only a browser shows."""

from collections.abc import Iterator
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Browser, Page

from core.runs import Run
from tests.dashboard.browser import ROOT, needs_chromium, ready, running_app

pytestmark = [needs_chromium, pytest.mark.browser]
APP = ROOT / "dashboard" / "app.py"
PATHS = {
    "/": ".sl-funnel",
    "/concepts": "[data-testid=stDataFrame]",
    "/concept": ".st-key-nearest",
    "/steer": ".sl-head",
}


@pytest.fixture(scope="module")
def app(hostile_run: Run) -> Iterator[str]:
    """The address of the app on the hostile run."""
    with running_app(APP, env={"STEERLENS_WORKSPACE": str(hostile_run.workspace.path)}) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page that may use the clipboard."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("width", [390, 768, 1440])
@pytest.mark.parametrize("path", ["/", "/concepts", "/concept"])
def test_no_page_is_wider_than_its_window(browser: Browser, app: str, path: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844})
    page = context.new_page()
    page.goto(app + path)
    ready(page, PATHS[path])
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width
    context.close()


def test_a_row_of_the_list_opens_its_concept_and_back_leads_to_the_list(page: Page, app: str) -> None:
    page.goto(f"{app}/concepts")
    ready(page, PATHS["/concepts"])
    page.wait_for_timeout(500)  # the grid takes clicks a moment after it is drawn
    box = page.locator("[data-testid=stDataFrame]").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 150, box["y"] + 55)
    page.wait_for_timeout(200)
    page.mouse.down()
    page.wait_for_timeout(60)
    page.mouse.up()
    page.wait_for_url("**/concept?neuron=*")
    ready(page, PATHS["/concept"])
    assert "no. 1 in the list" in page.locator(".sl-kicker").inner_text()
    page.get_by_test_id("stSidebarNavLink").nth(1).click()
    ready(page, PATHS["/concepts"])
    page.wait_for_timeout(500)
    assert urlparse(page.url).path == "/concepts"


def test_a_link_to_a_near_concept_changes_page_and_address_together(page: Page, app: str) -> None:
    page.goto(f"{app}/concept")
    ready(page, PATHS["/concept"])
    before = page.url
    link = page.locator(".st-key-nearest a").first
    number = link.inner_text().rsplit("#", 1)[1].strip()
    link.click()
    page.wait_for_url(f"**/concept?neuron={number}")
    ready(page, PATHS["/concept"])
    assert page.locator(".sl-chip.strong").inner_text() == f"#{number}"
    assert page.url != before


def test_the_copied_link_holds_run_viewer_and_concept(page: Page, app: str, hostile_run: Run) -> None:
    page.goto(f"{app}/concept?neuron=3&viewer=viewer 7")
    ready(page, PATHS["/concept"])
    page.get_by_text("Copy link").click()
    page.get_by_text("Link copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"{app}/concept?")
    for part in ("neuron=3", "viewer=viewer+7", f"run={hostile_run.id}"):
        assert part in copied.replace("%20", "+")


def test_the_logo_and_the_text_follow_the_theme(browser: Browser, app: str) -> None:
    for scheme, name in (("light", "#16172B"), ("dark", "#F2F3FA")):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(app)
        ready(page, PATHS["/"])
        source = page.locator("[data-testid=stSidebar] img").first.get_attribute("src") or ""
        picture = page.evaluate("async (url) => (await fetch(url)).text()", source)
        assert name in picture
        context.close()
