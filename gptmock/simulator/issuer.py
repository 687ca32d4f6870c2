"""The routes of the OAuth issuer: authorize, token, revoke, and the device flow."""

import asyncio
import re
import urllib.parse
import uuid
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

from gptmock.simulator.accounts import IssuedLogin, RefreshRefusedError
from gptmock.simulator.device import DEVICE_REDIRECT_PATH, PendingCode, pkce_challenge
from gptmock.simulator.intake import INTAKE, answer, respond
from gptmock.simulator.jwt import Identity
from gptmock.simulator.refusals import Refusal, api_error, document
from gptmock.simulator.scene_refusals import BAD_GATEWAY, CLOUDFLARE, REDIRECT, SERVER_ERROR
from gptmock.simulator.state import SimulatorState
from gptmock.simulator.steps import Json

REDIRECT_PORTS = frozenset({"1455", "1457"})
DEVICE_INTERVAL_SECONDS = "5"
"""A JSON string, as the real issuer sends it."""

TOKEN_FAULTS: Mapping[str, Refusal] = MappingProxyType(
    {
        "302": REDIRECT,
        "400": api_error("The request could not be processed.", code="invalid_request"),
        "401": api_error("Your session has ended.", status=401, code="session_ended"),
        "403-html": CLOUDFLARE,
        "429": api_error("Too many requests.", status=429, code="rate_limit_exceeded"),
        "500": SERVER_ERROR,
        "502-html": BAD_GATEWAY,
    }
)
"""Fault name to error response of the token endpoint; no token is rotated."""
LOST = "lost"
"""The fault that rotates the token and then drops the connection without a response."""

_REFRESH_MESSAGES = {
    "refresh_token_reused": (
        "Your refresh token has already been used to generate a new access token. Please try signing in again."
    ),
    "refresh_token_invalidated": "Your refresh token has been invalidated. Please try signing in again.",
}
_APPROVED_PAGE = "<!doctype html><title>Simulator</title><p>Approve a device with POST /simulator/device/approve.</p>"


