"""
``RedisStore`` on a Redis Cluster: what differs when the keys lie on several nodes.

Every script and transaction of the store touches keys of one slot. Reads of several keys are split by node; a round
trip then goes to each of these nodes at once. Only masters are asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from gptmock.stores import redis_scripts
from gptmock.stores.keys import milliseconds
from gptmock.stores.redis import RedisStore, facts_of
from gptmock.stores.redis_facts import RedisFacts, weakest
from gptmock.stores.store import Addition


class RedisClusterStore(RedisStore):
    """``Store`` on a Redis Cluster; its client is a ``RedisCluster``."""

    async def add(self, additions: Sequence[Addition]) -> None:
        """
        See ``Store.add``. Atomic for each name, as the names lie on several nodes: if a node fails, the additions of
        the others are kept.
        """
        pipeline = self._client.pipeline()
        for addition in additions:
            if addition.amounts:
                ttl = "" if addition.ttl_seconds is None else milliseconds(addition.ttl_seconds)
                pairs = [part for pair in addition.amounts.items() for part in pair]
                pipeline.eval(redis_scripts.ADD, 1, self._keys.counter(addition.name), ttl, *pairs)
        if len(pipeline):
            await self._run(pipeline.execute())

    async def append(self, name: str, value: bytes, *, keep: int) -> None:
        """See ``Store.append``."""
        await self._run(self._client.eval(redis_scripts.APPEND, 1, self._keys.log(name), value, keep))

    async def describe(self) -> RedisFacts:
        """The weakest facts of all masters; see ``RedisStore.describe``."""
        found = [await self._run(self._info(self._client.info(target_nodes=node))) for node in await self._masters()]
        return weakest([facts_of(info) for info in found])

    async def _scan(self, kind: str, prefix: str) -> list[str]:
        found: set[str] = set()
        for node in await self._masters():
            cursor = 0
            while True:
                cursors, keys = await self._run(
                    self._client.scan(
                        cursor, match=self._keys.like(kind, prefix), count=self._scan_count, target_nodes=node
                    )
                )
                found.update(self._keys.name(kind, key.decode()) for key in keys)
                cursor = int(cursors[node.name])
                if not cursor:
                    break
        return sorted(name for name in found if name.startswith(prefix))

    async def _masters(self) -> list[Any]:
        await self._run(self._client.initialize())
        return list(self._client.get_primaries())

    async def _disconnect_all(self) -> None:
        await asyncio.gather(*(node.disconnect() for node in self._client.get_nodes()), return_exceptions=True)

    async def _disconnect_idle(self) -> None:
        await asyncio.gather(*(node.disconnect_free_connections() for node in self._client.get_nodes()))
