"""A store that stops answering before a worker has served anybody: what it loaded at its start is enough."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gptmock.clients import KeyTerms
from gptmock.stores.limits_and_usage import SharedLimits
from tests.faults.state import Place, report
from tests.faults.test_store_faults import answers
from tests.harness import CHAT_PATH, ServerProcess, SimulatorProcess, chat, client, server_process, until_all_serve
from tests.harness import until as until_true

pytestmark = pytest.mark.faults
REQUESTS = 20


@asynccontextmanager
async def started(place: Place, simulator: SimulatorProcess, **env: str) -> AsyncIterator[ServerProcess]:
    """Two workers that run; no request has needed the store yet."""
    with server_process(place.home, simulator.base_url, env={**place.env, **env}, wait_ready=False) as server:
        async with client(server.base_url) as opened:
            assert await answers(opened, "/health") == 200
        await until_all_serve(server, 2)
        yield server


async def asked(server: ServerProcess, *, key: str | None = None) -> Counter[tuple[int, str]]:
    """Statuses of turns and the codes of their errors; a connection each, so that every worker is met."""
    found: Counter[tuple[int, str]] = Counter()
    headers = {"authorization": f"Bearer {key}"} if key is not None else {}
    for _ in range(REQUESTS):
        async with client(server.base_url, headers=headers) as opened:
            answer = await opened.post(CHAT_PATH, json=chat("scene:text"))
        found[answer.status_code, "" if answer.status_code == 200 else answer.json()["error"]["code"]] += 1
    return found


@pytest.mark.timeout(120)
async def test_a_store_that_freezes_before_the_first_request_costs_nobody_anything(
    simulator: SimulatorProcess, redis_place: Place
):
    assert redis_place.redis is not None
    await redis_place.enroll(simulator.new_login())
    async with started(redis_place, simulator) as server:
        with redis_place.redis.frozen():
            assert await asked(server) == {(200, ""): REQUESTS}


@pytest.mark.timeout(120)
async def test_the_same_of_a_pool_of_which_one_account_is_parked(simulator: SimulatorProcess, redis_place: Place):
    assert redis_place.redis is not None
    accounts = [await redis_place.enroll(simulator.new_login(), label=name) for name in ("ada", "bob", "cyd")]
    async with redis_place.opened() as state:
        now = time.time()
        await SharedLimits(state.store).park(accounts[0].id, until=now + 600, now=now)
    async with started(redis_place, simulator, GPTMOCK_ACCOUNT_POOL="ada,bob,cyd") as server:
        with redis_place.redis.frozen():
            assert await asked(server) == {(200, ""): REQUESTS}
        served = Counter(line["account"] for line in server.logs("turn") if line["status"] == 200)
        assert accounts[0].id not in served


@pytest.mark.timeout(120)
async def test_the_same_of_client_keys_that_nobody_has_shown_yet(simulator: SimulatorProcess, redis_place: Place):
    assert redis_place.redis is not None
    await redis_place.enroll(simulator.new_login(), label="ada")
    other = await redis_place.enroll(simulator.new_login(), label="bob")
    async with redis_place.opened() as state:
        issued = await state.keys.create("free", KeyTerms())
        bound = await state.keys.create("bound", KeyTerms(account_id=other.id))
        revoked = await state.keys.create("revoked", KeyTerms())
        await state.keys.revoke("revoked")
    async with started(redis_place, simulator) as server:
        with redis_place.redis.frozen():
            for key in (issued, bound):
                assert await asked(server, key=key.text.reveal()) == {(200, ""): REQUESTS}
            assert await asked(server, key=revoked.text.reveal()) == {(401, "invalid_api_key"): REQUESTS}


@pytest.mark.timeout(120)
async def test_a_worker_that_is_respawned_meanwhile_says_when_to_come_again(
    simulator: SimulatorProcess, redis_place: Place
):
    assert redis_place.redis is not None
    await redis_place.enroll(simulator.new_login())
    with server_process(redis_place.home, simulator.base_url, env=redis_place.env) as server:
        await until_all_serve(server, 2)
        with redis_place.redis.frozen():
            victim = min(server.workers())
            os.kill(victim, signal.SIGKILL)
            await until_true(lambda: len(server.workers() - {victim}) == 2)
            await until_all_serve(server, 3)
            found = await asked(server)
        assert set(found) <= {(200, ""), (503, "auth_unavailable")}
        report(statuses=found)