class Issuer:
    """Handlers of the issuer's routes."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        """The routes below the issuer's URL."""
        return [
            web.get("/oauth/authorize", self.authorize),
            web.post("/oauth/token", self.token),
            web.post("/oauth/revoke", self.revoke),
            web.post("/api/accounts/deviceauth/usercode", self.user_code),
            web.post("/api/accounts/deviceauth/token", self.device_token),
            web.get("/codex/device", self.device_page),
            web.get(DEVICE_REDIRECT_PATH, self.device_page),
        ]

    async def authorize(self, request: web.Request) -> web.Response:
        """
        Redirect (302) at once, with a code, or with ``access_denied`` if the query has ``deny=1``.

        ``login_hint`` is the email of the user, ``allowed_workspace_id`` the workspace.
        """
        query = request.query
        problem = self._authorize_problem(query)
        if problem is not None:
            return respond(problem)
        if query.get("deny"):
            answered = {"error": "access_denied", "error_description": "The user denied the request."}
        else:
            code = self._state.devices.new_code(
                challenge=query["code_challenge"],
                redirect_uri=query["redirect_uri"],
                identity=new_identity(
                    email=query.get("login_hint", "demo@example.test"), account_id=query.get("allowed_workspace_id")
                ),
            )
            answered = {"code": code, "scope": query["scope"]}
        if "state" in query:
            answered["state"] = query["state"]
        location = f"{query['redirect_uri']}?{urllib.parse.urlencode(answered)}"
        return web.Response(status=302, headers={"location": location})

    async def token(self, request: web.Request) -> web.Response:
        """Exchange a code or a refresh token; the body may be a form or JSON."""
        fields = request[INTAKE].fields
        grant = str(fields.get("grant_type", ""))
        fault = self._state.token_faults.popleft() if self._state.token_faults else ""
        if fault and fault != LOST:
            self._state.exchanged(grant, f"fault:{fault}")
            return respond(TOKEN_FAULTS[fault])
        outcome = self._exchange(grant, fields)
        if isinstance(outcome, Refusal):
            return respond(outcome)
        if self._state.options.refresh_delay_seconds:
            await asyncio.sleep(self._state.options.refresh_delay_seconds)
        if fault == LOST and request.transport is not None:
            request.transport.close()
        return answer(outcome)

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke a token; an unknown one is no error (RFC 7009)."""
        token = request[INTAKE].fields.get("token")
        if not isinstance(token, str):
            return respond(_oauth_error("invalid_request", "token is missing"))
        self._state.logins.revoke(token)
        return answer({})

    async def user_code(self, request: web.Request) -> web.Response:
        """Begin a device login."""
        if request[INTAKE].fields.get("client_id") != self._state.options.client_id:
            return respond(_invalid_client())
        login = self._state.devices.new_device()
        return answer(
            {
                "device_auth_id": login.device_auth_id,
                "user_code": login.user_code,
                "interval": DEVICE_INTERVAL_SECONDS,
            }
        )

    async def device_token(self, request: web.Request) -> web.Response:
        """403 until the device is approved, then a code with the verifier to exchange it with."""
        fields = request[INTAKE].fields
        login = self._state.devices.find_device(str(fields.get("device_auth_id", "")), str(fields.get("user_code", "")))
        if login is None:
            return respond(api_error("Unknown device code.", status=404, code="deviceauth_unknown"))
        if login.status == "denied":
            return respond(api_error("The user denied the request.", status=400, code="access_denied"))
        if login.status == "pending" or login.identity is None:
            pending = "Device authorization is pending. Please try again."
            return respond(api_error(pending, status=403, code="deviceauth_authorization_pending"))
        self._state.devices.drop_device(login.device_auth_id)
        verifier = uuid.uuid4().hex + uuid.uuid4().hex
        code = self._state.devices.new_code(
            challenge=pkce_challenge(verifier),
            redirect_uri=DEVICE_REDIRECT_PATH,
            identity=login.identity,
        )
        challenge = pkce_challenge(verifier)
        return answer({"authorization_code": code, "code_challenge": challenge, "code_verifier": verifier})

    async def device_page(self, _request: web.Request) -> web.Response:
        """The verification page of the device flow, without a form."""
        return web.Response(text=_APPROVED_PAGE, content_type="text/html")

    # -- inside -------------------------------------------------------------------------------------------------------

    def _authorize_problem(self, query: Mapping[str, str]) -> Refusal | None:
        checks = (
            (query.get("response_type") == "code", "response_type must be code"),
            (query.get("client_id") == self._state.options.client_id, "client_id is not known"),
            (self._redirect_allowed(query.get("redirect_uri", "")), "redirect_uri is not allowed"),
            (query.get("code_challenge_method") == "S256", "code_challenge_method must be S256"),
            (re.fullmatch(r"[\w-]{43}", query.get("code_challenge", "")), "code_challenge is not a SHA-256 digest"),
            (
                {"openid", "offline_access"} <= set(query.get("scope", "").split()),
                "scope lacks openid or offline_access",
            ),
        )
        problem = next((text for passed, text in checks if not passed), None)
        return None if problem is None else _oauth_error("invalid_request", problem)

    def _redirect_allowed(self, uri: str) -> bool:
        found = re.fullmatch(r"http://(localhost|127\.0\.0\.1):(\d{1,5})/auth/callback", uri)
        if found is None:
            return False
        return self._state.options.any_redirect_port or (found[1] == "localhost" and found[2] in REDIRECT_PORTS)

    def _exchange(self, grant: str, fields: Json) -> Json | Refusal:
        """The token response or the refusal; both are counted in the state."""
        outcome = self._login_for(grant, fields)
        if isinstance(outcome, Refusal):
            return outcome
        self._state.exchanged(grant, "ok", outcome.account_id)
        return {
            "id_token": outcome.id_token,
            "access_token": outcome.access_token,
            "refresh_token": outcome.refresh_token,
            "token_type": "bearer",
            "expires_in": outcome.expires_in,
            "scope": "openid profile email offline_access",
        }

    def _login_for(self, grant: str, fields: Json) -> IssuedLogin | Refusal:
        if fields.get("client_id") != self._state.options.client_id:
            return self._refuse(grant, "invalid_client", _invalid_client())
        if grant == "refresh_token":
            return self._refresh(str(fields.get("refresh_token", "")))
        if grant == "authorization_code":
            return self._redeem(fields)
        message = "Unsupported grant_type" if grant else "grant_type is missing"
        return self._refuse(grant, "unsupported_grant_type", _oauth_error("unsupported_grant_type", message))

    def _refresh(self, token: str) -> IssuedLogin | Refusal:
        try:
            return self._state.logins.rotate(token)
        except RefreshRefusedError as error:
            refusal = api_error(_REFRESH_MESSAGES[error.code], status=401, code=error.code)
            return self._refuse("refresh_token", error.code, refusal)

    def _redeem(self, fields: Json) -> IssuedLogin | Refusal:
        pending = self._state.devices.take_code(str(fields.get("code", "")))
        problem = _code_problem(pending, fields)
        if pending is None or problem:
            return self._refuse("authorization_code", "invalid_grant", _oauth_error("invalid_grant", problem))
        who = pending.identity
        return self._state.logins.issue(email=who.email, account_id=who.account_id, user_id=who.user_id, plan=who.plan)

    def _refuse(self, grant: str, code: str, refusal: Refusal) -> Refusal:
        self._state.exchanged(grant, code)
        return refusal


def new_identity(
    *,
    email: str = "demo@example.test",
    account_id: str | None = None,
    user_id: str | None = None,
    plan: str = "plus",
) -> Identity:
    """The user who signs in; missing ids are derived from ``email``, so that the same email gets the same ids."""
    return Identity(
        email=email,
        account_id=account_id or str(uuid.uuid5(uuid.NAMESPACE_DNS, f"workspace.{email}")),
        user_id=user_id or f"user-{uuid.uuid5(uuid.NAMESPACE_DNS, f'user.{email}').hex[:24]}",
        plan=plan,
    )


def _code_problem(pending: PendingCode | None, fields: Json) -> str:
    """The error description for a code exchange; empty if it is valid."""
    verifier, redirect = str(fields.get("code_verifier", "")), str(fields.get("redirect_uri", ""))
    if pending is None:
        return "The authorization code is unknown, used or expired."
    if not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier) or pkce_challenge(verifier) != pending.challenge:
        return "The code_verifier does not match the code_challenge."
    if redirect != pending.redirect_uri and not _is_device_redirect(pending, redirect):
        return "The redirect_uri does not match."
    return ""


def _is_device_redirect(pending: PendingCode, redirect: str) -> bool:
    """Redirect URIs of device codes are compared by path only, since the issuer's host may have several names."""
    return pending.redirect_uri == DEVICE_REDIRECT_PATH and urllib.parse.urlsplit(redirect).path == DEVICE_REDIRECT_PATH


def _oauth_error(code: str, description: str) -> Refusal:
    return document(400, {"error": code, "error_description": description})


def _invalid_client() -> Refusal:
    return api_error("Invalid client specified.", status=401, code="invalid_client")
