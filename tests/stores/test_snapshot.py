from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from gptmock.accounts import Secret
from gptmock.catalog import CatalogSnapshot
from gptmock.clients import KeyTerms
from gptmock.errors import NotLoggedIn, StoreUnavailable
from gptmock.stores.breaker import GuardedStore
from gptmock.stores.catalogue import StoreCatalogCache
from gptmock.stores.client_keys import StoreClientKeys
from gptmock.stores.escrow import FileEscrow
from gptmock.stores.limits_and_usage import SharedLimits
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer, SealingKey
from gptmock.stores.snapshot import FILE_NAME, SealedSnapshot
from gptmock.stores.vault import SealedVault
from tests.stores.logins import ADA, BOB, NEW, OLD, name_of, tokens


class Worker:
    """One worker's way to a store that it shares with others, and to the files of its server."""

    def __init__(self, place: MemoryPlace, server: Path | None, home: Path, *keys: SealingKey) -> None:
        sealer = Sealer(keys or (OLD,))
        self.store = GuardedStore(MemoryStore(place))
        self.vault = SealedVault(self.store, sealer)
        self.keys = StoreClientKeys(self.store, sealer, clock=time.time)
        self.limits = SharedLimits(self.store)
        self.catalogues = StoreCatalogCache(self.store)
        self.escrow = FileEscrow(home, sealer)
        self.snapshot = SealedSnapshot(server, self.store, sealer, self.escrow, clock=time.time)

    async def keep(self) -> None:
        await self.snapshot.keep(await self.vault.revision())

    async def has_copy(self) -> bool:
        async with self.snapshot.standing_in() as is_kept:
            return is_kept


class House:
    """A store and a server; ``worker`` starts one more of it."""

    def __init__(self, folder: Path) -> None:
        self.place = MemoryPlace()
        self.server, self.home = folder / "server", folder / "home"
        self.server.mkdir(mode=0o700)

    def worker(self, *keys: SealingKey) -> Worker:
        return Worker(self.place, self.server, self.home, *keys)

    @property
    def file(self) -> Path:
        return self.server / FILE_NAME


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture(autouse=True)
def _every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gptmock.store")


async def test_whoever_starts_while_the_store_is_away_knows_what_its_siblings_know(house: House):
    sibling, now = house.worker(), time.time()
    await sibling.vault.enroll(tokens("ada"), label="ada")
    await sibling.vault.enroll(tokens("bob", BOB), label="bob")
    issued = await sibling.keys.create("k", KeyTerms(account_id=BOB.id))
    await sibling.limits.park(ADA.id, until=now + 600, now=now)
    catalogue = CatalogSnapshot(b"[]", '"tag"', now)
    await sibling.catalogues.save(ADA.id, catalogue)
    await sibling.keep()
    house.place.fail()
    late = house.worker()
    with pytest.raises(StoreUnavailable):
        await late.vault.default()
    async with late.snapshot.standing_in() as is_kept:
        assert is_kept
        assert await late.vault.default() == ADA.id
        assert [login.label for login in await late.vault.logins()] == ["ada", "bob"]
        assert name_of(await late.vault.load(BOB.id)) == "bob"
        assert await late.keys.find(issued.text) == issued.key
        standings = await late.limits.look((ADA.id, BOB.id), conversation=None)
        assert [one.parked_until for one in standings.accounts] == [now + 600, None]
        assert await late.catalogues.load(ADA.id, catalogue.version) == catalogue
        assert await late.vault.revision() > 0
    with pytest.raises(StoreUnavailable):
        await late.vault.default()
    assert await late.keys.find(issued.text) == issued.key


async def test_what_was_changed_meanwhile_wins_when_the_store_is_back(house: House):
    sibling = house.worker()
    await sibling.vault.enroll(tokens("ada"))
    issued = await sibling.keys.create("k", KeyTerms())
    await sibling.keep()
    await sibling.vault.forget(ADA.id)
    await sibling.keys.revoke("k")
    house.place.fail()
    late = house.worker()
    async with late.snapshot.standing_in():
        await late.vault.load(ADA.id)
        await late.keys.reload()
    house.place.recover()
    await late.keys.reload()
    assert await late.keys.find(issued.text) is None
    with pytest.raises(NotLoggedIn):
        await late.vault.load(ADA.id)


