"""Rate limit snapshots and usage counters in any store. Know record names and shapes, not when they are used."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from gptmock.errors import StoreUnavailable
from gptmock.limits import RateLimitSnapshot, RateLimitWindow, Standing, Standings
from gptmock.stores.store import Addition, Store
from gptmock.stores.usage_journal import Counted, UsageJournal, left_journals
from gptmock.usage import AccountUsage, TurnUsage, UsageRow

log = logging.getLogger("gptmock.usage")

SNAPSHOT_SECONDS = 8 * 24 * 3600.0
"""How long a snapshot is kept: no rate limit window is longer than a week."""
STICKY_SECONDS = 3600.0
FLUSH_SECONDS = 1.0
"""How often finished turns are added to the counters; documented as within five seconds."""
WORKER_SECONDS = 10.0
"""How long a worker's number of turns in flight is believed after its last report."""
USAGE_SECONDS = 90 * 24 * 3600.0
"""How long usage is kept after it was last added to, unless the operator says otherwise."""
_DAY_SECONDS = 24 * 3600
SETTLED_SECONDS = 7 * 24 * 3600.0
"""How long the store knows how many turns of a worker's journal it counts, after it was last added to."""
_TURNS = "turns"


class _StoredSnapshot(msgspec.Struct, frozen=True):
    taken_at: float
    windows: list[tuple[float, int, float | None]]
    plan: str | None = None
    active_limit: str | None = None
    reached_type: str | None = None


