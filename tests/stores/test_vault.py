from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gptmock.errors import NotLoggedIn, SealBroken, StoreUnavailable
from gptmock.stores.memory import MemoryStore
from gptmock.stores.store import Record, Store
from gptmock.stores.vault import SealedVault
from tests.stores.conftest import Place
from tests.stores.logins import ADA, BOB, NEW, NOW, OLD, Time, name_of, rotated, tokens, vault_on

TOKENS = f"acct:{{{ADA.id}}}:tokens"


async def dump(store: Store) -> dict[str, Record]:
    """All records, as a backup has them."""
    names = await store.names("")
    found = await store.read_many(names)
    return {name: record for name, record in zip(names, found, strict=True) if record is not None}


async def restore(store: Store, backup: dict[str, Record]) -> None:
    """Nothing but the backup; ``{}`` for a place that was emptied."""
    for name in await store.names(""):
        await store.delete(name)
    for name, record in backup.items():
        await store.write(name, record.value, expected=0, version=record.version)


async def held_name(store: Store) -> str:
    """What a process sees that knows nothing yet."""
    return name_of(await vault_on(store).load(ADA.id))


# --- Versions --------------------------------------------------------------------------


async def test_nobody_is_logged_in_at_first(near_place: Place):
    vault = vault_on(near_place.open())
    with pytest.raises(NotLoggedIn):
        await vault.load(ADA.id)
    assert await vault.logins() == []
    assert await vault.default() is None


async def test_a_login_comes_back_as_it_went_for_every_process(near_place: Place):
    enrolled = await vault_on(near_place.open()).enroll(tokens("1"))
    assert await vault_on(near_place.open()).load(ADA.id) == enrolled
    assert replace(enrolled, version=0) == tokens("1")
    assert enrolled.version == NOW * 1000


async def test_rotated_tokens_take_the_place_and_everybody_sees_them(near_place: Place):
    mine, yours = vault_on(near_place.open()), vault_on(near_place.open())
    held = await mine.enroll(tokens("1"))
    assert await yours.load(ADA.id) == held
    newer = rotated(held, "2")
    assert await mine.replace(held, newer) == newer
    assert await yours.load(ADA.id) == newer


async def test_of_two_that_replace_the_same_the_first_wins(near_place: Place):
    vaults = [vault_on(near_place.open()) for _ in range(2)]
    held = await vaults[0].enroll(tokens("1"))
    first = await vaults[0].replace(held, rotated(held, "first"))
    assert await vaults[1].replace(held, rotated(held, "second")) == first, "a tie is the store's"
    assert [await vault.load(ADA.id) for vault in vaults] == [first, first]


async def test_an_older_version_never_covers_a_newer_one(near_place: Place):
    mine, yours = vault_on(near_place.open()), vault_on(near_place.open())
    held = await mine.enroll(tokens("1"))
    newest = await yours.replace(held, rotated(held, "3", steps=2))
    assert await mine.replace(held, rotated(held, "2")) == newest
    assert await held_name(near_place.open()) == "3"


async def test_a_login_wins_over_a_refresh_that_is_under_way(near_place: Place):
    refreshing, person = vault_on(near_place.open()), vault_on(near_place.open())
    held = await refreshing.enroll(tokens("1"))
    login = await person.enroll(tokens("login"))
    assert await refreshing.replace(held, rotated(held, "2")) == login
    assert await held_name(near_place.open()) == "login"


@pytest.mark.parametrize("made_at", [None, 0.0, NOW - 1000])
async def test_a_login_wins_over_a_refresh_that_could_not_be_written_yet(made_at: float | None):
    store = MemoryStore()
    refreshing, person = vault_on(store), vault_on(store)
    held = await refreshing.enroll(tokens("1"))
    store.place.fail()
    with pytest.raises(StoreUnavailable):
        await refreshing.replace(held, rotated(held, "2"))
    store.place.recover()
    await person.enroll(tokens("login"), made_at=made_at)
    assert name_of(await refreshing.load(ADA.id)) == "login"
    assert await held_name(store) == "login"


