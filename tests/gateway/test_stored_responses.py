from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
from msgspec import Raw

from gptmock.conversations import MAX_SNAPSHOT_BYTES, NO_CONTEXT, ContextReferences, Reference, Snapshot, item_id
from gptmock.errors import BadRequest, GptmockError, StoreUnavailable, UnknownResponse
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.stores.conversations import SealedConversations
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer
from tests.conversations import raw, said, snapshot, texts, user
from tests.gateway.memory import KEY

ADA, BOB = "ada", "bob"


def keeper_on(place: MemoryPlace) -> ConversationKeeper:
    return ConversationKeeper(SealedConversations(MemoryStore(place), Sealer([KEY]), ttl_seconds=3600))


async def keeper_with(*stored: Snapshot, tenant: str = ADA) -> ConversationKeeper:
    keeper = keeper_on(MemoryPlace())
    for one in stored:
        assert await keeper.remember(tenant, one)
    return keeper


def refers(*item_ids: str, previous: str | None = None) -> ContextReferences:
    return ContextReferences(previous, tuple(Reference(one, place) for place, one in enumerate(item_ids)))


async def refusal(answer: Awaitable[object]) -> GptmockError:
    with pytest.raises(GptmockError) as caught:
        await answer
    return caught.value


# --- Recalling -----------------------------------------------------------------------------


async def test_a_request_that_refers_to_nothing_asks_nobody():
    place = MemoryPlace()
    assert await keeper_on(place).recall(ADA, ContextReferences()) == NO_CONTEXT
    assert place.calls == 0


async def test_a_child_gets_the_whole_conversation_in_one_round_trip():
    place = MemoryPlace()
    keeper = keeper_on(place)
    first = snapshot("resp_1")
    second = snapshot("resp_2", after=first)
    for one in (first, second):
        await keeper.remember(ADA, one)
    before = place.calls
    recalled = await keeper.recall(ADA, refers(previous="resp_2"))
    assert texts(recalled.items) == [f"{what} of resp_{turn}" for turn in (1, 2) for what in ("question", "answer")]
    assert recalled.account_id == first.account_id
    assert recalled.referred[item_id(0, first.input[0])] == first.input[0]
    assert place.calls - before == 1


async def test_references_are_found_in_whatever_response_has_them():
    call = raw({"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"})
    keeper = await keeper_with(snapshot("resp_1", answered=(call,)), snapshot("resp_2"))
    recalled = await keeper.recall(ADA, refers("fc_1", "msg_of_resp_2"))
    assert recalled.items == ()
    assert recalled.referred == {"fc_1": call, "msg_of_resp_2": said("answer of resp_2", "msg_of_resp_2")}


async def test_what_the_conversation_has_is_not_looked_up_again():
    place = MemoryPlace()
    keeper = keeper_on(place)
    await keeper.remember(ADA, snapshot("resp_1"))
    before = place.calls
    recalled = await keeper.recall(ADA, refers("msg_of_resp_1", previous="resp_1"))
    assert recalled.referred["msg_of_resp_1"] == recalled.items[1]
    assert place.calls - before == 1


async def test_an_unknown_previous_response_is_named():
    error = await refusal((await keeper_with()).recall(ADA, refers(previous="resp_9")))
    assert isinstance(error, BadRequest)
    assert error.message == "Previous response with id 'resp_9' not found."
    assert (error.code, error.param, error.status_hint) == (
        "previous_response_not_found",
        "previous_response_id",
        400,
    )


@pytest.mark.check(81)
async def test_an_unknown_item_is_named_with_its_place():
    keeper = await keeper_with(snapshot("resp_1"))
    error = await refusal(keeper.recall(ADA, refers("msg_of_resp_1", "rs_lost")))
    assert isinstance(error, BadRequest)
    assert (error.code, error.param) == ("item_not_found", "input[1].id")
    assert error.message.startswith("Item with id 'rs_lost' not found.")


@pytest.mark.parametrize(
    "wanted", [refers(previous="resp_1"), refers("msg_of_resp_1"), refers("msg_of_resp_1", previous="resp_1")]
)
async def test_what_belongs_to_somebody_else_is_as_unknown_as_what_is_nobodys(wanted: ContextReferences):
    foreign = await refusal((await keeper_with(snapshot("resp_1"), tenant=BOB)).recall(ADA, wanted))
    nobodys = await refusal((await keeper_with()).recall(ADA, wanted))
    assert (type(foreign), vars(foreign)) == (type(nobodys), vars(nobodys))


