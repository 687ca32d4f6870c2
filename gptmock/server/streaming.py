"""
Frames to a client, with a sign of life in silence. The only place that knows heartbeats; knows no server library.

Frames are written by the callback that read them from the upstream: there is no task, lock, clock or timer for each of
them. One timer of a worker looks after the silence of all its streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, Self

_GRACE_SECONDS = 0.05
"""A reply that begins within this needs no heartbeat before it."""


class Wire(Protocol):
    """A client's connection."""

    async def begin(self, block: bytes, /) -> None:
        """Send the head of the response, and a block behind it; to be called first."""

    def write(self, block: bytes, /) -> bool:
        """Hand over a block; never an empty one, which ends a chunked body. ``False``: the buffer is full."""

    async def writable(self) -> None:
        """Wait until the buffer has room."""

    def unsent(self) -> int:
        """Bytes that wait for the client to read."""

    def abort(self) -> None:
        """Close the connection at once: whoever handles the request is cancelled, as if the client had gone."""

    async def end(self, block: bytes, /) -> None:
        """
        Send the last block and the end of the response, with the head before them if it was not sent: then the length
        of the body is known. Returns in the step in which they were handed over.
        """


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What is sent in silence."""

    frame: bytes
    """Means nothing, as a comment."""
    every_seconds: float
    """Silence before each of them."""
    keepalive: bytes | None = None
    """An event for a client that does not take ``frame`` for a sign of life; sent in its place."""
    keepalive_seconds: float = 60.0
    """Time without any event before each of these."""


class Heartbeats:
    """The one timer of a worker: looks at every stream some times in each interval."""

    _LOOKS = 8

    def __init__(self) -> None:
        self._sinks: set[ClientSink] = set()
        self._seconds = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def add(self, sink: ClientSink) -> None:
        """Look after a stream."""
        self._sinks.add(sink)
        self._seconds = min(self._seconds, min(sink.heartbeat.every_seconds, sink.stall_seconds) / self._LOOKS)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def discard(self, sink: ClientSink) -> None:
        """The stream is over."""
        self._sinks.discard(sink)

    def _look(self) -> None:
        self._timer = None
        if not self._sinks:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._look)
        now = loop.time()
        for sink in list(self._sinks):
            sink.look(now)


class ClientSink:
    """
    Where the frames of one reply go (``gateway.reply.FrameSink``); a context.

    The first heartbeat goes out after a moment if nothing else does, so that the response head leaves.

    Args:
        wire: the client's connection.
        heartbeat: what is sent in silence.
        heartbeats: the worker's.
        stall_seconds: a client that has something to read and reads nothing for so long is disconnected.
        elapsed: seconds since the call came in.
    """

    __slots__ = (
        "_beginning",
        "_elapsed",
        "_ending",
        "_eventless_since",
        "_first",
        "_grace",
        "_heartbeats",
        "_looked",
        "_loop",
        "_pending",
        "_quiet_since",
        "_read_at",
        "_seen_bytes",
        "_unsent",
        "_wire",
        "begun",
        "complete",
        "first_seconds",
        "heartbeat",
        "sent_bytes",
        "stall_seconds",
    )

    def __init__(
        self,
        wire: Wire,
        heartbeat: Heartbeat,
        heartbeats: Heartbeats,
        *,
        stall_seconds: float = 60.0,
        elapsed: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._wire = wire
        self.heartbeat = heartbeat
        self.stall_seconds = stall_seconds
        self._heartbeats = heartbeats
        self._elapsed = elapsed
        self._pending: list[bytes] = []
        """Frames that came before the head was sent."""
        self._beginning = asyncio.Lock()
        self._first: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._seen_bytes = 0
        self._looked = self._loop.time()
        self._quiet_since = self._eventless_since = self._read_at = self._looked
        self._unsent = 0
        """At the last look."""
        self.begun = False
        """The client has its status."""
        self.complete = False
        """The client was sent the last frame: whoever closes from then on is not gone too early."""
        self.sent_bytes = 0
        """Of frames."""
        self.first_seconds: float | None = None
        """When the first byte was sent."""
        self._ending = False

    async def __aenter__(self) -> Self:
        self._heartbeats.add(self)
        self._grace = self._loop.call_later(_GRACE_SECONDS, self._speak_first)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._heartbeats.discard(self)
        self._grace.cancel()
        self._ending = True
        if self._first is not None:
            self._first.cancel()
            with suppress(asyncio.CancelledError):
                await self._first

    def write(self, frames: bytes) -> bool:
        """See ``FrameSink.write``."""
        self.sent_bytes += len(frames)
        if self.begun:
            return self._wire.write(frames)
        self._pending.append(frames)
        return False

    async def ready(self) -> None:
        """See ``FrameSink.ready``."""
        if self._pending:
            async with self._beginning:
                await self._send_pending()
        if self.begun:
            await self._wire.writable()

    async def end(self, frames: bytes) -> None:
        """See ``FrameSink.end``."""
        self.sent_bytes += len(frames)
        async with self._beginning:
            self._ending = True
            if self._pending:
                frames = b"".join((*self._pending, frames))
                self._pending.clear()
            await self._wire.end(frames)
            self.complete = True
            if not self.begun:
                self._begin()

    def look(self, now: float) -> None:
        """
        Send a heartbeat if nothing was sent for so long, or end the connection of a client that does not read.

        Args:
            now: the loop's time.
        """
        before, self._looked = self._looked, now
        written, self._seen_bytes = self.sent_bytes - self._seen_bytes, self.sent_bytes
        if written:
            # Some time since the last look.
            self._quiet_since = self._eventless_since = before
        if not self._has_read(written, now):
            return
        if not self.begun or self._ending or now - self._quiet_since < self.heartbeat.every_seconds:
            return
        self._quiet_since = now
        keepalive = self.heartbeat.keepalive
        if keepalive is None or now - self._eventless_since < self.heartbeat.keepalive_seconds:
            self._wire.write(self.heartbeat.frame)
        else:
            self._eventless_since = now
            self._wire.write(keepalive)

    def _has_read(self, written: int, now: float) -> bool:
        """Whether the client has read everything; if it reads nothing for too long, the connection is closed."""
        before, self._unsent = self._unsent, self._wire.unsent()
        if self._unsent == 0 or self._unsent < before + written:
            self._read_at = now
        elif now - self._read_at >= self.stall_seconds:
            self._wire.abort()
        return self._unsent == 0

    async def _send_pending(self) -> None:
        block = b"".join(self._pending)
        self._pending.clear()
        if self.begun:
            if block:
                self._wire.write(block)
            return
        await self._wire.begin(block)
        self._begin()

    def _begin(self) -> None:
        self.begun, self.first_seconds = True, self._elapsed()

    def _speak_first(self) -> None:
        if not (self.begun or self._pending or self._ending):
            self._first = self._loop.create_task(self._beat_first(), name="heartbeat")

    async def _beat_first(self) -> None:
        async with self._beginning:
            if not self.begun:
                self._pending.insert(0, self.heartbeat.frame)
                await self._send_pending()
                self._quiet_since = self._loop.time()
