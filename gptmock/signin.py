"""
Interactive sign-in: authorization grants, device codes, and the contract of the OAuth client. Knows no HTTP.

The browser flow (redirect with a code) and the device flow (approval elsewhere) both yield a ``Grant``, which is
exchanged for tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gptmock.accounts import Account, BrokenLogin, IssuedTokens, Login, Secret
from gptmock.errors import LoginRefused

MAX_PRINTED_CHARACTERS = 200
_MISSING_ENTITLEMENT = "missing_codex_entitlement"


@dataclass(frozen=True, slots=True)
class Grant:
    """An authorization code and the parameters of its exchange (RFC 6749, section 4.1.3; RFC 7636)."""

    code: Secret
    verifier: Secret
    redirect_uri: str
    """The same value as in the authorization request."""


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A pending device login (RFC 8628)."""

    handle: Secret
    """``device_auth_id``: authorizes polling."""
    user_code: str
    """The code that the user enters on ``page``."""
    page: str
    """The verification URL."""
    interval_seconds: float
    lifetime_seconds: float


@dataclass(frozen=True, slots=True)
class LogoutResult:
    """The result of a logout."""

    login: Login | BrokenLogin
    revoked: bool
    """Whether the issuer has revoked the tokens; they are deleted here either way."""
    successor: Login | None
    """The new default account, if this one was the default."""


class SignInIssuer(Protocol):
    """The OAuth issuer's operations for interactive sign-in. Error messages may be shown to the user."""

    def authorize_url(self, *, state: Secret, challenge: str, redirect_uri: str) -> str:
        """The authorization URL for the browser; ``challenge`` is the PKCE challenge of method S256."""

    async def redeem(self, grant: Grant) -> IssuedTokens:
        """
        Exchange a code for tokens. Never retried: codes are single-use.

        Raises:
            LoginRefused: the issuer does not accept this code.
            LoginUnavailable: the issuer cannot be reached now.
        """

    async def begin_device(self) -> DeviceCode:
        """
        Begin a device login.

        Raises:
            LoginRefused: the issuer offers no device flow.
            LoginUnavailable: the issuer cannot be reached now.
        """

    async def poll_device(self, device: DeviceCode) -> Grant | None:
        """
        Poll once; ``None`` while the authorization is pending.

        Raises:
            LoginRefused: denied, or the code has expired.
            LoginUnavailable: the issuer cannot be reached now; poll again.
        """

    async def revoke(self, token: Secret, *, hint: str) -> None:
        """
        Revoke a token (RFC 7009).

        Args:
            token: a refresh token ends the whole login.
            hint: ``token_type_hint``: ``refresh_token`` or ``access_token``.

        Raises:
            LoginUnavailable: it is unknown whether the token was revoked.
        """


def denied(code: str, description: str) -> LoginRefused:
    """The error for an authorization error response in the redirect (RFC 6749, section 4.1.2.1)."""
    if code == "access_denied" and _MISSING_ENTITLEMENT in description:
        return LoginRefused("This workspace has no Codex. Ask its administrator, or sign in to another workspace.")
    if code == "access_denied":
        return LoginRefused("The sign-in was declined in the browser.")
    return LoginRefused(f"The OAuth issuer refused the login: {printable(description or code)}")


def label_taken(label: str, account: Account) -> LoginRefused:
    """The error for a login with a label that another account has."""
    return LoginRefused(
        f"The label {label} belongs to another account than the one of this login ({account.email or account.id}). "
        "Nothing was changed; choose another label, or sign in as the other account."
    )


def printable(text: str) -> str:
    """Text of the issuer, safe for a terminal: shortened, control characters replaced by spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:MAX_PRINTED_CHARACTERS]).strip()
