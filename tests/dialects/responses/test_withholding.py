"""The last frame of a reply that is to be stored is withheld until storing has succeeded or failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gptmock.conversations import PendingSnapshot
from gptmock.dialects.dialect import Call, SaysWhetherStored, Turn, WithholdsItsEnd, supports
from gptmock.dialects.responses import Responses
from gptmock.dialects.responses.reply import ResponsesReply
from gptmock.dialects.responses.stream import ResponsesTranslator
from gptmock.errors import InternalError
from gptmock.protocol.fold import ResponseFold
from gptmock.protocol.reader import Received
from gptmock.simulator.scenes import render_scene
from tests.playbook import HEAD, ends_well, events_of, terms

DIALECT = Responses()
ENDING_WELL = ("text", "tools2", "reasoning", "done-only", "noids", "incomplete", "vendor-first")


def turn(*, stored: bool, **body: Any) -> Turn:
    asked = json.dumps({"model": "gpt-5.5", "input": "Hello", "stream": True, **body}).encode()
    return DIALECT.decode(Call(asked, tenant="ada"), terms(store_responses=stored))


def fed(translator: ResponsesTranslator, events: list[Received]) -> list[bytes]:
    return [frame for received in events for frame in translator.feed(received)]


def translator_of(*, stored: bool) -> ResponsesTranslator:
    reply = turn(stored=stored).reply
    assert isinstance(reply, ResponsesReply)
    return reply.translator(HEAD)


def play(scene: str, *, stored: bool) -> tuple[ResponsesTranslator, list[bytes]]:
    translator = translator_of(stored=stored)
    return translator, fed(translator, events_of(render_scene(scene)))


def data(frame: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(frame.partition(b"data: ")[2])
    return value


def without_store(frames: list[bytes]) -> list[dict[str, Any]]:
    told = [data(frame) for frame in frames]
    return [{**one, "response": {**one["response"], "store": None}} if "response" in one else one for one in told]


def test_the_contract_is_kept():
    assert supports(translator_of(stored=True), WithholdsItsEnd)


@pytest.mark.parametrize("scene", ENDING_WELL)
@pytest.mark.parametrize("stored", [True, False])
def test_but_for_what_they_say_of_the_store_both_ways_say_the_same(scene: str, stored: bool):  # noqa: FBT001
    translator, frames = play(scene, stored=True)
    assert not any(ends_well(received.event) for frame in frames for received in events_of(frame))
    answer = translator.answer
    assert answer is not None
    (end,) = translator.settle(stored=stored)
    assert data(end)["response"]["store"] is stored
    assert json.loads(answer) == {**data(end)["response"], "store": True}
    assert translator.answer is None
    assert translator.finish() == []
    assert without_store([*frames, end]) == without_store(play(scene, stored=False)[1])


@pytest.mark.parametrize("scene", ENDING_WELL)
def test_nothing_is_withheld_where_nothing_is_stored(scene: str):
    translator, frames = play(scene, stored=False)
    assert translator.answer is None
    assert translator.settle(stored=True) == []
    assert data(frames[-1])["response"]["store"] is False
    assert translator.finish() == []


@pytest.mark.parametrize("scene", ["failed-mid", "eof-mid", "failed-first", "error-event"])
def test_a_reply_that_failed_has_nothing_to_store(scene: str):
    translator, frames = play(scene, stored=True)
    assert translator.answer is None
    assert without_store([*frames, *translator.finish()])[-1]["type"] == "response.failed"


def test_what_breaks_before_the_end_is_said_is_a_failure_and_nothing_else():
    translator, frames = play("text", stored=True)
    error, failed = (data(frame) for frame in translator.finish(InternalError("oh")))
    assert (error["type"], failed["type"]) == ("error", "response.failed")
    numbers = [data(frame)["sequence_number"] for frame in frames]
    assert [*numbers, error["sequence_number"], failed["sequence_number"]] == list(range(len(numbers) + 2))
    assert translator.settle(stored=True) == []
    assert translator.finish() == []


def test_the_end_is_said_once_whatever_comes_after_it():
    translator, _ = play("text", stored=True)
    translator.settle(stored=True)
    assert fed(translator, events_of(render_scene("text"))) == []
    assert translator.settle(stored=True) == []


@pytest.mark.parametrize(
    ("body", "is_stored"), [({}, True), ({"store": None}, True), ({"store": True}, True), ({"store": False}, False)]
)
def test_what_a_request_says_of_the_store(body: dict[str, Any], is_stored: bool):  # noqa: FBT001
    assert (turn(stored=True, **body).pending_snapshot is not None) is is_stored
    assert turn(stored=False, **body).pending_snapshot is None


def test_a_memo_holds_the_input_as_the_client_wrote_it():
    items = [
        {"role": "system", "content": "Be brief."},
        {"type": "function_call", "id": "fc_1", "call_id": "c" * 120, "name": "a.b", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c" * 120, "output": "x", "status": None},
    ]
    pending = turn(stored=True, input=items).pending_snapshot
    assert isinstance(pending, PendingSnapshot)
    assert (pending.tenant, pending.inherited) == ("ada", 0)
    first, *others = (json.loads(bytes(item)) for item in pending.input)
    assert first == {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]}
    assert others == items[1:]


def test_a_document_says_whether_it_is_stored():
    fold = ResponseFold(keep_events=True)
    for received in events_of(render_scene("text")):
        fold.feed(received)
    folded = fold.finish()
    plan: Any = turn(stored=True).reply
    assert supports(turn(stored=True).reply, SaysWhetherStored)
    assert json.loads(plan.document(HEAD, folded))["store"] is True
    assert json.loads(plan.not_stored().document(HEAD, folded))["store"] is False
