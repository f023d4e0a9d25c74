"""Data and training: what the page says is what was measured."""

import html
import re
import shlex
from pathlib import Path

import pytest

from core.pipeline import BuildRequest, build
from core.recommenders.base import RECOMMENDERS
from core.report import compare_viewers
from core.runs import Run, list_recommenders
from core.workspace import Workspace
from dashboard.models import seconds, signed
from tests.conftest import TINY_SETTINGS, tiny_request
from tests.dashboard.test_pages import metric, open_page, shown

SPLIT = {key: value for key, value in TINY_SETTINGS.items() if key.startswith("split")}


@pytest.fixture(scope="module")
def compared(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of ELSA, and MF trained on the same split."""
    workspace = Workspace(tmp_path_factory.mktemp("training") / "w")
    run = build(tiny_request(tiny_folder), workspace)
    build(BuildRequest(str(tiny_folder), "mf", None, settings=SPLIT), workspace)
    return run


@pytest.fixture
def page(compared: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(compared.workspace.path))
    return shown(open_page("training"))


def card(page: str, title: str) -> str:
    """Give the text of a recommender's card."""
    found = next(c for c in page.split("<section")[1:] if f"<h3>{title}</h3>" in c)
    return html.unescape(re.sub(r"<[^>]+>", " ", found.partition(">")[2]))


def test_every_recommender_has_a_card_and_says_whether_it_is_trained(page: str) -> None:
    trained = {"elsa", "mf", "popularity", "ease"}
    for name, entry in RECOMMENDERS.items():
        text = card(page, entry.title)
        assert html.unescape(entry.fold_in) in text
        assert ("nDCG@20" in text) == (name in trained), name
    assert "in use" in card(page, "ELSA") and "in use" not in card(page, "EASE")


def test_the_figures_of_a_card_are_those_of_the_report(page: str, compared: Run) -> None:
    metrics, text = compared.report["recommender"], card(page, "ELSA")
    low, high = metrics["ndcg_at_20_interval"]
    assert f"{metrics['ndcg_at_20']:.4f} [{low:.4f}, {high:.4f}], recall@20 {metrics['recall_at_20']:.4f}" in text
    assert "of one core" in text


def test_a_recommender_is_compared_with_the_references_viewer_by_viewer(page: str, compared: Run) -> None:
    found = {m.config["name"]: m.id for m in list_recommenders(compared.workspace, compared.ids["split"])}
    tables = {name: compared.workspace.tables("recommender", found[name])["viewers"] for name in ("elsa", "popularity")}
    change = compare_viewers(tables["popularity"], tables["elsa"], "ndcg_at_20", compared.seed)
    assert f"vs Popularity {signed(*change)}" in " ".join(card(page, "ELSA").split())
    assert "vs EASE" in card(page, "Matrix factorisation") and "vs EASE" not in card(page, "EASE")


def test_the_command_of_a_card_trains_on_the_same_split(
    page: str, compared: Run, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(card(page, "Alternating least squares").split("python -m core", 1)[1])
    assert words[0] == "build" and words[words.index("--recommender") + 1] == "als" and "--preset" not in words
    assert words[words.index("--workspace") + 1] == str(compared.workspace.path)
    settings = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "--set")
    assert settings == SPLIT
    assert words[words.index("--dataset") + 1] == "tiny"


def test_the_strip_counts_the_log(compared: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(compared.workspace.path))
    app = open_page("training")
    assert metric(app, "Viewers") == "90" and metric(app, "Titles") == "60"
    assert metric(app, "Interactions") == f"{compared.full.n_interactions:,}"
    assert metric(app, "Median history") == "14"


def test_a_recommender_alone_can_be_looked_at_before_there_is_an_sae(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(BuildRequest(str(tiny_folder), "mf", None, settings=SPLIT), Workspace(tmp_path / "w"))
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "w"))
    html_ = shown(open_page("training"))
    assert "nDCG@20" in card(html_, "Matrix factorisation") and "“sae” is missing" in html_


def test_what_folding_in_costs_is_on_the_card(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "w")
    build(BuildRequest(str(tiny_folder), "bpr", None, settings=SPLIT), workspace)
    meta = next(m for m in workspace.artefacts("recommender") if m.config["name"] == "bpr")
    loss, (low, high) = meta.metrics["fold_in_ndcg_loss"], meta.metrics["fold_in_ndcg_loss_interval"]
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(workspace.path))
    text = " ".join(card(shown(open_page("training")), "BPR").split())
    assert loss and f"Folding in {signed(-loss, -high, -low)} nDCG@20 for known viewers" in text
    assert "Folding in" not in card(shown(open_page("training")), "EASE")


def test_a_change_is_written_with_its_interval_and_without_a_negative_zero() -> None:
    assert signed(-0.0213, -0.03, -0.0001) == "−2.1 % [−3.0, 0.0]"
    assert signed(1.5, 0.0001, 2.0) == "+150.0 % [0.0, +200.0]"


def test_times_are_rounded_for_planning() -> None:
    assert [seconds(t) for t in (0.3, 8.4, 200, 5400)] == ["1 s", "8 s", "3 min", "90 min"]
