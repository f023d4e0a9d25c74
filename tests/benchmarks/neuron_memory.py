"""What a pass over many viewers needs: time and the peak of the resident memory, in a fresh process each.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.neuron_memory [--rows 1000000 2000000 5000000] [--width 64]
        [--neurons 4096] [--active 32] [--folder DIR] [--pairs]

The embeddings are random and lie in one memory-mapped file, which is deleted afterwards; the SAE is random too, since
neither time nor memory depends on what it says. `--pairs` also counts which neurons fire together, in a sample.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from core.neurons.shards import sampled, shards_of, stream_pairs, stream_stats
from core.neurons.table import N_BINS, N_TOP_USERS
from core.sae.model import SAE, SAEConfig
from core.sae.rows import Rows
from tests.benchmarks.sae_memory import high_water_mb

BLOCK = 50_000


def write(file: Path, n_rows: int, width: int) -> None:
    """Write rows of random numbers."""
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(n_rows, width))
    for start in range(0, n_rows, BLOCK):
        block = rows[start : start + BLOCK]
        block[:] = rng.standard_normal(block.shape, np.float32)
    rows.flush()


def random_sae(width: int, n_neurons: int, n_active: int) -> SAE:
    """Give a TopK SAE of random weights."""
    rng = np.random.default_rng(1)
    W = rng.standard_normal((width, n_neurons), np.float32) / np.float32(np.sqrt(width))
    zeros = np.zeros(n_neurons, np.float32), np.zeros(width, np.float32)
    return SAE(SAEConfig(width, n_neurons, "topk", n_active), W, zeros[0], W.T.copy(), zeros[1])


def measure(file: Path, n_rows: int, n_neurons: int, n_active: int, pairs: bool) -> dict[str, float]:
    """Go over the first rows in this process and give what it took."""
    X = Rows([np.load(file, mmap_mode="r")])
    sae, ids = random_sae(X.shape[1], n_neurons, n_active), np.arange(n_rows)
    stream_stats(shards_of(sae, X.__getitem__, ids[:10]), n_neurons, N_TOP_USERS)  # compiled, or read from where it is
    before, start, cpu = high_water_mb(), time.perf_counter(), time.process_time()
    stats = stream_stats(shards_of(sae, X.__getitem__, ids), n_neurons, N_TOP_USERS)
    stats.quantile(0.95), stats.histogram(stats.highest, N_BINS)
    found = {"rows": n_rows, "cpu_s": time.process_time() - cpu, "seconds": time.perf_counter() - start}
    assert stats.n_firing.sum() == n_rows * n_active
    if pairs:
        cpu = time.process_time()
        chosen = ids[sampled(ids, n_rows)]
        counted = stream_pairs(shards_of(sae, X.__getitem__, chosen), n_neurons)
        found |= {"pairs_rows": counted.n_rows, "pairs_cpu_s": time.process_time() - cpu}
    return {name: round(value, 1) for name, value in found.items()} | {
        "peak_mb": high_water_mb(),
        "peak_mb_before": before,
        "rows_mb": round(n_rows * X.shape[1] * 4 / 2**20, 1),
    }


def main() -> None:
    """Write the rows and go over the first so many of them in fresh processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 2_000_000, 5_000_000])
    for name, default in (("width", 64), ("neurons", 4096), ("active", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, help="Where the rows are written; a temporary one by default.")
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--over", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.over:
        print(json.dumps(measure(given.over, given.rows[0], given.neurons, given.active, given.pairs)))
        return
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        file = Path(temporary) / "rows.npy"
        write(file, max(given.rows), given.width)
        for n_rows in given.rows:
            command = [sys.executable, "-m", "tests.benchmarks.neuron_memory", "--over", str(file)]
            command += ["--rows", str(n_rows), "--neurons", str(given.neurons), "--active", str(given.active)]
            command += ["--pairs"] * given.pairs
            print(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
