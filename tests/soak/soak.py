"""
Soaks a server: load with faults for some minutes, and every second what its workers hold.

    python -m tests.soak                    ten minutes, then ten with a Redis that freezes for two of them
    python -m tests.soak --seconds 60       the same, scaled
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.state import Place, a_redis
from tests.harness import SimulatorProcess, open_files, server_process, simulator_process
from tests.soak.load import Load
from tests.stores.servers import RedisServer

WORKERS = 2
STREAMS = 50
PER_SECOND = 10.0
PACE_SECONDS = 0.005
WARM_SHARE = 0.3
"""Of the time, until memory is looked at: caches, pools and the allocator fill up first."""
SAMPLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one worker holds."""

    at: float
    resident_kb: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a soak."""

    seconds: float
    outcomes: Counter[str]
    wrong: list[str]
    errors: list[str]
    """Log lines of level error."""
    growth_kb: dict[int, float]
    """By worker: its resident memory at the end less that after the warm-up, by the line through all samples."""
    descriptors: dict[int, tuple[int, int]]
    """By worker, without load: before and after."""
    redis_connections: int | None

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        rows = [f"{self.seconds:.0f} s: {counted}; wrong: {len(self.wrong)}, errors in the log: {len(self.errors)}"]
        for worker, growth in self.growth_kb.items():
            before, after = self.descriptors[worker]
            per_ten = growth * 600 / (self.seconds * (1 - WARM_SHARE))
            rows.append(
                f"  worker {worker}: memory {growth:+.0f} kB ({per_ten:+.0f} kB in 10 minutes), "
                f"descriptors {before} -> {after}"
            )
        if self.redis_connections is not None:
            rows.append(f"  connections of Redis: {self.redis_connections}")
        return "\n".join(rows)


async def soak(
    simulator: SimulatorProcess, place: Place, *, seconds: float, frozen_share: float = 0.0, streams: int = STREAMS
) -> Report:
    """
    Put load on a new server.

    Args:
        simulator: the backend behind it.
        place: where its state rests.
        seconds: how long.
        frozen_share: of the time, in the middle, that Redis does not answer.
        streams: at any time.
    """
    await place.enroll(simulator.new_login())
    simulator.options(pace_seconds=PACE_SECONDS)
    with server_process(place.home, simulator.base_url, workers=WORKERS, env=place.env) as server:
        # Each worker has answered, and opened what it keeps open.
        await Load(server.base_url, streams, PER_SECOND, seed=1).run(3.0)
        await asyncio.sleep(1.0)
        before = {worker: _sample(worker, 0.0).descriptors for worker in server.workers()}
        load = Load(server.base_url, streams, PER_SECOND, seed=20261128)
        samples: dict[int, list[Sample]] = {worker: [] for worker in before}
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(samples))
            if frozen_share and place.redis is not None:
                tasks.create_task(_freeze(place.redis, seconds, frozen_share))
            await load.run(seconds)
            watching.cancel()
        await _until_quiet(before, streams)
        return Report(
            seconds=seconds,
            outcomes=load.outcomes,
            wrong=load.wrong,
            errors=[line["event"] for line in server.logs() if line["level"] == "error"],
            growth_kb={worker: _growth(some, seconds) for worker, some in samples.items()},
            descriptors={worker: (count, _sample(worker, 0.0).descriptors) for worker, count in before.items()},
            redis_connections=None if place.redis is None else place.redis.say("CLIENT", "LIST").count(b"id="),
        )


async def _until_quiet(before: dict[int, int], streams: int) -> None:
    """Wait until nothing of a turn is left; kept connections, at most one for each stream, are."""
    with suppress(TimeoutError):
        async with asyncio.timeout(15):
            while any(_sample(worker, 0.0).descriptors > count + streams for worker, count in before.items()):  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def _watch(samples: dict[int, list[Sample]]) -> None:
    began = asyncio.get_running_loop().time()
    while True:
        for worker, some in samples.items():
            some.append(_sample(worker, asyncio.get_running_loop().time() - began))
        await asyncio.sleep(SAMPLE_SECONDS)


def _sample(worker: int, at: float) -> Sample:
    status = Path(f"/proc/{worker}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return Sample(at, int(resident.split()[1]), len(open_files(worker)))


def _growth(samples: Sequence[Sample], seconds: float) -> float:
    warm = [sample for sample in samples if sample.at >= seconds * WARM_SHARE]
    line = statistics.linear_regression([one.at for one in warm], [one.resident_kb for one in warm])
    return line.slope * (warm[-1].at - warm[0].at)


async def _freeze(redis: RedisServer, seconds: float, share: float) -> None:
    await asyncio.sleep(seconds * (0.5 - share / 2))
    with redis.frozen():
        await asyncio.sleep(seconds * share)


def _show(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program's own output


async def main(seconds: float) -> int:
    """Both soaks; prints a report of each. Returns the exit code."""
    is_well = True
    with simulator_process() as simulator, tempfile.TemporaryDirectory() as folder:
        for name, frozen in (("embedded store", 0.0), ("Redis, frozen for a fifth of the time", 0.2)):
            home = Path(folder) / name.split()[0].strip(",")
            home.mkdir(mode=0o700)
            _show(f"soak: {name}, {seconds:.0f} s ...")
            simulator.reset()
            if frozen:
                with a_redis() as redis:
                    report = await soak(simulator, Place("redis", home, redis), seconds=seconds, frozen_share=frozen)
            else:
                report = await soak(simulator, Place("sqlite", home), seconds=seconds)
            _show("\n".join([str(report), *report.wrong[:5]]))
            is_well = is_well and not report.wrong and not report.errors
    return 0 if is_well else 1
