"""Every measurement, one after another: `python -m tests.benchmarks` (about half an hour; needs DATASETS_DIR)."""

import subprocess
import sys

COMMANDS = (
    ["tests.benchmarks.quality"],
    ["tests.benchmarks.page_times", "data/workspaces/benchmarks"],
    ["tests.benchmarks.live_steering"],
    ["tests.benchmarks.explore_times"],
)

if __name__ == "__main__":
    codes = []
    for module, *arguments in COMMANDS:
        print(f"== {module}", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode)
    sys.exit(max(codes))
