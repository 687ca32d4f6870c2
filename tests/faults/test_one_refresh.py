"""Figures 1, 3 and 13: one refresh for all workers, and nothing lost when the one who does it is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from tests.faults.state import (
    LOOK_SECONDS,
    STAGED,
    Place,
    Stages,
    exchanges,
    load,
    login_again,
    report,
    spent_twice,
    statuses,
    times,
)
from tests.harness import SimulatorProcess, server_process, until, until_all_serve

pytestmark = pytest.mark.faults
WORKERS = 4
LEASE_SECONDS = 3.0
"""Instead of 15: the promises are about its end, not about its length."""
STAGES = ("before-lease", "leased", "before-send", "in-flight", "escrowed", "written")


async def test_a_herd_at_expiry_makes_one_exchange_each_time(simulator: SimulatorProcess, place: Place):
    account = await place.enroll(simulator.new_login())
    simulator.options(refresh_delay_seconds=0.15)
    worst = 0.0
    with server_process(place.home, simulator.base_url, workers=WORKERS, env=place.env) as server:
        await until_all_serve(server, WORKERS)
        for number in range(1, times(4, 20) + 1):
            await place.enroll(login_again(simulator, account, expires_in=-5))
            await asyncio.sleep(LOOK_SECONDS)
            began = time.monotonic()
            assert await statuses(server.base_url, WORKERS * 100, stream=number % 2 == 0) == {200: WORKERS * 100}
            worst = max(worst, time.monotonic() - began)
            assert exchanges(simulator) == {"ok": number, "refused": 0}
        assert spent_twice(simulator) == 0
        assert len(server.logs("account.renewed")) == number
    report(store=place.kind, rounds=number, requests=number * WORKERS * 100, slowest_round=round(worst, 2))


async def test_a_herd_of_refused_tokens_makes_one_exchange_and_no_client_sees_it(
    simulator: SimulatorProcess, place: Place
):
    await place.enroll(simulator.new_login())
    with server_process(place.home, simulator.base_url, workers=WORKERS, env=place.env) as server:
        await until_all_serve(server, WORKERS)
        for number in range(1, times(3, 20) + 1):
            await asyncio.sleep(LOOK_SECONDS)
            simulator.expire()
            assert await statuses(server.base_url, 100, stream=number % 2 == 0) == {200: 100}
            assert exchanges(simulator) == {"ok": number, "refused": 0}
    assert spent_twice(simulator) == 0
    report(store=place.kind, rounds=number, requests=number * 100)


@pytest.mark.timeout(900)
async def test_a_refreshing_worker_may_die_anywhere(simulator: SimulatorProcess, place: Place):
    stages = Stages(place.home / "stages")
    account = await place.enroll(simulator.new_login())
    env = {**place.env, **stages.env, "TEST_LEASE_SECONDS": str(LEASE_SECONDS)}
    slowest, broken = dict.fromkeys(STAGES, 0.0), 0
    with server_process(place.home, simulator.base_url, workers=2, env=env, program=STAGED) as server:
        for stage in [stage for stage in STAGES for _ in range(times(1, 10))]:
            await until(lambda: len(server.workers()) == 2, seconds=20)
            simulator.reset()
            simulator.options(refresh_delay_seconds=1.0 if stage == "in-flight" else 0.0)
            replayed = spent_twice(simulator)
            stages.arm(stage)
            # It lives for minutes, but it is due: whoever needs it starts a refresh and does not wait for it.
            await place.enroll(login_again(simulator, account, expires_in=200), aged=True)
            seen = await place.version(account.id)
            async with load(server.base_url, lines=2) as made:
                pid = await stages.reached(stage)
                if stage == "in-flight":
                    await until(lambda: exchanges(simulator)["ok"] == 1)
                os.kill(pid, signal.SIGKILL)
                killed = time.monotonic()
                await place.until_version(account.id, seen + 1, seconds=LEASE_SECONDS * 5)
                slowest[stage] = max(slowest[stage], time.monotonic() - killed)
            stages.go()
            assert set(made.statuses) == {200}, (stage, made.bodies[:3])
            # The connections to the process that was killed, and no others.
            assert made.broken <= 2, stage
            broken += made.broken
            if stage == "in-flight":
                # The issuer had rotated and its answer was on the way: nobody can know; it is found out once.
                assert spent_twice(simulator) == replayed + 1
                continue
            # A request tries two tokens at most: the first must not be one that was renewed meanwhile.
            await asyncio.sleep(LOOK_SECONDS)
            simulator.expire()
            assert await statuses(server.base_url, 20) == {200: 20}
            assert exchanges(simulator) == {"ok": 2, "refused": 0}, stage
            assert spent_twice(simulator) == replayed, stage
    measured = {stage: round(seconds, 2) for stage, seconds in slowest.items()}
    report(store=place.kind, rounds=times(1, 10), broken=broken, healed_seconds=measured)
