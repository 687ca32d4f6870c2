"""Tells all workers what this one is doing, and which model calls have failed. Knows contracts."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from gptmock.errors import StoreError
from gptmock.live import REPORT_SECONDS, LiveBoard, Problem, WorkerReport

TICK_SECONDS = 1.0
REPEAT_SECONDS = REPORT_SECONDS / 3
"""An unchanged report is repeated after so long."""
_MAX_WAITING = 200
_FIRST_TURNS = 50
_FINE = frozenset({"ok", "client_gone"})


class Reporter(logging.Handler):
    """
    Reports a worker. A logging handler: each model call has one line in the log, so log and reports cannot differ.

    Args:
        board: shared by all workers.
        report: of this worker now, without ``at`` and ``first_seconds``.
        clock: Unix seconds.
    """

    def __init__(self, board: LiveBoard, report: Callable[[], WorkerReport], *, clock: Callable[[], float]) -> None:
        super().__init__(logging.INFO)
        self._board = board
        self._report = report
        self._clock = clock
        self._problems: deque[Problem] = deque(maxlen=_MAX_WAITING)
        self._first_seconds: deque[float] = deque(maxlen=_FIRST_TURNS)

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler.emit``."""
        if record.msg == "turn":
            self._turn(vars(record))

    def _turn(self, fields: dict[str, Any]) -> None:
        if (first := fields["first_event_seconds"]) is not None:
            self._first_seconds.append(first)
        if fields["ended"] in _FINE:
            return
        self._problems.append(
            Problem(
                at=self._clock(),
                status=fields["status"],
                code=fields["ended"],
                dialect=fields["dialect"],
                request_id=fields["request_id"],
                tenant=fields["key"] or "",
                account_id=fields["account"],
                model=fields["model"],
            )
        )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the log while the context lasts."""
        logger = logging.getLogger("gptmock")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)

    async def run(self) -> None:
        """Background task: report once a second what has changed; withdraw at the end."""
        last, posted_at = self._report(), float("-inf")
        try:
            while True:
                now = self._clock()
                report = replace(self._report(), at=0.0, first_seconds=tuple(self._first_seconds))
                if report != last or now - posted_at >= REPEAT_SECONDS:
                    with suppress(StoreError):
                        await self._board.post(replace(report, at=now))
                        last, posted_at = report, now
                await self._flush()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            with suppress(StoreError, TimeoutError):
                await asyncio.wait_for(self._board.withdraw(last.id), TICK_SECONDS)

    async def _flush(self) -> None:
        waiting = list(self._problems)
        if not waiting:
            return
        with suppress(StoreError):
            await self._board.note(waiting)
            for _ in waiting:
                self._problems.popleft()
