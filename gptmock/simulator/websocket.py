"""
The WebSocket of the Codex backend: model calls as messages, each checked as over HTTP, with what only a connection has:
the response before, which the next call may continue, an age, a limit of size, one turn at a time.

Source: upstream protocol 9.1, next-doors B.2. What the real backend does with a second call during a turn, and with a
response that failed, has not been observed; here both are the strictest reading.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from gptmock.simulator.backend import Accepted, Backend
from gptmock.simulator.intake import respond
from gptmock.simulator.jwt import Caller
from gptmock.simulator.messages import TERMINAL, Message, messages, output_of
from gptmock.simulator.player import reset, watched
from gptmock.simulator.refusals import Refusal, api_error, detail
from gptmock.simulator.state import MODEL_PATH, SOCKET_METHOD, RecordedRequest, SimulatorState
from gptmock.simulator.steps import Abort, Json, Pause

BETA = "responses_websockets=2026-02-06"
LIMIT_HEADER = "x-codex-websocket-max-message-bytes"
LITE_MEMBER = "ws_request_header_x_openai_internal_codex_responses_lite"
_ABNORMAL = 1006
_BINARY = 1003
_OF_THE_SOCKET = frozenset({"type", "previous_response_id", "generate", "stream_id"})


@dataclass(slots=True)
class Remembered:
    """The last response of a connection: only the newest is kept, and only if it was completed."""

    response_id: str = ""
    items: list[Any] = field(default_factory=list)
    """Its input and its output."""


class Sockets:
    """The handler of the handshake."""

    def __init__(self, state: SimulatorState, backend: Backend) -> None:
        self._state = state
        self._backend = backend

    def routes(self) -> list[web.RouteDef]:
        """The route of the WebSocket."""
        return [web.get(MODEL_PATH, self.connect)]

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """The handshake, refused as a model call would be; then the life of the connection."""
        options = self._state.options
        if request.headers.get("upgrade", "").lower() != "websocket":
            return respond(detail("Method Not Allowed", status=405))
        await asyncio.sleep(options.websocket_wait_seconds)
        caller = self._backend.caller(request)
        if isinstance(caller, Refusal):
            return self._backend.refused(caller)
        if options.websocket_status != 101:
            response = respond(detail("The handshake is refused.", status=options.websocket_status))
            response.headers["upgrade"] = "HTTP/1.1"
            response.force_close()
            return response
        if BETA not in request.headers.get("openai-beta", ""):
            return self._backend.refused(detail(f"OpenAI-Beta: {BETA} is required"))
        socket = web.WebSocketResponse(
            max_msg_size=options.websocket_limit_bytes, timeout=0.5, autoping=options.websocket_answers_pings
        )
        socket.headers[LIMIT_HEADER] = str(options.websocket_limit_bytes)
        self._state.sockets_opened += 1
        self._state.open_sockets += 1
        try:
            await socket.prepare(request)
            await _Connection(self._state, self._backend, request, socket, caller).serve()
        finally:
            self._state.open_sockets -= 1
        return socket


class _Connection:
    """One connection, and the turn that runs on it."""

    def __init__(
        self,
        state: SimulatorState,
        backend: Backend,
        request: web.Request,
        socket: web.WebSocketResponse,
        caller: Caller,
    ) -> None:
        self._state = state
        self._backend = backend
        self._request = request
        self._socket = socket
        self._caller = caller
        self._remembered = Remembered()
        self._opened_at = time.monotonic()

    async def serve(self) -> None:
        """Take messages until the client closes; a turn that runs then is a client that left."""
        turn: asyncio.Task[None] | None = None
        try:
            async for message in self._socket:
                if message.type is WSMsgType.BINARY:
                    await self._socket.close(code=_BINARY, message=b"text only")
                    return
                if message.type is not WSMsgType.TEXT:
                    continue
                if turn is not None and not turn.done():
                    await self._fail(api_error("A response is in progress on this connection."))
                    continue
                turn = asyncio.get_running_loop().create_task(self._turn(message.data))
        finally:
            if turn is not None:
                turn.cancel()
                await asyncio.gather(turn, return_exceptions=True)

    async def _turn(self, text: str) -> None:
        body = _object(text)
        self._record(text, body)
        if self._state.socket_faults:
            await self._break(self._state.socket_faults.popleft())
            return
        if self._is_too_old():
            await self._fail(
                api_error("The connection has reached its age.", code="websocket_connection_limit_reached")
            )
            await self._socket.close(code=WSCloseCode.OK)
            return
        if body is None or body.get("type") != "response.create":
            await self._fail(api_error("Invalid message"))
            return
        self._state.model_call_count += 1
        whole = self._whole(body)
        if isinstance(whole, Refusal):
            await self._fail(whole)
            return
        lite = (body.get("client_metadata") or {}).get(LITE_MEMBER) == "true"
        caller = self._backend.caller(self._request)
        if isinstance(caller, Refusal):
            # The token has expired since the handshake.
            await self._fail(caller)
            return
        accepted = self._backend.accept(whole, self._request.headers, caller, lite=lite)
        self._remembered = Remembered()
        if isinstance(accepted, Refusal):
            await self._refuse(accepted)
            return
        await self._play(whole, accepted)

    def _is_too_old(self) -> bool:
        age = time.monotonic() - self._opened_at
        return age >= self._state.options.websocket_seconds or self._opened_at < self._state.sockets_ended_at

    def _whole(self, body: Json) -> Json | Refusal:
        """The body with the items of the response that it continues."""
        fields = {name: value for name, value in body.items() if name not in _OF_THE_SOCKET}
        previous = body.get("previous_response_id")
        if previous is None:
            return fields
        known = self._remembered
        if previous != known.response_id or not self._state.options.websocket_remembers:
            message = f"Previous response with id '{previous}' not found."
            return api_error(message, code="previous_response_not_found", param="previous_response_id")
        given = body.get("input")
        return {**fields, "input": [*known.items, *(given if isinstance(given, list) else [])]}

    async def _play(self, whole: Json, accepted: Accepted) -> None:
        scene, call = accepted.scene, accepted.call
        headers = self._backend.stream_headers(self._request.headers, self._caller, call)
        await self._say(_limits(headers))
        await self._say({"type": "response.metadata", "headers": _told(headers)})
        output: list[Json] = []
        ended = ""
        async with watched(self._state, scene.name):
            for step in messages(scene.play(call)):
                match step:
                    case Pause(seconds):
                        await asyncio.sleep(seconds)
                    case Abort():
                        await self._break(_ABNORMAL)
                        return
                    case Message(data, kind):
                        await self._socket.send_str(data.decode())
                        await asyncio.sleep(self._state.options.pace_seconds)
                        output += [item for item in (output_of(step),) if item is not None]
                        ended = kind if kind in TERMINAL else ended
        if not ended:
            await self._socket.close(code=WSCloseCode.INTERNAL_ERROR)
        elif ended == "response.completed":
            kept = [item for item in output if item.get("type") != "reasoning" or item.get("encrypted_content")]
            self._remembered = Remembered(call.identify("resp", 0), [*whole["input"], *kept])

    async def _refuse(self, refusal: Refusal) -> None:
        """A refusal of the model API is an event; one of the gateway before it ends the connection."""
        try:
            content = msgspec.json.decode(refusal.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            content = None
        if refusal.status < 400 or not isinstance(content, dict):
            await self._socket.close(code=WSCloseCode.INTERNAL_ERROR)
            return
        await self._fail(refusal)

    async def _fail(self, refusal: Refusal) -> None:
        content = msgspec.json.decode(refusal.body)
        error = content.get("error")
        if error is None:
            given = content.get("detail")
            error = {"message": given.get("code"), **given} if isinstance(given, dict) else {"message": given}
        await self._say({"type": "error", "status": refusal.status, "error": error, "headers": dict(refusal.headers)})

    async def _break(self, code: int) -> None:
        if code == _ABNORMAL:
            reset(self._request)
        else:
            await self._socket.close(code=code)

    async def _say(self, content: Json) -> None:
        await self._socket.send_str(msgspec.json.encode(content).decode())

    def _record(self, text: str, body: Json | None) -> None:
        self._state.requests.append(
            RecordedRequest(
                at=time.time(),
                method=SOCKET_METHOD,
                path=MODEL_PATH,
                query={},
                headers={name.lower(): value for name, value in self._request.headers.items()},
                body=body,
                size_bytes=len(text.encode()),
            )
        )


def _object(text: str) -> Json | None:
    try:
        content = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return content if isinstance(content, dict) else None


def _told(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that a call's metadata repeat."""
    return {name: value for name, value in headers.items() if name.startswith(("x-models", "openai-", "x-oai-"))}


def _limits(headers: Mapping[str, str]) -> Json:
    """``codex.rate_limits``, with the figures of the headers."""

    def window(name: str) -> Json:
        family = f"x-codex-{name}"
        return {
            "used_percent": float(headers[f"{family}-used-percent"]),
            "window_minutes": int(headers[f"{family}-window-minutes"]),
            "reset_at": int(headers[f"{family}-reset-at"]),
        }

    windows = {"primary": window("primary"), "secondary": window("secondary")}
    limits = {"allowed": True, "limit_reached": False, **windows}
    return {"type": "codex.rate_limits", "plan_type": headers["x-codex-plan-type"], "rate_limits": limits}
