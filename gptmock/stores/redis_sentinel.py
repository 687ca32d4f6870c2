"""
``RedisStore`` on the master that sentinels name: its replication is asynchronous, so a failover loses what no replica
has. A version of a lasting record and a lease count as written when a replica has them too: the promoted replica is the
one that is furthest ahead, so neither is lost, and no refresh token is spent a second time.
"""

from __future__ import annotations

import time
from typing import Any

from gptmock.stores.keys import milliseconds, successor
from gptmock.stores.redis import RedisStore
from gptmock.stores.store import Record

WAIT_MILLISECONDS = 100
"""How long a replica has to confirm. Without a confirmation the write stands: there may be no replica at all."""
ALONE_SECONDS = 1.0
"""After a write that no replica confirmed, the next ones do not wait."""


class RedisSentinelStore(RedisStore):
    """``Store`` on a master behind Sentinel; its client has a ``SentinelConnectionPool``."""

    _alone_until = 0.0

    async def write(
        self, name: str, value: bytes, *, expected: int, version: int | None = None, ttl_seconds: float | None = None
    ) -> Record | None:
        """See ``Store.write``. A record with a time to live does not wait for a replica."""
        if ttl_seconds is not None:
            return await super().write(name, value, expected=expected, version=version, ttl_seconds=ttl_seconds)
        pipeline = self._client.pipeline(transaction=False)
        await self._write([self._keys.record(name)], [expected, successor(expected, version), value, ""], pipeline)
        stands = await self._confirmed(pipeline)
        return None if stands is None else Record(int(stands[0]), stands[1])

    async def acquire(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """See ``Store.acquire``."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(self._keys.lease(name), owner, nx=True, px=milliseconds(ttl_seconds))
        return bool(await self._confirmed(pipeline))

    async def _confirmed(self, pipeline: Any) -> Any:
        """Run one command and wait for a replica on the same connection. If the master dies, the call fails."""
        if time.monotonic() < self._alone_until:
            return (await self._run(pipeline.execute()))[0]
        pipeline.execute_command("WAIT", 1, WAIT_MILLISECONDS)
        answer, replicas = await self._run(pipeline.execute())
        if not replicas:
            self._alone_until = time.monotonic() + ALONE_SECONDS
        return answer

    async def _disconnect_all(self) -> None:
        await super()._disconnect_all()
        await self._client.connection_pool.sentinel_manager.aclose()
