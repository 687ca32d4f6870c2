"""
What an agent's tool loop costs on the way to the backend: over HTTP, over HTTP with zstd, and over WebSockets.

    python -m tests.benchmarks.upstream
    python -m tests.benchmarks.upstream --calls 40 --round-trip 0.12

The simulator runs in a process of its own behind a relay that delays every byte by half a round trip and counts it.
With ``--windows`` (the default; ``--no-windows`` for latency alone) the relay also does what TCP does with a
request after a pause: ten segments of 1,460 bytes leave at once, and in each further round trip twice as many.
Between two turns the agent pauses, as for the work of a tool; the pauses are not counted. There is no TLS and no
loss, and the model answers at once: the seconds are those of the transport. Only the CPU time of the client is
counted. Rounds are interleaved, and medians are shown.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

import gptmock
from gptmock.accounts import Account, Credential, Secret
from gptmock.protocol.reader import Batch, Received
from gptmock.protocol.request import ResponsesRequest
from gptmock.protocol.upstream import Upstream
from gptmock.simulator.server import Simulator
from gptmock.upstream.codex import CodexUpstream, UpstreamDeadlines
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.transport import open_transport
from gptmock.upstream.websocket import WebSocketUpstream

WAYS = ("http", "zstd", "websocket")
SEGMENTS_BYTES = 10 * 1460
"""The initial window (RFC 6928)."""
_IDLE_SECONDS = 0.3
"""After such a pause the window is the initial one again (RFC 5681, 4.1)."""
_INSTRUCTION_CHARACTERS = 14_000
_TOOL_COUNT = 14
_RESULT_CHARACTERS = 3_500


@dataclass(frozen=True, slots=True)
class Link:
    """How the relay behaves; seconds."""

    round_trip: float = 0.06
    pause: float = 0.35
    """Of the agent between two turns."""
    has_windows: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """One loop over one transport."""

    seconds: float
    cpu_seconds: float
    bytes_up: int
    bytes_down: int


@dataclass(slots=True)
class _Window:
    """When the bytes of one connection leave."""

    link: Link
    size: int = SEGMENTS_BYTES
    left: int = SEGMENTS_BYTES
    round_began: float = 0.0
    last: float = 0.0

    def departures(self, data: bytes, now: float) -> Iterator[tuple[float, bytes]]:
        """The pieces of ``data`` and when they leave."""
        if not self.link.has_windows:
            yield now, data
            return
        if now - self.last > _IDLE_SECONDS:
            self.size = self.left = SEGMENTS_BYTES
            self.round_began = now
        while data:
            if not self.left:
                self.round_began = max(self.round_began, now - self.link.round_trip) + self.link.round_trip
                self.size *= 2
                self.left = self.size
            piece, data = data[: self.left], data[self.left :]
            self.left -= len(piece)
            self.last = max(now, self.round_began)
            yield self.last, piece


@dataclass(slots=True)
class Relay:
    """Between client and simulator."""

    host: str
    port: int
    link: Link
    bytes_up: int = 0
    bytes_down: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        below, above = await asyncio.open_connection(self.host, self.port)
        with suppress(asyncio.CancelledError):
            # The end of the process.
            await asyncio.gather(self._pump(reader, above, up=True), self._pump(below, writer, up=False))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()
        task = loop.create_task(_deliver(queue, writer))
        window = _Window(self.link if up else replace(self.link, has_windows=False))
        while data := await reader.read(65536):
            if up:
                self.bytes_up += len(data)
            else:
                self.bytes_down += len(data)
            for when, piece in window.departures(data, loop.time()):
                queue.put_nowait((when + self.link.round_trip / 2, piece))
        queue.put_nowait((loop.time() + self.link.round_trip / 2, b""))
        await task


async def _deliver(queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        when, data = await queue.get()
        await asyncio.sleep(max(0.0, when - loop.time()))
        if not data:
            writer.close()
            return
        writer.write(data)


def _serve(link: Link, pipe: Connection) -> None:
    """A process: the simulator behind the relay; says its address and a login, then counts when it is asked."""

    async def run() -> None:
        async with Simulator() as simulator:
            host, _, port = simulator.base_url.removeprefix("http://").partition(":")
            relay = Relay(host, int(port), link)
            server = await asyncio.start_server(relay.take, "127.0.0.1", 0)
            login = simulator.state.logins.issue()
            pipe.send((server.sockets[0].getsockname()[1], login.account_id, login.access_token))
            loop = asyncio.get_running_loop()
            while (calls := await loop.run_in_executor(None, pipe.recv)) is not None:
                pipe.send((relay.bytes_up, relay.bytes_down))
                simulator.state.scenes.clear()
                simulator.state.scenes.extend(["tool"] * calls)
            server.close()

    asyncio.run(run())


@dataclass(slots=True)
class Agent:
    """A conversation that grows by a call and its result with each turn, made of the source of this program."""

    request: ResponsesRequest = field(init=False)
    _results: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        sources = sorted(Path(gptmock.__file__).parent.rglob("*.py"))
        text = "\n".join(path.read_text() for path in sources)
        self._results = _slices(text, _RESULT_CHARACTERS)
        self.request = ResponsesRequest(
            model="gpt-6.2-sol",
            instructions=text[-_INSTRUCTION_CHARACTERS:],
            input=[{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend the tests."}]}],
            tools=[_tool(number, text) for number in range(_TOOL_COUNT)],
            prompt_cache_key=f"loop-{time.monotonic_ns()}",
        )

    async def turn(self, upstream: Upstream, credential: Credential) -> None:
        """One turn, and what the next one begins with."""
        output: list[dict[str, Any]] = []

        def take(batch: Batch) -> bool:
            documents = [one.document() for one in batch if isinstance(one, Received)]
            output.extend(one["item"] for one in documents if one["type"] == "response.output_item.done")
            return True

        async with upstream.open(self.request, credential) as stream:
            await stream.deliver(take)
        results = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": next(self._results)}
            for item in output
            if item["type"] == "function_call"
        ]
        assert results
        self.request = msgspec.structs.replace(self.request, input=[*self.request.input, *output, *results])


def _slices(text: str, size: int) -> Iterator[str]:
    while True:
        for start in range(0, len(text) - size, size):
            yield text[start : start + size]


def _tool(number: int, text: str) -> dict[str, Any]:
    described = text[number * 997 : number * 997 + 700]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in ("path", "pattern", "limit")}}
    return {"type": "function", "name": f"tool_{number}", "description": described, "parameters": schema}


@asynccontextmanager
async def upstream_of(way: str, url: str) -> AsyncIterator[Upstream]:
    """The upstream over one of ``WAYS``."""
    transport = open_transport()
    settings: dict[str, Any] = {"identity": ClientIdentity(), "deadlines": UpstreamDeadlines(), "clock": time.time}
    http = CodexUpstream(transport, url, compresses=way == "zstd", **settings)
    by_socket = WebSocketUpstream(http, url, **settings) if way == "websocket" else None
    try:
        yield by_socket or http
    finally:
        if by_socket is not None:
            by_socket.close()
        await transport.aclose()


async def loop_over(way: str, calls: int, pause: float, pipe: Connection, address: tuple[int, str, str]) -> Run:
    """One loop of ``calls`` turns."""
    seconds = cpu_seconds = 0.0
    port, account_id, token = address
    credential = Credential(Account(workspace_id=account_id), Secret(token), 1)
    agent = Agent()
    before = _counted(pipe, calls)
    async with upstream_of(way, f"http://127.0.0.1:{port}/backend-api") as upstream:
        for _ in range(calls):
            began, used = time.perf_counter(), time.process_time()
            await agent.turn(upstream, credential)
            seconds += time.perf_counter() - began
            cpu_seconds += time.process_time() - used
            await asyncio.sleep(pause)
    after = _counted(pipe, calls)
    return Run(seconds, cpu_seconds, after[0] - before[0], after[1] - before[1])


def _counted(pipe: Connection, calls: int) -> tuple[int, int]:
    pipe.send(calls)
    up, down = pipe.recv()
    return up, down


def measure(calls: int, rounds: int, link: Link) -> dict[str, Run]:
    """The medians of every way."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(link, theirs), daemon=True)
    process.start()
    address = ours.recv()
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            runs[way].append(asyncio.run(loop_over(way, calls, link.pause, ours, address)))
    ours.send(None)
    process.join(10)
    return {way: _median(found) for way, found in runs.items()}


