"""Frames of server-sent events become messages, however they are handed over (Hypothesis)."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from gptmock.server.sockets.connection import Socket
from gptmock.server.sockets.messages import Create, Steer, answerable, read_message, without_previous
from gptmock.server.sockets.wire import SocketWire

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
kinds = st.sampled_from(["response.output_text.delta", "response.completed", "error", "odd kind", "a\u2028b"])
events = st.lists(st.builds(lambda kind, delta: {"type": kind, "delta": delta, "response": {}}, kinds, values))


class Heard:
    """In the place of a connection: what is sent."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.written_bytes = self.sent_bytes = 0

    def send(self, *texts: bytes) -> bool:
        self.texts += texts
        return True

    def send_one(self, text: bytes) -> bool:
        return self.send(text)


def framed(event: dict[str, Any], *, named: bool) -> bytes:
    name = b"event: " + event["type"].encode() + b"\n" if named else b""
    return name + b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


def told(
    blocks: list[bytes], lane: Raw | None, limits: bytes | None = None
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """What a client hears of a stream, and the ends that the turn hears of."""
    heard, ends = Heard(), list[bytes]()
    wire = SocketWire(cast("Socket", heard), lane, status=lambda: 503, ended=ends.append, limits=limits)

    async def play() -> None:
        await wire.begin(blocks[0] if blocks else b": \n\n")
        for block in blocks[1:-1]:
            wire.write(block)
        if len(blocks) > 1:
            await wire.end(blocks[-1])

    asyncio.run(play())
    return [json.loads(text) for text in heard.texts], ends


@pytest.mark.check(326)
@settings(max_examples=60)
@given(events, st.lists(st.integers(0, 3), max_size=12), st.booleans(), st.sampled_from([None, Raw(b'"a\\"b"')]))
def test_the_messages_are_the_events(said, sizes, named, lane):
    frames = [frame for event in said for frame in (framed(event, named=named), b": heartbeat\n\n")]
    blocks, place = list[bytes](), 0
    for size in sizes:
        blocks.append(b"".join(frames[place : place + size]) or b": \n\n")
        place += size
    blocks.append(b"".join(frames[place:]) or b": \n\n")
    heard, _ = told(blocks, lane)
    for event in heard:
        assert event.pop("stream_id", None) == (None if lane is None else 'a"b')
        event.pop("status", None)
    assert heard == said


def test_the_last_error_has_a_status_and_the_end_is_told():
    error, end = {"type": "error", "code": "x"}, {"type": "response.completed", "response": {"id": "resp_1"}}
    assert told([b": \n\n", _compact(error)], None)[0] == [{**error, "status": 503}]
    _, ends = told([b": \n\n", _compact(end)], Raw(b'"a"'))
    assert [json.loads(one) for one in ends] == [end]


OURS, THEIRS = [{"type": "codex.rate_limits", "plan_type": plan} for plan in ("ours", "theirs")]
CREATED: dict[str, Any] = {"type": "response.created", "response": {}}
DONE: dict[str, Any] = {"type": "response.completed", "response": {}}
FAILED = [{"type": "error", "code": "x", "status": 503}, {"type": "response.failed"}]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ([CREATED, DONE], [CREATED, OURS, DONE]),
        ([THEIRS, CREATED, DONE], [THEIRS, CREATED, DONE]),
        ([CREATED, THEIRS, DONE], [CREATED, THEIRS, DONE]),
        ([CREATED, *FAILED], [CREATED, OURS, *FAILED]),
    ],
)
def test_usage_windows_are_told_once(said: list[dict[str, Any]], heard: list[dict[str, Any]], at_once: object):
    frames = [_compact({name: event[name] for name in event if name != "status"}) for event in said]
    count = 2 if said[-1] is FAILED[-1] else 1
    blocks = [*frames[:-count], b"".join(frames[-count:])]
    ours = json.dumps(OURS, separators=(",", ":")).encode()
    assert told([b"".join(frames)] if at_once else blocks, Raw(b'"a"'), ours)[0] == [
        {"stream_id": "a", **event} for event in heard
    ]


def _compact(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


@pytest.mark.check(323)
@pytest.mark.parametrize("members", [b'"input":"\xff"', b'"input":"\xed\xa0\xbd"', b'"previous_response_id":"\xff"'])
def test_what_is_no_utf_8_is_not_sent_back(members):
    message = read_message(b'{"type":"response.steer",%b}' % members)
    assert isinstance(message, Steer)
    assert json.loads(message.answer)["steer"] == {}


@pytest.mark.check(327)
@settings(max_examples=60)
@given(
    st.dictionaries(st.text(max_size=8) | st.sampled_from(["input", "client_metadata", "store"]), values, max_size=6)
)
def test_a_message_is_the_body_of_a_request(members):
    message = read_message(json.dumps({**members, "type": "response.create", "stream_id": "a"}).encode())
    assert isinstance(message, Create)
    transport = {"type", "stream_id", "generate", "background", "stream", "event_id", "client_metadata"}
    body = json.loads(message.body)
    assert body.pop("stream") is True
    assert {name: body[name] for name in body.keys() - transport} == {
        name: members[name] for name in members.keys() - transport
    }
    assert not set(body) & (transport - {"client_metadata"})
    assert len(json.loads(answerable(message.body))["input"]) >= 1
    assert "previous_response_id" not in json.loads(without_previous(message.body))
