"""Workspaces in the three states that every page must be able to show."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from playwright.sync_api import Browser

from core.analyses.base import KNOWN
from core.pipeline import build
from core.runs import Run
from core.workspace import Workspace
from tests.conftest import tiny_request, write_tiny
from tests.dashboard.browser import chromium
from tests.dashboard.generated import HOSTILE

HOSTILE_IDS = ("<img src=x onerror=window.__pwned=1>", "**$\\alpha$**[a](javascript:window.__pwned=1)", "=1+1|a&b?c#d")
HOSTILE_GENRES = ("<b onclick=x>Gore</b>", "$\\frac{1}{0}$ **loud**", "![x](http://evil.test/g.png)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a module."""
    with chromium() as opened:
        yield opened


@pytest.fixture(autouse=True)
def fresh_caches() -> None:
    """Nothing that one test loaded is shown to the next one."""
    st.cache_resource.clear()


@pytest.fixture
def full(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The pages show a finished run: this very value, so that a test can change a part of it."""
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tiny_run.workspace.path))
    monkeypatch.setattr("dashboard.cache.open_run", lambda *_: tiny_run)
    return tiny_run


@pytest.fixture
def unanalysed(full: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The pages show a finished run of which no analysis is there, whatever other tests have made of it."""
    for name, known in KNOWN.items():
        monkeypatch.setitem(KNOWN, name, known._replace(version=10_000))
    return full


@pytest.fixture
def half(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pages show a workspace whose build was stopped after the recommender."""
    for stage in ("dataset", "split", "recommender"):
        shutil.copytree(tiny_run.workspace.path / stage, tmp_path / "half" / stage)
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "half"))
    return tmp_path / "half"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pages show a workspace that does not exist yet."""
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path / "none"))
    return tmp_path / "none"


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run whose titles, genres, tags, ids and attributes try to be markup, scripts, formulas, pictures."""
    folder = write_tiny(tmp_path_factory.mktemp("data") / "hostile")
    items = pd.read_csv(folder / "items.csv")
    writable = [text.replace("\x00", "").encode("utf-8", "ignore").decode() for text in HOSTILE]
    items["title"] = [f"{writable[i % len(writable)]} {i}" for i in range(len(items))]
    items["genres"] = [HOSTILE_GENRES[i % 3] for i in range(len(items))]
    items["tags"] = [f"{HOSTILE_IDS[i % 2]}|{HOSTILE_GENRES[i % 2]} tag" for i in range(len(items))]
    items.to_csv(folder / "items.csv", index=False)
    log = pd.read_csv(folder / "interactions.csv")
    log["user_id"] = log["user_id"].replace({f"viewer {80 + i}": name for i, name in enumerate(HOSTILE_IDS)})
    log.to_csv(folder / "interactions.csv", index=False)
    users = pd.DataFrame({"user_id": log["user_id"].unique()})
    users["<b>age</b> $x$"] = [HOSTILE_GENRES[i % 3] for i in range(len(users))]
    users.to_csv(folder / "users.csv", index=False)
    return build(tiny_request(folder), Workspace(tmp_path_factory.mktemp("workspaces") / "hostile"))


@pytest.fixture
def hostile(hostile_run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The pages show the hostile run."""
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(hostile_run.workspace.path))
    return hostile_run
