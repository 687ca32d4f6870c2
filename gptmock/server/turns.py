"""The one handler of all dialects: decode, open, pump or answer. Must not know any dialect by name."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from msgspec import UNSET
from sanic import HTTPResponse, Request

from gptmock.clients import Client
from gptmock.conversations import ContextReferences, LoadedContext
from gptmock.dialects.dialect import (
    Call,
    Dialect,
    ExplainsFailures,
    KeepsAlive,
    ReadyReply,
    ReplyHead,
    Terms,
    Turn,
    UsesStoredContext,
    supports,
)
from gptmock.dialects.table import DialectRoute
from gptmock.errors import DEFAULT_RETRY_SECONDS, GptmockError, ServerStopping
from gptmock.gateway.cancelled import untold_tokens, written_tokens
from gptmock.gateway.key_limits import UNLIMITED, Grant
from gptmock.gateway.key_terms import check_model, terms_for
from gptmock.gateway.reply import Outcome
from gptmock.gateway.several_turns import AnyReply
from gptmock.interruption import Interrupted, Interruption
from gptmock.live import LiveTurn
from gptmock.server.client_bounds import ClientBounds
from gptmock.server.client_wire import SanicWire, TurnResponse
from gptmock.server.context import App, ServerOptions, Services, new_head
from gptmock.server.guard import client_address, client_source
from gptmock.server.ignored_header import IGNORED, ignored_header
from gptmock.server.large_bodies import LargeBodies
from gptmock.server.multipart import FORM_TYPE, is_form, read_form
from gptmock.server.replies import as_gptmock_error, error_response
from gptmock.server.requests import headers_of, request_id
from gptmock.server.streaming import ClientSink, Heartbeat, Wire

log = logging.getLogger("gptmock.turn")

_Understood = TypeVar("_Understood")
Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, HTTPResponse | None]]
CLIENT_GONE = 499
"""In the log only, for a client that left before its status; nginx's number."""
TURN_STATE_HEADER = "x-codex-turn-state"
"""Sent back by Codex within one turn: it tells the backend where the turn is at home."""
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def turn_handler(route: DialectRoute, options: ServerOptions) -> Handler:
    """The handler of one route."""

    async def handle(request: Request) -> HTTPResponse | None:
        return await TurnRequest(request, route, options).run()

    handle.__name__ = f"turn_{route.name}"
    return handle


def cut_turns(app: App) -> None:
    """End all calls of a worker now; each client is told so in its dialect."""
    for turn in list(app.ctx.turns):
        turn.cut()


