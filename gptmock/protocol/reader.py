"""The one reader of the upstream stream: bytes in, events out. Must not know what anybody does with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from gptmock.errors import UpstreamBroken
from gptmock.protocol.delta_forms import DeltaEvent
from gptmock.protocol.delta_runs import DeltaRun, RunFinder
from gptmock.protocol.events import ResponseEvent, decode_event
from gptmock.protocol.items import mended
from gptmock.protocol.sse import DEFAULT_LIMIT_BYTES, ServerSentEvent, SseDecoder

_OBJECT: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class Received(msgspec.Struct, frozen=True):
    """An event and the exact JSON text it came as."""

    event: ResponseEvent
    data: bytes

    def document(self) -> dict[str, Any]:
        """
        All that the event said, what we do not know included; for those who pass it on.

        Raises:
            UpstreamBroken: a member that nobody had looked at yet cannot be read, as a number beyond all bounds.
        """
        try:
            return _OBJECT.decode(self.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        try:
            return _OBJECT.decode(mended(self.data))
        except msgspec.DecodeError as error:
            raise UpstreamBroken(
                f"The upstream sent an event that cannot be read whole: {error}", code="upstream_bad_event"
            ) from error


Batch: TypeAlias = list[Received | DeltaRun]
"""What one read from the network holds, oldest first."""


def received_of(run: DeltaRun) -> list[Received]:
    """The events of a run, one by one, as a reader that looks for no runs gives them."""
    return [_decoded(frame) for frame in run.frames()]


def joined(run: DeltaRun) -> Received:
    """One event that adds all of the run's text."""
    return _decoded(run.joined())


def _decoded(frame: bytes) -> Received:
    # Two lines and a blank one: ``event:`` and ``data:``.
    data = frame[frame.index(b"\n") + 7 : -2]
    event = decode_event(data)
    assert event is not None  # noqa: S101 - a run consists of events
    return Received(event, data)


class EventReader:
    """
    Bytes of one response body, cut anywhere, to events. ``skipped`` counts what was no event.

    A fault never takes with it what stood before it: the good events are returned, and the next call raises, even
    ``feed(b"")``. So a cut of the stream changes nothing, and an end that came is an end.

    Args:
        limit_bytes: of one event.
        finds_runs: deltas in a row come as a ``DeltaRun``, undecoded.
    """

    __slots__ = ("_broken", "_decoder", "_finder", "_limit", "skipped")

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES, *, finds_runs: bool = False) -> None:
        self._decoder = SseDecoder(limit_bytes)
        self._limit = limit_bytes
        self._finder = RunFinder() if finds_runs else None
        self._broken: UpstreamBroken | None = None
        self.skipped = 0

    @property
    def is_broken(self) -> bool:
        """The next call raises: a fault stood behind the events that were returned."""
        return self._broken is not None or self._decoder.is_broken

    def feed(self, chunk: bytes) -> Batch:
        """
        Take the next bytes of the stream, cut anywhere.

        Returns the events completed by this chunk, oldest first; often none.

        Raises:
            UpstreamBroken: an event exceeds ``limit_bytes``, or a known type has a wrong shape; for good.
        """
        if self._broken is not None:
            raise self._broken
        batch: Batch = []
        finder = self._finder
        if finder is None or len(chunk) > self._limit:
            self._decode(self._decoder.feed, chunk, batch)
            return batch
        begin = 0
        if not self._decoder.at_boundary:
            begin = chunk.find(b"\n\n") + 2
            if begin < 2:
                begin = len(chunk)
            self._decode(self._decoder.feed, chunk[:begin], batch)
        if begin < len(chunk):
            for part in finder.cut(chunk[begin:] if begin else chunk):
                if isinstance(part, bytes):
                    self._decode(self._decoder.feed, part, batch)
                elif self._decoder.at_boundary:
                    batch.append(part)
                else:
                    self._decode(self._decoder.feed, b"".join(part.frames()), batch)
        return batch

    @property
    def further(self) -> Callable[[bytes], tuple[bytes, bytes] | None]:
        """
        ``RunFinder.further``: may be used in place of ``feed`` while what was read last is a run, and nothing behind it
        (``at_boundary``).
        """
        return self._finder.further if self._finder is not None else lambda _: None

    @property
    def at_boundary(self) -> bool:
        """Nothing of the next event has come."""
        return self._decoder.at_boundary

    def finish(self) -> Batch:
        """
        The stream has ended: an event that lacks only its final blank line still counts.

        Raises:
            UpstreamBroken: as ``feed``.
        """
        if self._broken is not None:
            raise self._broken
        batch: Batch = []
        self._decode(lambda _: self._decoder.finish(), b"", batch)
        return batch

    def _decode(self, take: Callable[[bytes], list[ServerSentEvent]], chunk: bytes, batch: Batch) -> None:
        """
        Add the events of these bytes to the batch.

        Raises:
            UpstreamBroken: unless the batch holds anything; then the next call raises it.
        """
        if self._broken is not None:
            return
        try:
            for frame in take(chunk):
                self._add(frame, batch)
        except UpstreamBroken as broken:
            self._broken = broken
            if not batch:
                raise

    def _add(self, frame: ServerSentEvent, batch: Batch) -> None:
        event = decode_event(frame.data)
        if event is None:
            # ``[DONE]`` of other backends lands here too; an empty body is no garbage.
            self.skipped += frame.data not in (b"[DONE]", b"")
            return
        batch.append(Received(event, frame.data))
        if self._finder is not None and isinstance(event, DeltaEvent):
            self._finder.missed(frame.data)
