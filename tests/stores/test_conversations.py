from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import pytest

from gptmock.conversations import Snapshot, item_id
from gptmock.errors import SealBroken, StoreUnavailable
from gptmock.stores.conversations import SealedConversations
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer, SealingKey
from gptmock.stores.store import Store
from tests.conversations import raw, said, snapshot, texts, user
from tests.stores.conftest import Place
from tests.stores.logins import NEW, OLD, Time

ADA, BOB = "tenant of Ada", "tenant of Bob"
DAY = 24 * 3600.0


def conversations(
    store: Store, *keys: SealingKey, ttl_seconds: float = DAY, clock: Time | None = None
) -> SealedConversations:
    """As one process sees them; ``keys`` is its ring."""
    return SealedConversations(store, Sealer(keys or (OLD,)), ttl_seconds=ttl_seconds, clock=clock or Time())


async def only_name(store: Store) -> str:
    (name,) = await store.names("response:")
    return name


# --- What is stored comes back -----------------------------------------------------------


async def test_what_one_process_stores_all_load(place: Place):
    stored = snapshot()
    await conversations(place.open()).save(ADA, stored)
    assert await conversations(place.open()).load(ADA, "resp_1") == stored


async def test_what_was_never_stored_is_not_there(place: Place):
    kept = conversations(place.open())
    assert await kept.load(ADA, "resp_1") is None
    assert not await kept.delete(ADA, "resp_1")
    assert await kept.find(ADA, ["msg_1"]) == {}
    assert await kept.find(ADA, []) == {}


@pytest.mark.parametrize("response_id", ["", "{resp}", "r" * 5000, "resp_\u2028ü", "resp_\udc80", "a:b"])
async def test_an_id_may_be_anything(near_place: Place, response_id: str):
    kept = conversations(near_place.open())
    assert await kept.load("{tenant}", response_id) is None
    await kept.save("{tenant}", snapshot("resp_1", answered=(said("x", "{item}" * 500),)))
    assert await kept.find("{tenant}", [response_id]) == {}
    assert list(await kept.find("{tenant}", ["{item}" * 500])) == ["{item}" * 500]


async def test_a_large_one_comes_back_as_it_went(place: Place):
    """Of both kinds: what shrinks, and what does not, as an image or encrypted reasoning."""
    items = (user("many words " * 100_000), user(os.urandom(1_000_000).hex()))
    stored = snapshot(asked=items)
    kept = conversations(place.open())
    await kept.save(ADA, stored)
    assert await kept.load(ADA, "resp_1") == stored


async def test_of_two_with_one_id_the_later_one_stays(near_place: Place):
    mine, yours = conversations(near_place.open()), conversations(near_place.open())
    await mine.save(ADA, snapshot(asked=(user("first"),)))
    await yours.save(ADA, snapshot(asked=(user("second"),)))
    found = await mine.load(ADA, "resp_1")
    assert found is not None
    assert texts(found.input) == ["second"]


# --- Tenants -----------------------------------------------------------------------------


async def test_what_a_tenant_has_stored_is_nobody_elses(place: Place):
    kept = conversations(place.open())
    await kept.save(ADA, snapshot())
    assert await kept.load(BOB, "resp_1") is None
    assert await kept.find(BOB, ["msg_of_resp_1"]) == {}
    assert not await kept.delete(BOB, "resp_1")
    assert await kept.load(ADA, "resp_1") is not None


async def test_two_tenants_may_have_the_same_ids(near_place: Place):
    kept = conversations(near_place.open())
    for tenant in (ADA, BOB, ""):
        await kept.save(tenant, snapshot(asked=(user(f"of {tenant}"),), answered=(said(f"to {tenant}", "msg_1"),)))
    for tenant in (ADA, BOB, ""):
        found = await kept.load(tenant, "resp_1")
        assert found is not None
        assert texts(found.input) == [f"of {tenant}"]
        assert texts(tuple((await kept.find(tenant, ["msg_1"])).values())) == [f"to {tenant}"]
    assert await kept.delete(BOB, "resp_1")
    assert await kept.load(ADA, "resp_1") is not None


async def test_a_record_moved_to_another_tenant_or_id_does_not_open(near_place: Place):
    store = near_place.open()
    kept = conversations(store)
    await kept.save(ADA, snapshot())
    mine = await store.read(await only_name(store))
    assert mine is not None
    await kept.save(BOB, snapshot())
    (theirs,) = [name for name in await store.names("response:") if await store.read(name) != mine]
    held = await store.read(theirs)
    assert held is not None
    await store.delete(theirs)
    await store.write(theirs, mine.value, expected=0, version=held.version)
    with pytest.raises(SealBroken):
        await kept.load(BOB, "resp_1")
    assert await kept.delete(BOB, "resp_1"), "what does not open can still be deleted"


