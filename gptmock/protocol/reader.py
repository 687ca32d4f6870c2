"""The one reader of the upstream stream: bytes in, events out. Must not know what anybody does with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from gptmock.errors import UpstreamBroken
from gptmock.protocol.events import ResponseEvent, decode_event
from gptmock.protocol.items import mended
from gptmock.protocol.sse import DEFAULT_LIMIT_BYTES, ServerSentEvent, SseDecoder

_OBJECT: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Received:
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


class EventReader:
    """
    Bytes of one response body, cut anywhere, to events. ``skipped`` counts what was no event.

    A fault never takes with it what stood before it: the good events are returned, and the next call raises, even
    ``feed(b"")``. So a cut of the stream changes nothing, and an end that came is an end.
    """

    __slots__ = ("_broken", "_decoder", "skipped")

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._decoder = SseDecoder(limit_bytes)
        self._broken: UpstreamBroken | None = None
        self.skipped = 0

    def feed(self, chunk: bytes) -> list[Received]:
        """
        Take the next bytes of the stream, cut anywhere.

        Returns the events completed by this chunk, oldest first; often none.

        Raises:
            UpstreamBroken: an event exceeds ``limit_bytes``, or a known type has a wrong shape; for good.
        """
        if self._broken is not None:
            raise self._broken
        return self._read(self._decoder.feed(chunk))

    def finish(self) -> list[Received]:
        """
        The stream has ended: an event that lacks only its final blank line still counts.

        Raises:
            UpstreamBroken: as ``feed``.
        """
        if self._broken is not None:
            raise self._broken
        return self._read(self._decoder.finish())

    def _read(self, frames: list[ServerSentEvent]) -> list[Received]:
        received: list[Received] = []
        for frame in frames:
            try:
                event = decode_event(frame.data)
            except UpstreamBroken as broken:
                self._broken = broken
                if not received:
                    raise
                break
            if event is None:
                # ``[DONE]`` of other backends lands here too; an empty body is no garbage.
                self.skipped += frame.data not in (b"[DONE]", b"")
            else:
                received.append(Received(event, frame.data))
        return received
