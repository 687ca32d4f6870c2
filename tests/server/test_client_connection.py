"""Deadlines and limits of client connections, by raw sockets against the app; deadlines are scaled."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from sanic import HTTPResponse, Request

from gptmock.catalog import ModelCatalog
from gptmock.dialects.dialect import Defaults, Terms
from gptmock.gateway.admission import Admission
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.server.client_bounds import ConnectionDeadlines
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.descriptors import capacity, raise_descriptor_limit
from gptmock.simulator.server import Simulator
from gptmock.stores.client_keys import StoreClientKeys
from gptmock.stores.memory import MemoryStore
from gptmock.stores.seal import Sealer
from tests.gateway.memory import KEY as SEALING_KEY
from tests.harness import CHAT_PATH, chat, serving, serving_simulator
from tests.harness import client as open_client
from tests.timing import generous

KEYS = StoreClientKeys(MemoryStore(), Sealer([SEALING_KEY]), clock=time.time)
HEAD_SECONDS = 0.6
QUICK = ConnectionDeadlines(
    head_seconds=HEAD_SECONDS,
    body_seconds=HEAD_SECONDS,
    body_bytes_per_second=1000,
    idle_seconds=HEAD_SECONDS,
    excess_seconds=HEAD_SECONDS,
    drop_seconds=HEAD_SECONDS,
    drop_silence_seconds=HEAD_SECONDS / 2,
)
PATIENT = ConnectionDeadlines(excess_seconds=30.0)
LIMIT_BYTES = 1_000_000
POST = b"POST %b HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def no_services() -> AsyncIterator[Services]:
    async def ready() -> list[str]:
        return []

    gateway: Any = None
    yield Services(gateway, Admission(None, KEYS), Terms(ModelCatalog(), Defaults()), ready, ConversationKeeper(None))


def serving_with(deadlines: ConnectionDeadlines = PATIENT, **options: Any) -> Any:
    return serving(no_services, ServerOptions(deadlines=deadlines, max_body_bytes=LIMIT_BYTES, **options))


@dataclass
class Raw:
    """A connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def rest(self) -> bytes:
        """What comes until the server closes; a reset counts as its end."""
        async with asyncio.timeout(30):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b"reset"

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One answer with a length: status, headers, body."""
        async with asyncio.timeout(30):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, *lines = head.decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            return int(status.split(" ")[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def dribble(self, data: bytes, *, every_seconds: float) -> None:
        """Byte by byte, until all is written or the server has closed."""
        for one in data:
            if self.reader.at_eof() or self.writer.is_closing():
                return
            self.writer.write(bytes([one]))
            await asyncio.sleep(every_seconds)


@asynccontextmanager
async def connected(url: str, data: bytes = b"") -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    writer.write(data)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


# --- Deadlines -------------------------------------------------------------------------------


async def test_a_connection_that_never_sends_is_closed_without_a_word():
    async with serving_with(QUICK) as url, connected(url) as raw:
        began = time.monotonic()
        assert await raw.rest() == b""
        assert HEAD_SECONDS * 0.8 < time.monotonic() - began < generous(HEAD_SECONDS)


@pytest.mark.parametrize(
    ("beginning", "is_ollama"),
    [(b"", False), (b"POST /api/chat HTTP/1.1\r\n", True), (b"POST /v1/chat/completions HTTP/1.1\r\nX: ", False)],
)
async def test_a_head_in_single_bytes_is_a_408_in_the_shape_of_its_path(beginning: bytes, *, is_ollama: bool):
    async with serving_with(QUICK) as url, connected(url, beginning) as raw:
        began = time.monotonic()
        writing = asyncio.get_running_loop().create_task(raw.dribble(b"x" * 1000, every_seconds=0.05))
        answer = await raw.rest()
        assert HEAD_SECONDS * 0.8 < time.monotonic() - began < generous(HEAD_SECONDS)
        await writing
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status_of(head) == 408
    assert b"connection: close" in head
    error = json.loads(body)["error"]
    assert isinstance(error, str) if is_ollama else error["code"] == "request_timeout"


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_in_single_bytes_is_a_408(*, is_chunked: bool):
    framing = b"Transfer-Encoding: chunked\r\n\r\n7000\r\n" if is_chunked else b"Content-Length: 28672\r\n\r\n"
    async with serving_with(QUICK) as url, connected(url, POST % b"/v1/responses" + framing) as raw:
        began = time.monotonic()
        writing = asyncio.get_running_loop().create_task(raw.dribble(b"x" * 1000, every_seconds=0.05))
        answer = await raw.rest()
        assert HEAD_SECONDS * 0.8 < time.monotonic() - began < generous(HEAD_SECONDS)
        await writing
    assert status_of(answer) == 408
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


async def test_a_body_that_makes_progress_has_more_time():
    body = json.dumps({"padding": "x" * 3000}).encode()
    head = POST % b"/api/show" + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving_with(QUICK) as url, connected(url, head) as raw:
        # Three times the deadline, at twice the rate that it demands.
        for begin in range(0, len(body), 200):
            raw.writer.write(body[begin : begin + 200])
            await asyncio.sleep(0.1)
        status, _, answer = await raw.answer()
    assert (status, b"model" in answer) == (400, True)


async def longest_pause(work: asyncio.Future[Any]) -> float:
    """Of this loop, which is the server's too, in seconds of its thread: other load on the machine adds nothing."""
    longest, before = 0.0, time.thread_time()
    while not work.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    return longest


