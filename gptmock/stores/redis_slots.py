"""
Slots and quotas in Redis: the calls of their scripts. Knows no deadline and no error of the store; ``RedisStore`` adds
both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from redis import exceptions
from redis.asyncio import Redis, RedisCluster

from gptmock.stores import redis_scripts
from gptmock.stores.keys import Keys, milliseconds
from gptmock.stores.store import SETTLED_SECONDS, FreedSlot, Quota, QuotaUse, SlotAnswer, WantedSlot

_SETTLED = milliseconds(SETTLED_SECONDS)


class RedisSlots:
    """
    The slots of one store.

    Args:
        client: of the store.
        keys: the names of its keys.
        by_digest: whether a pipeline may name a script by its digest; that of a Cluster may not.
    """

    def __init__(self, client: Redis | RedisCluster, keys: Keys, *, by_digest: bool) -> None:
        self._client: Any = client
        self._keys = keys
        self._by_digest = by_digest
        self._take = client.register_script(redis_scripts.TAKE_SLOT)
        self._extend = client.register_script(redis_scripts.EXTEND_SLOTS)
        self._free = client.register_script(redis_scripts.FREE_SLOT)
        self._quota_uses = client.register_script(redis_scripts.QUOTA_USES)
        self._slots_taken = client.register_script(redis_scripts.SLOTS_TAKEN)

    async def take(self, slot: WantedSlot, ttl_seconds: float) -> SlotAnswer:
        """See ``Store.take_slot``."""
        return _answer(await self._take(self._both(slot.name), [_take_arguments(slot, ttl_seconds)]))

    async def extend(self, name: str, owners: Sequence[str], ttl_seconds: float) -> None:
        """See ``Store.extend_slots``."""
        await self._extend([self._keys.slots(name)], [milliseconds(ttl_seconds), _SETTLED, *owners])

    async def free(self, slot: FreedSlot) -> bool:
        """See ``Store.free_slot``."""
        return bool(await self._free(self._both(slot.name), [_free_arguments(slot)]))

    async def exchange(
        self, freed: Sequence[FreedSlot], wanted: Sequence[WantedSlot], ttl_seconds: float
    ) -> list[SlotAnswer]:
        """See ``Store.exchange_slots``."""
        calls = [(self._free, (*self._both(one.name), _free_arguments(one))) for one in freed]
        calls += [(self._take, (*self._both(one.name), _take_arguments(one, ttl_seconds))) for one in wanted]
        replies = await self._replies(calls, by_digest=self._by_digest)
        if any(isinstance(one, exceptions.NoScriptError) for one in replies):
            # A restarted server. All again, in their order: a repeated call changes nothing that it did before.
            replies = await self._replies(calls, by_digest=False)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return [_answer(reply) for reply in replies[len(freed) :]]

    async def taken(self, name: str) -> int:
        """See ``Store.slots_taken``."""
        return int(await self._slots_taken([self._keys.slots(name)]))

    async def quota_uses(self, name: str, quotas: Sequence[Quota]) -> list[QuotaUse]:
        """See ``Store.quota_uses``."""
        return _uses(await self._quota_uses(self._both(name), [msgspec.json.encode(_listed(quotas))]))

    async def _replies(self, calls: Iterable[tuple[Any, tuple[str | bytes, ...]]], *, by_digest: bool) -> list[Any]:
        """The replies to calls of scripts, with the keys before the other arguments; an error stands for its reply."""
        pipeline = self._client.pipeline(transaction=False)
        for script, arguments in calls:
            if by_digest:
                pipeline.execute_command("EVALSHA", script.sha, 2, *arguments)
            else:
                pipeline.eval(script.script, 2, *arguments)
        return list(await pipeline.execute(raise_on_error=False))

    def _both(self, name: str) -> tuple[str, str]:
        return self._keys.slots(name), self._keys.quota(name)


def _take_arguments(slot: WantedSlot, ttl_seconds: float) -> bytes:
    ttl = milliseconds(ttl_seconds)
    return msgspec.json.encode((slot.owner, slot.limit, ttl, _SETTLED, _listed(slot.quotas)))


def _free_arguments(slot: FreedSlot) -> bytes:
    return msgspec.json.encode((slot.owner, _listed(slot.quotas)))


def _listed(quotas: Sequence[Quota]) -> list[tuple[str, int | None, int, int]]:
    return [(one.counter, one.limit, milliseconds(one.window_seconds), one.amount) for one in quotas]


def _answer(reply: Sequence[int]) -> SlotAnswer:
    taken, slots, *uses = reply
    return SlotAnswer(bool(taken), int(slots), tuple(_uses(uses)))


def _uses(reply: Sequence[int]) -> list[QuotaUse]:
    return [QuotaUse(int(used), int(left) / 1000) for used, left in zip(reply[::2], reply[1::2], strict=True)]
