"""A real Chromium against a running Streamlit: what every browser test needs."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
READY = '[data-testid="stApp"][data-test-script-state="notRunning"]'
START_LIMIT_S = 90

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH: install your system's package `chromium` (or Google Chrome)"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium that asks nobody for updates."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def running_app(script: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run `streamlit run script` on a free port and give its address; it is stopped at the end.

    Args:
        script: The app.
        arguments: What the app itself is given after `--`.
        env: Joins the environment.
    """
    port = _free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    options = {
        "server.port": port,
        "server.address": "127.0.0.1",
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    command += [f"--{name}={value}" for name, value in options.items()]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, "--", *arguments],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_up(address, process, log)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ready(page: Page, selector: str | None = None, timeout_s: float = 60) -> None:
    """Wait until the script has stopped and `selector` (also inside an element's shadow root) is there."""
    page.wait_for_selector(READY, timeout=1000 * timeout_s)
    if selector is not None:
        page.wait_for_selector(selector, timeout=1000 * timeout_s)
    page.wait_for_selector(READY, timeout=1000 * timeout_s)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(address: str, process: subprocess.Popen, log: IO[str]) -> None:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
        if process.poll() is not None:
            break
    log.seek(0)
    raise RuntimeError(f"Streamlit did not start:\n{log.read()[-3000:]}")
