"""
``RedisStore`` on the master that sentinels name. A version of a lasting record and a lease wait for a replica; see
``replicas.py``.
"""

from __future__ import annotations

from typing import Any

from gptmock.stores.keys import milliseconds, successor
from gptmock.stores.redis import RedisStore
from gptmock.stores.replicas import WAIT_MILLISECONDS, Confirmations
from gptmock.stores.store import Record


class RedisSentinelStore(RedisStore):
    """``Store`` on a master behind Sentinel; its client has a ``SentinelConnectionPool``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._confirmations = Confirmations()

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
        if not self._confirmations.expected():
            return (await self._run(pipeline.execute()))[0]
        pipeline.execute_command("WAIT", 1, WAIT_MILLISECONDS)
        answer, replicas = await self._run(pipeline.execute())
        self._confirmations.count(replicas)
        return answer

    async def _disconnect_all(self) -> None:
        await super()._disconnect_all()
        await self._client.connection_pool.sentinel_manager.aclose()
