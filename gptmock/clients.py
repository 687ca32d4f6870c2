"""
Client keys with their roles and limits, and the contract of their store. Knows no file and no HTTP.

A key's text is shown once: ``gm_IIIIIIII_SSSSSSSS...CCCCCC``: an id of 8 characters, a secret of 43 (256 bits) and a
checksum of 6, so that mistyped and made-up keys are refused without a store access. All are of ``ALPHABET``.
"""

from __future__ import annotations

import re
import string
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol, TypeAlias

from gptmock.accounts import Secret
from gptmock.catalog import Effort

Role: TypeAlias = Literal["user", "viewer", "admin"]
"""``user`` allows model calls; ``viewer`` also metrics and usage; ``admin`` also keys, accounts and limits."""
ReasoningStyle: TypeAlias = Literal["think-tags", "o3", "legacy", "reasoning-content", "hidden"]
"""How thinking is shown; ``current`` is another name of ``legacy``."""
ROLES: tuple[Role, ...] = ("user", "viewer", "admin")
"""In ascending order: each allows what those before it do."""

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_CHARACTERS = 8
SECRET_CHARACTERS = 43
_CHECK_CHARACTERS = 6
_SHAPE = re.compile(
    rf"(g[mi])_([0-9A-Za-z]{{{ID_CHARACTERS}}})_[0-9A-Za-z]{{{SECRET_CHARACTERS}}}([0-9A-Za-z]{{{_CHECK_CHARACTERS}}})"
)


@dataclass(frozen=True, slots=True)
class KeyDefaults:
    """The key's defaults for what a request leaves out; ``None`` means the server's."""

    reasoning_style: ReasoningStyle | None = None
    reasoning_effort: Effort | None = None
    web_search: bool | None = None


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """The role, limits and defaults of a key. ``None`` or empty means no limit."""

    role: Role = "user"
    owner: str = ""
    """The person or program that uses the key, for display."""
    models: tuple[str, ...] = ()
    """Patterns of model slugs, such as ``gpt-6*`` (``fnmatch``, without regard to case)."""
    rpm: int | None = None
    """Requests per minute."""
    tokens_per_day: int | None = None
    """Input and output tokens together, in 24 hours from the first of them."""
    tokens_per_week: int | None = None
    """The same in 7 days."""
    concurrency: int | None = None
    """Concurrent turns."""
    expires_at: float | None = None
    """Unix seconds."""
    account_id: str | None = None
    """``Account.id`` of the account that the key is bound to."""
    defaults: KeyDefaults = KeyDefaults()

    @property
    def is_limited(self) -> bool:
        """Whether requests or tokens are counted against a limit."""
        limits = (self.rpm, self.tokens_per_day, self.tokens_per_week, self.concurrency)
        return any(limit is not None for limit in limits)

    def allows(self, slug: str) -> bool:
        """Whether the key may use this model."""
        return not self.models or any(fnmatchcase(slug.lower(), pattern.lower()) for pattern in self.models)


Given: TypeAlias = Mapping[str, Any]
"""Name of a field of ``KeyTerms`` or ``KeyDefaults`` to its value; only what was given. ``account`` has a label."""


def revised(terms: KeyTerms, given: Given) -> KeyTerms:
    """The terms with what was given; ``account`` must have been replaced by ``account_id``."""
    names = {one.name for one in fields(KeyDefaults)}
    defaults = replace(terms.defaults, **{name: value for name, value in given.items() if name in names})
    others = {name: value for name, value in given.items() if name not in names}
    return replace(terms, defaults=defaults, **others)


NAMES_OF_KEYLESS = ("GPTMOCK_API_KEY", "GPTMOCK_ADMIN_KEY", "server without client keys")
"""As whom the audit log names callers without an issued key."""


MAX_NAME_CHARACTERS = 100


