from __future__ import annotations

import asyncio
import base64
import gc
import json
import math
import re
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.server.large_bodies import LARGE_BYTES, LargeBodies
from gptmock.simulator.accounts import TokenRegistry
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.pictures import PIXEL, picture
from gptmock.simulator.scenes import render_scene
from gptmock.simulator.server import Simulator
from tests.harness import CHAT_PATH, ServerProcess, chat, server_process, until, write_login
from tests.harness import client as open_client
from tests.upstream.raw import HEAD, LAST_CHUNK, RawServer, chunk

SIZE_BYTES = 20_000_000
STALL_SECONDS = 0.050
"""What a body of ``SIZE_BYTES`` may hold up other streams, on an idle machine."""
LIMIT_SECONDS = 2 * STALL_SECONDS
ROUNDS = 5
"""One of them has to be below the limit: other load on the machine can only add to a delay."""
COPIES = 3.5
"""Of the largest body at a time; half a copy is for everything else."""
PACE_SECONDS = 0.005
IMAGE = "iVBORw0KGgoAAAAN" * (SIZE_BYTES // 16)
URL = f"data:image/png;base64,{IMAGE}"
MEMBERS = {"model": "gpt-5.5", "stream": True}


def asked_by(content: Any, **members: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **members}


LARGE: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT_PATH, {"messages": [asked_by([{"type": "image_url", "image_url": {"url": URL}}])]}),
    "responses": (
        "/v1/responses",
        {"input": [asked_by([{"type": "input_image", "image_url": URL}])], "store": False},
    ),
    "ollama": ("/api/chat", {"messages": [asked_by("Hi", images=[IMAGE])]}),
}


EDITS = "/v1/images/edits"
DRAWN = b'{"data":[{"b64_json":"' + PIXEL.encode() + b'"}]}'


def large_request(dialect: str) -> tuple[str, str, bytes]:
    """Path, content type and body of a large request."""
    if dialect in LARGE:
        path, members = LARGE[dialect]
        return path, "application/json", json.dumps({**MEMBERS, **members}).encode()
    # A quarter less than its base64.
    image = picture("64x64", noise_bytes=SIZE_BYTES // 4 * 3)
    if dialect == "images":
        edit = {"prompt": "a hat", "stream": True, "images": [{"image_url": f"data:image/png;base64,{image}"}]}
        return EDITS, "application/json", json.dumps(edit).encode()
    form = {"prompt": "a hat", "stream": "true"}
    request = httpx.Request("POST", "http://test/", data=form, files={"image": ("a.png", base64.b64decode(image))})
    return EDITS, request.headers["content-type"], request.read()


class PacedUpstream(RawServer):
    """
    Answers a large request with a short text, and any other with numbered deltas for ever. In this process: the
    simulator's own work on a large body would hold up the deltas too.
    """

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.written: list[float] = []
        """When each delta was written, by the loop's clock."""
        self.large_bytes = 0
        """The size of the last large body."""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = render_scene("text")
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"POST "):
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
            size = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
            left = size
            while left:
                left -= len(await reader.read(min(left, 65536)))
            if size < LARGE_BYTES:
                await self._talk(writer, text[: text.index(b"event: response.output_text.delta")])
            self.large_bytes = size
            if b"/codex/images/" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(DRAWN), DRAWN))
                continue
            writer.write(HEAD + chunk(text) + LAST_CHUNK)
            await writer.drain()

    async def _talk(self, writer: asyncio.StreamWriter, beginning: bytes) -> None:
        writer.write(HEAD + chunk(beginning))
        loop = asyncio.get_running_loop()
        while True:
            delta = b'data: {"type":"response.output_text.delta","delta":"%d;"}\n\n' % len(self.written)
            self.written.append(loop.time())
            writer.write(chunk(delta))
            await writer.drain()
            await asyncio.sleep(PACE_SECONDS)


@asynccontextmanager
async def one_worker(home: Path) -> AsyncIterator[tuple[PacedUpstream, ServerProcess]]:
    async with PacedUpstream() as upstream:
        login = TokenRegistry(SimulatorOptions, issuer=upstream.url).issue(expires_in=86400)
        write_login(home, login.auth_json())
        # Every large block is given back when it is freed: what is resident is what is held.
        # Compressed, these bodies would be small ones.
        env = {"MALLOC_MMAP_THRESHOLD_": str(LARGE_BYTES), "GPTMOCK_UPSTREAM_COMPRESSION": "off"}
        with ExitStack() as stack:
            # In a thread: the worker asks this loop for its models meanwhile.
            starting = server_process(home, upstream.url, workers=1, env=env)
            server = await asyncio.to_thread(stack.enter_context, starting)
            yield upstream, server