async def test_many_logins_at_once_are_one_after_the_other(near_place: Place):
    vaults = [vault_on(near_place.open()) for _ in range(8)]
    enrolled = await asyncio.gather(*(vault.enroll(tokens(str(n))) for n, vault in enumerate(vaults)))
    assert len({one.version for one in enrolled}) == 8
    newest = max(enrolled, key=lambda one: one.version)
    assert [await vault.load(ADA.id) for vault in vaults] == [newest] * 8


# --- Refusals --------------------------------------------------------------------------


async def test_a_refusal_is_seen_by_all_and_takes_no_token(near_place: Place):
    mine, yours = vault_on(near_place.open()), vault_on(near_place.open())
    held = await mine.enroll(tokens("1"))
    await yours.load(ADA.id)
    assert await mine.refuse(held, reason="reused")
    assert not await yours.refuse(held, reason="reused"), "it is known"
    marked = await yours.load(ADA.id)
    assert marked == replace(held, version=held.version + 1, refused="reused")
    assert [login.refused for login in await yours.logins()] == ["reused"]


async def test_a_refusal_of_what_is_no_longer_held_marks_nobody(near_place: Place):
    mine, yours = vault_on(near_place.open()), vault_on(near_place.open())
    held = await mine.enroll(tokens("1"))
    newer = await yours.replace(held, rotated(held, "2"))
    assert not await mine.refuse(held, reason="reused")
    assert await mine.load(ADA.id) == newer
    await near_place.open().delete(TOKENS)
    await mine.refuse(held, reason="reused")
    assert (await mine.load(ADA.id)).refused is None


async def test_a_refusal_marks_the_same_tokens_under_another_seal(near_place: Place):
    mine, yours = vault_on(near_place.open()), vault_on(near_place.open(), NEW, OLD)
    held = await mine.enroll(tokens("1"))
    assert await yours.reseal() > 0
    await yours.refuse(held, reason="reused")
    assert (await yours.load(ADA.id)).refused == "reused"


async def test_tokens_on_their_way_outrank_the_refusal_of_what_they_replaced():
    store = MemoryStore()
    winner, loser = vault_on(store), vault_on(store)
    held = await winner.enroll(tokens("1"))
    store.place.fail()
    with pytest.raises(StoreUnavailable):
        await winner.replace(held, rotated(held, "2"))
    store.place.recover()
    await loser.refuse(held, reason="reused")
    assert name_of(await winner.load(ADA.id)) == "2"
    assert (await loser.load(ADA.id)).refused is None


# --- Logout ----------------------------------------------------------------------------


async def test_what_is_forgotten_is_forgotten_everywhere_and_stays_so(near_place: Place):
    mine, yours = vault_on(near_place.open()), vault_on(near_place.open())
    held = await mine.enroll(tokens("1"))
    await yours.load(ADA.id)
    await mine.forget(ADA.id)
    for vault in (mine, yours, vault_on(near_place.open())):
        with pytest.raises(NotLoggedIn, match="logged out"):
            await vault.load(ADA.id)
        assert await vault.logins() == []
    with pytest.raises(NotLoggedIn):
        await yours.replace(held, rotated(held, "2"))
    with pytest.raises(NotLoggedIn):
        await mine.load(ADA.id)
    await mine.forget(ADA.id)
    await mine.forget(BOB.id)


async def test_no_token_and_no_mail_address_is_left_of_a_logout(near_place: Place):
    vault = vault_on(near_place.open())
    await vault.enroll(tokens("1"))
    await vault.forget(ADA.id)
    record = (await dump(near_place.open()))[TOKENS]
    plain = vault._sealer.open(record.value, kind="tokens", name=TOKENS, version=record.version)
    assert b"planted" not in plain
    assert b"ada@" not in plain