def is_key_name(text: str) -> bool:
    """Whether a key may have this name: 1 to 100 printable characters, no space around them, none that means others."""
    return (
        bool(text)
        and text == text.strip()
        and text.isprintable()
        and len(text) <= MAX_NAME_CHARACTERS
        and text not in NAMES_OF_KEYLESS
    )


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A key with its metadata, for display; no secret in it. Times are in Unix seconds."""

    id: str
    name: str
    created_at: float
    terms: KeyTerms
    rotated_at: float | None = None
    revoked_at: float | None = None
    text_ends_at: float | None = None
    """Of a key that was found by a text which was replaced: until when that text is valid."""

    def is_living(self, now: float) -> bool:
        """Whether the key is valid: neither revoked nor expired."""
        expires_at = self.terms.expires_at
        return self.revoked_at is None and (expires_at is None or now < expires_at)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key and its text, which is not stored and cannot be shown again."""

    key: ClientKey
    text: Secret


@dataclass(frozen=True, slots=True)
class Client:
    """The caller of a request. Data of different tenants is kept apart."""

    tenant: str
    key: ClientKey | None = None
    """``None`` for the static keys (``GPTMOCK_API_KEY``, ``GPTMOCK_ADMIN_KEY``) and without authentication."""
    role: Role = "user"
    """Of a caller without a key of its own."""

    def may(self, role: Role) -> bool:
        """Whether the caller has this role or a higher one."""
        own = self.key.terms.role if self.key is not None else self.role
        return ROLES.index(own) >= ROLES.index(role)

    @property
    def account_id(self) -> str | None:
        """The id of the account that the key is bound to; ``None`` for any."""
        return self.key.terms.account_id if self.key is not None else None


@dataclass(frozen=True, slots=True)
class Invitation:
    """The offer to sign in to an account of one's own and to get a key that is bound to it. Times in Unix seconds."""

    id: str
    name: str
    """Of the key to be."""
    terms: KeyTerms
    """Of the key to be; its account is that of the sign-in."""
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class IssuedInvitation:
    """A new invitation and its token, which is not stored and cannot be shown again."""

    invitation: Invitation
    text: Secret


INVITATION_SECONDS = 7 * 24 * 3600.0
"""How long an invitation is open by default."""


class Invitations(Protocol):
    """The store of invitations. Each is redeemed once at most."""

    async def create(self, name: str, terms: KeyTerms, *, ttl_seconds: float) -> IssuedInvitation:
        """Create an invitation that expires after ``ttl_seconds``; raises ``StoreError`` if that fails."""

    async def find(self, text: Secret) -> Invitation | None:
        """The invitation with this token; ``None`` if it is unknown, wrong, expired, used or withdrawn."""

    async def redeem(self, text: Secret) -> Invitation:
        """
        Use up the invitation with this token: of several callers at once, one succeeds.

        Raises:
            UnknownInvitation: there is none, as for ``find``.
            StoreError: it is unknown whether it was used up.
        """

    async def all(self) -> Sequence[Invitation]:
        """All open invitations by name."""

    async def withdraw(self, name_or_id: str) -> Invitation:
        """
        End an open invitation.

        Raises:
            UnknownInvitation: there is none of this id or name.
        """


LimitKind: TypeAlias = Literal["turns", "requests", "tokens_per_day", "tokens_per_week"]


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit of a key, and how much of it is used now."""

    kind: LimitKind
    limit: int
    used: int
    reset_seconds: float = 0.0
    """Until the whole limit is available again; 0 for concurrent turns."""

    @property
    def remaining(self) -> int:
        """What is left, at least 0."""
        return max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class LimitAnswer:
    """Whether a turn was admitted, and the limits of its key after that."""

    admitted: bool
    states: tuple[LimitState, ...]


@dataclass(frozen=True, slots=True)
class BegunTurn:
    """A turn to be admitted; see ``KeyLimits.admit``."""

    key: ClientKey
    turn_id: str


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn to be settled; see ``KeyLimits.settle``."""

    key: ClientKey
    turn_id: str
    tokens: int


