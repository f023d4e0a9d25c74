"""The pages show a run of every recommender and of every preset, also one whose SAE has nothing that fires."""

from pathlib import Path

import pytest

from core.pipeline import BuildRequest, build
from core.presets import PRESETS
from core.recommenders.base import RECOMMENDERS
from core.workspace import Workspace
from tests.conftest import TINY_SETTINGS
from tests.dashboard.test_pages import PAGES, open_page, shown

SETTINGS = {key: value for key, value in TINY_SETTINGS.items() if key.startswith(("sae", "split"))}
PAIRS = [(name, "knots") for name in RECOMMENDERS] + [("mf", preset) for preset in PRESETS if preset != "knots"]


@pytest.mark.parametrize(("recommender", "preset"), PAIRS)
def test_every_page_shows_it(
    recommender: str, preset: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS if preset == "knots" else {**SETTINGS, "sae.d_sae": "8"}
    run = build(BuildRequest(str(tiny_folder), recommender, preset, settings=settings), Workspace(tmp_path / "w"))
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "w"))
    alive = run.table.frame["alive"]
    assert alive.any() == (recommender != "popularity")
    for page in PAGES:
        html = shown(open_page(page))
        assert "sl-problem" not in html, f"{page}: {html[:400]}"
    assert len(run.report["neurons"]["purity"]) >= 3
