"""Migration between real stores: interrupted at every call, in every direction, and repeated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.audit import Actor, AuditEvent
from gptmock.clients import ClientKey, KeyTerms
from gptmock.errors import LockBusy, StoreUnavailable, UnusableKey, WrongPlace
from gptmock.stores.audit import StoreAuditLog
from gptmock.stores.codex_version import SharedVersion
from gptmock.stores.invitations import StoreInvitations
from gptmock.stores.key_limits import StoreKeyLimits
from gptmock.stores.keys import PREFIX
from gptmock.stores.locations import KEY_FILE, STATE_FILE, Place
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.migrate import Migration, carry
from gptmock.stores.migrate_current import Tally
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Addition, Record, Store
from tests.stores.logins import ADA, BOB, NEW, OLD, Time, name_of, rotated, tokens, vault_on
from tests.stores.servers import RedisServer, binary_of, running

TOTAL = f"acct:{{{ADA.id}}}:usage"
DAY = f"{TOTAL}:2026-11-24"
NOTHING = Tally()
SEALED = Sealer([OLD]).seal(b"{}", kind="key", name=f"key:{{{'k' * 8}}}:terms", version=1)
ACTOR = Actor("ada", "laptop")
EVENTS = tuple(AuditEvent(1_790_000_000.0 + n, ACTOR, "key.created", "k" * 8, f"{n}") for n in range(3))


@dataclass(frozen=True)
class Kept(Place):
    """A place in memory."""

    memory: MemoryPlace = field(default_factory=MemoryPlace)

    def open(self, *, timeout_seconds: float | None = None) -> Store:  # noqa: ARG002 - the contract's
        return MemoryStore(self.memory)

    def content(self) -> object:
        """All that is there, to compare."""
        counters = {name: totals for name, (totals, _) in self.memory.counters.items()}
        return dict(self.memory.records), counters, dict(self.memory.leases)

    def totals(self, name: str = TOTAL) -> dict[str, int]:
        return self.memory.counters.get(name, ({}, 0.0))[0]


async def migrated(source: Place, target: Place, *, dry_run: bool = False) -> Migration:
    return await carry(source, target, [OLD], dry_run=dry_run, progress=lambda *_: None)


async def add(place: Place, **amounts: int) -> None:
    store = place.open()
    await store.add([Addition(TOTAL, amounts), Addition(DAY, amounts)])
    await store.close()


async def fill(place: Place) -> None:
    """Fill a store: two accounts, one of them logged out, all other migrated kinds, and kinds not migrated."""
    store = place.open()
    vault = vault_on(store)
    await vault.check_key()
    await vault.enroll(tokens("ada"), label="work")
    await vault.enroll(tokens("bob", BOB))
    await vault.forget(BOB.id)
    await store.write("taken:0123", b"taken", expected=0)
    await store.write("taken:4567", b"claimed", expected=0)
    await store.write("worker:1", b"{}", expected=0)
    await store.add([Addition("rpm", {"n": 1}, 60)])
    await use(store, "k" * 8, tokens=70)
    await note(store, *EVENTS)
    await SharedVersion(store).save("0.150.0")
    await store.close()
    await add(place, requests=3, output_tokens=50)


def key_of(key_id: str) -> ClientKey:
    return ClientKey(key_id, key_id, 0.0, KeyTerms(rpm=9, tokens_per_day=1000, tokens_per_week=5000))


async def use(store: Store, key_id: str, *, tokens: int) -> None:
    """A turn of a limited key, whose record is there."""
    limits, turn = StoreKeyLimits(store), f"turn-{tokens}"
    await store.write(f"key:{{{key_id}}}:terms", SEALED, expected=0)
    await limits.admit(key_of(key_id), turn)
    await limits.settle(key_of(key_id), turn, tokens=tokens)


async def note(store: Store, *events: AuditEvent) -> None:
    for event in events:
        await StoreAuditLog(store).record(event)


async def in_use(place: Place) -> object:
    """What changes in use."""
    store = place.open()
    states = await StoreKeyLimits(store).states(key_of("k" * 8))
    assert all(one.reset_seconds > 0 for one in states)
    found = {one.kind: one.used for one in states}, await StoreAuditLog(store).latest(100)
    version = await SharedVersion(store).load()
    assert await store.slots_taken(f"key:{{{'k' * 8}}}:limits") == 0
    await store.close()
    return (*found, version)


async def seen(place: Place) -> dict[str, object]:
    """What a server at that place would find."""
    store = place.open()
    vault = vault_on(store)
    await vault.check_key()
    (login,) = await vault.logins()
    found = {
        "tokens": await vault.load(ADA.id),
        "label": login.label,
        "default": await vault.default(),
        "records": sorted(name for name in await store.names("") if name != "store:id"),
        "total": await store.totals(TOTAL),
        "day": await store.totals(DAY),
    }
    await store.close()
    return found


# --- Between real places -----------------------------------------------------------------


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    if binary_of(request.param) is None:
        pytest.skip(f"no server of {request.param} here")
    with running(request.param) as started:
        yield started


@pytest.fixture
def redis_place(server: RedisServer) -> Place:
    server.say("FLUSHALL")
    return Place(redis_url=server.url)


@pytest.fixture
def file_place(tmp_path: Path) -> Place:
    return Place(file=tmp_path / STATE_FILE)


@pytest.mark.parametrize("direction", ["into redis", "out of redis"])
async def test_what_a_server_needs_arrives_and_a_second_run_changes_nothing(
    redis_place: Place, file_place: Place, direction: str
):
    source, target = (file_place, redis_place) if direction == "into redis" else (redis_place, file_place)
    await fill(source)
    before = await seen(source)
    found = await migrated(source, target)
    assert (found.accounts, found.labels) == (Tally(carried=2), Tally(carried=3))
    assert (found.imports, found.usage) == (Tally(carried=1), Tally(carried=2))
    assert (found.windows, found.audit, found.version) == (Tally(carried=3), Tally(carried=3), Tally(carried=1))
    used = await in_use(source)
    assert used == ({"requests": 1, "tokens_per_day": 70, "tokens_per_week": 70}, list(reversed(EVENTS)), "0.150.0")
    assert await in_use(target) == used
    expected = dict(before)
    expected["records"] = [name for name in before["records"] if name not in ("taken:4567", "worker:1")]  # type: ignore[attr-defined]
    assert await seen(target) == expected
    found = await migrated(source, target)
    assert (found.accounts, found.labels) == (Tally(same=2), Tally(same=3))
    assert (found.imports, found.usage) == (Tally(same=1), Tally(same=2))
    assert (found.windows, found.audit, found.version) == (Tally(same=3), Tally(same=3), Tally(same=1))
    assert await in_use(target) == used
    assert await seen(target) == expected
    assert await seen(source) == before


async def test_counters_are_kept_as_long_as_before(redis_place: Place, file_place: Place, server: RedisServer):
    await fill(file_place)
    await migrated(file_place, redis_place)
    reply = server.say("PTTL", f"{PREFIX}:counter:{DAY}")
    assert int(reply.strip(b":\r\n")) > 300 * 24 * 3600 * 1000


async def test_one_redis_by_two_addresses_is_one_place(redis_place: Place):
    await fill(redis_place)
    again = Place(redis_url=f"{redis_place.redis_url}?db=0")
    with pytest.raises(WrongPlace, match="the same place"):
        await migrated(redis_place, again)
    other = Place(redis_url=f"{redis_place.redis_url}?db=1")
    assert (await migrated(redis_place, other)).accounts == Tally(carried=2)


async def test_one_file_by_two_paths_is_one_place(tmp_path: Path):
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    await fill(Place(file=tmp_path / "home" / STATE_FILE))
    with pytest.raises(WrongPlace, match="the same place"):
        await migrated(Place(file=tmp_path / "home" / STATE_FILE), Place(file=tmp_path / "link" / STATE_FILE))


async def test_a_file_that_is_not_there_is_no_source_and_is_not_made(tmp_path: Path):
    with pytest.raises(WrongPlace, match="no state file"):
        await migrated(Place(file=tmp_path / "none.db"), Kept())
    assert not (tmp_path / "none.db").exists()


async def test_a_dry_run_tells_the_same_and_makes_nothing(tmp_path: Path):
    source, target = Kept(), tmp_path / "new" / STATE_FILE
    await fill(source)
    before = source.content()
    told = await migrated(source, Place(file=target), dry_run=True)
    assert source.content() == before
    assert not target.parent.exists()
    done = await migrated(source, Place(file=target))
    assert (told.accounts, told.labels, told.usage) == (done.accounts, done.labels, done.usage)


async def test_a_dry_run_changes_nothing_at_a_place_that_has_something():
    source, target = Kept(), Kept()
    await fill(source)
    await migrated(source, target)
    await add(source, requests=1)
    before = source.content(), target.content()
    assert (await migrated(source, target, dry_run=True)).usage == Tally(carried=2)
    assert (source.content(), target.content()) == before


# --- Records -----------------------------------------------------------------------------


async def test_an_older_record_never_replaces_a_newer_one():
    source, target = Kept(), Kept()
    await fill(source)
    await migrated(source, target)
    vault = vault_on(target.open())
    held = await vault.load(ADA.id)
    newer = await vault.replace(held, rotated(held, "newer"))
    found = await migrated(source, target)
    assert found.accounts == Tally(same=1, kept=1)
    assert await vault_on(target.open()).load(ADA.id) == newer
    found = await migrated(target, source)
    assert found.accounts == Tally(carried=1, same=1)
    assert name_of(await vault_on(source.open()).load(ADA.id)) == "newer"


async def test_a_logout_is_carried_and_never_undone():
    source, target = Kept(), Kept()
    await fill(source)
    await migrated(source, target)
    await vault_on(target.open()).forget(ADA.id)
    await migrated(source, target)
    assert await vault_on(target.open()).logins() == []
    await migrated(target, source)
    assert await vault_on(source.open()).logins() == []


async def test_what_came_between_is_newer():
    """A worker writes to the target during the migration."""
    source, target = Kept(), Kept()
    await fill(source)

    class Racing(MemoryStore):
        async def write(
            self,
            name: str,
            value: bytes,
            *,
            expected: int,
            version: int | None = None,
            ttl_seconds: float | None = None,
        ) -> Record | None:
            if name.endswith(":tokens") and expected == 0:
                for newer in (1, 2):
                    await super().write(name, b"between", expected=newer - 1, version=newer)
            return await super().write(name, value, expected=expected, version=version, ttl_seconds=ttl_seconds)

    @dataclass(frozen=True)
    class Busy(Kept):
        def open(self, *, timeout_seconds: float | None = None) -> Store:  # noqa: ARG002 - the contract's
            return Racing(self.memory)

    found = await migrated(source, Busy(memory=target.memory))
    assert found.accounts == Tally(carried=2)
    assert (await seen(target))["tokens"] == await vault_on(source.open()).load(ADA.id)


# --- What changes in use -----------------------------------------------------------------


async def test_a_window_that_both_have_begun_has_the_larger_amount_and_ends_with_its_own():
    clock = Time()
    source, target = Kept(memory=MemoryPlace(clock)), Kept(memory=MemoryPlace(clock))
    await use(source.open(), "k" * 8, tokens=100)
    clock.now += 3600
    await use(target.open(), "k" * 8, tokens=30)
    for _ in range(2):
        await migrated(source, target)
        await migrated(target, source)
        for place, left in ((source, 23.0), (target, 24.0)):
            states = {one.kind: one for one in await StoreKeyLimits(place.open()).states(key_of("k" * 8))}
            assert states["tokens_per_day"].used == 100
            assert states["tokens_per_day"].reset_seconds == pytest.approx(left * 3600)
    clock.now += 24 * 3600
    assert {one.used for one in await StoreKeyLimits(target.open()).states(key_of("k" * 8))} == {0, 100}


async def test_a_window_that_is_carried_ends_when_it_would_have():
    clock = Time()
    source, target = Kept(memory=MemoryPlace(clock)), Kept(memory=MemoryPlace(clock))
    await use(source.open(), "k" * 8, tokens=100)
    clock.now += 20 * 3600
    await migrated(source, target)
    states = {one.kind: one for one in await StoreKeyLimits(target.open()).states(key_of("k" * 8))}
    assert (states["requests"].used, states["tokens_per_day"].used) == (0, 100)
    assert states["tokens_per_day"].reset_seconds == pytest.approx(4 * 3600)
    await use(target.open(), "k" * 8, tokens=5)
    assert (await migrated(source, target)).windows == Tally(same=2)
    states = {one.kind: one for one in await StoreKeyLimits(target.open()).states(key_of("k" * 8))}
    assert states["tokens_per_day"].used == 105


async def test_logs_of_both_are_one_by_time():
    source, target = Kept(), Kept()
    events = [AuditEvent(1_790_000_000.0 + n, ACTOR, "key.revoked", "k" * 8, f"{n}") for n in range(40)]
    await note(source.open(), *events[::2])
    await note(target.open(), *events[1::2])
    for _ in range(2):
        await migrated(source, target)
        await migrated(target, source)
        for place in (source, target):
            assert await StoreAuditLog(place.open()).latest(100) == list(reversed(events))
            assert await StoreAuditLog(place.open()).latest(3) == list(reversed(events[-3:]))


async def test_open_invitations_stay_behind_and_are_counted():
    old, new = Kept(), Kept()
    store = old.open()
    invitations = StoreInvitations(store, Sealer([OLD]), clock=time.time)
    for name in ("ada", "bob"):
        await invitations.create(name, KeyTerms(), ttl_seconds=60)
    await invitations.withdraw("bob")
    for dry_run in (True, False, False):
        assert (await migrated(old, new, dry_run=dry_run)).invitations_left == 1
    assert await new.open().names("invite:") == []
    assert [one.name for one in await invitations.all()] == ["ada"]


async def test_the_higher_version_stays():
    source, target = Kept(), Kept()
    await SharedVersion(source.open()).save("0.150.0")
    await SharedVersion(target.open()).save("0.151.2")
    assert (await migrated(source, target)).version == Tally(kept=1)
    assert await SharedVersion(target.open()).load() == "0.151.2"
    assert (await migrated(target, source)).version == Tally(carried=1)
    assert await SharedVersion(source.open()).load() == "0.151.2"


# --- Keys --------------------------------------------------------------------------------


async def test_records_under_another_key_are_refused_before_anything_is_touched(tmp_path: Path):
    source, target = Kept(), Place(file=tmp_path / "new" / STATE_FILE)
    await fill(source)
    before = source.content()
    with pytest.raises(UnusableKey, match="Nothing was changed"):
        await carry(source, target, [NEW], dry_run=False, progress=lambda *_: None)
    assert source.content() == before
    assert not (tmp_path / "new").exists()


async def test_a_new_place_under_another_key_is_refused_before_anything_is_touched():
    source, target = Kept(), Kept()
    await fill(source)
    await vault_on(target.open(), NEW).check_key()
    before = source.content(), target.content()
    with pytest.raises(UnusableKey, match="Nothing was changed"):
        await migrated(source, target)
    assert (source.content(), target.content()) == before
    await carry(source, target, [NEW, OLD], dry_run=False, progress=lambda *_: None)
    assert name_of(await vault_on(target.open(), NEW, OLD).load(ADA.id)) == "ada"


async def test_without_a_setting_the_key_beside_the_state_file_serves_and_none_is_made(tmp_path: Path):
    home = tmp_path / "home"
    source = Place(file=home / STATE_FILE)
    await fill(source)
    with pytest.raises(UnusableKey, match="is needed"):
        await carry(source, Kept(), None, dry_run=False, progress=lambda *_: None)
    with pytest.raises(UnusableKey, match="is needed"):
        await carry(Kept(), Kept(), None, dry_run=False, progress=lambda *_: None)
    assert not (home / KEY_FILE).exists()
    (home / KEY_FILE).write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    found = await carry(source, Kept(), None, dry_run=False, progress=lambda *_: None)
    assert (found.accounts, found.key_file) == (Tally(carried=2), home / KEY_FILE)
    back = await carry(Kept(), source, None, dry_run=True, progress=lambda *_: None)
    assert back.key_file == home / KEY_FILE


# --- Cut off, and more than one ----------------------------------------------------------


class Dying(MemoryPlace):
    """A store that fails after a number of calls."""

    calls_left: int

    async def enter(self) -> float:
        if self.calls_left <= 0:
            self.fail()
        self.calls_left -= 1
        return await super().enter()

    def revived(self) -> MemoryPlace:
        """The same data in a working store, with all leases expired."""
        return MemoryPlace(
            records=self.records,
            counters=self.counters,
            quotas=self.quotas,
            logs=self.logs,
            observations=self.observations,
        )


async def test_a_run_that_is_cut_off_anywhere_is_finished_by_the_next():
    whole, source = Kept(), Kept()
    await fill(source)
    await migrated(source, whole)
    for calls in range(200):
        dying = Dying()
        dying.calls_left = calls
        if not await failed(source, Kept(memory=dying)):
            break
        source.memory.leases.clear()
        target = Kept(memory=dying.revived())
        await migrated(source, target)
        for name in (TOTAL, DAY):
            assert target.totals(name) == whole.totals(name)
        assert (await seen(target))["records"] == (await seen(whole))["records"]
        assert await in_use(target) == await in_use(whole)
    assert calls > 15


async def test_an_addition_that_was_made_and_not_confirmed_is_not_made_again():
    source, target = Kept(), Kept()
    await fill(source)

    class Silent(MemoryStore):
        async def add(self, additions: Sequence[Addition]) -> None:
            await super().add(additions)
            raise StoreUnavailable("made, and not said so")

    @dataclass(frozen=True)
    class Losing(Kept):
        def open(self, *, timeout_seconds: float | None = None) -> Store:  # noqa: ARG002 - the contract's
            return Silent(self.memory)

    for _ in (TOTAL, DAY):
        assert await failed(source, Losing(memory=target.memory))
    assert target.totals() == target.totals(DAY) == {"requests": 3, "output_tokens": 50}
    await migrated(source, target)
    assert target.totals() == {"requests": 3, "output_tokens": 50}


async def failed(source: Place, target: Place) -> bool:
    try:
        await migrated(source, target)
    except StoreUnavailable:
        return True
    return False


async def test_one_at_a_time_whatever_its_direction():
    source, target = Kept(), Kept()
    await fill(source)
    runs = await asyncio.gather(
        migrated(source, target), migrated(source, target), migrated(target, source), return_exceptions=True
    )
    refused = [run for run in runs if not isinstance(run, Migration)]
    assert refused
    assert all(isinstance(run, LockBusy) for run in refused)
    await migrated(source, target)
    assert target.totals() == {"requests": 3, "output_tokens": 50}


# --- Counters ----------------------------------------------------------------------------


async def test_only_what_grew_since_is_added():
    source, target = Kept(), Kept()
    await add(source, requests=3)
    await add(target, requests=100, failed=1)
    await migrated(source, target)
    await add(source, requests=2, failed=5)
    await add(target, requests=10)
    await migrated(source, target)
    assert target.totals() == {"requests": 115, "failed": 6}
    assert target.totals(DAY) == target.totals()


async def test_what_is_carried_back_was_not_there_before():
    here, there = Kept(), Kept()
    await add(here, requests=3)
    await migrated(here, there)
    await add(there, requests=10)
    for _ in range(2):
        await migrated(there, here)
        await migrated(here, there)
    assert here.totals() == there.totals() == {"requests": 13}


async def test_a_copy_of_a_place_is_told_nothing_of_itself():
    source = Kept()
    await fill(source)
    await migrated(source, Kept())
    copy = Kept()
    copy.memory.records.update(source.memory.records)
    copy.memory.counters.update(source.memory.counters)
    await migrated(source, copy)
    assert copy.totals() == {"requests": 3, "output_tokens": 50}


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "carry"]), st.integers(0, 2), st.integers(0, 2), st.integers(1, 9)),
        max_size=14,
    )
)
def test_however_counters_travel_every_turn_is_counted_once(steps: list[tuple[str, int, int, int]]):
    async def play() -> None:
        places, counted = [Kept(), Kept(), Kept()], 0
        for what, one, other, amount in steps:
            if what == "add":
                await add(places[one], requests=amount)
                counted += amount
            elif one != other:
                await migrated(places[one], places[other])
            assert all(place.totals().get("requests", 0) <= counted for place in places)
        for one, other in ((0, 1), (1, 2), (2, 0), (0, 1)):
            await migrated(places[one], places[other])
        assert [place.totals().get("requests", 0) for place in places] == [counted] * 3

    asyncio.run(play())
