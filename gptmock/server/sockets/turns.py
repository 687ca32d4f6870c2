"""One turn of a WebSocket: the turn handler of HTTP with another wire, and with the memory of its connection."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
from msgspec import Raw
from sanic import HTTPResponse, Request

from gptmock.clients import Client
from gptmock.conversations import ContextReferences, LoadedContext, PendingSnapshot
from gptmock.dialects.dialect import Call, ReadyReply, Terms, Turn
from gptmock.dialects.responses.previous_response import pending_snapshot
from gptmock.dialects.table import DialectRoute
from gptmock.errors import BadRequest, ClientError, GptmockError, Unauthorized
from gptmock.gateway.key_limits import UNLIMITED, Grant
from gptmock.protocol.events import decode_event
from gptmock.protocol.reader import Received
from gptmock.server.context import ServerOptions
from gptmock.server.requests import new_request_id
from gptmock.server.sockets.connection import Socket
from gptmock.server.sockets.memory import ConnectionMemory
from gptmock.server.sockets.messages import Create, answerable, without_previous
from gptmock.server.sockets.rate_limits import rate_limits_event
from gptmock.server.sockets.wire import REPEAT, SocketWire
from gptmock.server.streaming import Wire
from gptmock.server.turns import TurnRequest


class _End(msgspec.Struct):
    """The last event of a turn."""

    response: Raw


_END = msgspec.json.Decoder(_End)


class SocketTurn(TurnRequest):
    """
    A turn that a client asks for by a message.

    Args:
        request: the handshake of its connection.
        route: of the same turns over HTTP.
        options: of the HTTP layer.
        create: the message.
        socket: where the answer goes.
        memory: of the connection.
    """

    transport = "websocket"

    def __init__(  # noqa: PLR0913 - what belongs to the connection, and what to the turn
        self,
        request: Request,
        route: DialectRoute,
        options: ServerOptions,
        *,
        create: Create,
        socket: Socket,
        memory: ConnectionMemory,
    ) -> None:
        before = memory.find(create.previous)
        is_new = before is not None and not before.conversation
        super().__init__(
            _asked(request, create, without_previous(create.body) if is_new else create.body), route, options
        )
        self._lane = create.lane
        self._socket = socket
        self._memory = memory
        self._pending: PendingSnapshot | None = None

    async def _recalled(self, call: Call) -> Call:
        recalled = await super()._recalled(call)
        self._pending = await self._large_bodies.run(len(call.body), partial(pending_snapshot, recalled))
        return recalled

    async def _recall(self, tenant: str, references: ContextReferences) -> LoadedContext:
        before = self._memory.find(references.previous_response_id)
        if before is None:
            try:
                return await super()._recall(tenant, references)
            except BadRequest as error:
                if error.param != "previous_response_id":
                    raise
                # A client sends everything for this code, and for no other.
                raise BadRequest(error.message, code="previous_response_not_found", param=error.param) from error
        named = dict(before.named())
        others = tuple(one for one in references.references if one.item_id not in named)
        rest = await super()._recall(tenant, ContextReferences(None, others))
        return LoadedContext(
            items=before.conversation, referred={**named, **rest.referred}, account_id=before.account_id or None
        )

    async def _explained(self, error: GptmockError) -> HTTPResponse:
        if isinstance(error, Unauthorized):
            # The key was valid at the handshake. Codex connects anew for a 401, again and again.
            error = ClientError(error.message, code=error.code, status=403, should_retry=False)
        return await super()._explained(error)

    def _keepalive(self, turn: Turn) -> bytes:
        """Codex has an event of its own; to others ``response.in_progress`` is said again."""
        return super()._keepalive(turn) or REPEAT

    async def _wire(self, headers: dict[str, str], shown: list[bytes] | None) -> Wire:
        return SocketWire(
            self._socket,
            self._lane,
            status=self._failure_status,
            ended=self._remember,
            shown=shown,
            repeats=self._turn is not None and self._keepalive(self._turn) is REPEAT,
            limits=rate_limits_event(headers),
        )

    def _failure_status(self) -> int:
        error = self._outcome.error
        return 500 if error is None else error.status_hint

    def _remember(self, end: bytes) -> None:
        if self._pending is not None:
            response = bytes(_END.decode(end).response)
            self._memory.remember(self._pending.snapshot(response, account_id=self._outcome.account_id or ""))


class WarmUp(SocketTurn):
    """What a client sends before a turn: checked and remembered, answered without the upstream, counted nowhere."""

    async def _answer(self) -> HTTPResponse | None:
        turn, _ = await self._understand(self._decode)
        assert isinstance(turn, Turn)  # noqa: S101 - this dialect has no other replies
        translator = turn.reply.translator(self._head)
        response: dict[str, Any] = {"id": f"resp_{self._head.id}", "output": [], "usage": None}
        frames: list[bytes] = []
        for kind in ("response.created", "response.completed"):
            data = msgspec.json.encode({"type": kind, "response": response})
            event = decode_event(data)
            assert event is not None  # noqa: S101 - it has a type
            frames += translator.feed(Received(event, data))
        wire = await self._wire({}, None)
        await wire.begin(b"".join(frames))
        return None

    def _decode(self, call: Call, terms: Terms) -> Turn | ReadyReply:
        return self._dialect.decode(replace(call, body=answerable(call.body)), terms)

    def _begin(self, client: Client) -> Grant:  # noqa: ARG002 - alike for all
        return UNLIMITED

    def _log(self, status: int, ended: str) -> None:
        """No line: there was no turn."""


def _asked(request: Request, create: Create, body: bytes) -> Request:
    """The request that would ask the same over HTTP."""
    asked = copy(request)
    seen = vars(request.ctx)
    asked._ctx = SimpleNamespace(  # noqa: SLF001 - ``ctx`` has no setter
        **{name: seen[name] for name in ("client_address", "client_scheme") if name in seen},
        request_id=new_request_id(),
    )
    asked.headers = request.headers.copy()
    asked.headers.update(create.headers)
    asked.body = body
    return asked
