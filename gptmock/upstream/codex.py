"""
Client of the Codex backend, over httpx: headers, deadlines, and errors by status. Must not know any client dialect.

Only the status decides success: the backend sends event streams without a ``Content-Type``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from gptmock.accounts import Credential
from gptmock.errors import GptmockError, UpstreamBroken, UpstreamTimeout
from gptmock.limits import snapshot_from_headers
from gptmock.protocol.events import ErrorEvent, ResponseCompleted, ResponseFailed, ResponseIncomplete
from gptmock.protocol.failures import document_failure, no_stream
from gptmock.protocol.items import ResponseUsage
from gptmock.protocol.reader import EventReader, Received
from gptmock.protocol.request import JsonObject, ResponsesRequest
from gptmock.protocol.sse import DEFAULT_LIMIT_BYTES
from gptmock.protocol.upstream import Compacted
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
        client: its transport makes the connections; no timeouts of its own are used.
        base_url: as ``https://chatgpt.com/backend-api``.
        identity: the headers that name us.
        deadlines: how long to wait for what.
        clock: Unix seconds.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        base_url: str,
        *,
        identity: ClientIdentity,
        deadlines: UpstreamDeadlines,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._url = f"{base_url.rstrip('/')}/codex/responses"
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
        url = f"{self._url}/compact"
        refusals = RefusalReader(credential, self._clock)
        response = await self._send(url, request.to_compaction_json(), sent, refusals, patience=self._deadlines.idle)
        try:
            async with asyncio.timeout(self._deadlines.idle):
                body = await _whole(response)
        except TimeoutError:
            raise UpstreamTimeout(
                f"The upstream did not finish within {self._deadlines.idle:.0f} seconds.", should_retry=False
            ) from None
        try:
            document, known = _OBJECT.decode(body), _COMPACTED.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise refusals.read(document_failure, body) or UpstreamBroken(
                f"The upstream answered the compaction with what cannot be read: {error}", code="upstream_bad_event"
            ) from error
        limits = snapshot_from_headers(response.headers, now=self._clock())
        return Compacted(document, known.usage, limits, _told(response.headers))

    async def _send(
        self, url: str, body: bytes, headers: Mapping[str, str], refusals: RefusalReader, *, patience: float
    ) -> httpx.Response:
        # As bytes: a client's header may hold more than ASCII, and httpx would refuse it.
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        try:
            async with asyncio.timeout(patience):
                message = self._client.build_request("POST", url, content=body, headers=encoded)
                response = await self._client.send(message, stream=True)
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
    ) -> None:
        self._response = response
        self._refusals = refusals
        self._idle_seconds = idle_seconds
        self._ends_at = ends_at
        self._reader = EventReader()
        self._body = _blocks(response)
        self._ended = False
        """The terminal event was read: only the end of the body can follow."""
        self.limits = snapshot_from_headers(response.headers, now=refusals.clock())
        self.models_etag = entity_tag(response.headers, "x-models-etag")
        self.headers: Mapping[str, str] = _told(response.headers)

    async def batches(self) -> AsyncIterator[list[Received]]:
        """See ``EventStream.batches``."""
        has_begun = False
        while (block := await self._block()) is not None:
            if not has_begun and (start := block.lstrip(_BLANK)):
                if start.startswith(_DOCUMENT_STARTS):
                    raise await self._instead(start)
                has_begun = True
            if received := self._reader.feed(block):
                self._ended = self._ended or _is_terminal(received[-1])
                yield received
                # Raises an error that stands behind these events now instead of at the next read.
                self._reader.feed(b"")
        if received := self._reader.finish():
            self._ended = self._ended or _is_terminal(received[-1])
            yield received

    async def close(self) -> None:
        """Release the connection; after the terminal event wait ``LINGER_SECONDS`` for the end of the body first."""
        try:
            if self._ended:
                with suppress(TimeoutError, UpstreamBroken):
                    async with asyncio.timeout(LINGER_SECONDS):
                        while await anext(self._body, None) is not None:
                            pass
        finally:
            await self._body.aclose()
            await self._response.aclose()
        if self._reader.skipped:
            log.warning("upstream.garbage_skipped", extra={"events": self._reader.skipped})

    async def _instead(self, start: bytes) -> GptmockError:
        """What a body says that is no event stream; it is read until its JSON is whole. A web page is not read on."""
        body = start
        while not (start.startswith(b"<") or len(body) >= MAX_DOCUMENT_BYTES or _is_whole(body)):
            block = await self._block()
            if block is None:
                break
            body += block
        return self._refusals.read(no_stream, body[:MAX_DOCUMENT_BYTES])

    async def _block(self) -> bytes | None:
        left = self._ends_at - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(self._idle_seconds, left)):
                return await anext(self._body, None)
        except TimeoutError:
            what = "said nothing" if left > self._idle_seconds else "did not finish"
            seconds = self._idle_seconds if left > self._idle_seconds else 0
            raise UpstreamTimeout(
                f"The upstream {what} within {seconds:.0f} seconds." if seconds else "The turn took too long in all.",
                should_retry=False,
            ) from None


def entity_tag(headers: httpx.Headers, name: str) -> str | None:
    """The entity tag in a header; ``None`` if absent, too long or not printable ASCII."""
    tag = headers.get(name, "").strip()
    return tag if tag.isascii() and tag.isprintable() and 0 < len(tag) <= MAX_TAG_CHARACTERS else None


async def _blocks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The raw body, one block per read: httpx's own iterators would split and copy it."""
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - an async client's always is
    try:
        async for block in response.stream:
            yield block
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
    try:
        async for block in _blocks(response):
            blocks.append(block)
            size += len(block)
            if size > DEFAULT_LIMIT_BYTES:
                raise UpstreamBroken(
                    f"The upstream sent an answer of more than {DEFAULT_LIMIT_BYTES} bytes.",
                    code="upstream_event_too_large",
                )
    finally:
        await response.aclose()
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
    try:
        async for block in _blocks(response):
            blocks.append(block)
            size += len(block)
            if size >= MAX_ERROR_BYTES:
                break
    except UpstreamBroken as error:
        unread = error.message if isinstance(error.__cause__, httpx.DecodingError) else ""
    finally:
        await response.aclose()
    return _Beginning(b"".join(blocks)[:MAX_ERROR_BYTES], unread)


def _is_terminal(received: Received) -> bool:
    return isinstance(received.event, ResponseCompleted | ResponseIncomplete | ResponseFailed | ErrorEvent)
