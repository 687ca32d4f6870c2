"""OAuth client over httpx: authorization code, device code, refresh and revocation. Knows no token store."""

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
from gptmock.signin import DeviceCode, Grant, printable
from gptmock.upstream.engine import location_of

EXCHANGE_SECONDS = 8.0
SIGN_IN_SECONDS = 20.0
"""Timeout of interactive sign-in calls; no refresh lease is held meanwhile, so it may be long."""
SCOPES = "openid profile email offline_access"
DEVICE_INTERVAL_SECONDS = 5.0
DEVICE_LIFETIME_SECONDS = 15 * 60.0
_RETRY_SECONDS = 10.0
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
"""Errors after which the request was certainly not sent; after any other one the refresh token may be spent."""
_PENDING = frozenset({"authorization_pending", "slow_down"})
"""Error codes of RFC 8628 for a pending authorization; the issuer itself answers 403 or 404."""
_Decoded = TypeVar("_Decoded")


class _TokenResponse(msgspec.Struct, frozen=True):
    access_token: str | None = None
    refresh_token: str | None = None
    id_token: str | None = None


class _NestedError(msgspec.Struct, frozen=True):
    code: str | None = None
    message: str | None = None


class _ErrorResponse(msgspec.Struct, frozen=True):
    error: _NestedError | str | None = None
    code: str | None = None
    error_description: str | None = None

    @property
    def reason(self) -> str:
        """Codex's rule: the nested code, else the error itself, else the top-level code; lower case."""
        nested = self.error.code if isinstance(self.error, _NestedError) else self.error
        return (nested or self.code or "").lower()

    @property
    def message(self) -> str:
        """The text to show, chosen in the same order as Codex does; empty if there is none."""
        nested = self.error.message if isinstance(self.error, _NestedError) else None
        return self.error_description or nested or self.reason


class _DeviceCodeResponse(msgspec.Struct, frozen=True):
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
        client: the HTTP client.
        issuer: base URL, such as ``https://auth.openai.com``.
        client_id: the public OAuth client id.
        originator: value of the ``originator`` parameter and header.
        exchange_seconds: timeout of a refresh; must be shorter than the wait for the refresh lease.
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
        """See ``TokenIssuer.refresh``. Never retried: after a timeout the token may be spent already."""
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
            raise refresh_error(response.status_code, response.content)
        return _issued(response.content)

    # --- Interactive sign-in ----------------------------------------------------------------

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
        response = await self._post("/oauth/token", form=form)
        if response.status_code != 200:
            raise self._login_error(response, grant.code)
        try:
            return _issued(response.content)
        except RefreshUnavailable as error:
            raise LoginUnavailable(error.message) from error

    async def begin_device(self) -> DeviceCode:
        """See ``SignInIssuer.begin_device``. Source: openai/codex ``login/src/device_code_auth.rs``."""
        response = await self._post("/api/accounts/deviceauth/usercode", document={"client_id": self._client_id})
        if response.status_code == 404:
            raise LoginRefused("This issuer offers no device login. Sign in with a browser: gptmock login")
        if response.status_code != 200:
            raise self._login_error(response)
        answer = _decoded(response.content, _DeviceCodeResponse)
        user_code = answer.user_code or answer.usercode
        if not user_code:
            raise LoginUnavailable("The OAuth issuer's answer has no code to type.")
        lifetime = _seconds(answer.expires_in, DEVICE_LIFETIME_SECONDS)
        return DeviceCode(
            handle=Secret(answer.device_auth_id),
            user_code=printable(user_code),
            page=f"{self._base_url}/codex/device",
            interval_seconds=max(1.0, _seconds(answer.interval, DEVICE_INTERVAL_SECONDS)),
            lifetime_seconds=min(lifetime, DEVICE_LIFETIME_SECONDS),
        )

    async def poll_device(self, device: DeviceCode) -> Grant | None:
        """See ``SignInIssuer.poll_device``. In this flow the issuer creates the PKCE verifier and returns it."""
        document = {"device_auth_id": device.handle.reveal(), "user_code": device.user_code}
        response = await self._post("/api/accounts/deviceauth/token", document=document)
        if response.status_code in (403, 404) or _error_response(response.content).reason in _PENDING:
            return None
        if response.status_code != 200:
            raise self._login_error(response, device.handle)
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
        response = await self._post("/oauth/revoke", document=document)
        if response.status_code >= 300:
            raise LoginUnavailable(f"The OAuth issuer answered {response.status_code} to the revocation.")

    async def _post(
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

    def _login_error(self, response: httpx.Response, *secrets: Secret) -> LoginRefused | LoginUnavailable:
        """The error for a failed sign-in call, with the issuer's message but without ``secrets``."""
        message = _error_response(response.content).message
        for secret in secrets:
            message = message.replace(secret.reveal(), "***")
        if response.status_code == 429 or response.status_code >= 500 or not message:
            return LoginUnavailable(f"The OAuth issuer answered {response.status_code}. Try again in a moment.")
        return LoginRefused(f"The OAuth issuer refused the login: {printable(message)}")


def _redirected(response: httpx.Response) -> str:
    return (
        f"The OAuth issuer redirects ({response.status_code}) to {destination(location_of(response))}, and "
        "redirects are not followed. Check GPTMOCK_ISSUER, and what stands between this server and the issuer."
    )


def _undecodable(error: httpx.DecodingError) -> str:
    return f"The OAuth issuer's answer cannot be decoded: {error}."


def refresh_error(status: int, body: bytes) -> RefreshRejected | RefreshUnavailable:
    """
    The error for a failed refresh. ``RefreshRejected``, which is final, for ``refresh_token_*``, ``invalid_grant`` and
    any 401 with a JSON error; else ``RefreshUnavailable``.

    Source: openai/codex ``login/src/auth/manager.rs``; upstream protocol 3.2.
    """
    answer = _error_response(body)
    reason = answer.reason
    final = reason.startswith("refresh_token_") or reason == "invalid_grant"
    if status == 401 and (answer.error is not None or answer.code is not None):
        final = True
    if final:
        shown = printable(reason) or status
        return RefreshRejected(f"The login of this server's account has ended ({shown}). {SIGN_IN_HINT}")
    return RefreshUnavailable(
        f"The OAuth issuer answered {status} to the refresh of the login.", retry_after_seconds=_RETRY_SECONDS
    )


def _error_response(body: bytes) -> _ErrorResponse:
    try:
        return msgspec.json.decode(body, type=_ErrorResponse)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # An HTML page of a proxy in front of the issuer says nothing about the token.
        return _ErrorResponse()


def _issued(body: bytes) -> IssuedTokens:
    try:
        answer = msgspec.json.decode(body, type=_TokenResponse)
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
    """Seconds from a JSON number or a string; ``default`` if absent, invalid or not positive."""
    try:
        seconds = float(value) if value is not None else default
    except ValueError:
        return default
    return seconds if 0 < seconds < float("inf") else default
