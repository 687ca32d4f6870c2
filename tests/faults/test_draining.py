"""A server that is told to stop: not ready, then closed, then streams that end with their dialect's own words."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.state import exchanges
from tests.harness import (
    CHAT_PATH,
    ServerProcess,
    SimulatorProcess,
    chat,
    client,
    get,
    server_process,
    until,
    until_all_serve,
    write_login,
)
from tests.timing import generous

pytestmark = pytest.mark.faults
EXIT_SECONDS = generous(5)
STALL = "scene:stall:60"


async def test_it_is_not_ready_at_once_and_accepts_until_the_delay_is_over(simulator: SimulatorProcess, home: Path):
    env = {"GPTMOCK_DRAIN_DELAY": "2"}
    with server_process(home, simulator.base_url, workers=2, env=env) as server:
        await until_all_serve(server, 2)
        async with client(server.base_url) as kept:
            assert (await kept.get("/health")).headers["connection"] == "keep-alive"
            server.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            await until(lambda: _status(server, "/readyz") == (503, "draining"), seconds=generous(1))
            while time.monotonic() - began < 1.5:
                # Every worker says so, to new connections too, and tells clients to leave.
                assert _status(server, "/readyz") == (503, "draining")
                answer = await kept.get("/health")
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
                await asyncio.sleep(0.05)
        await until(lambda: _status(server, "/health") == (0, "refused"), seconds=EXIT_SECONDS)
        assert await asyncio.to_thread(server.process.wait, EXIT_SECONDS) == 0
        assert time.monotonic() - began >= 2


async def test_idle_connections_are_closed_and_nobody_can_connect_while_a_stream_ends(
    simulator: SimulatorProcess, home: Path
):
    with server_process(home, simulator.base_url, workers=3) as server:
        await until_all_serve(server, 3)
        async with client(server.base_url) as opened:
            assert (await opened.get("/health")).status_code == 200
            _, port = server.base_url.rpartition(":")[::2]
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
            running = asyncio.ensure_future(opened.post(CHAT_PATH, json=chat("scene:stall:3", stream=True)))
            await until(lambda: simulator.stats()["open_streams"] == 1)
            server.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(generous(1)):
                assert await reader.read() == b""
            writer.close()
            await until(lambda: _status(server, "/health") == (0, "refused"), seconds=generous(1))
            # Each goes to any of the sockets that still listen.
            assert {_status(server, "/health") for _ in range(20)} == {(0, "refused")}
            assert not running.done()
            assert (await running).content.endswith(b"data: [DONE]\n\n")
        assert await asyncio.to_thread(server.process.wait, EXIT_SECONDS) == 0


async def test_what_the_grace_does_not_suffice_for_ends_in_the_words_of_its_dialect(
    simulator: SimulatorProcess, home: Path
):
    env = {"GPTMOCK_SHUTDOWN_GRACE": "1"}
    calls: list[tuple[str, dict[str, Any]]] = [
        (CHAT_PATH, chat(STALL, stream=True)),
        ("/v1/completions", {"model": "gpt-5.5", "prompt": STALL, "stream": True}),
        ("/v1/responses", {"model": "gpt-5.5", "input": STALL, "stream": True}),
        ("/api/chat", chat(STALL, stream=True)),
        ("/api/generate", {"model": "gpt-5.5", "prompt": STALL}),
        (CHAT_PATH, chat(STALL)),
        ("/api/chat", chat(STALL)),
    ]
    with server_process(home, simulator.base_url, workers=2, env=env) as server:
        async with client(server.base_url) as opened:
            running = [asyncio.ensure_future(opened.post(path, json=body)) for path, body in calls]
            await until(lambda: simulator.stats()["open_streams"] == len(calls))
            server.process.send_signal(signal.SIGTERM)
            chats, completions, responses, ollama, generate, collected, ollama_collected = await asyncio.gather(
                *running
            )
        assert await asyncio.to_thread(server.process.wait, EXIT_SECONDS) == 0
        for answer in (chats, completions):
            *_, last, empty = answer.text.split("\n\n")
            assert (answer.status_code, empty) == (200, "")
            assert json.loads(last.removeprefix("data: "))["error"]["code"] == "server_stopping"
            assert "[DONE]" not in answer.text
        *_, error, failed, empty = responses.text.split("\n\n")
        assert empty == ""
        assert error.startswith("event: error\n")
        assert failed.startswith("event: response.failed\n")
        assert "server_stopping" in error
        for answer in (ollama, generate):
            last = json.loads(answer.text.splitlines()[-1])
            assert "stopped or restarted" in last["error"]
        assert (collected.status_code, collected.json()["error"]["code"]) == (503, "server_stopping")
        assert collected.headers["retry-after"] == "1"
        assert (ollama_collected.status_code, list(ollama_collected.json())) == (503, ["error"])
        assert {line["ended"] for line in server.logs("turn")} == {"server_stopping"}
        assert [line for line in server.logs() if line["level"] == "error"] == []


async def test_a_refresh_that_is_under_way_is_finished(simulator: SimulatorProcess, tmp_path: Path):
    home, stages = tmp_path / "home", tmp_path / "stages"
    stages.mkdir()
    write_login(home, simulator.new_login(expires_in=-5))
    (stages / "armed-answered").touch()
    env = {"TEST_STAGES": str(stages), "GPTMOCK_SHUTDOWN_GRACE": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    program = (sys.executable, "-m", "tests.faults.staged")
    with server_process(home, simulator.base_url, workers=2, env=env, program=program, wait_ready=False) as server:
        await until(lambda: bool(list(stages.glob("reached-answered-*"))))
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            await until(lambda: server.process.poll() is not None, seconds=1.5)
        for reached in stages.glob("reached-*"):
            reached.unlink()
        assert await asyncio.to_thread(server.process.wait, EXIT_SECONDS) == 0
        assert len(server.logs("account.renewed")) == 1
    assert exchanges(simulator) == {"ok": 1, "refused": 0}


def _status(server: ServerProcess, path: str) -> tuple[int, str]:
    """Over a connection of its own. A connection that the kernel takes and no worker accepts is a timeout."""
    try:
        answer = get(server.base_url + path)
    except httpx.ConnectError:
        return 0, "refused"
    except httpx.TransportError as error:
        return 0, repr(error)
    return answer.status_code, str((answer.json().get("reasons") or [""])[0])
