"""The pages show a model that was brought along: with a log, without one, and without vectors of users."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from core.data.brought import Tables
from core.imports import EmbeddingsRequest, bring_embeddings
from core.pipeline import adopt, adopt_sae
from core.runs import Run, open_recommender
from core.sae.model import GateKind
from core.steering.steering import Steering
from core.workspace import Workspace
from tests.conftest import TINY_SETTINGS
from tests.dashboard.test_every_recommender import check_steering
from tests.dashboard.test_pages import PAGES, metric, open_page, shown

SETTINGS = {key: value for key, value in TINY_SETTINGS.items() if key.startswith(("sae", "split"))}
GENRES = 3


def bring(folder: Path, tables: Path, *, log: bool = True, users: bool = True, n_items: int = 60) -> Run:
    """Bring a model whose directions are genres, of the tiny log's catalogue."""
    rng = np.random.default_rng(0)
    genre = np.eye(GENRES, 12)
    items, people = (genre[np.arange(n) % GENRES] + 0.2 * rng.normal(size=(n, 12)) for n in (n_items, 100))
    np.save(folder / "items.npy", items)
    np.save(folder / "users.npy", people)
    (folder / "items.txt").write_text("\n".join(f"film-{n}" for n in range(n_items)))
    (folder / "users.txt").write_text("\n".join(f"viewer {n}" for n in range(3, 103)))
    request = EmbeddingsRequest(
        "brought",
        Tables(tables / "items.csv", tables / "interactions.csv" if log else None),
        folder / "items.npy",
        folder / "users.npy" if users else None,
        item_ids=folder / "items.txt",
        user_ids=folder / "users.txt",
    )
    return adopt(bring_embeddings(request), Workspace(folder / "w"), preset_name="knots", settings=SETTINGS)


CASES = {
    "with all": {},
    "without a log": {"log": False},
    "without users": {"users": False},
    "part of the catalogue": {"n_items": 40},
    "part of the catalogue without a log": {"n_items": 40, "log": False},
}


@pytest.mark.parametrize("case", CASES)
def test_every_page_shows_it(case: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bring(tmp_path, tiny_folder, **CASES[case])  # type: ignore[arg-type]
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "w"))
    assert run.table.frame["alive"].any()
    for page in PAGES:
        html = shown(open_page(page))
        assert "sl-problem" not in html, f"{page}: {html[:400]}"
        assert "nan" not in html.lower().replace("tutorial", ""), page
    check_steering(run)


def test_what_needs_a_log_is_a_dash_with_its_reason(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bring(tmp_path, tiny_folder, log=False)
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "w"))
    popular = [c for c in run.table.frame if "popularity" in c or c.endswith(("head_share", "mid_share", "tail_share"))]
    assert len(popular) == 9 and run.table.frame[popular].isna().all(axis=None)
    assert not any("Niche" in label or "Mainstream" in label for label in run.table.frame["label"])
    assert run.report["recommender"]["ndcg_at_20"] is None or np.isnan(run.report["recommender"]["ndcg_at_20"])
    overview, concept = open_page("overview"), open_page("concept", tab="Who")
    assert "brought without a log" in shown(overview) and "Brought vectors" in shown(overview)
    assert metric(overview, "List quality kept") == "–"
    assert "nothing is known of what is popular" in shown(concept)
    assert "No item makes it fire" not in shown(concept)
    assert "Audience" not in [group.label for group in open_page("concepts").get("button_group")]
    assert "the latest" not in shown(open_page("steer"))


def test_a_viewer_can_be_built_for_a_model_without_a_log(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bring(tmp_path, tiny_folder, log=False)
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "w"))
    app = open_page("steer", watched=["film-0", "film-3", "film-6"])
    assert "A viewer built from titles" in shown(app) and "the latest" in shown(app)
    seen = [np.array([0, 3, 6])]
    best = run.three_lists(run.recommender.embed(seen), seen, Steering(), 10).original[0]
    assert (best % GENRES == 0).mean() > 0.8, "films of the same genre"


def test_a_brought_model_has_one_card_that_says_what_it_may_have_learnt(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(tmp_path, tiny_folder)
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "w"))
    html = shown(open_page("training"))
    assert html.count(">in use<") == 1
    assert "may have learnt from the held-out titles" in html
    assert html.count("Done elsewhere") == 1


@pytest.mark.parametrize("gate", ["relu", "topk", "threshold"])
def test_every_page_shows_an_sae_that_was_brought(
    gate: GateKind, tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copytree(tiny_run.workspace.path, tmp_path / "w")
    own = tiny_run.sae
    threshold = np.full(24, 0.05 if gate == "threshold" else 0, np.float32)[: 24 if gate == "threshold" else 0]
    config = replace(own.config, gate=gate, k=4 if gate == "topk" else 0)
    base = open_recommender(tmp_path / "w")
    run = adopt_sae(replace(own, config=config, threshold=threshold), base, name="<b>mine</b>", source={"kind": "npz"})
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "w"))
    assert run.table.frame["alive"].any()
    for page in PAGES:
        html = shown(open_page(page))
        assert "sl-problem" not in html, f"{page}: {html[:400]}"
        assert "<b>mine" not in html, page
        assert "nan" not in html.lower().replace("tutorial", ""), page
    check_steering(run)


def test_a_brought_model_without_an_sae_is_imported_again_with_a_preset_and_not_built(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bring(tmp_path, tiny_folder)
    copytree(tmp_path / "w", tmp_path / "half", ignore=lambda folder, names: {"sae", "neurons"} & set(names))
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "half"))
    html = shown(open_page("quality"))
    assert "python -m core import embeddings ...</span> <span>--preset knots</span>" in html
    assert "core build" not in html and run.ids["sae"]
