"""Storing responses: after a successful turn and before its last frame, which says whether it was stored."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, replace
from typing import Any

import pytest
from msgspec import Raw

from gptmock.conversations import PendingSnapshot, Snapshot
from gptmock.dialects.dialect import ReplyHead, Translator, Turn
from gptmock.dialects.plans import SseReply
from gptmock.errors import GptmockError, UpstreamBroken
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.protocol.events import ResponseCompleted, ResponseIncomplete
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.reader import Received
from gptmock.simulator.scenes import render_scene
from gptmock.stores.conversations import SealedConversations
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer
from tests.conversations import user
from tests.gateway.memory import ACCOUNT, KEY, Script, frames_of, tokens
from tests.gateway.test_gateway import BOB, FIRST_DELTA, TEXT, House, turn
from tests.harness import until

PENDING = PendingSnapshot("ada", (user("before"), user("now")), 1)


def response(*, stored: bool) -> bytes:
    return json.dumps({"id": "resp_1", "output": [], "store": stored}).encode()


@dataclass(frozen=True)
class PlainReply(SseReply):
    """A reply of two frames: one that says a turn goes on, and the Response object at its end."""

    withholds: bool

    def translator(self, _: ReplyHead) -> Translator:
        return PlainTranslator(withholds=self.withholds)

    def document(self, _head: ReplyHead, _folded: FoldedResponse) -> bytes:
        return response(stored=self.withholds)

    def not_stored(self) -> PlainReply:
        return PlainReply(withholds=False)


class PlainTranslator:
    def __init__(self, *, withholds: bool) -> None:
        self._withholds = withholds
        self._ended = False
        self.answer: bytes | None = None
        self.failure: GptmockError | None = None

    def feed(self, received: Received) -> list[bytes]:
        if not isinstance(received.event, ResponseCompleted | ResponseIncomplete):
            return [b"."]
        if self._withholds:
            self.answer = response(stored=True)
            return []
        self._ended = True
        return [response(stored=False)]

    def settle(self, *, stored: bool) -> list[bytes]:
        self.answer, self._ended = None, True
        return [response(stored=stored)]

    def finish(self, cause: GptmockError | None = None) -> list[bytes]:
        if self._ended:
            return []
        self.failure = cause
        return [f"failed: {cause}".encode()]


class RememberingHouse(House):
    """Stores in a place of its own, so that logins live when it is away."""

    def __init__(self, *scripts: Script, **more: Any) -> None:
        self.responses = MemoryPlace()
        self.stored = SealedConversations(MemoryStore(self.responses), Sealer([KEY]), ttl_seconds=3600)
        super().__init__(*scripts, conversations=ConversationKeeper(self.stored), **more)

    async def snapshot(self) -> Snapshot | None:
        return await self.stored.load("ada", "resp_1")


def remembered(*, stream: bool, pending: PendingSnapshot | None = PENDING) -> Turn:
    return replace(turn(stream=stream), pending_snapshot=pending, reply=PlainReply(withholds=pending is not None))


async def answered(house: House, asked: Turn) -> bytes:
    async with house.reply(asked) as reply:
        if asked.stream:
            return b"".join([block async for block in frames_of(reply)])
        return await reply.document()


both = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "collected"])


@both
async def test_what_was_said_is_stored_and_the_end_says_so(stream: bool):  # noqa: FBT001
    house = RememberingHouse(Script([TEXT]))
    assert (await answered(house, remembered(stream=stream))).endswith(response(stored=True))
    assert await house.snapshot() == Snapshot(
        "resp_1", house.outcome.account_id or "", PENDING.input, PENDING.inherited, Raw(response(stored=True))
    )
    assert house.outcome.stored is True
    assert house.outcome.account_id


async def test_it_is_stored_before_the_end_is_heard():
    house = RememberingHouse(Script([TEXT]))
    async with house.reply(remembered(stream=True)) as reply:
        async for block in frames_of(reply):
            assert (await house.snapshot() is not None) is block.endswith(response(stored=True))


async def test_a_fault_of_the_store_repeats_nothing_that_was_sent():
    class Faulty(ConversationKeeper):
        async def remember(self, tenant: str, snapshot: Snapshot) -> bool:  # noqa: ARG002 - the keeper's
            raise ZeroDivisionError

    expected = (await answered(House(Script([TEXT])), remembered(stream=True, pending=None))).count(b".")
    house = House(Script([TEXT]), conversations=Faulty(None))
    said = await answered(house, remembered(stream=True))
    assert said.count(b".") - said.count(b"answer.") == expected
    assert said.endswith(b"failed: An internal error ended this answer.")


async def test_what_came_before_the_end_does_not_wait_for_the_store():
    house = RememberingHouse(Script([TEXT]))
    house.responses.hang(seconds=60)
    blocks: list[bytes] = []

    async def read() -> None:
        async with house.reply(remembered(stream=True)) as reply:
            async for block in frames_of(reply):
                blocks.append(block)  # noqa: PERF401 - one at a time is the point

    reading = asyncio.ensure_future(read())
    await until(lambda: bool(blocks))
    assert not b"".join(blocks).endswith(b"}")
    house.responses.recover()
    await reading
    assert b"".join(blocks).endswith(response(stored=True))


@both
async def test_a_store_that_is_away_costs_no_answer_but_the_claim(
    stream: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
):
    house = RememberingHouse(Script([TEXT]))
    house.responses.fail()
    assert (await answered(house, remembered(stream=stream))).endswith(response(stored=False))
    assert house.outcome.stored is False
    assert house.outcome.error is None
    (record,) = (each for each in caplog.records if each.getMessage() == "conversation.not_stored")
    assert record.levelno == logging.WARNING


@both
async def test_what_is_not_to_be_stored_is_not(stream: bool):  # noqa: FBT001
    house = RememberingHouse(Script([TEXT]))
    assert (await answered(house, remembered(stream=stream, pending=None))).endswith(response(stored=False))
    assert house.responses.calls == 0
    assert house.outcome.stored is None


@both
@pytest.mark.parametrize("scene", ["failed-mid", "eof-mid"])
async def test_a_turn_that_failed_is_not_stored(stream: bool, scene: str):  # noqa: FBT001
    house = RememberingHouse(Script([render_scene(scene)]))
    if stream:
        assert (await answered(house, remembered(stream=True))).rpartition(b".")[2].startswith(b"failed")
    else:
        with pytest.raises(GptmockError):
            await answered(house, remembered(stream=False))
    assert house.responses.calls == 0


async def test_a_stream_that_breaks_is_not_stored():
    house = RememberingHouse(Script([TEXT[: FIRST_DELTA + 600], UpstreamBroken("cut")]))
    assert (await answered(house, remembered(stream=True))).rpartition(b".")[2].startswith(b"failed")
    assert house.responses.calls == 0


@both
async def test_an_incomplete_turn_is_stored(stream: bool):  # noqa: FBT001
    house = RememberingHouse(Script([render_scene("incomplete")]))
    assert (await answered(house, remembered(stream=stream))).endswith(response(stored=True))
    assert await house.snapshot() is not None


async def test_a_client_that_leaves_before_the_end_leaves_nothing():
    house = RememberingHouse(Script([TEXT[: FIRST_DELTA + 600], 60.0]))
    reading = asyncio.ensure_future(answered(house, remembered(stream=True)))
    await until(lambda: house.upstream.open_now == 1)
    reading.cancel()
    await asyncio.wait({reading})
    assert house.responses.calls == 0


async def test_who_served_the_conversation_before_serves_it_again():
    house = RememberingHouse(Script([TEXT]), pool=("ada@example.test", "bob@example.test"))
    await house.worker().vault.enroll(replace(tokens(5, expires_at=None), account=BOB))
    for account_id in (BOB.id, ACCOUNT.id, BOB.id):
        await answered(house, replace(remembered(stream=True), account_id=account_id))
        assert house.outcome.account_id == account_id
    await answered(house, replace(remembered(stream=True), account_id="one that has left"))
    assert house.outcome.account_id in (ACCOUNT.id, BOB.id)


async def test_whoever_lacks_the_model_comes_last_even_so():
    house = RememberingHouse(Script([TEXT]), pool=("ada@example.test", "bob@example.test"))
    await house.worker().vault.enroll(replace(tokens(5, expires_at=None), account=BOB))
    house.catalogs.lacking = {BOB.id}
    await answered(house, replace(remembered(stream=True), account_id=BOB.id))
    assert house.outcome.account_id == ACCOUNT.id
