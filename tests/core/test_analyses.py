"""Analyses: made once, found again, left out of nothing."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from core.analyses import base
from core.analyses.base import Analysis, Made, analyse, find, id_of, working_on
from core.errors import ConfigError
from core.progress import Progress
from core.runs import Run, open_run
from core.workspace import ANALYSES, Workspace

seen: list[str | None] = []


def count_items(run: Run, progress: Progress) -> Made:
    """Give the number of items; while it does, tell what the run says it is being analysed for."""
    seen.append(working_on(run))
    return Made({"n": np.array([run.dataset.n_items])}, {"t": pd.DataFrame({"a": [1]})}, {"n": run.dataset.n_items})


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tiny_run: Run) -> Run:
    monkeypatch.setitem(base.KNOWN, "map", Analysis("a count", f"{__name__}:count_items", 10_000 + os.getpid()))
    seen.clear()
    return tiny_run


def test_an_analysis_is_made_once_and_found_in_a_run_opened_anew(known: Run) -> None:
    assert find(known, "map") is None
    assert analyse(known, ["map"]) == ["map"]
    assert analyse(known, ["map"]) == []
    again = find(open_run(known.workspace.path, known.id), "map")
    assert again is not None
    assert again.arrays["n"].tolist() == [known.dataset.n_items]
    assert again.tables["t"]["a"].tolist() == [1]
    assert again.metrics["n"] == known.dataset.n_items


def test_while_it_is_made_others_see_which_and_afterwards_nothing(known: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(base.KNOWN, "map", base.KNOWN["map"]._replace(version=20_000 + os.getpid()))
    analyse(known, ["map"])
    assert seen == ["map"]
    assert working_on(known) is None


def test_what_a_dead_process_left_is_no_work(known: Run) -> None:
    known.workspace.write_text(
        f"{base.WORKING}/{known.id}", "state.json", json.dumps({"pid": 2**22 + 7, "name": "map"})
    )
    assert working_on(known) is None
    known.workspace.write_text(f"{base.WORKING}/{known.id}", "state.json", "[]")
    assert working_on(known) is None


def test_a_new_version_of_a_method_is_another_artefact(known: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = id_of(known, "map")
    monkeypatch.setitem(base.KNOWN, "map", base.KNOWN["map"]._replace(version=3))
    assert id_of(known, "map") != before


def test_an_unknown_analysis_is_named(known: Run) -> None:
    with pytest.raises(ConfigError, match="no analysis 'mpa'"):
        analyse(known, ["mpa"])


def test_every_analysis_has_a_folder_that_checks_look_into(known: Run) -> None:
    assert set(base.KNOWN) <= set(ANALYSES)
    analyse(known, ["map"])
    file = known.workspace.path / "map" / id_of(known, "map") / "t.parquet"
    kept = file.read_bytes()
    file.write_bytes(kept[:-1] + b"x")
    try:
        assert any("t.parquet was changed" in fault for fault in Workspace(known.workspace.path).check())
    finally:
        file.write_bytes(kept)
