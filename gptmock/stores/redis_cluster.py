"""
``RedisStore`` on a Redis Cluster: what differs when the keys lie on several nodes.

Every script and transaction of the store touches keys of one slot. Reads of several keys are split by node; a round
trip then goes to each of these nodes at once. Only masters are asked. A version of a lasting record and a lease wait
for a replica of their master; see ``replicas.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from gptmock.stores import redis_scripts
from gptmock.stores.keys import milliseconds, successor
from gptmock.stores.redis import RedisStore, facts_of
from gptmock.stores.redis_facts import RedisFacts, weakest
from gptmock.stores.replicas import WAIT_MILLISECONDS, Confirmations
from gptmock.stores.store import Addition, Record

PROBES_PER_MASTER = 16
"""How many keys are tried to find one in a slot of each master."""


class RedisClusterStore(RedisStore):
    """``Store`` on a Redis Cluster; its client is a ``ClusterClient``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._confirmations = Confirmations()

    async def write(
        self, name: str, value: bytes, *, expected: int, version: int | None = None, ttl_seconds: float | None = None
    ) -> Record | None:
        """See ``Store.write``. A record with a time to live does not wait for a replica."""
        if ttl_seconds is not None:
            return await super().write(name, value, expected=expected, version=version, ttl_seconds=ttl_seconds)
        key = self._keys.record(name)
        words = ("EVAL", redis_scripts.WRITE, 1, key, expected, successor(expected, version), value, "")
        stands = await self._run(self._confirmed(key, words))
        return None if stands is None else Record(int(stands[0]), stands[1])

    async def acquire(self, name: str, owner: str, *, ttl_seconds: float) -> bool:
        """See ``Store.acquire``."""
        key = self._keys.lease(name)
        words = ("SET", key, owner, "NX", "PX", milliseconds(ttl_seconds))
        return bool(await self._run(self._confirmed(key, words)))

    async def probe(self) -> None:
        """See ``Store.probe``. Every master is probed: the store is not available while one of them is not."""
        await self._run(self._probe_masters())

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

    async def _probe_masters(self) -> None:
        await self._client.initialize()
        masters = {node.name for node in self._client.get_primaries()}
        pipeline = self._client.pipeline(transaction=False)
        for number in range(PROBES_PER_MASTER * len(masters)):
            key = self._keys.probe(number)
            node = self._client.get_node_from_key(key)
            if node.name in masters:
                masters.remove(node.name)
                pipeline.set(key, b"", px=1000)
            if not masters:
                break
        await pipeline.execute()

    async def _confirmed(self, key: str, words: tuple[Any, ...]) -> Any:
        """Run one command and wait for a replica on the same connection. If the master dies, the call fails."""
        await self._client.initialize()
        node = self._client.get_node_from_key(key)
        if not self._confirmations.expected(node.name):
            return await self._client.execute_command(*words)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.execute_command(*words)
        pipeline.execute_command("WAIT", 1, WAIT_MILLISECONDS, target_nodes=node)
        answer, replicas = await pipeline.execute(raise_on_error=False)
        if isinstance(answer, Exception):
            raise answer
        # After a redirection the master's replicas have not confirmed anything, whatever those of the other one say.
        if self._client.get_node_from_key(key) is node and isinstance(replicas, int):
            self._confirmations.count(replicas, node.name)
        return answer

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
        # The URL's own nodes have connections too, over which the map of the slots was read.
        nodes = [*self._client.get_nodes(), *self._client.startup_nodes]
        await asyncio.gather(*(node.disconnect() for node in nodes), return_exceptions=True)

    async def _disconnect_idle(self) -> None:
        """Also read the map of the slots again: a replica may have been promoted."""
        await asyncio.gather(*(node.disconnect_free_connections() for node in self._client.get_nodes()))
        await self._client.reread()
