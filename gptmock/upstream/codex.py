"""
Client of the Codex backend, over httpx: headers, deadlines, and errors by status. Must not know any client dialect.

Only the status decides success: the backend sends event streams without a ``Content-Type``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import msgspec

from gptmock.accounts import Credential
from gptmock.errors import UpstreamBroken, UpstreamRefused, UpstreamTimeout
from gptmock.limits import snapshot_from_headers
from gptmock.protocol.failures import document_failure
from gptmock.protocol.items import ResponseUsage
from gptmock.protocol.request import JsonObject, ResponsesRequest
from gptmock.protocol.sse import DEFAULT_LIMIT_BYTES
from gptmock.protocol.upstream import Compacted
from gptmock.upstream.bodies import body_of, headers_of
from gptmock.upstream.event_stream import CodexEventStream, broken_as_errors, forwarded_headers
from gptmock.upstream.identity import ClientIdentity, account_headers
from gptmock.upstream.refusals import RefusalReader, as_upstream_error
from gptmock.upstream.request_bodies import BodyEncoder, EncodedBody

log = logging.getLogger("gptmock.upstream")

MAX_ERROR_BYTES = 4096
"""How much of an error body is read: it may be a megabyte of HTML."""


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
        answered: told the status of every answer.
        compresses: whether large bodies of turns are sent in zstd; a 415 to one ends it.
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
        answered: Callable[[int], None] = lambda _: None,
        compresses: bool = False,
    ) -> None:
        self._transport = transport
        self._url = httpx.URL(f"{base_url.rstrip('/')}/codex/responses")
        self._compact_url = httpx.URL(f"{base_url.rstrip('/')}/codex/responses/compact")
        self._finds_runs = finds_runs
        self._answered = answered
        self._encoder = BodyEncoder(compresses=compresses)
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
        stream = await self._opened(request, credential, headers)
        try:
            yield stream
        finally:
            await stream.close()

    async def _opened(
        self, request: ResponsesRequest, credential: Credential, headers: Mapping[str, str] | None
    ) -> CodexEventStream:
        # A function of its own: request, response and their headers are held no longer than it runs.
        ends_at = asyncio.get_running_loop().time() + self._deadlines.total
        sent = self._headers(request, credential, headers)
        refusals = RefusalReader(credential, self._clock)
        response = await self._asked(request.to_json(), sent, refusals)
        return CodexEventStream(
            body_of(response),
            headers_of(response),
            refusals=refusals,
            idle_seconds=self._deadlines.idle,
            ends_at=ends_at,
            finds_runs=self._finds_runs,
        )

    async def _asked(self, plain: bytes, headers: Mapping[str, str], refusals: RefusalReader) -> httpx.Response:
        """The response to a turn. A 415 to a compressed body is no answer to the turn: it is sent again, plain."""
        body = await self._encoder.encode(plain)
        try:
            return await self._send(self._url, body, headers, refusals, patience=self._deadlines.head)
        except UpstreamRefused as error:
            if not body.coding or error.status_hint != HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
                raise
        log.warning("upstream.compression_refused", extra={"coding": body.coding})
        self._encoder.plain_only()
        return await self._send(self._url, EncodedBody(plain), headers, refusals, patience=self._deadlines.head)

    async def compact(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Compacted:
        """See ``protocol.upstream.Upstream``. The idle deadline applies, since the head comes only with the result."""
        sent = {**self._headers(request, credential, headers), "accept": "application/json"}
        refusals = RefusalReader(credential, self._clock)
        # Not compressed: Codex compresses turns only.
        body = EncodedBody(request.to_compaction_json())
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
        return Compacted(document, known.usage, limits, forwarded_headers(response.headers))

    async def _send(
        self, url: httpx.URL, body: EncodedBody, headers: Mapping[str, str], refusals: RefusalReader, *, patience: float
    ) -> httpx.Response:
        # As bytes: a client's header may hold more than ASCII, and httpx would refuse it.
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        # httpx adds these two itself to a request that has ``content``, in four walks through all headers.
        encoded = [(b"Host", url.netloc), *encoded, (b"Content-Length", b"%d" % len(body.data))]
        if body.coding:
            encoded.append((b"Content-Encoding", body.coding.encode()))
        try:
            async with asyncio.timeout(patience):
                # Not through a client: it adds nothing here, and 0.1 ms to each request.
                response = await self._transport.handle_async_request(
                    httpx.Request("POST", url, stream=httpx.ByteStream(body.data), headers=encoded)
                )
                self._answered(response.status_code)
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
        with broken_as_errors():
            if not await body.deliver(take):
                raise UpstreamBroken(
                    f"The upstream sent an answer of more than {DEFAULT_LIMIT_BYTES} bytes.",
                    code="upstream_event_too_large",
                )
    finally:
        await body.aclose()
    return b"".join(blocks)


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
