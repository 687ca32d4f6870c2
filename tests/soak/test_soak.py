"""The soak, scaled: a leak of one object in each turn shows in minutes only, one of a connection shows here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.state import Place, a_redis
from tests.harness import SimulatorProcess, simulator_process
from tests.soak.soak import Report, soak

pytestmark = pytest.mark.faults
SECONDS = 10.0
STREAMS = 20


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with simulator_process() as running:
        yield running


def judge(report: Report) -> None:
    assert report.wrong == []
    assert report.errors == []
    assert report.outcomes["complete"] > 50
    assert report.outcomes["told to be broken"] > 0
    for before, after in report.descriptors.values():
        # A worker keeps as many connections to the upstream as it had streams at one time.
        assert after <= before + STREAMS
    # Generous: the allocator of a short run is not yet at rest.
    assert max(report.growth_kb.values()) < 8 * 1024


async def test_the_embedded_store(simulator: SimulatorProcess, tmp_path: Path):
    simulator.reset()
    judge(await soak(simulator, Place("sqlite", tmp_path), seconds=SECONDS, streams=STREAMS))


async def test_a_redis_that_freezes_for_a_fifth_of_the_time(simulator: SimulatorProcess, tmp_path: Path):
    simulator.reset()
    with a_redis() as redis:
        report = await soak(
            simulator, Place("redis", tmp_path, redis), seconds=SECONDS, streams=STREAMS, frozen_share=0.2
        )
    judge(report)
    assert report.redis_connections is not None
    assert report.redis_connections < 60