async def test_bodies_in_chunks_of_one_byte_hold_up_nobody():
    body = json.dumps({"padding": "x" * 50_000}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % one for one in body) + b"0\r\n\r\n"
    data = POST % b"/api/show" + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    pauses = []
    async with serving_with() as url:
        for _ in range(2):
            async with AsyncExitStack() as stack:
                raws = [await stack.enter_async_context(connected(url, data)) for _ in range(6)]
                answers = asyncio.gather(*(raw.answer() for raw in raws))
                pauses.append(await longest_pause(answers))
                assert [(status, b"model" in answer) for status, _, answer in await answers] == [(400, True)] * 6
    assert min(pauses) < 0.03, pauses


async def test_the_rest_of_a_body_that_was_answered_has_a_deadline_too():
    head = POST % b"/nowhere" + b"Content-Length: 1000\r\n\r\n"
    async with serving_with(QUICK) as url, connected(url, head) as raw:
        assert (await raw.answer())[0] == 404
        began = time.monotonic()
        writing = asyncio.get_running_loop().create_task(raw.dribble(b"x" * 1000, every_seconds=0.05))
        assert await raw.rest() in (b"", b"reset")
        assert time.monotonic() - began < generous(HEAD_SECONDS)
        await writing


async def test_a_kept_connection_is_closed_when_idle_and_each_request_has_its_own_time():
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving_with(QUICK) as url, connected(url) as raw:
        # Together they take longer than one may.
        for _ in range(4):
            await raw.dribble(request, every_seconds=HEAD_SECONDS / 2 / len(request))
            assert (await raw.answer())[0] == 200
        began = time.monotonic()
        assert await raw.rest() == b""
        assert HEAD_SECONDS * 0.8 < time.monotonic() - began < generous(HEAD_SECONDS)


