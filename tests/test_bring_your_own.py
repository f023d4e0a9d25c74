"""The page on bringing your own model: its exports for PyTorch run, and its command opens what they write."""

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from core.__main__ import main
from core.imports import EmbeddingsRequest, ImplicitRequest
from core.runs import Run
from core.workspace import Workspace
from tests.conftest import GENRES

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "bring-your-own.md").read_text(encoding="utf-8")
N_ITEMS, N_USERS, D = 60, 80, 8


def block(heading: str, language: str) -> str:
    """Give the first block of code below a heading."""
    section = PAGE[PAGE.index(heading) :]
    found = re.search(rf"^ *```{language}\n(.*?)^ *```", section, re.DOTALL | re.MULTILINE)
    assert found is not None, heading
    return found[1]


class TwoTowers(torch.nn.Module):
    """Users and items by a table and a layer each."""

    def __init__(self) -> None:
        super().__init__()
        for side, n in (("item", N_ITEMS), ("user", N_USERS)):
            setattr(self, f"{side}_tower", torch.nn.Sequential(torch.nn.Embedding(n, D), torch.nn.Linear(D, D)))


class Sequences(torch.nn.Module):
    """A model that reads a sequence and gives a state after each item."""

    def __init__(self) -> None:
        super().__init__()
        self.item_embedding = torch.nn.Embedding(N_ITEMS + 1, D, padding_idx=0)
        self.reader = torch.nn.GRU(D, D, batch_first=True)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Give (n, length, D)."""
        return torch.as_tensor(self.reader(self.item_embedding(items))[0])


def write_tables(folder: Path) -> None:
    """Write the person's tables."""
    ids = [f"film-{i}" for i in range(N_ITEMS)]
    genres = [GENRES[i % 3] for i in range(N_ITEMS)]
    pd.DataFrame({"item_id": ids, "title": ids, "genres": genres}).to_csv(folder / "items.csv", index=False)
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", ids[i]) for u in range(N_USERS) for i in rng.choice(N_ITEMS, 12, replace=False)]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(folder / "interactions.csv", index=False)


def names() -> dict[str, Any]:
    """Give what a snippet finds in a person's program."""
    torch.manual_seed(0)
    return {
        "item_ids": [f"film-{i}" for i in range(N_ITEMS)],
        "user_ids": [f"u{u}" for u in range(N_USERS)],
        "item_batches": torch.arange(N_ITEMS).split(7),
        "user_batches": torch.arange(N_USERS).split(7),
        "sequences": torch.randint(0, N_ITEMS + 1, (N_USERS, 9)),
    }


@pytest.mark.parametrize(
    ("heading", "model"), [("## PyTorch, two towers", TwoTowers), ("## PyTorch, SASRec", Sequences)]
)
def test_the_export_of_pytorch_runs_and_the_command_opens_it(
    heading: str, model: type[torch.nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)
    known = names() | {"model": model(), "np": np, "torch": torch}
    (tmp_path / "export.py").write_text(block(heading, "python"))
    runpy.run_path(str(tmp_path / "export.py"), init_globals=known)
    command = shlex.split(block("# Bring your own model", "sh").replace("\\\n", " "))
    assert command[:3] == ["python", "-m", "core"]
    assert main([*command[3:], "--set", "split.n_held_out=2"]) == 0
    store = Workspace(tmp_path / "data" / "workspaces" / "mine")
    meta = next(m for m in store.artefacts("recommender") if m.config["name"] == "precomputed")
    run = Run(store, {**meta.parents, "recommender": meta.id})
    assert (run.full.n_users, run.full.n_items, run.recommender.d_in) == (N_USERS, N_ITEMS, D)
    if model is TwoTowers:
        with torch.no_grad():
            expected = known["model"].user_tower(torch.tensor([5])) @ known["model"].item_tower(torch.arange(N_ITEMS)).T
        row = run.full.users.index("u5")
        scores = run.recommender.score(run.recommender.native_users[[row]])  # type: ignore[index]
        items = [run.full.items.index(f"film-{i}") for i in range(N_ITEMS)]
        np.testing.assert_allclose(scores[:, items], expected.numpy(), rtol=1e-4, atol=1e-5)


def test_every_python_block_is_python_and_every_option_is_one() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4
    for code in blocks:
        compile(code, "bring-your-own.md", "exec")
    options = set(re.findall(r"--([a-z][a-z-]+)", PAGE))
    fields = {*EmbeddingsRequest.__dataclass_fields__, *ImplicitRequest.__dataclass_fields__}
    known = {f.replace("_", "-") for f in fields}
    known |= {"item-table", "interactions", "user-table", "set", "preset", "workspace"}
    assert options <= known, options - known


def test_the_page_fits_a_reader() -> None:
    assert len(PAGE.splitlines()) < 160
