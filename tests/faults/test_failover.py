"""
A master under load dies or freezes, of a Redis behind three sentinels and of a Cluster of three masters with a replica
each: no login is lost, no token spent twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from gptmock.stores.keys import PREFIX
from tests.faults.state import Place, exchanges, load, login_again, report, spent_twice, statuses, times
from tests.faults.test_store_faults import ALL_LOOKED_SECONDS, until_available
from tests.harness import SimulatorProcess, server_process, until_all_serve
from tests.stores.clusters import running_cluster, running_sentinels, wait_for
from tests.stores.servers import RedisServer, binary_of
from tests.timing import generous

pytestmark = pytest.mark.faults
RECOVERY_SECONDS = generous(10.0)


class Topology(Protocol):
    """Servers of which a replica takes over."""

    url: str

    def master_of(self, key: str) -> RedisServer:
        """The server that has a key."""

    def settled(self) -> bool:
        """Whether every replica is in step, and all servers agree."""


@pytest.fixture(params=["sentinel", "cluster"])
def topology(request: pytest.FixtureRequest) -> Iterator[Topology]:
    kind = "valkey" if binary_of("valkey") is not None else "redis"
    if request.param == "sentinel":
        with running_sentinels(kind) as servers:
            yield servers
    else:
        with running_cluster(kind, replicas=3, node_timeout_ms=1000) as nodes:
            yield nodes


@contextmanager
def stopped(server: RedisServer, *, by_kill: bool) -> Iterator[None]:
    """SIGKILL and a new start at the end, or SIGSTOP and SIGCONT."""
    if not by_kill:
        with server.frozen():
            yield
        return
    server.stop()
    yield
    server.start()


def promoted(topology: Topology, key: str, before: RedisServer) -> bool:
    return topology.master_of(key) is not before


@pytest.mark.timeout(900)
async def test_a_failover_under_load_loses_no_login_and_spends_nothing_twice(
    simulator: SimulatorProcess, tmp_path: Path, topology: Topology
):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    place = Place("replicated", home, url=topology.url)
    account = await place.enroll(simulator.new_login())
    # Of the account's own slot: its lease and its tokens are in it.
    key = f"{PREFIX}:lease:acct:{{{account.id}}}:refresh"
    replayed, slowest = spent_twice(simulator), 0.0
    rounds = times(2, 10)
    with server_process(place.home, simulator.base_url, env=place.env) as server:
        await until_all_serve(server, 2)
        for number in range(rounds):
            simulator.reset()
            await place.enroll(login_again(simulator, account, expires_in=200), aged=True)
            seen = await place.version(account.id)
            async with load(server.base_url, lines=2) as made:
                # The token is due, so a refresh is under way when the master stops.
                master = topology.master_of(key)
                began = time.monotonic()
                with stopped(master, by_kill=number % 2 == 0):
                    await asyncio.to_thread(wait_for, partial(promoted, topology, key, master), seconds=30)
                    await place.until_version(account.id, seen + 1, seconds=30)
                    await until_available(server)
                    slowest = max(slowest, time.monotonic() - began)
                # The former master comes back as a replica; while it catches up, the store may refuse writes once more.
                await asyncio.to_thread(wait_for, topology.settled, seconds=60)
                await until_available(server)
            assert set(made.statuses) == {200}, made.bodies[:3]
            assert made.broken == 0
            await asyncio.sleep(ALL_LOOKED_SECONDS)
            simulator.expire()
            # All of them need the refresh. While a replica catches up, the store may refuse writes for a moment.
            async with asyncio.timeout(generous(RECOVERY_SECONDS)):
                while await statuses(server.base_url, 20) != {200: 20}:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            assert exchanges(simulator) == {"ok": 2, "refused": 0}
            assert spent_twice(simulator) == replayed
            assert await place.version(account.id) >= seen + 2
    assert slowest < generous(RECOVERY_SECONDS)
    report(kind=topology.url.partition("://")[0], rounds=rounds, recovery_seconds=round(slowest, 2))
