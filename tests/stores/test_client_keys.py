from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gptmock.accounts import Secret
from gptmock.clients import ClientKey, ClientKeys, IssuedKey, KeyTerms, key_text
from gptmock.errors import KeyExpired, NameTaken, SealBroken, StoreUnavailable, UnknownClientKey
from gptmock.stores.changes import CHANGES
from gptmock.stores.client_keys import CACHE_SECONDS, MAX_UNKNOWN, StoreClientKeys
from gptmock.stores.locations import Place as StatePlace
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer, SealingKey
from gptmock.stores.store import Record, Store
from tests.stores.conftest import Place
from tests.stores.logins import NEW, OLD, Time, vault_on
from tests.stores.test_migrate import Kept, migrated

A_SECOND = CACHE_SECONDS + 0.2
A_DAY = 86_400.0
TERMS = KeyTerms(
    role="viewer",
    models=("gpt-5.5", "gpt-6-sol"),
    rpm=5,
    tokens_per_day=10_000,
    concurrency=2,
    expires_at=2_000_000_000.0,
    account_id="0123456789abcdef",
)


def keys_on(store: Store, clock: Time | None = None, *ring: SealingKey) -> StoreClientKeys:
    """What one process knows."""
    return StoreClientKeys(store, Sealer(ring or (OLD,)), clock=clock or Time())


class House:
    """Processes on one place in memory."""

    def __init__(self) -> None:
        self.clock = Time()
        self.place = MemoryPlace(self.clock)
        self.mine, self.yours = self.process(), self.process()

    def process(self, *ring: SealingKey) -> StoreClientKeys:
        return keys_on(MemoryStore(self.place), self.clock, *ring)


@pytest.fixture
def house() -> House:
    return House()


# --- Everywhere --------------------------------------------------------------------------


async def test_a_key_is_found_by_every_process_with_all_its_terms(place: Place):
    keys: ClientKeys = keys_on(place.open())
    issued = await keys.create("ada", TERMS)
    assert await keys_on(place.open()).find(issued.text) == issued.key
    assert (issued.key.name, issued.key.terms) == ("ada", TERMS)
    assert await keys_on(place.open()).show("ada") == issued.key
    assert await keys_on(place.open()).show(issued.key.id) == issued.key
    assert await keys_on(place.open()).find(key_text(issued.key.id, "x" * 43)) is None


async def test_keys_are_listed_by_name_the_revoked_ones_too(place: Place):
    keys = keys_on(place.open())
    for name in ("cyd", "ada", "bob"):
        await keys.create(name, KeyTerms())
    revoked = await keys.revoke("bob")
    assert revoked.revoked_at is not None
    listed = await keys_on(place.open()).all()
    assert [(key.name, key.revoked_at is None) for key in listed] == [("ada", True), ("bob", False), ("cyd", True)]
    assert await keys_on(place.open()).show("bob") == revoked


async def test_of_many_who_create_one_name_at_once_one_does(place: Place):
    workers = [keys_on(place.open()) for _ in range(4)]
    made = await asyncio.gather(*(one.create("ada", KeyTerms()) for one in workers), return_exceptions=True)
    assert sorted(type(one).__name__ for one in made) == ["IssuedKey", "NameTaken", "NameTaken", "NameTaken"]
    assert len(await workers[0].all()) == 1


async def test_a_process_that_ended_while_it_created_a_key_keeps_nobody_from_it():
    store = MemoryStore(MemoryPlace())
    assert await store.acquire("keys:create", "one that was killed", ttl_seconds=5.0)
    assert (await keys_on(store).create("ada", KeyTerms())).key.name == "ada"


# --- A life ------------------------------------------------------------------------------


async def test_a_name_is_free_again_when_its_key_is_revoked(house: House):
    first = await house.mine.create("ada", KeyTerms())
    with pytest.raises(NameTaken, match="'ada'"):
        await house.yours.create("ada", KeyTerms())
    await house.yours.revoke("ada")
    house.clock.now += 1
    second = await house.mine.create("ada", KeyTerms())
    assert await house.yours.show("ada") == second.key
    assert (await house.yours.show(first.key.id)).revoked_at is not None
    assert await house.yours.find(second.text) == second.key


