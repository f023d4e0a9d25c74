"""Labels by a model, measured against the test server: `python -m tests.benchmarks.labels [--neurons 1000]`.

How many neurons a second with 50 ms latency and 8 calls in flight; whether anything is lost or asked twice when the
process is killed ten times; what becomes of neurons, and of the cap, when a tenth of the calls shows each fault.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from core.labels.plan import Evidences
from core.labels.runner import label_neurons
from tests.core.labels.planted import PRICE, large, plan
from tests.llm_server import WHOLE, LLMServer, faults, honest

ROOT = Path(__file__).resolve().parents[2]
FAILING = (
    "rate_limited",
    "error",
    "cut",
    "invalid_json",
    "refusal",
    "truncated",
    "empty",
    "wrong_ids",
    "schema_ignored",
)
LATENCY_S, N_KILLS, N_ROUNDS = 0.05, 10, 3


def throughput(n: int, port: int) -> None:
    """Label n neurons with a server in a process of its own, several times from nothing."""
    command = [sys.executable, "-m", "tests.llm_server", "--port", str(port), "--latency", str(LATENCY_S)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        base_url = server.stdout.readline().strip()
        for _ in range(N_ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                run = large(Path(folder), n)
                evidences = Evidences(run, "contrast")
                began, cpu = time.perf_counter(), time.process_time()
                made = label_neurons(run, plan(base_url), evidences=evidences)
                wall, cpu = time.perf_counter() - began, time.process_time() - cpu
                calls = made.about["n_calls"]
                load = os.getloadavg()[0]
                print(
                    f"  {n} neurons, {calls} calls: {wall:.1f} s = {n / wall:.0f} neurons/s; "
                    f"{cpu:.1f} CPU s = {1000 * cpu / calls:.1f} ms a call; load {load:.1f}", flush=True,
                )  # fmt: skip
        server.terminate()


def kills(n: int, sign: signal.Signals) -> None:
    """Kill the labelling of n neurons ten times at random moments, finish it, and count what the server saw."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, LLMServer(latency_s=LATENCY_S) as server:
        command = [sys.executable, "-m", "tests.core.labels.planted", folder, server.base_url, str(n)]
        for kill in range(N_KILLS):
            until = len(server.calls) + rng.randint(1, max(2, 2 * n // (N_KILLS * 3)))
            process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
            while len(server.calls) < until and process.poll() is None:
                time.sleep(0.002)
            assert process.poll() is None, f"finished before kill {kill}"
            process.send_signal(sign)
            process.wait()
        before = len(server.calls)
        made = label_neurons(large(Path(folder), n), plan(server.base_url))
        stats = server.stats()
        unsent = sum(not call.sent for call in server.calls)
        print(
            f"  {sign.name} x {N_KILLS} ({before} calls by then): {len(made.named)} of {n - 1} labelled, "
            f"{stats['calls']} calls, {stats['answered']} different, {stats['twice']} answered twice, "
            f"{unsent} answers that nobody waited for", flush=True,
        )  # fmt: skip


def stormy(n: int, budget: float) -> None:
    """Label n neurons while a tenth of the calls shows each of nine faults."""
    with tempfile.TemporaryDirectory() as folder, LLMServer(behave=faults(0.1, FAILING)) as server:
        run = large(Path(folder), n)
        cpu = time.process_time()
        made = label_neurons(run, plan(server.base_url, most_usd=budget))
        cpu = time.process_time() - cpu
        right = {honest(c.system, c.user)["label"].casefold() for c in server.calls if c.behaviour in WHOLE}
        false = [label for j, label in made.named.items() if run.theme_of(j) not in label.casefold()]
        unheard = [label for label in made.named.values() if label.casefold() not in right]
        seen = Counter(call.behaviour for call in server.calls)
        bill, counted = server.bill(*PRICE), made.about["spent_usd"]
        print(f"  cap ${budget}: the server bills ${bill:.4f}, counted ${counted:.4f}; {cpu:.0f} CPU s")
        print(f"  {len(server.calls)} calls: {dict(seen)}")
        print(
            f"  {len(made.frame)} rows, {made.about['counts']}, false {len(false)}, never answered {len(unheard)}",
            flush=True,
        )
        assert bill - 1e-9 <= counted <= budget


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--port", type=int, default=8760)
    given = parser.parse_args()
    print("throughput, 50 ms latency, 8 in flight")
    throughput(given.neurons, given.port)
    print("killed and resumed")
    kills(given.neurons, signal.SIGTERM)
    kills(given.neurons, signal.SIGKILL)
    print("a tenth of each fault")
    stormy(given.neurons, 50.0)
    stormy(given.neurons, 0.5)


if __name__ == "__main__":
    main()
