"""
ChatGPT accounts and their OAuth tokens, with the contracts of the token store, the refresh lease and the OAuth client.
Knows no file and no HTTP.

Access to secrets is limited by type: ``TokenSet`` has all tokens and is for the vault, the refresh and the issuer;
``Credential`` has only the access token and is for requests; ``Account`` has no secret.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

SIGN_IN_HINT = "The operator of this server can sign in with: gptmock login"
"""Added to messages about a missing or ended login."""
BROKEN_HINT = "Sign in to it again with gptmock login, or take it away with gptmock accounts remove."
"""Added to messages about an account whose record cannot be decrypted."""
ROTATION_STEP = 1000
"""
The increment of ``TokenSet.version`` for new tokens. Changes that keep the tokens, such as re-encryption, increment it
by one: so tokens that were issued meanwhile, but could not be written yet, still have the higher version.
"""
AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"


class Secret:
    """A text that logs, tracebacks and f-strings do not show; only ``reveal`` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        return hash(self._text)

    def reveal(self) -> str:
        """The plain text, for the code that sends or stores it."""
        return self._text

    def fingerprint(self) -> str:
        """16 hex digits that identify the secret without revealing it."""
        return hashlib.sha256(self._bytes()).hexdigest()[:16]

    def _bytes(self) -> bytes:
        # A header may hold bytes that are not UTF-8; Sanic passes them as lone surrogates.
        return self._text.encode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=1024)
