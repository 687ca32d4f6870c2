"""
What can go wrong, by whose fault. Knows nothing of any wire: only a dialect says what an error looks like there.

    GptmockError
    ├── ClientError            the caller can mend it
    │   ├── BadRequest             400  a field is missing, of the wrong type, or cannot be honoured
    │   ├── Unauthorized           401  no or wrong client key
    │   ├── ForeignLogin           403  a ChatGPT login in the place of a client key
    │   ├── UnknownModel           404  model_not_found
    │   ├── UnknownResponse        404  response_not_found: never stored, expired, or somebody else's
    │   ├── UnknownRoute           404  unknown_url
    │   │   └── UnsupportedEndpoint    404  unsupported_endpoint: known, and not to be had here
    │   ├── MethodNotAllowed       405
    │   ├── BodyTooLarge           413
    │   ├── UnknownClientKey       404  no client key of that name or id
    │   ├── NameTaken              409  a client key of that name lives
    │   ├── UnsupportedEncoding    415
    │   └── TooManyRequests        429
    ├── AccountError           the operator signs in again, or waits
    │   ├── NotLoggedIn            503  login_required
    │   ├── RefreshRejected        503  login_required: the issuer refused for good
    │   ├── RefreshUnavailable     503  auth_unavailable: the issuer cannot be asked now
    │   │   └── RefreshUnanswered      it was asked, and its answer never came
    │   ├── LoginRefused           503  login_refused: a person's sign-in came to nothing
    │   ├── LoginUnavailable       503  login_unavailable: the issuer cannot be asked for one now
    │   ├── AccountsExhausted      429  usage_limit_reached: every account waits for its reset
    │   └── AccountUnusable        503  the workspace is closed or lacks the entitlement
    ├── UpstreamError          the Codex backend
    │   ├── CredentialRefused      503  its 401; answered by one refresh and one retry
    │   ├── UpstreamRefused        4xx  it understood and said no
    │   ├── UpstreamUnavailable    502  it cannot be reached, or answers 5xx or "overloaded"
    │   ├── UpstreamTimeout        504  nothing came in time
    │   ├── UpstreamBroken         502  what came cannot be read, or ended in the middle
    │   └── UpstreamFailed         502  the model turn failed inside a 200 stream
    ├── StoreError             the place where state rests
    │   ├── StoreUnavailable       503
    │   │   └── AuthUnknown            503  auth_unavailable: it is away, and this process knows no login or key yet
    │   ├── SealBroken             503  a record does not open: another key, or tampering
    │   └── LockBusy               503
    └── InternalError          ours, 500
"""

from __future__ import annotations

from typing import Any, ClassVar

DEFAULT_RETRY_SECONDS = 1.0
"""When to come again, where the trouble itself does not say so."""


class GptmockError(Exception):
    """
    Base of all errors that a client may see; never raised itself.

    Args:
        message: what happened and what to do. No token, prompt or path.
        code: machine-readable code; the class has a default.
        param: the request field at fault, as ``messages[0].role``.
        status: HTTP status if it differs from the class's ``status_hint``.
        retry_after_seconds: when trying again makes sense.
        should_retry: what to tell clients that obey ``x-should-retry``; ``None`` leaves it to them.
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
    """A fault of our own; the log has the traceback, the client only the request id."""


class ClientError(GptmockError):
    """The caller can mend it."""

    code = "invalid_request"
    status_hint = 400


class BadRequest(ClientError):
    """A field is missing, has a wrong type, or asks for what cannot be honoured."""

    code = "invalid_value"


class Unauthorized(ClientError):
    """The client key is missing or wrong. Never used for the upstream's own 401."""

    code = "invalid_api_key"
    status_hint = 401


class ForeignLogin(ClientError):
    """
    A client shows a ChatGPT login of its own where a client key belongs. Never a 401: Codex answers each 401 with a
    refresh of that login, which spends a single-use refresh token.
    """

    code = "client_key_required"
    status_hint = 403


