"""
``KeyLimits`` in a store: each key has slots for its concurrent turns, and quotas for requests and tokens.

    key:{id}:limits    slots and quotas of one key; one hash tag, so one node of a Cluster has both
"""

from __future__ import annotations

from collections.abc import Sequence

from gptmock.clients import BegunTurn, ClientKey, EndedTurn, LimitAnswer, LimitKind, LimitState
from gptmock.stores.store import FreedSlot, Quota, QuotaUse, SlotAnswer, Store, WantedSlot

LEASE_SECONDS = 60.0
"""How long a turn holds its place without being extended: then its worker is dead."""
WINDOW_SECONDS: dict[LimitKind, float] = {
    "requests": 60.0,
    "tokens_per_day": 24 * 3600.0,
    "tokens_per_week": 7 * 24 * 3600.0,
}


class StoreKeyLimits:
    """
    ``KeyLimits`` in a store.

    Args:
        store: holds slots and quotas.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def admit(self, key: ClientKey, turn_id: str) -> LimitAnswer:
        """See ``KeyLimits.admit``. One round trip."""
        (answer,) = await self.exchange((), (BegunTurn(key, turn_id),))
        return answer

    async def adopt(self, key: ClientKey, turn_id: str) -> None:
        """See ``KeyLimits.adopt``."""
        quotas = [Quota(one.counter, None, one.window_seconds, one.amount) for one in _quotas(key)]
        await self._store.take_slot(limits_name(key.id), turn_id, limit=None, ttl_seconds=LEASE_SECONDS, quotas=quotas)

    async def extend(self, key_id: str, turn_ids: Sequence[str]) -> None:
        """See ``KeyLimits.extend``."""
        await self._store.extend_slots(limits_name(key_id), turn_ids, ttl_seconds=LEASE_SECONDS)

    async def settle(self, key: ClientKey, turn_id: str, *, tokens: int) -> None:
        """See ``KeyLimits.settle``."""
        await self._store.free_slot(limits_name(key.id), turn_id, quotas=_token_quotas(key, tokens))

    async def exchange(self, ended: Sequence[EndedTurn], begun: Sequence[BegunTurn]) -> list[LimitAnswer]:
        """See ``KeyLimits.exchange``."""
        freed = [FreedSlot(limits_name(one.key.id), one.turn_id, _token_quotas(one.key, one.tokens)) for one in ended]
        wanted = [
            WantedSlot(limits_name(one.key.id), one.turn_id, one.key.terms.concurrency, _quotas(one.key))
            for one in begun
        ]
        answers = await self._store.exchange_slots(freed, wanted, ttl_seconds=LEASE_SECONDS)
        return [_answer(one.key, answer) for one, answer in zip(begun, answers, strict=True)]

    async def states(self, key: ClientKey) -> tuple[LimitState, ...]:
        """See ``KeyLimits.states``. Two round trips at most."""
        name, most = limits_name(key.id), key.terms.concurrency
        turns = () if most is None else (LimitState("turns", most, await self._store.slots_taken(name)),)
        quotas = _quotas(key)
        return (*turns, *_states(key, await self._store.quota_uses(name, quotas) if quotas else ()))


def _limits(key: ClientKey) -> list[tuple[LimitKind, int]]:
    terms = key.terms
    limits: tuple[tuple[LimitKind, int | None], ...] = (
        ("requests", terms.rpm),
        ("tokens_per_day", terms.tokens_per_day),
        ("tokens_per_week", terms.tokens_per_week),
    )
    return [(kind, limit) for kind, limit in limits if limit is not None]


def _quotas(key: ClientKey, *, tokens: int = 0) -> list[Quota]:
    return [
        Quota(kind, limit, WINDOW_SECONDS[kind], 1 if kind == "requests" else tokens) for kind, limit in _limits(key)
    ]


def _token_quotas(key: ClientKey, tokens: int) -> list[Quota]:
    return [one for one in _quotas(key, tokens=tokens) if one.counter != "requests"]


def _answer(key: ClientKey, answer: SlotAnswer) -> LimitAnswer:
    most = key.terms.concurrency
    turns = () if most is None else (LimitState("turns", most, answer.slots),)
    return LimitAnswer(answer.taken, (*turns, *_states(key, answer.uses)))


def _states(key: ClientKey, uses: Sequence[QuotaUse]) -> tuple[LimitState, ...]:
    return tuple(
        LimitState(kind, limit, use.used, use.left_seconds)
        for (kind, limit), use in zip(_limits(key), uses, strict=True)
    )


def limits_name(key_id: str) -> str:
    """The name of the slots and quotas of a key."""
    return f"key:{{{key_id}}}:limits"
