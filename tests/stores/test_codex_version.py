from __future__ import annotations

import asyncio

import pytest

from gptmock.errors import StoreUnavailable
from gptmock.stores.changes import revision
from gptmock.stores.codex_version import KEPT_SECONDS, NAME, SharedVersion
from gptmock.stores.memory import MemoryPlace, MemoryStore
from tests.stores.conftest import Place


async def test_at_first_there_is_none(near_place: Place):
    assert await SharedVersion(near_place.open()).load() is None


async def test_what_one_worker_saves_all_load(near_place: Place):
    await SharedVersion(near_place.open()).save("0.172.0")
    assert await SharedVersion(near_place.open()).load() == "0.172.0"


@pytest.mark.parametrize(
    ("low", "high"), [("0.172.0", "0.173.0"), ("0.99.9", "0.100.0"), ("0.172.9", "0.172.10"), ("0.172.9999", "0.173.0")]
)
async def test_the_higher_one_stays(near_place: Place, low: str, high: str):
    mine, other = (SharedVersion(near_place.open()) for _ in range(2))
    await mine.save(low)
    await other.save(high)
    await mine.save(low)
    assert await mine.load() == high


async def test_of_many_at_once_the_highest_stays(near_place: Place):
    store = near_place.open()
    await asyncio.gather(*(SharedVersion(store).save(f"0.{number}.0") for number in (172, 180, 175, 179, 171)))
    assert await SharedVersion(near_place.open()).load() == "0.180.0"


async def test_a_higher_version_counts_a_change_and_a_lower_one_does_not(near_place: Place):
    store = near_place.open()
    before = await revision(store)
    await SharedVersion(store).save("0.172.0")
    after = await revision(store)
    assert after > before
    await SharedVersion(store).save("0.170.0")
    assert await revision(store) == after


@pytest.mark.parametrize("value", [b"", b"\xff", b"999.0.0", b"0.172.0-alpha", b"new"])
async def test_what_is_not_plausible_is_not_loaded(near_place: Place, value: bytes):
    store = near_place.open()
    await store.observe(NAME, value, stamp=1.0, ttl_seconds=KEPT_SECONDS)
    assert await SharedVersion(store).load() is None
    await SharedVersion(store).save("0.172.0")
    assert await SharedVersion(store).load() == "0.172.0"


async def test_a_store_in_trouble_is_said_to_be():
    store = MemoryStore(MemoryPlace())
    store.place.fail()
    for asked in (SharedVersion(store).load(), SharedVersion(store).save("0.172.0")):
        with pytest.raises(StoreUnavailable):
            await asked
