"""Hostile clients and too many of them, against worker processes: everybody else is served meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from gptmock.server.descriptors import RESERVED
from tests.faults.state import STAGED
from tests.harness import (
    CHAT_PATH,
    PROGRAM,
    ServerProcess,
    SimulatorProcess,
    chat,
    client,
    open_files,
    server_process,
    until,
)
from tests.timing import generous

pytestmark = pytest.mark.faults

SLOW_CLIENTS, READERS = 500, 100
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
HEAD_SECONDS, BODY_SECONDS = 3.0, 4.0
DEADLINES = {"head_seconds": HEAD_SECONDS, "body_seconds": BODY_SECONDS, "idle_seconds": BODY_SECONDS}
P99_SECONDS = 0.5
DESCRIPTORS = 256
CLIENTS = 400


@dataclass
class Good:
    """Requests of a well-behaved client, one after another until the end of ``meanwhile``."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]

    @asynccontextmanager
    async def meanwhile(self, url: str) -> AsyncIterator[None]:
        async with client(url) as opened:
            asking = asyncio.get_running_loop().create_task(self._ask(opened))
            try:
                yield
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self, opened: httpx.AsyncClient) -> None:
        while True:
            began = time.monotonic()
            answer = await opened.post(CHAT_PATH, json=chat("scene:text"))
            self.seconds.append(time.monotonic() - began)
            self.statuses[answer.status_code] += 1
            await asyncio.sleep(0.02)


@pytest.fixture
def hurried(home: Path, simulator: SimulatorProcess) -> Iterator[ServerProcess]:
    env = {"TEST_STAGES": str(home), "TEST_DEADLINES": json.dumps(DEADLINES)}
    with server_process(home, simulator.base_url, workers=1, env=env, program=STAGED) as server:
        yield server


async def dribbled(url: str, beginning: bytes) -> tuple[int, float]:
    """One byte a second behind a beginning; the status that came of it, 0 for none, and the seconds until the close."""
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    began = time.monotonic()
    writer.write(beginning)

    async def write() -> None:
        while True:
            await asyncio.sleep(1.0)
            writer.write(b"x")

    writing = asyncio.get_running_loop().create_task(write())
    answer = b""
    try:
        async with asyncio.timeout(60):
            while block := await reader.read(65536):
                answer += block
    except ConnectionResetError:
        pass
    finally:
        writing.cancel()
        writer.close()
    return int(answer.split(b" ", 2)[1]) if answer else 0, time.monotonic() - began


async def sipped(url: str, over: asyncio.Event) -> bool:
    """A stream that is read by one byte a second until ``over``, then as a whole; whether it is complete."""
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"), limit=1)
    body = json.dumps(chat("scene:text", stream=True)).encode()
    writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    answer = b""
    async with asyncio.timeout(120):
        while not over.is_set():
            answer += await reader.read(1)
            await asyncio.sleep(1.0)
        while block := await reader.read(65536):
            answer += block
    writer.close()
    return answer.startswith(b"HTTP/1.1 200 ") and b"data: [DONE]\n\n" in answer


async def test_500_slow_clients_are_closed_in_time_and_hold_up_nobody(hurried: ServerProcess):
    """Figure 17: one byte a second, in heads, in bodies and in what is read. What was asked for whole is answered."""
    heads = [POST + b"X-Slow: ", b"GET /", b"POST /api/chat HTTP/1.1\r\n"]
    bodies = [POST + b"Content-Length: 100000\r\n\r\n{", POST + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n{"]
    good, over = Good(), asyncio.Event()
    async with good.meanwhile(hurried.base_url):
        await until(lambda: len(good.seconds) > 10)
        slow = [*heads, *bodies] * ((SLOW_CLIENTS - READERS) // 5)
        reading = asyncio.gather(*(sipped(hurried.base_url, over) for _ in range(READERS)))
        ended = await asyncio.gather(*(dribbled(hurried.base_url, beginning) for beginning in slow))
        over.set()
        assert await reading == [True] * READERS
    assert Counter(status for status, _ in ended) == {408: SLOW_CLIENTS - READERS}
    for (_, seconds), beginning in zip(ended, slow, strict=True):
        deadline = HEAD_SECONDS if beginning in heads else BODY_SECONDS
        assert deadline * 0.8 < seconds < generous(deadline)
    assert set(good.statuses) == {200}
    assert good.p99 < generous(P99_SECONDS)
    (worker,) = hurried.workers()
    # The readers' connections to the upstream are kept for other requests.
    await until(lambda: len(open_files(worker)) < RESERVED + READERS)
    print({"p99_ms": round(good.p99 * 1000), "latest": round(max(seconds for _, seconds in ended), 2)})  # noqa: T201


async def test_more_clients_than_descriptors(home: Path, simulator: SimulatorProcess):
    """F25: those that fit are served to their end, the others are told to come again, and nothing breaks."""
    simulator.options(pace_seconds=0.01)
    limited = ("bash", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "gptmock", *PROGRAM)
    with ExitStack() as stack:
        starting = server_process(home, simulator.base_url, workers=1, program=limited)
        server = await asyncio.to_thread(stack.enter_context, starting)
        (worker,) = server.workers()
        idle = len(open_files(worker))
        async with client(server.base_url) as opened:
            ended = await asyncio.gather(*(_streamed(opened) for _ in range(CLIENTS)))
            counted = Counter(status for status, _ in ended)
            served = counted[200]
            assert served >= (DESCRIPTORS - RESERVED) // 3
            assert set(counted) <= {200, 503, 0}
            assert all(is_whole for status, is_whole in ended if status == 200)
        began = time.monotonic()
        async with client(server.base_url) as opened:
            assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
        assert time.monotonic() - began < generous(2.0)
        await until(lambda: len(open_files(worker)) <= idle + served)
        assert server.workers() == {worker}
        lines = server.logs()
        # One for each request, as ever.
        assert len([line for line in lines if line["event"] not in ("turn", "request")]) < 20
        assert [line for line in lines if line["level"] == "error"] == []
    print({"statuses": counted})  # noqa: T201


async def _streamed(opened: httpx.AsyncClient) -> tuple[int, bool]:
    """Its status, 0 for a connection that was closed, and whether the stream came to its end."""
    try:
        answer = await opened.post(CHAT_PATH, json=chat("scene:long", stream=True))
    except httpx.TransportError:
        return 0, False
    return answer.status_code, answer.content.endswith(b"data: [DONE]\n\n")
