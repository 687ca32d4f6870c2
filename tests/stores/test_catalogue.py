from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gptmock.catalog import CatalogSnapshot
from gptmock.errors import StoreUnavailable
from gptmock.stores import catalogue
from gptmock.stores.catalogue import StoreCatalogCache
from gptmock.stores.memory import MemoryPlace, MemoryStore
from tests.stores.conftest import Place
from tests.stores.logins import ADA, BOB, NOW

VERSION = "0.169.0"
FIRST = CatalogSnapshot(b'{"models":[{"slug":"a"}]}', 'W/"1"', NOW, version=VERSION)
SECOND = CatalogSnapshot(b'{"models":[{"slug":"b"}]}', None, NOW + 300, heard=('W/"2"', '"3"'), version=VERSION)


def cache(place: Place) -> StoreCatalogCache:
    """One more worker's."""
    return StoreCatalogCache(place.open())


async def test_at_first_nothing_is_known(near_place: Place):
    assert await cache(near_place).load(ADA.id, VERSION) is None
    assert await cache(near_place).load(ADA.id, VERSION, known=FIRST) is None


async def test_what_one_worker_saves_all_load(near_place: Place):
    mine = cache(near_place)
    for snapshot in (FIRST, SECOND, FIRST):
        await mine.save(ADA.id, snapshot)
        assert await cache(near_place).load(ADA.id, VERSION) == snapshot
        assert await cache(near_place).load(ADA.id, VERSION, known=FIRST) == snapshot
    assert await mine.load(BOB.id, VERSION) is None


async def test_another_version_sees_other_models(near_place: Place):
    mine, newer = cache(near_place), replace(SECOND, version="0.200.0")
    await mine.save(ADA.id, FIRST)
    assert await mine.load(ADA.id, "0.200.0") is None
    assert await mine.load(ADA.id, "0.200.0", known=FIRST) is None
    await mine.save(ADA.id, newer)
    assert await cache(near_place).load(ADA.id, "0.200.0") == newer
    assert await cache(near_place).load(ADA.id, VERSION) == FIRST


async def test_a_document_that_is_known_is_not_moved_again():
    store = MemoryStore(MemoryPlace())
    worker = StoreCatalogCache(store)
    await worker.save(ADA.id, FIRST)
    later = replace(FIRST, checked_at=NOW + 300)
    await worker.save(ADA.id, later)
    before = store.place.calls
    loaded = await worker.load(ADA.id, VERSION, known=FIRST)
    assert store.place.calls == before + 1
    assert loaded == later
    assert loaded is not None
    assert loaded.document is FIRST.document


async def test_halves_of_two_writers_are_nothing(near_place: Place):
    await cache(near_place).save(ADA.id, FIRST)
    store = near_place.open()
    (name,) = [one for one in await store.names("catalogue:") if one.endswith(":document")]
    record = await store.read(name)
    assert record is not None
    await store.write(name, b"other", expected=record.version)
    assert await cache(near_place).load(ADA.id, VERSION) is None
    await store.delete(name)
    assert await cache(near_place).load(ADA.id, VERSION) is None
    await cache(near_place).save(ADA.id, SECOND)
    assert await cache(near_place).load(ADA.id, VERSION) == SECOND


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b'{"digest": 5}'])
async def test_a_head_of_another_program_is_nothing(near_place: Place, value: bytes):
    await cache(near_place).save(ADA.id, FIRST)
    store = near_place.open()
    (name,) = [one for one in await store.names("catalogue:") if one.endswith(":head")]
    record = await store.read(name)
    assert record is not None
    await store.write(name, value, expected=record.version)
    assert await cache(near_place).load(ADA.id, VERSION) is None


async def test_one_worker_has_the_claim(near_place: Place):
    workers = [cache(near_place) for _ in range(4)]
    for _ in range(3):
        claims = await asyncio.gather(*(worker.claim(ADA.id) for worker in workers))
        assert sorted(claims) == [False, False, False, True]
        assert await workers[0].claim(BOB.id)
        holder = workers[claims.index(True)]
        for worker in workers:
            if worker is not holder:
                await worker.release(ADA.id)
        assert not await workers[0].claim(ADA.id)
        await holder.release(ADA.id)
        await workers[0].release(BOB.id)


async def test_a_claim_ends_by_itself(near_place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalogue, "CLAIM_SECONDS", 0.05)
    assert await cache(near_place).claim(ADA.id)
    async with asyncio.timeout(10):
        while not await cache(near_place).claim(ADA.id):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)


async def test_a_store_in_trouble_is_said_to_be():
    store = MemoryStore(MemoryPlace())
    store.place.fail()
    worker = StoreCatalogCache(store)
    for asked in (worker.load(ADA.id, VERSION), worker.save(ADA.id, FIRST), worker.claim(ADA.id)):
        with pytest.raises(StoreUnavailable):
            await asked
    await worker.release(ADA.id)
