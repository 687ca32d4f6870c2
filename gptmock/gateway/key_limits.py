"""
Holds each turn of a limited client key to the limits of its key: admission, extension, settlement. Knows contracts.

    admission     one round trip, begun before the account is chosen and awaited after that
    extension     every RENEW_SECONDS, for all turns of this worker: the places of a dead worker expire
    settlement    in the background after the turn; repeated until the store has answered, and counted once

Turns that begin and end at about the same time share a round trip; see ``limit_exchanges``. Turns of callers without a
limited key cost nothing.

While the store is unavailable, this worker admits its share of what each limit had left, and counts what it admitted
when the store answers again.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from gptmock.clients import BegunTurn, Client, ClientKey, EndedTurn, KeyLimits, LimitAnswer, LimitState
from gptmock.errors import StoreError, StoreUnavailable
from gptmock.gateway.limit_exchanges import LimitExchanges
from gptmock.gateway.limit_words import ratelimit_headers, refusal

RENEW_SECONDS = 20.0
TICK_SECONDS = 1.0
"""How often settlements that failed are tried again."""
WAITS_SECONDS = (0.05, 0.15, 0.3)
"""Before a turn is refused for the concurrent turns of its key: one that has just ended may not be settled yet."""


class Grant:
    """The admission of one call; of one without limits unless a ``KeyLimiter`` made it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The ``x-ratelimit-*`` headers, as far as they are known."""
        return {}

    @property
    def turns_at_once(self) -> int | None:
        """How many upstream turns of the call may run at the same time; ``None`` for any number."""
        return None

    async def admitted(self) -> None:
        """
        Wait until the call is admitted.

        Raises:
            TooManyRequests: it is not.
        """

    def end(self, *, tokens: int, untold: Callable[[], int] | None = None) -> None:
        """The call has ended, however, and used so many tokens, and those that ``untold`` estimates."""


UNLIMITED = Grant()


@dataclass(slots=True, eq=False)
class _Turn:
    """A turn under way, or one to be settled."""

    key: ClientKey
    id: str
    is_local: bool = False
    """It was admitted by this worker alone; the store does not know of it."""
    tokens: int = 0


class _LimitedGrant(Grant):
    """A turn of a limited key."""

    def __init__(self, limiter: KeyLimiter, key: ClientKey) -> None:
        self._limiter = limiter
        self._turn = _Turn(key, secrets.token_hex(8))
        self._answer: LimitAnswer | None = None
        self._admission = asyncio.get_running_loop().create_task(self._admit(), name="admission")

    @property
    def headers(self) -> Mapping[str, str]:
        return ratelimit_headers(self._answer.states) if self._answer is not None else {}

    @property
    def turns_at_once(self) -> int | None:
        # The call has one of its key's places, however many turns it takes.
        return None if self._turn.key.terms.concurrency is None else 1

    async def admitted(self) -> None:
        # Shielded: what was begun is ended by ``end``, which must know how it went.
        answer = await asyncio.shield(self._admission)
        if not answer.admitted:
            raise refusal(answer.states)

    def end(self, *, tokens: int, untold: Callable[[], int] | None = None) -> None:
        self._turn.tokens = tokens
        self._limiter.in_background(self._finish(untold))

    async def _admit(self) -> LimitAnswer:
        self._answer = await self._limiter.admit(self._turn)
        return self._answer

    async def _finish(self, untold: Callable[[], int] | None) -> None:
        if (await self._admission).admitted:
            if untold is not None:
                self._turn.tokens += await asyncio.to_thread(untold)
            await self._limiter.settle(self._turn)


class KeyLimiter:
    """
    Admits and settles the turns of limited keys.

    Args:
        limits: shared by all workers.
        local: makes limits of this process alone, for while the shared ones are unavailable.
        workers: how many workers share the limits then.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        limits: KeyLimits,
        local: Callable[[], KeyLimits],
        *,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._new_local = local
        self._local: KeyLimits | None = None
        """Of the current outage."""
        self._workers = workers
        self._clock = clock
        self._last: dict[str, tuple[float, LimitAnswer]] = {}
        """What the store last said of each key."""
        self._live: set[_Turn] = set()
        self._owed: list[_Turn] = []
        """Ended turns that could not be settled."""
        self._background: set[asyncio.Task[None]] = set()
        self._exchanges = LimitExchanges(limits, owe=self._owe)
        self._adopting = asyncio.Lock()
        """A turn must not be adopted after it was settled."""

    def begin(self, client: Client) -> Grant:
        """Begin the admission of a call."""
        key = client.key
        return UNLIMITED if key is None or not key.terms.is_limited else _LimitedGrant(self, key)

    async def states(self, key: ClientKey) -> tuple[LimitState, ...]:
        """See ``KeyLimits.states``."""
        return await self._limits.states(key)

    def turns_by_key(self) -> dict[str, int]:
        """The admitted turns of this worker that have not ended, by the id of their key."""
        return Counter(turn.key.id for turn in self._live)

    async def admit(self, turn: _Turn) -> LimitAnswer:
        """Ask the store, or decide alone while it is unavailable."""
        try:
            begun = BegunTurn(turn.key, turn.id)
            answer = await self._exchanges.admit(begun)
            for seconds in WAITS_SECONDS:
                if answer.admitted or not _waits_for_a_turn(answer.states):
                    break
                await asyncio.sleep(seconds)
                answer = await self._exchanges.admit(begun)
        except StoreUnavailable:
            answer = await self._admit_alone(turn)
            turn.is_local = answer.admitted
        else:
            self._local = None
            self._last[turn.key.id] = (self._clock(), answer)
        if answer.admitted:
            self._live.add(turn)
        return answer

    async def settle(self, turn: _Turn) -> None:
        """Settle an ended turn; what fails is owed."""
        self._live.discard(turn)
        if turn.is_local and self._local is not None:
            await self._local.settle(turn.key, turn.id, tokens=turn.tokens)
        if turn.is_local:
            try:
                await self._settle(turn)
            except StoreError:
                self._owed.append(turn)
            return
        at_once = not self._live or self._is_awaited(turn.key)
        self._exchanges.settle(EndedTurn(turn.key, turn.id, turn.tokens), at_once=at_once)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the requests."""
        task = asyncio.get_running_loop().create_task(work, name="settlement")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def run(self) -> None:
        """Background task: extend and settle until cancelled."""
        renewed = self._clock()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            with suppress(StoreError):
                await self._settle_owed()
                if self._clock() - renewed >= RENEW_SECONDS:
                    renewed = self._clock()
                    await self._renew()

    async def close(self) -> None:
        """Settle what can be settled."""
        if self._background:
            await asyncio.wait(self._background)
        await self._exchanges.close()
        with suppress(StoreError):
            await self._settle_owed()

    # --- The store ---------------------------------------------------------------------

    async def _settle(self, turn: _Turn) -> None:
        await self._adopt(turn)
        await self._limits.settle(turn.key, turn.id, tokens=turn.tokens)

    def _owe(self, ended: Sequence[EndedTurn]) -> None:
        self._owed += [_Turn(one.key, one.turn_id, tokens=one.tokens) for one in ended]

    def _is_awaited(self, key: ClientKey) -> bool:
        """Whether the next turn may depend on this one: less than half is left of a limit that it counts against."""
        _, answer = self._last.get(key.id, (0.0, None))
        states = answer.states if answer else ()
        return any(one.remaining * 2 < one.limit for one in states if one.kind != "requests")

    async def _settle_owed(self) -> None:
        while self._owed:
            turn = self._owed.pop()
            try:
                await self._settle(turn)
            except StoreError:
                self._owed.append(turn)
                raise

    async def _adopt(self, turn: _Turn) -> None:
        if turn.is_local:
            async with self._adopting:
                if turn.is_local:
                    await self._limits.adopt(turn.key, turn.id)
                    turn.is_local = False

    async def _renew(self) -> None:
        by_key: dict[str, list[str]] = {}
        for turn in list(self._live):
            if turn.is_local:
                await self._adopt(turn)
            else:
                by_key.setdefault(turn.key.id, []).append(turn.id)
        for key_id, turn_ids in by_key.items():
            await self._limits.extend(key_id, turn_ids)

    # --- Without the store -------------------------------------------------------------

    async def _admit_alone(self, turn: _Turn) -> LimitAnswer:
        if self._local is None:
            self._local = self._new_local()
        return await self._local.admit(self._share(turn.key), turn.id)

    def _share(self, key: ClientKey) -> ClientKey:
        """The key with this worker's share of what each limit had left when the store last answered."""
        at, answer = self._last.get(key.id, (0.0, None))
        passed = self._clock() - at
        used = {one.kind: one.used for one in (answer.states if answer else ()) if passed < one.reset_seconds}
        terms = key.terms
        mine = sum(1 for turn in self._live if turn.key.id == key.id and not turn.is_local)
        places = None if terms.concurrency is None else max(0, math.ceil(terms.concurrency / self._workers) - mine)
        return replace(
            key,
            terms=replace(
                terms,
                rpm=self._part(terms.rpm, used.get("requests", 0)),
                tokens_per_day=self._part(terms.tokens_per_day, used.get("tokens_per_day", 0)),
                tokens_per_week=self._part(terms.tokens_per_week, used.get("tokens_per_week", 0)),
                concurrency=places,
            ),
        )

    def _part(self, limit: int | None, used: int) -> int | None:
        return None if limit is None else math.ceil(max(0, limit - used) / self._workers)


def _waits_for_a_turn(states: tuple[LimitState, ...]) -> bool:
    """Whether the only reached limit is that of concurrent turns."""
    return [one.kind for one in states if not one.remaining] == ["turns"]
