"""
Counts what the log tells. Every thing that happens has one record in the log; this handler counts it, so that log and
metrics cannot differ, and no other package knows of metrics.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gptmock.metrics.instruments import OTHER, Instruments, series

_TRUNCATED = frozenset({"upstream_stream_truncated", "upstream_bad_event", "upstream_event_too_large"})
_REFRESH_RESULTS = {
    "login_required": "rejected",
    "login_refused": "rejected",
    "auth_unavailable": "unavailable",
    "login_unavailable": "unavailable",
}


class EventCounter(logging.Handler):
    """
    Counts the records of ``gptmock``'s loggers.

    Args:
        instruments: where they are counted.
        is_known: whether a model is of the catalogue.
    """

    def __init__(self, instruments: Instruments, is_known: Callable[[str], bool]) -> None:
        super().__init__(logging.INFO)
        self._instruments = instruments
        self._is_known = is_known
        self._counts: dict[str, Callable[[dict[str, Any]], None]] = {
            "turn": self._turn,
            "turn.retried": lambda _: instruments.upstream_retries.inc(),
            "turn.handed_over": lambda _: instruments.handovers.inc(),
            "account.parked": lambda fields: series(instruments.parked, fields["account"]).inc(),
            "account.renewed": lambda fields: series(instruments.refreshes, fields["account"], "ok").inc(),
            "account.refresh_failed": self._refresh_failed,
        }

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler.emit``."""
        count = self._counts.get(record.msg)
        if count is not None:
            count(vars(record))

    def _turn(self, fields: dict[str, Any]) -> None:
        to, dialect = self._instruments, fields["dialect"]
        slug = fields["model"]
        model = slug if slug is not None and self._is_known(slug) else OTHER
        result = outcome(fields["status"], fields["ended"])
        series(to.turns, dialect, model, result).inc()
        series(to.turn_seconds, dialect).observe(fields["seconds"])
        if (first := fields["first_event_seconds"]) is not None:
            series(to.first_token_seconds, dialect).observe(first)
        key = fields["key"]
        if key is not None:
            series(to.key_turns, key, result).inc()
        for kind in ("input", "cached", "output", "reasoning"):
            if amount := fields[f"{kind}_tokens"]:
                series(to.tokens, model, kind).inc(amount)
        if key is not None and fields["input_tokens"] is not None:
            series(to.key_tokens, key).inc(fields["input_tokens"] + fields["output_tokens"])

    def _refresh_failed(self, fields: dict[str, Any]) -> None:
        result = _REFRESH_RESULTS.get(fields["code"], OTHER)
        series(self._instruments.refreshes, fields["account"], result).inc()


@contextmanager
def counted(instruments: Instruments, is_known: Callable[[str], bool]) -> Iterator[None]:
    """Count what is logged while the context lasts; see ``EventCounter``."""
    counter, logger = EventCounter(instruments, is_known), logging.getLogger("gptmock")
    logger.addHandler(counter)
    try:
        yield
    finally:
        logger.removeHandler(counter)


def outcome(status: int, ended: str) -> str:
    """
    How a turn ended, as one of ``OUTCOMES``.

    Args:
        status: of the HTTP response; 200 also for a stream that broke later.
        ended: ``ok``, ``client_gone`` or the code of the error.
    """
    if ended in ("ok", "client_gone"):
        return ended
    if ended in _TRUNCATED:
        return "truncated"
    match status:
        case 429:
            return "rate_limited"
        case 503:
            return "unavailable"
        case 200 | 502 | 504:
            return "upstream_error"
        case _:
            return "client_error" if 400 <= status < 500 else "internal_error"
