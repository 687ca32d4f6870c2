from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gptmock.catalog import ModelCatalog
from gptmock.dialects.dialect import Call, Defaults, ReplyHead, Terms, Turn
from gptmock.dialects.table import DIALECTS
from gptmock.errors import GptmockError, UpstreamBroken, UpstreamRefused, UpstreamUnavailable
from gptmock.gateway.account_selection import AccountSelector
from gptmock.gateway.gateway import Gateway
from gptmock.gateway.reply import MAX_TRIES, Outcome
from gptmock.gateway.several_turns import AnyReply, BatchGateway
from gptmock.gateway.usage_recording import TurnRecorder
from gptmock.simulator.scenes import render_scene
from gptmock.stores.limits_and_usage import SharedLimits, SharedUsage
from tests.gateway.memory import ACCOUNT, FixedCatalogs, MemoryUpstream, Script, Site, frames_of
from tests.harness import until
from tests.playbook import fold_completion, sse

(DIALECT,) = (route.dialect for route in DIALECTS if route.name == "completions")
HEAD = ReplyHead(id="0" * 29, created=1_790_000_000)
UNREACHABLE = UpstreamUnavailable("nobody there", code="upstream_unreachable")


def answer(text: str) -> bytes:
    usage = {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16}
    return sse(
        {"type": "response.created", "response": {"id": "r", "model": f"model-of-{text}"}},
        {"type": "response.output_text.delta", "output_index": 0, "delta": text},
        {"type": "response.completed", "response": {"id": "r", "usage": usage}},
    )


def asked(*prompts: str, stream: bool = True) -> Turn:
    body = {"model": "gpt-5.5", "prompt": prompts, "stream": stream, "stream_options": {"include_usage": True}}
    turn = DIALECT.decode(Call(json.dumps(body).encode()), Terms(ModelCatalog(), Defaults()))
    assert isinstance(turn, Turn)
    return turn


class House(Site):
    """A gateway that opens calls of several turns, with these scripts behind it."""

    def __init__(self, *scripts: Script) -> None:
        super().__init__()
        self.upstream = MemoryUpstream(list(scripts))
        worker = self.worker()
        board = SharedLimits(worker.store)
        self.ledger = SharedUsage(worker.store, clock=self.clock)
        self.books = TurnRecorder(board, self.ledger, clock=self.clock)
        chooser = AccountSelector(worker.vault, board, pool=(), clock=self.clock)
        one = Gateway(chooser, worker.keeper, self.upstream, self.books, FixedCatalogs())
        self.gateway = BatchGateway(one)
        self.outcome = Outcome()

    @asynccontextmanager
    async def reply(self, turn: Turn) -> AsyncIterator[AnyReply]:
        await self.login(1)
        async with self.gateway.open(turn, HEAD, self.outcome) as reply:
            yield reply

    async def streamed(self, *prompts: str) -> list[bytes]:
        async with self.reply(asked(*prompts)) as reply:
            return [block async for block in frames_of(reply)]

    async def collected(self, *prompts: str) -> Any:
        async with self.reply(asked(*prompts, stream=False)) as reply:
            return json.loads(await reply.document())

    @property
    def openings(self) -> int:
        return len(self.upstream.credentials)


def scripts(*texts: str) -> list[Script]:
    return [Script([answer(text)]) for text in texts]


# --- Well ------------------------------------------------------------------------------


@pytest.mark.check(100)
async def test_prompts_are_streamed_one_after_another():
    house = House(*scripts("one", "two", "three"))
    read = fold_completion(await house.streamed("a", "b", "c"))
    assert [choice["text"] for choice in read.reply["choices"]] == ["one", "two", "three"]
    assert read.reply["usage"]["total_tokens"] == 48
    assert (house.openings, house.upstream.open_now) == (3, 0)


@pytest.mark.check(100)
async def test_prompts_are_collected_in_their_order_whoever_is_ready_first():
    slow = Script([0.1, answer("one")])
    house = House(slow, Script([0.05, answer("two")]), *scripts("three"))
    document = await house.collected("a", "b", "c")
    assert [choice["index"] for choice in document["choices"]] == [0, 1, 2]
    assert {choice["text"] for choice in document["choices"]} == {"one", "two", "three"}
    assert document["choices"][0]["text"] == "one"
    assert (house.openings, house.upstream.open_now) == (3, 0)


async def test_all_that_follow_the_first_are_asked_at_once():
    house = House(*scripts("one"), *(Script([0.3, answer(str(number))]) for number in range(19)))
    async with house.reply(asked(*"abcdefghijklmnopqrst", stream=False)) as reply:
        assert house.openings == 1
        rendering = asyncio.get_running_loop().create_task(reply.document())
        await until(lambda: house.upstream.open_now >= 19)
        await rendering
    assert house.upstream.open_now == 0


