"""Decodes request bodies, records requests, and builds responses. Shared by all routes."""

import gzip
import time
import urllib.parse
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from gptmock.simulator.player import UNTYPED_MARK
from gptmock.simulator.refusals import Refusal, detail
from gptmock.simulator.state import RecordedRequest, SimulatorState
from gptmock.simulator.steps import Json

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CONTROL_PREFIX = "/simulator/"


@dataclass(frozen=True, slots=True)
class Intake:
    """A request body, decoded as far as it could be."""

    document: Any
    """JSON, or the fields of a form; None when there is neither."""
    problem: Refusal | None = None
    """Why it could not be decoded."""

    @property
    def fields(self) -> Json:
        """The document as an object, empty when it is none."""
        return self.document if isinstance(self.document, dict) else {}


INTAKE = web.RequestKey("intake", Intake)


def recorder(state: SimulatorState) -> Any:
    """A middleware that decodes every body once and records every request but those of the control API."""

    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        data = await request.read()
        intake = decode(data, request.headers.get("content-encoding", ""), request.content_type)
        request[INTAKE] = intake
        if not request.path.startswith(CONTROL_PREFIX):
            state.requests.append(_record(request, intake, len(data)))
        return await handler(request)

    return record


def decode(data: bytes, encoding: str, content_type: str) -> Intake:
    """Decompress and decode a body; ``Content-Encoding: zstd`` is refused with a 415."""
    if encoding.lower() not in {"", "identity", "gzip"}:
        return Intake(None, detail(f"Unsupported content encoding: {encoding}", status=415))
    try:
        text = gzip.decompress(data) if encoding.lower() == "gzip" else data
        if content_type == "application/x-www-form-urlencoded":
            return Intake(dict(urllib.parse.parse_qsl(text.decode())))
        return Intake(msgspec.json.decode(text) if text else None)
    except (OSError, EOFError, zlib.error, ValueError):
        # msgspec.DecodeError and UnicodeDecodeError are ValueErrors.
        return Intake(None, detail("Invalid JSON"))


def respond(refusal: Refusal) -> web.Response:
    """The HTTP response of a refusal."""
    headers = {"content-type": refusal.content_type, **refusal.headers}
    response = web.Response(status=refusal.status, body=refusal.body, headers=headers)
    response[UNTYPED_MARK] = not refusal.content_type
    return response


def answer(content: Any, *, status: int = 200) -> web.Response:
    """A JSON response."""
    return web.Response(status=status, body=msgspec.json.encode(content), content_type="application/json")


def _record(request: web.Request, intake: Intake, size: int) -> RecordedRequest:
    return RecordedRequest(
        at=time.time(),
        method=request.method,
        path=request.path,
        query=dict(request.query),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=intake.document,
        size_bytes=size,
    )
