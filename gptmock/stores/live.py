"""
``LiveBoard`` in a store.

    workers           record       JSON: worker id to the Unix second in which it was last listed
    worker/<id>       observation  JSON of ``WorkerReport``
    problems          log          JSON of ``Problem``
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from gptmock.live import REPORT_SECONDS, Problem, WorkerReport
from gptmock.stores.store import Store

MAX_PROBLEMS = 500
_WORKERS = "workers"
_PROBLEMS = "problems"
_LISTED_SECONDS = 60.0
"""A worker lists itself again after half of this."""
_TRIES = 8


class StoreLiveBoard:
    """
    ``LiveBoard`` in a store.

    Args:
        store: shared by all workers.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._listed_at = float("-inf")

    async def post(self, report: WorkerReport) -> None:
        """See ``LiveBoard.post``."""
        now = self._clock()
        if now - self._listed_at > _LISTED_SECONDS / 2:
            await self._list(report.id, now)
            self._listed_at = now
        value = msgspec.json.encode(report)
        await self._store.observe(_name(report.id), value, stamp=report.at, ttl_seconds=REPORT_SECONDS)

    async def withdraw(self, worker_id: str) -> None:
        """See ``LiveBoard.withdraw``."""
        await self._list(worker_id, None)

    async def reports(self) -> list[WorkerReport]:
        """See ``LiveBoard.reports``."""
        record = await self._store.read(_WORKERS)
        ids = sorted(_ids(record.value)) if record is not None else []
        values = await self._store.observed([_name(one) for one in ids]) if ids else []
        found = [msgspec.json.decode(value, type=WorkerReport) for value in values if value is not None]
        return sorted(found, key=lambda one: (one.server, one.pid))

    async def note(self, problems: Sequence[Problem]) -> None:
        """See ``LiveBoard.note``."""
        for problem in problems:
            await self._store.append(_PROBLEMS, msgspec.json.encode(problem), keep=MAX_PROBLEMS)

    async def problems(self, count: int) -> list[Problem]:
        """See ``LiveBoard.problems``."""
        return [msgspec.json.decode(value, type=Problem) for value in await self._store.entries(_PROBLEMS, count)]

    async def _list(self, worker_id: str, now: float | None) -> None:
        """Write a worker into the list of them, or out of it; those that were not heard of for long are left out."""
        record = await self._store.read(_WORKERS)
        for _ in range(_TRIES):
            known = {
                one: at
                for one, at in (_ids(record.value) if record is not None else {}).items()
                if one != worker_id and at > self._clock() - _LISTED_SECONDS
            }
            if now is not None:
                known[worker_id] = now
            version = record.version if record is not None else 0
            value = msgspec.json.encode(known)
            record = await self._store.write(_WORKERS, value, expected=version, ttl_seconds=2 * _LISTED_SECONDS)
            if record is None:
                return
        # Others were quicker each time; it is repeated with one of the next reports.
        self._listed_at = float("-inf")


def _name(worker_id: str) -> str:
    return f"worker/{worker_id}"


def _ids(value: bytes) -> Mapping[str, float]:
    return msgspec.json.decode(value, type=dict[str, float]) if value else {}