class UnknownModel(ClientError):
    """The upstream has no such model for this account, or has retired it; ``model`` is the client's name for it."""

    code = "model_not_found"
    status_hint = 404

    def __init__(self, message: str, *, model: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.model = model


class UnknownResponse(ClientError):
    """No stored response of that id for this client key; one that is another's looks the same."""

    code = "response_not_found"
    status_hint = 404


class UnknownRoute(ClientError):
    """No such path here."""

    code = "unknown_url"
    status_hint = 404


class UnsupportedEndpoint(UnknownRoute):
    """An endpoint of the family that the backend cannot serve; asking again does not help."""

    code = "unsupported_endpoint"


class MethodNotAllowed(ClientError):
    """The path exists, the method does not; ``allowed`` names those that do."""

    code = "method_not_allowed"
    status_hint = 405

    def __init__(self, message: str, *, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class BodyTooLarge(ClientError):
    """The request body exceeds ``GPTMOCK_MAX_BODY_BYTES``."""

    code = "request_too_large"
    status_hint = 413


class UnknownClientKey(ClientError):
    """There is no client key of that name or id."""

    code = "key_not_found"
    status_hint = 404


class NameTaken(ClientError):
    """A client key of that name lives."""

    code = "name_taken"
    status_hint = 409


class UnsupportedEncoding(ClientError):
    """The body has a ``Content-Encoding`` that is not known here."""

    code = "unsupported_encoding"
    status_hint = 415
    known: ClassVar[tuple[str, ...]] = ("gzip", "deflate", "zstd")


class TooManyRequests(ClientError):
    """A limit of the client's own key."""

    code = "rate_limit_exceeded"
    status_hint = 429


class AccountError(GptmockError):
    """The account behind the request cannot serve it now."""

    code = "account_unavailable"
    status_hint = 503


class NotLoggedIn(AccountError):
    """There is no account to serve with."""

    code = "login_required"


class RefreshRejected(AccountError):
    """The issuer refused the refresh token for good: somebody has to log in again."""

    code = "login_required"


class RefreshUnavailable(AccountError):
    """The issuer cannot be asked now; the refresh token may still be good."""

    code = "auth_unavailable"


class RefreshUnanswered(RefreshUnavailable):
    """The exchange was sent and its answer never came: the refresh token may be spent."""


class LoginRefused(AccountError):
    """A person's sign-in came to nothing: denied, expired, cancelled, or not what was asked for."""

    code = "login_refused"


class LoginUnavailable(AccountError):
    """A person's sign-in cannot go on now: the issuer does not answer, or not in its own words."""

    code = "login_unavailable"


class AccountsExhausted(AccountError):
    """Every account that may serve has used up its window; ``retry_after_seconds`` is the earliest reset."""

    code = "usage_limit_reached"
    status_hint = 429


class AccountUnusable(AccountError):
    """The workspace is deactivated, or the account lacks the entitlement."""

    code = "account_unusable"


class UpstreamError(GptmockError):
    """The Codex backend, or the way to it."""

    code = "upstream_error"
    status_hint = 502


class CredentialRefused(UpstreamError):
    """The upstream's 401. The gateway refreshes once and tries once more."""

    code = "auth_unavailable"
    status_hint = 503


class UpstreamRefused(UpstreamError):
    """The upstream understood the request and declined it; the status says why."""

    code = "invalid_request"
    status_hint = 400


class UpstreamUnavailable(UpstreamError):
    """No connection, a 5xx, or overload: the same request may work in a moment."""

    retryable = True


class UpstreamTimeout(UpstreamError):
    """The upstream accepted the request and then said nothing for too long."""

    code = "upstream_timeout"
    status_hint = 504


class UpstreamBroken(UpstreamError):
    """The stream ended in the middle, or holds what cannot be read."""

    code = "upstream_stream_truncated"


class UpstreamFailed(UpstreamError):
    """``response.failed`` or ``error`` inside a 200 stream; the status is what it would have been."""


class StoreError(GptmockError):
    """The place where shared state rests."""

    code = "store_unavailable"
    status_hint = 503


class StoreUnavailable(StoreError):
    """The store cannot be read or written now."""


class AuthUnknown(StoreUnavailable):
    """The store cannot be read, and this process has not learned from it yet which logins or keys there are."""

    code = "auth_unavailable"

    @classmethod
    def because(cls, error: StoreUnavailable) -> AuthUnknown:
        """The same trouble, as whoever asks for a login or a key meets it; it always says when to come again."""
        seconds = error.retry_after_seconds or DEFAULT_RETRY_SECONDS
        return cls(
            f"The logins and keys of this server cannot be read now. {error.message}", retry_after_seconds=seconds
        )


class SealBroken(StoreError):
    """A stored record does not open; it is left as it is."""

    code = "store_sealed"


class LockBusy(StoreError):
    """Somebody else held the refresh lock for the whole wait."""

    code = "auth_unavailable"


class UnusableKey(Exception):
    """An encryption key that must not be used; said at start, before anything is touched. Names no key."""


class WrongPlace(Exception):
    """A place for state that is none, or not one for this; says why, and repeats no address: it may hold a password."""
