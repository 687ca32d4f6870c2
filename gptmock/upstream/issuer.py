"""The OAuth issuer over httpx: what it is asked, and what its answers mean. Must not know where tokens rest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec

from gptmock.accounts import SIGN_IN_HINT, IssuedTokens, Secret
from gptmock.errors import LoginRefused, LoginUnavailable, RefreshRejected, RefreshUnanswered, RefreshUnavailable
from gptmock.protocol.quotation import destination
from gptmock.signin import DeviceCode, Grant, spoken
from gptmock.upstream.transport import location_of

EXCHANGE_SECONDS = 8.0
SIGN_IN_SECONDS = 20.0
"""A person waits, and no lease runs out."""
SCOPES = "openid profile email offline_access"
DEVICE_INTERVAL_SECONDS = 5.0
DEVICE_LIFETIME_SECONDS = 15 * 60.0
_RETRY_SECONDS = 10.0
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
"""After these nothing has reached the issuer; after any other trouble of the connection the token may be spent."""
_PENDING = frozenset({"authorization_pending", "slow_down"})
"""RFC 8628's words for it; the issuer itself answers 403 or 404."""
_Decoded = TypeVar("_Decoded")


class _Answer(msgspec.Struct, frozen=True):
    access_token: str | None = None
    refresh_token: str | None = None
    id_token: str | None = None


class _NestedError(msgspec.Struct, frozen=True):
    code: str | None = None
    message: str | None = None


class _Refusal(msgspec.Struct, frozen=True):
    error: _NestedError | str | None = None
    code: str | None = None
    error_description: str | None = None

    @property
    def reason(self) -> str:
        """Codex's rule: the nested code, else the error itself, else the top-level code; lower case."""
        nested = self.error.code if isinstance(self.error, _NestedError) else self.error
        return (nested or self.code or "").lower()

    @property
    def words(self) -> str:
        """Codex's order of what a person is shown; empty when there is nothing to show."""
        nested = self.error.message if isinstance(self.error, _NestedError) else None
        return self.error_description or nested or self.reason


class _DeviceAnswer(msgspec.Struct, frozen=True):
    device_auth_id: str
    user_code: str | None = None
    usercode: str | None = None
    interval: float | str | None = None
    expires_in: float | str | None = None


class _DeviceGrant(msgspec.Struct, frozen=True):
    authorization_code: str
    code_verifier: str