def _median(runs: list[Run]) -> Run:
    return Run(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.cpu_seconds for run in runs),
        round(statistics.median(run.bytes_up for run in runs)),
        round(statistics.median(run.bytes_down for run in runs)),
    )


def table(found: dict[str, Run], calls: int) -> str:
    """The figures as a table."""
    lines = [
        f"| way | seconds, {calls} calls | kB up | kB down | client CPU, ms a call |",
        "|---|---|---|---|---|",
    ]
    for way, run in found.items():
        cpu = run.cpu_seconds / calls * 1000
        lines.append(
            f"| {way} | {run.seconds:.2f} | {run.bytes_up / 1000:.0f} | {run.bytes_down / 1000:.0f} | {cpu:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="What an agent's tool loop costs on the way to the backend.")
    parser.add_argument("--calls", type=int, default=20, help="turns of one loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-trip", type=float, default=0.06, metavar="SECONDS")
    parser.add_argument("--pause", type=float, default=0.35, metavar="SECONDS", help="between two turns")
    parser.add_argument("--windows", action=argparse.BooleanOptionalAction, default=True, help="slow start of TCP")
    options = parser.parse_args()
    found = measure(options.calls, options.rounds, Link(options.round_trip, options.pause, has_windows=options.windows))
    print(table(found, options.calls), file=sys.stdout)  # noqa: T201 - a command


if __name__ == "__main__":
    main()
