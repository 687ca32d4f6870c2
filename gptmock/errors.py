"""
The errors that clients may see, classified by cause. Dialects render them.

    GptmockError
    ├── ClientError            the request is at fault
    │   ├── BadRequest             400  a field is missing, of the wrong type, or cannot be honoured
    │   ├── Unauthorized           401  no or wrong client key
    │   ├── ForeignLogin           403  a ChatGPT login in the place of a client key
    │   ├── ForeignOrigin          403  a web page of another origin sent the request
    │   ├── ModelNotAllowed        403  model_not_allowed: the client key may not use the model
    │   ├── UnknownModel           404  model_not_found
    │   ├── UnknownResponse        404  response_not_found: never stored, expired, or another tenant's
    │   ├── UnknownRoute           404  unknown_url
    │   │   └── UnsupportedEndpoint    404  unsupported_endpoint: an OpenAI endpoint that is not offered here
    │   ├── MethodNotAllowed       405
    │   ├── RequestTooSlow         408  the head or the body did not arrive in time
    │   ├── BodyTooLarge           413
    │   ├── UnknownClientKey       404  no client key of that name or id
    │   ├── Forbidden              403  insufficient_permissions: the role of the client key does not allow it
    │   ├── NameTaken              409  there is a valid client key of that name
    │   ├── UnsupportedEncoding    415
    │   ├── UnsafeContentType      415  a web page sent something other than JSON
    │   ├── HostNotAllowed         421  the request is for a host name that is not this server's
    │   └── TooManyRequests        429
    ├── AccountError           the account is at fault: the operator has to sign in again, or wait
    │   ├── NotLoggedIn            503  login_required
    │   ├── RefreshRejected        503  login_required: the issuer refused the refresh token for good
    │   ├── RefreshUnavailable     503  auth_unavailable: the issuer cannot be reached now
    │   │   └── RefreshUnanswered      the request was sent, but no response came
    │   ├── LoginRefused           503  login_refused: an interactive sign-in failed
    │   ├── LoginUnavailable       503  login_unavailable: the issuer cannot be reached for a sign-in now
    │   ├── AccountsExhausted      429  usage_limit_reached: every account waits for its reset
    │   └── AccountUnusable        503  the workspace is closed or lacks the entitlement
    ├── UpstreamError          the Codex backend
    │   ├── CredentialRefused      503  the upstream's 401; the gateway refreshes and retries once
    │   ├── UpstreamRefused        4xx  the upstream refused the request
    │   ├── UpstreamUnavailable    502  no connection, a 5xx, or overload
    │   ├── UpstreamTimeout        504  a deadline passed
    │   ├── UpstreamBroken         502  the response cannot be decoded, or the stream was truncated
    │   └── UpstreamFailed         502  the model turn failed inside a 200 stream
    ├── StoreError             the store of shared state
    │   ├── StoreUnavailable       503
    │   │   └── AuthUnknown            503  auth_unavailable: and no login or key was loaded before
    │   ├── SealBroken             503  a record cannot be decrypted: another key, or tampering
    │   └── LockBusy               503
    ├── ServerBusy             503  server_busy: this process has as many connections or streams as it can take
    └── InternalError          500  a fault of gptmock
"""

from __future__ import annotations

from typing import Any, ClassVar

DEFAULT_RETRY_SECONDS = 1.0
"""``Retry-After`` for errors without a delay of their own."""


