"""A law: for every dialect the frames are the same over both transports, wherever they are cut or closed."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.server import ServerProtocol

from gptmock.accounts import Account, Credential, Secret
from gptmock.dialects.dialect import Turn
from gptmock.dialects.table import DIALECTS
from gptmock.errors import GptmockError
from gptmock.gateway.first_event import Opened
from gptmock.gateway.reply import Outcome, Reply
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.simulator.scenes import STREAM_SCENE_NAMES, render_scene
from gptmock.upstream.bodies import Body, Take
from gptmock.upstream.engine import Answer
from gptmock.upstream.event_stream import CodexEventStream
from gptmock.upstream.refusals import RefusalReader
from gptmock.upstream.websocket_body import WebSocketBody
from gptmock.upstream.websocket_connection import WebSocketConnection
from gptmock.upstream.websocket_events import TERMINAL, is_about_the_connection, kind_of
from tests.playbook import HEAD, CollectingSink, client_of, decode, events_of, split

URL = "ws://upstream.test/backend-api/codex/responses"
SCENES = tuple(name for name in STREAM_SCENE_NAMES if name != "giant")
routes = pytest.mark.parametrize("route", DIALECTS, ids=lambda route: route.name)
CANARY = "planted-account-canary"


@functools.cache
def messages_of(scene: str) -> tuple[bytes, ...]:
    """The events of a scene as JSON texts, up to the terminal one."""
    found: list[bytes] = []
    for received in events_of(render_scene(scene)):
        kind = kind_of(received.data) or ""
        # Over HTTP these are headers, but in one scene.
        if not is_about_the_connection(kind):
            found.append(received.data)
        if kind in TERMINAL:
            break
    return tuple(found)


class Wire(asyncio.Transport):
    """A transport without a socket: what is written goes to the other side's core."""

    def __init__(self, core: ServerProtocol) -> None:
        super().__init__()
        self._core = core

    def write(self, data: Any) -> None:
        self._core.receive_data(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class HttpBody(Body):
    """The same events over HTTP, with the same ending."""

    complete = False

    def __init__(self, blocks: Iterable[bytes], ending: Exception | None) -> None:
        self._blocks = iter(blocks)
        self._ending = ending

    async def deliver(self, take: Take) -> bool:
        for block in self._blocks:
            if not take(block):
                return False
        if self._ending is not None:
            raise self._ending
        self.complete = True
        return True


def stream_of(body: Body) -> CodexEventStream:
    return CodexEventStream(
        Answer(200, [], body),
        refusals=RefusalReader(Credential(Account("w"), Secret("t"), 1), lambda: 0.0),
        idle_seconds=60,
        ends_at=asyncio.get_running_loop().time() + 3600,
        finds_runs=True,
    )


async def frames_of(turn: Turn, stream: CodexEventStream) -> bytes:
    async def opened() -> Opened:
        return Opened(stream)

    sink = CollectingSink()
    accepting = asyncio.get_running_loop().create_task(opened())
    await Reply(turn, HEAD, accepting, Outcome(), conversations=ConversationKeeper(None)).stream(sink)
    return b"".join(sink.blocks)


class Socket:
    """A connection whose other side is the core of ``websockets``."""

    def __init__(self, *, deflate: bool, idle: Callable[[bytes], bool] = lambda _: True) -> None:
        self.core = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()] if deflate else None)
        self.connection = WebSocketConnection(URL, {}, idle=idle, gone=lambda _: None)
        self.connection.connection_made(Wire(self.core))
        (request,) = self.core.events_received()
        assert isinstance(request, Request)
        self.core.send_response(self.core.accept(request))
        self.connection.data_received(self.written())

    def written(self) -> bytes:
        return b"".join(self.core.data_to_send())

    def fragmented(self, message: bytes, sizes: Iterator[int]) -> None:
        """Send a message in one frame or in several."""
        size = next(sizes)
        if not size or len(message) <= size:
            self.core.send_text(message)
            return
        self.core.send_text(message[:size], fin=False)
        self.core.send_continuation(message[size:], fin=True)