async def test_a_key_with_a_limit_of_concurrent_turns_gets_them_one_after_another():
    running: list[int] = []
    house = House(*(Script([0.01, answer(str(number))]) for number in range(6)))
    house.outcome.turns_at_once = 1
    ended = house.books.ended

    def counted(*args: Any, **kwargs: Any) -> None:
        running.append(house.openings)
        ended(*args, **kwargs)

    house.books.ended = counted  # type: ignore[method-assign]
    document = await house.collected(*"abcdef")
    assert [choice["text"] for choice in document["choices"]] == list("012345")
    assert running == [2, 3, 4, 5, 6, 6], "the first turn is closed with the request, each other before the next opens"


async def test_a_call_of_one_turn_goes_straight_through():
    house = House(*scripts("one"))
    assert fold_completion(await house.streamed("a")).reply["choices"][0]["text"] == "one"
    assert (house.openings, house.outcome.further) == (1, [])


async def test_the_log_and_the_books_know_every_turn():
    house = House(*scripts("one", "two"))
    house.outcome.tenant = "somebody"
    async with house.reply(asked("a", "b")) as reply:
        assert reply.model == "model-of-one"
        assert [block async for block in frames_of(reply)]
    usage = house.outcome.usage
    assert {one.tenant for one in house.outcome.further} == {"somebody"}
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (22, 10)
    await house.ledger.settle()
    assert (await house.ledger.read(ACCOUNT.id)).today["requests"] == 2


# --- Ill -------------------------------------------------------------------------------


async def test_a_first_turn_that_fails_is_a_status_and_no_other_is_asked():
    house = House(Script(error=UpstreamRefused("no", code="invalid_prompt", status=400)))
    with pytest.raises(UpstreamRefused):
        await house.collected("a", "b")
    assert (house.openings, house.upstream.open_now) == (1, 0)


async def test_a_later_turn_that_fails_fails_the_whole_document():
    broken = Script([answer("two")[:-20]])
    house = House(*scripts("one"), broken, Script([5.0, answer("three")]))
    with pytest.raises(UpstreamBroken) as caught:
        await house.collected("a", "b", "c")
    assert isinstance(caught.value, GptmockError)
    assert house.upstream.open_now == 0


@pytest.mark.parametrize(
    "second",
    [
        Script(error=UpstreamRefused("no", code="invalid_prompt", status=400)),
        Script([render_scene("failed-mid")]),
        Script([render_scene("eof-mid")]),
        Script([]),
    ],
)
async def test_a_later_turn_that_fails_ends_the_stream(second: Script):
    house = House(*scripts("one"), second, *scripts("three"))
    frames = await house.streamed("a", "b", "c")
    assert not fold_completion(frames).succeeded
    assert b"three" not in b"".join(frames)
    assert house.outcome.error is not None
    assert (house.openings, house.upstream.open_now) == (2, 0)


async def test_a_cut_of_the_first_ends_the_stream_too():
    house = House(Script([render_scene("eof-mid")]), *scripts("two"))
    assert not fold_completion(await house.streamed("a", "b")).succeeded
    assert house.openings == 1


async def test_each_turn_is_tried_again_until_its_own_first_event():
    house = House(*scripts("one"), Script(error=UNREACHABLE), *scripts("two"))
    assert fold_completion(await house.streamed("a", "b")).succeeded
    assert house.openings == 3
    house = House(*scripts("one"), Script(error=UNREACHABLE))
    assert not fold_completion(await house.streamed("a", "b")).succeeded
    assert house.openings == 1 + MAX_TRIES


@pytest.mark.parametrize("where", ["waiting for the upstream", "sending to the client"])
async def test_a_client_that_leaves_closes_the_turn_that_runs(where: str):
    whole = answer("two")
    house = House(*scripts("one"), Script([whole[: whole.index(b"event: response.completed")], 60.0]))
    seen: list[bytes] = []

    async def visit() -> None:
        async with house.reply(asked("a", "b")) as reply:
            async for block in frames_of(reply):
                seen.append(block)
                if where == "sending to the client" and house.openings == 2:
                    await asyncio.sleep(60)

    visiting = asyncio.get_running_loop().create_task(visit())
    await until(lambda: b"two" in b"".join(seen))
    await asyncio.sleep(0)
    assert house.upstream.open_now > 0
    visiting.cancel()
    await asyncio.gather(visiting, return_exceptions=True)
    assert house.upstream.open_now == 0
