"""Frames of server-sent events become messages, however they are handed over (Hypothesis)."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from gptmock.dialects.table import RESPONSES
from gptmock.gateway.first_event import Opened
from gptmock.gateway.reply import Outcome, Reply
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.server.sockets.connection import Socket
from gptmock.server.sockets.messages import Create, Steer, answerable, read_message, without_previous
from gptmock.server.sockets.wire import SocketWire, texts_of
from gptmock.server.streaming import ClientSink, Heartbeat, Heartbeats
from gptmock.simulator.scenes import render_scene
from tests.playbook import HEAD, CollectingSink, client_of, decode, split
from tests.upstream.test_websocket_law import SCENES, HttpBody, stream_of

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

    async def writable(self) -> None:
        pass


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


async def _replied(sink: ClientSink | CollectingSink, blocks: list[bytes], ending: Exception | None) -> None:
    async def opened() -> Opened:
        return Opened(stream_of(HttpBody(blocks, ending)))

    turn = decode(RESPONSES, client_of(RESPONSES).body())
    accepting = asyncio.get_running_loop().create_task(opened())
    await Reply(turn, HEAD, accepting, Outcome(), conversations=ConversationKeeper(None)).stream(sink)


async def _over_both(
    blocks: list[bytes], ending: Exception | None, *, lane: Raw | None, limits: bytes | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    plain, heard = CollectingSink(), Heard()
    await _replied(plain, blocks, ending)
    wire = SocketWire(cast("Socket", heard), lane, status=lambda: 502, ended=lambda _: None, limits=limits)
    async with ClientSink(wire, Heartbeat(b": \n\n", 60.0), Heartbeats()) as sink:
        await _replied(sink, blocks, ending)
    return [json.loads(text) for text in texts_of(b"".join(plain.blocks))], [json.loads(text) for text in heard.texts]


@pytest.mark.check(326)
@settings(max_examples=150)
@given(
    scene=st.sampled_from(SCENES),
    part=st.none() | st.integers(0, 40_000),
    ending=st.sampled_from([None, httpx.ReadError("reset")]),
    cuts=st.lists(st.integers(0, 40_000), max_size=30),
    lane=st.sampled_from([None, Raw(b'"a"')]),
    has_limits=st.booleans(),
)
def test_a_scene_cut_and_closed_anywhere_is_the_same_over_both(  # noqa: PLR0917 - each is drawn
    scene: str, part: int | None, ending: Exception | None, cuts: list[int], lane: Raw | None, has_limits: object
):
    upstream = render_scene(scene)
    upstream = upstream if part is None else upstream[: part % (len(upstream) + 1)]
    blocks = [block for block in split(upstream, sorted({cut % (len(upstream) + 1) for cut in cuts})) if block]
    limits = json.dumps(OURS, separators=(",", ":")).encode() if has_limits else None
    plain, heard = asyncio.run(_over_both(blocks, ending, lane=lane, limits=limits))
    assert [event.pop("stream_id", None) for event in heard] == [None if lane is None else "a"] * len(heard)
    assert all(event.pop("status") == 502 for event in heard if event["type"] == "error")
    assert heard.count(OURS) == (1 if has_limits else 0)
    assert [event for event in heard if event != OURS] == plain


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
