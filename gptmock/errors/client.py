"""Errors of the request."""

from __future__ import annotations

from typing import Any, ClassVar

from gptmock.errors.base import GptmockError


class ClientError(GptmockError):
    """The request is at fault."""

    code = "invalid_request"
    status_hint = 400


class BadRequest(ClientError):
    """A field is missing, has a wrong type, or has an unsupported value."""

    code = "invalid_value"


class Unauthorized(ClientError):
    """The client key is missing or wrong. Never used for the upstream's own 401."""

    code = "invalid_api_key"
    status_hint = 401


class KeyExpired(Unauthorized):
    """
    The client key has expired; raised only for who has its text. Its message is that of any wrong key: only dialects
    whose API distinguishes it say more.
    """


class ForeignLogin(ClientError):
    """
    The client sent its own ChatGPT access token instead of a client key. Never a 401: Codex refreshes its login after
    each 401, which spends a single-use refresh token.
    """

    code = "client_key_required"
    status_hint = 403


class ModelNotAllowed(ClientError):
    """The client key may not use this model."""

    code = "model_not_allowed"
    status_hint = 403


class Forbidden(ClientError):
    """The client key is valid, but its role does not allow this."""

    code = "insufficient_permissions"
    status_hint = 403


class ForeignOrigin(ClientError):
    """A browser sent the request for a web page whose origin is not allowed."""

    code = "origin_not_allowed"
    status_hint = 403


class HostNotAllowed(ClientError):
    """The request is for a host name that this server does not answer to."""

    code = "host_not_allowed"
    status_hint = 421


class UnsafeContentType(ClientError):
    """A web page sent a body that needs no preflight: forms and plain text, or one without a type."""

    code = "unsupported_media_type"
    status_hint = 415


class UnknownModel(ClientError):
    """The upstream has no such model for this account; ``model`` is the client's name for it."""

    code = "model_not_found"
    status_hint = 404

    def __init__(self, message: str, *, model: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.model = model


class UnknownResponse(ClientError):
    """There is no stored response of this id for this client key; another tenant's is not distinguished."""

    code = "response_not_found"
    status_hint = 404


class UnknownRoute(ClientError):
    """There is no route with this path."""

    code = "unknown_url"
    status_hint = 404


class UnsupportedEndpoint(UnknownRoute):
    """An endpoint of the OpenAI API that cannot be offered here."""

    code = "unsupported_endpoint"


class MethodNotAllowed(ClientError):
    """The route does not support the method; ``allowed`` has those that it supports."""

    code = "method_not_allowed"
    status_hint = 405

    def __init__(self, message: str, *, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class RequestTooSlow(ClientError):
    """The head or the body of the request did not arrive before its deadline; the connection is closed."""

    code = "request_timeout"
    status_hint = 408


class BodyTooLarge(ClientError):
    """The request body exceeds ``GPTMOCK_MAX_BODY_BYTES``."""

    code = "request_too_large"
    status_hint = 413


class UnknownClientKey(ClientError):
    """There is no client key with this name or id."""

    code = "key_not_found"
    status_hint = 404


class UnknownInvitation(ClientError):
    """There is no open invitation with this token, name or id; the reasons are not distinguished."""

    code = "invitation_not_found"
    status_hint = 404


class NameTaken(ClientError):
    """There is a valid client key with this name."""

    code = "name_taken"
    status_hint = 409


class UnsupportedEncoding(ClientError):
    """The ``Content-Encoding`` of the body is not one of ``known``."""

    code = "unsupported_encoding"
    status_hint = 415
    known: ClassVar[tuple[str, ...]] = ("gzip", "deflate", "zstd")


class TooManyRequests(ClientError):
    """A limit of the client key is reached."""

    code = "rate_limit_exceeded"
    status_hint = 429
