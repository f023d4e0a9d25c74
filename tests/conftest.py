"""What several tests share: a small log whose concepts are known, and a run built on it once."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.pipeline import BuildRequest, build
from core.runs import Run
from core.workspace import Workspace

N_USERS, N_ITEMS = 90, 60
GENRES = ("Horror", "Comedy", "Documentary")
TINY_SETTINGS = {
    "recommender.embedding_size": "12", "recommender.epochs": "3", "recommender.min_steps": "30",
    "split.n_held_out": "2", "sae.d_sae": "24", "sae.k": "4", "sae.n_steps": "150", "sae.batch_size": "64",
}  # fmt: skip


def write_tiny(folder: Path, seed: int = 0) -> Path:
    """Write a generic dataset: three genres of 20 films, viewers who watch mostly one of them."""
    rng = np.random.default_rng(seed)
    genre = np.arange(N_ITEMS) % 3
    rows = []
    for user in range(N_USERS):
        weight = np.where(genre == user % 3, 8.0, 1.0) / (1 + np.arange(N_ITEMS) / 20)
        chosen = rng.choice(N_ITEMS, size=14, replace=False, p=weight / weight.sum())
        rows += [(f"viewer {user}", f"film-{item}", 1_000_000 + k) for k, item in enumerate(chosen)]
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "interactions.csv", index=False)
    pd.DataFrame(
        {
            "item_id": [f"film-{i}" for i in range(N_ITEMS)],
            "title": [f"Film number {i}" for i in range(N_ITEMS)],
            "year": [1950 + i for i in range(N_ITEMS)],
            "genres": [GENRES[g] for g in genre],
        }
    ).to_csv(folder / "items.csv", index=False)
    return folder


def tiny_request(folder: Path, seed: int = 0, **settings: str) -> BuildRequest:
    """Ask for a run on the tiny log that takes a second."""
    return BuildRequest(str(folder), "elsa", "knots", seed=seed, settings=TINY_SETTINGS | settings)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny log."""
    return write_tiny(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def tiny_run(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on the tiny log. Not to be changed."""
    return build(tiny_request(tiny_folder), Workspace(tmp_path_factory.mktemp("workspaces") / "tiny"))


@pytest.fixture(scope="session")
def datasets_dir() -> Iterator[Path]:
    """The folder of real datasets."""
    folder = os.environ.get("DATASETS_DIR")
    if not folder:
        pytest.skip("DATASETS_DIR is not set: it names the folder with the real datasets")
    yield Path(folder)
