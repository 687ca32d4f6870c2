"""The logins that the issuer knows: what each token is worth, rotation, and what reuse costs. Knows no HTTP.

A refresh token is single-use. It is living, then spent by its exchange; reuse is refused for ever, and under ``family``
it also revokes whatever the login holds. Access tokens outlive their refresh until they expire.
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
"""How many tokens of each kind are remembered; the oldest are forgotten first, and then unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedLogin:
    """A set of tokens and whose they are. The repr shows no token."""

    identity: Identity
    id_token: str
    access_token: str
    refresh_token: str
    expires_in: int

    @property
    def account_id(self) -> str:
        """The workspace."""
        return self.identity.account_id

    @property
    def user_id(self) -> str:
        """The user in it."""
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
    """One login and everything that was issued from it."""

    identity: Identity
    revoked: bool = False
    scolded_token: str = ""
    """The access token that a scene refused; any other of this login is then served."""


@dataclass(slots=True)
class AccessToken:
    """An access token and what became of it."""

    family: Family
    expires_at: int
    refused_as: str = ""
    """The error code it is refused with, empty while it is good."""


@dataclass(slots=True)
class RefreshToken:
    """A refresh token and what became of it."""

    family: Family
    spent: bool = False
    reused: bool = False
    revoked: bool = False


_Record = TypeVar("_Record", AccessToken, RefreshToken)


class RefreshRefusedError(Exception):
    """A refresh token was refused; ``code`` is the issuer's word for it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class LoginBook:
    """Issues tokens, rotates them, and judges those that come back."""

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
        A new login, as if somebody had signed in; its tokens are good at once.

        ``expires_in`` is the life of the access token in seconds, by default the option; negative has expired already.
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
        Spend a refresh token for a new set of tokens.

        Raises:
            RefreshRefusedError: it was spent before, revoked, or never issued.
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

    # -- judging ------------------------------------------------------------------------------------------------------

    def find(self, access_token: str) -> AccessToken | None:
        """What is known of an access token; ``refused_as`` is filled once it has expired or its login was revoked."""
        record = self._access.get(access_token)
        if record is not None and not record.refused_as:
            if record.family.revoked:
                record.refused_as = "token_revoked"
            elif record.expires_at <= time.time():
                record.refused_as = "token_expired"
        return record

    def expire_access(self) -> int:
        """Let every living access token expire now; returns how many."""
        living = [record for record in self._access.values() if not record.refused_as]
        for record in living:
            record.refused_as = "token_expired"
        return len(living)

    def scold(self, access_token: str) -> bool:
        """Refuse this access token from now on. False if its login was scolded before with another one: let it pass."""
        record = self._access[access_token]
        family = record.family
        if family.scolded_token and family.scolded_token != access_token:
            family.scolded_token = ""
            return False
        family.scolded_token = access_token
        record.refused_as = "token_invalidated"
        return True

    @property
    def spent_twice(self) -> int:
        """How many distinct refresh tokens were presented after they had been spent."""
        return sum(record.reused for record in self._refresh.values())

    def forget(self) -> None:
        """Forget every login and the counts."""
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
    """A name for a secret that does not tell it."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:16]}"
