"""``SqliteStore`` beyond the contract: file modes, durability after SIGKILL, full and hanging disks."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from gptmock.errors import StoreUnavailable
from gptmock.stores import sqlite_file
from gptmock.stores.sqlite import SqliteStore
from gptmock.stores.sqlite_file import SCHEMA_VERSION, SWEEP_WRITES
from gptmock.stores.store import Addition, Quota, Record
from tests.harness import wait_until
from tests.stores import processes
from tests.stores.servers import PATIENT_SECONDS
from tests.timing import generous

FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from gptmock.errors import StoreUnavailable
from gptmock.stores.sqlite import SqliteStore

async def fill(path, allowed):
    store = SqliteStore(path)
    await store.probe()
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, allowed))
    acknowledged, refused, said, probes = 0, 0, set(), 0
    while refused < 20:
        try:
            await store.write(f"filler{acknowledged}.{refused}", b"x" * 3000, expected=0)
            if await store.write("token", b"%d" % (acknowledged + 1), expected=acknowledged) is None:
                acknowledged += 1
        except StoreUnavailable as error:
            refused += 1
            said.add(error.message)
    try:
        await store.probe()
    except StoreUnavailable as error:
        probes += 1
    record = await store.read("token")
    assert record.version >= acknowledged > 5, (record, acknowledged)
    assert record.value == b"%d" % record.version
    print(record.version, probes, *said, sep="|")

asyncio.run(fill(Path(sys.argv[1]), int(sys.argv[2])))
"""
NOBODY = 65534
WITHOUT_RIGHTS = """
import asyncio, os, sys
from pathlib import Path
from gptmock.errors import StoreUnavailable
from gptmock.stores.sqlite import SqliteStore

async def attempt(store):
    for call in (store.probe(), store.write("token", b"second", expected=1), store.acquire("l", "me", ttl_seconds=5)):
        try:
            await call
        except StoreUnavailable as error:
            print(error.message)

if os.geteuid() == 0:
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
asyncio.run(attempt(SqliteStore(Path(sys.argv[1]))))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state.db"


def patient_store(path: Path) -> SqliteStore:
    """A store with a long timeout: a busy machine must not pass for a file that does not answer."""
    return SqliteStore(path, timeout_seconds=PATIENT_SECONDS)


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = patient_store(path)
    yield opened
    await opened.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def intact(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


# --- The file ---------------------------------------------------------------------------------


async def test_making_a_store_makes_no_file(path: Path):
    await patient_store(path).close()
    assert not path.parent.exists()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_nobody_else_may_read_it(path: Path, mask: int):
    before = os.umask(mask)
    try:
        store = patient_store(path)
        await store.write("a", b"1", expected=0)
        await store.add([Addition("a", {"n": 1})])
    finally:
        os.umask(before)
    assert mode(path.parent) == 0o700
    assert {each.name: mode(each) for each in path.parent.iterdir()} == {
        "state.db": 0o600,
        "state.db-wal": 0o600,
        "state.db-shm": 0o600,
    }
    await store.close()


async def test_a_file_that_others_could_read_is_closed_to_them(path: Path):
    first = patient_store(path)
    await first.write("a", b"1", expected=0)
    await first.close()
    path.chmod(0o644)  # noqa: ASYNC240 - nothing else runs in this loop
    second = patient_store(path)
    assert await second.read("a") == Record(1, b"1")
    assert {mode(each) for each in path.parent.iterdir()} == {0o600}
    await second.close()


async def test_a_directory_that_exists_stays_as_it_is(tmp_path: Path):
    tmp_path.chmod(0o755)  # noqa: ASYNC240 - nothing else runs in this loop
    store = patient_store(tmp_path / "state.db")
    await store.probe()
    await store.close()
    assert mode(tmp_path) == 0o755


async def test_it_is_in_wal_mode_and_waits_for_the_disk_where_it_must(path: Path, store: SqliteStore):
    await store.write("a", b"1", expected=0)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_it_survives_a_restart(path: Path):
    first = patient_store(path)
    await first.write("a", b"1", expected=0)
    await first.add([Addition("c", {"n": 5})])
    await first.take_slot("s", "me", limit=1, ttl_seconds=60)
    await first.acquire("l", "me", ttl_seconds=60)
    await first.observe("o", b"seen", stamp=2, ttl_seconds=60)
    await first.close()
    assert sorted(each.name for each in path.parent.iterdir()) == ["state.db"]
    second = patient_store(path)
    assert await second.read("a") == Record(1, b"1")
    assert await second.totals("c") == {"n": 5}
    assert await second.slots_taken("s") == 1
    assert not await second.acquire("l", "you", ttl_seconds=60)
    assert await second.observed(["o"]) == [b"seen"]
    await second.close()


async def test_a_newer_schema_is_refused_and_left_as_it_is(path: Path, store: SqliteStore):
    await store.write("a", b"1", expected=0)
    await store.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE schema SET version = ?", (SCHEMA_VERSION + 1,))
    connection.commit()
    connection.close()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"written by a newer gptmock \(schema 3; this one knows 2\)"):
            await store.read("a")
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version, value FROM records").fetchall() == [(1, b"1")]
    connection.close()


async def test_a_file_of_the_first_schema_is_upgraded_and_keeps_what_it_has(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(sqlite_file._SCHEMA)
    connection.execute("INSERT INTO schema VALUES (1)")
    connection.execute("INSERT INTO records VALUES ('a', 3, x'31', ?)", (sqlite_file.NEVER,))
    connection.close()
    stores = [patient_store(path) for _ in range(4)]
    assert await asyncio.gather(*(store.read("a") for store in stores)) == [Record(3, b"1")] * 4
    for number, store in enumerate(stores):
        assert bool(await store.take_slot("s", str(number), limit=2, ttl_seconds=60)) is (number < 2)
        await store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version FROM schema").fetchall() == [(SCHEMA_VERSION,)]
    connection.close()


async def test_what_has_expired_is_swept(path: Path, store: SqliteStore):
    for number in range(20):
        await store.write(f"old{number}", b"x", expected=0, ttl_seconds=0.001)
        await store.acquire(f"old{number}", "me", ttl_seconds=0.001)
    await store.write("new", b"x", expected=0, ttl_seconds=600)
    await store.write("ever", b"x", expected=0)
    await store.add([Addition("old", {"n": 1}, 0.001), Addition("ever", {"n": 1})])
    await store.take_slot("s", "old", limit=None, ttl_seconds=0.001)
    await store.take_slot(
        "s", "new", limit=None, ttl_seconds=600, quotas=[Quota("a", 9, 0.001, 1), Quota("b", 9, 9, 1)]
    )
    await store.observe("old", b"x", stamp=1, ttl_seconds=0.001)
    for _ in range(SWEEP_WRITES):
        await store.add([Addition("ever", {"n": 1})])
    connection = sqlite3.connect(path)
    left = {
        table: connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608 - our tables
        for table in ("records", "leases", "counters", "slots", "quotas", "observations")
    }
    connection.close()
    assert left == {"records": 2, "leases": 0, "counters": 1, "slots": 2, "quotas": 1, "observations": 0}


async def test_a_removed_file_is_made_anew_and_noticed_by_all(path: Path, store: SqliteStore):
    other = patient_store(path)
    await store.write("a", b"1", expected=0)
    assert await other.read("a") == Record(1, b"1")
    for each in path.parent.iterdir():
        each.unlink()
    assert await store.read("a") is None
    await store.write("a", b"anew", expected=0)
    assert await other.read("a") == Record(1, b"anew")
    await other.close()
    await store.close()
    assert await store.read("a") == Record(1, b"anew")


async def test_another_file_put_in_its_place_is_used(path: Path, store: SqliteStore, tmp_path: Path):
    """As when a backup is restored while the server runs."""
    backup = patient_store(tmp_path / "backup.db")
    await backup.write("a", b"restored", expected=0, version=7)
    await backup.close()
    await store.write("a", b"1", expected=0)
    await store.add([Addition("a", {"n": 1})])
    (tmp_path / "backup.db").replace(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    assert await store.read("a") == Record(7, b"restored")
    assert await store.totals("a") == {}
    await store.close()
    assert intact(path)


# --- Processes --------------------------------------------------------------------------------


def _write_in_child(store: SqliteStore) -> None:
    asyncio.run(_replace_and_close(store, b"child"))


async def _replace_and_close(store: SqliteStore, value: bytes) -> None:
    await _replace(store, value)
    await store.close()


async def _replace(store: SqliteStore, value: bytes) -> None:
    record = await store.read("a")
    assert await store.write("a", value, expected=record.version if record else 0) is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("when", ["unopened", "opened"])
async def test_a_child_opens_its_own(path: Path, store: SqliteStore, when: str):
    if when == "opened":
        await store.write("a", b"parent", expected=0)
        await store.add([Addition("a", {"n": 1})])
    child = get_context("fork").Process(target=_write_in_child, args=(store,))
    child.start()
    await asyncio.to_thread(child.join, 30)
    assert child.exitcode == 0
    found = await store.read("a")
    assert found is not None
    assert found.value == b"child"
    await _replace(store, b"parent again")
    await store.close()
    assert intact(path)


async def test_twenty_kills_lose_nothing_that_was_acknowledged(path: Path):
    address = f"sqlite://{path}"
    last = 0
    for round_number in range(20):
        # The second one keeps the WAL in use, so that both a recovery and a takeover are seen.
        writers = [processes.start(address, "acknowledge", name) for name in ("token", "other")]
        lines: list[int] = []
        reader = threading.Thread(target=_read_numbers, args=(writers[0], lines))
        reader.start()
        await asyncio.to_thread(_wait_for, lines, last + 2 + round_number % 5)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            writer.wait()
        reader.join()
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.close()
        store = patient_store(path)
        record = await store.read("token")
        assert record is not None
        # One more than what was said may have been written before the kill.
        assert record.version in (lines[-1], lines[-1] + 1)
        assert record.value == b"%d" % record.version * 500
        await store.close()
        last = record.version
        assert intact(path)


def _read_numbers(writer: subprocess.Popen[str], lines: list[int]) -> None:
    assert writer.stdout is not None
    lines.extend(int(line) for line in writer.stdout)


def _wait_for(lines: list[int], number: int) -> None:
    wait_until(lambda: bool(lines) and lines[-1] >= number, seconds=30)


# --- A disk in trouble --------------------------------------------------------------------------


async def refused(call: object) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        await call  # type: ignore[misc]
    return caught.value


@pytest.mark.parametrize("allowed", [200_000, 400_000, 1_000_000])
async def test_a_disk_that_takes_no_more(path: Path, allowed: int):
    version, refused_probes, *said = (await processes.say(FULL_DISK, path, allowed)).split("|")
    assert refused_probes == "1"
    assert set(said) <= {
        "The state file cannot be read or written: the disk reports an error.",
        "The state file has no room: the disk is full.",
    }
    assert intact(path)
    store = patient_store(path)
    assert await store.read("token") == Record(int(version), version.encode())
    assert await store.write("token", b"with room again", expected=int(version)) is None
    await store.close()


async def test_a_file_that_may_not_grow(path: Path, store: SqliteStore):
    await store.write("a", b"1", expected=0)
    await store.close()
    full = SmallStore(path)
    with pytest.raises(StoreUnavailable, match=r"^The state file has no room: the disk is full\.$"):
        await fill(full)
    assert (await refused(full.probe())).retry_after_seconds == 1.0
    assert await full.read("a") == Record(1, b"1")
    assert await full.delete("filler0")
    assert await full.delete("filler1")
    assert await full.delete("filler2")
    assert await full.delete("filler3")
    await full.probe()
    assert await full.write("a", b"2", expected=1) is None
    await full.close()


async def fill(store: SqliteStore) -> None:
    for number in range(1000):
        await store.write(f"filler{number}", b"x" * 3000, expected=0)


class SmallStore(SqliteStore):
    """As on a disk with little room."""

    async def write(
        self, name: str, value: bytes, *, expected: int, version: int | None = None, ttl_seconds: float | None = None
    ) -> Record | None:
        await self._durable.run(lambda db: db.execute("PRAGMA max_page_count = 40").fetchone())
        return await super().write(name, value, expected=expected, version=version, ttl_seconds=ttl_seconds)


@pytest.mark.skipif(sys.platform == "win32", reason="users and modes are those of POSIX")
@pytest.mark.parametrize(("file_mode", "directory_mode"), [(0o444, 0o555), (0o000, 0o555), (0o444, 0o777)])
async def test_a_file_that_may_not_be_written(file_mode: int, directory_mode: int):
    with processes.open_directory() as directory:
        path = directory / "state.db"
        store = patient_store(path)
        await store.write("token", b"first", expected=0)
        await store.close()
        path.chmod(file_mode)
        directory.chmod(directory_mode)
        said = await processes.say(WITHOUT_RIGHTS, path, NOBODY)
        directory.chmod(0o700)
        path.chmod(0o600)
        lines = said.split("\n")
        assert len(lines) == 3
        assert set(lines) <= {
            "The state file is read-only.",
            "The state file cannot be opened.",
            "The state file cannot be opened: Operation not permitted.",
        }
        assert await store.read("token") == Record(1, b"first")
        await store.close()


async def test_another_file_in_its_place(path: Path, store: SqliteStore):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"this is no database, though it is long enough to have a header of one " * 100)  # noqa: ASYNC240 - nothing else runs in this loop
    assert (await refused(store.read("a"))).message == (
        "The state file is no database: another file stands in its place."
    )
    path.unlink()  # noqa: ASYNC240 - nothing else runs in this loop
    assert await store.read("a") is None


async def test_a_damaged_file(path: Path, store: SqliteStore):
    for number in range(200):
        await store.write(f"r{number}", b"x" * 2000, expected=0)
    await store.close()
    damaged = bytearray(path.read_bytes())  # noqa: ASYNC240 - nothing else runs in this loop
    damaged[4096:] = b"\xff" * (len(damaged) - 4096)
    path.write_bytes(damaged)  # noqa: ASYNC240 - nothing else runs in this loop
    said = await refused(store.read_many([f"r{number}" for number in range(200)]))
    assert said.message == "The state file is damaged: restore it from a backup, or remove it and sign in again."


async def test_a_directory_in_its_place(path: Path, store: SqliteStore):
    path.mkdir(parents=True)  # noqa: ASYNC240 - nothing else runs in this loop
    assert (await refused(store.read("a"))).message.startswith("The state file cannot be opened")


async def test_a_file_where_its_directory_should_be(path: Path, store: SqliteStore):
    path.parent.write_text("")
    said = await refused(store.read("a"))
    assert said.message == "The state file cannot be opened: File exists."
    assert str(path) not in said.message


async def test_one_that_another_process_holds(path: Path):
    store = SqliteStore(path, timeout_seconds=0.4)
    await store.write("a", b"1", expected=0)
    await store.add([Addition("a", {"n": 1})])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    began = time.perf_counter()
    calls = [store.write("a", b"2", expected=1), store.acquire("l", "me", ttl_seconds=5), store.probe()]
    calls += [store.renew("l", "me", ttl_seconds=5) for _ in range(20)]
    said = await asyncio.gather(*(refused(call) for call in calls), refused(store.add([Addition("a", {"n": 1})])))
    took = time.perf_counter() - began
    assert {each.message for each in said} == {"The state file is held by another process for too long."}
    assert 0.3 < took < generous(0.45)  # one wait for all: those behind it do not wait once more, in turn ten seconds
    assert await store.read("a") == Record(1, b"1")
    holder.execute("ROLLBACK")
    holder.close()
    assert await store.write("a", b"2", expected=1) is None
    assert await store.totals("a") == {"n": 1}
    await store.close()


async def test_a_disk_that_hangs(path: Path):
    """A call that hangs in the thread: all callers fail within the timeout, and the event loop is not blocked."""
    store = SqliteStore(path, timeout_seconds=0.4)
    await store.write("a", b"1", expected=0)
    released = threading.Event()
    stuck = asyncio.ensure_future(refused(store._durable.run(lambda _: released.wait(5))))
    behind = [asyncio.ensure_future(refused(store.read("a"))) for _ in range(20)]
    began = time.perf_counter()
    said = await asyncio.gather(stuck, *behind)
    assert time.perf_counter() - began < generous(0.5)
    assert {each.message for each in said} == {"The state file does not answer."}
    assert await store.totals("c") == {}
    released.set()
    assert await store.read("a") == Record(1, b"1")
    await store.close()


async def test_what_nobody_waits_for_is_not_begun(store: SqliteStore):
    await store.write("a", b"1", expected=0)
    released = threading.Event()
    held = asyncio.ensure_future(store._durable.run(lambda _: released.wait(5)))
    late = asyncio.ensure_future(store.write("a", b"2", expected=1))
    await asyncio.sleep(0.02)
    late.cancel()
    await asyncio.wait({late})
    await asyncio.sleep(0.02)
    released.set()
    assert await held
    assert late.cancelled()
    assert await store.read("a") == Record(1, b"1")


async def test_a_file_that_is_replaced_while_it_is_opened_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before, after = tmp_path / "state.db", tmp_path / "after.db"
    for path in (before, after):
        writer = patient_store(path)
        await writer.write("name", path.name.encode(), expected=0)
        await writer.close()
    connect = sqlite3.connect

    def slow_connect(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        if after.exists():
            after.replace(before)
        return connection

    monkeypatch.setattr(sqlite3, "connect", slow_connect)
    store = patient_store(before)
    await store.read("name")
    assert await store.read("name") == Record(1, b"after.db")
    await store.close()
