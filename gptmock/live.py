"""What the workers of all servers of a store are doing now, and what went wrong lately. Knows no store and no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LiveTurn:
    """A model call in progress; nothing of its content."""

    started_at: float
    """Unix seconds."""
    dialect: str
    tenant: str
    """The client key's id; empty without a client key."""
    model: str | None = None
    """``None`` until the request was read."""
    account_id: str | None = None
    sent_bytes: int = 0
    """To the client, of a stream."""
    output_tokens: int | None = None
    """Written so far, estimated; ``None`` where that is not counted."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker process and its turns."""

    id: str
    """Random."""
    server: str
    """The host name."""
    pid: int
    version: str
    started_at: float
    """Unix seconds; also ``at``."""
    at: float
    turns: tuple[LiveTurn, ...] = ()
    """The oldest, at most ``MAX_TURNS``."""
    turn_count: int = 0
    """All of them."""
    streams: int = 0
    connections: int = 0
    draining: bool = False
    first_seconds: tuple[float, ...] = ()
    """Of the latest turns: the time to their first event."""


MAX_TURNS = 50


@dataclass(frozen=True, slots=True)
class Problem:
    """A model call that failed; codes and ids only."""

    at: float
    """Unix seconds."""
    status: int
    code: str
    dialect: str
    request_id: str
    tenant: str = ""
    account_id: str | None = None
    model: str | None = None


@dataclass(slots=True)
class UpstreamTry:
    """One request to the upstream for a turn. Times are in nanoseconds since the epoch."""

    account_id: str
    started_ns: int
    ended_ns: int | None = None
    """``None``: with its turn."""
    failed: str | None = None
    """The code of the error that ended it."""


class LiveBoard(Protocol):
    """Shared by all workers. Every method may raise ``StoreUnavailable``."""

    async def post(self, report: WorkerReport) -> None:
        """Replace the report of a worker; it is kept for ``REPORT_SECONDS``."""

    async def withdraw(self, worker_id: str) -> None:
        """A worker ends."""

    async def reports(self) -> Sequence[WorkerReport]:
        """The unexpired reports, by server and process."""

    async def note(self, problems: Sequence[Problem]) -> None:
        """Add problems, oldest first."""

    async def problems(self, count: int) -> Sequence[Problem]:
        """The newest problems, newest first."""


REPORT_SECONDS = 15.0
