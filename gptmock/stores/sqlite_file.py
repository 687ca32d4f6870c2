"""
The SQLite file of ``SqliteStore``: creation, schema, connections and their threads, busy retries, error translation.
Knows nothing of the records' contents.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gptmock.errors import StoreUnavailable

T = TypeVar("T")

SCHEMA_VERSION = 2
CALL_TIMEOUT_SECONDS = 2.0
"""
How long one call of a server may run before it and those queued behind it fail: longer than for Redis, as a disk that
works pauses for a second at times, and no second server would answer instead.
"""
REPORT_SECONDS = 0.05
"""So long before its timeout a call gives up waiting for locks of other processes, so that it can say what it was."""
BUSY_SLEEP_SECONDS = (0.0002, 0.002)
"""The random pause between two tries while the file is locked."""
SWEEP_WRITES = 256
"""Expired rows are deleted once in so many writes of a connection."""
SWEEP_NAMES = 500
"""How many names one sweep deletes at most, so that it does not delay other calls."""
KEPT_WAL_BYTES = 4 * 1024 * 1024
"""The WAL file is truncated to this size after a checkpoint."""

_SCHEMA = """
CREATE TABLE schema (version INTEGER NOT NULL);
CREATE VIEW clock AS SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER) AS now;

CREATE TABLE records (name TEXT PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL, ends INTEGER NOT NULL);
CREATE TABLE leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, ends INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (name TEXT, counter TEXT, total INTEGER NOT NULL, ends INTEGER NOT NULL,
    PRIMARY KEY (name, counter)) WITHOUT ROWID;
CREATE TABLE slots (name TEXT, owner TEXT, ends INTEGER NOT NULL, PRIMARY KEY (name, owner)) WITHOUT ROWID;
CREATE TABLE observations (name TEXT PRIMARY KEY, stamp REAL NOT NULL, value BLOB NOT NULL, ends INTEGER NOT NULL);
CREATE TABLE probe (content BLOB);

CREATE INDEX records_end ON records (ends);
CREATE INDEX counters_end ON counters (ends);

CREATE VIEW living_records AS SELECT * FROM records WHERE ends > (SELECT now FROM clock);
CREATE VIEW living_leases AS SELECT *, ends - (SELECT now FROM clock) AS remains FROM leases WHERE remains > 0;
CREATE VIEW living_counters AS SELECT * FROM counters WHERE ends > (SELECT now FROM clock);
CREATE VIEW living_slots AS SELECT * FROM slots WHERE ends > (SELECT now FROM clock);
CREATE VIEW living_observations AS SELECT * FROM observations WHERE ends > (SELECT now FROM clock);
"""
"""Times are Unix milliseconds; rows without expiry end at ``NEVER``."""

_UPGRADES = {
    1: """
ALTER TABLE slots ADD COLUMN held_until INTEGER NOT NULL DEFAULT 0;
CREATE TABLE quotas (name TEXT, counter TEXT, used INTEGER NOT NULL, ends INTEGER NOT NULL,
    PRIMARY KEY (name, counter)) WITHOUT ROWID;