class SharedLimits:
    """``LimitStore`` in a store: every value is a last observation."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def post(self, account_id: str, snapshot: RateLimitSnapshot) -> None:
        """See ``LimitStore.post``."""
        wire = _StoredSnapshot(
            taken_at=snapshot.taken_at,
            windows=[(one.used_percent, one.window_minutes, one.resets_at) for one in snapshot.windows],
            plan=snapshot.plan,
            active_limit=snapshot.active_limit,
            reached_type=snapshot.reached_type,
        )
        await self._store.observe(
            _limits(account_id), msgspec.json.encode(wire), stamp=snapshot.taken_at, ttl_seconds=SNAPSHOT_SECONDS
        )

    async def park(self, account_id: str, *, until: float, now: float) -> None:
        """See ``LimitStore.park``."""
        await self._store.observe(
            _parked(account_id), msgspec.json.encode(until), stamp=now, ttl_seconds=max(0.001, until - now)
        )

    async def unpark(self, account_id: str, *, now: float) -> None:
        """See ``LimitStore.unpark``."""
        await self._store.observe(_parked(account_id), b"0", stamp=now, ttl_seconds=1.0)

    async def stick(self, conversation: str, account_id: str, *, now: float) -> None:
        """See ``LimitStore.stick``."""
        await self._store.observe(_sticky(conversation), account_id.encode(), stamp=now, ttl_seconds=STICKY_SECONDS)

    async def look(self, account_ids: Sequence[str], *, conversation: str | None) -> Standings:
        """See ``LimitStore.look``."""
        names = [name for one in account_ids for name in observations_of(one)]
        if conversation is not None:
            names.append(_sticky(conversation))
        found = await self._store.observed(names)
        accounts = tuple(
            Standing(one, _until(found[2 * place]), _fullest(found[2 * place + 1]))
            for place, one in enumerate(account_ids)
        )
        sticky = found[-1] if conversation is not None else None
        return Standings(accounts, sticky.decode() if sticky is not None else None)

    async def snapshot(self, account_id: str) -> RateLimitSnapshot | None:
        """See ``LimitStore.snapshot``."""
        (found,) = await self._store.observed([_limits(account_id)])
        if found is None:
            return None
        wire = msgspec.json.decode(found, type=_StoredSnapshot)
        return RateLimitSnapshot(
            taken_at=wire.taken_at,
            windows=tuple(RateLimitWindow(*window) for window in wire.windows),
            plan=wire.plan,
            active_limit=wire.active_limit,
            reached_type=wire.reached_type,
        )


@dataclass(slots=True)
class _Batch:
    """Counts that are being added to the store."""

    counts: dict[Counted, Counter[str]]
    last: int
    """The number of the last of its turns in the journal."""
    is_doubtful: bool = False
    """An addition has failed, so the store may have made it or not."""


class SharedUsage:
    """
    ``UsageLedger`` in a store: counted in memory, added to the store about once a second in one round trip. What is
    not added yet is in a journal too, if there is one: another worker of the server adds it after a kill, once.

    Args:
        store: holds the counters.
        clock: Unix seconds; only used for the current day.
        kept_seconds: how long usage is kept.
        journal: of this worker.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        kept_seconds: float = USAGE_SECONDS,
        journal: UsageJournal | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._kept_seconds = kept_seconds
        self._worker = f"worker:{secrets.token_hex(8)}"
        self._version = 0
        self._unsettled: dict[Counted, Counter[str]] = {}
        self._batch: _Batch | None = None
        self._journal = journal
        self._settled = 0
        """The number of the last turn in the journal that the store counts."""
        self._in_flight: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._settling = asyncio.Lock()

    def began(self, account_id: str) -> None:
        """See ``UsageLedger.began``."""
        self._in_flight[account_id] += 1

    def ended(self, usage: TurnUsage) -> None:
        """See ``UsageLedger.ended``."""
        self._in_flight[usage.account_id] -= 1
        # A failed turn may name any model: such names are not counted apart, or clients could add counters without end.
        model = "" if usage.failed and not usage.output_tokens else usage.model
        key = (int(self._clock() // _DAY_SECONDS), usage.tenant, usage.account_id, model)
        counted = self._unsettled.get(key)
        if counted is None:
            counted = self._unsettled[key] = Counter()
        amounts = usage.amounts()
        for name, amount in amounts.items():
            counted[name] += amount
        if self._journal is not None:
            self._journal.note(key, amounts)

    async def read(self, account_id: str) -> AccountUsage:
        """See ``UsageLedger.read``."""
        today = await self._store.totals(_day(account_id, self._today()))
        records = await self._store.read_many(await self._store.names("worker:"))
        flights = [msgspec.json.decode(one.value, type=dict[str, int]) for one in records if one is not None]
        return AccountUsage(today, sum(flight.get(account_id, 0) for flight in flights))

    async def report(self, days: Sequence[str]) -> list[UsageRow]:
        """See ``UsageLedger.report``."""
        rows: dict[tuple[str, str, str, str], dict[str, int]] = {}
        for day in days:
            for name, count in (await self._store.totals(_report(day))).items():
                tenant, account_id, model, amount = msgspec.json.decode(name, type=tuple[str, str, str, str])
                rows.setdefault((day, tenant, account_id, model), {})[amount] = count
        return [UsageRow(*key, amounts) for key, amounts in sorted(rows.items())]

    async def report_of(self, tenant: str, days: Sequence[str]) -> list[UsageRow]:
        """See ``UsageLedger.report_of``."""
        totals = await asyncio.gather(*(self._store.totals(_key_day(tenant, day)) for day in days))
        rows: dict[tuple[str, str], dict[str, int]] = {}
        for day, counted in zip(days, totals, strict=True):
            for name, count in counted.items():
                model, amount = msgspec.json.decode(name, type=tuple[str, str])
                rows.setdefault((day, model), {})[amount] = count
        return [UsageRow(day, tenant, "", model, amounts) for (day, model), amounts in sorted(rows.items())]

    def _today(self) -> str:
        return _date(int(self._clock() // _DAY_SECONDS))

    async def run(self) -> None:
        """Background task: call ``settle`` every ``FLUSH_SECONDS`` until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            # Shielded: after a cancelled addition it is unknown whether it was made. The final ``settle`` waits for it.
            await asyncio.shield(self.settle())

    async def settle(self) -> None:
        """Add the counts collected in memory to the store; on failure they are kept for the next call."""
        async with self._settling:
            await self._settle()

    async def close(self) -> None:
        """Settle what can be settled, and leave the rest in the journal to the other workers."""
        await self.settle()
        if self._journal is not None:
            self._journal.close()

    async def _settle(self) -> None:
        try:
            if self._batch is not None:
                await self._settle_batch()
            if self._unsettled:
                await self._settle_batch()
            await self._report_in_flight()
            await self._settle_left()
        except StoreUnavailable:
            if self._batch is not None:
                self._batch.is_doubtful = True

    async def _settle_batch(self) -> None:
        journal, batch = self._journal, self._batch
        if batch is None:
            batch = self._batch = _Batch(self._unsettled, journal.count if journal is not None else 0)
            self._unsettled = {}
        additions = _additions(batch.counts, self._kept_seconds)
        if journal is None:
            await self._store.add(additions)
        elif not batch.is_doubtful or await self._settled_of(journal.id) < batch.last:
            await self._store.add([*additions, _settlement(journal.id, batch.last - self._settled)])
        self._batch, self._settled = None, batch.last
        if journal is not None:
            journal.settled(batch.last)

    async def _settle_left(self) -> None:
        """Add what workers of this server had not added when they were killed."""
        for left in left_journals(self._journal.folder) if self._journal is not None else ():
            try:
                settled = await self._settled_of(left.id)
                lines = [line for line in left.lines if line.number > settled]
                if lines:
                    counts: dict[Counted, Counter[str]] = {}
                    for line in lines:
                        counts.setdefault(line.counted, Counter()).update(line.amounts)
                    turns = _settlement(left.id, lines[-1].number - settled)
                    await self._store.add([*_additions(counts, self._kept_seconds), turns])
                left.remove()
            finally:
                left.close()

    async def _settled_of(self, journal_id: str) -> int:
        """How many turns of a journal the store counts."""
        return (await self._store.totals(_journal(journal_id))).get(_TURNS, 0)

    async def _report_in_flight(self) -> None:
        flights = Counter({one: count for one, count in self._in_flight.items() if count})
        if not flights and not self._reported:
            return
        standing = await self._store.write(
            self._worker, msgspec.json.encode(flights), expected=self._version, ttl_seconds=WORKER_SECONDS
        )
        self._version = self._version + 1 if standing is None else standing.version
        self._reported = flights


def observations_of(account_id: str) -> tuple[str, str]:
    """The names of what is observed of an account: until when it is parked, and its windows."""
    return _parked(account_id), _limits(account_id)


def _limits(account_id: str) -> str:
    return f"acct:{{{account_id}}}:limits"


def _parked(account_id: str) -> str:
    return f"acct:{{{account_id}}}:parked"


def _sticky(conversation: str) -> str:
    return f"conversation:{conversation}"


def _total(account_id: str) -> str:
    return f"acct:{{{account_id}}}:usage"


def _day(account_id: str, day: str) -> str:
    return f"acct:{{{account_id}}}:usage:{day}"


def _report(day: str) -> str:
    """One name for all accounts, keys and models of a day, so that one read gets them all."""
    return f"usage:{day}"


def _key_day(tenant: str, day: str) -> str:
    """The counters of one client key and day; ``none`` stands for callers without a key."""
    return f"key:{{{tenant or 'none'}}}:usage:{day}"


def _journal(journal_id: str) -> str:
    return f"usage_journal:{journal_id}"


def _settlement(journal_id: str, turns: int) -> Addition:
    return Addition(_journal(journal_id), {_TURNS: turns}, SETTLED_SECONDS)


def _date(day: int) -> str:
    """``2026-11-24``, for the number of days since 1970."""
    return datetime.fromtimestamp(day * _DAY_SECONDS, UTC).date().isoformat()


def _additions(unsettled: Mapping[Counted, Counter[str]], kept_seconds: float) -> list[Addition]:
    counters: dict[str, Counter[str]] = {}
    for (day, tenant, account_id, model), amounts in unsettled.items():
        date = _date(day)
        for name in (_day(account_id, date), _total(account_id)):
            counters.setdefault(name, Counter()).update(amounts)
        rows = {
            msgspec.json.encode((tenant, account_id, model, amount)).decode(): count
            for amount, count in amounts.items()
        }
        counters.setdefault(_report(date), Counter()).update(rows)
        own = {msgspec.json.encode((model, amount)).decode(): count for amount, count in amounts.items()}
        counters.setdefault(_key_day(tenant, date), Counter()).update(own)
    return [Addition(name, amounts, kept_seconds) for name, amounts in counters.items()]


def _until(value: bytes | None) -> float | None:
    return msgspec.json.decode(value, type=float) or None if value is not None else None


def _fullest(value: bytes | None) -> float | None:
    if value is None:
        return None
    return max((used for used, _, _ in msgspec.json.decode(value, type=_StoredSnapshot).windows), default=None)
