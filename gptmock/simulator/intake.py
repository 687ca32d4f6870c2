"""Decodes request bodies, records requests, and builds responses. Shared by all routes."""

import gzip
import time
import urllib.parse
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
import zstandard
from aiohttp import web

from gptmock.simulator.player import UNTYPED_MARK
from gptmock.simulator.refusals import Refusal, detail
from gptmock.simulator.state import RecordedRequest, SimulatorState
from gptmock.simulator.steps import Json

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CONTROL_PREFIX = "/simulator/"
ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
"""The largest window that a server has to accept (RFC 9659)."""
ZSTD_LIMIT_BYTES = 256 * 1024 * 1024


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
        zstd = state.options.takes_zstd
        intake = decode(data, request.headers.get("content-encoding", ""), request.content_type, takes_zstd=zstd)
        request[INTAKE] = intake
        if not request.path.startswith(CONTROL_PREFIX):
            state.requests.append(_record(request, intake, len(data)))
        return await handler(request)

    return record


def decode(data: bytes, encoding: str, content_type: str, *, takes_zstd: bool = True) -> Intake:
    """Decompress and decode a body; any coding but gzip and zstd is refused with a 415."""
    coding = encoding.lower()
    if coding not in {"", "identity", "gzip"} and not (coding == "zstd" and takes_zstd):
        return Intake(None, detail(f"Unsupported content encoding: {encoding}", status=415))
    try:
        text = _DECOMPRESS[coding](data)
        if content_type == "application/x-www-form-urlencoded":
            return Intake(dict(urllib.parse.parse_qsl(text.decode())))
        return Intake(msgspec.json.decode(text) if text else None)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError, ValueError):
        # msgspec.DecodeError and UnicodeDecodeError are ValueErrors.
        return Intake(None, detail("Invalid JSON"))


def _unzstd(data: bytes) -> bytes:
    """One whole frame of at most ``ZSTD_LIMIT_BYTES``, and nothing behind it."""
    inner = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()
    text = inner.decompress(data)
    if not inner.eof or inner.unused_data or len(text) > ZSTD_LIMIT_BYTES:
        raise ValueError("not one zstd frame")
    return text


_DECOMPRESS: Mapping[str, Callable[[bytes], bytes]] = MappingProxyType(
    {"": bytes, "identity": bytes, "gzip": gzip.decompress, "zstd": _unzstd}
)


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
