"""A hostile brief in a real Chromium: no script runs, nothing is fetched, it fits a phone, and it prints on A4."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.brief.briefs import Remark, concept_brief
from core.runs import Run
from tests.core.brief.test_briefs import HOSTILE, alive
from tests.dashboard.browser import chromium, needs_chromium

PAYLOADS = (
    HOSTILE,
    "<svg onload=window.__pwn=1>",
    "javascript:window.__pwn=1",
    "]]><script>window.__pwn=1</script>",
    "' onmouseover='window.__pwn=1",
    "x" * 10_000,
    "\u202egnp.exe",
    "",
)


@pytest.mark.browser
@needs_chromium
def test_a_hostile_brief_runs_nothing_and_fits_every_page(tiny_run: Run, tmp_path: Path) -> None:
    j = alive(tiny_run)
    run = Run(tiny_run.workspace, tiny_run.ids)
    run.table = replace(tiny_run.table, frame=tiny_run.table.frame.assign(label=HOSTILE))
    items = run.dataset.item_table
    titles = [PAYLOADS[i % len(PAYLOADS)] for i in range(len(items))]
    object.__setattr__(run.dataset, "item_table", items.assign(title=titles))
    file = tmp_path / "brief.html"
    file.write_text(concept_brief(run, j, HOSTILE, [Remark(p, p) for p in PAYLOADS]), encoding="utf-8")
    with chromium() as browser:
        paper = {}
        for scheme, width in (("light", 1200), ("dark", 390)):
            context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
            page = context.new_page()
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("dialog", lambda dialog: pytest.fail(dialog.message))
            page.goto(file.as_uri())
            for element in page.locator("td, h1, .note").all()[:40]:
                element.hover(force=True)
            assert page.evaluate("window.__pwn") is None
            assert asked == [file.as_uri()]
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            paper[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            printed = page.pdf(prefer_css_page_size=True)
            assert (printed.startswith(b"%PDF") and b"595." in printed) or b"594." in printed, "A4"
        assert paper["light"] != paper["dark"]
