"""
The pump: frames to a client, with a sign of life in silence. The only place that knows heartbeats.

Back-pressure is Sanic's: ``send`` waits while the client does not read, and with it the upstream is not read. A
client that leaves cancels the handler; nothing is caught here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

Send = Callable[[bytes], Awaitable[None]]


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


async def pump(frames: AsyncIterator[bytes], send: Send, *, heartbeat: Heartbeat) -> int:
    """
    Send every block of frames as it comes, and heartbeats in silence.

    The first heartbeat goes out at once if nothing else does, so that the response head leaves.

    Returns the number of bytes of frames sent.
    """
    pulse = _Pulse(send, heartbeat)
    beating = asyncio.get_running_loop().create_task(pulse.beat(), name="heartbeat")
    sent = 0
    try:
        async for block in frames:
            await pulse.send(block)
            sent += len(block)
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
    return sent


class _Pulse:
    """Sends for the pump and notes when; beats only when nobody else is sending."""

    def __init__(self, send: Send, heartbeat: Heartbeat) -> None:
        self._send = send
        self._heartbeat = heartbeat
        self._every = heartbeat.every_seconds
        self._loop = asyncio.get_running_loop()
        self._last = float("-inf")
        """When anything was sent."""
        self._last_event = self._loop.time()
        """When something was sent that is no heartbeat, or the reply began."""
        self._sending = asyncio.Lock()
        """A frame and a heartbeat must not be written into one another."""

    async def send(self, block: bytes) -> None:
        async with self._sending:
            await self._send(block)
            self._last = self._last_event = self._loop.time()

    async def beat(self) -> None:
        while True:
            # One turn of the loop first: a frame that is ready goes before any comment.
            await asyncio.sleep(max(0.0, self._last + self._every - self._loop.time()))
            async with self._sending:
                # Asked only now: while the lock was awaited a frame went out, and that was sign enough.
                if self._loop.time() - self._last >= self._every:
                    await self._beat_once()
                    self._last = self._loop.time()

    async def _beat_once(self) -> None:
        keepalive = self._heartbeat.keepalive
        if keepalive is None or self._loop.time() - self._last_event < self._heartbeat.keepalive_seconds:
            await self._send(self._heartbeat.frame)
        else:
            await self._send(keepalive)
            self._last_event = self._loop.time()