async def test_after_a_logout_a_person_may_sign_in_again(near_place: Place):
    mine, yours = vault_on(near_place.open()), vault_on(near_place.open())
    await mine.enroll(tokens("1"))
    await mine.forget(ADA.id)
    await yours.enroll(tokens("2"))
    assert name_of(await mine.load(ADA.id)) == "2"


async def test_a_logout_stays_one_when_the_place_is_emptied_or_restored(near_place: Place):
    store = near_place.open()
    mine, yours = vault_on(store), vault_on(near_place.open())
    await mine.enroll(tokens("1"))
    backup = await dump(store)
    await mine.forget(ADA.id)
    for state in ({}, backup):
        await restore(store, state)
        assert await mine.logins() == []
        with pytest.raises(NotLoggedIn):
            await yours.load(ADA.id)


async def test_a_logout_by_a_process_that_knows_an_older_place_wins(near_place: Place):
    clock = Time()
    store = near_place.open()
    living, person = vault_on(store, clock=clock), vault_on(near_place.open(), clock=clock)
    held = await living.enroll(tokens("1"))
    backup = await dump(store)
    await living.replace(held, rotated(held, "2", steps=5))
    await restore(store, backup)
    clock.now += 3600
    await person.forget(ADA.id)
    with pytest.raises(NotLoggedIn):
        await living.load(ADA.id)


# --- An emptied or an older place ------------------------------------------------------


@pytest.mark.parametrize("emptied", [True, False])
async def test_the_newest_is_pushed_forward_by_whoever_knows_it(near_place: Place, emptied: bool):  # noqa: FBT001
    store = near_place.open()
    living = vault_on(store)
    held = await living.enroll(tokens("1"), label="mine")
    backup = await dump(store)
    newest = await living.replace(held, rotated(held, "2"))
    await living.logins()
    await restore(store, {} if emptied else backup)
    assert await living.load(ADA.id) == newest
    assert await vault_on(near_place.open()).load(ADA.id) == newest
    assert [login.label for login in await living.logins()] == ["mine"]
    assert await living.default() == ADA.id
    stranger = vault_on(near_place.open())
    assert [login.label for login in await stranger.logins()] == ["mine"]
    assert await stranger.default() == ADA.id


async def test_whatever_is_pushed_forward_is_counted_as_a_change(near_place: Place):
    store = near_place.open()
    mine = vault_on(store)
    await mine.enroll(tokens("1"), label="old")
    backup = await dump(store)
    await mine.describe(ADA, label="new")
    await mine.replace(await mine.load(ADA.id), rotated(await mine.load(ADA.id), "2"))
    for healing in (lambda: mine.load(ADA.id), mine.logins):
        await restore(store, backup)
        before = await mine.revision()
        await healing()
        assert await mine.revision() > before


@pytest.mark.parametrize("is_written", [True, False])
async def test_a_rotation_that_the_store_takes_late_is_counted_late(is_written: bool):  # noqa: FBT001
    """Other workers look at nothing but the counter; they would not see it for half a minute."""

    class Cut(MemoryStore):
        """Fails at the first rotation, before or after it is written."""

        cut = False

        async def write(
            self,
            name: str,
            value: bytes,
            *,
            expected: int,
            version: int | None = None,
            ttl_seconds: float | None = None,
        ) -> Record | None:
            if self.cut and is_written:
                await super().write(name, value, expected=expected, version=version, ttl_seconds=ttl_seconds)
            if self.cut:
                raise StoreUnavailable("away")
            return await super().write(name, value, expected=expected, version=version, ttl_seconds=ttl_seconds)

    store = Cut()
    mine = vault_on(store)
    held = await mine.enroll(tokens("1"))
    before = await mine.revision()
    store.cut = True
    with pytest.raises(StoreUnavailable):
        await mine.replace(held, rotated(held, "2"))
    store.cut = False
    assert await mine.revision() == before
    assert name_of(await mine.load(ADA.id)) == "2"
    after = await mine.revision()
    assert after > before
    await mine.load(ADA.id)
    assert await mine.revision() == after