CREATE TABLE entries (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, value BLOB NOT NULL);
CREATE INDEX entries_name ON entries (name, number);
"""
}
"""What leads from a version of the schema to the next. A slot is held until ``held_until``, and kept until ``ends``."""

NEVER = 2**63 - 1
_EXPIRING = ("records", "leases", "counters", "slots", "quotas", "observations")
_SIDE_FILES = ("", "-wal", "-shm")

_LOCKED = "is held by another process for too long"
_REASONS = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_PERM: "may not be written",
    sqlite3.SQLITE_AUTH: "may not be written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_FULL: "has no room: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore it from a backup, or remove it and sign in again",
    sqlite3.SQLITE_NOTADB: "is no database: another file stands in its place",
}
_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})
"""After these errors the connection stays usable; after any other the file is reopened."""


def _unavailable(error: sqlite3.Error | OSError) -> StoreUnavailable:
    code = getattr(error, "sqlite_errorcode", None) or 0
    reason = _REASONS.get(code & 0xFF, "cannot be used")
    if isinstance(error, OSError):
        reason = f"cannot be opened: {error.strerror}"
    return StoreUnavailable(f"The state file {reason}.", retry_after_seconds=1.0)


class ConnectionThread:
    """
    One SQLite connection and the only thread that uses it. Opens the file on first use.

    Args:
        path: of the file.
        synchronous: ``PRAGMA synchronous``: with ``FULL`` a commit is fsynced before it returns, with ``NORMAL`` later.
        timeout_seconds: how long a call may run.
    """

    def __init__(self, path: Path, synchronous: str, *, timeout_seconds: float) -> None:
        self._path = path
        self._synchronous = synchronous
        self._timeout_seconds = timeout_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gptmock-store")
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._began = 0.0
        self._failed = 0.0
        self._failure = ""
        self._writes = 0
        self._jitter = random.Random()  # noqa: S311 - spreads processes, hides nothing

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """
        Run ``work`` in the thread. If the caller is cancelled before it begins, it is not run at all.

        Raises:
            StoreUnavailable: it failed, or a call queued before it failed, or the thread is stuck.
        """
        asked = time.monotonic()
        future = asyncio.wrap_future(self._thread.submit(self._run_in_thread, work, asked))
        try:
            timeout = self._timeout_seconds
            while not (await asyncio.wait({future}, timeout=timeout))[0]:
                timeout = max(asked, self._began) + self._timeout_seconds - time.monotonic()
                if timeout <= 0:
                    raise StoreUnavailable("The state file does not answer.", retry_after_seconds=1.0)
            return future.result()
        finally:
            future.cancel()

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """``run`` inside ``BEGIN IMMEDIATE`` and ``COMMIT``."""

        def transaction(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                self._writes += 1
                if self._writes % SWEEP_WRITES == 0:
                    _sweep(db)
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise
            return result

        return await self.run(transaction)

    async def execute(self, statement: str, values: tuple[object, ...]) -> bool:
        """``transact`` with one statement. Returns whether it changed any row."""
        return await self.transact(lambda db: db.execute(statement, values).rowcount > 0)

    async def close(self) -> None:
        """Close the connection; closing the last one of all processes checkpoints the WAL."""
        closed = asyncio.wrap_future(self._thread.submit(self._disconnect))
        await asyncio.wait({closed}, timeout=self._timeout_seconds)
        self._thread.shutdown(wait=False)

    def _run_in_thread(self, work: Callable[[sqlite3.Connection], T], asked: float) -> T:
        if self._failed >= asked:
            # It was queued behind a call that failed: fail at once, too, instead of after another wait.
            raise StoreUnavailable(self._failure, retry_after_seconds=1.0)
        self._began = time.monotonic()
        try:
            return self._retry_while_busy(work)
        except (sqlite3.Error, OSError) as error:
            unavailable = _unavailable(error)
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _PASSING:
                self._disconnect()
            self._failed, self._failure = time.monotonic(), unavailable.message
            raise unavailable from error

    def _retry_while_busy(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """
        Run ``work``, and again while another process holds the lock (SQLITE_BUSY).

        SQLite's own busy handler sleeps longer each time, up to 0.1 s, so that some of several busy writers starve.
        """
        while True:
            try:
                return work(self._connected())
            except sqlite3.OperationalError as error:
                left = self._began + self._timeout_seconds - time.monotonic()
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or left < REPORT_SECONDS:
                    raise
            time.sleep(self._jitter.uniform(*BUSY_SLEEP_SECONDS))

    def _connected(self) -> sqlite3.Connection:
        """The connection to the file at ``path``; reconnects if the file was replaced or removed."""
        if self._connection is not None and _identity(self._path) != self._file:
            self._disconnect()
        if self._connection is None:
            _make_private(self._path)
            # Before opening: if the file is replaced meanwhile, the next call notices.
            self._file = _identity(self._path)
            self._connection = _open(self._path, self._synchronous)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _open(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        _into_wal_mode(connection)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA journal_size_limit = {KEPT_WAL_BYTES}")
        _into_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    """
    Ensure that the file exists and that only this user can access it.

    It is never opened here: closing any descriptor of a file drops this process's POSIX locks on it, SQLite's too.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        descriptor, empty = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        os.close(descriptor)
        try:
            os.link(empty, path)
        except FileExistsError:
            pass  # another process was first
        finally:
            Path(empty).unlink()
    for suffix in _SIDE_FILES:
        side = path.with_name(path.name + suffix)
        if side.exists() and side.stat().st_mode & 0o077:
            side.chmod(0o600)


def _into_wal_mode(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreUnavailable("The state file cannot be shared: its file system has no shared memory for it.")


def _into_schema(connection: sqlite3.Connection) -> None:
    version = _version(connection)
    if version < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        # Read again: another process may have been first.
        for known in range(_version(connection), SCHEMA_VERSION):
            for statement in (_SCHEMA if known == 0 else _UPGRADES[known]).split(";"):
                connection.execute(statement)
            insert = "INSERT INTO schema VALUES (?)" if known == 0 else "UPDATE schema SET version = ?"
            connection.execute(insert, (known + 1,))
        connection.execute("COMMIT")
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"The state file was written by a newer gptmock (schema {version}; this one knows {SCHEMA_VERSION}): "
            "upgrade this one, or give it a state file of its own."
        )


def _version(connection: sqlite3.Connection) -> int:
    """The version of the schema; 0 for an empty file."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema'").fetchone() is None:
        return 0
    return int(connection.execute("SELECT version FROM schema").fetchone()[0])


def _sweep(db: sqlite3.Connection) -> None:
    for table in _EXPIRING:
        # The time is checked again: a name may have expired and unexpired rows, as slots do.
        db.execute(
            f"""DELETE FROM {table} WHERE ends <= (SELECT now FROM clock) AND name IN
                (SELECT name FROM {table} WHERE ends <= (SELECT now FROM clock) LIMIT ?)""",  # noqa: S608 - our tables
            (SWEEP_NAMES,),
        )