class GptmockError(Exception):
    """
    Base of all errors that a client may see; never raised itself.

    Args:
        message: what happened and what to do. No token, prompt or path.
        code: machine-readable code; the class has a default.
        param: the request field at fault, as ``messages[0].role``.
        status: HTTP status if it differs from the class's ``status_hint``.
        retry_after_seconds: delay for ``Retry-After``.
        should_retry: value of ``x-should-retry``; ``None`` omits the header.
    """

    code: str = "internal_error"
    status_hint: int = 500
    retryable: ClassVar[bool] = False
    """Whether the same request may be sent again before a byte has reached the client."""

    def __init__(  # noqa: PLR0913 - the fields of an error envelope and its headers
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.status_hint = status or type(self).status_hint
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.should_retry = should_retry


class InternalError(GptmockError):
    """A fault of gptmock; the log has the traceback, the client only the request id."""


class ServerBusy(GptmockError):
    """This process has as many connections or streams as it can take; ``retry_after_seconds`` is always set."""

    code = "server_busy"
    status_hint = 503


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


class AccountError(GptmockError):
    """The account behind the request cannot serve it now."""

    code = "account_unavailable"
    status_hint = 503


class NotLoggedIn(AccountError):
    """No account is signed in."""

    code = "login_required"


class RefreshRejected(AccountError):
    """The issuer refused the refresh token for good: the operator has to sign in again."""

    code = "login_required"


class RefreshUnavailable(AccountError):
    """The issuer cannot be reached now; the refresh token may still be valid."""

    code = "auth_unavailable"


class RefreshUnanswered(RefreshUnavailable):
    """The refresh request was sent, but no response came: the refresh token may be spent."""


class LoginRefused(AccountError):
    """An interactive sign-in failed: denied, expired, cancelled, or for the wrong account."""

    code = "login_refused"


class LoginUnavailable(AccountError):
    """An interactive sign-in cannot continue now: the issuer cannot be reached, or its response cannot be read."""

    code = "login_unavailable"


class AccountsExhausted(AccountError):
    """The usage windows of all eligible accounts are used up; ``retry_after_seconds`` is the earliest reset."""

    code = "usage_limit_reached"
    status_hint = 429


class AccountUnusable(AccountError):
    """The workspace is deactivated, or the account lacks the entitlement."""

    code = "account_unusable"


class UpstreamError(GptmockError):
    """A fault of the Codex backend or of the connection to it."""

    code = "upstream_error"
    status_hint = 502


class CredentialRefused(UpstreamError):
    """The upstream's 401. The gateway refreshes the token and retries once."""

    code = "auth_unavailable"
    status_hint = 503


class UpstreamRefused(UpstreamError):
    """The upstream refused the request with a 4xx status."""

    code = "invalid_request"
    status_hint = 400


class UpstreamUnavailable(UpstreamError):
    """No connection, a 5xx, or overload; retryable."""

    retryable = True


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer, or did not send an event, within a deadline."""

    code = "upstream_timeout"
    status_hint = 504


class UpstreamBroken(UpstreamError):
    """The stream ended before its terminal event, or the response cannot be decoded."""

    code = "upstream_stream_truncated"


class UpstreamFailed(UpstreamError):
    """``response.failed`` or ``error`` inside a 200 stream; ``status_hint`` is derived from its code."""


class StoreError(GptmockError):
    """A fault of the store of shared state."""

    code = "store_unavailable"
    status_hint = 503


class StoreUnavailable(StoreError):
    """The store cannot be read or written now."""


class AuthUnknown(StoreUnavailable):
    """The store cannot be read, and this process has not loaded the logins or keys before."""

    code = "auth_unavailable"

    @classmethod
    def because(cls, error: StoreUnavailable) -> AuthUnknown:
        """The error for a request that needs a login or a key; it always has ``retry_after_seconds``."""
        seconds = error.retry_after_seconds or DEFAULT_RETRY_SECONDS
        return cls(
            f"The logins and keys of this server cannot be read now. {error.message}", retry_after_seconds=seconds
        )


class SealBroken(StoreError):
    """A stored record cannot be decrypted; it is left unchanged."""

    code = "store_sealed"


class LockBusy(StoreError):
    """Another process held the refresh lease for the whole wait."""

    code = "auth_unavailable"


class UnusableKey(Exception):
    """The encryption key is missing, weak or wrong; raised at start, before any change. The message has no key."""


class WrongPlace(Exception):
    """A store location that is invalid or unsuitable; the message omits the address, which may hold a password."""
