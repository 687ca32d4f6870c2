"""
Maps upstream error responses and error events to ``GptmockError``. Knows no client dialect.

Two envelopes exist: ``{"detail": ...}`` from the upstream's gateway and ``{"error": {...}}`` from the model API. A turn
may also fail inside a 200 stream, by ``response.failed`` or ``error``, and a 200 may carry an envelope instead of a
stream. Overload pages are HTML. ``CODES`` covers all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

import msgspec

from gptmock.accounts import SIGN_IN_HINT
from gptmock.errors import (
    AccountUnusable,
    CredentialRefused,
    GptmockError,
    UnknownModel,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gptmock.protocol.events import ErrorEvent, ResponseFailed
from gptmock.protocol.items import ErrorBody, mended
from gptmock.protocol.quotation import destination, quoted, quoted_name

OVERLOAD_RETRY_SECONDS = 5.0
"""Codex itself does not retry an overloaded model; a client that does should not come back at once."""
REFUSED_RETRY_SECONDS = 30.0
"""``Retry-After`` for a refused credential: the operator has to sign in first."""
MAX_RESET_SECONDS = 8 * 24 * 3600.0
"""No usage window is longer than a week; a later reset comes from a wrong clock and is cut to this."""
MAX_PARAM_CHARACTERS = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class _Code:
    """What a code means to a client: its HTTP status, and whether the same request may be sent again."""

    status: int
    retryable: bool = False
    should_retry: bool | None = None


CODES: Mapping[str, _Code] = {
    # Caused by the request: 400, not retryable.
    "context_length_exceeded": _Code(400),
    "invalid_prompt": _Code(400),
    "cyber_policy": _Code(400),
    "bio_policy": _Code(400),
    "content_policy_violation": _Code(400),
    "moderation_blocked": _Code(400),
    "invalid_image": _Code(400),
    "invalid_encrypted_content": _Code(400),
    "previous_response_not_found": _Code(400),
    "unsupported_value": _Code(400),
    "model_not_found": _Code(404),
    "model_not_supported": _Code(404),
    # Account limits: they reset after hours, so clients must not retry.
    "usage_limit_reached": _Code(429, should_retry=False),
    "usage_not_included": _Code(429, should_retry=False),
    "insufficient_quota": _Code(429, should_retry=False),
    "quota_exceeded": _Code(429, should_retry=False),
    # A short rate limit: the message gives the delay.
    "rate_limit_exceeded": _Code(429),
    # Upstream faults.
    "server_is_overloaded": _Code(503, retryable=True),
    "slow_down": _Code(503, retryable=True),
    "server_error": _Code(502, retryable=True),
}
"""Source: upstream protocol 6.2 to 6.4; openai/codex ``codex-api/src/sse/responses.rs``."""

_STATUSES: Mapping[str, int] = MappingProxyType(
    {
        "token_expired": 401,
        "token_invalidated": 401,
        "token_revoked": 401,
        "authentication_error": 401,
        "permission_error": 403,
        "not_found_error": 404,
        "rate_limit_error": 429,
        "invalid_request_error": 400,
    }
)
"""What other codes and types come with."""
_PHRASES: Mapping[str, int] = MappingProxyType({one.phrase: one.value for one in HTTPStatus if one >= 400})
"""The gateway's ``detail`` where it gives no reason: the standard phrase of its status."""

_RETRY_HINT = re.compile(r"try again in\s*(\d+(?:\.\d+)?)\s*(ms|s|seconds?|m|minutes?)\b", re.IGNORECASE)
_UNSUPPORTED_MODEL = re.compile(r"model is not supported when using Codex|^Model not found\b", re.IGNORECASE)
_NEWER_VERSION = re.compile(r"requires a newer version of Codex", re.IGNORECASE)


class _Refusal(msgspec.Struct, frozen=True):
    """The members of all envelopes; one that is absent or null is empty."""

    # Not ``Raw | None``: msgspec takes that for "only null", and no refusal would ever be read.
    detail: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()
    """What some gateways in between say, with ``code`` beside it."""
    code: msgspec.Raw = msgspec.Raw()


class _Status(msgspec.Struct, frozen=True):
    """The status that a document says it has, in itself or in its ``error``."""

    status: msgspec.Raw = msgspec.Raw()
    status_code: msgspec.Raw = msgspec.Raw()
    code: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Detail(msgspec.Struct, frozen=True):
    code: str | None = None
    message: str | None = None


def failure_of(event: ResponseFailed | ErrorEvent) -> GptmockError:
    """The error for ``response.failed`` or ``error``; ``UpstreamUnavailable`` if ``CODES`` calls it retryable."""
    if isinstance(event, ErrorEvent):
        body = event.error or ErrorBody(message=event.message, code=event.code, param=event.param)
    else:
        body = event.response.error or ErrorBody()
    message = quoted(body.message or "") or "The upstream reported a failure without saying why."
    return _failed(body, message, now=None)


