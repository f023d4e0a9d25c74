"""How long the list of concepts and the map take in Chromium: `python -m tests.benchmarks.explore_times`.

On a run of 16,384 neurons, which is generated once below `--workspace` (some minutes): a log of eight tastes, and an
SAE that was trained for a moment.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Page

from core.analyses.base import analyse
from core.pipeline import BuildRequest, build
from core.runs import Run, list_runs, open_run
from core.workspace import Workspace
from tests.dashboard.browser import READY, chromium, ready, running_app
from tests.dashboard.generated import GENRES

APP = Path(__file__).resolve().parents[2] / "dashboard" / "app.py"
N_USERS, N_ITEMS, N_NEURONS = 3_000, 4_000, 16_384
ADJECTIVES = (
    "Velvet",
    "Broken",
    "Silent",
    "Hidden",
    "Crimson",
    "Lonely",
    "Midnight",
    "Golden",
    "Glass",
    "Paper",
    "Iron",
)
NOUNS = ("Kingdom", "Harbour", "Echo", "Letter", "River", "Orchard", "Garden", "Voyage", "Mirror", "Promise", "Season")


def write_log(folder: Path) -> Path:
    """Write a log of viewers who mostly watch one genre, and its catalogue."""
    rng = np.random.default_rng(0)
    genre = rng.integers(0, len(GENRES), N_ITEMS)
    popular = 1 / (5 + rng.permutation(N_ITEMS)) ** 0.7
    rows = []
    for user in range(N_USERS):
        weight = popular * np.where(genre == user % len(GENRES), 12, 1)
        chosen = rng.choice(N_ITEMS, int(rng.integers(15, 80)), replace=False, p=weight / weight.sum())
        rows += [(f"u{user}", f"i{item}", 1_000_000 + k) for k, item in enumerate(chosen)]
    names = rng.integers(0, len(NOUNS), (N_ITEMS, 2))
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "interactions.csv", index=False)
    pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(N_ITEMS)],
            "title": [f"{ADJECTIVES[a]} {NOUNS[b]} {i}" for i, (a, b) in enumerate(names)],
            "year": rng.integers(1930, 2020, N_ITEMS),
            "genres": [GENRES[g] for g in genre],
        }
    ).to_csv(folder / "items.csv", index=False)
    return folder


def generated(folder: Path) -> Run:
    """Give the generated run with its map, made where it is not there."""
    workspace = Workspace(folder / "workspace")
    known = list_runs(workspace)
    if not known:
        settings = {
            "sae.d_sae": str(N_NEURONS), "sae.k": "48", "sae.n_steps": "150", "recommender.epochs": "5",
        }  # fmt: skip
        build(BuildRequest(str(write_log(folder / "log")), "elsa", "knots", settings=settings), workspace)
    run = open_run(workspace.path)
    analyse(run, ["map"])
    return run


DRAWN = """([ready, before]) => {
  const notes = [...document.querySelectorAll('[data-testid=stMain] .sl-note')].map(e => e.textContent);
  const note = notes.find(text => / concepts/.test(text));
  const grid = document.querySelector('[data-testid=stDataFrame] table[aria-rowcount]');
  if (!note || note === before || !grid || !document.querySelector(ready)) return false;
  const said = Number(note.split(' ')[0].replaceAll(',', ''));
  return Number(grid.getAttribute('aria-rowcount')) === Math.min(said, 1000) + 1 && note;
}"""
"""Whether the sentence above the table is another one, the table has as many rows as it says and the script stopped.

Looked at in every frame: `innerText` would lay the page out each time, and be measured along.
"""
PLACE = """(k) => {
  const chart = document.querySelector('.js-plotly-plot'), box = chart.getBoundingClientRect();
  const { xaxis, yaxis } = chart._fullLayout, trace = chart._fullData.find(t => t.customdata.length > k);
  return [box.x + xaxis._offset + xaxis.d2p(trace.x[k]), box.y + yaxis._offset + yaxis.d2p(trace.y[k])];
}"""
"""Where on the screen the k-th point of the map is."""
TABLE = "[data-testid=stDataFrame] canvas"
CONCEPT = "[data-testid=stMain] .sl-head h1"


def timed(page: Page, note: str, act: Callable[[], None]) -> tuple[float, str]:
    """Act, wait until the table is drawn anew, and give the seconds and the new sentence above it."""
    start = time.perf_counter()
    act()
    note = page.wait_for_function(DRAWN, arg=[READY, note], polling="raf", timeout=60_000).json_value()
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    return time.perf_counter() - start, note


def concepts_times(page: Page, url: str, rounds: int) -> dict[str, list[float]]:
    """Search and filter, in turns; typing itself is not timed, only from Enter on."""
    page.goto(f"{url}/concepts")
    ready(page, TABLE)
    note = page.wait_for_function(DRAWN, arg=[READY, ""]).json_value()
    box, times = page.get_by_role("searchbox"), {"search": [], "title": [], "filter": [], "clear": []}

    def enter(text: str) -> Callable[[], None]:
        box.fill(text)
        return lambda: box.press("Enter")

    def chip(name: str) -> Callable[[], None]:
        area = page.get_by_role("button", name=name, exact=True).bounding_box()
        assert area is not None
        return lambda: page.mouse.click(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)

    for turn in range(rounds + 2):
        name = ("Rare", "Genre", "Common")[turn % 3]
        title = f"{ADJECTIVES[turn % len(ADJECTIVES)]} {NOUNS[turn * 3 % len(NOUNS)]}"
        steps = (
            ("search", GENRES[turn % len(GENRES)]),
            ("title", title),
            ("clear", ""),
            ("filter", None),
            ("clear", None),
        )
        for kind, text in steps:
            act = chip(name) if text is None else enter(text)
            seconds, note = timed(page, note, act)
            if turn >= 2:  # the first ones are the server's own
                times[kind].append(seconds)
    return times


def map_times(page: Page, url: str, rounds: int) -> dict[str, list[float]]:
    """Open the map by a link of the app, and a concept by a click on a point."""
    times: dict[str, list[float]] = {"map": [], "click": []}
    page.goto(f"{url}/concepts")
    ready(page, TABLE)
    for turn in range(rounds + 1):
        start = time.perf_counter()
        page.get_by_role("link", name="Map", exact=True).click()
        page.wait_for_selector(".js-plotly-plot .annotation", timeout=60_000)
        ready(page, TABLE)
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        times["map"].append(time.perf_counter() - start)
        x, y = page.evaluate(PLACE, 11 * turn)
        page.mouse.move(x - 4, y - 4)
        page.mouse.move(x, y)
        page.wait_for_selector(".hoverlayer .hovertext")
        start = time.perf_counter()
        page.mouse.click(x, y)
        page.wait_for_url("**/concept?**", timeout=60_000)
        ready(page, CONCEPT)
        times["click"].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=Path("data/workspaces/explore"))
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    run = generated(options.workspace)
    bars = {"search": 0.5, "title": 0.5, "filter": 0.5, "clear": 0.5, "map": 3.0, "click": 1.2}
    with running_app(APP, env={"STEERLENS_WORKSPACE": str(run.workspace.path.resolve())}) as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        for times in (concepts_times(page, url, options.rounds), map_times(page, url, options.rounds // 2)):
            for kind, values in times.items():
                p50, p95 = np.percentile(values, [50, 95])
                print(
                    f"{kind:<7} n {len(values)}  p50 {p50:.2f} s  p95 {p95:.2f} s   bar {bars[kind]:.1f} s", flush=True
                )


if __name__ == "__main__":
    main()
