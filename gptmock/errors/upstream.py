"""Errors of the Codex backend."""

from __future__ import annotations

from gptmock.errors.base import GptmockError


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


class TranscriptionBlocked(UpstreamError):
    """The provider's bot protection stands before its transcription."""

    code = "transcription_blocked"
    status_hint = 503


class UpstreamFailed(UpstreamError):
    """``response.failed`` or ``error`` inside a 200 stream; ``status_hint`` is derived from its code."""
