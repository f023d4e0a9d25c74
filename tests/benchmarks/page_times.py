"""How long a page takes until it is ready in Chromium, server warm: `python -m tests.benchmarks.page_times WORKSPACE`.

Ready: the script has stopped and the page's own content is drawn. Three ways to a page: `first`, by its address in a
browser that has nothing cached; `again`, the same where the browser was here before; `next`, by a link of the app.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page

from tests.dashboard.browser import READY, chromium, running_app

APP = Path(__file__).resolve().parents[2] / "dashboard" / "app.py"
PAGES = {
    "Overview": ("/", "text=What the lens itself costs", 1.5),
    "Concepts": ("/concepts", '[data-testid="stDataFrame"]', None),
    "Concept": ("/concept", "text=Who it fires for most", 0.7),
    "Viewer": ("/viewer", "text=What pushes the list", None),
    "Item": ("/item", "text=Concepts of its viewers", None),
    "Compare": ("/compare", "text=What they do to lists", None),
    "Steer": ("/steer", ".steer .steered .row", None),
}


def wait(page: Page, selector: str) -> None:
    """Wait until the page is ready."""
    page.wait_for_selector(selector, timeout=60_000)
    page.wait_for_selector(READY, timeout=60_000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--visits", type=int, default=12)
    parser.add_argument("--pages", nargs="+", choices=list(PAGES), default=list(PAGES))
    options = parser.parse_args()
    env = {"STEERLENS_WORKSPACE": str(options.workspace.resolve())}
    with running_app(APP, env=env) as url, chromium() as browser:
        for name in options.pages:
            path, selector, bar = PAGES[name]
            times: dict[str, list[float]] = {"first": [], "again": [], "next": []}
            for visit in range(options.visits + 1):
                context = browser.new_context(viewport={"width": 1440, "height": 900})
                page = context.new_page()
                for kind in ("first", "again"):
                    start = time.perf_counter()
                    page.goto(url + path)
                    wait(page, selector)
                    times[kind].append(time.perf_counter() - start)
                other = "Concepts" if name != "Concepts" else "Overview"
                page.get_by_role("link", name=other, exact=True).click()
                wait(page, PAGES[other][1])
                start = time.perf_counter()
                page.get_by_role("link", name=name, exact=True).click()
                wait(page, selector)
                times["next"].append(time.perf_counter() - start)
                context.close()
                if visit == 0:  # the server's own first visit
                    for values in times.values():
                        values.clear()
            for kind, values in times.items():
                p50, p95 = np.percentile(values, [50, 95])
                limit = "" if bar is None else f"   bar {bar:.1f} s"
                print(f"{name:<10} {kind:<6} p50 {p50:.2f} s  p95 {p95:.2f} s{limit}", flush=True)


if __name__ == "__main__":
    main()