async def test_nothing_of_a_conversation_rests_in_clear():
    memory = MemoryPlace()
    kept = conversations(MemoryStore(memory))
    await kept.save(ADA, snapshot(asked=(user("planted-prompt"),), answered=(said("planted-answer", "msg_1"),)))
    rest = repr((memory.records, memory.observations))
    assert "planted" not in rest
    assert ADA not in rest


# --- Deletion and expiry -------------------------------------------------------------------


async def test_what_is_deleted_is_gone_for_all(place: Place):
    kept = conversations(place.open())
    await kept.save(ADA, snapshot())
    assert await kept.delete(ADA, "resp_1")
    assert not await kept.delete(ADA, "resp_1")
    assert await conversations(place.open()).load(ADA, "resp_1") is None
    assert await kept.find(ADA, ["msg_of_resp_1"]) == {}, "the index leads nowhere"


async def test_a_child_stays_whole_when_its_parent_is_deleted(place: Place):
    kept = conversations(place.open())
    parent = snapshot("resp_1")
    child = snapshot("resp_2", after=parent)
    await kept.save(ADA, parent)
    await kept.save(ADA, child)
    await kept.delete(ADA, "resp_1")
    found = await kept.load(ADA, "resp_2")
    assert found == child
    assert texts(found.conversation) == [*texts(parent.conversation), "question of resp_2", "answer of resp_2"]


async def test_snapshots_and_their_index_expire():
    now = [0.0]
    memory = MemoryPlace(clock=lambda: now[0])
    kept = conversations(MemoryStore(memory), ttl_seconds=60)
    await kept.save(ADA, snapshot())
    now[0] = 59.9
    assert await kept.load(ADA, "resp_1") is not None
    now[0] = 60.1
    assert await kept.load(ADA, "resp_1") is None
    assert await kept.find(ADA, ["msg_of_resp_1"]) == {}
    store = MemoryStore(memory)
    assert await store.names("") == []


async def test_it_expires_in_every_place(place: Place):
    kept = conversations(place.open(), ttl_seconds=0.2)
    await kept.save(ADA, snapshot())
    async with asyncio.timeout(10):
        while await kept.load(ADA, "resp_1") is not None:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)


# --- Items ---------------------------------------------------------------------------------


async def test_items_are_found_by_their_ids_whoever_asks(place: Place):
    question, call = user("q"), raw({"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f"})
    stored = snapshot(asked=(question,), answered=(call, said("a", "msg_1")))
    await conversations(place.open()).save(ADA, stored)
    made = item_id(0, question)
    found = await conversations(place.open()).find(ADA, ["fc_1", "unknown", made, "msg_1", "fc_1"])
    assert found == {"fc_1": call, made: question, "msg_1": said("a", "msg_1")}


async def test_an_item_that_a_request_brings_again_outlives_its_first_response(near_place: Place):
    kept = conversations(near_place.open())
    first = snapshot("resp_1")
    await kept.save(ADA, first)
    again = snapshot("resp_2", asked=(*first.conversation, user("more")))
    await kept.save(ADA, again)
    await kept.delete(ADA, "resp_1")
    assert texts(tuple((await kept.find(ADA, ["msg_of_resp_1"])).values())) == ["answer of resp_1"]


class CountingStore(MemoryStore):
    """Says of how many names each ``observe_all`` was."""

    def __init__(self, place: MemoryPlace) -> None:
        super().__init__(place)
        self.written: list[int] = []

    async def observe_all(self, values: Mapping[str, bytes], *, stamp: float, ttl_seconds: float) -> None:
        self.written.append(len(values))
        await super().observe_all(values, stamp=stamp, ttl_seconds=ttl_seconds)


async def test_inherited_items_are_not_written_again():
    store = CountingStore(MemoryPlace())
    kept = conversations(store)
    stored: Snapshot | None = None
    for turn in range(20):
        stored = snapshot(f"resp_{turn}", after=stored)
        await kept.save(ADA, stored)
    assert store.written == [2] * 20, "the question, the answer"


async def test_the_items_of_a_long_conversation_are_written_many_at_a_time():
    store = CountingStore(MemoryPlace())
    asked = tuple(user(f"question {number}") for number in range(2000))
    await conversations(store).save(ADA, snapshot(asked=asked))
    assert sum(store.written) == 2001
    assert len(store.written) < 10


