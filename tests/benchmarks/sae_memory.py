"""What training on embeddings that lie on a disk needs: the peak of the resident memory, in a fresh process.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.sae_memory [--rows 5000000] [--width 64] [--shards 5] [--steps 1500]
        [--folder DIR] [--in-memory]

`--in-memory` trains on the same rows loaded whole as well, and says whether the weights are the same bit for bit.
"""

import argparse
import hashlib
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from core.report import peak_memory_mb
from core.sae.config import TrainConfig
from core.sae.trainer import train

BLOCK = 50_000
N_DIRECTIONS, N_ACTIVE = 256, 8


def write(folder: Path, n_rows: int, width: int, n_shards: int) -> None:
    """Write rows, each the sum of a few of the same directions and a little noise, to several files."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((N_DIRECTIONS, width)).astype(np.float32)
    for number, rows in enumerate(np.array_split(np.arange(n_rows), n_shards)):
        shape = (len(rows), width)
        shard = np.lib.format.open_memmap(folder / f"{number:03}.npy", mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, len(rows), BLOCK):
            block = shard[start : start + BLOCK]
            noise = 0.1 * rng.standard_normal(block.shape, np.float32)
            chosen = directions[rng.integers(N_DIRECTIONS, size=(len(block), N_ACTIVE))]
            block[:] = (chosen * rng.random((len(block), N_ACTIVE, 1), np.float32)).sum(axis=1) + noise
        shard.flush()


def high_water_mb() -> float:
    """Give the peak of the resident memory of this program, in MiB; `ru_maxrss` counts the one that started it, too."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return round(int(found[1]) / 2**10, 1)


def measure(folder: Path, n_steps: int, in_memory: bool) -> dict[str, float | str]:
    """Train in this process and give what it took."""
    files = sorted(folder.glob("*.npy"))
    before = high_water_mb()
    parts = [np.load(file, mmap_mode=None if in_memory else "r") for file in files]
    X = np.concatenate(parts) if in_memory else parts
    start, cpu = time.perf_counter(), time.process_time()
    config = TrainConfig(variant="topk", d_sae=512, k=32, mse=1.0, cosine=0.0, n_steps=n_steps, batch_size=1024)
    sae, history = train(X, config, seed=0)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in sae.to_arrays().values()))
    return {
        "megabytes_of_rows": round(sum(file.stat().st_size for file in files) / 2**20, 1),
        "peak_mb": high_water_mb(),
        "ru_maxrss_mb": peak_memory_mb(),
        "peak_mb_before": before,
        "cpu_s": round(time.process_time() - cpu, 1),
        "seconds": round(time.perf_counter() - start, 1),
        "page_faults_from_disk": resource.getrusage(resource.RUSAGE_SELF).ru_majflt,
        "last_loss": float(history.loss[-1]),
        "sha256": digest.hexdigest()[:16],
    }


def main() -> None:
    """Write the rows and train on them in fresh processes."""
    parser = argparse.ArgumentParser()
    for name, default in (("rows", 5_000_000), ("width", 64), ("shards", 5), ("steps", 1500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, help="Where the rows are written, and left.")
    parser.add_argument("--in-memory", action="store_true")
    parser.add_argument("--train", choices=["memory", "disk"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        print(json.dumps(measure(given.folder, given.steps, given.train == "memory")))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.glob("*.npy")):
            write(folder, given.rows, given.width, given.shards)
        for where in ("disk", "memory") if given.in_memory else ("disk",):
            command = [sys.executable, "-m", "tests.benchmarks.sae_memory", "--train", where]
            command += ["--folder", str(folder), "--steps", str(given.steps)]
            print(where, subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
