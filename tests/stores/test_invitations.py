from __future__ import annotations

import asyncio

import pytest

from gptmock.accounts import Secret
from gptmock.clients import Invitation, Invitations, KeyTerms, invitation_id_of, invitation_text, key_id_of, key_text
from gptmock.errors import StoreUnavailable, UnknownInvitation
from gptmock.stores.invitations import StoreInvitations
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer, SealingKey
from gptmock.stores.store import Store
from tests.stores.conftest import Place
from tests.stores.logins import NEW, OLD, Time

A_DAY = 86_400.0
TERMS = KeyTerms(owner="Ada", rpm=5, models=("gpt-6*",))


def invitations_on(store: Store, clock: Time | None = None, *ring: SealingKey) -> StoreInvitations:
    return StoreInvitations(store, Sealer(ring or (OLD,)), clock=clock or Time())


async def test_an_invitation_is_found_by_every_process_until_it_is_redeemed(place: Place):
    mine: Invitations = invitations_on(place.open())
    yours = invitations_on(place.open())
    issued = await mine.create("ada", TERMS, ttl_seconds=A_DAY)
    assert (issued.invitation.name, issued.invitation.terms) == ("ada", TERMS)
    assert await yours.find(issued.text) == issued.invitation
    assert await yours.all() == [issued.invitation]
    assert await yours.redeem(issued.text) == issued.invitation
    assert await mine.find(issued.text) is None
    for one in (mine, yours):
        with pytest.raises(UnknownInvitation, match="was used already"):
            await one.redeem(issued.text)
    assert await mine.all() == []


async def test_of_many_who_redeem_one_at_once_one_does(place: Place):
    workers = [invitations_on(place.open()) for _ in range(4)]
    issued = await workers[0].create("ada", TERMS, ttl_seconds=A_DAY)
    tried = (workers[number % 4].redeem(issued.text) for number in range(20))
    done = await asyncio.gather(*tried, return_exceptions=True)
    assert [isinstance(one, Invitation) for one in done].count(True) == 1
    assert sum(isinstance(one, UnknownInvitation) for one in done) == 19


async def test_one_that_is_withdrawn_or_wrong_is_unknown(near_place: Place):
    store = near_place.open()
    invitations = invitations_on(store)
    first = await invitations.create("ada", TERMS, ttl_seconds=A_DAY)
    second = await invitations.create("bob", KeyTerms(), ttl_seconds=A_DAY)
    wrong = invitation_text(first.invitation.id, "x" * 43)
    for text in (wrong, Secret(first.text.reveal()[:-1]), key_text(first.invitation.id, "x" * 43), Secret("")):
        assert await invitations.find(text) is None
        with pytest.raises(UnknownInvitation):
            await invitations.redeem(text)
    assert await invitations.withdraw("ada") == first.invitation
    assert await invitations.withdraw(second.invitation.id) == second.invitation
    assert await invitations.find(first.text) is None
    with pytest.raises(UnknownInvitation, match="no open invitation"):
        await invitations.withdraw("ada")


async def test_it_expires():
    clock = Time()
    place = MemoryPlace(clock)
    invitations = invitations_on(MemoryStore(place), clock)
    issued = await invitations.create("ada", TERMS, ttl_seconds=A_DAY)
    clock.now += A_DAY - 1
    assert await invitations.find(issued.text) is not None
    clock.now += 1
    assert await invitations.find(issued.text) is None
    assert await invitations.all() == []


async def test_the_store_holds_no_token_and_takes_no_forged_or_moved_record():
    store = MemoryStore()
    invitations = invitations_on(store)
    ada = await invitations.create("ada-planted", TERMS, ttl_seconds=A_DAY)
    bob = await invitations.create("bob", KeyTerms(), ttl_seconds=A_DAY)
    values = {name: record.value for name, (record, _) in store.place.records.items()}
    assert all(ada.text.reveal()[12:].encode() not in value and b"planted" not in value for value in values.values())
    name = f"invite:{bob.invitation.id}"
    await store.delete(name)
    await store.write(name, values[f"invite:{ada.invitation.id}"], expected=0)
    assert await invitations.find(bob.text) is None
    assert await invitations_on(store, None, NEW).find(ada.text) is None
    assert await invitations_on(store, None, NEW, OLD).find(ada.text) == ada.invitation


async def test_without_the_store_nothing_is_known():
    store = MemoryStore()
    invitations = invitations_on(store)
    issued = await invitations.create("ada", TERMS, ttl_seconds=A_DAY)
    store.place.fail()
    for attempt in (invitations.find(issued.text), invitations.redeem(issued.text), invitations.all()):
        with pytest.raises(StoreUnavailable):
            await attempt


def test_a_token_is_no_key_and_a_key_no_token():
    token, key = invitation_text("a" * 8, "b" * 43).reveal(), key_text("a" * 8, "b" * 43).reveal()
    assert (invitation_id_of(token), key_id_of(token)) == ("a" * 8, None)
    assert (invitation_id_of(key), key_id_of(key)) == (None, "a" * 8)
    assert token[3:-6] == key[3:-6]
    assert invitation_id_of(token[:-1] + ("0" if token[-1] != "0" else "1")) is None