async def test_a_revoked_key_is_refused_by_everybody_within_a_second(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    assert await house.yours.find(issued.text) == issued.key
    await house.mine.revoke("ada")
    assert await house.mine.find(issued.text) is None
    house.clock.now += A_SECOND
    assert await house.yours.find(issued.text) is None
    assert await house.yours.revoke("ada") == await house.mine.show("ada"), "again is no change"


async def test_an_expired_key_is_refused_at_that_moment(house: House):
    issued = await house.mine.create("ada", KeyTerms(expires_at=house.clock.now + 0.5))
    assert await house.mine.find(issued.text) == issued.key
    house.clock.now += 0.5
    with pytest.raises(KeyExpired):
        await house.mine.find(issued.text)
    assert await house.mine.find(key_text(issued.key.id, "x" * 43)) is None
    await house.mine.revoke("ada")
    assert await house.mine.find(issued.text) is None


@pytest.mark.parametrize("overlap_seconds", [0.0, 60.0])
async def test_a_rotated_key_keeps_id_and_terms_and_its_old_text_for_as_long_as_wanted(
    house: House, overlap_seconds: float
):
    first = await house.mine.create("ada", TERMS)
    second = await house.yours.rotate("ada", overlap_seconds=overlap_seconds)
    house.clock.now += A_SECOND
    assert (second.key.id, second.key.terms) == (first.key.id, TERMS)
    assert second.key.rotated_at is not None
    assert await house.mine.find(second.text) == second.key
    former = replace(second.key, text_ends_at=second.key.rotated_at + 60)
    assert await house.mine.find(first.text) == (former if overlap_seconds > 1 else None)
    house.clock.now += 60
    assert await house.mine.find(first.text) is None
    assert await house.mine.find(second.text) == second.key


async def test_what_is_not_there_is_said(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    for attempt in (house.mine.show("bob"), house.mine.rotate("bob"), house.mine.revoke("bob")):
        with pytest.raises(UnknownClientKey, match="'bob'"):
            await attempt
    await house.mine.revoke("ada")
    with pytest.raises(UnknownClientKey, match="was revoked"):
        await house.mine.rotate(issued.key.id)


async def test_two_who_change_one_key_do_not_undo_each_other(house: House):
    await house.mine.create("ada", KeyTerms())
    ended = await asyncio.gather(
        house.mine.rotate("ada"), house.yours.revoke("ada"), house.process().rotate("ada"), return_exceptions=True
    )
    done = [one for one in ended if isinstance(one, IssuedKey | ClientKey)]
    assert len(done) == 1
    assert all(isinstance(one, StoreUnavailable) for one in ended if one not in done)
    (record, _) = next(kept for name, kept in house.place.records.items() if name.startswith("key:"))
    assert record.version == 2


async def test_the_text_of_a_key_that_was_written_reaches_its_owner_though_the_store_dies(house: House):
    class Dying(MemoryStore):
        async def release(self, name: str, owner: str) -> bool:
            self.place.fail()
            return await super().release(name, owner)

    issued = await keys_on(Dying(house.place), house.clock).create("ada", KeyTerms())
    house.place.recover()
    assert await house.yours.find(issued.text) == issued.key


# --- What it costs -----------------------------------------------------------------------


async def test_a_key_is_looked_up_about_once_a_second_whoever_uses_it(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    before = house.place.calls
    for _ in range(3):
        found = await asyncio.gather(*(house.yours.find(issued.text) for _ in range(50)))
        assert found == [issued.key] * 50
    assert house.place.calls == before + 3, "the key, and once the peppers: their names and they"
    house.clock.now += A_SECOND
    await asyncio.gather(*(house.yours.find(issued.text) for _ in range(50)))
    assert house.place.calls == before + 4


async def test_a_clock_that_is_set_back_does_not_make_a_look_last(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    assert await house.yours.find(issued.text) == issued.key
    await house.mine.revoke("ada")
    house.clock.now -= 3600
    assert await house.yours.find(issued.text) is None


async def test_invented_keys_are_forgotten_and_cost_those_that_live_nothing(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    await house.yours.find(issued.text)
    for number in range(MAX_UNKNOWN + 50):
        assert await house.yours.find(key_text(f"{number:08}", "x" * 43)) is None
    before = house.place.calls
    assert await house.yours.find(issued.text) == issued.key
    assert await house.yours.find(key_text(f"{MAX_UNKNOWN:08}", "x" * 43)) is None
    assert house.place.calls == before
    assert await house.yours.find(key_text("00000000", "x" * 43)) is None
    assert house.place.calls == before + 1


async def test_a_reload_knows_all_keys_and_tells_the_accounts_of_those_that_live(house: House):
    bound = await house.mine.create("ada", KeyTerms(account_id="a" * 16))
    free = await house.mine.create("bob", KeyTerms())
    await house.mine.create("cyd", KeyTerms(account_id="c" * 16))
    await house.mine.revoke("cyd")
    assert await house.yours.reload() == ("a" * 16,)
    house.place.fail()
    for one in (bound, free):
        assert await house.yours.find(one.text) == one.key
    with pytest.raises(StoreUnavailable):
        await house.yours.reload()


async def test_a_confirmed_key_is_not_looked_for_and_an_unknown_one_is(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    await house.yours.reload()
    assert await house.yours.find(key_text("A" * 8, "x" * 43)) is None
    house.clock.now += 10 * A_SECOND
    house.yours.confirm(house.clock.now)
    before = house.place.calls
    assert await house.yours.find(issued.text) == issued.key
    assert house.place.calls == before
    assert await house.yours.find(key_text("A" * 8, "x" * 43)) is None
    assert house.place.calls == before + 1


async def test_a_record_that_does_not_open_keeps_no_other_key_from_being_known(house: House):
    broken, good = await house.mine.create("ada", KeyTerms()), await house.mine.create("bob", KeyTerms())
    await house.yours.reload()
    name = f"key:{{{broken.key.id}}}:terms"
    record, ends = house.place.records[name]
    house.place.records[name] = Record(record.version + 1, record.value), ends
    await house.yours.reload()
    with pytest.raises(SealBroken):
        await house.yours.find(broken.text)
    assert await house.yours.find(good.text) == good.key


# --- Trouble -----------------------------------------------------------------------------


async def test_while_the_store_is_away_a_key_that_was_seen_lets_in_until_its_own_end(house: House):
    issued, unseen = await house.mine.create("ada", KeyTerms()), await house.mine.create("bob", KeyTerms())
    ends = await house.mine.create("cyd", KeyTerms(expires_at=house.clock.now + 10 * A_DAY))
    for one in (issued, ends):
        await house.yours.find(one.text)
    house.place.fail()
    for _ in range(9):
        house.clock.now += A_DAY
        assert await house.yours.find(issued.text) == issued.key
        assert await house.yours.find(ends.text) == ends.key
        with pytest.raises(StoreUnavailable):
            await house.yours.find(unseen.text)
    house.clock.now += A_DAY
    assert await house.yours.find(issued.text) == issued.key
    with pytest.raises(KeyExpired):
        await house.yours.find(ends.text)


async def test_a_key_that_is_put_back_is_counted_as_a_change(house: House):
    """Other workers look at nothing but the counter."""
    await house.mine.create("ada", KeyTerms())
    backup = dict(house.place.records)
    await house.mine.revoke("ada")
    await house.mine.reload()
    house.place.records.clear()
    house.place.records.update(backup)
    before = house.place.records[CHANGES][0].version
    await house.mine.reload()
    assert house.place.records[CHANGES][0].version > before


async def test_a_store_that_was_emptied_learns_its_keys_again_and_no_revoked_one_comes_back(house: House):
    living, revoked = await house.mine.create("ada", KeyTerms()), await house.mine.create("bob", KeyTerms())
    before = dict(house.place.records)
    await house.mine.revoke("bob")
    for one in (living, revoked):
        await house.yours.find(one.text)
    for dump in ({}, before):
        house.place.records.clear()
        house.place.records.update(dump)
        house.clock.now += A_SECOND
        assert await house.yours.find(living.text) == living.key
        assert await house.yours.find(revoked.text) is None
        assert await house.process().find(living.text) == living.key
        assert await house.process().find(revoked.text) is None


# --- At rest -----------------------------------------------------------------------------


async def test_a_dump_tells_nothing_and_lets_nobody_in(house: House):
    issued = await house.mine.create("planted-name", TERMS)
    ((name, (record, _)),) = [kept for kept in house.place.records.items() if kept[0].startswith("key:")]
    assert b"planted" not in record.value
    assert b"viewer" not in record.value
    assert issued.text.reveal() not in name + repr(issued) + repr(issued.key)
    with pytest.raises(SealBroken):
        await house.process(NEW).find(issued.text)


async def test_a_record_that_was_moved_or_changed_does_not_open(house: House):
    mine, other = await house.mine.create("ada", KeyTerms()), await house.mine.create("eve", KeyTerms(role="admin"))
    names = {one.key.id: f"key:{{{one.key.id}}}:terms" for one in (mine, other)}
    house.place.records[names[mine.key.id]] = house.place.records[names[other.key.id]]
    with pytest.raises(SealBroken):
        await house.process().find(mine.text)


async def test_keys_are_sealed_anew_with_the_rest(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    assert await vault_on(MemoryStore(house.place), NEW, OLD).reseal() == 2, "the key and its pepper"
    assert await house.process(NEW).find(issued.text) == issued.key
    assert await vault_on(MemoryStore(house.place), NEW, OLD).reseal() == 0


async def test_keys_are_carried_with_the_rest_and_a_revoked_one_does_not_come_back():
    source, target = Kept(), Kept()
    issued, text = await _two(source)
    found = await migrated(source, target)
    assert found.keys.carried == 2
    assert await keys_on(target.open()).find(issued) is not None
    await keys_on(target.open()).revoke("ada")
    assert (await migrated(source, target)).keys.kept == 1
    assert await keys_on(target.open()).find(issued) is None
    assert await keys_on(target.open()).find(text) is not None


async def _two(place: StatePlace) -> tuple[Secret, Secret]:
    keys = keys_on(place.open())
    return (await keys.create("ada", KeyTerms())).text, (await keys.create("bob", KeyTerms())).text


# --- Changed terms -----------------------------------------------------------------------


async def test_changed_terms_are_seen_by_every_process_and_the_secret_stays(place: Place):
    keys = keys_on(place.open())
    issued = await keys.create("ada", TERMS)
    changed = await keys.update("ada", lambda terms: replace(terms, rpm=None, tokens_per_week=7))
    assert changed.terms == replace(TERMS, rpm=None, tokens_per_week=7)
    assert await keys_on(place.open()).find(issued.text) == changed
    assert await keys.find(issued.text) == changed


async def test_a_revoked_key_keeps_its_terms(house: House):
    await house.mine.create("ada", TERMS)
    await house.mine.revoke("ada")
    with pytest.raises(UnknownClientKey, match="was revoked"):
        await house.mine.update("ada", lambda terms: replace(terms, rpm=1))
    assert (await house.mine.show("ada")).terms == TERMS


async def test_of_two_changes_at_once_the_later_one_is_told(house: House):
    await house.mine.create("ada", TERMS)
    changes = [keys.update("ada", lambda terms: replace(terms, rpm=1)) for keys in (house.mine, house.yours)]
    done = await asyncio.gather(*changes, return_exceptions=True)
    assert sorted(isinstance(one, StoreUnavailable) for one in done) == [False, True]
