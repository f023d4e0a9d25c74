"""What can be wrong with this machine or a workspace, found before it hurts."""

import importlib.metadata
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from core.data.download import CATALOGUE, available
from core.workspace import STAGES, Workspace

MIN_FREE_GB = 2.0


class Finding(NamedTuple):
    """One thing that was looked at."""

    ok: bool
    what: str
    seen: str
    fix: str


def examine(root: Path, workspace: Path, data_dir: Path | None) -> list[Finding]:
    """Look at Python, the packages, the disk, the browser for tests, the datasets and a workspace.

    Args:
        root: The checkout, with `requirements.txt`.
        workspace: The workspace, which may not be there yet.
        data_dir: Where raw datasets are looked for.
    """
    version = sys.version_info
    findings = [
        Finding(
            (3, 11) <= version[:2] <= (3, 13),
            "Python",
            f"{version[0]}.{version[1]}.{version[2]}",
            "Use Python 3.11 to 3.13.",
        ),
        *_packages(root / "requirements.txt"),
    ]
    place = next(p for p in [workspace, *workspace.resolve().parents] if p.exists())
    free = shutil.disk_usage(place).free / 2**30
    findings.append(
        Finding(free >= MIN_FREE_GB, "free disk", f"{free:.1f} GiB at {place}", f"Free at least {MIN_FREE_GB} GiB.")
    )
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    findings.append(
        Finding(True, "browser for the browser tests", browser or "none (they are skipped)", "Install Chromium.")
    )
    here = [name for name in CATALOGUE if available(name, data_dir)]
    findings.append(Finding(True, "datasets", ", ".join(here) or "none", ""))
    kept = Workspace(workspace)
    counts = ", ".join(f"{len(kept.artefacts(stage))} {stage}" for stage in STAGES)
    if workspace.exists() and not workspace.is_dir():
        findings.append(Finding(False, "workspace", f"{workspace} is no folder", "Give a folder with --workspace."))
    else:
        findings.append(Finding(True, "workspace", f"{workspace}: {counts}", ""))
    findings += [
        Finding(False, "artefact", fault, "Delete its folder and run the build again.") for fault in kept.check()
    ]
    return findings


def _packages(requirements: Path) -> list[Finding]:
    """Compare each pinned package with what is installed."""
    wrong = []
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;#]+)", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    for name, pinned in pins:
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found.partition("+")[0] != pinned:
            fix = f"Run: {Path(sys.executable).name} -m pip install -r requirements.txt"
            wrong.append(Finding(False, f"package {name}", f"{found}, pinned {pinned}", fix))
    return wrong or [Finding(True, "packages", f"{len(pins)} as pinned", "")]
