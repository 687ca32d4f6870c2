"""Errors of the connection to the upstream, and its refusals, as errors of ours. Sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import httpx

from gptmock.accounts import Credential
from gptmock.errors import GptmockError, UpstreamBroken, UpstreamError, UpstreamUnavailable
from gptmock.protocol.failures import refusal_of

MIN_SECRET_CHARACTERS = 8
"""What is shorter is a word that may stand anywhere."""
_HIDDEN = b"***"
_Judged = TypeVar("_Judged", covariant=True)


class _Judge(Protocol[_Judged]):
    def __call__(self, body: bytes, *, now: float) -> _Judged: ...


def with_limits(error: GptmockError, headers: Mapping[str, str]) -> GptmockError:
    """
    A refusal that tells the usage windows which came with it.

    Args:
        error: the refusal.
        headers: of the response, or what stands for them; names in lower case.
    """
    error.limit_headers = {name: value for name, value in headers.items() if name.startswith("x-codex-")}
    return error


@dataclass(frozen=True, slots=True)
class RefusalReader:
    """
    Reads the upstream's errors for one account: its token, its ids and its address are hidden in what they say.

    Args:
        credential: of the account.
        clock: Unix seconds.
    """

    credential: Credential = field(repr=False)
    clock: Callable[[], float]

    def read(self, judge: _Judge[_Judged], body: bytes) -> _Judged:
        """What a function of ``protocol.failures`` makes of this body."""
        return judge(self._without_secrets(body), now=self.clock())

    def refusal(self, status: int, body: bytes, *, location: str | None = None, unread: str = "") -> GptmockError:
        """
        The error that a response with a status other than 200 amounts to.

        Args:
            status: of the response.
            body: its first bytes.
            location: where it redirects to.
            unread: why the body could not be read, if it could not.
        """
        return refusal_of(status, self._without_secrets(body), now=self.clock(), location=location, unread=unread)

    def challenged(self, error: GptmockError) -> GptmockError:
        """
        The error for a response that is a challenge of the provider's bot protection.

        Args:
            error: what its status and its body amount to.
        """
        return error

    def _without_secrets(self, body: bytes) -> bytes:
        account = self.credential.account
        for secret in (self.credential.access_token.reveal(), account.workspace_id, account.user_id, account.email):
            if secret is not None and len(secret) >= MIN_SECRET_CHARACTERS:
                body = body.replace(secret.encode(), _HIDDEN)
        return body


def as_upstream_error(error: httpx.HTTPError) -> UpstreamError:
    """The error that trouble of the connection amounts to, before there was an answer that could be read."""
    if isinstance(error, httpx.DecodingError):
        return UpstreamBroken(f"The upstream's answer cannot be decoded: {error}.", code="upstream_bad_encoding")
    return UpstreamUnavailable(
        f"The upstream could not be reached ({type(error).__name__}).", code="upstream_unreachable"
    )
