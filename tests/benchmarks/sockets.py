"""
What WebSockets cost the server, beside server-sent events: CPU for each event, and memory of idle connections.

    python -m tests.benchmarks.sockets
    python -m tests.benchmarks.sockets --turns 200 --rounds 3 --idle 500 --workers 2

The turns of both transports run in front of the same simulator, in rounds that alternate; each turn has 200 deltas at
50 events a second, and a connection of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx

from tests.benchmarks.processes import cpu_seconds, proportional_bytes
from tests.harness import NO_TLS, ServerProcess, server_process, simulator_process, until, write_login
from tests.websocket_client import create, opened, turn

SCENE, PACE_SECONDS = "scene:long", 0.02
IDLE_SECONDS = 30.0


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, _server(Path(directory), options.workers) as server:
        asyncio.run(_measure(server, options))
    return 0


@contextmanager
def _server(home: Path, workers: int) -> Iterator[ServerProcess]:
    with simulator_process() as simulator:
        write_login(home, simulator.new_login())
        simulator.options(pace_seconds=PACE_SECONDS)
        with server_process(home, simulator.base_url, workers=workers) as running:
            yield running


async def _measure(server: ServerProcess, options: argparse.Namespace) -> None:
    await until(lambda: len(server.workers()) == options.workers)
    pids = sorted(server.workers())
    # First, while no memory of turns is left to be used again.
    await _idle(server, pids, options.idle)
    cost: dict[str, list[float]] = {"sse": [], "websocket": []}
    for _ in range(options.rounds):
        for name, run in (("sse", _by_sse), ("websocket", _by_websocket)):
            before = cpu_seconds(pids)
            events = await run(server.base_url, options.turns)
            cost[name].append((cpu_seconds(pids) - before) / events * 1e6)
    for name, values in cost.items():
        rounds = ", ".join(f"{value:.1f}" for value in values)
        _say(f"{name}: {statistics.median(values):.1f} us of CPU for each event ({rounds})")
    _say(f"ratio: {statistics.median(cost['websocket']) / statistics.median(cost['sse']):.2f}")


async def _by_sse(base_url: str, turns: int) -> int:
    async with httpx.AsyncClient(timeout=120.0, verify=NO_TLS, limits=httpx.Limits(max_connections=turns)) as client:

        async def one() -> int:
            body = {"model": "gpt-5.5", "input": SCENE, "stream": True}
            response = await client.post(f"{base_url}/v1/responses", json=body)
            return response.content.count(b"data: ")

        return sum(await asyncio.gather(*(one() for _ in range(turns))))


async def _by_websocket(base_url: str, turns: int) -> int:
    async def one() -> int:
        async with opened(base_url) as connection:
            return len(await turn(connection, create(SCENE)))

    return sum(await asyncio.gather(*(one() for _ in range(turns))))


async def _idle(server: ServerProcess, pids: list[int], count: int) -> None:
    before = sum(map(proportional_bytes, pids))
    async with AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(opened(server.base_url, ping_interval=None))
        await asyncio.sleep(1.0)
        grown = sum(map(proportional_bytes, pids)) - before
        begun = cpu_seconds(pids)
        await asyncio.sleep(IDLE_SECONDS)
        used = (cpu_seconds(pids) - begun) / IDLE_SECONDS
    _say(f"{count} idle connections: {grown / count / 1024:.1f} KiB each, {used * 100:.2f} % of a core in all")


def _say(text: str) -> None:
    print(text)  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