def _account_id(workspace_id: str, user_id: str) -> str:
    # Asked for several times in each turn.
    return hashlib.sha256(f"{workspace_id}\0{user_id}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Account:
    """A login: one user in one workspace. Members of a workspace share ``workspace_id``."""

    workspace_id: str
    """``chatgpt_account_id``."""
    user_id: str | None = None
    """``chatgpt_user_id``."""
    email: str | None = None
    plan: str | None = None
    is_fedramp: bool = False

    @property
    def id(self) -> str:
        """16 hex digits derived from workspace and user: the same for every login of the account."""
        return _account_id(self.workspace_id, self.user_id or "")


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The OAuth tokens of a login, at one version."""

    account: Account
    access_token: Secret
    refresh_token: Secret | None
    id_token: Secret | None
    version: int
    """Incremented by every change; of two token sets the one with the higher version is newer."""
    expires_at: float | None
    """Unix seconds, from the access token's ``exp``; ``None`` if it has none."""
    last_refresh: float | None = None
    """Unix seconds."""
    refused: str | None = None
    """Why the issuer refused the refresh token for good; the access token is used until it expires."""
    forgotten: bool = False
    """Logged out: a tombstone that keeps the version, so that older tokens are not written back."""

    def credential(self) -> Credential:
        """The access token and its account, for requests."""
        return Credential(self.account, self.access_token, self.version)

    def has_tokens_of(self, other: TokenSet) -> bool:
        """Whether both have the same tokens; their versions may differ."""
        return self.access_token == other.access_token and self.refresh_token == other.refresh_token


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request to the upstream is authorized with; never the refresh token."""

    account: Account
    access_token: Secret
    version: int


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """A token response of the issuer (RFC 6749, section 5.1); ``None``: the earlier token stays valid."""

    access_token: Secret | None
    refresh_token: Secret | None
    id_token: Secret | None


@dataclass(frozen=True, slots=True)
class Login:
    """An account with its metadata, for display; no secret in it."""

    account: Account
    label: str
    version: int
    expires_at: float | None
    last_refresh: float | None
    refused: str | None = None
    paused: bool = False
    organization: str | None = None
    """The title of the default organisation in the id token."""
    id_expires_at: float | None = None
    """Unix seconds, of the id token."""
    renewable: bool = True
    """Whether there is a refresh token."""
    member: bool = False
    """Of somebody who was invited: never the default account, unless an administrator makes it that."""


@dataclass(frozen=True, slots=True)
class BrokenLogin:
    """An account whose record cannot be decrypted: another key, or tampering. Signing in again replaces the record."""

    account_id: str
    label: str
    """The account id if the label cannot be decrypted either."""
    reason: str

    @property
    def message(self) -> str:
        """The message for users, with a hint."""
        return f"{self.label}: {self.reason} {BROKEN_HINT}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """The recent refresh failures of an account, shared by all workers; no secret in it."""

    failures: int = 0
    """Consecutive failures."""
    message: str = ""
    unanswered: str | None = None
    """Fingerprint of a refresh token that was sent without getting a response: it may be spent."""
    left_seconds: float = 0.0
    """Remaining backoff: no refresh is sent to the issuer for so long."""


class TokenVault(Protocol):
    """The shared store of all accounts' tokens. Of two versions the higher one always wins."""

    async def load(self, account_id: str) -> TokenSet:
        """
        The newest tokens in the store or in this process; if the store has older ones, it is updated.

        Raises:
            NotLoggedIn: there are none, or they were logged out.
            StoreUnavailable: the store cannot be read.
            SealBroken: the record cannot be decrypted.
        """

    async def replace(self, replaced: TokenSet, tokens: TokenSet) -> TokenSet:
        """
        Replace ``replaced`` by ``tokens``, which has a higher version, unless the store has newer ones.

        Returns the tokens in the store afterwards: ``tokens``, or newer ones of another worker.

        Raises:
            StoreUnavailable: it is unknown whether they were written.
        """

    async def enroll(
        self, tokens: TokenSet, *, label: str | None = None, made_at: float | None = None, member: bool = False
    ) -> TokenSet:
        """
        Store the tokens of a new interactive login; they replace all others, also those of a concurrent refresh.

        Args:
            tokens: their version is ignored.
            label: display name of the account; by default the current one, at first the email address.
            made_at: Unix seconds of the login, by default now. After the store was emptied, tokens of a later login
                that another process still has take precedence.
            member: see ``Login.member``, if the account is new.
        """

    async def refuse(self, refused: TokenSet, *, reason: str) -> bool:
        """Record that the issuer refused these tokens, unless the store has others by now; whether it is news."""

    async def forget(self, account_id: str) -> None:
        """Log out: delete the tokens for all workers, leaving a tombstone."""

    async def logins(self) -> list[Login]:
        """All accounts whose records can be decrypted, by label."""

    async def broken(self) -> list[BrokenLogin]:
        """All accounts whose records cannot be decrypted, by label."""

    async def holder(self, label: str) -> str | None:
        """The id of the account with this label, even if its record cannot be decrypted."""

    async def discard(self, account_id: str) -> None:
        """Delete records that cannot be decrypted; a process that still has valid tokens writes them back."""

    async def revision(self) -> int:
        """
        A number that changes with every login, logout, and change of a label, and when the store was emptied: a cheap
        check before ``logins``.
        """

    async def describe(self, account: Account, *, label: str | None = None, paused: bool | None = None) -> None:
        """Change the label of an account or whether it is paused; ``None`` leaves a value unchanged."""

    async def is_paused(self, account_id: str) -> bool:
        """Whether the account was paused by an operator."""

    async def default(self) -> str | None:
        """The id of the account for clients that are not bound to an account."""

    async def make_default(self, account_id: str) -> None:
        """Make this the account for clients that are not bound to an account."""

    async def probe(self) -> None:
        """
        Check that the store is writable, before a refresh token is spent.

        Raises:
            StoreUnavailable: it is not.
        """


class RefreshLease(Protocol):
    """The exclusive, expiring right to refresh one account, across all workers; timed by the store's clock."""

    async def acquire(self) -> bool:
        """Acquire the lease; false if another owner holds it."""

    async def renew(self) -> bool:
        """Restart the lease's TTL; false if the lease was lost."""

    async def left_seconds(self) -> float:
        """The remaining TTL; 0 if the lease was lost."""

    async def release(self) -> None:
        """Release the lease; does nothing if another owner holds it."""

    async def trouble(self) -> Trouble:
        """The failures that earlier owners reported."""

    async def report(self, trouble: Trouble) -> None:
        """Share failures with later owners; ``left_seconds`` is counted from now, by the store's clock."""


class Escrow(Protocol):
    """An encrypted, durable spool on this machine for rotated tokens until the vault has stored them."""

    async def put(self, tokens: TokenSet) -> None:
        """Write the tokens; they are on disk (fsync) when this returns."""

    async def find(self, account_id: str) -> TokenSet | None:
        """The newest tokens of the account, written by any process of this machine."""

    async def drop(self, account_id: str, *, up_to_version: int) -> None:
        """Delete tokens up to this version, after the vault has stored them."""


class TokenIssuer(Protocol):
    """The refresh operation of the OAuth issuer."""

    async def refresh(self, refresh_token: Secret) -> IssuedTokens:
        """
        Exchange a refresh token (RFC 6749, section 6). The token is single-use: do not retry after a lost response.

        Raises:
            RefreshRejected: the issuer refuses this token for good.
            RefreshUnavailable: the issuer cannot be reached now.
            RefreshUnanswered: the request was sent and got no response: the token may be spent.
        """


# --- Claims --------------------------------------------------------------------------


class _Organization(msgspec.Struct, frozen=True):
    title: str | None = None
    is_default: bool = False


class _AuthClaims(msgspec.Struct, frozen=True):
    organizations: list[_Organization] = msgspec.field(default_factory=list)
    chatgpt_account_id: str | None = None
    chatgpt_user_id: str | None = None
    user_id: str | None = None
    chatgpt_plan_type: str | None = None
    chatgpt_account_is_fedramp: bool | None = None


class _Profile(msgspec.Struct, frozen=True):
    email: str | None = None


class _Claims(msgspec.Struct, frozen=True):
    exp: float | None = None
    email: str | None = None
    auth: _AuthClaims = msgspec.field(name=AUTH_CLAIM, default_factory=_AuthClaims)
    profile: _Profile = msgspec.field(name=PROFILE_CLAIM, default_factory=_Profile)


def expiry_of(token: Secret) -> float | None:
    """``exp`` of a JWT, in Unix seconds; ``None`` if the token is no JWT or has no ``exp``."""
    return _claims(token).exp


def organization_of(token: Secret) -> str | None:
    """The title of the default organisation in an id token, else of the first; ``None`` if there is none."""
    found = sorted(_claims(token).auth.organizations, key=lambda one: not one.is_default)
    return _first(one.title for one in found)


def account_of(tokens: IssuedTokens, *, known_workspace: str | None = None) -> Account | None:
    """
    The account of the tokens, from their claims; ``None`` if they name no workspace. Signatures are not verified.

    Args:
        tokens: claims of the id token take precedence over those of the access token.
        known_workspace: the workspace id from ``auth.json``, if it has one; it takes precedence over claims.

    Source: openai/codex ``login/src/token_data.rs``.
    """
    claims = [_claims(token) for token in (tokens.id_token, tokens.access_token) if token is not None]
    workspace = known_workspace or _first(claim.auth.chatgpt_account_id for claim in claims)
    if workspace is None:
        return None
    return Account(
        workspace_id=workspace,
        user_id=_first(claim.auth.chatgpt_user_id or claim.auth.user_id for claim in claims),
        email=_first(claim.email or claim.profile.email for claim in claims),
        plan=_first(claim.auth.chatgpt_plan_type for claim in claims),
        is_fedramp=any(claim.auth.chatgpt_account_is_fedramp for claim in claims),
    )


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value), None)


def _claims(token: Secret) -> _Claims:
    segments = token.reveal().split(".")
    if len(segments) != 3 or not all(segments):
        return _Claims()
    padded = segments[1] + "=" * (-len(segments[1]) % 4)
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Claims)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return _Claims()