class OAuthIssuer:
    """
    ``TokenIssuer`` and ``SignInIssuer``.

    Args:
        client: makes the connections.
        issuer: as ``https://auth.openai.com``.
        client_id: the public client id.
        originator: who we say we are when a person signs in.
        exchange_seconds: how long to wait for a refresh; shorter than a lock is waited for.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        issuer: str,
        *,
        client_id: str,
        originator: str = "gptmock",
        exchange_seconds: float = EXCHANGE_SECONDS,
    ) -> None:
        self._client = client
        self._base_url = issuer.rstrip("/")
        self._token_url = f"{self._base_url}/oauth/token"
        self._client_id = client_id
        self._originator = originator
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
        except httpx.DecodingError as error:
            raise RefreshUnanswered(_undecodable(error), retry_after_seconds=_RETRY_SECONDS) from error
        except (TimeoutError, httpx.HTTPError) as error:
            raise RefreshUnanswered(
                f"The OAuth issuer did not answer ({type(error).__name__}).", retry_after_seconds=_RETRY_SECONDS
            ) from error
        if response.is_redirect:
            raise RefreshUnavailable(_redirected(response), retry_after_seconds=_RETRY_SECONDS)
        if response.status_code != 200:
            raise refusal(response.status_code, response.content)
        return _issued(response.content)

    # --- A person's login -------------------------------------------------------------------

    def authorize_url(self, *, state: Secret, challenge: str, redirect_uri: str) -> str:
        """See ``SignInIssuer.authorize_url``. Source: openai/codex ``login/src/server.rs``."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPES,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
            "state": state.reveal(),
            "originator": self._originator,
        }
        return f"{self._base_url}/oauth/authorize?{urlencode(query, quote_via=quote)}"

    async def redeem(self, grant: Grant) -> IssuedTokens:
        """See ``SignInIssuer.redeem``."""
        form = {
            "grant_type": "authorization_code",
            "code": grant.code.reveal(),
            "redirect_uri": grant.redirect_uri,
            "client_id": self._client_id,
            "code_verifier": grant.verifier.reveal(),
        }
        response = await self._ask("/oauth/token", form=form)
        if response.status_code != 200:
            raise self._declined(response, grant.code)
        try:
            return _issued(response.content)
        except RefreshUnavailable as error:
            raise LoginUnavailable(error.message) from error

    async def begin_device(self) -> DeviceCode:
        """See ``SignInIssuer.begin_device``. Source: openai/codex ``login/src/device_code_auth.rs``."""
        response = await self._ask("/api/accounts/deviceauth/usercode", document={"client_id": self._client_id})
        if response.status_code == 404:
            raise LoginRefused("This issuer offers no device login. Sign in with a browser: gptmock login")
        if response.status_code != 200:
            raise self._declined(response)
        answer = _decoded(response.content, _DeviceAnswer)
        user_code = answer.user_code or answer.usercode
        if not user_code:
            raise LoginUnavailable("The OAuth issuer's answer has no code to type.")
        lifetime = _seconds(answer.expires_in, DEVICE_LIFETIME_SECONDS)
        return DeviceCode(
            handle=Secret(answer.device_auth_id),
            user_code=spoken(user_code),
            page=f"{self._base_url}/codex/device",
            interval_seconds=max(1.0, _seconds(answer.interval, DEVICE_INTERVAL_SECONDS)),
            lifetime_seconds=min(lifetime, DEVICE_LIFETIME_SECONDS),
        )

    async def poll_device(self, device: DeviceCode) -> Grant | None:
        """See ``SignInIssuer.poll_device``. The issuer makes the verifier of this flow and hands it over."""
        document = {"device_auth_id": device.handle.reveal(), "user_code": device.user_code}
        response = await self._ask("/api/accounts/deviceauth/token", document=document)
        if response.status_code in (403, 404) or _refusal(response.content).reason in _PENDING:
            return None
        if response.status_code != 200:
            raise self._declined(response, device.handle)
        answer = _decoded(response.content, _DeviceGrant)
        return Grant(
            code=Secret(answer.authorization_code),
            verifier=Secret(answer.code_verifier),
            redirect_uri=f"{self._base_url}/deviceauth/callback",
        )

    async def revoke(self, token: Secret, *, hint: str) -> None:
        """See ``SignInIssuer.revoke``. Source: openai/codex ``login/src/auth/revoke.rs``."""
        document = {"token": token.reveal(), "token_type_hint": hint}
        if hint == "refresh_token":
            document["client_id"] = self._client_id
        response = await self._ask("/oauth/revoke", document=document)
        if response.status_code >= 300:
            raise LoginUnavailable(f"The OAuth issuer answered {response.status_code} to the revocation.")

    async def _ask(
        self, path: str, *, form: Mapping[str, str] | None = None, document: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        headers = {"accept": "application/json", "originator": self._originator}
        try:
            async with asyncio.timeout(SIGN_IN_SECONDS):
                url = f"{self._base_url}{path}"
                response = await self._client.post(url, data=form, json=document, headers=headers)
        except httpx.DecodingError as error:
            raise LoginUnavailable(_undecodable(error)) from error
        except (TimeoutError, httpx.HTTPError) as error:
            raise LoginUnavailable(f"The OAuth issuer could not be asked ({type(error).__name__}).") from error
        if response.is_redirect:
            raise LoginUnavailable(_redirected(response))
        return response

    def _declined(self, response: httpx.Response, *secrets: Secret) -> LoginRefused | LoginUnavailable:
        """A refusal in the issuer's own words, or a front door that has none."""
        words = _refusal(response.content).words
        for secret in secrets:
            words = words.replace(secret.reveal(), "***")
        if response.status_code == 429 or response.status_code >= 500 or not words:
            return LoginUnavailable(f"The OAuth issuer answered {response.status_code}. Try again in a moment.")
        return LoginRefused(f"The OAuth issuer refused the login: {spoken(words)}")


def _redirected(response: httpx.Response) -> str:
    return (
        f"The OAuth issuer redirects ({response.status_code}) to {destination(location_of(response))}, and "
        "redirects are not followed. Check GPTMOCK_ISSUER, and what stands between this server and the issuer."
    )


def _undecodable(error: httpx.DecodingError) -> str:
    return f"The OAuth issuer's answer cannot be decoded: {error}."


def refusal(status: int, body: bytes) -> RefreshRejected | RefreshUnavailable:
    """
    Whether a refused refresh is final: ``refresh_token_*``, ``invalid_grant`` and any 401 with a JSON error are.

    Source: openai/codex ``login/src/auth/manager.rs``; upstream protocol 3.2.
    """
    answer = _refusal(body)
    reason = answer.reason
    final = reason.startswith("refresh_token_") or reason == "invalid_grant"
    if status == 401 and (answer.error is not None or answer.code is not None):
        final = True
    if final:
        return RefreshRejected(f"The login of this server's account has ended ({reason or status}). {SIGN_IN_HINT}")
    return RefreshUnavailable(
        f"The OAuth issuer answered {status} to the refresh of the login.", retry_after_seconds=_RETRY_SECONDS
    )


def _refusal(body: bytes) -> _Refusal:
    try:
        return msgspec.json.decode(body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A page of the front door says nothing about the token.
        return _Refusal()


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


def _decoded(body: bytes, kind: type[_Decoded]) -> _Decoded:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LoginUnavailable("The OAuth issuer's answer cannot be read.") from error


def _seconds(value: float | str | None, default: float) -> float:
    """A number of seconds that the wire writes as a number or as a string."""
    try:
        seconds = float(value) if value is not None else default
    except ValueError:
        return default
    return seconds if 0 < seconds < float("inf") else default
