"""WebSockets of a server with several workers: reloads, a stop, and responses that another worker stored."""

from __future__ import annotations

import json
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.benchmarks.processes import proportional_bytes
from tests.harness import SimulatorProcess, server_process, until, until_all_serve
from tests.timing import generous
from tests.websocket_client import create, opened, rest, said, turn

pytestmark = pytest.mark.faults
IDLE, IDLE_BYTES = 500, 16 * 1024
"""Connections, and what each takes of the memory of its worker (``tests.benchmarks.sockets``)."""


@pytest.mark.check(251)
async def test_500_idle_connections_cost_little(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        await until_all_serve(server, 2)
        workers = server.workers()
        before = sum(map(proportional_bytes, workers))
        async with AsyncExitStack() as stack:
            for _ in range(IDLE):
                last = await stack.enter_async_context(opened(server.base_url, ping_interval=None))
            grown = sum(map(proportional_bytes, workers)) - before
            assert grown / IDLE < generous(IDLE_BYTES)
            assert (await turn(last, create("scene:text")))[-1]["type"] == "response.completed"
        assert server.workers() == workers


@pytest.mark.check(243, 247)
async def test_a_reload_and_a_stop_let_turns_end(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        await until_all_serve(server, 2)
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(opened(server.base_url)) for _ in range(8)]
            first = (await turn(connections[0], create("scene:text")))[-1]["response"]["id"]
            for one in connections[1:]:
                # Some of them are with another worker.
                events = await turn(one, create("more", previous_response_id=first))
                assert events[-1]["type"] == "response.completed"
            for one in connections[:4]:
                await one.send(json.dumps(create("scene:stall:3")))
            await until(lambda: simulator.stats()["open_streams"] >= 4)
            server.process.send_signal(signal.SIGHUP)
            for one in connections[:4]:
                assert (await rest(one))[-1]["type"] == "response.completed"
            for one in connections:
                with pytest.raises(ConnectionClosed) as closed:
                    await said(one)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1012
            async with opened(server.base_url):
                began = time.monotonic()
                assert server.stop() == 0
                assert time.monotonic() - began < generous(10), "an idle connection holds up nothing"
        turns = [line for line in server.logs("turn") if line["transport"] == "websocket"]
        assert [line["ended"] for line in turns] == ["ok"] * 12
