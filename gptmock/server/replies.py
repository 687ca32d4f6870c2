"""Errors to answers: asks the family of the path for its shape. Decides no wording of its own but the framework's."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from sanic import HTTPResponse, Request
from sanic.exceptions import MethodNotAllowed, NotFound, SanicException
from sanic.handlers import ErrorHandler

from gptmock.dialects.dialect import ErrorReply
from gptmock.dialects.families import family_of, unknown_route, wrong_method
from gptmock.errors import (
    BadRequest,
    BodyTooLarge,
    ClientError,
    GptmockError,
    InternalError,
)
from gptmock.server.cors import CorsPolicy
from gptmock.server.guard import client_address
from gptmock.server.requests import request_id

log = logging.getLogger("gptmock.server")

_SHOWN_CHARACTERS = 200


class SaysErrors(Protocol):
    """A ``Dialect``, or a ``Family`` where no dialect is asked."""

    def error(self, error: GptmockError, /) -> ErrorReply:
        """An error in its own shape."""


def error_response(error: GptmockError, speaker: SaysErrors, *, asked: str) -> HTTPResponse:
    """
    The answer for an error, before anything was sent.

    Args:
        error: what is wrong.
        speaker: gives it its shape.
        asked: the id of the request.
    """
    reply = speaker.error(error)
    body = reply.body if reply.with_request_id is None else reply.with_request_id(asked)
    return HTTPResponse(body, status=reply.status, headers=dict(reply.headers), content_type=reply.content_type)


class ErrorAnswers(ErrorHandler):
    """
    Sanic's own errors and ours, in the shape of the family asked; a traceback goes to the log only.

    Args:
        cors: a browser's question about a path is answered here too, since no route has the method OPTIONS.
    """

    def __init__(self, cors: CorsPolicy) -> None:
        super().__init__()
        self._cors = cors

    def default(self, request: Request, exception: BaseException) -> HTTPResponse:
        """Any exception that no handler has turned into an answer."""
        if isinstance(exception, MethodNotAllowed | NotFound) and self._cors.is_preflight(
            request.method, request.headers
        ):
            return HTTPResponse(status=204, headers=self._cors.preflight(request.headers))
        error = as_gptmock_error(request, exception)
        # A client that leaves before its request is complete (Sanic's RequestCancelled) is no fault of ours.
        if isinstance(error, InternalError) and not isinstance(exception, asyncio.CancelledError):
            log.error("server.error", exc_info=exception, extra={"request_id": request_id(request)})
        answer = error_response(error, family_of(request.path, request.headers), asked=request_id(request))
        _log_refused(request, answer.status, error)
        return answer


def _log_refused(request: Request, status: int, error: GptmockError) -> None:
    """Turns have lines of their own; what comes to nothing elsewhere has this one. The query may hold a key."""
    log.info(
        "request",
        extra={
            "request_id": request_id(request),
            "method": request.method,
            "path": request.path[:_SHOWN_CHARACTERS],
            "status": status,
            "ended": error.code,
            "client": client_address(request),
        },
    )


def as_gptmock_error(request: Request, exception: BaseException) -> GptmockError:
    """Whose fault an exception is."""
    if isinstance(exception, GptmockError):
        return exception
    if isinstance(exception, RecursionError):
        return BadRequest("The request body is nested too deeply.", code="invalid_json")
    if isinstance(exception, SanicException):
        return _framework_error(request, exception)
    return _internal(request)


def _framework_error(request: Request, exception: SanicException) -> GptmockError:
    status = exception.status_code
    if status == 404:
        return unknown_route(request.method, request.path, request.headers)
    if status == 405 and request.headers.get("upgrade", "").lower() == "websocket":
        # Codex falls back to HTTP at once on this status, and on no other.
        return ClientError(
            "There is no WebSocket here; send the request as POST.", code="websocket_unavailable", status=426
        )
    if status == 405:
        return wrong_method(request.method, request.path, allowed=tuple(sorted(_allowed(exception))))
    if status == 413:
        return BodyTooLarge("The request or its headers are too large for this server.")
    if 400 <= status < 500:
        return ClientError(
            f"The request cannot be read: {str(exception).rstrip('.')}.", code="bad_request", status=status
        )
    if status == 503:
        return GptmockError("The server could not answer in time.", code="timeout", status=503)
    return _internal(request)


def _allowed(exception: SanicException) -> set[str]:
    headers: dict[str, Any] = getattr(exception, "headers", None) or {}
    text = str(headers.get("Allow", ""))
    return {method.strip() for method in text.split(",") if method.strip()}


def _internal(request: Request) -> InternalError:
    return InternalError(f"The server failed to answer; its log has the reason under request id {request_id(request)}.")
