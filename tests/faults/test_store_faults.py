"""Figures 4, 12 and 14: the store stops, freezes, forgets and lies in the middle of everything."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from redis import Redis

from tests.faults.state import (
    FULL,
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
    tokens_of,
)
from tests.harness import (
    CHAT_PATH,
    ServerProcess,
    SimulatorProcess,
    chat,
    client,
    server_process,
    until_all_serve,
    wait_until_ready,
    write_login,
)
from tests.timing import generous

pytestmark = pytest.mark.faults
FROZEN_SECONDS = 60.0 if FULL else 8.0
FIRST_HIT_SECONDS = generous(0.5)
OPEN_MEDIAN_SECONDS = generous(0.005)
"""On top of what a request takes."""


ALL_LOOKED_SECONDS = 3.0
"""Every worker looks at the store every two seconds, asked or not. One that has not seen the last rotation yet cannot
know that what an emptied store shows is older: an accident in just these seconds costs a replay."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("manner", ["killed", "frozen"])
async def test_redis_stops_between_the_answer_and_the_write(
    simulator: SimulatorProcess, redis_place: Place, manner: str
):
    place, redis = redis_place, redis_place.redis
    assert redis is not None
    stages = Stages(place.home / "stages")
    account = await place.enroll(simulator.new_login())
    replayed, slowest = spent_twice(simulator), 0.0
    with server_process(place.home, simulator.base_url, env={**place.env, **stages.env}, program=STAGED) as server:
        await until_all_serve(server, 2)
        rounds = times(2, 10)
        for _ in range(rounds):
            simulator.reset()
            stages.arm("answered")
            await place.enroll(login_again(simulator, account, expires_in=200), aged=True)
            seen = await place.version(account.id)
            async with load(server.base_url, lines=2) as made:
                await stages.reached("answered")
                if manner == "killed":
                    redis.stop()
                    stages.go()
                    await until_escrowed(place)
                    redis.start()
                else:
                    with redis.frozen():
                        stages.go()
                        await until_escrowed(place)
                returned = time.monotonic()
                await place.until_version(account.id, seen + 1)
                slowest = max(slowest, time.monotonic() - returned)
                await until_available(server)
            assert set(made.statuses) == {200}, made.bodies[:3]
            assert made.broken == 0
            # Else the newer token, refused as well, would be the second and last try of a request.
            await asyncio.sleep(ALL_LOOKED_SECONDS)
            simulator.expire()
            assert await statuses(server.base_url, 20) == {200: 20}
            assert exchanges(simulator) == {"ok": 2, "refused": 0}
        assert spent_twice(simulator) == replayed
    report(manner=manner, rounds=rounds, healed_seconds=round(slowest, 2))