class TurnRequest:
    """One client call from its first byte to the log line; over HTTP, unless a subclass has another transport."""

    transport = "http"
    """In the log."""

    def __init__(self, request: Request, route: DialectRoute, options: ServerOptions) -> None:
        self._request = request
        self._route = route
        self._options = options
        self._services: Services = request.app.ctx.services
        self._large_bodies: LargeBodies = request.app.ctx.large_bodies
        self._bounds: ClientBounds = request.app.ctx.client_bounds
        self._head: ReplyHead = new_head(request_id(request))
        self._client: Client | None = None
        self._turn: Turn | None = None
        self._outcome = Outcome(traced=None if self._services.traces is None else [])
        self._started_ns = time.time_ns()
        self._grant: Grant = UNLIMITED
        self._first_seconds: float | None = None
        self._sent_bytes = 0
        self._asked_bytes = 0
        """Size of the request body."""
        self._sink: ClientSink | None = None
        """Of a stream."""
        self._reply: AnyReply | None = None
        """Of a stream."""
        self._interruption = Interruption()
        """By a stop of the server, until there is a stream."""

    @property
    def _dialect(self) -> Dialect:
        return self._route.dialect

    async def run(self) -> HTTPResponse | None:
        """The answer, or ``None`` when it was streamed; one line in the log either way."""
        status, ended = 500, "internal_error"
        activity = self._services.activity
        activity.turns += 1
        activity.live[id(self)] = self._live
        turns: set[TurnRequest] = self._request.app.ctx.turns
        turns.add(self)
        try:
            with self._bounds.stream():
                response = await self._answer_in_time()
            status = 200 if response is None else response.status
            ended = self._ending
        except asyncio.CancelledError:
            status = 200 if self._sink is not None and self._sink.begun else CLIENT_GONE
            ended = self._ending if self._sink is not None and self._sink.complete else "client_gone"
            raise
        except (GptmockError, RecursionError) as exception:
            error = as_gptmock_error(self._request, exception)
            status, ended = error.status_hint, error.code
            refused = await self._explained(error)
            refused.headers.update(self._grant.headers)
            status = refused.status
            return refused
        else:
            return response
        finally:
            activity.turns -= 1
            del activity.live[id(self)]
            turns.discard(self)
            untold = untold_tokens(self._turn, self._outcome) if ended == "client_gone" else None
            self._grant.end(tokens=self._outcome.tokens, untold=untold)
            self._log(status, ended)

    def _live(self) -> LiveTurn:
        turn, sink, client = self._turn, self._sink, self._client
        return LiveTurn(
            started_at=self._head.created,
            dialect=self._route.name,
            tenant=client.tenant if client is not None else "",
            model=turn.resolved.slug if turn is not None else None,
            account_id=self._outcome.account_id,
            sent_bytes=sink.sent_bytes if sink is not None else 0,
            output_tokens=written_tokens(self._outcome),
        )

    async def _explained(self, error: GptmockError) -> HTTPResponse:
        """The answer for an error, before anything was sent."""
        turn = self._turn
        if turn is not None and supports(turn.reply, ExplainsFailures):
            error = await self._words_for(turn.reply)(error)
            body = turn.reply.answer(self._head, error)
            if body is not None:
                kind = self._dialect.content_type if turn.stream else "application/json"
                return HTTPResponse(body, headers=self._reply_headers(turn, None), content_type=kind)
        return error_response(error, self._dialect, asked=request_id(self._request))

    def _words_for(self, plan: ExplainsFailures) -> Callable[[GptmockError], Awaitable[GptmockError]]:
        # Holds no reference to this object: it is held by the outcome, and a cycle would keep a large body.
        bodies, size_bytes = self._large_bodies, self._asked_bytes
        return lambda error: bodies.run(size_bytes, partial(plan.reworded, error))

    def cut(self) -> None:
        """Answer now that the server stops: by a status, or within the stream."""
        if self._reply is not None:
            self._reply.cut(_stopping())
            return
        self._interruption.interrupt()

    async def _answer_in_time(self) -> HTTPResponse | None:
        try:
            with self._interruption:
                return await self._answer()
        except Interrupted:
            raise _stopping() from None

    @property
    def _ending(self) -> str:
        return "ok" if self._outcome.error is None else self._outcome.error.code

    async def _answer(self) -> HTTPResponse | None:
        turn, bound = await self._understand(self._dialect.decode)
        if isinstance(turn, ReadyReply):
            return self._whole(turn.document(self._head), {})
        async with self._services.gateway.open(turn, self._head, self._outcome, account_id=bound) as reply:
            return await (self._stream(turn, reply) if turn.stream else self._document(turn, reply))

    async def _understand(self, decode: Callable[[Call, Terms], _Understood]) -> tuple[_Understood, str | None]:
        """What is asked, and the account that the caller's key is bound to."""
        request = self._request
        # Sanic's RESPONSE_TIMEOUT counts from the last byte sent: a model may think for longer than that.
        raise_idle_timeout(request, self._options.deadline_seconds)
        headers = headers_of(request)
        known: Client | None = getattr(request.ctx, "client", None)
        admission = self._services.admission
        client = self._client = known or await admission.admit(headers, source=client_source(request))
        self._outcome.tenant = client.tenant
        self._asked_bytes = len(request.body)
        call = await self._recalled(await self._call(headers, client))
        terms = terms_for(client, self._services.terms)
        turn = await self._large_bodies.run(self._asked_bytes, partial(decode, call, terms))
        if isinstance(turn, Turn):
            self._turn = turn
            check_model(client, turn.resolved.slug)
            self._grant = self._begin(client)
            self._outcome.admitted, self._outcome.turns_at_once = self._grant.admitted, self._grant.turns_at_once
            self._outcome.counts_output = self._grant is not UNLIMITED
            if supports(turn.reply, ExplainsFailures):
                self._outcome.reworded = self._words_for(turn.reply)
            if self._options.verbose:
                self._show(turn)
        # The turn holds what is sent upstream. A stream may last for an hour, and the body may be many megabytes.
        request.body = b""
        return turn, client.account_id

    def _begin(self, client: Client) -> Grant:
        return self._services.limits.begin(client)

    async def _call(self, headers: dict[str, str], client: Client) -> Call:
        body, kind = self._request.body, headers.get("content-type", "")
        if self._route.form is None or not is_form(kind):
            return Call(body, headers, client.tenant)
        form = await self._large_bodies.run(len(body), partial(read_form, body, kind))
        # The parts are copies.
        self._request.body = b""
        return Call(b"", headers, client.tenant, form=form)

    async def _recalled(self, call: Call) -> Call:
        """With what it refers to, if its dialect knows of such things."""
        if not supports(self._dialect, UsesStoredContext):
            return call
        references = await self._large_bodies.run(len(call.body), partial(self._dialect.context_references, call))
        return replace(call, context=await self._recall(call.tenant, references))

    async def _recall(self, tenant: str, references: ContextReferences) -> LoadedContext:
        return await self._services.conversations.recall(tenant, references)

    async def _document(self, turn: Turn, reply: AnyReply) -> HTTPResponse:
        body = await reply.document()
        return self._whole(body, self._reply_headers(turn, reply.model))

    def _whole(self, body: bytes, headers: dict[str, str]) -> HTTPResponse:
        self._first_seconds, self._sent_bytes = self._head.elapsed(), len(body)
        if self._options.verbose:
            self._show_answer([body])
        return TurnResponse(body, headers=headers, content_type="application/json")

    async def _stream(self, turn: Turn, reply: AnyReply) -> None:
        shown: list[bytes] | None = [] if self._options.verbose else None
        wire = await self._wire(self._reply_headers(turn, reply.model), shown)
        heartbeat = Heartbeat(
            turn.reply.heartbeat(self._head),
            self._options.heartbeat_seconds,
            keepalive=self._keepalive(turn),
            keepalive_seconds=self._options.keepalive_seconds,
        )
        sink = self._sink = ClientSink(
            wire,
            heartbeat,
            self._request.app.ctx.heartbeats,
            stall_seconds=self._options.write_stall_seconds,
            elapsed=self._head.elapsed,
        )
        self._reply = reply
        activity = self._services.activity
        activity.streams += 1
        try:
            async with sink:
                await reply.stream(sink)
        finally:
            activity.streams -= 1
        if shown:
            self._show_answer(shown)

    def _keepalive(self, turn: Turn) -> bytes | None:
        """What is sent in a long silence to a client that hears no heartbeats."""
        return turn.reply.keepalive() if supports(turn.reply, KeepsAlive) else None

    async def _wire(self, headers: dict[str, str], shown: list[bytes] | None) -> Wire:
        """Where a stream goes: ``headers`` begin it, and ``shown`` takes a copy of everything that is sent."""
        response = await self._request.respond(
            TurnResponse(headers={**STREAM_HEADERS, **headers}, content_type=self._dialect.content_type)
        )
        assert response is not None  # noqa: S101 - respond() gives one unless the stream was used before
        return SanicWire(self._request, response, shown=shown)

    def _reply_headers(self, turn: Turn, model: str | None) -> dict[str, str]:
        headers = forwarded_to_codex(self._outcome) if turn.forwards_headers else {}
        if self._client is None or self._client.account_id is None:
            headers = {name: value for name, value in headers.items() if not self._tells_our_plan(name)}
        headers.update(self._grant.headers)
        if turn.ignored:
            headers[IGNORED] = ignored_header(turn.ignored)
        if self._outcome.reasoning_dropped:
            headers["x-gptmock-state"] = "reasoning-dropped"
        if model is not None and not turn.forwards_headers:
            # Codex takes this header for a word of the backend itself, and warns of another model.
            headers["openai-model"] = model
        return headers

    def _tells_our_plan(self, name: str) -> bool:
        """Whether a header tells a client with an account of its own what plan ours has."""
        return name == "x-codex-plan-type" and "chatgpt-account-id" in self._request.headers

    def _show(self, turn: Turn) -> None:
        log.info(
            "turn.request",
            extra={
                "request_id": request_id(self._request),
                "inbound": self._inbound(),
                "upstream": turn.request.to_json().decode(),
            },
        )

    def _inbound(self) -> str:
        return self._request.body.decode("utf-8", "replace") or FORM_TYPE

    def _show_answer(self, blocks: list[bytes]) -> None:
        answer = b"".join(blocks).decode("utf-8", "replace")
        log.info("turn.answer", extra={"request_id": request_id(self._request), "outbound": answer})

    def _log(self, status: int, ended: str) -> None:
        turn, outcome = self._turn, self._outcome
        key = self._client.key if self._client is not None else None
        usage, begun = outcome.usage, self._head.progress.begun_seconds
        if self._sink is not None:
            self._first_seconds, self._sent_bytes = self._sink.first_seconds, self._sink.sent_bytes
        fields: dict[str, Any] = {
            "request_id": request_id(self._request),
            "client": client_address(self._request),
            "dialect": self._route.name,
            "transport": self.transport,
            "key": key.id if key is not None else None,
            "account": outcome.account_id,
            "model": turn.resolved.slug if turn is not None else None,
            "stream": turn.stream if turn is not None else None,
            "status": status,
            "ended": ended,
            "tries": outcome.tries,
            "first_seconds": None if self._first_seconds is None else round(self._first_seconds, 3),
            "first_event_seconds": None if begun is None else round(begun, 3),
            "seconds": round(self._head.elapsed(), 3),
            "bytes": self._sent_bytes,
            "stored": outcome.stored,
            "input_tokens": usage.input_tokens if usage is not None else None,
            "cached_tokens": usage.cached_tokens if usage is not None else None,
            "output_tokens": usage.output_tokens if usage is not None else None,
            "reasoning_tokens": usage.reasoning_tokens if usage is not None else None,
            "at_terminal": {"effort": _effort(turn), "label": self._services.label_of(outcome.account_id)},
        }
        if self._services.traces is not None:
            headers, response = headers_of(self._request), outcome.response
            told = {} if response is None else {"id": response.id or None, "model": response.model}
            self._services.traces.turn(
                fields, headers, outcome.traced or (), started_ns=self._started_ns, response=told
            )
        log.info("turn", extra=fields)


def _stopping() -> ServerStopping:
    return ServerStopping(
        "The server was stopped or restarted before this answer was complete. Send the request again.",
        retry_after_seconds=DEFAULT_RETRY_SECONDS,
    )


def _effort(turn: Turn | None) -> str | None:
    reasoning = turn.request.reasoning if turn is not None else UNSET
    return None if reasoning is UNSET else reasoning.effort


def forwarded_to_codex(outcome: Outcome) -> dict[str, str]:
    """The upstream's headers for its own client; in a pool not those that tell of an account others use too."""
    return {
        name: value
        for name, value in outcome.headers.items()
        if not (outcome.pooled and name.startswith("x-codex-") and name != TURN_STATE_HEADER)
    }


def raise_idle_timeout(request: Request, seconds: float) -> None:
    """Let this connection be silent for so long, until its next request; Sanic's types do not name the attribute."""
    request.protocol.response_timeout = seconds  # type: ignore[attr-defined]
