"""
An accepted turn of the Codex backend: its body as events, its deadlines, and what the head of the response says. Must
not know how it was asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType

import httpx
import msgspec

from gptmock.errors import GptmockError, UpstreamBroken, UpstreamTimeout
from gptmock.interruption import Interrupted, Interruption
from gptmock.limits import snapshot_from_headers
from gptmock.protocol.delta_runs import DeltaRun
from gptmock.protocol.events import ErrorEvent, ResponseCompleted, ResponseFailed, ResponseIncomplete
from gptmock.protocol.failures import no_stream
from gptmock.protocol.reader import EventReader, Received
from gptmock.protocol.upstream import OpensLane, TakesBatch, TakesDelta
from gptmock.upstream.bodies import Take
from gptmock.upstream.engine import Answer
from gptmock.upstream.refusals import RefusalReader, as_upstream_error

log = logging.getLogger("gptmock.upstream")

MAX_DOCUMENT_BYTES = 64 * 1024
"""Of a document in the place of a stream."""
MAX_TAG_CHARACTERS = 256
_BLANK = b"\xef\xbb\xbf \t\r\n"
_DOCUMENT_STARTS = (b"{", b"[", b'"', b"<")
"""No field of an event stream begins like this; JSON and HTML do."""
_FORWARDED_HEADERS = frozenset({"openai-model", "x-models-etag", "x-oai-request-id", "x-reasoning-included"})
_FORWARDED_PREFIXES = ("x-codex-", "x-openai-")
"""Response headers that Codex clients read: they are forwarded to them."""
LINGER_SECONDS = 0.25
"""
How long to wait for the end of the body after the terminal event: a body read to its end leaves the connection in the
pool.
"""


class CodexEventStream:
    """An accepted turn (``protocol.upstream.EventStream``)."""

    __slots__ = (
        "_body",
        "_ends_at",
        "_has_ended",
        "_idle_seconds",
        "_is_read",
        "_reader",
        "_reads",
        "_refusals",
        "_start",
        "headers",
        "limits",
        "models_etag",
    )

    def __init__(
        self,
        answer: Answer,
        *,
        refusals: RefusalReader,
        idle_seconds: float,
        ends_at: float,
        finds_runs: bool,
    ) -> None:
        self._body = answer.body
        self._refusals = refusals
        self._start: bytes | None = b""
        """The blanks that came first, while it may still be a document that follows; ``None`` in a stream."""
        self._idle_seconds = idle_seconds
        self._ends_at = ends_at
        self._reader = EventReader(finds_runs=finds_runs)
        self._reads = 0
        self._has_ended = False
        """The terminal event was read: only the end of the body can follow."""
        self._is_read = False
        headers = answer.headers()
        self.limits = snapshot_from_headers(headers, now=refusals.clock())
        self.models_etag = entity_tag(headers, "x-models-etag")
        self.headers: Mapping[str, str] = forwarded_headers(headers)

    async def deliver(self, take: TakesBatch, lane: OpensLane | None = None) -> bool:
        """See ``EventStream.deliver``."""
        try:
            with _Silence(self):
                ended = await self._body.deliver(self._reading(take, lane))
                if self._start:
                    raise await self._instead(self._start)
        except httpx.HTTPError as error:
            raise broken(error) from error
        if not ended or self._is_read:
            return ended
        self._is_read = True
        batch = self._reader.finish()
        if not batch:
            return True
        self._has_ended = self._has_ended or _is_terminal(batch[-1])
        return take(batch)

    def _reading(self, take: TakesBatch, lane: OpensLane | None) -> Take:
        """What takes each read of the body."""
        reader = self._reader
        further = reader.further
        take_delta: TakesDelta | None = None

        def read(block: bytes) -> bool:
            nonlocal take_delta
            self._reads += 1
            if take_delta is not None:
                # The lane (see ``dialects.copying``).
                delta = further(block)
                if delta is not None:
                    return take_delta(*delta)
                take_delta = None
            if self._start is not None and self._is_document(block):
                return False
            batch = reader.feed(block)
            if not batch:
                return True
            last = batch[-1]
            self._has_ended = self._has_ended or _is_terminal(last)
            go_on = take(batch)
            if reader.is_broken:
                # A fault behind these events is raised now, not when the upstream speaks again.
                reader.feed(b"")
            if go_on and lane is not None and isinstance(last, DeltaRun) and reader.at_boundary:
                take_delta = lane(last.place)
            return go_on

        return read

    async def close(self) -> None:
        """Release the connection; after the terminal event wait ``LINGER_SECONDS`` for the end of the body first."""
        try:
            if self._has_ended and not self._body.complete:
                with suppress(TimeoutError, httpx.HTTPError):
                    async with asyncio.timeout(LINGER_SECONDS):
                        await self._body.deliver(lambda _: True)
        finally:
            await self._body.aclose()
        if self._reader.skipped:
            log.warning("upstream.garbage_skipped", extra={"events": self._reader.skipped})

    def _is_document(self, block: bytes) -> bool:
        """Whether the body is no event stream; asked of each block until one has more than blanks."""
        start = ((self._start or b"") + block).lstrip(_BLANK)
        if start.startswith(_DOCUMENT_STARTS):
            self._start = start
            return True
        if start:
            self._start = None
        return False

    async def _instead(self, start: bytes) -> GptmockError:
        """What a body says that is no event stream; it is read until its JSON is whole. A web page is not read on."""
        blocks, size = [start], len(start)

        def take(block: bytes) -> bool:
            nonlocal size
            self._reads += 1
            blocks.append(block)
            size += len(block)
            return size < MAX_DOCUMENT_BYTES and not _is_whole(b"".join(blocks))

        if not (start.startswith(b"<") or size >= MAX_DOCUMENT_BYTES or _is_whole(start)):
            await self._body.deliver(take)
        return self._refusals.read(no_stream, b"".join(blocks)[:MAX_DOCUMENT_BYTES])

    @property
    def reads(self) -> int:
        """How many times something came."""
        return self._reads

    @property
    def idle_seconds(self) -> float:
        """How long nothing may come."""
        return self._idle_seconds

    @property
    def ends_at(self) -> float:
        """When the turn must have ended, by the loop's clock."""
        return self._ends_at


