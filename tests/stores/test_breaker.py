from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gptmock.errors import StoreUnavailable
from gptmock.stores.breaker import GuardedStore
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.store import Addition, FreedSlot, Quota, Record, Store, WantedSlot
from tests.timing import generous


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def memory() -> MemoryPlace:
    return MemoryPlace()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guarded(memory: MemoryPlace, clock: Clock) -> GuardedStore:
    return GuardedStore(MemoryStore(memory), clock=clock, open_seconds=2.0)


def changes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "gptmock.store"]


@pytest.fixture(autouse=True)
def _every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gptmock.store")


async def refused(store: GuardedStore) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        await store.read("a")
    return caught.value


async def test_another_place_answers_meanwhile_and_what_is_known_of_this_one_stays(
    guarded: GuardedStore, memory: MemoryPlace
):
    other = MemoryStore()
    await other.write("a", b"copied", expected=0)
    memory.fail()
    refusal = await refused(guarded)
    calls = memory.calls
    with guarded.answered_by(other):
        assert guarded.available
        assert await guarded.read("a") == Record(1, b"copied")
    assert (guarded.available, guarded.reason, memory.calls) == (False, refusal.message, calls)
    await refused(guarded)
    assert memory.calls == calls


def test_it_is_a_store(guarded: GuardedStore):
    store: Store = guarded
    assert store is guarded


QUOTAS = [Quota("n", 9, 50, 1), Quota("m", None, 5)]
CALLS: dict[str, Callable[[Store], Awaitable[Any]]] = {
    "read": lambda store: store.read("a"),
    "read_many": lambda store: store.read_many(["a"]),
    "write": lambda store: store.write("a", b"", expected=0, version=3, ttl_seconds=5),
    "delete": lambda store: store.delete("a", expected=3),
    "names": lambda store: store.names("a"),
    "acquire": lambda store: store.acquire("a", "me", ttl_seconds=5),
    "renew": lambda store: store.renew("a", "me", ttl_seconds=5),
    "lease_left": lambda store: store.lease_left("a", "me"),
    "release": lambda store: store.release("a", "me"),
    "add": lambda store: store.add([Addition("a", {"n": 1})]),
    "totals": lambda store: store.totals("a"),
    "counter_names": lambda store: store.counter_names("a"),
    "take_slot": lambda store: store.take_slot("a", "me", limit=1, ttl_seconds=5, quotas=QUOTAS),
    "extend_slots": lambda store: store.extend_slots("a", ["me"], ttl_seconds=5),
    "quota_uses": lambda store: store.quota_uses("a", QUOTAS),
    "append": lambda store: store.append("a", b"x", keep=5),
    "entries": lambda store: store.entries("a", 5),
    "slots_taken": lambda store: store.slots_taken("a"),
    "free_slot": lambda store: store.free_slot("a", "me", quotas=QUOTAS),
    "exchange_slots": lambda store: store.exchange_slots(
        [FreedSlot("a", "me")], [WantedSlot("a", "me", 1, QUOTAS)], ttl_seconds=5
    ),
    "observe": lambda store: store.observe("a", b"x", stamp=1, ttl_seconds=5),
    "observed": lambda store: store.observed(["a"]),
    "probe": lambda store: store.probe(),
}


async def test_every_call_goes_through_as_it_is(clock: Clock):
    plain = MemoryStore(MemoryPlace(clock))
    guarded = GuardedStore(MemoryStore(MemoryPlace(clock)), clock=clock)
    for call in CALLS.values():
        assert await call(guarded) == await call(plain)


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_is_guarded(guarded: GuardedStore, memory: MemoryPlace, name: str):
    memory.fail()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="plays dead"):
            await CALLS[name](guarded)
    assert memory.calls == 1
    assert not guarded.available


async def test_mistakes_of_the_caller_open_nothing(guarded: GuardedStore):
    with pytest.raises(ValueError, match="does not come after"):
        await guarded.write("a", b"", expected=1, version=1)
    assert guarded.available


async def test_a_place_in_trouble_is_asked_once_in_a_while(
    guarded: GuardedStore, memory: MemoryPlace, clock: Clock, caplog: pytest.LogCaptureFixture
):
    memory.fail()
    for _ in range(50):
        await refused(guarded)
    assert memory.calls == 1
    assert guarded.reason == "The store plays dead."
    for paused in range(1, 6):
        clock.now += 3.01  # the longest pause of 2 s, and a half
        for _ in range(50):
            await refused(guarded)
        assert memory.calls == 1 + paused
    assert changes(caplog) == ["store.unavailable"]


