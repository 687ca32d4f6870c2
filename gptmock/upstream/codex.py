"""
Client of the Codex backend, over httpx: headers, deadlines, and errors by status. Must not know any client dialect.

Only the status decides success: the backend sends event streams without a ``Content-Type``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx
import msgspec

from gptmock.accounts import Credential
from gptmock.errors import GptmockError, UpstreamBroken, UpstreamTimeout
from gptmock.limits import snapshot_from_headers
from gptmock.protocol.delta_runs import DeltaRun
from gptmock.protocol.events import ErrorEvent, ResponseCompleted, ResponseFailed, ResponseIncomplete
from gptmock.protocol.failures import document_failure, no_stream
from gptmock.protocol.items import ResponseUsage
from gptmock.protocol.reader import EventReader, Received
from gptmock.protocol.request import JsonObject, ResponsesRequest
from gptmock.protocol.sse import DEFAULT_LIMIT_BYTES
from gptmock.protocol.upstream import Compacted, TakesBatch
from gptmock.upstream.bodies import body_of
from gptmock.upstream.identity import ClientIdentity, account_headers
from gptmock.upstream.refusals import RefusalReader, as_upstream_error

log = logging.getLogger("gptmock.upstream")

MAX_ERROR_BYTES = 4096
"""How much of an error body is read: it may be a megabyte of HTML."""
MAX_DOCUMENT_BYTES = 64 * 1024
"""Of a document in the place of a stream."""
MAX_TAG_CHARACTERS = 256
_BLANK = b"\xef\xbb\xbf \t\r\n"
_DOCUMENT_STARTS = (b"{", b"[", b'"', b"<")
"""No field of an event stream begins like this; JSON and HTML do."""
_TOLD_HEADERS = frozenset({"openai-model", "x-models-etag", "x-oai-request-id", "x-reasoning-included"})
_TOLD_PREFIXES = ("x-codex-", "x-openai-")
"""Response headers that Codex clients read: they are forwarded to them."""
LINGER_SECONDS = 0.25
"""
How long to wait for the end of the body after the terminal event: a body read to its end leaves the connection in the
pool.
"""


class _CompactedBody(msgspec.Struct):
    """The members of a compaction response that are used."""

    output: list[msgspec.Raw]
    usage: ResponseUsage | None = None


_COMPACTED = msgspec.json.Decoder(_CompactedBody)
_OBJECT: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class UpstreamDeadlines:
    """Seconds."""

    head: float = 90.0
    """Until the status is known."""
    idle: float = 600.0
    """Between two reads; a high effort is silent for minutes."""
    total: float = 3600.0
    """The whole turn."""


class CodexUpstream:
    """
    Opens turns at the backend.

    Args:
        transport: makes the connections; no timeouts of its own are used. One of ``upstream.transport``.
        base_url: as ``https://chatgpt.com/backend-api``.
        identity: the headers that name us.
        deadlines: how long to wait for what.
        clock: Unix seconds.
        finds_runs: see ``EventReader``.
    """

    def __init__(  # noqa: PLR0913 - each is a thing of its own
        self,
        transport: httpx.AsyncBaseTransport,
        base_url: str,
        *,
        identity: ClientIdentity,
        deadlines: UpstreamDeadlines,
        clock: Callable[[], float],
        finds_runs: bool = True,
    ) -> None:
        self._transport = transport
        self._url = httpx.URL(f"{base_url.rstrip('/')}/codex/responses")
        self._compact_url = httpx.URL(f"{base_url.rstrip('/')}/codex/responses/compact")
        self._finds_runs = finds_runs
        self._deadlines = deadlines
        self._clock = clock
        self._identity = identity
        self._fixed = {
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "content-type": "application/json",
        }

    @asynccontextmanager
    async def open(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[CodexEventStream]:
        """See ``protocol.upstream.Upstream``."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._deadlines.total
        sent = self._headers(request, credential, headers)
        refusals = RefusalReader(credential, self._clock)
        response = await self._send(self._url, request.to_json(), sent, refusals, patience=self._deadlines.head)
        stream = CodexEventStream(
            response,
            refusals=refusals,
            idle_seconds=self._deadlines.idle,
            ends_at=ends_at,
            finds_runs=self._finds_runs,
        )
        try:
            yield stream
        finally:
            await stream.close()

    async def compact(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Compacted:
        """See ``protocol.upstream.Upstream``. The idle deadline applies, since the head comes only with the result."""
        sent = {**self._headers(request, credential, headers), "accept": "application/json"}
        refusals = RefusalReader(credential, self._clock)
        body = request.to_compaction_json()
        response = await self._send(self._compact_url, body, sent, refusals, patience=self._deadlines.idle)
        try:
            async with asyncio.timeout(self._deadlines.idle):
                answer = await _whole(response)
        except TimeoutError:
            raise UpstreamTimeout(
                f"The upstream did not finish within {self._deadlines.idle:.0f} seconds.", should_retry=False
            ) from None
        try:
            document, known = _OBJECT.decode(answer), _COMPACTED.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise refusals.read(document_failure, answer) or UpstreamBroken(
                f"The upstream answered the compaction with what cannot be read: {error}", code="upstream_bad_event"
            ) from error
        limits = snapshot_from_headers(response.headers, now=self._clock())
        return Compacted(document, known.usage, limits, _told(response.headers))

    async def _send(
        self, url: httpx.URL, body: bytes, headers: Mapping[str, str], refusals: RefusalReader, *, patience: float
    ) -> httpx.Response:
        # As bytes: a client's header may hold more than ASCII, and httpx would refuse it.
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        try:
            async with asyncio.timeout(patience):
                # Not through a client: it adds nothing here, and 0.1 ms to each request.
                response = await self._transport.handle_async_request(
                    httpx.Request("POST", url, content=body, headers=encoded)
                )
                if response.status_code != 200:
                    beginning = await _beginning(response)
                    raise refusals.refusal(response, beginning.data, unread=beginning.unread)
        except TimeoutError:
            raise UpstreamTimeout(
                f"The upstream did not answer within {patience:.0f} seconds.", should_retry=False
            ) from None
        except httpx.HTTPError as error:
            # No response has begun, so a retry is safe. The usual cause is a stale pooled connection.
            raise as_upstream_error(error) from error
        return response

    def _headers(
        self, request: ResponsesRequest, credential: Credential, clients: Mapping[str, str] | None
    ) -> dict[str, str]:
        return {
            **self._fixed,
            **self._identity.headers,
            "session-id": request.prompt_cache_key,
            "thread-id": request.prompt_cache_key,
            **(clients or {}),
            **account_headers(credential),
        }


class CodexEventStream:
    """An accepted turn (``protocol.upstream.EventStream``)."""

    def __init__(
        self,
        response: httpx.Response,
        *,
        refusals: RefusalReader,
        idle_seconds: float,
        ends_at: float,
        finds_runs: bool,
    ) -> None:
        self._body = body_of(response)
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
        self.limits = snapshot_from_headers(response.headers, now=refusals.clock())
        self.models_etag = entity_tag(response.headers, "x-models-etag")
        self.headers: Mapping[str, str] = _told(response.headers)

    async def deliver(self, take: TakesBatch) -> bool:
        """See ``EventStream.deliver``."""

        def read(block: bytes) -> bool:
            self._reads += 1
            if self._start is not None and self._is_document(block):
                return False
            batch = self._reader.feed(block)
            if not batch:
                return True
            self._has_ended = self._has_ended or _is_terminal(batch[-1])
            go_on = take(batch)
            if self._reader.is_broken:
                # A fault behind these events is raised now, not when the upstream speaks again.
                self._reader.feed(b"")
            return go_on

        with _as_broken():
            async with _Silence(self):
                ended = await self._body.deliver(read)
                if self._start:
                    raise await self._instead(self._start)
        if not ended or self._is_read:
            return ended
        self._is_read = True
        batch = self._reader.finish()
        if not batch:
            return True
        self._has_ended = self._has_ended or _is_terminal(batch[-1])
        return take(batch)

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
        self._limit = asyncio.timeout_at(stream.ends_at)
        self._loop = asyncio.get_running_loop()
        self._reads = stream.reads
        self._since = self._loop.time()
        self._was_silent = False

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._timer = self._loop.call_later(self._stream.idle_seconds / self._CHECKS, self._check)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
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
        if now - self._since >= idle:
            self._was_silent = True
            self._limit.reschedule(now)
            return
        until = min(idle / self._CHECKS, self._since + idle - now)
        self._timer = self._loop.call_later(until, self._check)


def entity_tag(headers: httpx.Headers, name: str) -> str | None:
    """The entity tag in a header; ``None`` if absent, too long or not printable ASCII."""
    tag = headers.get(name, "").strip()
    return tag if tag.isascii() and tag.isprintable() and 0 < len(tag) <= MAX_TAG_CHARACTERS else None


@contextmanager
def _as_broken() -> Iterator[None]:
    try:
        yield
    except httpx.DecodingError as error:
        raise as_upstream_error(error) from error
    except httpx.HTTPError as error:
        raise UpstreamBroken(
            f"The connection to the upstream broke in the middle of the answer ({type(error).__name__})."
        ) from error


async def _whole(response: httpx.Response) -> bytes:
    """The complete body of a response that is not an event stream."""
    blocks: list[bytes] = []
    size = 0

    def take(block: bytes) -> bool:
        nonlocal size
        blocks.append(block)
        size += len(block)
        return size <= DEFAULT_LIMIT_BYTES

    body = body_of(response)
    try:
        with _as_broken():
            if not await body.deliver(take):
                raise UpstreamBroken(
                    f"The upstream sent an answer of more than {DEFAULT_LIMIT_BYTES} bytes.",
                    code="upstream_event_too_large",
                )
    finally:
        await body.aclose()
    return b"".join(blocks)


def _is_whole(body: bytes) -> bool:
    """Whether this is all of a document that ends in a bracket."""
    if not body.rstrip().endswith((b"}", b"]")):
        return False
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _told(headers: httpx.Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name in _TOLD_HEADERS or name.startswith(_TOLD_PREFIXES)}


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The first bytes of an error body."""

    data: bytes
    unread: str
    """Why there are no more, if they cannot be decoded."""


async def _beginning(response: httpx.Response) -> _Beginning:
    """The rest is not waited for."""
    blocks: list[bytes] = []
    size, unread = 0, ""

    def take(block: bytes) -> bool:
        nonlocal size
        blocks.append(block)
        size += len(block)
        return size < MAX_ERROR_BYTES

    body = body_of(response)
    try:
        await body.deliver(take)
    except httpx.DecodingError as error:
        unread = as_upstream_error(error).message
    except httpx.HTTPError:
        pass
    finally:
        await body.aclose()
    return _Beginning(b"".join(blocks)[:MAX_ERROR_BYTES], unread)


def _is_terminal(received: Received | DeltaRun) -> bool:
    return isinstance(received, Received) and isinstance(
        received.event, ResponseCompleted | ResponseIncomplete | ResponseFailed | ErrorEvent
    )
