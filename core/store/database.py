"""The database behind the store: SQLite in the workspace, or the one that DATABASE_URL names; short transactions.

SQLite runs in WAL mode with foreign keys on: readers never wait, writers wait for each other (`BEGIN IMMEDIATE` takes
the lock before anything is read that the write depends on), and a writer that is killed leaves what was there before.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError
from sqlalchemy.pool import NullPool

from core.errors import ConfigError, MissingDependencyError, StaleArtefactError, UserError, one_line
from core.store.tables import VERSION, metadata, schema

FILE = "store.sqlite"
WAIT_S = 10.0
"""How long a writer waits for another one."""
_COARSE_S = 1.0
_POSTGRESQL = "postgresql+psycopg"


class Database:
    """A database with the tables of the store, made at the first write.

    Args:
        workspace: The folder in which `store.sqlite` lies.
        url: Of another database; None for SQLite in the workspace.
        wait_s: How long a writer waits for another one.

    Raises:
        ConfigError: The URL is none, or of a database that is not known.
        MissingDependencyError: The driver of that database is not installed.
    """

    def __init__(self, workspace: Path, url: str | None = None, wait_s: float = WAIT_S) -> None:
        self.file = None if url else workspace / FILE
        address = _read_url(url) if url else URL.create("sqlite", database=str(workspace / FILE))
        self.name = str(self.file) if self.file else address.render_as_string(hide_password=True)
        self._wait_s = wait_s
        self._engine = self._connect(address)
        self._writing = self._engine.execution_options(writes=True)

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """Give a connection that sees one state of the database; None where nothing was written yet."""
        if self.file is not None and not self.file.exists():
            yield None
            return
        with self._for_people(), self._readable().begin() as connection:
            yield connection if self._has_tables(connection) else None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose changes are all kept at the end, or none of them.

        Raises:
            UserError: The database cannot be written.
            StaleArtefactError: It is of a newer program.
        """
        with self._for_people():
            self._make_tables()
            with self._writing.begin() as connection:
                yield connection

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._engine.dispose()

    def stamp(self) -> object | None:
        """Give what stays the same as long as nothing is written; None where that cannot be told without a query.

        The times and sizes of SQLite's files. A change of the last second has none: clocks of files are coarse, and
        another change in the same tick would look the same.
        """
        if self.file is None:
            return None
        stamp = []
        for file in (self.file, self.file.with_name(f"{self.file.name}-wal")):
            try:
                facts = file.stat()
            except OSError:
                stamp.append((0, 0, 0))
                continue
            if time.time() - facts.st_mtime < _COARSE_S:
                return None
            stamp.append((facts.st_ino, facts.st_mtime_ns, facts.st_size))
        return tuple(stamp)

    def _readable(self) -> Engine:
        """Give the engine for reading: of a folder in which nothing can be written, SQLite has to be told so."""
        wal = f"{self.file}-wal"
        if self.file is None or os.access(self.file.parent, os.W_OK) or Path(wal).exists():
            return self._engine
        address = f"{self.file.absolute().as_uri()}?immutable=1"
        engine = create_engine("sqlite://", poolclass=NullPool, creator=lambda: sqlite3.connect(address, uri=True))
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _make_tables(self) -> None:
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        for last in (False, True):
            try:
                with self._writing.begin() as connection:
                    if not self._has_tables(connection):
                        metadata.create_all(connection)
                        connection.execute(schema.insert().values(version=VERSION))
                return
            except (IntegrityError, ProgrammingError):  # another process made them at the same moment
                if last:
                    raise

    def _has_tables(self, connection: Connection) -> bool:
        if not inspect(connection).has_table(schema.name):
            return False
        found = connection.execute(select(schema.c.version)).scalars().all()
        if found != [VERSION]:
            seen = ", ".join(map(str, found)) or "none"
            raise StaleArtefactError(
                f"The database {self.name} has tables of version {seen}, this program reads version {VERSION}.",
                "Use the program that wrote it: python -m core export-notes there, import-notes here.",
            )
        return True

    def _connect(self, address: URL) -> Engine:
        try:
            if self.file is None:
                return create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": int(self._wait_s)})
            engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": self._wait_s})
        except (NoSuchModuleError, ArgumentError):
            raise _unknown(self.name) from None
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"{self.name} needs the Python package {error.name}, which is not installed.",
                "Run: python -m pip install 'psycopg[binary]==3.3.9'",
            ) from None
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def _for_people(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._told(str(error.orig)) from error
        except OSError as error:
            raise self._told(error.strerror or str(error)) from error

    def _told(self, reason: str) -> UserError:
        """Say in two lines what the driver says."""
        words = reason.lower()
        if "locked" in words or "busy" in words:
            return UserError(
                f"Another program writes to {self.name}, for more than {self._wait_s:g} s now. Nothing was changed.",
                "Try again, and end the other program if it hangs.",
            )
        if "malformed" in words or "not a database" in words or "corrupt" in words:
            return UserError(
                f"The database {self.name} is damaged: {reason}.",
                "Move it away, and bring back your last export: python -m core import-notes FILE",
            )
        if self.file is None:
            return UserError(
                f"The database {self.name} cannot be used: {one_line(reason, 200)}",
                "Check DATABASE_URL, and that its server runs and lets this user in.",
            )
        return UserError(
            f"The database {self.name} cannot be used: {one_line(reason, 200)}.",
            "Make the folder and the file writable, with room on the disk, or name another one with DATABASE_URL.",
        )


def _read_url(text: str) -> URL:
    try:
        address = make_url(text)
    except ArgumentError:
        raise _unknown("DATABASE_URL") from None
    if address.drivername in ("postgres", "postgresql", _POSTGRESQL):
        return address.set(drivername=_POSTGRESQL)
    raise _unknown(address.render_as_string(hide_password=True))


def _unknown(name: str) -> ConfigError:
    return ConfigError(
        f"{name} is no address of a database that SteerLens can use.",
        "Set DATABASE_URL to postgresql://USER:PASSWORD@HOST/NAME, or leave it out for SQLite in the workspace.",
    )


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the begin below is ours, not the driver's
    connection.execute("PRAGMA foreign_keys = ON")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):  # what may only be read keeps the mode it has
            raise


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def url_of_environment() -> str | None:
    """Give DATABASE_URL, None where it is not set."""
    return os.environ.get("DATABASE_URL", "").strip() or None