def document_failure(body: bytes, *, now: float) -> GptmockError | None:
    """
    The error that a JSON document with the status 200 speaks of; ``None`` when it speaks of none.

    Its status is what it says itself, else what its code, its type or its standard phrase come with; without any of
    them it is the upstream's fault.

    Args:
        body: as it came.
        now: Unix seconds.
    """
    error, message = _envelope(body)
    if message is None:
        return None
    status = _status_within(body) or _status_of(error, message)
    if status is not None:
        return _refused(status, error, message, now=now)
    return _failed(error, message, now=now)


def no_stream(body: bytes, *, now: float) -> GptmockError:
    """
    The error that a 200 amounts to whose body is something else than an event stream.

    Args:
        body: its first bytes; HTML is recognised and never quoted.
        now: Unix seconds.
    """
    if body.lstrip().startswith(b"<"):
        return UpstreamBroken(
            "The upstream answered with a web page instead of an event stream. Check GPTMOCK_UPSTREAM_URL, and what "
            "stands between this server and the upstream.",
            code="upstream_no_stream",
        )
    return document_failure(body, now=now) or UpstreamBroken(
        "The upstream answered with a JSON document instead of an event stream.", code="upstream_no_stream"
    )


def credential_refused() -> CredentialRefused:
    """The error for an upstream 401: it concerns the account, never the client key."""
    return CredentialRefused(
        f"The upstream does not accept this account's credential. {SIGN_IN_HINT}",
        retry_after_seconds=REFUSED_RETRY_SECONDS,
        should_retry=False,
    )


def truncated() -> UpstreamBroken:
    """The error for a stream that ended without a terminal event."""
    return UpstreamBroken(
        "The upstream's stream ended before the response was complete. Nothing was lost but this answer: try again."
    )


def refusal_of(status: int, body: bytes, *, now: float, location: str | None = None, unread: str = "") -> GptmockError:
    """
    The error for a response whose status is not 200.

    Args:
        status: the HTTP status, not 200.
        body: its first bytes; HTML is recognised and never quoted.
        now: Unix seconds, to compute delays from ``resets_at``.
        location: the header of that name; no more than its host is shown.
        unread: why the body could not be read, as a sentence.

    Source: upstream protocol 6.1 to 6.3.
    """
    if status in _REDIRECTS or (300 <= status < 400 and location):
        return UpstreamRefused(
            f"The upstream redirects ({status}) to {destination(location)}, and redirects are not followed. Check "
            "GPTMOCK_UPSTREAM_URL, and what stands between this server and the upstream.",
            code="upstream_redirected",
            status=502,
            should_retry=False,
        )
    error, message = _envelope(body)
    if status == 401:
        return credential_refused()
    return _opaque(status, f" {unread}".rstrip()) if message is None else _refused(status, error, message, now=now)


def _refused(status: int, error: ErrorBody, message: str, *, now: float) -> GptmockError:
    code = _code_of(error)
    if status == 401:
        return credential_refused()
    if status == 402:
        return AccountUnusable(f"The account cannot be used: {message}", should_retry=False)
    if _UNSUPPORTED_MODEL.search(message):
        return UnknownModel(message, param="model")
    if _NEWER_VERSION.search(message):
        return UpstreamRefused(
            f"{message} (The operator of this server can raise GPTMOCK_CODEX_VERSION.)",
            code="codex_version_too_old",
            param="model",
        )
    if status == 403:
        return AccountUnusable(f"The upstream denies this account: {message}", should_retry=False)
    if status == 429:
        return _with_code(
            UpstreamRefused, code or "rate_limit_exceeded", message, body=error, fallback_status=429, now=now
        )
    if status >= 500:
        return _with_code(
            UpstreamUnavailable, code or "upstream_error", message, body=error, fallback_status=502, now=now
        )
    return _with_code(UpstreamRefused, code or "invalid_request", message, body=error, fallback_status=status, now=now)


def _failed(error: ErrorBody, message: str, *, now: float | None) -> GptmockError:
    """A failure of the turn itself."""
    code = _code_of(error) or "upstream_error"
    known = CODES.get(code)
    kind = UpstreamUnavailable if known is not None and known.retryable else UpstreamFailed
    return _with_code(kind, code, message, body=error, fallback_status=502, now=now)


def _with_code(  # noqa: PLR0913 - all fields of the error are set here
    kind: type[GptmockError], code: str, message: str, *, body: ErrorBody, fallback_status: int, now: float | None
) -> GptmockError:
    known = CODES.get(code)
    status = known.status if known is not None else fallback_status
    retry_after = _retry_after(status, message, body, now=now)
    if code == "usage_limit_reached" and retry_after is not None:
        message = f"{message.rstrip('.')}. It resets in {spoken_duration(retry_after)}."
    return kind(
        message,
        code=code,
        param=quoted(body.param or "")[:MAX_PARAM_CHARACTERS] or None,
        status=status,
        retry_after_seconds=retry_after,
        should_retry=known.should_retry if known is not None else None,
    )


