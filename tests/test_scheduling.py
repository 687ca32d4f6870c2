"""How a run is spread over processes: the units, and the lock that lets a test run alone."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.isolation import RunLock
from tests.scheduling import stage_of, unit_of
from tests.timing import generous


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("tests/stores/test_seal.py::test_a[1::2]", "tests/stores/test_seal.py"),
        ("tests/clients/test_wire.py::test_a[x]", "tests/clients/test_wire.py"),
        ("tests/faults/test_pool.py::test_a[redis-tests/x::y]", "tests/faults/test_pool.py::test_a[redis-tests/x::y]"),
    ],
)
def test_a_unit_is_a_file_or_a_test(nodeid: str, unit: str):
    assert unit_of(nodeid) == unit


def test_this_one_is_of_the_core_and_known_to_be_so(request: pytest.FixtureRequest):
    assert stage_of(request.node) == "core"
    assert ("stage", "core") in request.node.user_properties


class Entered(threading.Thread):
    """Another process's test: waits for its turn from the start on."""

    def __init__(self, lock: RunLock, *, alone: bool) -> None:
        super().__init__(daemon=True)
        self._lock, self._alone = lock, alone
        self.running = threading.Event()
        self.start()

    def run(self) -> None:
        self._lock.enter(alone=self._alone)
        self.running.set()


def test_ordinary_tests_run_side_by_side_and_one_that_is_alone_waits_for_them(tmp_path: Path):
    one, other, third = (RunLock(tmp_path / "lock") for _ in range(3))
    one.enter(alone=False)
    other.enter(alone=False)
    alone = Entered(third, alone=True)
    one.leave(next_alone=False)
    assert not alone.running.wait(0.1)
    other.leave(next_alone=False)
    assert alone.running.wait(generous(1))


def test_those_behind_one_that_waits_to_be_alone_do_not_overtake_it(tmp_path: Path):
    one, other, third = (RunLock(tmp_path / "lock") for _ in range(3))
    one.enter(alone=False)
    alone = Entered(other, alone=True)
    # It is in the queue as soon as a third cannot enter.
    behind = Entered(third, alone=False)
    while behind.running.wait(0.05):
        third.leave(next_alone=False)
        behind = Entered(third, alone=False)
    assert not alone.running.is_set()
    one.leave(next_alone=False)
    assert alone.running.wait(generous(1))
    other.leave(next_alone=True)
    assert not behind.running.wait(0.1)
    other.enter(alone=True)
    other.leave(next_alone=False)
    assert behind.running.wait(generous(1))
