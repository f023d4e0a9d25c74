"""The main job in a real Chromium: find a concept, steer with it, share the link, come back."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from core.runs import Run, open_run, steer_viewer
from core.steering.steering import Edit, Steering
from dashboard import state
from tests.dashboard.browser import needs_chromium, ready, running_app

pytestmark = [pytest.mark.browser, needs_chromium]

APP = Path(__file__).resolve().parents[2] / "dashboard" / "app.py"
STEERED = ".steer .steered .row"


@pytest.fixture(scope="module")
def app(tiny_run: Run) -> Iterator[str]:
    with running_app(APP, env={"STEERLENS_WORKSPACE": str(tiny_run.workspace.path)}) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda e: errors.append(str(e)))
    yield opened
    exceptions = opened.locator('[data-testid="stException"]').count()
    context.close()
    assert errors == [] and exceptions == 0


def horror(run: Run) -> int:
    return int(run.report["neurons"]["purity"]["Horror"]["neuron"])


def edits_of(page: Page) -> list[str]:
    return parse_qs(urlparse(page.url).query).get("edit", [])


def titles(page: Page) -> list[str]:
    return page.locator(f"{STEERED} .title").all_inner_texts()


def put(page: Page, place: int, value: str) -> None:
    box = page.locator(".slider input[type=number]").nth(place)
    box.fill(value)
    box.press("Enter")
    page.wait_for_timeout(300)
    ready(page, STEERED)


def test_from_a_concept_to_a_steered_list_and_back(page: Page, app: str, tiny_run: Run) -> None:
    page.goto(f"{app}/concept?neuron={horror(tiny_run)}")
    ready(page, "text=What makes it fire")
    page.get_by_role("button", name="Steer with this").click()
    page.wait_for_url(re.compile(r"/steer\?"))
    ready(page, STEERED)
    assert edits_of(page)[0].startswith(f"{horror(tiny_run)}:add:")
    page.go_back()
    page.wait_for_url(re.compile(r"/concept"))
    ready(page, "text=What makes it fire")


def test_released_values_are_in_the_address_and_survive_a_reload(page: Page, app: str, tiny_run: Run) -> None:
    neuron = horror(tiny_run)
    page.goto(f"{app}/steer?viewer=viewer+4&edit={neuron}:add:0.0")
    ready(page, STEERED)
    before = titles(page)
    put(page, 0, "1.5")
    steered = titles(page)
    assert steered != before
    expect(page).to_have_url(re.compile(rf"edit={neuron}%3Aadd%3A[0-9.]+|edit={neuron}:add:[0-9.]+"))
    value = float(edits_of(page)[0].split(":")[2])
    assert value == pytest.approx(1.5 * float(tiny_run.table.frame["strong_activation"][neuron]), rel=1e-3)
    page.reload()
    ready(page, STEERED)
    assert titles(page) == steered


def test_the_browsers_list_is_pythons_list(page: Page, app: str, tiny_run: Run) -> None:
    rng = np.random.default_rng(3)
    for viewer in ("viewer 4", "viewer 17", "viewer 60"):
        chosen = rng.choice(24, size=3, replace=False)
        unit = tiny_run.table.frame["strong_activation"].to_numpy()
        edits = [Edit(int(j), "add", round(float(rng.uniform(-1.5, 1.5) * unit[j]), 4)) for j in chosen]
        query = "&".join(f"edit={text}" for text in state.edit_texts(Steering(tuple(edits))))
        page.goto(f"{app}/steer?viewer={viewer.replace(' ', '+')}&{query}")
        ready(page, STEERED)
        expected = steer_viewer(tiny_run, viewer, Steering(tuple(edits)), 20)["steered"]
        assert titles(page) == [row["title"] for row in expected]


def test_another_slider_in_focus_keeps_mute_and_undo(page: Page, app: str, tiny_run: Run) -> None:
    frame = tiny_run.table.frame
    pair = frame[frame["alive"]].drop_duplicates("best_concept").head(2)
    page.goto(f"{app}/steer?viewer=viewer+4&" + "&".join(f"edit={j}:add:0.0" for j in pair["neuron"]))
    ready(page, STEERED)
    focus = page.locator(".fact.target span")
    for place, value in ((0, "0.5"), (1, "1.5")):
        put(page, place, value)
        expect(focus).to_have_text(f"{pair['best_concept'].iloc[place]} in the list")
    page.locator(".slider").nth(1).get_by_role("button", name=re.compile("^Mute")).click()
    page.wait_for_timeout(500)
    ready(page, STEERED)
    assert [float(text.split(":")[2]) != 0 for text in edits_of(page)] == [True, False]
    expect(focus).to_have_text(f"{pair['best_concept'].iloc[0]} in the list")
    boxes = page.locator(".slider input[type=number]")
    for expected in (["0.5", "1.5"], ["0.5", "0"], ["0", "0"]):
        page.get_by_role("button", name="Undo").click()
        for place, value in enumerate(expected):
            expect(boxes.nth(place)).to_have_value(value)


def test_a_shared_link_shows_the_same_list_to_somebody_else(browser: Browser, app: str, tiny_run: Run) -> None:
    query = f"viewer=viewer+9&edit={horror(tiny_run)}:add:0.7"
    lists = []
    for _ in range(2):
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        opened = context.new_page()
        opened.goto(f"{app}/steer?{query}")
        ready(opened, STEERED)
        lists.append(titles(opened))
        context.close()
    assert lists[0] == lists[1] and len(lists[0]) == 20


def test_steering_survives_a_look_at_another_page(page: Page, app: str, tiny_run: Run) -> None:
    page.goto(f"{app}/steer?viewer=viewer+4&edit={horror(tiny_run)}:add:0.0")
    ready(page, STEERED)
    put(page, 0, "1")
    steered, edits = titles(page), edits_of(page)
    page.get_by_role("link", name="Concepts", exact=True).click()
    ready(page, '[data-testid="stDataFrame"]')
    page.get_by_role("link", name="Steer", exact=True).click()
    ready(page, STEERED)
    page.wait_for_timeout(500)
    assert titles(page) == steered
    assert edits_of(page) == edits


def test_the_back_button_takes_an_edit_back(page: Page, app: str, tiny_run: Run) -> None:
    page.goto(f"{app}/steer?viewer=viewer+4&edit={horror(tiny_run)}:add:0.5")
    ready(page, STEERED)
    first = titles(page)
    page.goto(f"{app}/steer?viewer=viewer+4&edit={horror(tiny_run)}:add:-0.5")
    ready(page, STEERED)
    assert titles(page) != first
    page.go_back()
    page.wait_for_timeout(500)
    ready(page, STEERED)
    assert titles(page) == first


def test_a_concept_can_be_added_and_removed(page: Page, app: str, tiny_run: Run) -> None:
    page.goto(f"{app}/steer?viewer=viewer+4&edit={horror(tiny_run)}:add:0.5")
    ready(page, STEERED)
    before = titles(page)
    page.get_by_role("combobox", name="Add a concept").click()
    page.get_by_role("option").first.click()
    page.wait_for_function("() => location.search.split('edit=').length === 3")
    ready(page, STEERED)
    expect(page.locator(".slider")).to_have_count(2)
    assert titles(page) == before
    page.locator(".slider").nth(1).get_by_role("button", name=re.compile("Remove")).click()
    expect(page.locator(".slider")).to_have_count(1)
    assert len(edits_of(page)) == 1


def test_a_viewer_can_be_built_from_titles(page: Page, app: str, tiny_run: Run) -> None:
    page.goto(f"{app}/steer?watched=film-0&watched=film-3&watched=film-6")
    ready(page, STEERED)
    expect(page.get_by_text("3 titles in the history")).to_be_visible()
    shown = titles(page)
    items = [tiny_run.dataset.items.index(i) for i in ("film-0", "film-3", "film-6")]
    scores = tiny_run.recommender.score(tiny_run.recommender.embed([np.array(items)]))[0]
    scores[items] = -np.inf
    best = np.argsort(-scores, kind="stable")[:20]
    assert shown == [tiny_run.dataset.titles()[i] for i in best]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/concept?neuron=9999", "no concept #9999"),
        ("/concept?neuron=abc", "no concept"),
        ("/steer?edit=1:add:nan", "expected a"),
        ("/steer?edit=1:add:1e99", "number within"),
        ("/steer?edit=9999:add:1", "no neuron 9999"),
        ("/steer?edit=hello", "is no edit"),
        ("/steer?edit=1:add:1&edit=1:add:2", "edited twice"),
        ("/steer?viewer=nobody", "no viewer"),
        ("/steer?watched=nothing", "nothing"),
        ("/?run=knots-ffffffff", "no run"),
    ],
)
def test_an_address_that_cannot_be_gets_a_card(page: Page, app: str, path: str, message: str) -> None:
    page.goto(app + path)
    ready(page, "text=" + message)
    assert "Traceback" not in page.locator("body").inner_text()


def test_a_run_that_is_open_stays_whole_when_another_is_built(tiny_run: Run) -> None:
    assert open_run(tiny_run.workspace.path, tiny_run.id).ids == tiny_run.ids
