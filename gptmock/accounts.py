"""
Who pays: accounts, their secrets, and the contracts of whoever keeps and renews them. Knows no file and no HTTP.

Three holders of a secret, from wide to narrow: a ``TokenSet`` has all tokens and is seen by vault, lock and issuer;
a ``Credential`` is what one request may carry, never the refresh token; an ``Account`` has no secret at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

SIGN_IN_HINT = "The operator of this server can sign in with: gptmock login"
"""What to do about a login that is missing or has ended."""
BROKEN_HINT = "Sign in to it again with gptmock login, or take it away with gptmock accounts remove."
"""What to do about an account with a record that does not open."""
ROTATION_STEP = 1000
"""
How far a rotation raises the version. A mark or another seal over the same tokens raises it by one: tokens that were
issued meanwhile, and could not be written yet, outrank any such change.
"""
AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"


class Secret:
    """A text that no log, traceback or f-string shows; ``reveal`` is the only way to it."""

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
        """The text itself, for the one place that sends or stores it."""
        return self._text

    def fingerprint(self) -> str:
        """16 hex digits that name the secret without telling it."""
        return hashlib.sha256(self._bytes()).hexdigest()[:16]

    def _bytes(self) -> bytes:
        # A key from a header may hold bytes that are no UTF-8; Sanic hands them over as lone surrogates.
        return self._text.encode("utf-8", "surrogatepass")


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
        """16 hex digits for the pair of workspace and user: the same wherever and whenever it signs in."""
        return hashlib.sha256(f"{self.workspace_id}\0{self.user_id or ''}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The secrets of a login, as one version of them."""

    account: Account
    access_token: Secret
    refresh_token: Secret | None
    id_token: Secret | None
    version: int
    """Grows with every change; the higher one is the newer one, wherever both are seen."""
    expires_at: float | None
    """Unix seconds, from the access token's ``exp``; ``None`` when it tells nothing."""
    last_refresh: float | None = None
    """Unix seconds."""
    refused: str | None = None
    """Why the issuer refused the refresh token for good; the access token is used to its end."""
    forgotten: bool = False
    """Logged out: what is left is the version, so that nobody brings the tokens back."""

    def credential(self) -> Credential:
        """What one request may carry of them."""
        return Credential(self.account, self.access_token, self.version)

    def has_tokens_of(self, other: TokenSet) -> bool:
        """Whether nothing was issued between the two, whatever their versions say."""
        return self.access_token == other.access_token and self.refresh_token == other.refresh_token


@dataclass(frozen=True, slots=True)
class Credential:
    """What one request may carry."""

    account: Account
    access_token: Secret
    version: int


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """What the issuer answered; a member that it left out keeps its old value."""

    access_token: Secret | None
    refresh_token: Secret | None
    id_token: Secret | None


@dataclass(frozen=True, slots=True)
class Login:
    """An account as people see it; no secret in it."""

    account: Account
    label: str
    version: int
    expires_at: float | None
    last_refresh: float | None
    refused: str | None = None
    paused: bool = False
    organization: str | None = None
    """The name of the organisation that the id token calls the default one."""
    id_expires_at: float | None = None
    """Unix seconds, of the id token."""
    renewable: bool = True
    """Whether there is a refresh token."""


@dataclass(frozen=True, slots=True)
class BrokenLogin:
    """An account with a record that does not open: sealed by another key, or changed. It can be signed in anew."""

    account_id: str
    label: str
    """The id, where the label does not open either."""
    reason: str

    @property
    def told(self) -> str:
        """The same for people, with what helps."""
        return f"{self.label}: {self.reason} {BROKEN_HINT}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the last refreshes of an account have met, told by each worker to the next; no secret in it."""

    failures: int = 0
    """In a row."""
    message: str = ""
    unanswered: str | None = None
    """Fingerprint of a refresh token that was sent, and whose answer never came: it may be spent."""
    left_seconds: float = 0.0
    """How long the issuer is to be left alone."""


