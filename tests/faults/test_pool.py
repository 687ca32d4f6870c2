"""Figure 15 and the counters: several accounts share load, trip one after another, and every worker knows."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from gptmock.accounts import Account
from tests.faults.state import Place, report
from tests.harness import (
    CHAT_PATH,
    PROGRAM,
    ServerProcess,
    SimulatorProcess,
    chat,
    client,
    plain_environment,
    server_process,
    until_all_serve,
)
from tests.timing import generous

pytestmark = pytest.mark.faults
WORKERS = 4
LABELS = ("one", "two", "three")
MODEL_PATH = "/backend-api/codex/responses"
LINES = 12
"""Requests under way at once."""
SETTLED_SECONDS = generous(1)
"""After the first refusal has been written down, nobody begins another try."""
SEEN_SECONDS = generous(5)
FAILOVER_SECONDS = generous(0.2)


async def three(simulator: SimulatorProcess, place: Place) -> dict[str, Account]:
    return {
        label: await place.enroll(simulator.new_login(email=f"{label}@example.test"), label=label) for label in LABELS
    }


def hits(simulator: SimulatorProcess, account: Account) -> list[float]:
    """When this account was asked, in Unix seconds."""
    return [
        request["at"]
        for request in simulator.requests(MODEL_PATH)
        if request["headers"].get("chatgpt-account-id") == account.workspace_id
    ]


async def test_accounts_trip_one_after_another_and_only_the_last_is_noticed(simulator: SimulatorProcess, place: Place):
    accounts = await three(simulator, place)
    env = {**place.env, "GPTMOCK_ACCOUNT_POOL": ",".join(LABELS)}
    gate = asyncio.Semaphore(LINES)
    with server_process(place.home, simulator.base_url, workers=WORKERS, env=env) as server:

        async def ask(number: int) -> httpx.Response:
            async with gate, client(server.base_url) as opened:
                return await opened.post(CHAT_PATH, json=chat(f"scene:text {number}"))

        async def trip(label: str, seconds: float) -> float:
            """A hundred requests; the account trips among them. Returns when its limit resets, in Unix seconds."""
            running = [asyncio.ensure_future(ask(number)) for number in range(100)]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            simulator.limit(accounts[label].workspace_id, seconds)
            moment = time.time()
            answers = await asyncio.gather(*running)
            assert {answer.status_code for answer in answers} == ({200} if label != "three" else {200, 429})
            assert [at for at in hits(simulator, accounts[label]) if at > moment + SETTLED_SECONDS] == []
            return moment + seconds

        await until_all_serve(server, WORKERS)
        resets = [await trip("one", 600), await trip("two", 400), await trip("three", 500)]
        for answer in await asyncio.gather(*(ask(number) for number in range(20))):
            assert answer.status_code == 429
            assert answer.json()["error"]["code"] == "usage_limit_reached"
            assert answer.headers["x-should-retry"] == "false"
            assert abs(min(resets) - time.time() - int(answer.headers["retry-after"])) <= 7.5
        handed_over = Counter(line["account"] for line in server.logs("turn.handed_over"))
        assert max(handed_over.values()) <= LINES
        turns = [line for line in server.logs("turn") if line["status"] == 200]
    usual = statistics.median(line["seconds"] for line in turns if line["tries"] == 1)
    failover = max(line["seconds"] - usual for line in turns if line["tries"] > 1)
    report(store=place.kind, handed_over=sorted(handed_over.values()), failover_ms=round(failover * 1000))
    assert failover <= FAILOVER_SECONDS


async def test_a_burst_parks_nobody(simulator: SimulatorProcess, place: Place):
    await place.enroll(simulator.new_login())
    with server_process(place.home, simulator.base_url, env=place.env) as server, client_of(server) as opened:
        simulator.scenes("429-burst")
        refused = opened.post(CHAT_PATH, json=chat())
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert opened.post(CHAT_PATH, json=chat()).status_code == 200
        assert server.logs("account.parked") == []


async def test_counters_are_exact_and_seen_by_another_process(simulator: SimulatorProcess, place: Place):
    account = await place.enroll(simulator.new_login())
    with server_process(place.home, simulator.base_url, workers=WORKERS, env=place.env) as server:
        await until_all_serve(server, WORKERS)
        gate = asyncio.Semaphore(LINES)

        async def ask(number: int) -> dict[str, Any]:
            async with gate, client(server.base_url) as opened:
                text = "scene:429-burst" if number % 10 == 0 else "scene:text"
                answer = await opened.post(CHAT_PATH, json=chat(text))
                return dict(answer.json())

        answers = await asyncio.gather(*(ask(number) for number in range(200)))
        ended = time.monotonic()
        usages = [answer["usage"] for answer in answers if "usage" in answer]
        wanted = {
            "requests": 200,
            "failed": 20,
            "rate_limited": 20,
            "input_tokens": sum(usage["prompt_tokens"] for usage in usages),
            "output_tokens": sum(usage["completion_tokens"] for usage in usages),
        }
        while (seen := await asyncio.to_thread(info, place)) != wanted:
            assert time.monotonic() - ended < SEEN_SECONDS, seen
        seconds = time.monotonic() - ended
        assert len({line["pid"] for line in server.logs("turn")}) == WORKERS
    # Nothing is counted twice when the workers end.
    assert info(place) == wanted
    report(store=place.kind, seen_seconds=round(seconds, 1), account=account.id, **wanted)


def info(place: Place) -> dict[str, int]:
    """Today's counters, as another process sees them."""
    env = plain_environment(**place.env, GPTMOCK_HOME=str(place.home))
    done = subprocess.run(
        [*PROGRAM, "info", "--json"], env=env, cwd=place.home, capture_output=True, check=True, timeout=60
    )
    (account,) = json.loads(done.stdout)["accounts"]
    counted = ("requests", "failed", "rate_limited", "input_tokens", "output_tokens")
    return {name: account["today"].get(name, 0) for name in counted}


def client_of(server: ServerProcess) -> httpx.Client:
    return httpx.Client(base_url=server.base_url, timeout=60, trust_env=False)
