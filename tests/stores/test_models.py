"""Random sequences of calls (Hypothesis): SQLite and Redis give the same results as ``MemoryStore``."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.redis import RedisStore
from gptmock.stores.sqlite import SqliteStore
from gptmock.stores.store import Addition, FreedSlot, Quota, Store, WantedSlot
from tests.examples import examples

NAMES = ("a", "b", "acct:{7}:tokens")
LONG = 600.0

names = st.sampled_from(NAMES)
owners = st.sampled_from(("me", "you", "they"))
values = st.binary(max_size=8)
versions = st.integers(0, 6)
lives = st.none() | st.just(LONG)
workers = st.integers(0, 1)
amounts = st.dictionaries(st.sampled_from(("n", "m", "")), st.integers(-1000, 1000), max_size=3)
quotas = st.lists(
    st.builds(
        Quota,
        st.sampled_from("nm"),
        st.none() | st.integers(0, 5),
        st.just(LONG),
        st.integers(0, 3),
    ),
    max_size=2,
    unique_by=lambda quota: quota.counter,
)
additions = st.lists(st.builds(Addition, names, amounts, lives), max_size=3)
stamps = st.floats(-1e6, 1e12, allow_nan=False)


class Machine(RuleBasedStateMachine):
    """Each call is made on a store and on the model; two handles on either play two workers."""

    make: ClassVar[Callable[[Path], tuple[Store, Store]]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.looked = 0
        self.directory = Path(tempfile.mkdtemp(prefix="gm-"))
        self.stores = type(self).make(self.directory)
        place = MemoryPlace()
        self.models = (MemoryStore(place), MemoryStore(place))

    def teardown(self) -> None:
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    def alike(self, worker: int, call: Callable[[Store], Awaitable[Any]]) -> None:
        async def both() -> tuple[Any, Any]:
            return await call(self.stores[worker]), await call(self.models[worker])

        found, expected = self.runner.run(both())
        assert found == expected

    @rule(worker=workers, name=names, value=values, expected=versions, life=lives)
    def write(self, worker: int, name: str, value: bytes, expected: int, life: float | None) -> None:
        self.alike(worker, lambda store: store.write(name, value, expected=expected, ttl_seconds=life))

    @rule(worker=workers, name=names, value=values, expected=versions, jump=st.integers(1, 3))
    def write_version(self, worker: int, name: str, value: bytes, expected: int, jump: int) -> None:
        self.alike(worker, lambda store: store.write(name, value, expected=expected, version=expected + jump))

    @rule(worker=workers, name=names, value=values)
    def write_next(self, worker: int, name: str, value: bytes) -> None:
        async def write(store: Store) -> object:
            stands = await store.read(name)
            return await store.write(name, value, expected=stands.version if stands else 0)

        self.alike(worker, write)

    @rule(worker=workers, name=names, expected=st.none() | versions)
    def delete(self, worker: int, name: str, expected: int | None) -> None:
        self.alike(worker, lambda store: store.delete(name, expected=expected))

    @rule(worker=workers, name=names, owner=owners)
    def acquire(self, worker: int, name: str, owner: str) -> None:
        self.alike(worker, lambda store: store.acquire(name, owner, ttl_seconds=LONG))

    @rule(worker=workers, name=names, owner=owners)
    def renew(self, worker: int, name: str, owner: str) -> None:
        self.alike(worker, lambda store: store.renew(name, owner, ttl_seconds=LONG))

    @rule(worker=workers, name=names, owner=owners)
    def release(self, worker: int, name: str, owner: str) -> None:
        self.alike(worker, lambda store: store.release(name, owner))

    @rule(worker=workers, more=additions)
    def add(self, worker: int, more: list[Addition]) -> None:
        self.alike(worker, lambda store: store.add(more))

    @rule(worker=workers, name=names, owner=owners, limit=st.none() | st.integers(0, 3), more=quotas)
    def take_slot(self, worker: int, name: str, owner: str, limit: int | None, more: list[Quota]) -> None:
        async def taken(store: Store) -> tuple[bool, int, list[int]]:
            answer = await store.take_slot(name, owner, limit=limit, ttl_seconds=LONG, quotas=more)
            return answer.taken, answer.slots, [use.used for use in answer.uses]

        self.alike(worker, taken)

    @rule(worker=workers, name=names, owner=owners)
    def extend_slots(self, worker: int, name: str, owner: str) -> None:
        self.alike(worker, lambda store: store.extend_slots(name, [owner, "they"], ttl_seconds=LONG))

    @rule(worker=workers, name=names, owner=owners, more=quotas)
    def free_slot(self, worker: int, name: str, owner: str, more: list[Quota]) -> None:
        self.alike(worker, lambda store: store.free_slot(name, owner, quotas=more))

    @rule(worker=workers, name=names, leaving=owners, coming=owners, more=quotas)
    def exchange_slots(self, worker: int, name: str, leaving: str, coming: str, more: list[Quota]) -> None:
        async def taken(store: Store) -> list[tuple[bool, int, list[int]]]:
            freed = [FreedSlot(name, leaving, more)]
            wanted = [WantedSlot(name, coming, limit, more) for limit in (1, None)]
            answers = await store.exchange_slots(freed, wanted, ttl_seconds=LONG)
            return [(one.taken, one.slots, [use.used for use in one.uses]) for one in answers]

        self.alike(worker, taken)

    @rule(worker=workers, name=names, value=values, keep=st.integers(1, 3))
    def append(self, worker: int, name: str, value: bytes, keep: int) -> None:
        self.alike(worker, lambda store: store.append(name, value, keep=keep))

    @rule(worker=workers, name=names, value=values, stamp=stamps)
    def observe(self, worker: int, name: str, value: bytes, stamp: float) -> None:
        self.alike(worker, lambda store: store.observe(name, value, stamp=stamp, ttl_seconds=LONG))

    @rule(worker=workers)
    def probe(self, worker: int) -> None:
        self.alike(worker, lambda store: store.probe())

    @rule(worker=workers)
    def close(self, worker: int) -> None:
        self.alike(worker, lambda store: store.close())

    @invariant()
    def all_that_can_be_read_is_alike(self) -> None:
        async def everything(store: Store) -> list[object]:
            seen: list[object] = [await store.read_many(NAMES), await store.names("a"), await store.counter_names("a")]
            seen += await store.observed(NAMES)
            for name in NAMES:
                seen += [await store.totals(name), await store.slots_taken(name), await store.entries(name, 3)]
                seen += [use.used for use in await store.quota_uses(name, [Quota("n", None, 9), Quota("m", None, 9)])]
                seen += [await store.lease_left(name, owner) > 0 for owner in ("me", "you", "they")]
            return seen

        # Each handle in turn: what one has written, the other sees.
        self.looked += 1
        self.alike(self.looked % 2, everything)


def _in_sqlite(directory: Path) -> tuple[Store, Store]:
    return SqliteStore(directory / "state.db"), SqliteStore(directory / "state.db")


def _in_redis(_: Path) -> tuple[Store, Store]:
    server = FakeServer()
    one, other = (RedisStore(FakeAsyncRedis(server=server), timeout_seconds=10) for _ in range(2))
    return one, other


class SqliteMachine(Machine):
    make = _in_sqlite


class RedisMachine(Machine):
    make = _in_redis


SOME = settings(max_examples=examples(20), stateful_step_count=20)


TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = SOME
TestRedis = RedisMachine.TestCase
TestRedis.settings = SOME
