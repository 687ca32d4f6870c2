"""
The upstream over WebSockets: the second implementation of ``protocol.upstream.Upstream``, beside HTTP and over it.

A turn goes by WebSocket if it can, and by HTTP until its first message has come: what fails before is no answer to the
turn. Refusals of the account or the request are answers. After the first message, be it usage windows or headers,
nothing is sent again.

Source: upstream protocol 9.1; openai/codex ``core/src/client.rs``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import httpx
import msgspec

from gptmock.accounts import Credential
from gptmock.errors import GptmockError, UpstreamBroken, UpstreamTimeout
from gptmock.protocol.failures import document_failure, refusal_of
from gptmock.protocol.request import JsonObject, ResponsesRequest
from gptmock.protocol.upstream import Compacted, EventStream, Relayed
from gptmock.upstream.codex import CodexUpstream, UpstreamDeadlines
from gptmock.upstream.continuation import TurnMarks, continued, marks_of, members_of, new_input
from gptmock.upstream.dialer import Dialer
from gptmock.upstream.engine import Answer, Target
from gptmock.upstream.event_stream import CodexEventStream
from gptmock.upstream.identity import ClientIdentity, account_headers
from gptmock.upstream.refusals import RefusalReader, with_limits
from gptmock.upstream.websocket_body import NotBegunError, WebSocketBody
from gptmock.upstream.websocket_connection import LIMIT_HEADER, HandshakeRefusedError, WebSocketConnection, are_sendable
from gptmock.upstream.websocket_events import has_limits, is_about_the_connection, kind_of
from gptmock.upstream.websocket_failures import FailureCount
from gptmock.upstream.websocket_pool import Place, PoolBounds, WebSocketPool

log = logging.getLogger("gptmock.upstream")

BETA = "responses_websockets=2026-02-06"
HANDSHAKE_SECONDS = 15.0
_ANSWERS = frozenset({401, 402, 403, 429})
"""Statuses of a handshake that are about the account: HTTP would say the same."""
_TOO_BIG = 1009
_LITE = "x-openai-internal-codex-responses-lite"
_LITE_MEMBER = "ws_request_header_x_openai_internal_codex_responses_lite"
_OF_THE_TURN = ("x-codex-", "x-openai-")
"""Request headers that belong to a turn: on a WebSocket they are members of ``client_metadata``."""
_OF_THE_CONNECTION = ("originator", "user-agent", "version", "authorization", "chatgpt-account-id", "x-openai-fedramp")
"""Request headers that must not change while a connection lives."""
_TRIES = 2

Told = Callable[[str], None]
"""Told how a turn was sent: ``whole``, ``incremental``, or why it went by HTTP."""


class _Sends:
    """Counts how often a turn is sent, by WebSocket and by HTTP; ``again`` is called for each time but the first."""

    def __init__(self, again: Callable[[], None]) -> None:
        self._again = again
        self._is_sent = False

    def count(self) -> None:
        """It is being sent."""
        if self._is_sent:
            self._again()
        self._is_sent = True


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn to be sent, and what is known of it."""

    members: JsonObject
    marks: TurnMarks
    refusals: RefusalReader
    headers: Mapping[str, str]
    """Of the handshake."""
    sends: _Sends

    @property
    def identity(self) -> tuple[str, ...]:
        return tuple(self.headers.get(name, "") for name in _OF_THE_CONNECTION)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A turn whose first event has come."""

    body: WebSocketBody
    headers: Mapping[str, str]


class _ByHttpError(Exception):
    """This turn goes by HTTP; the argument says why, as in the metrics."""


class WebSocketUpstream:
    """
    Opens turns at the backend, by WebSocket where that is possible.

    Args:
        http: takes all other turns.
        base_url: as ``https://chatgpt.com/backend-api``.
        identity: the headers that name us.
        deadlines: how long to wait for what.
        clock: Unix seconds.
        wants: whether a turn is to go by WebSocket.
        bounds: of the pool.
        finds_runs: see ``EventReader``.
        answered: told the status of every answer.
        told: told how each turn was sent.
    """

    def __init__(  # noqa: PLR0913 - each is a thing of its own
        self,
        http: CodexUpstream,
        base_url: str,
        *,
        identity: ClientIdentity,
        deadlines: UpstreamDeadlines,
        clock: Callable[[], float],
        wants: Callable[[ResponsesRequest], bool] = lambda _: True,
        bounds: PoolBounds | None = None,
        finds_runs: bool = True,
        answered: Callable[[int], None] = lambda _: None,
        told: Told = lambda _: None,
    ) -> None:
        self._http = http
        url = httpx.URL(f"{base_url.rstrip('/')}/codex/responses")
        self._origin = Target.of(url).origin
        self._url = str(url.copy_with(scheme="wss" if url.scheme == "https" else "ws"))
        self._identity = identity
        self._deadlines = deadlines
        self._clock = clock
        self._wants = wants
        self._finds_runs = finds_runs
        self._answered = answered
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._dialer = Dialer()
        self._pool = WebSocketPool(bounds or PoolBounds())
        self._failures = FailureCount(self._loop.time)

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
        # Images have an endpoint of their own.
        is_wanted = request.image is None and self._wants(request)
        sends = _Sends(sent_again)
        stream = await self._opened(request, credential, headers or {}, sends) if is_wanted else None
        if stream is None:
            sends.count()
            async with self._http.open(request, credential, headers=headers, sent_again=sent_again) as by_http:
                yield by_http
            return
        try:
            yield stream
        finally:
            await stream.close()

    async def relay(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Relayed:
        """See ``protocol.upstream.Upstream``; always by HTTP."""
        return await self._http.relay(request, credential, headers=headers)

    async def compact(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Compacted:
        """See ``protocol.upstream.Upstream``: always over HTTP."""
        return await self._http.compact(request, credential, headers=headers)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    async def _opened(
        self, request: ResponsesRequest, credential: Credential, headers: Mapping[str, str], sends: _Sends
    ) -> CodexEventStream | None:
        """The turn by WebSocket; ``None`` if it has to go by HTTP."""
        ends_at = self._loop.time() + self._deadlines.total
        account = credential.account.id
        turn = self._turn(request, credential, headers, sends)
        try:
            place = self._reserved(account, request.prompt_cache_key)
            try:
                begun = await self._begun(place, turn)
            except BaseException:
                self._pool.drop(place)
                raise
        except _ByHttpError as reason:
            self._told(str(reason))
            if str(reason) in ("handshake", "closed") and self._failures.failed(account):
                log.warning("upstream.websocket_parked", extra={"account": account})
            return None
        self._failures.succeeded(account)
        return CodexEventStream(
            Answer(200, [(name.encode(), value.encode()) for name, value in begun.headers.items()], begun.body),
            refusals=turn.refusals,
            idle_seconds=self._deadlines.idle,
            ends_at=ends_at,
            finds_runs=self._finds_runs,
        )

    def _reserved(self, account: str, conversation: str) -> Place:
        """
        The conversation's place in the pool.

        Raises:
            _ByHttpError: it has none now.
        """
        if self._failures.is_parked(account):
            raise _ByHttpError("parked")
        place = self._pool.reserve((account, conversation))
        if place is None:
            raise _ByHttpError("busy")
        return place

    def _turn(
        self, request: ResponsesRequest, credential: Credential, clients: Mapping[str, str], sends: _Sends
    ) -> _Turn:
        members = members_of(request)
        metadata = {_LITE_MEMBER if name == _LITE else name: clients[name] for name in clients if _is_of_turn(name)}
        if metadata:
            given = members.get("client_metadata")
            members["client_metadata"] = {**metadata, **(given if isinstance(given, dict) else {})}
        headers = {
            **self._identity.headers,
            "openai-beta": BETA,
            "session-id": request.prompt_cache_key,
            "thread-id": request.prompt_cache_key,
            **{name: value for name, value in clients.items() if not _is_of_turn(name)},
            **account_headers(credential),
        }
        return _Turn(members, marks_of(members), RefusalReader(credential, self._clock), headers, sends)

    async def _begun(self, place: Place, turn: _Turn) -> _Begun:
        """
        Send the turn until its first event has come, a second time on a new connection if the first one is lost and
        nothing came on it.

        Raises:
            _ByHttpError: it has to go by HTTP.
            GptmockError: it was refused.
        """
        for _ in range(_TRIES):
            is_new = place.usable(turn.identity, oldest=self._pool.oldest) is None
            if is_new:
                place.leave()
                await self._connect(place, turn)
            try:
                return await self._sent(place, turn, is_new=is_new)
            except NotBegunError as error:
                place.leave()
                if error.loss is not None and error.loss.code == _TOO_BIG:
                    raise _ByHttpError("too_large") from error
        raise _ByHttpError("closed")

    async def _connect(self, place: Place, turn: _Turn) -> None:
        """
        Open the connection of a place.

        Raises:
            _ByHttpError: there is none.
            GptmockError: the handshake was refused for reasons that hold for HTTP too.
        """
        if not are_sendable(turn.headers):
            raise _ByHttpError("handshake")
        make = partial(WebSocketConnection, self._url, turn.headers, idle=is_idle_message, gone=self._pool.gone)
        connection: WebSocketConnection | None = None
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                connection = await self._dialer.dial(self._origin, make)
                await connection.opened
        except HandshakeRefusedError as refused:
            self._answered(refused.status)
            if refused.status in _ANSWERS:
                judge = partial(_handshake_refusal, refused.status)
                raise with_limits(turn.refusals.read(judge, refused.body), refused.headers) from refused
            raise _ByHttpError("handshake") from refused
        except (httpx.HTTPError, TimeoutError) as error:
            if connection is not None:
                connection.abort()
            raise _ByHttpError("handshake") from error
        except BaseException:
            if connection is not None:
                connection.abort()
            raise
        place.connection, place.identity, place.continuation = connection, turn.identity, None

    async def _sent(self, place: Place, turn: _Turn, *, is_new: bool) -> _Begun:
        """
        Send the turn on the place's connection and wait for its first event.

        Raises:
            NotBegunError: the connection was lost before, or nothing can be continued on it.
            _ByHttpError: the message is too large.
            GptmockError: it was refused.
        """
        connection = place.connection
        assert connection is not None  # noqa: S101 - connected
        new = place.continuation.new_items(turn.marks) if place.continuation is not None else None
        message = _message(turn.members, place, new)
        if len(message) >= connection.limit_bytes:
            raise _ByHttpError("too_large")
        place.continuation = None
        body = WebSocketBody(
            connection,
            refused=partial(self._refused, turn.refusals),
            finished=partial(self._finished, place, turn.marks),
        )
        try:
            async with asyncio.timeout(self._deadlines.head):
                turn.sends.count()
                await connection.send(message, body)
                await body.begun
        except TimeoutError:
            await body.aclose()
            raise UpstreamTimeout(
                f"The upstream did not answer within {self._deadlines.head:.0f} seconds.", should_retry=False
            ) from None
        except BaseException:
            await body.aclose()
            raise
        self._answered(200)
        self._told("whole" if new is None else "incremental")
        return _Begun(body, _headers(connection.headers, body.headers, is_new=is_new))

    def _refused(self, refusals: RefusalReader, message: bytes) -> GptmockError:
        """The error of an ``error`` event before any other: judged as the same status over HTTP."""
        error = refusals.read(document_failure, message) or UpstreamBroken(
            "The upstream refused the turn without saying why.", code="upstream_error"
        )
        self._answered(error.status_hint)
        return error

    def _finished(self, place: Place, marks: TurnMarks, response_id: str | None, output: list[bytes]) -> None:
        """The turn has ended, or its connection was lost: the place is free for the next one."""
        if response_id is not None:
            place.continuation = continued(marks, response_id, output)
        if place.connection is not None and place.connection.is_usable:
            self._pool.release(place)
        else:
            self._pool.drop(place)


def _handshake_refusal(status: int, body: bytes, *, now: float) -> GptmockError:
    return refusal_of(status, body, now=now)


def _is_of_turn(name: str) -> bool:
    return name.startswith(_OF_THE_TURN)


def is_idle_message(message: bytes) -> bool:
    """Whether a message may come between two turns; an error there says that the connection ends."""
    kind = kind_of(message)
    return kind is not None and is_about_the_connection(kind)


def _message(members: JsonObject, place: Place, new: int | None) -> bytes:
    """The message of a turn: all of it, or what is ``new`` behind the response before it."""
    if new is None or place.continuation is None:
        return msgspec.json.encode({"type": "response.create", **members})
    changes = {"previous_response_id": place.continuation.response_id, "input": new_input(members["input"], new)}
    return msgspec.json.encode({"type": "response.create", **members, **changes})


def _headers(handshake: Mapping[str, str], turn: Mapping[str, str], *, is_new: bool) -> dict[str, str]:
    """
    What are the response's headers over HTTP. The handshake's hold for its first turn, and usage windows there only if
    the turn tells none: they would be old.
    """
    known = {name: handshake[name] for name in handshake if name != LIMIT_HEADER} if is_new else {}
    if not has_limits(turn):
        return {**known, **turn}
    return {**{name: value for name, value in known.items() if not name.startswith("x-codex-")}, **turn}
