"""Embeddings on a disk, in shards: the same training bit for bit, and never all of them in memory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import TrainingError
from core.sae import rows as module
from core.sae.config import TrainConfig
from core.sae.model import SAE
from core.sae.rows import Rows
from core.sae.trainer import train
from tests.core.sae.planted import planted

X, _ = planted(n=3000, d_in=12)
CONFIG = TrainConfig(variant="batchtopk", d_sae=48, k=4, mse=1.0, n_steps=40, batch_size=64, dead_after=5)
N_BLOCK = 100
STATUS = Path("/proc/self/status")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at 100 rows at a time, and map 30."""
    monkeypatch.setattr(module, "BLOCK", N_BLOCK * 12)
    monkeypatch.setattr(module, "MAPPED", 30)


class Shy:
    """An array of which nobody may see many rows at once, or any out of order."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.n_read = array, array.shape, 0

    def __getitem__(self, rows: Any) -> np.ndarray:
        found = self.array[rows]
        assert len(found) <= N_BLOCK, f"{len(found)} rows at once"
        assert isinstance(rows, slice) or (np.diff(rows) >= 0).all(), "out of order"
        self.n_read += len(found)
        return found

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise AssertionError("all rows at once")


def shards(folder: Path, borders: Sequence[int], values: np.ndarray = X) -> list[np.ndarray]:
    """Write rows to several files and open them memory-mapped."""
    opened = []
    for number, part in enumerate(np.split(values, borders)):
        np.save(folder / f"{number}.npy", part)
        opened.append(np.load(folder / f"{number}.npy", mmap_mode="r"))
    return opened


def assert_equal(a: SAE, b: SAE) -> None:
    for (name, mine), (_, other) in zip(a.to_arrays().items(), b.to_arrays().items(), strict=True):
        np.testing.assert_array_equal(mine, other, err_msg=name)


@pytest.mark.parametrize("borders", [[], [1], [700, 1703, 1704]])
@pytest.mark.parametrize("normalisation", ["unit", "global"])
def test_shards_on_a_disk_give_the_same_weights_bit_for_bit(
    borders: list[int], normalisation: Any, tmp_path: Path
) -> None:
    config = replace(CONFIG, normalisation=normalisation)
    probes = X[:150] + 1
    whole, history = train(X, config, seed=0, X_items=probes)
    (tmp_path / "items").mkdir()
    on_disk = shards(tmp_path, borders)
    found, other = train(on_disk, config, seed=0, X_items=shards(tmp_path / "items", [20], probes))
    assert_equal(found, whole)
    np.testing.assert_array_equal(history.loss, other.loss)
    np.testing.assert_array_equal(np.concatenate(on_disk), X)


def test_no_more_rows_than_a_block_are_ever_read_at_once() -> None:
    parts: Any = [Shy(X[:1300]), Shy(X[1300:])]
    found, _ = train(parts, CONFIG, seed=0)
    assert_equal(found, train(X, CONFIG, seed=0)[0])
    n_passes = sum(part.n_read for part in parts) / len(X)
    assert n_passes < 9


def test_rows_come_in_the_order_that_is_asked_for_and_through_what_changes_them() -> None:
    numbers = np.arange(3000.0, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    rows = Rows([numbers[:7], numbers[7:8], numbers[8:]])
    asked = np.array([2999, 0, 7, 6, 8, 7])
    np.testing.assert_array_equal(rows[asked][:, 0], asked)
    np.testing.assert_array_equal(rows.through(np.negative)[asked][:, 0], -asked)
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks())), numbers)
    assert len(next(rows.blocks())) == N_BLOCK * 12 // 3
    np.testing.assert_allclose(rows.mean(), np.full(3, 2999 / 2))


def test_the_mean_of_blocks_of_which_the_last_is_shorter_is_the_mean_of_the_rows() -> None:
    rows = Rows([np.r_[np.zeros(100), np.full(25, 5.0)][:, None].repeat(12, axis=1)])
    np.testing.assert_array_equal(rows.mean(), np.ones(12))  # 25 * 5 / 125, and not the mean of 0 and 5


def test_a_number_that_is_not_finite_is_found_in_the_last_shard() -> None:
    bad = X.copy()
    bad[-1, -1] = np.nan
    with pytest.raises(TrainingError, match="not finite"):
        train([bad[:10], bad[10:]], CONFIG, seed=0)


@pytest.mark.parametrize("parts", [[], [X[:5], X[:5, :3]], [X[0]]])
def test_shards_of_other_shapes_are_a_mistake_of_the_programmer(parts: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="expected"):
        train(parts, CONFIG, seed=0)


def test_what_a_person_has_mapped_for_writing_keeps_what_was_written(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    mapped[0] = 7
    np.testing.assert_array_equal(Rows([mapped])[np.arange(5000) % 3000][0], np.full(12, 7))
    list(Rows([mapped]).blocks())
    np.testing.assert_array_equal(mapped[0], np.full(12, 7))


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells how much of a file is mapped")
def test_pages_of_a_file_do_not_stay_in_memory(tmp_path: Path) -> None:
    def mapped_mb() -> float:
        return int(STATUS.read_text().split("RssFile:")[1].split()[0]) / 2**10

    np.save(tmp_path / "x.npy", np.zeros((2**18, 32), np.float32))  # 32 MiB
    part = np.load(tmp_path / "x.npy", mmap_mode="r")
    rows, before = Rows([part]), mapped_mb()
    rows[np.arange(300) * 873]
    after_some = mapped_mb()
    rows.are_finite()
    assert max(after_some, mapped_mb()) < before + 4
    part.sum()
    assert mapped_mb() > before + 16, "they would stay otherwise"
