from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gptmock.errors import StoreUnavailable
from gptmock.stores import usage_journal
from gptmock.stores.limits_and_usage import SharedUsage
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.store import Addition
from gptmock.stores.usage_journal import UsageJournal, left_journals, open_journal
from gptmock.usage import TurnUsage
from tests.stores.logins import ADA, Time

KILLED = """
import os, signal, sys
from pathlib import Path
from gptmock.stores.usage_journal import UsageJournal

journal = UsageJournal(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    journal.note((20_000, "ada", sys.argv[3], "m"), {"requests": 1, "input_tokens": number})
journal.settled(int(sys.argv[4]))
print(journal.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
DAY = "2024-10-04"


def killed_worker(folder: Path, turns: int, *, settled: int = 0) -> str:
    """A worker is killed that had ended so many turns; the id of its journal."""
    command = [sys.executable, "-c", KILLED, str(folder), str(turns), ADA.id, str(settled)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout.decode().strip()


def worker(folder: Path, place: MemoryPlace) -> SharedUsage:
    return SharedUsage(MemoryStore(place), clock=Time(), journal=UsageJournal(folder))


async def counted(usage: SharedUsage) -> Sequence[int]:
    (row,) = await usage.report([DAY])
    return row.amounts["requests"], row.amounts["input_tokens"]


def turn() -> TurnUsage:
    return TurnUsage(ADA.id, "m", "ada", input_tokens=5)


async def test_the_turns_of_a_killed_worker_are_counted_once_by_another(tmp_path: Path):
    killed_worker(tmp_path / "usage", 4)
    place = MemoryPlace()
    workers = [worker(tmp_path / "usage", place) for _ in range(2)]
    for _ in range(2):
        for one in workers:
            await one.settle()
    assert await counted(workers[0]) == (4, 0 + 1 + 2 + 3)
    for one in workers:
        await one.close()
    assert list((tmp_path / "usage").iterdir()) == []


@pytest.mark.parametrize("removed", [0, 1, 3])
async def test_what_the_store_counts_of_them_is_not_counted_again(tmp_path: Path, removed: int):
    journal_id = killed_worker(tmp_path, 4, settled=removed)
    place = MemoryPlace()
    await MemoryStore(place).add([Addition(f"usage_journal:{journal_id}", {"turns": 3})])
    one = worker(tmp_path, place)
    await one.settle()
    assert await counted(one) == (1, 3)


async def test_a_store_that_is_away_gets_them_later(tmp_path: Path):
    killed_worker(tmp_path, 4)
    place = MemoryPlace()
    one = worker(tmp_path, place)
    place.fail()
    await one.settle()
    place.recover()
    await one.settle()
    assert (await counted(one))[0] == 4


class ForgetfulStore(MemoryStore):
    """Makes an addition, and does not say so."""

    forgets = False

    async def add(self, additions: Sequence[Addition]) -> None:
        await super().add(additions)
        if self.forgets:
            raise StoreUnavailable("The answer was lost.", retry_after_seconds=1.0)


async def test_an_addition_whose_answer_was_lost_is_not_repeated(tmp_path: Path):
    store = ForgetfulStore(MemoryPlace())
    one = SharedUsage(store, clock=Time(), journal=UsageJournal(tmp_path))
    for forgets in (True, False, True, False):
        store.forgets = forgets
        one.began(ADA.id)
        one.ended(turn())
        await one.settle()
    await one.close()
    assert (await one.read(ADA.id)).today["requests"] == 4


async def test_a_worker_that_stops_without_a_store_leaves_its_turns_to_the_others(tmp_path: Path):
    place = MemoryPlace()
    one, other = worker(tmp_path, place), worker(tmp_path, place)
    one.began(ADA.id)
    one.ended(turn())
    place.fail()
    await one.close()
    place.recover()
    await other.settle()
    await other.settle()
    assert (await other.read(ADA.id)).today["requests"] == 1


def test_turns_that_end_meanwhile_stay_in_the_journal(tmp_path: Path):
    journal_id = killed_worker(tmp_path, 5, settled=3)
    (left,) = left_journals(tmp_path)
    assert (left.id, [line.number for line in left.lines]) == (journal_id, [4, 5])
    assert list(left_journals(tmp_path)) == [], "it is locked"
    left.close()
    (left,) = left_journals(tmp_path)
    left.remove()
    left.close()
    assert list(tmp_path.iterdir()) == []


def test_a_journal_of_a_store_that_is_away_for_long_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(usage_journal, "MAX_BYTES", 100)
    journal = UsageJournal(tmp_path)
    for _ in range(100):
        journal.note((1, "", "a", "m"), {"requests": 1})
    (path,) = tmp_path.iterdir()
    assert (journal.count, path.stat().st_size < 200) == (100, True)
    journal.settled(100)
    assert path.stat().st_size == 0
    journal.close()


def test_without_a_folder_that_can_be_written_there_is_no_journal(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").touch()
    assert open_journal(None) is open_journal(tmp_path / "file") is None
    assert [record.getMessage() for record in caplog.records] == ["usage.journal_failed"]
