"""The issuer's tokens: issuing, rotation, reuse detection, revocation and expiry. Knows no HTTP.

A refresh token is single-use: its exchange spends it. Reuse is refused, and with the option ``reuse="family"`` it also
revokes all tokens of the login. A refresh does not invalidate older access tokens.
"""

import hashlib
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from gptmock.simulator.jwt import Identity, access_claims, encode_jwt, id_claims
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.steps import Json

TOKENS_LIMIT = 100_000
"""How many tokens of each kind are kept; older ones are dropped and then unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedLogin:
    """A set of tokens and their owner. The repr shows no token."""

    identity: Identity
    id_token: str
    access_token: str
    refresh_token: str
    expires_in: int

    @property
    def account_id(self) -> str:
        """The workspace id."""
        return self.identity.account_id

    @property
    def user_id(self) -> str:
        """The user id."""
        return self.identity.user_id

    def auth_json(self) -> Json:
        """The document that Codex CLI keeps in ``auth.json``."""
        tokens = {
            "id_token": self.id_token,
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "account_id": self.account_id,
        }
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": now}

    def __repr__(self) -> str:
        return f"IssuedLogin(account_id={self.account_id!r}, user_id={self.user_id!r})"


@dataclass(slots=True)
class Family:
    """The token family of one login: all tokens issued for it."""

    identity: Identity
    revoked: bool = False
    invalidated_token: str = ""
    """The access token that the scene ``401`` invalidated; any other one of this login is accepted."""


@dataclass(slots=True)
class AccessToken:
    """The state of an access token."""

    family: Family
    expires_at: int
    refused_as: str = ""
    """The error code that it is refused with; empty while it is valid."""


@dataclass(slots=True)
class RefreshToken:
    """The state of a refresh token."""

    family: Family
    spent: bool = False
    reused: bool = False
    revoked: bool = False


_Record = TypeVar("_Record", AccessToken, RefreshToken)


class RefreshRefusedError(Exception):
    """A refresh token was refused; ``code`` is the issuer's error code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class TokenRegistry:
    """Issues, rotates, checks and revokes tokens."""

    def __init__(self, options: Callable[[], SimulatorOptions], *, issuer: str = "http://127.0.0.1") -> None:
        self._options = options
        self.issuer_url = issuer
        self.exchanges = 0
        """Successful exchanges of a refresh token."""
        self.refusals = 0
        """Refused exchanges of a refresh token."""
        self._access: OrderedDict[str, AccessToken] = OrderedDict()
        self._refresh: OrderedDict[str, RefreshToken] = OrderedDict()

    # -- issuing ------------------------------------------------------------------------------------------------------

    def issue(
        self,
        *,
        email: str = "demo@example.test",
        account_id: str | None = None,
        user_id: str | None = None,
        plan: str = "plus",
        expires_in: int | None = None,
    ) -> IssuedLogin:
        """
        Issue the tokens of a new login.

        ``expires_in`` is the lifetime of the access token in seconds, by default ``token_seconds``; a negative one
        issues an expired token.
        """
        who = Identity(
            email=email,
            account_id=account_id or str(uuid.uuid4()),
            user_id=user_id or f"user-{secrets.token_hex(12)}",
            plan=plan,
        )
        return self._grant(Family(who), expires_in)

    def rotate(self, refresh_token: str) -> IssuedLogin:
        """
        Exchange a refresh token for new tokens.

        Raises:
            RefreshRefusedError: it was spent, revoked, or never issued.
        """
        record = self._refresh.get(refresh_token)
        if record is None or record.revoked or (record.family.revoked and not record.spent):
            self.refusals += 1
            raise RefreshRefusedError("refresh_token_invalidated")
        if record.spent:
            self.refusals += 1
            record.reused = True
            if self._options().reuse == "family":
                self._revoke_family(record.family)
            raise RefreshRefusedError("refresh_token_reused")
        record.spent = True
        self.exchanges += 1
        return self._grant(record.family, None)

    def revoke(self, token: str) -> None:
        """Revoke a login by its refresh token, or one access token; unknown tokens are ignored (RFC 7009)."""
        if token in self._refresh:
            self._revoke_family(self._refresh[token].family)
        elif token in self._access:
            self._access[token].refused_as = "token_revoked"

    # -- checking -----------------------------------------------------------------------------------------------------

    def find(self, access_token: str) -> AccessToken | None:
        """The state of an access token; ``refused_as`` is set if it has expired or its login was revoked."""
        record = self._access.get(access_token)
        if record is not None and not record.refused_as:
            if record.family.revoked:
                record.refused_as = "token_revoked"
            elif record.expires_at <= time.time():
                record.refused_as = "token_expired"
        return record

    def expire_access(self) -> int:
        """Expire every valid access token now; returns how many."""
        living = [record for record in self._access.values() if not record.refused_as]
        for record in living:
            record.refused_as = "token_expired"
        return len(living)

    def invalidate_once(self, access_token: str) -> bool:
        """
        Invalidate an access token, so that its login has to refresh.

        Returns false, and invalidates nothing, if this call follows one for an older token of the same login.
        """
        record = self._access[access_token]
        family = record.family
        if family.invalidated_token and family.invalidated_token != access_token:
            family.invalidated_token = ""
            return False
        family.invalidated_token = access_token
        record.refused_as = "token_invalidated"
        return True

    @property
    def spent_twice(self) -> int:
        """The number of distinct refresh tokens that were used again after they had been spent."""
        return sum(record.reused for record in self._refresh.values())

    def forget(self) -> None:
        """Delete all tokens and counts."""
        self._access.clear()
        self._refresh.clear()
        self.exchanges = self.refusals = 0

    # -- inside -------------------------------------------------------------------------------------------------------

    def _grant(self, family: Family, expires_in: int | None) -> IssuedLogin:
        options = self._options()
        life = options.token_seconds if expires_in is None else expires_in
        now = int(time.time())
        claims: dict[str, Any] = {
            "issuer": self.issuer_url,
            "client_id": options.client_id,
            "now": now,
            "expires_at": now + life,
        }
        login = IssuedLogin(
            identity=family.identity,
            id_token=encode_jwt(id_claims(family.identity, **claims)),
            access_token=encode_jwt(access_claims(family.identity, **claims)),
            refresh_token=f"rt_{secrets.token_urlsafe(48)}",
            expires_in=life,
        )
        _remember(self._access, login.access_token, AccessToken(family, now + life))
        _remember(self._refresh, login.refresh_token, RefreshToken(family))
        return login

    def _revoke_family(self, family: Family) -> None:
        family.revoked = True
        for record in self._refresh.values():
            record.revoked = record.revoked or (record.family is family and not record.spent)


def _remember(book: OrderedDict[str, _Record], key: str, value: _Record) -> None:
    book[key] = value
    while len(book) > TOKENS_LIMIT:
        book.popitem(last=False)


def fingerprint(secret: str) -> str:
    """A digest that identifies a secret without revealing it."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:16]}"
