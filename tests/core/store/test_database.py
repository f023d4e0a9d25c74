"""Several writers, a killed one, and a database that cannot be used."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ConfigError, StaleArtefactError, UserError
from core.store import Store, open_store
from core.store.tables import schema
from core.workspace import Workspace
from tests.core.store.conftest import RUN, SAE
from tests.core.store.writer import N_AT_ONCE, N_ROUNDS, write_rounds

ROOT = Path(__file__).resolve().parents[3]


def start(workspace: Workspace, name: str, what: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.core.store.writer", str(workspace.path), name, what]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )


def go(process: subprocess.Popen) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture
def here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return workspace


def test_two_processes_that_write_at_once_lose_nothing(store: Store, workspace: Workspace) -> None:
    shared = store.save_list(RUN, "items", "shared", ["start"])
    other = start(workspace, "a", "rounds")
    assert other.stdout is not None and other.stdout.readline() == "ready\n"
    go(other)
    write_rounds(store, "b")
    other.communicate(timeout=60)
    assert other.returncode == 0
    names = [f"{name} {i}" for name in ("a", "b") for i in range(N_ROUNDS)]
    assert sorted(store.ids(shared.id)) == sorted(["start", *names, *(f"both {i}" for i in range(N_ROUNDS))])
    assert sorted(note.text for note in store.notes(SAE, "neurons", "1")) == sorted(names)
    assert sorted(label.text for label in store.label_history(SAE, 1)) == sorted(names)


def test_a_writer_that_is_killed_leaves_whole_lists_only(here: Workspace) -> None:
    store, writer = open_store(here), start(here, "a", "forever")
    assert writer.stdout is not None
    writer.stdout.readline()
    go(writer)
    done = [writer.stdout.readline() for _ in range(3)]
    time.sleep(0.05)  # somewhere inside the next one
    writer.kill()
    rest, _ = writer.communicate()
    n_told = len(done) + len(rest.splitlines())
    store.save_list(RUN, "items", "mine", ["1"])
    saved = [s for s in store.lists(RUN) if s.name != "mine"]
    assert n_told <= len(saved) <= n_told + 1, "what was told to be saved is, and at most one more"
    for one in saved:
        assert one.size == N_AT_ONCE == len(store.ids(one.id))
    with sqlite3.connect(here.path / "store.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_database_of_a_newer_program_is_refused(store: Store) -> None:
    store.save_list(RUN, "items", "Mine", ["1"])
    with store.database.writing() as connection:
        connection.execute(schema.update().values(version=2))
    for use in (store.lists, lambda: store.save_list(RUN, "items", "Other", ["1"])):
        with pytest.raises(StaleArtefactError, match="tables of version 2, this program reads version 1"):
            use()


def test_a_database_that_another_program_holds_is_said_to_be(here: Workspace) -> None:
    store = open_store(here, wait_s=0.2)
    saved = store.save_list(RUN, "items", "Mine", ["1"])
    holder = sqlite3.connect(here.path / "store.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert store.lists() == [saved], "readers do not wait"
    with pytest.raises(UserError, match=r"Another program writes to .*store.sqlite, for more than 0.2 s"):
        store.save_list(RUN, "items", "Other", ["1"])
    holder.execute("ROLLBACK")
    holder.close()
    store.save_list(RUN, "items", "Other", ["1"])


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_a_damaged_database_is_said_to_be(here: Workspace, damage: str) -> None:
    store = open_store(here)
    store.save_list(RUN, "items", "Mine", [str(i) for i in range(5000)])
    file = here.path / "store.sqlite"
    file.write_bytes(b"not a database " * 400 if damage == "garbage" else file.read_bytes()[:9000])
    for use in (lambda: store.ids(1), lambda: store.add_to_list(1, ["x"])):
        with pytest.raises(UserError) as told:
            use()
        assert "is damaged" in told.value.problem and "import-notes" in told.value.fix


def test_what_may_only_be_read_is_read_and_a_write_says_so(here: Workspace) -> None:
    open_store(here).save_list(RUN, "items", "Mine", ["1"])
    for folder in list(here.path.parents)[:4]:
        if os.access(folder, os.W_OK) and folder != Path("/tmp"):
            folder.chmod(0o755)
    here.path.chmod(0o555)
    (here.path / "store.sqlite").chmod(0o444)

    def use() -> str:
        store = open_store(here)
        name = store.lists()[0].name
        with pytest.raises(UserError) as told:
            store.delete_list(1)
        return f"{name}\n{told.value}"

    name, problem, fix = as_nobody(use).splitlines()
    here.path.chmod(0o755)
    assert name == "Mine" and "cannot be used: " in problem and "writable" in fix


def as_nobody(use: Callable[[], str]) -> str:
    """Run in a child process that is not root, who may write everywhere."""
    if os.geteuid() != 0:
        return use()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "failed"
        try:
            os.setuid(65534)
            said = use()
        except Exception as error:  # noqa: BLE001
            said = f"failed: {error!r}"
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as opened:
        said = opened.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize(
    "url", ["mysql://ada:secret@db/x", "nonsense", "sqlite:////tmp/x", "postgresql+pg8000://ada:secret@db/x", "://"]
)
def test_an_address_of_no_known_database_is_refused_without_its_password(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ConfigError) as told:
        open_store(workspace)
    assert "secret" not in str(told.value) and "DATABASE_URL" in told.value.fix


def test_a_server_that_does_not_answer_is_said_without_the_password(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("DATABASE_URL", "postgresql://ada:secret@127.0.0.1:1/x")
    store = open_store(workspace, wait_s=1)
    with pytest.raises(UserError) as told:
        store.lists()
    assert "cannot be used" in told.value.problem and "secret" not in str(told.value)
    store.close()


def test_a_writer_holds_the_database_before_it_reads_what_it_depends_on(here: Workspace) -> None:
    store, other = open_store(here), open_store(here, wait_s=0.1)
    store.save_list(RUN, "items", "Mine", ["1"])
    with store.database.writing(), pytest.raises(UserError, match="Another program writes"), other.database.writing():
        pytest.fail("two writers at once")


def test_a_change_in_the_same_tick_of_the_clock_of_files_is_noticed(here: Workspace) -> None:
    store, other = open_store(here), open_store(here)
    tick = time.time()
    for n in range(1, 4):
        other.set_label(RUN, 1, f"label {n}")
        os.utime(here.path / "store.sqlite", (tick, tick))
        assert store.label_revision(SAE) == n
    os.utime(here.path / "store.sqlite", (tick - 60, tick - 60))
    assert store.label_revision(SAE) == 3 == store.label_revision(SAE)