async def posted(server: ServerProcess, path: str, kind: str, body: bytes) -> bytes:
    """The whole answer. Written block by block: this loop has the deltas to pass on meanwhile."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url.rpartition(":")[2]))
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
    )
    view = memoryview(body)
    for begin in range(0, len(body), 65536):
        writer.write(view[begin : begin + 65536])
        await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


@asynccontextmanager
async def paced_stream(upstream: PacedUpstream, server: ServerProcess) -> AsyncIterator[list[float]]:
    """A stream beside the requests of the block. Yields the delay of each delta in seconds, as they arrive."""
    delays: list[float] = []

    async def read() -> None:
        loop = asyncio.get_running_loop()
        async with (
            open_client(server.base_url) as opened,
            opened.stream("POST", CHAT_PATH, json=chat("Hi", stream=True)) as response,
        ):
            tail = b""
            async for block in response.aiter_raw():
                now = loop.time()
                numbers = list(re.finditer(rb'"content":"(\d+);"', tail + block))
                delays.extend(now - upstream.written[int(number[1])] for number in numbers)
                tail = (tail + block)[numbers[-1].end() :] if numbers else tail + block

    reading = asyncio.get_running_loop().create_task(read())
    try:
        await until(lambda: len(delays) > 10)
        yield delays
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def resident_bytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


async def longest_delay(upstream: PacedUpstream, server: ServerProcess, dialect: str, delays: list[float]) -> float:
    """The longest delay of other streams' deltas while a large request passes; of several rounds the shortest."""
    path, kind, body = large_request(dialect)
    shortest = math.inf
    for _ in range(ROUNDS):
        before, upstream.large_bytes = len(delays), 0
        answer = await posted(server, path, kind, body)
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:500]
        assert upstream.large_bytes > SIZE_BYTES
        assert len(delays) > before + 10
        shortest = min(shortest, max(delays[before:]))
        if shortest < LIMIT_SECONDS:
            break
    return shortest


@pytest.mark.alone
@pytest.mark.check(92)
async def test_a_large_body_is_no_stall(tmp_path: Path):
    async with one_worker(tmp_path) as (upstream, server), paced_stream(upstream, server) as delays:
        (worker,) = server.workers()
        before = resident_bytes(worker, "VmRSS")
        longest = {
            dialect: await longest_delay(upstream, server, dialect, delays) for dialect in (*LARGE, "images", "form")
        }
        peak = resident_bytes(worker, "VmHWM")
    assert {dialect: seconds for dialect, seconds in longest.items() if seconds > LIMIT_SECONDS} == {}
    assert (peak - before) / SIZE_BYTES < COPIES


# --- The thread ------------------------------------------------------------------------------


async def test_only_a_large_body_takes_a_thread():
    bodies = LargeBodies()
    assert await bodies.run(LARGE_BYTES - 1, threading.current_thread) is threading.current_thread()
    assert await bodies.run(LARGE_BYTES, threading.current_thread) is not threading.current_thread()
    bodies.close()


async def test_garbage_is_not_collected_while_a_large_body_is_decoded():
    bodies = LargeBodies()
    assert await bodies.run(LARGE_BYTES - 1, gc.isenabled)
    assert not await bodies.run(LARGE_BYTES, gc.isenabled)
    with pytest.raises(ZeroDivisionError):
        await bodies.run(LARGE_BYTES, lambda: 1 / int("0"))
    assert gc.isenabled()
    bodies.close()


async def test_large_bodies_are_decoded_one_after_the_other():
    bodies = LargeBodies()
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        begun.set()
        go_on.wait(30)
        order.append("first")

    async with asyncio.TaskGroup() as group:
        group.create_task(bodies.run(LARGE_BYTES, first))
        group.create_task(bodies.run(LARGE_BYTES, lambda: order.append("second")))
        await until(begun.is_set)
        go_on.set()
    bodies.close()
    assert order == ["first", "second"]


# --- What is refused, is refused as ever -----------------------------------------------------

PADDING = "x" * LARGE_BYTES
REFUSED = {
    "not JSON": (f'{{"messages":"{PADDING}"', "invalid_json", None),
    "no UTF-8": (f'{{"messages":"{PADDING}\udcff"}}', "invalid_json", None),
    "deep": (f'{{"padding":"{PADDING}","metadata":{"[" * 300}{"]" * 300}}}', "invalid_json", None),
    "deeper than the decoder": (f'{{"padding":"{PADDING}","metadata":{"[" * 5000}{"]" * 5000}}}', "invalid_json", None),
    "no object": (f'"{PADDING}"', "invalid_json", None),
    "a wrong type": (f'{{"padding":"{PADDING}","stream":5}}', "invalid_value", "stream"),
}


@pytest.mark.check(92)
@pytest.mark.parametrize("path", [CHAT_PATH, "/v1/responses"])
@pytest.mark.parametrize(("body", "code", "param"), REFUSED.values(), ids=REFUSED)
async def test_a_large_body_that_is_refused(client: httpx.AsyncClient, path: str, body: str, code: str, param: str):
    response = await client.post(path, content=body.encode("utf-8", "surrogateescape"))
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)


@pytest.mark.check(92)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_arrives_as_it_was_sent(client: httpx.AsyncClient, simulator: Simulator, *, chunked: bool):
    text = "".join(f"{number:x} \u2028 \U0001f600 \\ " for number in range(60_000))
    data = json.dumps(chat(f"scene:text {text}"), ensure_ascii=False).encode()

    async def blocks() -> AsyncIterator[bytes]:
        for begin in range(0, len(data), 10_001):
            yield data[begin : begin + 10_001]

    response = await client.post(CHAT_PATH, content=blocks() if chunked else data)
    assert response.status_code == 200, response.text
    sent = simulator.state.model_calls()[-1].body  # Whatever else was asked meanwhile, such as the models.
    assert sent["input"][0]["content"][0]["text"] == f"scene:text {text}"
