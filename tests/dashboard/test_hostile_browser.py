"""Every page in a real Chromium, on a catalogue that tries to be code: nothing runs, leaves, fails or overlaps."""

from collections.abc import Iterator
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Browser, Page

from core.analyses.base import analyse
from core.runs import Run
from tests.dashboard.browser import ROOT, needs_chromium, ready, running_app

pytestmark = [needs_chromium, pytest.mark.browser]
APP = ROOT / "dashboard" / "app.py"
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py") if path.stem != "__init__")
QUERIES = {"overview": "", "steer": "steer?edit=8:add:1.0"}
"""Addresses that are not the name of the page."""

OVERLAPS = """() => {
  // Text that is drawn over other text: rectangles of its lines, cut to what their boxes let through.
  const lines = [];
  const walk = (root, boxes) => {
    for (const node of root.childNodes) {
      if (node.nodeType === 3 && node.textContent.trim().length > 1) {
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const r of range.getClientRects()) {
          let [l, t, e, b] = [r.left, r.top, r.right, r.bottom];
          for (const box of boxes) {
            [l, t] = [Math.max(l, box.left), Math.max(t, box.top)];
            [e, b] = [Math.min(e, box.right), Math.min(b, box.bottom)];
          }
          if (e - l > 3 && b - t > 3) lines.push({l, t, e, b, node, text: node.textContent.trim().slice(0, 40)});
        }
      } else if (node.nodeType === 1) {
        const style = getComputedStyle(node);
        if (!node.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
        if (/^(SCRIPT|STYLE|SVG|CANVAS)$/i.test(node.tagName)) continue;
        if (node.matches('[data-testid="stIconMaterial"], [data-testid="stTooltipContent"], [role=tooltip]')) continue;
        if (node.matches('.sr-only, [aria-hidden=true]')) continue;
        const inner = style.overflow === 'visible' ? boxes : [...boxes, node.getBoundingClientRect()];
        if (node.shadowRoot) walk(node.shadowRoot, inner);
        walk(node, inner);
      }
    }
  };
  const main = document.querySelector('[data-testid="stMain"]');
  walk(main, []);
  const found = [];
  for (let i = 0; i < lines.length; i++) for (let j = i + 1; j < lines.length; j++) {
    const [a, c] = [lines[i], lines[j]];
    if (a.node === c.node) continue;
    const wide = Math.min(a.e, c.e) - Math.max(a.l, c.l), high = Math.min(a.b, c.b) - Math.max(a.t, c.t);
    if (wide > 4 && high > 0.45 * Math.min(a.b - a.t, c.b - c.t)) found.push(`${a.text} | ${c.text}`);
  }
  return [...new Set(found)].slice(0, 5);
}"""


@pytest.fixture(scope="module")
def app(hostile_run: Run) -> Iterator[str]:
    """The address of the app on the hostile run, with everything that can be known of it."""
    analyse(hostile_run)
    with running_app(APP, env={"STEERLENS_WORKSPACE": str(hostile_run.workspace.path)}) as address:
        yield address


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
@pytest.mark.parametrize("name", PAGES)
def test_a_hostile_catalogue_is_text_on_every_page(
    browser: Browser, app: str, name: str, scheme: str, width: int
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    foreign: list[str] = []
    raised: list[str] = []
    page.on("request", lambda r: foreign.append(r.url) if urlparse(r.url).hostname not in ("127.0.0.1", None) else None)
    page.on("pageerror", lambda e: raised.append(str(e)))
    page.on("dialog", lambda d: (raised.append(f"dialog {d.message}"), d.dismiss()))
    page.goto(f"{app}/{QUERIES.get(name, name)}")
    ready(page, ".sl-head")
    page.wait_for_timeout(500)
    ready(page)
    assert healthy(page, width) == []
    open_everything(page)
    assert healthy(page, width) == []
    assert foreign == []
    assert raised == []
    context.close()


def open_everything(page: Page) -> None:
    """Click on every tab and every fold of the page."""
    for selector in ("[data-testid=stTab]", "[data-testid=stMain] summary"):
        for part in page.locator(selector).all():
            if part.is_visible():
                part.click()
                ready(page)
    page.wait_for_timeout(300)


def healthy(page: Page, width: int) -> list[str]:
    """Say what is wrong with a page."""
    wrong = []
    if page.evaluate("window.__pwned !== undefined"):
        wrong.append("a script of the catalogue ran")
    if page.locator("a[href*='evil.test'], a[href^='javascript:'], a[href^='mailto:']").count():
        wrong.append("a link that the catalogue made")
    if page.locator("[data-testid=stException]").count():
        wrong.append("a raw exception")
    if page.get_by_text("Something went wrong here").count():
        wrong.append("the page failed")
    if page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") > width:
        wrong.append("wider than the window")
    return wrong + [f"overlap: {pair}" for pair in page.evaluate(OVERLAPS)]
