"""Rolling restarts, and workers that are killed under load: what is being answered is answered."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.faults.state import report, times
from tests.harness import (
    CHAT_PATH,
    PROGRAM,
    ServerProcess,
    SimulatorProcess,
    chat,
    client,
    get,
    plain_environment,
    server_process,
    until,
    until_all_serve,
)
from tests.timing import generous

pytestmark = pytest.mark.faults
DONE = b"data: [DONE]\n\n"
RELOAD_SECONDS = generous(10)
KILLS = times(8, 50)


async def test_two_reloads_cut_no_stream_and_refuse_no_connection(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        await until_all_serve(server, 2)
        generations = [server.workers()]
        over = asyncio.Event()
        newcomers = [asyncio.ensure_future(_connect_anew(server, over)) for _ in range(4)]
        async with client(server.base_url) as opened:
            streams = []
            for number in (1, 2):
                streams += [
                    asyncio.ensure_future(opened.post(CHAT_PATH, json=chat("scene:stall:3", stream=True)))
                    for _ in range(25)
                ]
                await until(lambda: simulator.stats()["open_streams"] >= 25)
                began = time.monotonic()
                if number == 1:
                    server.process.send_signal(signal.SIGHUP)
                else:
                    said = await asyncio.to_thread(_reload, home)
                    assert said.stdout == f"The server with pid {server.process.pid} restarts its workers.\n", said
                await until(partial(_has_reloaded, server, number), seconds=RELOAD_SECONDS)
                report(reload_seconds=round(time.monotonic() - began, 2))
                await until(lambda: len(server.workers()) == 2, seconds=generous(5))
                generations.append(server.workers())
            answers = await asyncio.gather(*streams)
        over.set()
        connected = sum(await asyncio.gather(*newcomers))
        assert [answer.content.endswith(DONE) for answer in answers] == [True] * 50
        assert connected > 20
        assert len(set().union(*generations)) == 6, "all workers are new ones after each reload"
        assert {line["ended"] for line in server.logs("turn") if line["status"] == 200} == {"ok"}
        assert server.stop() == 0


async def test_a_reload_of_many_workers_keeps_their_sockets(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=9) as server:
        server.process.send_signal(signal.SIGHUP)
        await until(partial(_has_reloaded, server, 1), seconds=RELOAD_SECONDS)
        await until(lambda: len(server.workers()) == 9, seconds=generous(5))
        answers = [await asyncio.to_thread(get, f"{server.base_url}/health") for _ in range(40)]
        assert {answer.status_code for answer in answers} == {200}
        assert server.stop() == 0


async def test_a_reload_with_wrong_settings_changes_nothing(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        await until(lambda: len(server.workers()) == 2)
        before = server.workers()
        (home / ".env").write_text("GPTMOCK_REASONING_EFFORT=huge\n")
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: len(server.logs("server.reload_failed")) == 1, seconds=RELOAD_SECONDS)
        assert "gptmock: GPTMOCK_REASONING_EFFORT" in server.text()
        assert server.workers() == before
        (home / ".env").write_text("GPTMOCK_WORKERS=3\nGPTMOCK_PORT=1\nGPTMOCK_OLLAMA_VERSION=0.14.7\n")
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: len(server.logs("server.reloaded")) == 1, seconds=RELOAD_SECONDS)
        async with client(server.base_url) as opened:
            assert (await opened.get("/api/version")).json() == {"version": "0.14.7"}
        # A socket for each of them has been bound at the start.
        await until(lambda: len(server.workers()) == 2, seconds=generous(5))
        assert server.stop() == 0


async def test_a_stop_in_the_middle_of_a_reload_is_a_clean_stop(simulator: SimulatorProcess, home: Path):
    for delay in (0.0, 0.3, 0.6, 0.9):
        with server_process(home, simulator.base_url, workers=2) as server:
            server.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(delay)
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, generous(5)) == 0
            assert "Traceback" not in server.text()
            await until(partial(_is_over, server), seconds=generous(3))


async def test_a_stream_that_outlasts_the_grace_of_a_stop_is_not_cut_by_a_reload(
    simulator: SimulatorProcess, home: Path
):
    env = {"GPTMOCK_SHUTDOWN_GRACE": "1"}
    with server_process(home, simulator.base_url, workers=2, env=env) as server:
        await until(lambda: len(server.workers()) == 2)
        before = server.workers()
        async with client(server.base_url) as opened:
            longest, long = (
                asyncio.ensure_future(opened.post(CHAT_PATH, json=chat(scene, stream=True)))
                for scene in ("scene:stall:60", "scene:stall:6")
            )
            await until(lambda: simulator.stats()["open_streams"] == 2)
            server.process.send_signal(signal.SIGHUP)
            assert (await long).content.endswith(DONE)
            assert len(server.logs("server.reloaded")) == 1
            assert server.tree() & before, "the other stream is there"
            # A stop that follows has its own grace.
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, generous(4)) == 0
            assert b"server_stopping" in (await longest).content
        assert sorted(line["ended"] for line in server.logs("turn")) == ["ok", "server_stopping"]


def test_reload_says_that_no_server_is_running(home: Path):
    said = _reload(home)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith("gptmock: no server is running")
    said = _reload(home, "--pid-file", str(home / "elsewhere.pid"))
    assert said.returncode == 1
    assert "elsewhere.pid" in said.stderr


def test_servers_of_one_home_have_a_pid_file_each(simulator: SimulatorProcess, home: Path):
    named = home / "named.pid"
    with (
        server_process(home, simulator.base_url, workers=1) as one,
        server_process(home, simulator.base_url, workers=1) as two,
        server_process(home, simulator.base_url, workers=1, args=["--pid-file", str(named)]) as three,
    ):
        assert [int((home / name).read_text()) for name in ("server.pid", "server-2.pid", "named.pid")] == [
            one.process.pid,
            two.process.pid,
            three.process.pid,
        ]
        assert [line.split()[4] for line in _reload(home).stdout.splitlines()] == [
            str(one.process.pid),
            str(two.process.pid),
        ]
        assert str(three.process.pid) in _reload(home, "--pid-file", str(named)).stdout
        with server_process(home, simulator.base_url, args=["--pid-file", str(named)], wait_ready=False) as four:
            assert four.process.wait(generous(5)) == 1
            assert f"belongs to the running server with pid {three.process.pid}" in four.text()
        one.process.kill()
        one.process.wait()
        assert [line.split()[4] for line in _reload(home).stdout.splitlines()] == [str(two.process.pid)]


@pytest.mark.timeout(280)
async def test_workers_that_are_killed_under_load_take_only_their_own_streams_along(
    simulator: SimulatorProcess, home: Path
):
    with server_process(home, simulator.base_url, workers=4) as server:
        await until_all_serve(server, 4)
        over, ended, slowest = asyncio.Event(), dict[str, bool](), 0.0
        async with client(server.base_url) as opened:
            callers = [asyncio.ensure_future(_call(opened, f"caller-{number}", over, ended)) for number in range(40)]
            await until(lambda: simulator.stats()["open_streams"] >= 20)
            killed = set[int]()
            for _ in range(KILLS):
                victim = min(server.workers() - killed)
                began = time.monotonic()
                os.kill(victim, signal.SIGKILL)
                killed.add(victim)
                await until(_has(server, 4, without=killed), seconds=generous(2))
                slowest = max(slowest, time.monotonic() - began)
                await asyncio.sleep(0.3)
            over.set()
            await asyncio.gather(*callers)
        told = {line["request_id"]: line for line in server.logs("turn")}
        counts = Counter(ended.values())
        report(kills=KILLS, slowest_respawn=round(slowest, 2), complete=counts[True], broken=counts[False])
        assert counts[True] > 40
        # A worker that lives says how each of its calls ended: the broken ones have nobody to tell it, nor have those
        # whose last byte had just gone out when their worker was killed.
        whole = [one for one, is_whole in ended.items() if is_whole]
        assert {told[one]["ended"] for one in whole if one in told} == {"ok"}
        assert len([one for one in whole if one not in told]) <= KILLS
        assert [one for one, is_whole in ended.items() if not is_whole and one in told] == []
        assert server.stop() == 0


async def test_streams_are_spread_over_the_workers(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=4) as server:
        await until_all_serve(server, 4)
        async with client(server.base_url) as opened:
            calls = [opened.post(CHAT_PATH, json=chat("scene:stall:2", stream=True)) for _ in range(200)]
            answers = await asyncio.gather(*calls)
        assert all(answer.content.endswith(DONE) for answer in answers)
        shares = Counter(line["pid"] for line in server.logs("turn") if line["status"] == 200)
        report(streams_by_worker=sorted(shares.values()))
        assert max(shares.values()) <= 1.5 * 200 / 4


def _is_over(server: ServerProcess) -> bool:
    return not server.tree()


def _has_reloaded(server: ServerProcess, count: int) -> bool:
    return len(server.logs("server.reloaded")) == count


def _has(server: ServerProcess, count: int, *, without: set[int]) -> Callable[[], bool]:
    return lambda: len(server.workers() - without) == count


async def _connect_anew(server: ServerProcess, over: asyncio.Event) -> int:
    """Connections that come one after the other, each with one request; returns how many there were."""
    count = 0
    while not over.is_set():
        async with client(server.base_url) as opened:
            assert (await opened.get("/health")).status_code == 200
        count += 1
        await asyncio.sleep(0.02)
    return count


async def _call(opened: httpx.AsyncClient, name: str, over: asyncio.Event, ended: dict[str, bool]) -> None:
    """Streams one after the other; notes by their id whether they were complete."""
    number = 0
    while not over.is_set():
        number += 1
        headers = {"x-request-id": f"{name}-{number}"}
        try:
            body = chat("scene:stall:0.7", stream=True)
            answer = await opened.post(CHAT_PATH, json=body, headers=headers)
            ended[headers["x-request-id"]] = answer.content.endswith(DONE)
        except httpx.TransportError:
            ended[headers["x-request-id"]] = False


def _reload(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "reload", *arguments],
        env=plain_environment(GPTMOCK_HOME=str(home)),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