async def test_a_list_of_logins_heals_too(near_place: Place):
    store = near_place.open()
    living = vault_on(store)
    await living.enroll(tokens("1"))
    await living.enroll(tokens("2", BOB), label="bob")
    await living.logins()
    await restore(store, {})
    assert [login.label for login in await living.logins()] == ["ada@example.test", "bob"]
    assert [login.label for login in await vault_on(near_place.open()).logins()] == ["ada@example.test", "bob"]


@pytest.mark.parametrize("emptied", [True, False])
async def test_a_login_into_a_place_that_fell_behind_wins_over_what_others_know(
    near_place: Place,
    emptied: bool,  # noqa: FBT001
):
    clock = Time()
    store = near_place.open()
    living = vault_on(store, clock=clock)
    held = await living.enroll(tokens("1"))
    backup = await dump(store)
    for number in range(2, 20):
        held = await living.replace(held, rotated(held, str(number)))
    await restore(store, {} if emptied else backup)
    clock.now += 3600
    await vault_on(near_place.open(), clock=clock).enroll(tokens("login"))
    assert name_of(await living.load(ADA.id)) == "login"
    assert await held_name(near_place.open()) == "login"


async def test_a_login_dated_before_what_others_know_does_not(near_place: Place):
    clock = Time()
    store = near_place.open()
    living = vault_on(store, clock=clock)
    held = await living.enroll(tokens("1"), made_at=NOW - 100)
    newest = await living.replace(held, rotated(held, "2"))
    await restore(store, {})
    await vault_on(near_place.open(), clock=clock).enroll(tokens("1"), made_at=NOW - 100)
    assert await living.load(ADA.id) == newest
    assert await held_name(near_place.open()) == "2"


async def test_a_login_dated_in_the_future_is_made_now(near_place: Place):
    vault = vault_on(near_place.open())
    assert (await vault.enroll(tokens("1"), made_at=NOW * 2)).version == NOW * 1000


# --- Names -----------------------------------------------------------------------------


async def test_the_first_account_is_the_default_and_the_next_is_not(near_place: Place):
    mine, yours = vault_on(near_place.open()), vault_on(near_place.open())
    await mine.enroll(tokens("1"))
    await mine.enroll(tokens("2", BOB))
    assert await yours.default() == ADA.id
    await yours.make_default(BOB.id)
    assert await mine.default() == BOB.id


@pytest.mark.parametrize("end", ["forgotten", "refused"])
async def test_a_default_that_cannot_serve_makes_room(near_place: Place, end: str):
    vault = vault_on(near_place.open())
    held = await vault.enroll(tokens("1"))
    if end == "forgotten":
        await vault.forget(ADA.id)
    else:
        await vault.refuse(held, reason="ended")
    await vault.enroll(tokens("2", BOB))
    assert await vault.default() == BOB.id


async def test_a_label_stays_until_another_is_given(near_place: Place):
    vault = vault_on(near_place.open())
    await vault.enroll(tokens("1"))
    assert [login.label for login in await vault.logins()] == ["ada@example.test"]
    await vault.enroll(tokens("2"), label="mine")
    await vault.enroll(tokens("3"))
    (login,) = await vault_on(near_place.open()).logins()
    assert (login.label, login.account, login.paused) == ("mine", ADA, False)


# --- Seals -----------------------------------------------------------------------------


async def test_nothing_rests_in_clear(near_place: Place):
    store = near_place.open()
    vault = vault_on(store)
    held = await vault.enroll(tokens("1"), label="planted-label")
    await vault.replace(held, rotated(held, "2"))
    await vault.check_key()
    for name, record in (await dump(store)).items():
        assert b"planted" not in record.value
        assert b"ada@" not in record.value
        assert "planted" not in name
        assert "ada" not in name


