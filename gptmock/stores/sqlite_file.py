"""The file below ``SqliteStore``: how it is made, opened, shared by processes and found in trouble. Knows no record."""

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

SCHEMA_VERSION = 1
BUSY_SECONDS = 0.4
"""How long a write waits for those of other processes."""
BUSY_SLEEP_SECONDS = (0.0002, 0.002)
"""How long it sleeps before it asks again, at random."""
PATIENCE_SECONDS = 0.45
"""How long one piece of work may hold up the others, for instance on a disk that hangs."""
SWEEP_WRITES = 256
"""So many writes of one connection pass between two removals of what has expired."""
SWEEP_NAMES = 500
"""So many names go at once: a removal must not hold up others."""
KEPT_WAL_BYTES = 4 * 1024 * 1024
"""The WAL is cut back to this after it was written back into the file."""

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
"""Times are whole milliseconds since 1970; what never ends, ends in ``NEVER``."""

NEVER = 2**63 - 1
_EXPIRING = ("records", "leases", "counters", "slots", "observations")
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
"""After these the connection is as good as before; after others the file is opened anew."""


def _unavailable(error: sqlite3.Error | OSError) -> StoreUnavailable:
    code = getattr(error, "sqlite_errorcode", None) or 0
    reason = _REASONS.get(code & 0xFF, "cannot be used")
    if isinstance(error, OSError):
        reason = f"cannot be opened: {error.strerror}"
    return StoreUnavailable(f"The state file {reason}.", retry_after_seconds=1.0)


class Hand:
    """
    One connection and the only thread that touches it. Opens the file when it is first needed.

    Args:
        path: of the file.
        synchronous: when a commit is on the disk: ``FULL`` before it returns, ``NORMAL`` some time later.
    """

    def __init__(self, path: Path, synchronous: str) -> None:
        self._path = path
        self._synchronous = synchronous
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gptmock-store")
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._began = 0.0
        self._failed = 0.0
        self._failure = ""
        self._writes = 0
        self._jitter = random.Random()  # noqa: S311 - spreads processes, hides nothing

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """
        Have the thread do a piece of work; one that was not begun when its caller leaves is not done at all.

        Raises:
            StoreUnavailable: it failed, or something failed for which it had to wait, or the thread is stuck.
        """
        asked = time.monotonic()
        future = asyncio.wrap_future(self._thread.submit(self._work, work, asked))
        try:
            patience = PATIENCE_SECONDS
            while not (await asyncio.wait({future}, timeout=patience))[0]:
                patience = max(asked, self._began) + PATIENCE_SECONDS - time.monotonic()
                if patience <= 0:
                    raise StoreUnavailable("The state file does not answer.", retry_after_seconds=1.0)
            return future.result()
        finally:
            future.cancel()

    async def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """``do`` in a transaction that nobody else writes into."""

        def changed(db: sqlite3.Connection) -> T:
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

        return await self.do(changed)

    async def change_one(self, statement: str, values: tuple[object, ...]) -> bool:
        """``change`` by one statement. Returns whether it changed anything."""
        return await self.change(lambda db: db.execute(statement, values).rowcount > 0)

    async def close(self) -> None:
        """Close the connection; the last one of all processes writes the WAL back into the file."""
        await asyncio.wait({asyncio.wrap_future(self._thread.submit(self._let_go))}, timeout=PATIENCE_SECONDS)
        self._thread.shutdown(wait=False)

    def _work(self, work: Callable[[sqlite3.Connection], T], asked: float) -> T:
        if self._failed >= asked:
            # It waited behind one that failed; to fail in turn, each after its own wait, would help nobody.
            raise StoreUnavailable(self._failure, retry_after_seconds=1.0)
        self._began = time.monotonic()
        try:
            return self._in_turn(work)
        except (sqlite3.Error, OSError) as error:
            unavailable = _unavailable(error)
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _PASSING:
                self._let_go()
            self._failed, self._failure = time.monotonic(), unavailable.message
            raise unavailable from error

    def _in_turn(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """
        Work, again and again while another process holds the file.

        SQLite's own waiting sleeps longer each time, up to 0.1 s: of processes that write much, some would starve.
        """
        while True:
            try:
                return work(self._ready())
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - self._began
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or waited > BUSY_SECONDS:
                    raise
            time.sleep(self._jitter.uniform(*BUSY_SLEEP_SECONDS))

    def _ready(self) -> sqlite3.Connection:
        """The connection to the file that is there now: one that was replaced or removed is left behind."""
        if self._connection is not None and _identity(self._path) != self._file:
            self._let_go()
        if self._connection is None:
            _make_private(self._path)
            # Before it is opened: one that is replaced meanwhile has another identity at the next call.
            self._file = _identity(self._path)
            self._connection = _open(self._path, self._synchronous)
        return self._connection

    def _let_go(self) -> None:
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
    See that the file exists and is ours alone.

    It is never opened here: closing any descriptor of a file drops all locks that SQLite has on it in this process.
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
    known = "SELECT 1 FROM sqlite_schema WHERE name = 'schema'"
    if connection.execute(known).fetchone() is None:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute(known).fetchone() is None:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO schema VALUES (?)", (SCHEMA_VERSION,))
        connection.execute("COMMIT")
    version = connection.execute("SELECT version FROM schema").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"The state file was written by a newer gptmock (schema {version}; this one knows {SCHEMA_VERSION}): "
            "upgrade this one, or give it a state file of its own."
        )


def _sweep(db: sqlite3.Connection) -> None:
    for table in _EXPIRING:
        # An expired name may have living ones beside it, as slots do.
        db.execute(
            f"""DELETE FROM {table} WHERE ends <= (SELECT now FROM clock) AND name IN
                (SELECT name FROM {table} WHERE ends <= (SELECT now FROM clock) LIMIT ?)""",  # noqa: S608 - our tables
            (SWEEP_NAMES,),
        )