class KeyLimits(Protocol):
    """
    The limits of client keys, shared by all workers. A turn holds a place among the concurrent turns of its key until
    it is settled, or until its worker has not extended it for a while. Every method may raise ``StoreUnavailable``.
    """

    async def admit(self, key: ClientKey, turn_id: str) -> LimitAnswer:
        """Admit a turn if no limit of the key is reached: in one atomic step, which a refusal leaves without effect."""

    async def adopt(self, key: ClientKey, turn_id: str) -> None:
        """Count a turn that was admitted while the store was unavailable; may be repeated."""

    async def extend(self, key_id: str, turn_ids: Sequence[str]) -> None:
        """Say that these turns still run."""

    async def settle(self, key: ClientKey, turn_id: str, *, tokens: int) -> None:
        """A turn has ended and used so many tokens: it gives up its place. Counted once, also if it is repeated."""

    async def exchange(self, ended: Sequence[EndedTurn], begun: Sequence[BegunTurn]) -> list[LimitAnswer]:
        """
        ``settle`` each ended turn, then ``admit`` each begun one, in one round trip. Returns the answers to the latter.
        After a failure some may be settled or admitted.
        """

    async def states(self, key: ClientKey) -> tuple[LimitState, ...]:
        """The limits of a key now."""


class ClientKeys(Protocol):
    """The store of client keys. All workers see a change within a second."""

    async def find(self, text: Secret) -> ClientKey | None:
        """
        The valid key with this text. ``None`` for an unknown, wrong or revoked key, without distinction.
        ``text_ends_at`` is set if the text was replaced.

        Raises:
            KeyExpired: the text is that of a key which has expired. A wrong text takes as long as that of a valid key.
            StoreUnavailable: the store cannot be read, and this process has not cached the key.
            SealBroken: the record cannot be decrypted.
        """

    async def create(self, name: str, terms: KeyTerms) -> IssuedKey:
        """
        Create a key.

        Raises:
            NameTaken: there is a valid key of this name.
            StoreError: the key could not be written.
        """

    async def all(self) -> Sequence[ClientKey]:
        """All keys by name, including revoked ones."""

    async def show(self, name_or_id: str) -> ClientKey:
        """
        One key by id, else by name; of several with the name, the valid one.

        Raises:
            UnknownClientKey: there is none.
        """

    async def update(self, name_or_id: str, revise: Callable[[KeyTerms], KeyTerms]) -> ClientKey:
        """
        Change the terms of a key. ``revise`` gets the current terms and returns the new ones.

        Raises:
            UnknownClientKey: there is no such key, or it was revoked.
        """

    async def rotate(self, name_or_id: str, *, overlap_seconds: float = 0.0) -> IssuedKey:
        """
        Give a key a new text; the old one stays valid for ``overlap_seconds``.

        Raises:
            UnknownClientKey: there is no valid key.
        """

    async def revoke(self, name_or_id: str) -> ClientKey:
        """
        Revoke a key; its record is kept, so that it cannot be written back.

        Raises:
            UnknownClientKey: there is none.
        """


def key_text(key_id: str, secret: str) -> Secret:
    """The text of a key, made of id, secret and checksum; both arguments are of ``ALPHABET``."""
    return _text("gm", key_id, secret)


def key_id_of(text: str) -> str | None:
    """The id in the text of a key; ``None`` if its form or checksum is wrong."""
    return _id_of("gm", text)


def invitation_text(invitation_id: str, secret: str) -> Secret:
    """The token of an invitation, in the format of a key with ``gi_`` in place of ``gm_``."""
    return _text("gi", invitation_id, secret)


def invitation_link(base_url: str, text: Secret) -> str:
    """
    The link of an invitation; ``base_url`` has the base path and no slash at the end. The token is the fragment, which
    browsers send to no server: neither in the request nor as ``Referer``.
    """
    return f"{base_url}/join#{text.reveal()}"


def invitation_id_of(text: str) -> str | None:
    """The id in the token of an invitation; ``None`` if its form or checksum is wrong."""
    return _id_of("gi", text)


def _text(prefix: str, its_id: str, secret: str) -> Secret:
    body = f"{prefix}_{its_id}_{secret}"
    return Secret(body + _checksum(body))


def _id_of(prefix: str, text: str) -> str | None:
    found = _SHAPE.fullmatch(text)
    if found is None or found[1] != prefix or _checksum(text[:-_CHECK_CHARACTERS]) != found[3]:
        return None
    return found[2]


def _checksum(body: str) -> str:
    rest, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK_CHARACTERS):
        rest, digit = divmod(rest, len(ALPHABET))
        digits += ALPHABET[digit]
    return digits
