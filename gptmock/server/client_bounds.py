"""
What clients may take of one worker: the deadlines of their connections, and how many connections and streams there are.

One timer of the worker looks at all connections; there is none for a connection, a request or a read. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, Self

from gptmock.errors import ServerBusy
from gptmock.server.descriptors import Capacity

RETRY_SECONDS = 1.0
"""``Retry-After`` of a 503 for want of room: a stream may end at any time."""
_LOOKS = 10
"""How often a connection is looked at within the shortest deadline."""
_MAX_LOOK_SECONDS = 1.0
"""A look takes 1.5 us: 5,000 connections take 0.7 % of a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionDeadlines:
    """How long a client may take. None of them begins anew with a byte that arrives."""

    head_seconds: float = 10.0
    """From the first byte of a request to the end of its head; also from connecting to the first byte."""
    body_seconds: float = 30.0
    """From the end of the head to the end of the body, and ..."""
    body_bytes_per_second: int = 256 * 1024
    """... one second more for so many bytes of it that have arrived."""
    idle_seconds: float = 75.0
    """Between two requests."""
    excess_seconds: float = 2.0
    """In place of ``head_seconds`` and ``body_seconds`` for connections over the limit."""
    drop_seconds: float = 10.0
    """How long the rest of a request is read and dropped, after it was answered and before the connection is closed."""
    drop_silence_seconds: float = 2.0
    """Silence that ends it sooner."""

    @property
    def look_seconds(self) -> float:
        """The interval in which connections are looked at, which is how late a deadline may be noticed."""
        shortest = min(self.head_seconds, self.body_seconds, self.idle_seconds)
        return min(_MAX_LOOK_SECONDS, shortest / _LOOKS)


class Place(enum.Enum):
    """What becomes of a new connection."""

    SERVED = enum.auto()
    EXCESS = enum.auto()
    """Over the limit: told so, and closed."""
    NONE = enum.auto()
    """Closed at once."""


class LookedAfter(Protocol):
    """A connection."""

    def look(self, now: float, /) -> None:
        """Act on deadlines that have passed; ``now`` is ``time.monotonic()``."""


class ClientBounds:
    """
    Of one worker; a context, which looks at connections until it is left.

    Args:
        deadlines: of each connection.
        capacity: of the worker.
        max_drop_bytes: how much of an answered request is read and dropped before its connection is closed.
    """

    def __init__(self, deadlines: ConnectionDeadlines, capacity: Capacity, *, max_drop_bytes: int) -> None:
        self.deadlines = deadlines
        self.capacity = capacity
        self.max_drop_bytes = max_drop_bytes
        self.streams = 0
        """Model calls in progress."""
        self._connections: set[LookedAfter] = set()
        self._excess: set[LookedAfter] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, connection: LookedAfter) -> Place:
        """A client has connected; ``leave`` is to be called when it is gone."""
        if len(self._connections) < self.capacity.connections:
            self._connections.add(connection)
        elif len(self._excess) < self.capacity.excess:
            self._excess.add(connection)
        else:
            return Place.NONE
        if self._timer is None:
            self._look_later()
        return Place.EXCESS if connection in self._excess else Place.SERVED

    def leave(self, connection: LookedAfter) -> None:
        """The connection is gone."""
        self._connections.discard(connection)
        self._excess.discard(connection)

    def count_connections(self) -> int:
        """How many connections there are, those over the limit not among them."""
        return len(self._connections)

    def check_streams(self) -> None:
        """
        Check that there is room for one more model call.

        Raises:
            ServerBusy: there is none.
        """
        if self.streams >= self.capacity.streams:
            raise ServerBusy(
                f"This server has {self.streams} model calls in progress in this worker, and takes no more; "
                "try again in a moment.",
                retry_after_seconds=RETRY_SECONDS,
            )

    @contextmanager
    def stream(self) -> Iterator[None]:
        """
        One model call.

        Raises:
            ServerBusy: there is no room for it.
        """
        self.check_streams()
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def too_many_connections(self) -> ServerBusy:
        """The error for a request on a connection over the limit."""
        return ServerBusy(
            f"This server has {len(self._connections)} connections in this worker, and takes no more; "
            "try again in a moment.",
            retry_after_seconds=RETRY_SECONDS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.deadlines.look_seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._connections and not self._excess:
            return
        self._look_later()
        now = time.monotonic()
        for connection in (*self._connections, *self._excess):
            connection.look(now)
