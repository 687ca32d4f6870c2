"""
Signing in: what a person and the issuer agree on, and the contract of whoever asks the issuer. Knows no HTTP.

Two ways lead to a ``Grant``, and a grant leads to tokens: a browser comes back with a code, or a device is approved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gptmock.accounts import Account, BrokenLogin, IssuedTokens, Login, Secret
from gptmock.errors import LoginRefused

MAX_SPOKEN_CHARACTERS = 200
_MISSING_ENTITLEMENT = "missing_codex_entitlement"


@dataclass(frozen=True, slots=True)
class Grant:
    """An authorization code and what its exchange has to prove (RFC 6749, section 4.1.3; RFC 7636)."""

    code: Secret
    verifier: Secret
    redirect_uri: str
    """The very one that the code was asked for."""


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A device login that waits for its person."""

    handle: Secret
    """``device_auth_id``: who has it may poll."""
    user_code: str
    """What the person types."""
    page: str
    """Where the person types it."""
    interval_seconds: float
    lifetime_seconds: float


@dataclass(frozen=True, slots=True)
class Farewell:
    """What became of a logout."""

    login: Login | BrokenLogin
    revoked: bool
    """Whether the issuer has ended the login too; the tokens are forgotten either way."""
    successor: Login | None
    """Who is the default now, if this account was."""


class SignInIssuer(Protocol):
    """The OAuth issuer, as a person's login needs it. Every message of its errors may be shown to the person."""

    def authorize_url(self, *, state: Secret, challenge: str, redirect_uri: str) -> str:
        """Where the person's browser goes first; ``challenge`` is that of S256."""

    async def redeem(self, grant: Grant) -> IssuedTokens:
        """
        Exchange a code for tokens. Sent once: codes are single-use.

        Raises:
            LoginRefused: the issuer does not take this code.
            LoginUnavailable: it cannot be asked now.
        """

    async def begin_device(self) -> DeviceCode:
        """
        Begin a device login.

        Raises:
            LoginRefused: the issuer offers none.
            LoginUnavailable: it cannot be asked now.
        """

    async def poll_device(self, device: DeviceCode) -> Grant | None:
        """
        Ask once whether the person has decided; ``None`` while not.

        Raises:
            LoginRefused: denied, or the code has expired.
            LoginUnavailable: it cannot be asked now; asking again may help.
        """

    async def revoke(self, token: Secret, *, hint: str) -> None:
        """
        Make a token worthless (RFC 7009).

        Args:
            token: with a refresh token the whole login ends.
            hint: ``refresh_token`` or ``access_token``.

        Raises:
            LoginUnavailable: unknown whether it was.
        """


def denied(code: str, description: str) -> LoginRefused:
    """What the issuer told the browser instead of a code (RFC 6749, section 4.1.2.1)."""
    if code == "access_denied" and _MISSING_ENTITLEMENT in description:
        return LoginRefused("This workspace has no Codex. Ask its administrator, or sign in to another workspace.")
    if code == "access_denied":
        return LoginRefused("The sign-in was declined in the browser.")
    return LoginRefused(f"The OAuth issuer refused the login: {spoken(description or code)}")


def label_taken(label: str, account: Account) -> LoginRefused:
    """A login by a label that another account has."""
    return LoginRefused(
        f"The label {label} belongs to another account than the one of this login ({account.email or account.id}). "
        "Nothing was changed; choose another label, or sign in as the other account."
    )


def spoken(text: str) -> str:
    """The issuer's words on a person's terminal: no control characters, no novel."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:MAX_SPOKEN_CHARACTERS]).strip()