async def test_a_foreign_key_opens_nothing_and_changes_nothing(near_place: Place):
    store = near_place.open()
    mine = vault_on(store)
    await mine.check_key()
    await mine.enroll(tokens("1"))
    before = await dump(store)
    foreign = vault_on(near_place.open(), NEW)
    for attempt in (foreign.check_key, lambda: foreign.load(ADA.id), lambda: foreign.forget(ADA.id)):
        with pytest.raises(SealBroken) as caught:
            await attempt()
        assert caught.value.code == "encryption_key_unknown"
    with pytest.raises(SealBroken):
        await foreign.replace(tokens("1"), tokens("2", version=1))
    assert await foreign.logins() == []
    assert [broken.account_id for broken in await foreign.broken()] == [ADA.id]
    assert await foreign.reseal() == 0
    assert await dump(store) == before
    assert name_of(await mine.load(ADA.id)) == "1"


async def test_a_login_by_a_person_takes_the_place_of_what_does_not_open(near_place: Place):
    await vault_on(near_place.open()).enroll(tokens("1"), label="mine")
    foreign = vault_on(near_place.open(), NEW)
    await foreign.enroll(tokens("2"))
    assert name_of(await vault_on(near_place.open(), NEW).load(ADA.id)) == "2"
    assert [login.label for login in await vault_on(near_place.open(), NEW).logins()] == ["ada@example.test"]


async def test_the_first_to_ask_leaves_a_mark_and_the_next_are_measured_by_it(near_place: Place):
    await vault_on(near_place.open(), OLD).check_key()
    await vault_on(near_place.open(), OLD).check_key()
    await vault_on(near_place.open(), NEW, OLD).check_key()
    with pytest.raises(SealBroken):
        await vault_on(near_place.open(), NEW).check_key()


async def test_records_that_were_moved_or_set_back_do_not_open(near_place: Place):
    store = near_place.open()
    vault = vault_on(store)
    held = await vault.enroll(tokens("1"))
    old = await store.read(TOKENS)
    assert old is not None
    newer = await vault.replace(held, rotated(held, "2"))
    await store.write(TOKENS, old.value, expected=newer.version, version=newer.version + 1)
    with pytest.raises(SealBroken, match="changed or moved"):
        await vault_on(near_place.open()).load(ADA.id)
    await store.write(f"acct:{{{BOB.id}}}:tokens", old.value, expected=0, version=old.version)
    with pytest.raises(SealBroken, match="changed or moved"):
        await vault_on(near_place.open()).load(BOB.id)


async def spoil(store: Store, name: str) -> None:
    """Change one bit of a record, and nothing else."""
    record = await store.read(name)
    assert record is not None
    spoiled = record.value[:-1] + bytes([record.value[-1] ^ 1])
    assert await store.delete(name)
    assert await store.write(name, spoiled, expected=0, version=record.version) is None


@pytest.mark.parametrize(("kind", "label"), [("tokens", "mine"), ("about", ADA.id)])
async def test_an_account_that_does_not_open_is_listed_beside_the_others(near_place: Place, kind: str, label: str):
    store = near_place.open()
    vault = vault_on(store)
    await vault.enroll(tokens("1"), label="mine")
    await vault.enroll(tokens("2", BOB))
    await spoil(store, f"acct:{{{ADA.id}}}:{kind}")
    late = vault_on(near_place.open())
    assert [login.account.id for login in await late.logins()] == [BOB.id]
    (broken,) = await late.broken()
    assert (broken.account_id, broken.label) == (ADA.id, label)
    assert "changed or moved" in broken.reason
    # Its label is not given to somebody else meanwhile, and a login mends it.
    await late.enroll(tokens("3"), label="mine")
    assert await late.broken() == []
    assert {login.label for login in await vault_on(near_place.open()).logins()} == {"mine", "bob@example.test"}