async def test_the_items_of_one_response_cost_two_round_trips():
    memory = MemoryPlace()
    kept = conversations(MemoryStore(memory))
    output = tuple(said(f"{number}", f"msg_{number}") for number in range(50))
    await kept.save(ADA, snapshot(answered=output))
    before = memory.calls
    assert len(await kept.find(ADA, [f"msg_{number}" for number in range(50)])) == 50
    assert memory.calls - before == 2


# --- Keys that change ------------------------------------------------------------------------


async def test_snapshots_are_sealed_anew_and_then_open_with_the_new_key_alone(near_place: Place):
    stored = [snapshot(f"resp_{number}") for number in range(3)]
    for one in stored:
        await conversations(near_place.open(), OLD).save(ADA, one)
    turning = conversations(near_place.open(), NEW, OLD)
    assert await turning.load(ADA, "resp_0") == stored[0]
    assert await turning.reseal() == 3
    assert await turning.reseal() == 0
    alone = conversations(near_place.open(), NEW)
    assert [await alone.load(ADA, one.response_id) for one in stored] == stored
    assert texts(tuple((await alone.find(ADA, ["msg_of_resp_2"])).values())) == ["answer of resp_2"]
    with pytest.raises(SealBroken):
        await conversations(near_place.open(), OLD).load(ADA, "resp_0")


async def test_two_processes_seal_anew_at_once(near_place: Place):
    for number in range(10):
        await conversations(near_place.open(), OLD).save(ADA, snapshot(f"resp_{number}"))
    turning = [conversations(near_place.open(), NEW, OLD) for _ in range(2)]
    assert sum(await asyncio.gather(*(one.reseal() for one in turning))) == 10
    alone = conversations(near_place.open(), NEW)
    assert all([await alone.load(ADA, f"resp_{number}") for number in range(10)])


async def test_what_an_old_process_still_writes_is_sealed_anew_too(near_place: Place):
    old, turning = conversations(near_place.open(), OLD), conversations(near_place.open(), NEW, OLD)
    await old.save(ADA, snapshot("resp_1"))
    assert await turning.reseal() == 1
    await old.save(ADA, snapshot("resp_2"))
    assert await turning.reseal() == 1


async def test_sealing_anew_does_not_prolong_a_life():
    time = Time()
    memory = MemoryPlace(clock=time)
    await conversations(MemoryStore(memory), OLD, ttl_seconds=100, clock=time).save(ADA, snapshot())
    time.now += 60
    turning = conversations(MemoryStore(memory), NEW, OLD, ttl_seconds=100, clock=time)
    assert await turning.reseal() == 1
    time.now += 39
    assert await turning.load(ADA, "resp_1") is not None
    time.now += 2
    assert await turning.load(ADA, "resp_1") is None


async def test_with_one_key_nothing_is_read_for_it():
    memory = MemoryPlace()
    kept = conversations(MemoryStore(memory), NEW)
    await kept.save(ADA, snapshot())
    before = memory.calls
    assert await kept.reseal() == 0
    assert memory.calls == before


async def test_each_snapshot_is_looked_at_once():
    memory = MemoryPlace()
    for number in range(5):
        await conversations(MemoryStore(memory), OLD).save(ADA, snapshot(f"resp_{number}"))
    turning = conversations(MemoryStore(memory), NEW, OLD)
    await turning.reseal()
    before = memory.calls
    await turning.reseal()
    assert memory.calls - before == 1, "the names"


async def test_one_that_does_not_open_is_left_and_the_others_are_sealed(near_place: Place):
    store = near_place.open()
    await conversations(store, OLD).save(ADA, snapshot("resp_1"))
    broken = await only_name(store)
    await store.write(broken, b"gm1 of somebody else, and long enough", expected=1)
    await conversations(store, OLD).save(ADA, snapshot("resp_2"))
    turning = conversations(near_place.open(), NEW, OLD)
    assert await turning.reseal() == 1
    with pytest.raises(SealBroken):
        await turning.load(ADA, "resp_1")


# --- Trouble ---------------------------------------------------------------------------------


async def test_a_store_in_trouble_is_said_to_be():
    memory = MemoryPlace()
    kept = conversations(MemoryStore(memory))
    memory.fail()
    for call in (
        kept.save(ADA, snapshot()),
        kept.load(ADA, "resp_1"),
        kept.delete(ADA, "resp_1"),
        kept.find(ADA, ["x"]),
    ):
        with pytest.raises(StoreUnavailable):
            await call