async def test_it_recovers_with_the_first_call_after_the_pause(
    guarded: GuardedStore, memory: MemoryPlace, clock: Clock, caplog: pytest.LogCaptureFixture
):
    await guarded.write("a", b"1", expected=0)
    memory.fail()
    await refused(guarded)
    memory.recover()
    clock.now += 1.99
    said = await refused(guarded)
    assert said.retry_after_seconds == 2.0
    clock.now += 1.02
    assert await guarded.read("a") == Record(1, b"1")
    assert guarded.available
    assert guarded.reason is None
    assert changes(caplog) == ["store.unavailable", "store.available"]
    assert [vars(record).get("reason") for record in caplog.records] == ["The store plays dead.", None]
    assert [vars(record).get("after_seconds") for record in caplog.records] == [None, 3.0]


async def test_a_probe_is_enough(guarded: GuardedStore, memory: MemoryPlace, clock: Clock):
    memory.fail()
    await refused(guarded)
    memory.recover()
    clock.now += 3.01
    before = memory.calls
    await guarded.probe()
    assert memory.calls == before + 1
    assert guarded.available


async def test_workers_do_not_probe_together(memory: MemoryPlace):
    memory.fail()
    pauses = set()
    for _ in range(20):
        clock = Clock()
        guarded = GuardedStore(MemoryStore(memory), clock=clock, open_seconds=1.0)
        await refused(guarded)
        before = memory.calls
        while memory.calls == before:
            clock.now += 0.01
            await refused(guarded)
        pauses.add(round(clock.now - 100.0, 2))
    assert min(pauses) >= 1.0
    assert max(pauses) <= 1.52
    assert len(pauses) > 5


async def test_one_probes_while_the_others_fail_at_once(guarded: GuardedStore, memory: MemoryPlace, clock: Clock):
    memory.hang(seconds=0.3)
    await refused(guarded)
    clock.now += 3.01
    before = memory.calls
    began = time.perf_counter()
    prober = asyncio.ensure_future(refused(guarded))
    await asyncio.sleep(0)
    for _ in range(100):
        await refused(guarded)
    assert time.perf_counter() - began < generous(0.25)
    await prober
    assert memory.calls == before + 1


async def test_a_probe_that_is_cancelled_leaves_the_next_one_to_others(
    guarded: GuardedStore, memory: MemoryPlace, clock: Clock
):
    memory.hang(seconds=60)
    first = asyncio.ensure_future(guarded.read("a"))
    await asyncio.sleep(0.01)
    memory.fail()
    await refused(guarded)
    memory.hang(seconds=60)
    clock.now += 3.01
    prober = asyncio.ensure_future(guarded.read("a"))
    await asyncio.sleep(0.01)
    prober.cancel()
    await asyncio.gather(prober, return_exceptions=True)
    memory.recover()
    assert await guarded.read("a") is None
    assert await first is None


async def test_many_that_fail_together_are_one_change(
    guarded: GuardedStore, memory: MemoryPlace, caplog: pytest.LogCaptureFixture
):
    memory.hang(seconds=0.02)
    await asyncio.gather(*(refused(guarded) for _ in range(100)))
    assert memory.calls == 100
    assert changes(caplog) == ["store.unavailable"]


async def test_a_late_failure_of_an_earlier_trouble_opens_nothing(
    guarded: GuardedStore, memory: MemoryPlace, clock: Clock, caplog: pytest.LogCaptureFixture
):
    class Slow(MemoryStore):
        async def names(self, prefix: str) -> list[str]:  # noqa: ARG002 - the contract's
            await released.wait()
            raise StoreUnavailable("late")

    released = asyncio.Event()
    guarded = GuardedStore(Slow(memory), clock=clock, open_seconds=2.0)
    late = asyncio.ensure_future(guarded.names(""))
    await asyncio.sleep(0)
    memory.fail()
    await refused(guarded)
    memory.recover()
    clock.now += 3.01
    await guarded.read("a")
    released.set()
    with pytest.raises(StoreUnavailable, match="late"):
        await late
    assert guarded.available
    assert changes(caplog) == ["store.unavailable", "store.available"]


async def test_what_can_be_read_but_not_written_stays_unavailable(
    memory: MemoryPlace, clock: Clock, caplog: pytest.LogCaptureFixture
):
    class Replica(MemoryStore):
        async def add(self, additions: object) -> None:  # noqa: ARG002 - the contract's
            raise StoreUnavailable("read-only")

        async def probe(self) -> None:
            raise StoreUnavailable("read-only")

    guarded = GuardedStore(Replica(memory), clock=clock)
    assert await guarded.read("a") is None
    with pytest.raises(StoreUnavailable):
        await guarded.add([])
    for _ in range(10):
        clock.now += 5
        await refused(guarded)
    assert changes(caplog) == ["store.unavailable"]


async def test_closing_is_never_refused(guarded: GuardedStore, memory: MemoryPlace):
    memory.fail()
    await refused(guarded)
    await guarded.close()
