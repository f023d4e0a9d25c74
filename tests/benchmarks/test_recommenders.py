"""The table of recommenders, on a log that takes a second."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import TrainingError
from tests.benchmarks.recommenders import chosen, main
from tests.core.recommenders.blocks import dataset_of


def test_the_table_compares_every_recommender_with_the_references_on_each_split(
    tiny_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = main(["--dataset", str(tiny_folder), "--recommender", "als", "--seed", "1", "2"])
    assert [(r.recommender, r.seed) for r in rows] == [(n, s) for s in (1, 2) for n in ("popularity", "ease", "als")]
    popularity, ease, als = rows[:3]
    gain = als.figures["nDCG@20"] / popularity.figures["nDCG@20"] - 1
    assert als.intervals["to popularity"].mean == pytest.approx(gain, abs=1e-6)
    assert als.intervals["to popularity"].low < gain < als.intervals["to popularity"].high
    assert np.isfinite(als.intervals["loss of fold-in"]).all()
    assert np.isnan([*popularity.intervals["to popularity"], *ease.intervals["loss of fold-in"]]).all()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + 6 + 3 and printed[-1].split()[:2] == ["als", "mean"]


def test_a_recommender_that_cannot_be_fitted_says_why_and_the_others_go_on(
    tiny_folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise TrainingError("It diverged.", "Try again.")

    monkeypatch.setattr("core.recommenders.mf.MF.fit", refuse)
    rows = main(["--dataset", str(tiny_folder), "--recommender", "mf", "ease", "--seed", "3", "4"])
    assert [r.recommender for r in rows] == ["popularity", "ease"] * 2
    assert capsys.readouterr().out.count("It diverged.") == 2


def test_ease_is_no_reference_of_a_catalogue_that_is_too_large_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log = dataset_of([[0, 1, 2]], 3)
    assert chosen(log, ["mf"]) == ["popularity", "ease", "mf"]
    monkeypatch.setattr("tests.benchmarks.recommenders.EASE_LIMIT", 2)
    assert chosen(log, ["mf"]) == ["popularity", "mf"] and chosen(log, ["ease"]) == ["popularity", "ease"]
