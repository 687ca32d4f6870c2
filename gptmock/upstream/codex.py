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
from functools import partial
from http import HTTPStatus
from typing import Any

import httpx
import msgspec

from gptmock.accounts import Credential
from gptmock.errors import UpstreamBroken, UpstreamRefused, UpstreamTimeout
from gptmock.interruption import Interrupted, Interruption
from gptmock.limits import snapshot_from_headers
from gptmock.protocol.failures import document_failure
from gptmock.protocol.items import ResponseUsage
from gptmock.protocol.request import TRANSCRIPTION_PATH, JsonObject, ResponsesRequest
from gptmock.protocol.sse import DEFAULT_LIMIT_BYTES
from gptmock.protocol.upstream import Compacted, EventStream, Relayed
from gptmock.upstream.bodies import Body
from gptmock.upstream.engine import Answer, Engine, Outgoing, Target
from gptmock.upstream.event_stream import CodexEventStream, broken, forwarded_headers
from gptmock.upstream.identity import ClientIdentity, account_headers
from gptmock.upstream.images import ImageEndpoint, ImageRefusalReader
from gptmock.upstream.refusals import RefusalReader, as_upstream_error, with_limits
from gptmock.upstream.request_bodies import BodyEncoder, EncodedBody
from gptmock.upstream.transcription import TranscriptionRefusalReader

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
        engine: makes the connections; no timeouts of its own are used.
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
        engine: Engine,
        base_url: str,
        *,
        identity: ClientIdentity,
        deadlines: UpstreamDeadlines,
        clock: Callable[[], float],
        finds_runs: bool = True,
        answered: Callable[[int], None] = lambda _: None,
        compresses: bool = False,
    ) -> None:
        self._engine = engine
        self._base_url = base_url.rstrip("/")
        url = f"{self._base_url}/codex"
        self._target = Target.of(httpx.URL(f"{url}/responses"))
        self._compact_target = Target.of(httpx.URL(f"{url}/responses/compact"))
        self._images_url = f"{url}/images"
        self._images = ImageEndpoint(clock)
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
        self,
        request: ResponsesRequest,
        credential: Credential,
        *,
        headers: Mapping[str, str] | None = None,
        sent_again: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[EventStream]:
        """See ``protocol.upstream.Upstream``."""
        if request.image is not None:
            send = partial(self._image, self._headers(request, credential, headers))
            made = await self._images.ask(request.image.endpoint, credential, send)
            if made is not None:
                yield made
                return
        stream = await self._opened(request, credential, headers, sent_again)
        try:
            yield stream
        finally:
            await stream.close()

    async def _opened(
        self,
        request: ResponsesRequest,
        credential: Credential,
        headers: Mapping[str, str] | None,
        sent_again: Callable[[], None],
    ) -> CodexEventStream:
        # A function of its own: request, response and their headers are held no longer than it runs.
        ends_at = asyncio.get_running_loop().time() + self._deadlines.total
        sent = self._headers(request, credential, headers)
        refusals = RefusalReader(credential, self._clock)
        answer = await self._asked(request.to_json(), sent, refusals, sent_again)
        return CodexEventStream(
            answer,
            refusals=refusals,
            idle_seconds=self._deadlines.idle,
            ends_at=ends_at,
            finds_runs=self._finds_runs,
        )

    async def _asked(
        self, plain: bytes, headers: Mapping[str, str], refusals: RefusalReader, sent_again: Callable[[], None]
    ) -> Answer:
        """The response to a turn. A 415 to a compressed body is no answer to the turn: it is sent again, plain."""
        body = await self._encoder.encode(plain)
        try:
            return await self._send(self._target, body, headers, refusals, patience=self._deadlines.head)
        except UpstreamRefused as error:
            if not body.coding or error.status_hint != HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
                raise
        log.warning("upstream.compression_refused", extra={"coding": body.coding})
        self._encoder.plain_only()
        sent_again()
        return await self._send(self._target, EncodedBody(plain), headers, refusals, patience=self._deadlines.head)

    async def compact(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Compacted:
        """See ``protocol.upstream.Upstream``. The idle deadline applies, since the head comes only with the result."""
        refusals = RefusalReader(credential, self._clock)
        sent, body = self._headers(request, credential, headers), request.to_compaction_json()
        answer, document_bytes = await self._unary(self._compact_target, body, sent, refusals)
        try:
            document, known = _OBJECT.decode(document_bytes), _COMPACTED.decode(document_bytes)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise refusals.read(document_failure, document_bytes) or UpstreamBroken(
                f"The upstream answered the compaction with what cannot be read: {error}", code="upstream_bad_event"
            ) from error
        answered = answer.headers()
        limits = snapshot_from_headers(answered, now=self._clock())
        return Compacted(document, known.usage, limits, forwarded_headers(answered))

    async def relay(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Relayed:
        """See ``protocol.upstream.Upstream``."""
        call = request.side
        assert call is not None  # noqa: S101 - whoever relays has one
        sent = {**self._headers(request, credential, headers), "content-type": call.content_type}
        target = Target.of(httpx.URL(f"{self._base_url}/{call.path}"))
        reads = TranscriptionRefusalReader if call.path == TRANSCRIPTION_PATH else RefusalReader
        answer, body = await self._unary(target, call.body, sent, reads(credential, self._clock))
        answered = answer.headers()
        return Relayed(body, snapshot_from_headers(answered, now=self._clock()), forwarded_headers(answered))

    async def _image(
        self, headers: Mapping[str, str], path: str, body: bytes, refusals: ImageRefusalReader
    ) -> tuple[Answer, bytes]:
        return await self._unary(Target.of(httpx.URL(f"{self._images_url}/{path}")), body, headers, refusals)

    async def _unary(
        self, target: Target, body: bytes, headers: Mapping[str, str], refusals: RefusalReader
    ) -> tuple[Answer, bytes]:
        """A response that is not streamed, and its body."""
        sent = {**headers, "accept": "application/json"}
        # Not compressed: Codex compresses turns only.
        answer = await self._send(target, EncodedBody(body), sent, refusals, patience=self._deadlines.idle)
        try:
            async with asyncio.timeout(self._deadlines.idle):
                return answer, await _whole(answer.body)
        except TimeoutError:
            raise UpstreamTimeout(
                f"The upstream did not finish within {self._deadlines.idle:.0f} seconds.", should_retry=False
            ) from None

    async def _send(
        self, target: Target, body: EncodedBody, headers: Mapping[str, str], refusals: RefusalReader, *, patience: float
    ) -> Answer:
        # A client's header may hold more than ASCII.
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        encoded = [(b"Host", target.authority), *encoded, (b"Content-Length", b"%d" % len(body.data))]
        if body.coding:
            encoded.append((b"Content-Encoding", body.coding.encode()))
        try:
            with Interruption(patience):
                answer = await self._engine.exchange(Outgoing("POST", target, encoded, body.data))
                self._answered(answer.status)
                if answer.status != 200:
                    beginning = await _beginning(answer.body)
                    error = refusals.refusal(
                        answer.status, beginning.data, location=answer.location, unread=beginning.unread
                    )
                    error = refusals.challenged(error) if _is_challenge(answer) else error
                    raise with_limits(error, answer.headers())
        except Interrupted:
            raise UpstreamTimeout(
                f"The upstream did not answer within {patience:.0f} seconds.", should_retry=False
            ) from None
        except httpx.HTTPError as error:
            # No response has begun, so a retry is safe. The usual cause is a stale pooled connection.
            raise as_upstream_error(error) from error
        return answer

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


def _is_challenge(answer: Answer) -> bool:
    """Whether this is a page of the provider's bot protection."""
    return answer.headers().get("cf-mitigated") == "challenge"


async def _whole(body: Body) -> bytes:
    """The complete body of a response that is not an event stream."""
    blocks: list[bytes] = []
    size = 0

    def take(block: bytes) -> bool:
        nonlocal size
        blocks.append(block)
        size += len(block)
        return size <= DEFAULT_LIMIT_BYTES

    try:
        if not await body.deliver(take):
            raise UpstreamBroken(
                f"The upstream sent an answer of more than {DEFAULT_LIMIT_BYTES} bytes.",
                code="upstream_event_too_large",
            )
    except httpx.HTTPError as error:
        raise broken(error) from error
    finally:
        await body.aclose()
    return b"".join(blocks)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The first bytes of an error body."""

    data: bytes
    unread: str
    """Why there are no more, if they cannot be decoded."""


async def _beginning(body: Body) -> _Beginning:
    """The rest is not waited for."""
    blocks: list[bytes] = []
    size, unread = 0, ""

    def take(block: bytes) -> bool:
        nonlocal size
        blocks.append(block)
        size += len(block)
        return size < MAX_ERROR_BYTES

    try:
        await body.deliver(take)
    except httpx.DecodingError as error:
        unread = as_upstream_error(error).message
    except httpx.HTTPError:
        pass
    finally:
        await body.aclose()
    return _Beginning(b"".join(blocks)[:MAX_ERROR_BYTES], unread)
