"""Answers of models, kept by what was asked, and every call with its cost: `<workspace>/labels/calls.sqlite`.

A call is written down with the most it can cost before it is made, and with its answer in one transaction after. After
a kill no answer is lost that had arrived, none of those is asked for again, and a call that was under way counts as
spent. Keys are in no table.
"""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from core.errors import UserError
from core.labels.costs import Tokens, Usage
from core.workspace import Workspace, lives

FOLDER, FILE = "labels", "calls.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, refusal TEXT NOT NULL, finish TEXT NOT NULL,
    sent INTEGER NOT NULL, answered INTEGER NOT NULL, usd REAL NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, job TEXT NOT NULL, open INTEGER NOT NULL, tokens INTEGER NOT NULL, usd REAL NOT NULL);
CREATE INDEX IF NOT EXISTS calls_of_job ON calls (job);
CREATE TABLE IF NOT EXISTS working (run TEXT PRIMARY KEY, pid INTEGER NOT NULL);
"""


class Reply(NamedTuple):
    """What a model answered."""

    text: str
    refusal: str
    finish: str
    """Why it ended, as the server says: "stop", "length", "content_filter"."""
    tokens: Tokens
    usd: float
    at: str
    """UTC, ISO 8601."""


def key_of(base_url: str, model: str, messages: Sequence[Mapping[str, str]], **parameters: object) -> str:
    """Give the hash of what is asked: server, model, prompt and parameters."""
    text = json.dumps([base_url, model, [dict(m) for m in messages], parameters], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Calls:
    """The answers and the costs of a workspace.

    Args:
        workspace: In which they lie.

    Raises:
        UserError: They cannot be written.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._path = workspace.path / FOLDER / FILE
        with self._for_people():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
            # In WAL mode a commit survives the death of the process at once, that of the machine at the next flush.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def find(self, key: str) -> Reply | None:
        """Give the answer to what was asked before; None where there is none."""
        with self._for_people():
            row = self._db.execute(
                "SELECT text, refusal, finish, sent, answered, usd, at FROM answers WHERE key = ?", [key]
            ).fetchone()
        if row is None:
            return None
        text, refusal, finish, sent, answered, usd, at = row
        return Reply(text, refusal, finish, Tokens(sent, answered), usd, at)

    def begin(self, job: str, reserved: Usage) -> int:
        """Write down that a call is about to be made; give its number."""
        with self._for_people():
            cursor = self._db.execute(
                "INSERT INTO calls (job, open, tokens, usd) VALUES (?, 1, ?, ?)", [job, *reserved]
            )
        return int(cursor.lastrowid or 0)

    def end(self, call: int, used: Usage, key: str = "", reply: Reply | None = None) -> None:
        """Write down what a call cost, and its answer where it had one."""
        with self._transaction():
            self._db.execute("UPDATE calls SET open = 0, tokens = ?, usd = ? WHERE id = ?", [*used, call])
            if reply is not None:
                row = [key, reply.text, reply.refusal, reply.finish, *reply.tokens, reply.usd, reply.at]
                self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def spent(self, job: str) -> Usage:
        """Give what the calls of a job have cost; one whose end nobody saw counts with all that it reserved."""
        with self._for_people():
            row = self._db.execute(
                "SELECT COALESCE(SUM(tokens), 0), COALESCE(SUM(usd), 0) FROM calls WHERE job = ?", [job]
            ).fetchone()
        return Usage(int(row[0]), float(row[1]))

    @contextmanager
    def working(self, run: str) -> Iterator[None]:
        """Be the only process that labels a run.

        Raises:
            UserError: Another one does.
        """
        with self._transaction():
            row = self._db.execute("SELECT pid FROM working WHERE run = ?", [run]).fetchone()
            if row is not None and row[0] != os.getpid() and lives(row[0]):
                raise UserError(
                    f"The neurons of {run} are being labelled already, by process {row[0]}.", "Wait, or stop it first."
                )
            self._db.execute("INSERT OR REPLACE INTO working VALUES (?, ?)", [run, os.getpid()])
        try:
            yield
        finally:
            with self._for_people():
                self._db.execute("DELETE FROM working WHERE run = ?", [run])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._for_people():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _for_people(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"{self._path} cannot be used: {error}.",
                "Free some space and check its permissions; delete it if it is damaged: answers are asked for again.",
            ) from None


def working_on(workspace: Workspace, run: str) -> bool:
    """Say whether some process labels a run now."""
    path: Path = workspace.path / FOLDER / FILE
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as db:
            row = db.execute("SELECT pid FROM working WHERE run = ?", [run]).fetchone()
    except sqlite3.Error:
        return False
    return row is not None and lives(row[0])


def now() -> str:
    """Give the time, UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
