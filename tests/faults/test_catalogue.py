"""The live catalogue over real processes: one of them asks for all, and all of them know."""

from __future__ import annotations

import asyncio

import pytest

from gptmock.catalog import ModelCatalog
from gptmock.gateway.catalogue import LOOK_SECONDS
from tests.faults.state import Place
from tests.harness import (
    CHAT_PATH,
    ServerProcess,
    SimulatorProcess,
    chat,
    client,
    server_process,
    until,
    until_all_serve,
)

pytestmark = pytest.mark.faults
WORKERS = 4
ASKED = "/backend-api/codex/models"
LIVING = [spec.slug for spec in ModelCatalog().living]
CONNECTIONS = 40
"""Each met by whichever worker is free: one of four is missed by all of them once in 25,000 rounds."""


async def listed(server: ServerProcess) -> set[tuple[str, ...]]:
    """What the workers list, asked by so many connections of their own."""

    async def one() -> tuple[str, ...]:
        async with client(server.base_url) as opened:
            document = (await opened.get("/v1/models")).raise_for_status().json()
        return tuple(model["id"] for model in document["data"])

    return set(await asyncio.gather(*(one() for _ in range(CONNECTIONS))))


async def until_all_list(server: ServerProcess, wanted: list[str]) -> None:
    """Wait until every worker lists exactly this, within the time that news may take, and a busy machine's."""
    async with asyncio.timeout(LOOK_SECONDS * 1.2 + 10):
        while await listed(server) != {tuple(wanted)}:  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.1)


async def test_one_worker_asks_for_all_of_them(simulator: SimulatorProcess, place: Place):
    await place.enroll(simulator.new_login())
    # Slow enough for all workers to want it at once.
    simulator.options(models_delay_seconds=1.0)
    with server_process(place.home, simulator.base_url, workers=WORKERS, env=place.env) as server:
        await until_all_serve(server, WORKERS)
        # The built-in models look the same as the first catalogue: its arrival is told by the log only.
        await until(lambda: len(server.logs("catalogue.refreshed")) == 1)
        await until_all_list(server, LIVING)
        assert len(simulator.requests(ASKED)) == 1
        # A change is told by the next reply, to one worker, and then by that one to the others.
        simulator.options(withdrawn_models=["gpt-6-astra"], models_delay_seconds=0.5)
        async with client(server.base_url) as opened:
            for _ in range(10):
                assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
        left = [slug for slug in LIVING if slug != "gpt-6-astra"]
        await until_all_list(server, left)
        assert len(simulator.requests(ASKED)) == 2
        assert [line["models"] for line in server.logs("catalogue.refreshed")] == [14, 13]
    # The next processes know it before they ask, and have no reason to.
    simulator.options(models_delay_seconds=30.0)
    with server_process(place.home, simulator.base_url, workers=WORKERS, env=place.env) as server:
        await until_all_serve(server, WORKERS)
        await until_all_list(server, left)
        assert len(simulator.requests(ASKED)) == 2
