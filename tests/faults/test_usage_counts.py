"""What was used, as usage, limits and metrics have it after workers were killed: as the simulator has seen it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from gptmock.clients import KeyTerms
from tests.faults.state import Place
from tests.faults.test_metrics import OK, scraped
from tests.harness import CHAT_PATH, ServerProcess, SimulatorProcess, chat, client, server_process, until_all_serve
from tests.metrics.test_metrics import samples

pytestmark = pytest.mark.faults
WORKERS, CALLS = 2, 12
ROUNDS = 2
"""More deaths within a minute end a server."""


async def answered(opened: httpx.AsyncClient, headers: dict[str, str]) -> int:
    """Call the model a few times; the tokens of the answers."""
    answers = await asyncio.gather(
        *(opened.post(CHAT_PATH, json=chat("scene:text"), headers=headers) for _ in range(CALLS))
    )
    return sum(answer.raise_for_status().json()["usage"]["total_tokens"] for answer in answers)


async def usage_of(server: ServerProcess, headers: dict[str, str]) -> tuple[int, int, dict[str, int]]:
    """Requests and tokens by ``/v1/usage``, and what counts against the limits."""
    async with client(server.base_url) as opened:
        document = (await opened.get("/v1/usage", headers=headers)).raise_for_status().json()
    total = document["total"]
    limits = {one["kind"]: one["used"] for one in document["limits"]}
    return total["requests"], total["input_tokens"] + total["output_tokens"], limits


async def until_limited(server: ServerProcess, headers: dict[str, str], tokens: int) -> None:
    """Wait until so many tokens count against the limits, which is some hundredths of a second after the answers."""
    async with asyncio.timeout(20):
        while (await usage_of(server, headers))[2]["tokens_per_day"] < tokens:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)


async def test_turns_that_were_answered_are_counted_once_whoever_is_killed(simulator: SimulatorProcess, home: Path):
    place = Place("sqlite", home)
    async with place.opened() as state:
        issued = await state.keys.create("ada", KeyTerms(rpm=10_000, tokens_per_day=10**9))
    headers = {"authorization": f"Bearer {issued.text.reveal()}"}
    tokens = 0
    with server_process(home, simulator.base_url, workers=WORKERS, env=place.env) as server:
        for killed in range(ROUNDS):
            await until_all_serve(server, (killed + 1) * WORKERS)
            async with client(server.base_url) as opened:
                stalled = opened.stream("POST", CHAT_PATH, json=chat("scene:stall:60", stream=True), headers=headers)
                async with stalled as cut:
                    received = cut.aiter_bytes()
                    assert await anext(received)
                    tokens += await answered(opened, headers)
                    await until_limited(server, headers, tokens)
                    for pid in server.workers():
                        os.kill(pid, signal.SIGKILL)
        await until_all_serve(server, (ROUNDS + 1) * WORKERS)
        sent = len(simulator.requests("/backend-api/codex/responses"))
        settled = sent - ROUNDS
        async with asyncio.timeout(20):
            while (await usage_of(server, headers))[0] < settled:  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.1)
        # Nothing is added a second time.
        await asyncio.sleep(2.5)
        requests, used, limits = await usage_of(server, headers)
        told = samples(await scraped(server))
    assert (requests, used) == (settled, tokens)
    assert limits == {"requests": sent, "tokens_per_day": tokens}
    assert told["gptmock_turns_total", OK] == settled == ROUNDS * CALLS
