"""What ``MemoryPlace`` adds to the contract: a clock that tests move, simulated outages, and a count of round trips."""

from __future__ import annotations

import asyncio

import pytest

from gptmock.errors import StoreUnavailable
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.store import Addition, Record


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_time_moves_when_the_test_says_so():
    clock = Clock()
    store = MemoryStore(MemoryPlace(clock))
    await store.write("a", b"1", expected=0, ttl_seconds=60)
    await store.acquire("a", "me", ttl_seconds=60)
    await store.add([Addition("a", {"n": 1}, 60)])
    await store.take_slot("a", "me", limit=1, ttl_seconds=60)
    await store.observe("a", b"1", stamp=1, ttl_seconds=60)
    clock.now = 59.999
    assert await store.read("a") == Record(1, b"1")
    assert await store.lease_left("a", "me") == pytest.approx(0.001)
    assert await store.totals("a") == {"n": 1}
    assert await store.slots_taken("a") == 1
    assert await store.observed(["a"]) == [b"1"]
    clock.now = 60
    assert await store.read("a") is None
    assert await store.lease_left("a", "me") == 0.0
    assert await store.totals("a") == {}
    assert await store.slots_taken("a") == 0
    assert await store.observed(["a"]) == [None]


async def test_handles_share_a_place_and_round_trips_are_counted():
    place = MemoryPlace()
    one, other = MemoryStore(place), MemoryStore(place)
    await one.write("a", b"1", expected=0)
    await other.read_many(["a", "b", "c"])
    await other.add([Addition("a", {"n": 1}), Addition("b", {"n": 1})])
    await other.read_many([])
    await other.add([Addition("a", {})])
    assert place.calls == 3
    assert await MemoryStore().read("a") is None


async def test_it_plays_dead_until_it_recovers():
    place = MemoryPlace()
    store = MemoryStore(place)
    place.fail()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.read("a")
    place.recover()
    assert await store.read("a") is None


async def test_it_hangs_and_lets_those_through_that_still_wait():
    place = MemoryPlace()
    store = MemoryStore(place)
    place.hang(seconds=0.01)
    with pytest.raises(StoreUnavailable):
        await store.read("a")
    place.hang(seconds=60)
    waiting = asyncio.ensure_future(store.write("a", b"1", expected=0))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    place.recover()
    assert await waiting is None


async def test_it_forgets():
    place = MemoryPlace()
    store = MemoryStore(place)
    await store.write("a", b"1", expected=0, version=9)
    await store.acquire("a", "me", ttl_seconds=60)
    place.forget()
    assert await store.read("a") is None
    assert await store.acquire("a", "you", ttl_seconds=60)
