"""Normalizes requests: absolute and unparsable URLs, duplicate slashes, compressed bodies, header text, request ids."""

from __future__ import annotations

import asyncio
import io
import re
import secrets
from functools import partial
from typing import Any

from sanic import Request
from sanic.exceptions import BadURL

from gptmock.dialects.table import DialectRoute
from gptmock.errors import BodyTooLarge, GptmockError
from gptmock.server.context import App
from gptmock.server.encodings import BodyDecoder
from gptmock.server.json_bounds import check_json_bounds
from gptmock.server.large_bodies import LARGE_BYTES, LargeBodies
from gptmock.server.multipart import is_form

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}\Z")
_SLASHES = re.compile(rb"/{2,}")
_ABSOLUTE = re.compile(rb"https?://[^/?]*", re.IGNORECASE)
_NOWHERE = b"/*"
"""Sanic's router drops the first character of a path: a bare ``*`` would be the root."""


class ClientRequest(Request):
    """
    Sanic's request with a few corrections.

    A base URL that ends in a slash gives ``/v1//chat/completions``: the path has one slash in each place. And a URL
    that cannot be parsed is one that does not exist; Sanic fails to answer it at all, since it makes the request anew
    for its error page, with the same URL. And a body that was sent compressed is read as what it was before. And the
    base path, if there is one, is taken off: routes and error formats know the path below it.
    """

    is_outside = False
    """Whether the path is not below the base path."""

    def __init__(self, url_bytes: bytes, *rest: Any, **named: Any) -> None:
        try:
            super().__init__(self._inner(_one_slash(url_bytes), named.get("app")), *rest, **named)
        except BadURL:
            super().__init__(_NOWHERE, *rest, **named)

    def _inner(self, url: bytes, app: App | None) -> bytes:
        """The URL below the base path."""
        base_path = getattr(app.ctx, "base_path", "").encode() if app is not None else b""
        if not base_path:
            return url
        if not url.startswith(b"/"):
            # Absolute form: RFC 9112 3.2.2.
            url = b"/" + url.partition(b"://")[2].partition(b"/")[2]
        path, mark, query = url.partition(b"?")
        self.is_outside = path != base_path and not path.startswith(base_path + b"/")
        return url if self.is_outside else (path[len(base_path) :] or b"/") + mark + query

    @classmethod
    def generate_id(*_: object) -> str:
        """An id for a request that brings none; a tenth of what a UUID costs."""
        return secrets.token_hex(16)

    async def receive_body(self) -> None:
        """
        Read the whole body, undo its ``Content-Encoding`` and check its bounds.

        Raises:
            ServerBusy: a model call for which there is no room.
            ClientError: it is larger than ``REQUEST_MAX_SIZE``, cannot be decompressed, or has too many JSON values.
        """
        self._refuse_early()
        if not self.body:
            codings = self.headers.popall("content-encoding", [])
            self.body = await (self._decoded(",".join(codings)) if codings else self._received())
        if len(self.body) >= LARGE_BYTES and not self._is_form():
            bodies: LargeBodies = self.app.ctx.large_bodies
            await bodies.run(len(self.body), partial(check_json_bounds, self.body))

    def _is_form(self) -> bool:
        """Whether the body is a form that the route takes: it has bounds of its own (``server.multipart``)."""
        route: DialectRoute | None = getattr(self.route.ctx, "dialect_route", None) if self.route is not None else None
        return route is not None and route.form is not None and is_form(self.headers.get("content-type", ""))

    def _refuse_early(self) -> None:
        """Refuse what need not be read, before the client is told to send it (``Expect: 100-continue``)."""
        stream: Any = self.stream
        limit_bytes = self.app.config.REQUEST_MAX_SIZE
        try:
            if self.route is not None and hasattr(self.route.ctx, "dialect_route"):
                self.app.ctx.client_bounds.check_streams()
            if stream.request_bytes_left > limit_bytes:
                stream.keep_alive = False
                raise BodyTooLarge(f"The request body is larger than {limit_bytes} bytes.")
        except GptmockError:
            refuse_body(self)
            raise

    async def _received(self) -> bytes:
        # Sanic joins the blocks at the end: that is a second copy, and one long step for a large body. Here the buffer
        # itself becomes the body.
        buffer = io.BytesIO()
        async for block in self.stream:  # type: ignore[union-attr] # a request that is received has Sanic's Http stream
            buffer.write(block)
        return buffer.getvalue()

    async def _decoded(self, codings: str) -> bytes:
        decoder = BodyDecoder(codings, limit_bytes=self.app.config.REQUEST_MAX_SIZE)
        async for block in self.stream:  # type: ignore[union-attr] # as above
            # In a thread: others are being served meanwhile.
            await asyncio.to_thread(decoder.feed, block)
        return decoder.finish()


def refuse_body(request: Request) -> None:
    """A client that waits for leave to send its body (``Expect: 100-continue``) is not given it."""
    stream: Any = request.stream
    if stream.expecting_continue:
        stream.expecting_continue = stream.keep_alive = False
        stream.request_body = None


def request_id(request: Request) -> str:
    """The client's ``x-request-id`` if it is a sane one, else one of our own; the same at each call."""
    known: str | None = getattr(request.ctx, "request_id", None)
    if known is None:
        if request.app.config.REQUEST_ID_HEADER in request.headers:
            # A header that must not reach a log is replaced.
            given = str(request.id)
            known = given if _REQUEST_ID.match(given) else str(request.generate_id())
        else:
            known = new_request_id()
        request.ctx.request_id = known
    return known


def new_request_id() -> str:
    """An id of our own."""
    return _as_uuid(ClientRequest.generate_id())


def _as_uuid(digits: str) -> str:
    """32 hex digits with the dashes of a UUID; ``uuid.UUID`` takes 15 us for it."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def headers_of(request: Request) -> dict[str, str]:
    """Names in lower case, values as text: bytes that are no UTF-8, which Sanic escapes, are replaced."""
    return {
        name: value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for name, value in request.headers.items()
    }


def _one_slash(url: bytes) -> bytes:
    if url == b"*":
        return _NOWHERE
    if absolute := _ABSOLUTE.match(url):
        # Only the path matters here: that Host agrees was checked with the head.
        url = url[absolute.end() :]
        url = url if url.startswith(b"/") else b"/" + url
    path, mark, query = url.partition(b"?")
    return _SLASHES.sub(b"/", path) + mark + query if path.startswith(b"/") else url