async def test_a_reply_may_take_longer_than_its_request(simulator: Simulator, home: Path):
    options = ServerOptions(deadlines=QUICK)
    async with serving_simulator(simulator, home, options=options) as url, open_client(url) as client:
        answers = [
            await client.post(CHAT_PATH, json=chat("scene:silent:1.5", stream=stream)) for stream in (True, False)
        ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content.endswith(b"data: [DONE]\n\n")


async def test_the_time_of_a_turn_does_not_hold_for_the_next_request(simulator: Simulator, home: Path):
    async def silent(_: Request) -> HTTPResponse:
        await asyncio.sleep(60)
        return HTTPResponse()

    def configure(app: App) -> None:
        app.config.update(RESPONSE_TIMEOUT=HEAD_SECONDS)
        app.add_route(silent, "/silent")

    deadlines = replace(QUICK, idle_seconds=30)
    async with serving_simulator(
        simulator, home, options=ServerOptions(deadlines=deadlines), configure=configure
    ) as url:
        body = json.dumps(chat("scene:silent:1.5")).encode()
        async with connected(url, POST % CHAT_PATH.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body) as raw:
            assert (await raw.answer())[0] == 200
            began = time.monotonic()
            raw.writer.write(b"GET /silent HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await raw.answer())[0] == 503
            assert time.monotonic() - began < generous(HEAD_SECONDS)


@pytest.mark.parametrize("reads", [True, False])
async def test_a_large_answer_may_take_its_time_if_the_client_reads(*, reads: bool):
    size = 64 * 1024 * 1024

    async def large(_: Request) -> HTTPResponse:
        return HTTPResponse(bytes(size))

    def configure(app: App) -> None:
        app.add_route(large, "/large")

    serve = serving(no_services, ServerOptions(deadlines=QUICK), configure=configure)
    async with serve as url, connected(url, b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n") as raw:
        began = time.monotonic()
        seen = 0
        while time.monotonic() - began < HEAD_SECONDS * 5:
            seen += len(await raw.reader.read(size // 100)) if reads else 0
            await asyncio.sleep(0.01)
        seen += len(await raw.rest())
    assert (seen > size) == reads


# --- Large bodies ----------------------------------------------------------------------------


def padded(size: int) -> bytes:
    """A body of so many bytes that compresses 10 to 1."""
    noise = "".join(f"{number:x}" for number in range(size // 40))
    begun = json.dumps({"model": "gpt-5.5", "messages": [], "noise": noise, "padding": ""})[:-2]
    return (begun + "x" * (size - len(begun) - 2) + '"}').encode()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": lambda data: gzip.compress(data, 1),
    "deflate": lambda data: zlib.compress(data, 1),
    "zstd": zstandard.compress,
    "gzip, zstd": lambda data: zstandard.compress(gzip.compress(data, 1)),
}


@pytest.mark.check(92)
async def test_the_limit_passes_and_one_byte_more_is_a_413_in_every_coding():
    async def chunked(data: bytes) -> AsyncIterator[bytes]:
        for begin in range(0, len(data), 50_000):
            yield data[begin : begin + 50_000]

    seen = {}
    async with serving_with() as url, open_client(url) as client:
        for coding, pack in PACKERS.items():
            for size in (LIMIT_BYTES, LIMIT_BYTES + 1):
                for sends in (bytes, chunked):
                    content: Any = sends(pack(padded(size)))
                    answer = await client.post(CHAT_PATH, content=content, headers={"content-encoding": coding})
                    seen[coding, size, sends] = (answer.status_code, answer.json()["error"]["code"])
    # It has no message: the body was read and decoded.
    passed, refused = (400, "invalid_value"), (413, "request_too_large")
    assert set(seen.values()) == {passed, refused}, seen
    assert {key for key, said in seen.items() if said == refused} == {key for key in seen if key[1] > LIMIT_BYTES}


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 8000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n7a1200\r\n"]
)
async def test_a_client_that_still_writes_gets_its_413(framing: bytes):
    """The kernel's buffers hold less than what it writes: it reads the answer when it is through."""
    deadlines = ConnectionDeadlines(drop_seconds=20.0)
    options = ServerOptions(deadlines=deadlines, max_body_bytes=LIMIT_BYTES * 20)
    framing = framing.replace(b"8000000", b"30000000").replace(b"7a1200", b"1c9c380")
    async with serving(no_services, options) as url, connected(url, POST % b"/api/chat" + framing) as raw:
        for _ in range(150):
            raw.writer.write(b"x" * 100_000)
            await raw.writer.drain()
        status, headers, body = await raw.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert isinstance(json.loads(body)["error"], str)
        raw.writer.close()


async def test_what_is_read_and_dropped_is_bounded():
    head = POST % b"/v1/responses" + b"Content-Length: 900000000\r\n\r\n"
    endless = ConnectionDeadlines(drop_seconds=60.0, drop_silence_seconds=60.0)
    async with serving_with(endless) as url, connected(url, head) as raw:
        # The rest is in the buffers of the kernel.
        assert await written_until_closed(raw, b"x" * 100_000) < LIMIT_BYTES + 20_000_000
    # It was half closed at once; then it is gone, after a silence, or in spite of what is sent.
    for seconds, silence, pause in ((HEAD_SECONDS, 60.0, 0.1), (60.0, HEAD_SECONDS, 3 * HEAD_SECONDS)):
        timed = ConnectionDeadlines(drop_seconds=seconds, drop_silence_seconds=silence)
        async with serving_with(timed) as url, connected(url, head + b"x") as raw:
            began = time.monotonic()
            assert (await raw.answer())[0] == 413
            await written_until_closed(raw, b"x", pause_seconds=pause)
            assert time.monotonic() - began < generous(3 * HEAD_SECONDS)


async def written_until_closed(raw: Raw, block: bytes, *, pause_seconds: float = 0.0) -> int:
    """Write the block again and again until the connection is gone; returns the number of bytes."""
    written = 0
    async with asyncio.timeout(30):
        try:
            while True:
                raw.writer.write(block)
                await raw.writer.drain()
                written += len(block)
                await asyncio.sleep(pause_seconds)
        except ConnectionError:
            return written


async def test_a_body_that_is_too_large_is_refused_before_it_is_sent():
    head = POST % CHAT_PATH.encode() + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    async with serving_with() as url:
        async with connected(url, head % (LIMIT_BYTES + 1)) as raw:
            assert (await raw.answer())[0] == 413
            assert await raw.rest() == b""
        async with connected(url, head % 2) as raw:
            assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            raw.writer.write(b"{}")
            assert (await raw.answer())[0] == 400


async def test_a_length_that_lies_gives_one_answer_and_a_close():
    body = b'{"model":"gpt-5.5"}'
    head = POST % b"/v1/chat/completions" + b"Content-Length: %d\r\n\r\n"
    async with serving_with(QUICK) as url:
        async with connected(url, head % (len(body) + 1) + body) as raw:
            assert status_of(await raw.rest()) == 408
        async with connected(url, head % (len(body) - 1) + body) as raw:
            assert (await raw.answer())[0] == 400
            # The byte that is too much begins a request, which no method begins with.
            assert status_of(await raw.rest()) == 400


# --- JSON ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/api/chat", "/api/show"])
async def test_too_many_values_and_too_deep_a_body_are_a_400_in_the_dialects_shape(path: str):
    bodies = [b'{"model":"m","a":[' + b"[]," * 150_000 + b"1]}", b'{"model":"m","a":' + b"[" * 128 + b"]" * 128 + b"}"]
    async with serving_with() as url, open_client(url) as client:
        answers = [await client.post(path, content=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [400, 400]
    errors = [answer.json()["error"] for answer in answers]
    if path.startswith("/api/"):
        assert "values" in errors[0]
        assert "128 levels" in errors[1]
    else:
        assert [error["code"] for error in errors] == ["invalid_json"] * 2


# --- Limits ----------------------------------------------------------------------------------

ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": chat(),
    "/v1/responses": {"model": "gpt-5.5", "input": "Hello"},
    "/v1/completions": {"model": "gpt-5.5", "prompt": "Hello"},
    "/api/chat": {"model": "gpt-5.5", "messages": [{"role": "user", "content": "Hello"}]},
    "/api/generate": {"model": "gpt-5.5", "prompt": "Hello"},
    "/v1/responses/compact": {"model": "gpt-5.5", "input": "Hello"},
}


def assert_busy(answer: httpx.Response) -> None:
    """A 503 in the shape of its path."""
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    error = answer.json()["error"]
    if "/api/" in str(answer.url):
        assert "takes no more" in error
    else:
        assert (error["code"], error["type"]) == ("server_busy", "server_error")


async def test_a_model_call_too_many_is_a_503_and_the_next_is_served(simulator: Simulator, home: Path):
    async with (
        serving_simulator(simulator, home, options=ServerOptions(max_streams=2)) as url,
        open_client(url) as client,
    ):
        async with AsyncExitStack() as open_streams:
            for _ in range(2):
                request = client.stream("POST", CHAT_PATH, json=chat("scene:stall", stream=True))
                assert (await open_streams.enter_async_context(request)).status_code == 200
            for path, body in ASKED.items():
                for stream in (True, False):
                    began = time.monotonic()
                    assert_busy(await client.post(path, json={**body, "stream": stream}))
                    assert time.monotonic() - began < generous(1.0)
            assert simulator.state.model_call_count == 2
            for path in ("/health", "/readyz", "/v1/models", "/api/tags"):
                assert (await client.get(path)).status_code == 200
            waits = POST % b"/v1/responses" + b"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
            async with connected(url, waits) as raw:
                assert (await raw.answer())[0] == 503
                assert await raw.rest() == b""
        for path, body in ASKED.items():
            assert (await client.post(path, json={**body, "stream": False})).status_code == 200, path


async def test_a_connection_too_many_is_a_503_in_the_shape_of_its_path():
    async with serving_with(max_connections=3) as url, AsyncExitStack() as kept:
        for _ in range(3):
            raw = await kept.enter_async_context(connected(url, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            assert (await raw.answer())[0] == 200
        for path in ASKED:
            async with open_client(url) as client:
                assert_busy(await client.post(path, content=padded(200_000)))
        for path in ("/v1/models", "/api/tags", "/nowhere"):
            async with open_client(url) as client:
                assert_busy(await client.get(path))
        for path in ("/health", "/readyz"):
            async with open_client(url) as client:
                answer = await client.get(path)
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        # Those within the limit go on, and so does their place.
        raw.writer.write(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await raw.answer())[0] == 200
        assert await raw.rest() == b""
        async with open_client(url) as client:
            assert (await client.get("/v1/models")).status_code == 200


async def test_a_connection_over_the_limit_has_a_moment_to_say_what_it_wants():
    deadlines = ConnectionDeadlines(excess_seconds=HEAD_SECONDS)
    slow = POST % b"/api/chat" + b"Content-Length: 1000\r\n\r\n"
    async with serving_with(deadlines, max_connections=1) as url, connected(url) as first:
        for beginning, is_answered in ((b"", False), (b"GET /health HTTP/1.1\r\n", True), (slow, True)):
            async with connected(url, beginning) as raw:
                began = time.monotonic()
                assert bool(await raw.rest()) is is_answered
                assert time.monotonic() - began < generous(HEAD_SECONDS)
        first.writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await first.answer())[0] == 200


async def test_connections_far_over_the_limit_are_closed_at_once():
    excess = capacity(raise_descriptor_limit(), max_connections=1).excess
    async with serving_with(max_connections=1) as url, AsyncExitStack() as kept:
        raws = [await kept.enter_async_context(connected(url)) for _ in range(1 + excess + 20)]
        for raw in raws[1 + excess :]:
            status, headers, body = await raw.answer()
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
            assert json.loads(body)["error"]["code"] == "server_busy"
            assert await raw.rest() in (b"", b"reset")
        for raw in (raws[0], raws[excess]):
            raw.writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await raw.answer())[0] == 200