class TokenVault(Protocol):
    """Where the tokens of all accounts rest, and what all workers agree on. Versioned; newer always wins."""

    async def load(self, account_id: str) -> TokenSet:
        """
        The newest tokens that the place or this process knows; a place that fell behind is healed.

        Raises:
            NotLoggedIn: there are none, or they were logged out.
            StoreUnavailable: the place cannot be read.
            SealBroken: a record is there and does not open.
        """

    async def replace(self, replaced: TokenSet, tokens: TokenSet) -> TokenSet:
        """
        Put ``tokens``, of a higher version, in the place of ``replaced`` if nothing newer is there.

        Returns what the vault holds afterwards: somebody's newer tokens if there are any.

        Raises:
            StoreUnavailable: unknown whether they were written.
        """

    async def enroll(self, tokens: TokenSet, *, label: str | None = None, made_at: float | None = None) -> TokenSet:
        """
        A login by a person: wins over whatever is held, also over a refresh under way.

        Args:
            tokens: their version does not matter.
            label: what people call the account. Unless given it keeps the one it has; the first is its mail address.
            made_at: Unix seconds, when the person signed in; now unless given. Where the place was emptied, what
                another process knows of a later moment stays.
        """

    async def refuse(self, refused: TokenSet, *, reason: str) -> None:
        """Remember that the issuer refused these tokens, if no others are held by now."""

    async def forget(self, account_id: str) -> None:
        """A logout: the tokens are gone for every worker, and stay gone."""

    async def logins(self) -> list[Login]:
        """All accounts whose records open, by label."""

    async def broken(self) -> list[BrokenLogin]:
        """The others, by label."""

    async def holder(self, label: str) -> str | None:
        """The id of the account that people call so, whether it opens or not."""

    async def discard(self, account_id: str) -> None:
        """Take the records of an account away that does not open; a process that still knows better puts it back."""

    async def revision(self) -> int:
        """
        Differs from the last look when somebody signed in or out, or changed what people call an account, since then:
        a cheap look, in place of ``logins``. An emptied store has another one too.
        """

    async def describe(self, account: Account, *, label: str | None = None, paused: bool | None = None) -> None:
        """Change what people call an account, or whether it may serve; what is not given stays."""

    async def is_paused(self, account_id: str) -> bool:
        """Whether somebody took it out of service."""

    async def default(self) -> str | None:
        """The id of the account that serves who is bound to none."""

    async def make_default(self, account_id: str) -> None:
        """Let this account serve who is bound to none."""

    async def probe(self) -> None:
        """
        See that the place can be written, before a refresh token is spent.

        Raises:
            StoreUnavailable: it cannot.
        """


class RefreshLease(Protocol):
    """The right to refresh one account, for a while and alone over all workers; its time is the store's."""

    async def acquire(self) -> bool:
        """Take it if it is free."""

    async def renew(self) -> bool:
        """Make it last from now on; false when it is lost."""

    async def left_seconds(self) -> float:
        """How long it still lasts; 0 when it is lost."""

    async def release(self) -> None:
        """Give it back; nobody else's is touched."""

    async def trouble(self) -> Trouble:
        """What earlier holders have reported."""

    async def report(self, trouble: Trouble) -> None:
        """Tell the next holders; its ``left_seconds`` are counted from now, by the store's time."""


class Escrow(Protocol):
    """A sealed, durable place on this machine for tokens on their way to the vault."""

    async def put(self, tokens: TokenSet) -> None:
        """Keep them; on the disk when it returns."""

    async def find(self, account_id: str) -> TokenSet | None:
        """The newest tokens kept for the account, by any process of this machine."""

    async def drop(self, account_id: str, *, up_to_version: int) -> None:
        """The vault has them: they are needed no more."""


class TokenIssuer(Protocol):
    """The OAuth issuer."""

    async def refresh(self, refresh_token: Secret) -> IssuedTokens:
        """
        Spend the refresh token for new tokens (RFC 6749, section 6). Single use: never to be repeated blindly.

        Raises:
            RefreshRejected: the issuer refuses this token for good.
            RefreshUnavailable: the issuer cannot be asked now.
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
    """Unix seconds of a JWT's ``exp``; ``None`` when it is no JWT or has none."""
    return _claims(token).exp


def organization_of(token: Secret) -> str | None:
    """The name of the default organisation in an id token, or of the first; ``None`` when it names none."""
    found = sorted(_claims(token).auth.organizations, key=lambda one: not one.is_default)
    return _first(one.title for one in found)


def account_of(tokens: IssuedTokens, *, known_workspace: str | None = None) -> Account | None:
    """
    The account that the tokens speak for, read from their claims; no signature is checked, as in every client.

    Args:
        tokens: the id token is asked first, then the access token.
        known_workspace: what a file beside the tokens says, if it says anything.

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