class _Silence:
    """
    Ends a wait in which nothing comes for too long, or that lasts too long in all. One timer for all reads: that a read
    has happened is seen from their number, up to an eighth of the time too late.

    Raises:
        UpstreamTimeout: on leaving.
    """

    _CHECKS = 8

    def __init__(self, stream: CodexEventStream) -> None:
        self._stream = stream
        self._interruption = Interruption()
        self._loop = asyncio.get_running_loop()
        self._reads = stream.reads
        self._since = self._loop.time()
        self._was_silent = False

    def __enter__(self) -> None:
        self._interruption.__enter__()
        self._check_in(self._stream.idle_seconds / self._CHECKS, self._since)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        try:
            self._interruption.__exit__(kind, error, trace)
        except Interrupted:
            seconds = self._stream.idle_seconds
            message = f"The upstream said nothing within {seconds:.0f} seconds."
            raise UpstreamTimeout(
                message if self._was_silent else "The turn took too long in all.", should_retry=False
            ) from None

    def _check(self) -> None:
        now = self._loop.time()
        if self._reads != self._stream.reads:
            self._reads, self._since = self._stream.reads, now
        idle = self._stream.idle_seconds
        self._was_silent = now - self._since >= idle
        if self._was_silent or now >= self._stream.ends_at:
            self._interruption.interrupt()
        else:
            self._check_in(min(idle / self._CHECKS, self._since + idle - now), now)

    def _check_in(self, seconds: float, now: float) -> None:
        self._timer = self._loop.call_later(max(0.0, min(seconds, self._stream.ends_at - now)), self._check)


def entity_tag(headers: Mapping[str, str], name: str) -> str | None:
    """The entity tag in a header; ``None`` if absent, too long or not printable ASCII."""
    tag = headers.get(name, "").strip()
    return tag if tag.isascii() and tag.isprintable() and 0 < len(tag) <= MAX_TAG_CHARACTERS else None


def forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a response that are forwarded to a Codex client."""
    return {
        name: value
        for name, value in headers.items()
        if name in _FORWARDED_HEADERS or name.startswith(_FORWARDED_PREFIXES)
    }


def broken(error: httpx.HTTPError) -> GptmockError:
    """What broke while a body was read, as the error of the upstream that it is."""
    if isinstance(error, httpx.DecodingError):
        return as_upstream_error(error)
    return UpstreamBroken(f"The connection to the upstream broke in the middle of the answer ({type(error).__name__}).")


def _is_whole(body: bytes) -> bool:
    """Whether this is all of a document that ends in a bracket."""
    if not body.rstrip().endswith((b"}", b"]")):
        return False
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _is_terminal(received: Received | DeltaRun) -> bool:
    return isinstance(received, Received) and isinstance(
        received.event, ResponseCompleted | ResponseIncomplete | ResponseFailed | ErrorEvent
    )
