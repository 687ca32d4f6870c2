"""One WebSocket of a client, on a transport without a socket: what is read, what is inflated and where."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest
from sanic import Request
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.http11 import Response
from websockets.uri import parse_uri

from gptmock.dialects.table import RESPONSES
from gptmock.server.context import ServerOptions
from gptmock.server.large_bodies import LARGE_BYTES, LargeBodies
from gptmock.server.sockets.connection import Socket
from gptmock.server.sockets.deflate import Message, TooLargeError
from gptmock.server.sockets.session import Ages, SocketSession

MIB = 1024 * 1024
TOO_LARGE = b'{"type":"error","status":400}'
_Result = TypeVar("_Result")


class Transport(asyncio.Transport):
    """Keeps what is written, and counts how reading is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.takes_more = True
        self.unsent_bytes = 0
        self.is_aborted = False

    def write(self, data: Any) -> None:
        self.written += data
        self.unsent_bytes += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.takes_more = False

    def resume_reading(self) -> None:
        self.takes_more = True


class Counted(LargeBodies):
    """Counts what is done in the thread."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def run(self, size_bytes: int, work: Callable[[], _Result]) -> _Result:
        self.count += size_bytes >= LARGE_BYTES
        return await super().run(size_bytes, work)


class Pair:
    """A socket of the server, and the core of ``websockets`` as its client."""

    def __init__(self, *, max_bytes: int = 64 * MIB) -> None:
        self.client = ClientProtocol(
            parse_uri("ws://server.test/v1/responses"), extensions=[ClientPerMessageDeflateFactory()]
        )
        asked = self.client.connect()
        self.client.send_request(asked)
        self.client.data_to_send()
        self.transport = Transport()
        self.can_write = asyncio.Event()
        self.can_write.set()
        self.bodies = Counted()
        protocol = SimpleNamespace(transport=self.transport, _can_write=self.can_write, upgrade=lambda _: None)
        request = SimpleNamespace(
            protocol=protocol,
            headers=dict(asked.headers.raw_items()),
            method="GET",
            app=SimpleNamespace(ctx=SimpleNamespace(large_bodies=self.bodies, services=None)),
            ctx=SimpleNamespace(request_id="r"),
        )
        self.request = cast("Request", request)
        self.socket = Socket(self.request, max_bytes=max_bytes, too_large=TOO_LARGE, stall_seconds=60.0)
        self.socket.shake_hands()
        self.heard()

    def heard(self) -> list[Frame | Response]:
        """What the server has written since."""
        self.client.receive_data(bytes(self.transport.written))
        self.transport.written.clear()
        self.transport.unsent_bytes = 0
        return [event for event in self.client.events_received() if isinstance(event, Frame | Response)]

    def say(self, text: bytes) -> None:
        self.client.send_text(text)
        self.socket.data_received(b"".join(self.client.data_to_send()))


def deflated(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


@pytest.mark.check(249)
async def test_a_message_is_inflated_when_it_is_taken_and_a_large_one_in_the_thread():
    pair = Pair()
    small, large = b'"x"', json.dumps([str(number) for number in range(300_000)]).encode()
    for text in (small, large):
        pair.say(text)
    assert await pair.socket.receive() == small
    assert pair.bodies.count == 0
    assert await pair.socket.receive() == large
    assert pair.bodies.count == 1


@pytest.mark.check(245)
async def test_a_message_that_grows_too_much_closes_and_what_follows_is_dropped():
    pair = Pair()
    for _ in range(3):
        pair.say(b'"%b"' % (b"x" * 4 * MIB))
    assert await pair.socket.receive() is None
    assert await pair.socket.receive() is None
    said, closing = pair.heard()
    assert isinstance(said, Frame)
    assert said.data == TOO_LARGE
    assert isinstance(closing, Frame)
    assert pair.client.close_rcvd is not None
    assert pair.client.close_rcvd.code == 1009


async def test_what_is_no_deflate_stream_closes():
    pair = Pair()
    # The first frame of a compressed message, masked with zeros.
    pair.socket.data_received(b"\xc1\x83\0\0\0\0\xff\xff\xff")
    assert await pair.socket.receive() is None
    pair.heard()
    assert pair.client.close_rcvd is not None
    assert pair.client.close_rcvd.code == 1002


async def test_no_more_is_read_while_many_bytes_wait():
    pair = Pair()
    part = bytes(range(256)) * 2 * 1024
    pair.client.extensions = []
    said = [pair.transport.takes_more]
    for _ in range(2):
        pair.say(part)
        said.append(pair.transport.takes_more)
    for _ in range(2):
        assert await pair.socket.receive() == part
        said.append(pair.transport.takes_more)
    waiting = asyncio.ensure_future(pair.socket.receive())
    await asyncio.sleep(0)
    assert [*said, pair.transport.takes_more] == [True, True, False, False, False, True]
    pair.say(b"{}")
    assert await waiting == b"{}"


async def test_no_message_is_taken_while_the_client_does_not_read_the_answer():
    pair = Pair()
    session = SocketSession(pair.request, RESPONSES, ServerOptions(), pair.socket, Ages())
    running = asyncio.ensure_future(session.run())
    heard: list[int] = []
    for has_room in (False, False, True):
        if has_room:
            pair.can_write.set()
        else:
            pair.can_write.clear()
        for _ in range(200 if not heard else 0):
            pair.say(b'{"type": "response.unheard"}')
        for _ in range(1000):
            await asyncio.sleep(0)
        heard.append(len(pair.heard()))
    assert heard == [1, 0, 199]
    running.cancel()
    await asyncio.wait([running])


async def test_pings_of_a_client_that_does_not_read_are_read_no_more():
    pair = Pair()
    said = []
    for has_room in (True, False):
        if not has_room:
            pair.can_write.clear()
        pair.client.send_ping(b"")
        pair.socket.data_received(b"".join(pair.client.data_to_send()))
        said.append(pair.transport.takes_more)
    pair.socket.look(pair.socket.heard_at)
    said.append(pair.transport.takes_more)
    pair.can_write.set()
    pair.socket.look(pair.socket.heard_at)
    assert [*said, pair.transport.takes_more] == [True, False, False, True]


async def test_a_client_that_reads_nothing_for_too_long_is_disconnected():
    pair = Pair()
    began = pair.socket.heard_at
    pair.socket.look(began)
    pair.socket.send(b"x" * 100)
    ended = []
    for seconds, read_bytes in ((50.0, 10), (105.0, 10), (164.0, 0), (166.0, 0)):
        pair.transport.unsent_bytes -= read_bytes
        pair.socket.look(began + seconds)
        ended.append(pair.transport.is_aborted)
    assert ended == [False, False, False, True]


@pytest.mark.parametrize(
    ("text", "limit_bytes", "fits"),
    [
        (b"x" * MIB, 2 * MIB, True),
        (b"x" * 2 * MIB, 2 * MIB, False),
        (b"x" * 1000, 1000, True),
        (b"x" * 1001, 1000, False),
        (b"".join(b"%d," % number for number in range(500_000)), 4 * MIB, True),
        (b"".join(b"%d," % number for number in range(500_000)), 3 * MIB, False),
    ],
)
async def test_a_message_is_inflated_up_to_its_limits(text: bytes, limit_bytes: int, fits: object):
    message = Message(deflated(text), is_compressed=True)
    if fits:
        assert await message.inflated(LargeBodies(), limit_bytes=limit_bytes) == text
        return
    with pytest.raises(TooLargeError):
        await message.inflated(LargeBodies(), limit_bytes=limit_bytes)
