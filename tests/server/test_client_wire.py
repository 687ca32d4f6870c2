"""What ``client_wire`` takes for granted of Sanic, and what a client sees of the blocks that are written past it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httptools
import pytest
from sanic import HTTPResponse, Request
from sanic.server.protocols.http_protocol import HttpProtocol

from gptmock.server.client_wire import SanicWire, TurnResponse
from gptmock.server.context import App
from gptmock.simulator.server import Simulator
from tests.harness import CHAT_PATH, chat, serving_simulator
from tests.timing import generous


class Answer:
    """A response as llhttp reads it: strictly."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.blocks: list[bytes] = []
        self.chunks = 0
        self.complete = False

    def on_body(self, block: bytes) -> None:
        self.blocks.append(block)

    @property
    def body(self) -> bytes:
        return b"".join(self.blocks)

    def on_chunk_header(self) -> None:
        self.chunks += 1

    def on_message_complete(self) -> None:
        self.complete = True


@asynccontextmanager
async def asked(url: str, question: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1024)
    body = json.dumps({**chat(question), "stream": True}).encode()
    writer.write(f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode())
    writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    try:
        yield reader, writer
    finally:
        writer.close()


def test_sanic_has_what_the_wire_uses():
    slots = {name for kind in HttpProtocol.__mro__ for name in getattr(kind, "__slots__", ())}
    assert {"_can_write", "transport", "_task"} <= slots


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-request-id": "req_1", "openai-model": "gpt-5.5"},
        {"x-forwarded": "zażółć", "x-number": 5, "content-type": "text/plain"},
        {"x-split": "a\r\nx-planted: 1\0", "x-other\n": "b"},
        {"x-lone": "\udcff"},
    ],
)
def test_the_headers_of_a_turn_are_those_that_sanic_makes(headers: dict[str, Any]):
    ours = TurnResponse(headers=headers, content_type="text/event-stream")
    sanics = HTTPResponse(headers=headers, content_type="text/event-stream")
    found = list(ours.processed_headers)
    assert found == list(sanics.processed_headers)
    assert all(not set(part) & set(b"\r\n\0") for header in found for part in header)


async def test_what_is_written_past_sanic_is_one_valid_response_and_the_connection_serves_on(
    simulator: Simulator, home: Path
):
    async with serving_simulator(simulator, home) as url, asked(url, "scene:long") as (reader, writer):
        answer = Answer()
        while not answer.complete:
            answer.parser.feed_data(await reader.read(1000))
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert answer.chunks > 3
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_a_stream_that_ends_with_its_first_block_has_a_length_and_no_chunks(simulator: Simulator, home: Path):
    frames = b"data: {}\n\ndata: [DONE]\n\n"

    async def stream(request: Request) -> None:
        response = await request.respond(content_type="text/event-stream")
        assert response is not None
        await SanicWire(request, response).end(frames)

    def add(app: App) -> None:
        app.add_route(stream, "/stream")

    async with serving_simulator(simulator, home, configure=add) as url:
        place = urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = Answer()
        while not answer.complete:
            answer.parser.feed_data(await reader.read(1000))
        writer.close()
    assert (answer.body, answer.chunks) == (frames, 0)


async def test_a_client_that_does_not_read_fills_one_buffer_and_no_more(simulator: Simulator, home: Path):
    wrote, paused, block = 0, asyncio.Event(), b"x" * 8192

    async def stream(request: Request) -> None:
        nonlocal wrote
        response = await request.respond(content_type="text/plain")
        assert response is not None
        wire = SanicWire(request, response)
        await wire.begin(b"")
        while wrote < 32 * 1024 * 1024:
            wrote += len(block)
            if not wire.write(block):
                paused.set()
                await wire.writable()
        await wire.end(b"the end")

    def add(app: App) -> None:
        app.add_route(stream, "/stream")

    async with serving_simulator(simulator, home, configure=add) as url:
        reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port, limit=65536)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(generous(5)):
            await paused.wait()
        before = -1
        while wrote != before:
            before = wrote
            await asyncio.sleep(0.2)
        assert wrote < 32 * 1024 * 1024
        answer = Answer()
        while not answer.complete:
            answer.parser.feed_data(await reader.read(1 << 20))
        assert len(answer.body) == wrote + len(b"the end")
        writer.close()
