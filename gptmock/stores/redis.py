"""
The store contract on Redis (6.2 or newer, or Valkey): one round trip per call, Lua scripts for atomic steps. Knows
nothing of the records' contents.

A command that was sent is never cancelled: if its caller is cancelled, it runs to its own deadline in the background,
so that its connection returns to the pool in a clean state. One that has not been sent when its caller's time is over
is never sent: after an outage it would hold up those that somebody waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from redis import exceptions
from redis.asyncio import Redis, RedisCluster

from gptmock.errors import StoreUnavailable
from gptmock.redis_urls import RedisAddress
from gptmock.stores import redis_clients, redis_scripts
from gptmock.stores.keys import PREFIX, Keys, milliseconds, successor
from gptmock.stores.redis_clients import STALLED
from gptmock.stores.redis_errors import RETRY_AFTER_SECONDS, unavailable
from gptmock.stores.redis_facts import RedisFacts
from gptmock.stores.redis_slots import RedisSlots
from gptmock.stores.store import Addition, FreedSlot, Quota, QuotaUse, Record, SlotAnswer, WantedSlot

T = TypeVar("T")

TIMEOUT_SECONDS = 0.4
SLACK_SECONDS = 0.05
MAX_RUNNING = 32
"""So many connections at most; a command beyond them waits for another to end."""
_LOST = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterError,
    exceptions.RedisClusterException,
)
"""Errors after which the server may be another one than before."""
SCAN_COUNT = 10_000
"""``COUNT`` of ``SCAN``: blocks the server for a millisecond or two; stored responses make many keys."""


class RedisStore:
    """
    ``Store`` on one Redis endpoint, the base of ``RedisSentinelStore`` and ``RedisClusterStore``.

    Args:
        client: without retries and with ``decode_responses=False``; see ``open_redis``.
        prefix: of all key names.
        timeout_seconds: how long a call waits in all, for a connection and for the reply.
        scan_count: ``COUNT`` of the ``SCAN`` behind ``names``.
        max_running: how many commands run at once; the pools of ``client`` do not wait for a free connection.
    """

    def __init__(
        self,
        client: Redis | RedisCluster,
        *,
        prefix: str = PREFIX,
        timeout_seconds: float = TIMEOUT_SECONDS,
        scan_count: int = SCAN_COUNT,
        max_running: int = MAX_RUNNING,
    ) -> None:
        self._client: Any = client  # the commands of both kinds have the same names, but no common type
        self._gate = asyncio.Semaphore(max_running)
        self._keys = Keys(prefix)
        self._timeout_seconds = timeout_seconds
        self._scan_count = scan_count
        self._running: set[asyncio.Future[Any]] = set()
        self._dropping: asyncio.Future[None] | None = None
        self._write = client.register_script(redis_scripts.WRITE)
        self._delete = client.register_script(redis_scripts.DELETE)
        self._renew = client.register_script(redis_scripts.RENEW)
        self._release = client.register_script(redis_scripts.RELEASE)
        self._lease_left = client.register_script(redis_scripts.LEASE_LEFT)
        self._slots = RedisSlots(client, self._keys, by_digest=isinstance(client, Redis))
        self._observe = client.register_script(redis_scripts.OBSERVE)

    async def read(self, name: str) -> Record | None:
        """See ``Store.read``."""
        return (await self.read_many([name]))[0]

    async def read_many(self, names: Sequence[str]) -> list[Record | None]:
        """See ``Store.read_many``."""
        keys = [self._keys.record(name) for name in names]
        if not keys:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, "v", "b")
        rows = await self._run(pipeline.execute())
        return [None if version is None else Record(int(version), value) for version, value in rows]

    async def write(
        self, name: str, value: bytes, *, expected: int, version: int | None = None, ttl_seconds: float | None = None
    ) -> Record | None:
        """See ``Store.write``."""
        ttl = "" if ttl_seconds is None else milliseconds(ttl_seconds)
        stands = await self._run(
            self._write([self._keys.record(name)], [expected, successor(expected, version), value, ttl])
        )
        return None if stands is None else Record(int(stands[0]), stands[1])

    async def delete(self, name: str, *, expected: int | None = None) -> bool:
        """See ``Store.delete``."""
        key = self._keys.record(name)
        if expected is None:
            return bool(await self._run(self._client.delete(key)))
        return bool(await self._run(self._delete([key], [expected])))

    async def names(self, prefix: str) -> list[str]:
        """See ``Store.names``. One round trip for every ``scan_count`` keys of the whole database."""
        return await self._scan("record", prefix)

    async def acquire(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """See ``Store.acquire``."""
        key = self._keys.lease(name)
        return bool(await self._run(self._client.set(key, owner, nx=True, px=milliseconds(ttl_seconds))))

    async def renew(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """See ``Store.renew``."""
        return bool(await self._run(self._renew([self._keys.lease(name)], [owner, milliseconds(ttl_seconds)])))

    async def release(self, name: str, owner: str) -> bool:
        """See ``Store.release``."""
        return bool(await self._run(self._release([self._keys.lease(name)], [owner])))

    async def lease_left(self, name: str, owner: str) -> float:
        """See ``Store.lease_left``."""
        return float(await self._run(self._lease_left([self._keys.lease(name)], [owner]))) / 1000

    async def add(self, additions: Sequence[Addition]) -> None:
        """See ``Store.add``. One ``MULTI`` transaction, so that no counter is left without its TTL."""
        pipeline = self._client.pipeline(transaction=True)
        for addition in additions:
            key = self._keys.counter(addition.name)
            for counter, amount in addition.amounts.items():
                pipeline.hincrby(key, counter, amount)
            if addition.amounts and addition.ttl_seconds is not None:
                pipeline.pexpire(key, milliseconds(addition.ttl_seconds))
            elif addition.amounts:
                pipeline.persist(key)
        if len(pipeline):
            await self._run(pipeline.execute())

    async def totals(self, name: str) -> dict[str, int]:
        """See ``Store.totals``."""
        totals = await self._run(self._client.hgetall(self._keys.counter(name)))
        return {_text(counter): int(total) for counter, total in totals.items()}

    async def counter_names(self, prefix: str) -> list[str]:
        """See ``Store.counter_names``. As expensive as ``names``."""
        return await self._scan("counter", prefix)

    async def take_slot(
        self, name: str, owner: str, *, limit: int | None, ttl_seconds: float, quotas: Sequence[Quota] = ()
    ) -> SlotAnswer:
        """See ``Store.take_slot``."""
        return await self._run(self._slots.take(WantedSlot(name, owner, limit, quotas), ttl_seconds))

    async def extend_slots(self, name: str, owners: Sequence[str], *, ttl_seconds: float) -> None:
        """See ``Store.extend_slots``."""
        await self._run(self._slots.extend(name, owners, ttl_seconds))

    async def free_slot(self, name: str, owner: str, *, quotas: Sequence[Quota] = ()) -> bool:
        """See ``Store.free_slot``."""
        return await self._run(self._slots.free(FreedSlot(name, owner, quotas)))

    async def exchange_slots(
        self, freed: Sequence[FreedSlot], wanted: Sequence[WantedSlot], *, ttl_seconds: float
    ) -> list[SlotAnswer]:
        """See ``Store.exchange_slots``."""
        return await self._run(self._slots.exchange(freed, wanted, ttl_seconds)) if freed or wanted else []

    async def slots_taken(self, name: str) -> int:
        """See ``Store.slots_taken``."""
        return await self._run(self._slots.taken(name))

    async def quota_uses(self, name: str, quotas: Sequence[Quota]) -> list[QuotaUse]:
        """See ``Store.quota_uses``."""
        return await self._run(self._slots.quota_uses(name, quotas))

    async def append(self, name: str, value: bytes, *, keep: int) -> None:
        """See ``Store.append``."""
        key = self._keys.log(name)
        pipeline = self._client.pipeline(transaction=True)
        pipeline.lpush(key, value)
        pipeline.ltrim(key, 0, keep - 1)
        await self._run(pipeline.execute())

    async def entries(self, name: str, count: int) -> list[bytes]:
        """See ``Store.entries``."""
        found: list[Any] = await self._run(self._client.lrange(self._keys.log(name), 0, max(0, count) - 1))
        return found if count > 0 else []

    async def observe(self, name: str, value: bytes, *, stamp: float, ttl_seconds: float) -> bool:
        """See ``Store.observe``."""
        ttl = milliseconds(ttl_seconds)
        return bool(await self._run(self._observe([self._keys.observed(name)], [repr(float(stamp)), value, ttl])))

    async def observe_all(self, values: Mapping[str, bytes], *, stamp: float, ttl_seconds: float) -> None:
        """See ``Store.observe_all``."""
        pipeline = self._client.pipeline(transaction=False)
        for name, value in values.items():
            key, ttl = self._keys.observed(name), milliseconds(ttl_seconds)
            # As text: a Cluster's pipeline knows no script by its digest.
            pipeline.eval(redis_scripts.OBSERVE, 1, key, repr(float(stamp)), value, ttl)
        if values:
            await self._run(pipeline.execute())

    async def observed(self, names: Sequence[str]) -> list[bytes | None]:
        """See ``Store.observed``."""
        keys = [self._keys.observed(name) for name in names]
        if not keys:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.hget(key, "b")
        return list(await self._run(pipeline.execute()))

    async def probe(self) -> None:
        """See ``Store.probe``. Redis refuses any ``SET`` while its memory or disk is full, so a small one is enough."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(self._keys.probe(), b"", px=1000)
        pipeline.delete(self._keys.probe())
        await self._run(pipeline.execute())

    async def describe(self) -> RedisFacts:
        """
        The facts of ``INFO``, for a check at start.

        Raises:
            StoreUnavailable: Redis does not answer. A missing permission for ``INFO`` is no error.
        """
        return facts_of(await self._run(self._info(self._client.info())))

    async def warnings(self) -> list[str]:
        """The warnings of ``describe``."""
        return (await self.describe()).warnings()

    async def close(self) -> None:
        """See ``Store.close``. Waits for running commands first; each has its deadline."""
        if self._running:
            await asyncio.wait(self._running, timeout=(STALLED + 1) * self._timeout_seconds)
        await self._client.aclose()
        await self._disconnect_all()

    async def _disconnect_all(self) -> None:
        await self._client.connection_pool.disconnect()

    async def _disconnect_idle(self) -> None:
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def _scan(self, kind: str, prefix: str) -> list[str]:
        found: set[str] = set()
        cursor = 0
        while True:
            cursor, keys = await self._run(
                self._client.scan(cursor, match=self._keys.like(kind, prefix), count=self._scan_count)
            )
            found.update(self._keys.name(kind, _text(key)) for key in keys)
            if not int(cursor):
                return sorted(name for name in found if name.startswith(prefix))

    async def _info(self, command: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await command
        except exceptions.ResponseError:
            return {}  # not permitted, or unknown to the server

    async def _run(self, command: Coroutine[Any, Any, T]) -> T:
        """
        Run a command in a task of its own, so that cancelling the caller does not interrupt it.

        The timeout is counted in short waits, not by the clock: after the event loop was blocked, a due timer and an
        unread reply arrive together, and Redis must not be blamed for the time in which this process did not run.
        """
        call = _Call(command)
        task = self._track(asyncio.ensure_future(self._in_turn(call)))
        loop, waited = asyncio.get_running_loop(), 0.0
        last = loop.time() + STALLED * self._timeout_seconds
        while not (await asyncio.wait({task}, timeout=SLACK_SECONDS))[0]:
            waited += SLACK_SECONDS
            if waited > self._timeout_seconds or loop.time() > last:
                call.is_given_up = True
                await self._drop_idle()
                raise StoreUnavailable("Redis does not answer in time.", retry_after_seconds=RETRY_AFTER_SECONDS)
        try:
            return task.result()
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
            if isinstance(error, _LOST):
                await self._drop_idle()
            raise unavailable(error) from error

    async def _in_turn(self, call: _Call[T]) -> T:
        async with self._gate:
            if call.is_given_up:
                call.command.close()
                raise asyncio.CancelledError
            return await call.command

    async def _drop_idle(self) -> None:
        """Close idle connections: they would fail one by one too, and after a failover lead to the wrong server."""
        if self._dropping is None or self._dropping.done():
            self._dropping = self._track(asyncio.ensure_future(self._disconnect_idle()))
        await asyncio.wait({self._dropping}, timeout=SLACK_SECONDS)

    def _track(self, task: asyncio.Future[T]) -> asyncio.Future[T]:
        """Hold a reference to a task, and retrieve its exception if its caller was cancelled."""
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()


@dataclass(slots=True)
class _Call(Generic[T]):
    """A command, and whether its caller has given it up."""

    command: Coroutine[Any, Any, T]
    is_given_up: bool = False


def open_redis(
    url: str,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    max_running: int = MAX_RUNNING,
    prefix: str = PREFIX,
    client_name: str = "gptmock",
) -> RedisStore:
    """
    A store at a URL of ``gptmock.redis_urls``; connects when it is first used.

    TLS uses OpenSSL's default certificates and ``SSL_CERT_FILE``; the URL may set others (``?ssl_ca_certs=``) and a
    client certificate (``&ssl_certfile=&ssl_keyfile=``).

    Raises:
        ValueError: the URL is not valid; the message does not repeat it.
    """
    address = RedisAddress.parse(url)
    common: dict[str, Any] = {"timeout_seconds": timeout_seconds, "client_name": client_name}
    options: dict[str, Any] = {"prefix": prefix, "timeout_seconds": timeout_seconds, "max_running": max_running}
    try:
        if address.kind == "cluster":
            from gptmock.stores.redis_cluster import RedisClusterStore  # noqa: PLC0415 - a subclass of the above

            return RedisClusterStore(redis_clients.cluster(address, **common), **options)
        if address.kind == "sentinel":
            from gptmock.stores.redis_sentinel import RedisSentinelStore  # noqa: PLC0415 - as above

            return RedisSentinelStore(redis_clients.sentinel(address, **common), **options)
        return RedisStore(redis_clients.single(address, **common), **options)
    except ValueError:
        raise ValueError("redis-py does not accept the address of Redis; check its options") from None


def facts_of(info: dict[str, Any]) -> RedisFacts:
    """The facts in a reply of ``INFO``."""
    version = info.get("valkey_version") or info.get("redis_version")
    append_only = info.get("aof_enabled")
    return RedisFacts(
        version=None if version is None else str(version),
        role=info.get("role"),
        eviction_policy=info.get("maxmemory_policy"),
        append_only=None if append_only is None else bool(append_only),
    )


def _text(reply: bytes | str) -> str:
    return reply.decode() if isinstance(reply, bytes) else reply
