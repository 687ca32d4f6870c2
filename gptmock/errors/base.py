"""The base of all errors, and those that are this process's own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

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
    limit_headers: Mapping[str, str] = MappingProxyType({})
    """The ``x-codex-*`` headers of the upstream's refusal that this is; names in lower case. No client sees them."""

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


class ServerStopping(GptmockError):
    """The server stops or restarts, and the grace for what was being answered is over."""

    code = "server_stopping"
    status_hint = 503


class ServerBusy(GptmockError):
    """This process has as many connections or streams as it can take; ``retry_after_seconds`` is always set."""

    code = "server_busy"
    status_hint = 503
