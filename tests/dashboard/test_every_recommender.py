"""The pages show a run of every recommender and of every preset, also one whose SAE has nothing that fires."""

from pathlib import Path

import numpy as np
import pytest

from core.pipeline import BuildRequest, build
from core.presets import PRESETS
from core.recommenders.base import RECOMMENDERS, rank
from core.runs import Run
from core.steering.contributions import contributions
from core.steering.steering import Edit, Steering, steer
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
    check_steering(run)


def check_steering(run: Run) -> None:
    """No edits give the recommender's own list, and what edits contribute is what changes."""
    u, seen, score = run.embedding(0), [run.dataset.history(0)], run.recommender.score
    still = run.three_lists(u, seen, Steering(), 10)
    assert np.array_equal(still.original, still.steered)
    edits = Steering((Edit(0, "add", 2.0), Edit(1, "add", -1.0), Edit(3, "set", 0.5)))
    change = (score(steer(u, edits, run.sae)) - score(u))[0]
    parts = contributions(u, edits, run.sae, run.recommender).by_neuron
    np.testing.assert_allclose(parts.sum(axis=0), change, atol=1e-3 * max(1.0, np.abs(score(u)).max()))
    moved = run.three_lists(u, seen, edits, 10)
    assert np.array_equal(moved.steered, rank(score(steer(u, edits, run.sae)), 10, seen))