async def until_available(server: ServerProcess) -> None:
    """Wait until every worker has seen that the store is back; somebody has to ask."""
    async with asyncio.timeout(15):
        while len(server.logs("store.available")) < len(server.logs("store.unavailable")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def until_escrowed(place: Place) -> None:
    async with asyncio.timeout(10):
        while not list((place.home / "escrow").glob("[0-9a-f]*")):  # noqa: ASYNC110 - a folder tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.timeout(300)
@pytest.mark.alone
async def test_a_redis_that_freezes_under_load_fails_nobody(simulator: SimulatorProcess, redis_place: Place):
    place, redis = redis_place, redis_place.redis
    assert redis is not None
    await place.enroll(simulator.new_login())
    with server_process(place.home, simulator.base_url, env=place.env) as server:
        await until_all_serve(server, 2)
        async with load(server.base_url, lines=4) as made:
            await asyncio.sleep(2)
            froze = time.monotonic()
            usual = statistics.median(made.since(0))
            with redis.frozen():
                await asyncio.sleep(FROZEN_SECONDS)
                thawed = time.monotonic()
            await until_available(server)
            recovered = time.monotonic() - thawed
        said = server.logs("store.unavailable")
    assert set(made.statuses) == {200}, made.bodies[:3]
    first = max(seconds for began, seconds in made.took if froze - 1 <= began < froze + 3)
    later = [seconds for began, seconds in made.took if froze + 3 <= began < thawed]
    added = statistics.median(later) - usual
    report(
        frozen_seconds=FROZEN_SECONDS,
        requests=sum(made.statuses.values()),
        usual_ms=round(usual * 1000, 1),
        first_hit_ms=round(first * 1000),
        added_p50_ms=round(added * 1000, 1),
        slowest_later_ms=round(max(later) * 1000),
        lines=len(said),
        recovered_seconds=round(recovered, 2),
    )
    assert first <= FIRST_HIT_SECONDS
    assert added <= OPEN_MEDIAN_SECONDS
    # One line for each worker and change of state.
    assert len(said) == len({line["pid"] for line in said}) == 2


async def _emptied(place: Place, _older: dict[bytes, bytes]) -> None:
    assert place.redis is not None
    place.redis.say("FLUSHALL")


async def _restored(place: Place, older: dict[bytes, bytes]) -> None:
    assert place.redis is not None
    with Redis.from_url(place.redis.url) as raw:
        raw.flushall()
        for name, dumped in older.items():
            raw.restore(name, 0, dumped, replace=True)


def dumped(place: Place) -> dict[bytes, bytes]:
    """All records as they rest now."""
    assert place.redis is not None
    with Redis.from_url(place.redis.url) as raw:
        return {name: raw.dump(name) for name in raw.scan_iter(match="gptmock:record:*")}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("accident", [_emptied, _restored], ids=["emptied", "restored"])
async def test_a_redis_that_forgot_is_told_again(
    simulator: SimulatorProcess, redis_place: Place, accident: Callable[..., Any]
):
    place = redis_place
    account = await place.enroll(simulator.new_login())
    replayed, slowest = spent_twice(simulator), 0.0
    with server_process(place.home, simulator.base_url, env=place.env) as server:
        await until_all_serve(server, 2)
        rounds = times(3, 20)
        for _ in range(rounds):
            simulator.reset()
            older = dumped(place)
            await asyncio.sleep(LOOK_SECONDS)
            simulator.expire()
            assert await statuses(server.base_url, 40) == {200: 40}
            kept = await place.version(account.id)
            await asyncio.sleep(ALL_LOOKED_SECONDS)
            async with load(server.base_url, lines=2) as made:
                await accident(place, older)
                began = time.monotonic()
                await place.until_version(account.id, kept)
                slowest = max(slowest, time.monotonic() - began)
                await asyncio.sleep(LOOK_SECONDS)
            assert set(made.statuses) == {200}, made.bodies[:3]
            simulator.expire()
            assert await statuses(server.base_url, 40) == {200: 40}
            assert exchanges(simulator) == {"ok": 2, "refused": 0}
            async with place.opened() as state:
                assert await state.vault.default() == account.id
        assert spent_twice(simulator) == replayed
    assert slowest <= generous(5.0)
    report(accident=accident.__name__, rounds=rounds, healed_seconds=round(slowest, 2))


async def test_a_redis_that_is_emptied_takes_no_spent_login_from_the_file_again(
    simulator: SimulatorProcess, redis_place: Place
):
    """The login came from auth.json, which still holds its first refresh token."""
    place = redis_place
    assert place.redis is not None
    document = simulator.new_login()
    write_login(place.home, document)
    account = tokens_of(document).account
    replayed = spent_twice(simulator)
    with server_process(place.home, simulator.base_url, env=place.env) as server:
        await until_all_serve(server, 2)
        simulator.expire()
        assert await statuses(server.base_url, 40) == {200: 40}
        kept = await place.version(account.id)
        await asyncio.sleep(ALL_LOOKED_SECONDS)
        place.redis.say("FLUSHALL")
        # Nobody asks for anything: the server sees to it by itself.
        await place.until_version(account.id, kept, seconds=30)
        simulator.expire()
        assert await statuses(server.base_url, 40) == {200: 40}
    assert spent_twice(simulator) == replayed
    assert exchanges(simulator) == {"ok": 2, "refused": 0}


async def test_redis_is_away_at_the_start(simulator: SimulatorProcess, redis_place: Place):
    place, redis = redis_place, redis_place.redis
    assert redis is not None
    await place.enroll(simulator.new_login())
    redis.stop()
    with server_process(place.home, simulator.base_url, env=place.env, wait_ready=False) as server:
        async with client(server.base_url) as opened:
            assert await answers(opened, "/health") == 200
            unready = await opened.get("/readyz")
            assert unready.status_code == 503
            assert "Redis cannot be reached." in unready.text
            turn = await opened.post(CHAT_PATH, json=chat("scene:text"))
            assert turn.status_code == 503
            redis.start()
            began = time.monotonic()
            wait_until_ready(server, seconds=15)
            report(ready_seconds=round(time.monotonic() - began, 2))
            # The other worker finds out by itself, within its breaker's pause.
            await until_all_succeed(server.base_url)


async def until_all_succeed(base_url: str) -> None:
    async with asyncio.timeout(15):
        while await statuses(base_url, 20) != {200: 20}:  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.2)


async def answers(opened: httpx.AsyncClient, path: str) -> int:
    """The status of the first answer to come."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(httpx.TransportError):
                return (await opened.get(path)).status_code
            await asyncio.sleep(0.05)
