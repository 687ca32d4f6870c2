"""
Who asks: client keys, what each of them may do, and the contract of whoever keeps them. Knows no file and no HTTP.

A key as its owner sees it, once: ``gm_IIIIIIII_SSSSSSSS...CCCCCC``: an id of 8 characters, a secret of 43 (256 bits)
and a checksum of 6, so that scanners and typing errors cost no look at a store. All are of ``ALPHABET``.
"""

from __future__ import annotations

import re
import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from gptmock.accounts import Secret

Role: TypeAlias = Literal["user", "viewer", "admin"]
"""``user``: model calls; ``viewer``: metrics and usage too; ``admin``: keys, accounts and limits too."""

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_CHARACTERS = 8
SECRET_CHARACTERS = 43
_CHECK_CHARACTERS = 6
_SHAPE = re.compile(
    rf"gm_([0-9A-Za-z]{{{ID_CHARACTERS}}})_[0-9A-Za-z]{{{SECRET_CHARACTERS}}}([0-9A-Za-z]{{{_CHECK_CHARACTERS}}})"
)


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a key may do. Whatever is ``None`` or empty sets no limit."""

    role: Role = "user"
    models: tuple[str, ...] = ()
    rpm: int | None = None
    """Requests a minute."""
    tokens_per_day: int | None = None
    """Input and output together."""
    concurrency: int | None = None
    """Turns at once."""
    expires_at: float | None = None
    """Unix seconds."""
    account_id: str | None = None
    """``Account.id`` of the one account that serves this key."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A key as people see it; no secret in it."""

    id: str
    name: str
    created_at: float
    """Unix seconds, as all moments here."""
    terms: KeyTerms
    rotated_at: float | None = None
    revoked_at: float | None = None

    def is_living(self, now: float) -> bool:
        """Whether it lets anybody in."""
        expires_at = self.terms.expires_at
        return self.revoked_at is None and (expires_at is None or now < expires_at)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key and its text, at the only moment when both are known."""

    key: ClientKey
    text: Secret


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks; what belongs to different tenants never mixes."""

    tenant: str
    key: ClientKey | None = None
    """``None`` for the one static key, and where everybody may come in."""

    @property
    def account_id(self) -> str | None:
        """The one account that may serve; ``None`` for whichever is chosen."""
        return self.key.terms.account_id if self.key is not None else None


class ClientKeys(Protocol):
    """Where client keys rest. A change is seen by all workers within a second."""

    async def find(self, text: Secret) -> ClientKey | None:
        """
        The living key of that text. ``None`` alike for one that is unknown, wrong, expired or revoked: whoever tries
        keys learns nothing.

        Raises:
            StoreUnavailable: the place cannot be read, and this process has not seen the key lately.
            SealBroken: a record is there and does not open.
        """

    async def create(self, name: str, terms: KeyTerms) -> IssuedKey:
        """
        A new key.

        Raises:
            NameTaken: a key of that name lives.
            StoreError: it could not be written.
        """

    async def all(self) -> Sequence[ClientKey]:
        """All keys by name, the revoked ones too."""

    async def show(self, name_or_id: str) -> ClientKey:
        """
        One key: by its id, else by the name, of several with that name the one that lives.

        Raises:
            UnknownClientKey: there is none.
        """

    async def rotate(self, name_or_id: str, *, overlap_seconds: float = 0.0) -> IssuedKey:
        """
        Give a key another text; the old one lets in for so long still.

        Raises:
            UnknownClientKey: there is none that lives.
        """

    async def revoke(self, name_or_id: str) -> ClientKey:
        """
        End a key; it is remembered, so that nobody brings it back.

        Raises:
            UnknownClientKey: there is none.
        """


def key_text(key_id: str, secret: str) -> Secret:
    """The text of a key from its id and its secret, both of ``ALPHABET``."""
    body = f"gm_{key_id}_{secret}"
    return Secret(body + _checksum(body))


def key_id_of(text: str) -> str | None:
    """The id in the text of a key; ``None`` for what cannot be one of ours."""
    found = _SHAPE.fullmatch(text)
    return found[1] if found is not None and _checksum(text[:-_CHECK_CHARACTERS]) == found[2] else None


def _checksum(body: str) -> str:
    rest, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK_CHARACTERS):
        rest, digit = divmod(rest, len(ALPHABET))
        digits += ALPHABET[digit]
    return digits
