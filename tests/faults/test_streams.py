"""F1, F3, F4: streams that are cut from either side, under load."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.simulator.scenes import render_scene
from gptmock.stores.limits_and_usage import SharedUsage
from tests.faults.state import LOOK_SECONDS, Place, exchanges, login_again, statuses, times
from tests.harness import (
    CHAT_PATH,
    SimulatorProcess,
    chat,
    client,
    open_files,
    server_process,
    until,
    until_all_serve,
)
from tests.timing import generous
from tests.upstream.raw import HEAD, LAST_CHUNK, RawServer, chunk, read_request, reset

pytestmark = pytest.mark.faults
CUTS = 200
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
LEAVERS = times(100, 500)
ONCE = 60


class CuttingUpstream(RawServer):
    """A backend that ends each answer somewhere else; ``cuts`` remembers where."""

    def __init__(self) -> None:
        super().__init__(self._cut)
        self.whole = render_scene("reasoning")
        self.dice = random.Random(20261123)
        self.end = self.whole.index(b"event: response.completed")
        self.cuts: list[tuple[int, str]] = []

    async def _cut(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await read_request(reader)
        if not head.startswith(b"POST"):
            # The server also asks for the models; it does without them.
            writer.write(NOT_FOUND)
            return
        # An event without its last line break is complete: what counts is whether the ending was there.
        offset, manner = self.dice.randrange(self.end), self.dice.choice(["reset", "close", "eof"])
        self.cuts.append((offset, manner))
        writer.write(HEAD)
        position = 0
        while position < offset:
            size = min(self.dice.randrange(1, 4000), offset - position)
            writer.write(chunk(self.whole[position : position + size]))
            await writer.drain()
            await asyncio.sleep(0)
            position += size
        await asyncio.sleep(self.dice.random() * 0.02)
        if manner == "reset":
            reset(writer)
        elif manner == "eof":
            writer.write(LAST_CHUNK)
            await writer.drain()


@pytest.mark.check(31, 120)
async def test_a_stream_cut_anywhere_never_looks_complete(simulator: SimulatorProcess, home: Path):
    load = asyncio.Semaphore(25)

    async def ask(opened: httpx.AsyncClient, number: int) -> httpx.Response:
        async with load:
            return await opened.post(CHAT_PATH, json=chat(stream=number % 4 != 0))

    async with CuttingUpstream() as upstream:
        env = {"GPTMOCK_UPSTREAM_URL": upstream.url}
        with server_process(home, simulator.base_url, workers=2, env=env) as server:
            async with client(server.base_url) as opened:
                answers = await asyncio.gather(*(ask(opened, number) for number in range(CUTS)))
            assert [line for line in server.logs() if line["level"] == "error"] == []
    assert len(upstream.cuts) == CUTS
    streams = [answer for answer in answers if answer.status_code == 200]
    assert len(streams) > CUTS / 4
    for answer in answers:
        assert b"[DONE]" not in answer.content
        assert b'"finish_reason":"' not in answer.content
        if answer.status_code == 200:
            assert answer.headers["content-type"].startswith("text/event-stream")
            last = answer.content.rstrip().rpartition(b"\n\n")[2]
            assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_stream_truncated"
        else:
            assert answer.status_code == 502
            assert answer.json()["error"]["code"] == "upstream_stream_truncated"


async def test_clients_that_leave_at_any_moment_leave_nothing_behind(simulator: SimulatorProcess, home: Path):
    dice = random.Random(20261123)
    simulator.options(pace_seconds=0.02)
    scenes = ("slow-head:20", "silent:20", "stall:20", "long")
    with server_process(home, simulator.base_url, workers=1) as server:
        (worker,) = server.workers()
        async with client(server.base_url) as warming:
            assert (await warming.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
        before = _sockets(worker)
        worst = 0.0

        async def leave(number: int) -> None:
            async with client(server.base_url) as opened:
                body = chat(f"scene:{dice.choice(scenes)}", stream=number % 3 != 0)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(dice.uniform(0.01, 1.5)):
                        await opened.post(CHAT_PATH, json=body)

        for group in range(0, LEAVERS, 20):
            await asyncio.gather(*(leave(number) for number in range(group, group + 20)))
            left = time.monotonic()
            await until(lambda: simulator.stats()["open_streams"] == 0, seconds=10)
            worst = max(worst, time.monotonic() - left)
        stats = simulator.stats()
        assert worst <= generous(1.0)
        # Some left before their request had reached the upstream; none of the others ended otherwise.
        assert stats["closed_by_client"] == stats["model_calls"] - 1
        assert stats["closed_by_client"] > LEAVERS / 2
        await until(lambda: _sockets(worker) <= before, seconds=10)
        first, *others = server.logs("turn")
        assert first["ended"] == "ok"
        assert {line["ended"] for line in others} == {"client_gone"}
        assert len(others) >= stats["closed_by_client"]
        assert [line for line in server.logs() if line["level"] in ("warning", "error")] == []
        async with client(server.base_url) as opened:
            assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT_PATH, chat(stream=True)),
        (CHAT_PATH, chat()),
        ("/v1/responses", {"model": "gpt-5.5", "input": "hi", "stream": True}),
        ("/v1/completions", {"model": "gpt-5.5", "prompt": ["a", "b"], "stream": True}),
        ("/api/chat", {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}),
    ],
    ids=["chat", "chat collected", "responses", "completions", "ollama"],
)
async def test_who_asks_once_and_closes_is_counted_once(
    simulator: SimulatorProcess, place: Place, path: str, body: dict[str, Any]
):
    """A client that closes with the last byte is gone while its turn still ends."""
    account = await place.enroll(simulator.new_login())
    turns = 2 if "prompt" in body else 1

    async def ask(base_url: str) -> None:
        async with client(base_url) as opened:
            answer = await opened.post(path, json=body)
        assert answer.status_code == 200

    with server_process(place.home, simulator.base_url, env=place.env) as server:
        for _ in range(ONCE // 20):
            await asyncio.gather(*(ask(server.base_url) for _ in range(20)))
        async with place.opened() as state, asyncio.timeout(generous(5.0)):
            ledger = SharedUsage(state.store, clock=time.time)
            used = await ledger.read(account.id)
            # Each worker tells about once a second; one that tells of a turn that is over would do so for ever.
            while used.in_flight or used.today.get("requests") != turns * ONCE:
                await asyncio.sleep(0.1)
                used = await ledger.read(account.id)
    assert used.today.get("failed", 0) == 0


def _sockets(pid: int) -> int:
    return sum(name.startswith("socket:") for name in open_files(pid))


@pytest.mark.check(37)
@pytest.mark.parametrize("scene", ["separators", "odd-splits", "garbage", "multiline", "crlf", "cr", "bom", "comments"])
async def test_odd_bytes_come_through_real_sockets_unharmed(simulator: SimulatorProcess, home: Path, scene: str):
    with server_process(home, simulator.base_url, workers=1) as server:
        async with client(server.base_url) as opened:
            collected = (await opened.post(CHAT_PATH, json=chat(f"scene:{scene}"))).json()
            streamed = await opened.post(CHAT_PATH, json=chat(f"scene:{scene}", stream=True))
    text = collected["choices"][0]["message"]["content"]
    lines = streamed.content.split(b"\n\n")
    assert lines[-2] == b"data: [DONE]"
    deltas = [json.loads(line.removeprefix(b"data: ")) for line in lines[:-2]]
    assert "".join(delta["choices"][0]["delta"].get("content") or "" for delta in deltas if delta["choices"]) == text
    if scene == "separators":
        assert all(separator in text for separator in ("\u0085", "\u2028", "\u2029"))


async def test_two_workers_share_the_work(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=2) as server:
        await until_all_serve(server, 2)
        async with client(server.base_url) as opened:
            asked = (opened.post(CHAT_PATH, json=chat("scene:stall:1", stream=True)) for _ in range(100))
            assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        turns = [line for line in server.logs("turn") if line["status"] == 200]
        assert len(turns) == 100
        assert {line["pid"] for line in turns} == server.workers()
        assert len(server.workers()) == 2


async def test_a_login_made_while_serving_is_used_by_all_workers(simulator: SimulatorProcess, place: Place):
    account = await place.enroll(simulator.new_login())
    with server_process(place.home, simulator.base_url, workers=2, env=place.env) as server:
        await until_all_serve(server, 2)
        assert await statuses(server.base_url, 50) == {200: 50}
        newer = login_again(simulator, account)
        await place.enroll(newer)
        await asyncio.sleep(LOOK_SECONDS)
        simulator.reset()
        assert await statuses(server.base_url, 50) == {200: 50}
        seen = simulator.requests("/backend-api/codex/responses")
        # The simulator remembers what came in without its secrets.
        used = hashlib.sha256(newer["tokens"]["access_token"].encode()).hexdigest()[:16]
        assert {request["headers"]["authorization"] for request in seen} == {f"Bearer sha256:{used}"}
    assert exchanges(simulator) == {"ok": 0, "refused": 0}