async def test_the_escrow_knows_better(house: House):
    sibling = house.worker()
    held = await sibling.vault.enroll(tokens("1"))
    await sibling.keep()
    await sibling.escrow.put(tokens("2", version=held.version + 10))
    house.place.fail()
    late = house.worker()
    async with late.snapshot.standing_in():
        found = await late.vault.load(ADA.id)
    assert (name_of(found), found.version) == ("2", held.version + 10)


async def test_an_older_one_in_the_escrow_does_not(house: House):
    sibling = house.worker()
    held = await sibling.vault.enroll(tokens("1"))
    await sibling.escrow.put(tokens("0", version=held.version - 1))
    await sibling.keep()
    house.place.fail()
    late = house.worker()
    async with late.snapshot.standing_in():
        assert name_of(await late.vault.load(ADA.id)) == "1"


async def test_it_is_written_when_the_counter_has_moved_and_at_no_other_time(house: House):
    worker = house.worker()
    await worker.vault.enroll(tokens("1"))
    await worker.keep()
    first = house.file.stat().st_ino, house.place.calls
    await worker.snapshot.keep(await worker.vault.revision())
    assert (house.file.stat().st_ino, house.place.calls) == (first[0], first[1] + 1)
    await worker.vault.enroll(tokens("2"))
    await worker.keep()
    assert house.file.stat().st_ino != first[0]
    second = house.file.stat().st_ino
    worker.snapshot.outdate()
    await worker.keep()
    assert house.file.stat().st_ino != second


async def test_only_its_owner_reads_it_and_nobody_without_the_key(house: House):
    worker = house.worker()
    held = await worker.vault.enroll(tokens("1"), label="label-of-ada")
    issued = await worker.keys.create("name-of-key", KeyTerms())
    await worker.keep()
    assert house.file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in house.server.iterdir()] == [FILE_NAME]
    data = house.file.read_bytes()
    assert held.refresh_token is not None
    secrets = [held.access_token, held.refresh_token, issued.text, Secret("label-of-ada"), Secret("name-of-key")]
    assert not [one for one in (*secrets, Secret(ADA.id), Secret("acct:")) if one.reveal().encode() in data]
    assert not await house.worker(NEW).has_copy()
    assert await house.worker(NEW, OLD).has_copy()


@pytest.mark.parametrize("spoil", ["flip", "cut", "empty", "gone"])
async def test_one_that_does_not_open_is_none(house: House, caplog: pytest.LogCaptureFixture, spoil: str):
    worker = house.worker()
    await worker.vault.enroll(tokens("1"))
    await worker.keep()
    data = house.file.read_bytes()
    if spoil == "gone":
        house.file.unlink()
    else:
        house.file.write_bytes({"flip": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:60], "empty": b""}[spoil])
    assert not await house.worker().has_copy()
    told = [record.message for record in caplog.records]
    assert told == ([] if spoil == "gone" else ["store.snapshot_unreadable"])


async def test_a_store_that_fails_meanwhile_leaves_the_copy_and_is_copied_later(house: House):
    worker = house.worker()
    await worker.vault.enroll(tokens("1"))
    revision = await worker.vault.revision()
    house.place.fail()
    with pytest.raises(StoreUnavailable):
        await worker.snapshot.keep(revision)
    house.place.recover()
    assert not house.file.exists()
    await house.worker().snapshot.keep(revision)
    assert house.file.exists()


async def test_a_folder_that_is_gone_is_not_made_again(house: House):
    house.server.rmdir()
    worker = house.worker()
    await worker.vault.enroll(tokens("1"))
    await worker.keep()
    assert not house.server.exists()


async def test_a_folder_that_cannot_be_written_stops_nobody(house: House, caplog: pytest.LogCaptureFixture):
    worker = house.worker()
    await worker.vault.enroll(tokens("1"))
    house.file.mkdir()
    await worker.keep()
    assert [record.message for record in caplog.records] == ["store.snapshot_not_written"]
    assert not await worker.has_copy()


async def test_without_a_folder_nothing_is_kept(house: House):
    worker = Worker(house.place, None, house.home)
    await worker.vault.enroll(tokens("1"))
    calls = house.place.calls
    await worker.snapshot.keep(7)
    assert house.place.calls == calls
    assert not await worker.has_copy()
