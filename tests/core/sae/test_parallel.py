"""Two processes make the steps of one."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import ConfigError
from core.sae.config import TrainConfig
from core.sae.parallel import Peers
from core.sae.trainer import train
from tests.core.sae.planted import planted

ROOT = Path(__file__).resolve().parents[3]
X, _ = planted(n=1000, d_in=12)
PROBES = 2 * X[:200]
CONFIG = TrainConfig(
    d_sae=96,
    k=1,
    mse=1.0,
    auxk_coefficient=0.0,
    init="random",
    n_steps=60,
    batch_size=100,
    dead_after=3,
    item_weight=0.5,
)
"""Without the auxiliary loss every term is a mean over embeddings; many neurons die, and start again."""


def together(out: Path) -> list[tuple[int, str]]:
    """Train by two processes; give what each ended with and said."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.core.sae.one_of_several", str(out)]
    started = [
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | place | {"RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=60)[1] for process in started]
    return [(process.returncode, text) for process, text in zip(started, said, strict=True)]


def test_two_processes_learn_what_one_learns_if_they_were_given_the_same(tmp_path: Path) -> None:
    ends = together(tmp_path / "two")
    assert [code for code, _ in ends] == [0, 0], ends
    sae, history = train(X, CONFIG, seed=0, X_items=PROBES)
    assert history.dead_share.max() > 0.05, "neurons died, and started again"
    expected = {"loss": history.loss, "dead": history.dead_share, **sae.to_arrays()}
    first, second = (np.load(tmp_path / f"two.{rank}.npz") for rank in range(2))
    for name, values in expected.items():
        assert first[name].tobytes() == second[name].tobytes(), name
        np.testing.assert_allclose(first[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_one_process_alone_shares_with_nobody() -> None:
    peers = Peers()
    assert (peers.n, peers.rank) == (1, 0)
    assert peers.share(X) is X
    peers.check_batches([7, 1])


def test_shares_are_every_nth_row_and_make_up_the_batch() -> None:
    peers = [Peers() for _ in range(3)]
    for rank, peer in enumerate(peers):
        peer.n, peer.rank = 3, rank
    rows = np.arange(9)
    assert [peer.share(rows).tolist() for peer in peers] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    with pytest.raises(ConfigError, match="batch_size to 9"):
        peers[0].check_batches([10, 12])


def test_means_come_back_in_their_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_reduce(numbers: torch.Tensor, *_: Any) -> None:
        numbers += torch.arange(len(numbers), dtype=torch.float32)

    monkeypatch.setattr("core.sae.parallel.distributed.all_reduce", all_reduce)
    peers = Peers()
    peers.n = 2
    matrix, number = peers.means([torch.ones(2, 2), torch.tensor(True)])
    assert matrix.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    assert float(number) == 2.5