async def by_socket(
    turn: Turn, messages: Iterable[bytes], *, ending: Any, deflate: bool, sizes: list[int], cuts: list[int]
) -> bytes:
    socket = Socket(deflate=deflate)
    body = WebSocketBody(socket.connection, refused=never, finished=lambda *_: None)
    await socket.connection.send(b"{}", body)
    lengths = iter(sizes * 1000)
    limits = msgspec.json.encode({"type": "codex.rate_limits", "plan_type": CANARY, "rate_limits": {}})
    metadata = msgspec.json.encode({"type": "response.metadata", "headers": {"x-codex-turn-state": CANARY}})
    for message in (limits, metadata, *messages):
        # The socket's alias of the terminal event.
        socket.fragmented(message.replace(b'"response.completed"', b'"response.done"', 1), lengths)
    if isinstance(ending, int):
        socket.core.send_close(ending)
    wire = socket.written()
    pieces = split(wire, sorted({cut % (len(wire) + 1) for cut in cuts}))
    replying = asyncio.ensure_future(frames_of(turn, stream_of(body)))
    for piece in pieces:
        await asyncio.sleep(0)
        if piece:
            socket.connection.data_received(piece)
    if isinstance(ending, Exception):
        socket.connection.connection_lost(ending)
    await body.begun
    frames = await replying
    socket.connection.connection_lost(None)
    return frames


def never(message: bytes) -> GptmockError:
    raise AssertionError(message)


def _frame(message: bytes) -> bytes:
    lines = message.replace(b"\n", b"\ndata: ")
    return b"event: %b\ndata: %b\n\n" % ((kind_of(message) or "").encode(), lines)


def read(frames: bytes) -> list[Any]:
    """Every line, JSON decoded: copied deltas have their members in another order than decoded ones."""
    found: list[Any] = []
    for line in frames.split(b"\n"):
        rest = line.removeprefix(b"data: ")
        found.append(msgspec.json.decode(rest) if rest.startswith(b"{") else line)
    return found


async def both(turn: Turn, messages: list[bytes], ending: Any, **drawn: Any) -> tuple[bytes, bytes]:
    broken = httpx.ReadError(str(ending)) if isinstance(ending, Exception) else None
    over_http = await frames_of(turn, stream_of(HttpBody(map(_frame, messages), broken)))
    return over_http, await by_socket(turn, messages, ending=ending, **drawn)


@pytest.mark.check(257)
@routes
@settings(max_examples=25)
@given(
    scene=st.sampled_from(SCENES),
    part=st.none() | st.integers(min_value=0, max_value=400),
    ending=st.sampled_from([1000, 1001, 1009, 1011, ConnectionResetError("reset")]),
    deflate=st.booleans(),
    sizes=st.lists(st.integers(min_value=0, max_value=60), min_size=1, max_size=8),
    cuts=st.lists(st.integers(min_value=0, max_value=40_000), max_size=40),
)
def test_the_same_frames_over_both_transports(  # noqa: PLR0917 - each is drawn
    route: Any, scene: str, part: int | None, ending: Any, deflate: Any, sizes: list[int], cuts: list[int]
):
    messages = list(messages_of(scene))
    whole = part is None and (kind_of(messages[-1]) or "") in TERMINAL if messages else False
    if not whole:
        messages = messages[: (part or 0) % (len(messages) + 1)]
    turn = decode(route, client_of(route).body())
    over_http, over_socket = asyncio.run(
        both(turn, messages, None if whole else ending, deflate=deflate, sizes=sizes, cuts=cuts)
    )
    assert read(over_socket) == read(over_http)
    assert CANARY.encode() not in over_socket


@pytest.mark.check(257)
@routes
@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_whole(route: Any, scene: str):
    messages = list(messages_of(scene))
    if not messages:
        return
    is_whole = (kind_of(messages[-1]) or "") in TERMINAL
    turn = decode(route, client_of(route).body())
    over_http, over_socket = asyncio.run(
        both(turn, messages, None if is_whole else 1011, deflate=False, sizes=[0], cuts=list(range(0, 40_000, 997)))
    )
    assert read(over_socket) == read(over_http)
