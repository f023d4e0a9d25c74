"""What fits cost, beside what `core.recommenders.costs` foretold, and the times that would have foretold it best.

    DATASETS_DIR=... OMP_NUM_THREADS=1 python -m tests.benchmarks.costs [--recommender NAME ...] [--dataset NAME ...]
        [--full]

Each fit runs in a process of its own, after one on a tiny log. It makes a few steps only, at two sizes of the vectors:
that tells how long a step takes. `--full` fits with a recommender's own settings instead.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from core.configs import from_dict
from core.data.download import find
from core.data.loaders import read_dataset
from core.recommenders.base import recommender_class
from core.recommenders.costs import REFERENCE_GFLOPS, WORK, Shape, estimate, machine_gflops

DATASETS = ("ml-100k", "ml-latest-small", "ml-1m", "lastfm-2k")
FEW = {"epochs": 2, "min_steps": 16}
"""What makes a fit short, where a config has it."""
HIGH_WATER = Path("/proc/self/clear_refs")


def settings_of(name: str, full: bool) -> list[dict[str, Any]]:
    """Give the settings to measure with."""
    fields = {f.name: f.default for f in dataclasses.fields(recommender_class(name).Config)}
    few = {field: value for field, value in FEW.items() if field in fields}
    narrow = {"embedding_size": max(fields["embedding_size"] // 4, 1)} if "embedding_size" in fields else {}
    return [{}] if full or not few else [few, few | narrow]


def measure(name: str, dataset: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Fit once in this process; give seconds, megabytes and what was foretold."""
    kind, log = recommender_class(name), read_dataset(find(dataset))
    config = from_dict(kind.Config, settings)
    few = from_dict(kind.Config, {k: v for k, v in FEW.items() if hasattr(config, k)})
    kind.fit(log.with_interactions(log.user_index < 20), few, seed=0)  # libraries and caches
    log.matrix()
    HIGH_WATER.write_text("5", encoding="ascii")  # the mark starts again from what is there now
    before, start = _megabytes("VmRSS"), time.process_time()
    kind.fit(log, config, seed=0)
    seconds, shape = time.process_time() - start, Shape(log.n_users, log.n_items, log.n_interactions)
    foretold = estimate(name, config, shape)
    return {
        "recommender": name,
        "dataset": dataset,
        "settings": settings,
        "seconds": seconds,
        "megabytes": _megabytes("VmHWM") - before,
        "foretold": foretold,
        "counts": WORK[name](config, shape).counts,
        "slowness": REFERENCE_GFLOPS / machine_gflops(),
    }


def best_times(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Give the nanoseconds of each kind of operation with the least relative error over some runs, none below 0."""
    kinds = list(runs[0]["counts"])
    seconds = np.array([r["seconds"] / r["slowness"] for r in runs])
    counts = np.array([[r["counts"][k] for k in kinds] for r in runs])
    times = nnls(counts / seconds[:, None], np.ones(len(runs)))[0]
    return {kind: float(f"{1e9 * t:.3g}") for kind, t in zip(kinds, times, strict=True)}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recommender", nargs="+", choices=sorted(WORK), default=list(WORK))
    parser.add_argument("--dataset", nargs="+", default=DATASETS)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(*json.loads(options.one))))
        return
    print(f"{'':<12}{'':<17}{'CPU s':>9}{'foretold':>10}{'ratio':>7}{'MB':>8}{'foretold':>10}")
    for name in options.recommender:
        runs = []
        for dataset in options.dataset:
            for settings in settings_of(name, options.full):
                task = json.dumps([name, dataset, settings])
                done = subprocess.run(
                    [sys.executable, "-m", "tests.benchmarks.costs", "--one", task],
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                if done.returncode:
                    print(f"{name:<12}{dataset:<17}{done.stderr.strip().splitlines()[-2:]}")
                    continue
                runs.append(run := json.loads(done.stdout))
                seconds, megabytes = run["foretold"]
                print(
                    f"{name:<12}{dataset:<17}{run['seconds']:>9.3f}{seconds:>10.3f}{seconds / run['seconds']:>7.2f}"
                    f"{run['megabytes']:>8.0f}{megabytes:>10.0f}  {settings or ''}",
                    flush=True,
                )
        if runs:
            print(f"{name:<12}best: {best_times(runs)}")


def _megabytes(line: str) -> float:
    """Give a line of this process's status: VmRSS, memory now; VmHWM, the most so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.split(f"{line}:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