def _retry_after(status: int, message: str, body: ErrorBody, *, now: float | None) -> float | None:
    if status not in (429, 503):
        return None
    if body.resets_in_seconds is not None:
        return _bounded(body.resets_in_seconds)
    if body.resets_at is not None and now is not None:
        return _bounded(body.resets_at - now)
    if hint := _RETRY_HINT.search(message):
        scale = {"ms": 0.001, "s": 1.0, "m": 60.0}[hint[2].lower() if hint[2].lower() == "ms" else hint[2][0].lower()]
        return _bounded(float(hint[1]) * scale)
    return OVERLOAD_RETRY_SECONDS if status == 503 else None


def spoken_duration(seconds: float) -> str:
    """``3 h 51 min``, rounded to minutes."""
    minutes = max(1, round(seconds / 60))
    days, hours, minutes = minutes // 1440, minutes % 1440 // 60, minutes % 60
    return " ".join(f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count)


def _bounded(seconds: float) -> float:
    # A reset in the past means "now", but a client that reads 0 would retry in a loop.
    return min(max(seconds, 1.0), MAX_RESET_SECONDS)


def _code_of(error: ErrorBody) -> str:
    return quoted_name(error.code or "") or quoted_name(error.type or "")


def _status_within(body: bytes) -> int | None:
    """The status of an error that a document or its ``error`` names as a number."""
    try:
        said = msgspec.json.decode(mended(body), type=_Status)
        inner = msgspec.json.decode(said.error, type=_Status) if bytes(said.error).startswith(b"{") else _Status()
    except (msgspec.DecodeError, RecursionError):
        return None
    named = (said.status, said.status_code, inner.status, inner.status_code, inner.code)
    numbers = (int(text) for one in named if len(text := bytes(one)) == 3 and text.isdigit())
    return next((number for number in numbers if 400 <= number < 600), None)


def _status_of(error: ErrorBody, message: str) -> int | None:
    """The status that an error usually comes with."""
    for name in (str(error.code), str(error.type)):
        if name in CODES:
            return CODES[name].status
        if name in _STATUSES:
            return _STATUSES[name]
    if _UNSUPPORTED_MODEL.search(message) or _NEWER_VERSION.search(message):
        return 400
    return _PHRASES.get(message)


def _envelope(body: bytes) -> tuple[ErrorBody, str | None]:
    """The error of any envelope and its message, fit to be shown; no message when the body is none."""
    try:
        refusal = msgspec.json.decode(mended(body), type=_Refusal)
        if _says_something(refusal.error):
            error, message = _error_member(refusal.error)
        elif _says_something(refusal.detail):
            error, message = _detail_member(refusal.detail)
        elif _says_something(refusal.message):
            error, message = (
                ErrorBody(code=_plain(refusal.code) if _says_something(refusal.code) else None),
                _plain(refusal.message),
            )
        else:
            return ErrorBody(), None
    except (msgspec.DecodeError, RecursionError):
        return ErrorBody(), None
    return error, quoted(message or "") or None


def _says_something(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


def _error_member(raw: msgspec.Raw) -> tuple[ErrorBody, str | None]:
    try:
        error = msgspec.json.decode(raw, type=ErrorBody)
    except msgspec.ValidationError:
        return ErrorBody(), _plain(raw)
    return error, error.message or str(error.code or error.type or "") or None


def _detail_member(raw: msgspec.Raw) -> tuple[ErrorBody, str | None]:
    try:
        detail = msgspec.json.decode(raw, type=_Detail | str)
    except msgspec.ValidationError:
        return ErrorBody(), _plain(raw)
    if isinstance(detail, str):
        return ErrorBody(), detail or None
    return ErrorBody(code=detail.code), detail.message or detail.code


def _plain(raw: msgspec.Raw) -> str | None:
    value = msgspec.json.decode(raw)
    return (value if isinstance(value, str) else msgspec.json.encode(value).decode()) or None


def _opaque(status: int, unread: str) -> GptmockError:
    """The error for an HTML page or an empty body; neither is quoted."""
    if status == 403:
        return UpstreamRefused(
            "The upstream's front door (Cloudflare) turned the request away with a web page instead of an answer."
            + unread,
            code="upstream_blocked",
            status=502,
            should_retry=False,
        )
    if status in (408, 504):
        return UpstreamTimeout(f"The upstream answered {status} without a reason.{unread}")
    if status == 429:
        return UpstreamRefused(f"The upstream says: too many requests.{unread}", code="rate_limit_exceeded", status=429)
    return UpstreamUnavailable(f"The upstream answered {status} without a reason.{unread}")
