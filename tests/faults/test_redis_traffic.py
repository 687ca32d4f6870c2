"""What turns ask of Redis, counted by Redis itself: limits are looked at, all else is known or written later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
import redis.asyncio

from gptmock.clients import KeyTerms
from tests.faults.state import Place
from tests.harness import CHAT_PATH, SimulatorProcess, chat, client, server_process

pytestmark = [pytest.mark.faults, pytest.mark.alone]
TURNS = 100
IDLE_SECONDS = 4.0
BESIDE_RATE = 50.0
"""Commands a second that turns cause, however many turns there are."""


async def commands(url: str) -> int:
    """All commands that the server has processed, ours among them."""
    async with redis.asyncio.Redis.from_url(url) as connection:
        found: Mapping[str, int] = await connection.info("stats")
        return found["total_commands_processed"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("pool", "limits", "most"),
    [
        # The standings, ten times a second at most, and the counters once a second: nothing for each turn.
        ("", {}, 0.0),
        # Two scripts, with the commands in them: the admission, and after the turn the settlement.
        ("", {"rpm": 10_000, "concurrency": 9, "tokens_per_day": 10**9, "tokens_per_week": 10**9}, 28.0),
        # One pipeline of five reads, for two accounts and the conversation; and a script of four commands that notes
        # where it was served, which nobody waits for.
        ("ada,bob", {}, 10.0),
    ],
    ids=["one account", "a limited key", "a pool of two"],
)
async def test_a_turn_awaits_one_round_trip_at_most(
    simulator: SimulatorProcess, redis_place: Place, pool: str, limits: dict[str, Any], most: float
):
    assert redis_place.redis is not None
    for label in ("ada", "bob"):
        await redis_place.enroll(simulator.new_login(), label=label)
    async with redis_place.opened() as state:
        key = await state.keys.create("team", KeyTerms(**limits))
    env = {**redis_place.env, **({"GPTMOCK_ACCOUNT_POOL": pool} if pool else {})}
    headers = {"authorization": f"Bearer {key.text.reveal()}"}
    with server_process(redis_place.home, simulator.base_url, workers=1, env=env) as server:
        async with client(server.base_url, headers=headers) as opened:
            assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
            await asyncio.sleep(2.0)
            before, began = await commands(redis_place.redis.url), time.monotonic()
            await asyncio.sleep(IDLE_SECONDS)
            idle_rate = (await commands(redis_place.redis.url) - before) / (time.monotonic() - began)
            before, began = await commands(redis_place.redis.url), time.monotonic()
            for _ in range(TURNS):
                assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
            taken = await commands(redis_place.redis.url) - before
            beside = (idle_rate + BESIDE_RATE) * (time.monotonic() - began + 1.0)
    assert (taken - beside) / TURNS <= most, f"{taken} commands, {idle_rate:.1f}/s without a turn"
