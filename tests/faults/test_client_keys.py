"""Client keys over several workers and servers of one store: limits, dead workers, revocation."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.stores.key_limits import StoreKeyLimits
from tests.faults.state import STAGED, Place
from tests.harness import (
    CHAT_PATH,
    ServerProcess,
    SimulatorProcess,
    chat,
    client,
    server_process,
    until_all_serve,
    wait_until_ready,
)
from tests.timing import generous

pytestmark = pytest.mark.faults
REQUESTS, LIMIT = 200, 30
SLOT_SECONDS = 4.0
REVOKED_SECONDS = 1.0
"""A revoked key is refused by every worker of every server after this long."""


@contextmanager
def two_servers(
    place: Place, simulator: SimulatorProcess, workers: int, folder: Path
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers with a patient store and short-lived places, started side by side."""
    env = {**place.env, "TEST_STAGES": str(folder), "TEST_SLOT_SECONDS": str(SLOT_SECONDS), "TEST_PATIENT": "1"}
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                server_process(
                    place.home, simulator.base_url, workers=workers, env=env, program=STAGED, wait_ready=False
                )
            )
            for _ in range(2)
        )
        for server in (first, second):
            wait_until_ready(server)
        yield first, second


async def key_of(place: Place, name: str, **terms: Any) -> dict[str, str]:
    async with place.opened() as state:
        issued = await state.keys.create(name, KeyTerms(**terms))
    return {"authorization": f"Bearer {issued.text.reveal()}"}


async def held(opened: httpx.AsyncClient, stack: AsyncExitStack, headers: dict[str, str], url: str = "") -> int:
    """Open a stream that says nothing more, and keep it. Returns its status."""
    body = chat("scene:stall:300", stream=True)
    answer = await stack.enter_async_context(opened.stream("POST", url + CHAT_PATH, json=body, headers=headers))
    return answer.status_code


@pytest.mark.timeout(240)
async def test_limits_and_revocation_hold_over_four_workers_of_two_servers(
    place: Place, simulator: SimulatorProcess, tmp_path: Path
):
    await place.enroll(simulator.new_login())
    with two_servers(place, simulator, 2, tmp_path) as (first, second):
        urls = [first.base_url, second.base_url]
        await asyncio.gather(*(until_all_serve(server, 2) for server in (first, second)))
        turns, requests = await key_of(place, "turns", concurrency=LIMIT), await key_of(place, "requests", rpm=LIMIT)
        async with client("") as opened:
            async with AsyncExitStack() as stack:
                found = await asyncio.gather(
                    *(held(opened, stack, turns, urls[number % 2]) for number in range(REQUESTS))
                )
                assert Counter(found) == {200: LIMIT, 429: REQUESTS - LIMIT}
            asked = (
                opened.post(urls[number % 2] + CHAT_PATH, json=chat("scene:text"), headers=requests)
                for number in range(REQUESTS)
            )
            answers = await asyncio.gather(*asked)
            assert Counter(answer.status_code for answer in answers) == {200: LIMIT, 429: REQUESTS - LIMIT}
            left = sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers)
            assert left == [0] * (REQUESTS - LIMIT) + list(range(LIMIT))
        await check_revocation(place, urls)


async def check_revocation(place: Place, urls: list[str]) -> None:
    """Ask all workers without a pause, a connection each, until every one has refused the key often enough."""
    headers = await key_of(place, "revoked")

    async def status(url: str) -> int:
        async with client(url, headers=headers) as opened:
            return (await opened.get("/v1/models")).status_code

    for _ in range(10):
        assert set(await asyncio.gather(*map(status, urls))) == {200}
    async with place.opened() as state:
        await state.keys.revoke("revoked")
    revoked = last = time.monotonic()
    refused = 0
    while refused < 40:
        began = time.monotonic()
        if set(await asyncio.gather(*map(status, urls))) == {401}:
            refused += 1
        else:
            refused, last = 0, began
    assert last - revoked <= generous(REVOKED_SECONDS)


@pytest.mark.timeout(180)
async def test_a_killed_worker_gives_its_places_back_and_the_living_keep_theirs(
    redis_place: Place, simulator: SimulatorProcess, tmp_path: Path
):
    await redis_place.enroll(simulator.new_login())
    with two_servers(redis_place, simulator, 1, tmp_path) as (dying, living):
        headers = await key_of(redis_place, "ada", concurrency=3)
        async with client(living.base_url) as opened, AsyncExitStack() as stack:
            assert await held(opened, stack, headers) == 200
            async with client(dying.base_url) as lost, AsyncExitStack() as left:
                assert [await held(lost, left, headers) for _ in range(2)] == [200, 200]
                (pid,) = dying.workers()
                os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            while (answer := await opened.post(CHAT_PATH, json=chat("scene:text"), headers=headers)).status_code == 429:
                assert time.monotonic() - killed < generous(SLOT_SECONDS)
                await asyncio.sleep(0.1)
            assert answer.status_code == 200
            # Longer than a place is held without being extended.
            await asyncio.sleep(SLOT_SECONDS)
            assert [await held(opened, stack, headers) for _ in range(3)] == [200, 200, 429]


@pytest.mark.timeout(120)
async def test_a_store_that_freezes_refuses_nobody_and_forgets_no_token(
    redis_place: Place, simulator: SimulatorProcess
):
    assert redis_place.redis is not None
    await redis_place.enroll(simulator.new_login())
    with server_process(redis_place.home, simulator.base_url, workers=1, env=redis_place.env) as server:
        headers = await key_of(redis_place, "ada", tokens_per_day=10**6, concurrency=4)
        async with client(server.base_url, headers=headers) as opened:

            async def tokens() -> int:
                answer = await opened.post(CHAT_PATH, json=chat("scene:text"))
                assert answer.status_code == 200, answer.text
                return int(answer.json()["usage"]["total_tokens"])

            before = [await tokens() for _ in range(3)]
            with redis_place.redis.frozen():
                meanwhile = [await tokens() for _ in range(5)]
        async with redis_place.opened() as state, asyncio.timeout(30):
            key, limits = await state.keys.show("ada"), StoreKeyLimits(state.store)
            wanted = {"turns": 0, "tokens_per_day": sum(before) + sum(meanwhile)}
            while {one.kind: one.used for one in await limits.states(key)} != wanted:  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(0.1)
