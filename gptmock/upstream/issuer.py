"""The OAuth issuer over httpx: what it is asked, and what its answers mean. Must not know where tokens rest."""

from __future__ import annotations

import asyncio

import httpx
import msgspec

from gptmock.accounts import SIGN_IN_HINT, IssuedTokens, Secret
from gptmock.errors import RefreshRejected, RefreshUnanswered, RefreshUnavailable

EXCHANGE_SECONDS = 8.0
_RETRY_SECONDS = 10.0
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
"""After these nothing has reached the issuer; after any other trouble of the connection the token may be spent."""


class _Answer(msgspec.Struct, frozen=True):
    access_token: str | None = None
    refresh_token: str | None = None
    id_token: str | None = None


class _NestedError(msgspec.Struct, frozen=True):
    code: str | None = None


class _Refusal(msgspec.Struct, frozen=True):
    error: _NestedError | str | None = None
    code: str | None = None

    @property
    def reason(self) -> str:
        """Codex's rule: the nested code, else the error itself, else the top-level code; lower case."""
        nested = self.error.code if isinstance(self.error, _NestedError) else self.error
        return (nested or self.code or "").lower()


class OAuthIssuer:
    """
    The issuer's token endpoint.

    Args:
        client: makes the connections.
        issuer: as ``https://auth.openai.com``.
        client_id: the public client id.
        exchange_seconds: how long to wait for an answer; shorter than a lock is waited for.
    """

    def __init__(
        self, client: httpx.AsyncClient, issuer: str, *, client_id: str, exchange_seconds: float = EXCHANGE_SECONDS
    ) -> None:
        self._client = client
        self._token_url = f"{issuer.rstrip('/')}/oauth/token"
        self._client_id = client_id
        self._exchange_seconds = exchange_seconds

    async def refresh(self, refresh_token: Secret) -> IssuedTokens:
        """See ``TokenIssuer.refresh``. Sent once: after a timeout the token may be spent already."""
        body = {"client_id": self._client_id, "grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
        try:
            async with asyncio.timeout(self._exchange_seconds):
                response = await self._client.post(self._token_url, json=body, headers={"accept": "application/json"})
        except _UNSENT as error:
            raise RefreshUnavailable(
                f"The OAuth issuer could not be asked ({type(error).__name__}).", retry_after_seconds=_RETRY_SECONDS
            ) from error
        except (TimeoutError, httpx.HTTPError) as error:
            raise RefreshUnanswered(
                f"The OAuth issuer did not answer ({type(error).__name__}).", retry_after_seconds=_RETRY_SECONDS
            ) from error
        if response.status_code != 200:
            raise refusal(response.status_code, response.content)
        return _issued(response.content)


def refusal(status: int, body: bytes) -> RefreshRejected | RefreshUnavailable:
    """
    Whether a refused refresh is final: ``refresh_token_*``, ``invalid_grant`` and any 401 with a JSON error are.

    Source: openai/codex ``login/src/auth/manager.rs``; upstream protocol 3.2.
    """
    try:
        answer = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A page of the front door says nothing about the token.
        answer = _Refusal()
    reason = answer.reason
    final = reason.startswith("refresh_token_") or reason == "invalid_grant"
    if status == 401 and (answer.error is not None or answer.code is not None):
        final = True
    if final:
        return RefreshRejected(f"The login of this server's account has ended ({reason or status}). {SIGN_IN_HINT}")
    return RefreshUnavailable(
        f"The OAuth issuer answered {status} to the refresh of the login.", retry_after_seconds=_RETRY_SECONDS
    )


def _issued(body: bytes) -> IssuedTokens:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefreshUnavailable(
            "The OAuth issuer's answer cannot be read.", retry_after_seconds=_RETRY_SECONDS
        ) from error
    if not answer.access_token and not answer.refresh_token:
        raise RefreshUnavailable("The OAuth issuer answered without a token.", retry_after_seconds=_RETRY_SECONDS)
    return IssuedTokens(
        access_token=Secret(answer.access_token) if answer.access_token else None,
        refresh_token=Secret(answer.refresh_token) if answer.refresh_token else None,
        id_token=Secret(answer.id_token) if answer.id_token else None,
    )
