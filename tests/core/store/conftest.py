"""A workspace whose runs are there in name, and both kinds of databases."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from core.store import Store, open_store
from core.store.tables import metadata
from core.workspace import Workspace

RUN, SAE, DATA = "knots-1", "sae-1", "films-1"
OTHER_RUN = "knots-2"
"""A run on the same SAE."""
FOREIGN_RUN = "knots-3"
"""A run on another SAE and another dataset."""


def make_workspace(path: Path) -> Workspace:
    """Write runs without anything in them: the store reads what they were made from, and no more."""
    workspace = Workspace(path)
    for run, sae, data in ((RUN, SAE, DATA), (OTHER_RUN, SAE, DATA), (FOREIGN_RUN, "sae-2", "films-2")):
        parents = {"sae": sae, "dataset": data}
        workspace.save(
            "neurons", run, config={}, seed=0, parents=parents, arrays={}, tables={}, metrics={}, seconds=0.0
        )
    return workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace")


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server that runs for these tests only; skips where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = Path(shutil.which("initdb") or (found[-1] if found else "/none"))
    pytest.importorskip("psycopg")
    if not program.exists():
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    folder = tmp_path_factory.mktemp("postgresql")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        user = "nobody"
        for place in (folder, folder.parent, folder.parent.parent):
            place.chmod(0o755)
        shutil.chown(folder, user)
    data = folder / "data"
    bin_ = program.parent
    options = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    subprocess.run([bin_ / "initdb", "-D", data, "-U", "tester", "-A", "trust", "--no-sync"], check=True, **options)
    command = [bin_ / "postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-c", "fsync=off"]
    server = subprocess.Popen(command, **options)
    try:
        address = f"postgresql://tester@127.0.0.1:{port}/postgres"
        wait_for(address)
        yield address
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(timeout=20)


def wait_for(address: str, limit_s: float = 30) -> None:
    """Wait until a server lets somebody in."""
    end = time.monotonic() + limit_s
    engine = create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    while True:
        try:
            engine.connect().close()
            break
        except OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What DATABASE_URL says: nothing, or an empty PostgreSQL."""
    monkeypatch.setenv("STEERLENS_AUTHOR", "Ada")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if request.param == "sqlite":
        return None
    address = str(request.getfixturevalue("postgresql"))
    monkeypatch.setenv("DATABASE_URL", address)
    engine = create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    metadata.drop_all(engine)
    engine.dispose()
    return address


@pytest.fixture
def store(url: str | None, workspace: Workspace) -> Iterator[Store]:
    opened = open_store(workspace)
    yield opened
    opened.close()