async def test_what_does_not_open_can_be_taken_away_and_whoever_knows_better_puts_it_back(near_place: Place):
    store = near_place.open()
    knows = vault_on(store)
    await knows.enroll(tokens("1"), label="mine")
    await spoil(store, TOKENS)
    late = vault_on(near_place.open())
    before = await late.revision()
    await late.discard(ADA.id)
    assert await late.revision() != before
    assert (await late.logins(), await late.broken()) == ([], [])
    with pytest.raises(NotLoggedIn):
        await late.load(ADA.id)
    assert [login.label for login in await knows.logins()] == ["mine"]
    assert name_of(await vault_on(near_place.open()).load(ADA.id)) == "1"


async def test_without_the_mark_a_foreign_key_is_told_by_the_records(near_place: Place):
    store = near_place.open()
    await vault_on(store).enroll(tokens("1"))
    before = await dump(store)
    with pytest.raises(SealBroken):
        await vault_on(near_place.open(), NEW).check_key()
    assert await dump(store) == before
    # One that opens is enough: the other is the account's trouble, not the key's.
    await spoil(store, TOKENS)
    await vault_on(near_place.open()).check_key()
    with pytest.raises(SealBroken):
        await vault_on(near_place.open(), NEW).check_key()


# --- Another seal ----------------------------------------------------------------------


async def test_what_an_old_key_has_sealed_is_read_and_sealed_anew(near_place: Place):
    store = near_place.open()
    old = vault_on(store, OLD)
    await old.check_key()
    held = await old.enroll(tokens("1"), label="mine")
    new = vault_on(near_place.open(), NEW, OLD)
    assert await new.load(ADA.id) == held
    assert await new.reseal() == 3, "tokens, label, canary"
    assert await new.reseal() == 0
    alone = vault_on(near_place.open(), NEW)
    await alone.check_key()
    assert await alone.load(ADA.id) == replace(held, version=held.version + 1)
    assert [login.label for login in await alone.logins()] == ["mine"]
    assert await new.load(ADA.id) == replace(held, version=held.version + 1), "who knew the old seal goes on"


async def test_a_broken_record_does_not_keep_the_others_from_another_seal(near_place: Place):
    store = near_place.open()
    old = vault_on(store, OLD)
    await old.enroll(tokens("1"))
    await old.enroll(tokens("2", BOB))
    record = await store.read(TOKENS)
    assert record is not None
    broken = record.value[:-1] + bytes([record.value[-1] ^ 1])
    await store.write(TOKENS, broken, expected=record.version)
    assert await vault_on(near_place.open(), NEW, OLD).reseal() == 3
    assert name_of(await vault_on(near_place.open(), NEW).load(BOB.id)) == "2"
    assert await store.read(TOKENS) == Record(record.version + 1, broken)


async def test_a_rotation_outranks_another_seal_that_came_between(near_place: Place):
    refreshing, sealing = vault_on(near_place.open(), OLD, NEW), vault_on(near_place.open(), NEW, OLD)
    held = await refreshing.enroll(tokens("1"))
    for _ in range(5):
        # Workers of two deployments, each with its own first key.
        assert await sealing.reseal() > 0
        assert await refreshing.reseal() > 0
    newer = await refreshing.replace(held, rotated(held, "2"))
    assert name_of(newer) == "2"
    assert await sealing.load(ADA.id) == newer


async def test_seals_and_rotations_at_once_lose_nothing(near_place: Place):
    rotating = vault_on(near_place.open(), OLD, NEW)
    rings = [(NEW, OLD), (OLD, NEW)]
    sealing = [vault_on(near_place.open(), *ring) for ring in rings]
    held = await rotating.enroll(tokens("0"))
    done = asyncio.Event()

    async def seal(vault: SealedVault) -> None:
        while not done.is_set():
            await vault.reseal()

    async with asyncio.TaskGroup() as group:
        for vault in sealing:
            group.create_task(seal(vault))
        for number in range(1, 40):
            saved = await rotating.replace(held, rotated(held, str(number)))
            assert name_of(saved) == str(number)
            held = await rotating.load(ADA.id)
        done.set()
    assert name_of(await vault_on(near_place.open(), NEW, OLD).load(ADA.id)) == "39"
