"""
The store contract on Redis (6.2 or newer, or Valkey): one round trip per call, Lua scripts for atomic steps. Knows
nothing of the records' contents.

A command that was sent is never cancelled: if its caller is cancelled, it runs to its own deadline in the background,
so that its connection returns to the pool in a clean state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gptmock.errors import StoreUnavailable
from gptmock.stores import redis_scripts
from gptmock.stores.keys import PREFIX, Keys, milliseconds, successor
from gptmock.stores.store import Addition, Record

T = TypeVar("T")

TIMEOUT_SECONDS = 0.4
SLACK_SECONDS = 0.05
STALLED = 5
"""A call lasts at most this many timeouts when this process itself is held up (a busy event loop)."""
RETRY_AFTER_SECONDS = 1.0
MAX_CONNECTIONS = 32
HEALTH_CHECK_SECONDS = 30
SCAN_COUNT = 10_000
"""``COUNT`` of ``SCAN``: blocks the server for a millisecond or two; stored responses make many keys."""

_REASONS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (exceptions.BusyLoadingError, "is still loading its data"),
    ((exceptions.AuthenticationError, exceptions.AuthorizationError), "refuses the password or user"),
    (exceptions.NoPermissionError, "does not allow its user a command that is needed"),
    ((exceptions.TimeoutError, TimeoutError), "does not answer in time"),
    (exceptions.MaxConnectionsError, "has no free connection"),
    ((exceptions.ConnectionError, OSError), "cannot be reached"),
    (exceptions.ReadOnlyError, "is a read-only replica"),
    (exceptions.OutOfMemoryError, "is out of memory"),
    (exceptions.InvalidResponse, "does not speak the Redis protocol"),
)
"""The reason for each exception of redis-py; the first match counts, so subclasses stand before their bases."""
_CODES = {
    "BUSY": "is busy with another program's script",
    "CLUSTERDOWN": "is a cluster that is down",
    "LOADING": "is still loading its data",
    "MASTERDOWN": "is a replica that has lost its master",
    "MISCONF": "cannot save to its disk and takes no writes",
    "MOVED": "is a cluster; one endpoint is needed",
    "NOAUTH": "asks for a password",
    "NOREPLICAS": "has too few replicas to take writes",
    "OOM": "is out of memory",
    "READONLY": "is a read-only replica",
    "WRONGPASS": "refuses the password or user",
}
"""The reason for each error reply of Redis, by its first word."""


def unavailable(error: BaseException) -> StoreUnavailable:
    """Translate an exception of redis-py. Its text is not repeated, since it may hold keys and values."""
    cause = error.__cause__
    if isinstance(error, exceptions.ConnectionError) and isinstance(cause, exceptions.RedisError | TimeoutError):
        # redis-py wraps errors that occur while it connects or waits for a connection.
        return unavailable(cause)
    reason = next((text for types, text in _REASONS if isinstance(error, types)), None)
    if reason is None:
        # redis-py writes "Command # 1 (...) of pipeline caused error: ('" before a reply, and Redis 6 writes
        # "ERR Error running script (...): " before that of a command in a script, whose code then has a dash.
        text = str(error).rpartition(" of pipeline caused error: ")[2].lstrip("(\"'")
        first, *others = text.split() or [""]
        codes = [first, *(word[1:] for word in others if word.startswith("-"))]
        reason = next((_CODES[code] for code in codes if code in _CODES), "refused a command")
    return StoreUnavailable(f"Redis {reason}.", retry_after_seconds=RETRY_AFTER_SECONDS)


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """Facts of ``INFO``; ``None`` for those that this user may not read."""

    version: str | None = None
    role: str | None = None
    eviction_policy: str | None = None
    append_only: bool | None = None

    @property
    def evicts_tokens(self) -> bool:
        """Whether Redis may evict records when its memory is full."""
        return (self.eviction_policy or "").startswith("allkeys-")

    def warnings(self) -> list[str]:
        """What an operator should change, one entry for each problem."""
        found: list[str] = []
        if self.evicts_tokens:
            found.append(
                f"Redis evicts any key when its memory is full (maxmemory-policy {self.eviction_policy}): logins would "
                "be lost. Set maxmemory-policy noeviction."
            )
        elif (self.eviction_policy or "").startswith("volatile-"):
            found.append(
                f"Redis evicts keys that expire when its memory is full (maxmemory-policy {self.eviction_policy}): "
                "limits would be forgotten. Set maxmemory-policy noeviction."
            )
        if self.append_only is False:
            found.append(
                "Redis keeps no append-only file: a restart loses logins that were renewed since its last snapshot. "
                "Set appendonly yes."
            )
        if self.role not in (None, "master"):
            found.append("This Redis is a replica: it takes no writes. Use the address of its master.")
        return found


class RedisStore:
    """
    ``Store`` on one Redis endpoint.

    Args:
        client: with a bounded, blocking pool, without retries and with ``decode_responses=False``; see ``open_redis``.
        prefix: of all key names.
        timeout_seconds: how long a call waits in all, for a connection and for the reply.
        scan_count: ``COUNT`` of the ``SCAN`` behind ``names``.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str = PREFIX,
        timeout_seconds: float = TIMEOUT_SECONDS,
        scan_count: int = SCAN_COUNT,
    ) -> None:
        self._client = client
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
        self._take_slot = client.register_script(redis_scripts.TAKE_SLOT)
        self._slots_taken = client.register_script(redis_scripts.SLOTS_TAKEN)
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

    async def take_slot(self, name: str, owner: str, *, limit: int | None, ttl_seconds: float) -> bool:
        """See ``Store.take_slot``."""
        bound = "" if limit is None else limit
        ttl = milliseconds(ttl_seconds)
        return bool(await self._run(self._take_slot([self._keys.slots(name)], [owner, bound, ttl])))

    async def free_slot(self, name: str, owner: str) -> None:
        """See ``Store.free_slot``."""
        await self._run(self._client.zrem(self._keys.slots(name), owner))

    async def slots_taken(self, name: str) -> int:
        """See ``Store.slots_taken``."""
        return int(await self._run(self._slots_taken([self._keys.slots(name)])))

    async def observe(self, name: str, value: bytes, *, stamp: float, ttl_seconds: float) -> bool:
        """See ``Store.observe``."""
        ttl = milliseconds(ttl_seconds)
        return bool(await self._run(self._observe([self._keys.observed(name)], [repr(float(stamp)), value, ttl])))

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
        info = await self._run(self._info())
        version = info.get("valkey_version") or info.get("redis_version")
        append_only = info.get("aof_enabled")
        return RedisFacts(
            version=None if version is None else str(version),
            role=info.get("role"),
            eviction_policy=info.get("maxmemory_policy"),
            append_only=None if append_only is None else bool(append_only),
        )

    async def warnings(self) -> list[str]:
        """The warnings of ``describe``."""
        return (await self.describe()).warnings()

    async def close(self) -> None:
        """See ``Store.close``. Waits for running commands first; each has its deadline."""
        if self._running:
            await asyncio.wait(self._running, timeout=(STALLED + 1) * self._timeout_seconds)
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

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

    async def _info(self) -> dict[str, Any]:
        try:
            return await self._client.info()
        except exceptions.ResponseError:
            return {}  # not permitted, or unknown to the server

    async def _run(self, command: Awaitable[T]) -> T:
        """
        Run a command in a task of its own, so that cancelling the caller does not interrupt it.

        The timeout is counted in short waits, not by the clock: after the event loop was blocked, a due timer and an
        unread reply arrive together, and Redis must not be blamed for the time in which this process did not run.
        """
        task = self._track(asyncio.ensure_future(command))
        loop, waited = asyncio.get_running_loop(), 0.0
        last = loop.time() + STALLED * self._timeout_seconds
        while not (await asyncio.wait({task}, timeout=SLACK_SECONDS))[0]:
            waited += SLACK_SECONDS
            if waited > self._timeout_seconds or loop.time() > last:
                await self._drop_idle()
                raise StoreUnavailable("Redis does not answer in time.", retry_after_seconds=RETRY_AFTER_SECONDS)
        try:
            return task.result()
        except (exceptions.RedisError, OSError) as error:
            if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | exceptions.ReadOnlyError):
                await self._drop_idle()
            raise unavailable(error) from error

    async def _drop_idle(self) -> None:
        """Close idle connections: they would fail one by one too, and after a failover lead to the wrong server."""
        if self._dropping is None or self._dropping.done():
            pool = self._client.connection_pool
            self._dropping = self._track(asyncio.ensure_future(pool.disconnect(inuse_connections=False)))
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


def open_redis(
    url: str,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    max_connections: int = MAX_CONNECTIONS,
    prefix: str = PREFIX,
    client_name: str = "gptmock",
) -> RedisStore:
    """
    A store at ``redis://``, ``rediss://`` or ``unix://``; connects when it is first used.

    TLS uses OpenSSL's default certificates and ``SSL_CERT_FILE``; the URL may set others (``?ssl_ca_certs=``).

    Raises:
        ValueError: the URL is not valid; the message does not repeat it.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            # ``RedisStore._run`` has the caller's timeout; these longer ones end commands whose caller has left.
            timeout=STALLED * timeout_seconds,
            socket_timeout=STALLED * timeout_seconds,
            socket_connect_timeout=STALLED * timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=HEALTH_CHECK_SECONDS,
            client_name=client_name,
            decode_responses=False,
            protocol=2,  # RESP2 needs no HELLO, so a new connection is ready sooner
            driver_info=None,
        )
    except ValueError:
        raise ValueError("the address of Redis begins with redis://, rediss:// or unix://") from None
    return RedisStore(Redis(connection_pool=pool), prefix=prefix, timeout_seconds=timeout_seconds)


def _text(reply: bytes | str) -> str:
    return reply.decode() if isinstance(reply, bytes) else reply