@pytest.mark.check(75)
async def test_where_nothing_is_stored_that_is_what_is_said():
    keeper = ConversationKeeper(None)
    error = await refusal(keeper.recall(ADA, refers("msg_1", previous="resp_1")))
    assert isinstance(error, BadRequest)
    assert (error.code, error.param) == ("unsupported_parameter", "previous_response_id")
    assert "GPTMOCK_RESPONSES_TTL" in error.message
    error = await refusal(keeper.recall(ADA, refers("msg_1")))
    assert (error.code, error.param) == ("unsupported_parameter", "input[0].id")
    assert "GPTMOCK_RESPONSES_TTL" in error.message
    assert await keeper.recall(ADA, ContextReferences()) == NO_CONTEXT


async def test_a_request_that_needs_the_store_fails_when_it_is_away():
    place = MemoryPlace()
    keeper = keeper_on(place)
    await keeper.remember(ADA, snapshot("resp_1"))
    place.fail()
    for wanted in (refers(previous="resp_1"), refers("msg_of_resp_1")):
        error = await refusal(keeper.recall(ADA, wanted))
        assert isinstance(error, StoreUnavailable)
        assert error.status_hint == 503


async def test_what_a_client_wrote_is_shown_short_and_printable():
    error = await refusal((await keeper_with()).recall(ADA, refers(previous="resp_\x1b[31m" + "x" * 5000)))
    assert error.message.isprintable()
    assert len(error.message) < 200


# --- Remembering ---------------------------------------------------------------------------


async def test_what_cannot_be_stored_is_told_and_no_error(caplog: pytest.LogCaptureFixture):
    place = MemoryPlace()
    keeper = keeper_on(place)
    place.fail()
    assert not await keeper.remember(ADA, snapshot())
    (record,) = caplog.records
    assert record.getMessage() == "conversation.not_stored"
    assert record.levelno == logging.WARNING
    place.recover()
    assert await keeper.remember(ADA, snapshot())


def filled(size_bytes: int) -> Snapshot:
    empty = snapshot(asked=(user(""),))
    return snapshot(asked=(user("x" * (size_bytes - empty.size_bytes)),))


@pytest.mark.parametrize(("over_bytes", "stored"), [(0, True), (1, False)])
async def test_more_than_8_mb_are_not_stored(
    over_bytes: int,
    stored: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
):
    keeper = keeper_on(MemoryPlace())
    large = filled(MAX_SNAPSHOT_BYTES + over_bytes)
    assert await keeper.remember(ADA, large) is stored
    assert [vars(record)["reason"] for record in caplog.records] == ([] if stored else ["size"])
    if stored:
        assert await keeper.load(ADA, "resp_1") == large


async def test_where_nothing_is_stored_nothing_is_remembered(caplog: pytest.LogCaptureFixture):
    assert not await ConversationKeeper(None).remember(ADA, snapshot())
    assert caplog.records == []


# --- Looking at what is stored ---------------------------------------------------------------

Look = Callable[[ConversationKeeper, str, str], Awaitable[object]]
LOOKS: dict[str, Look] = {
    "load": ConversationKeeper.load,
    "forget": ConversationKeeper.forget,
    "cancel": ConversationKeeper.cancel,
}


@pytest.mark.check(80, 115)
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_an_unknown_response_is_a_404_whoevers_it_is(look: Look):
    said_of = [
        await refusal(look(keeper, ADA, "resp_1"))
        for keeper in (
            await keeper_with(),
            await keeper_with(snapshot("resp_1"), tenant=BOB),
            ConversationKeeper(None),
        )
    ]
    assert {(type(error), error.message, error.code, error.param) for error in said_of} == {
        (UnknownResponse, "Response with id 'resp_1' not found.", "response_not_found", None)
    }


async def test_a_stored_response_is_loaded_and_forgotten():
    stored = snapshot("resp_1")
    keeper = await keeper_with(stored)
    assert await keeper.load(ADA, "resp_1") == stored
    await keeper.forget(ADA, "resp_1")
    assert isinstance(await refusal(keeper.load(ADA, "resp_1")), UnknownResponse)
    assert isinstance(await refusal(keeper.forget(ADA, "resp_1")), UnknownResponse)


@pytest.mark.check(115)
async def test_a_stored_response_cannot_be_cancelled():
    error = await refusal((await keeper_with(snapshot("resp_1"))).cancel(ADA, "resp_1"))
    assert isinstance(error, BadRequest)
    assert error.message.startswith("Only background responses can be cancelled")


async def test_an_item_with_strange_members_is_recalled_as_it_was():
    strange = Raw(b'{"type":"from_the_future","id":"ftf_1","x":[1e2,{"y":null}]}')
    keeper = await keeper_with(snapshot("resp_1", answered=(strange,)))
    assert (await keeper.recall(ADA, refers(previous="resp_1"))).items[-1] == strange
