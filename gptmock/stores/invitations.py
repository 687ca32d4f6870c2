"""
Invitations in a store, as encrypted and authenticated records: with access to the store alone nobody can read or make
one. Knows invitations, not how they are redeemed.

    invite:{id}    name, terms and the hash of the token, sealed; expires

They are not re-encrypted after a change of the key ring: they live for days at most, and one that does not open is
unknown.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from contextlib import suppress

import msgspec

from gptmock.accounts import Secret
from gptmock.clients import (
    ALPHABET,
    ID_CHARACTERS,
    SECRET_CHARACTERS,
    Invitation,
    IssuedInvitation,
    KeyTerms,
    invitation_id_of,
    invitation_text,
)
from gptmock.errors import SealBroken, StoreUnavailable, UnknownInvitation
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Record, Store

INVITATIONS = "invite:"
"""What the names of their records begin with."""
_KIND = "invite"


class _Stored(msgspec.Struct, frozen=True):
    invitation: Invitation
    digest: str


_DECODE = msgspec.json.Decoder(_Stored)


class StoreInvitations:
    """
    ``Invitations`` in a store.

    Args:
        store: holds the records.
        sealer: encrypts and decrypts them.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, sealer: Sealer, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock

    async def create(self, name: str, terms: KeyTerms, *, ttl_seconds: float) -> IssuedInvitation:
        """See ``Invitations.create``."""
        its_id, now = _random(ID_CHARACTERS), self._clock()
        text = invitation_text(its_id, _random(SECRET_CHARACTERS))
        invitation = Invitation(its_id, name, terms, now, now + ttl_seconds)
        plain = msgspec.json.encode(_Stored(invitation, _digest(text)))
        record = f"{INVITATIONS}{its_id}"
        sealed = self._sealer.seal(plain, kind=_KIND, name=record, version=1)
        if await self._store.write(record, sealed, expected=0, ttl_seconds=ttl_seconds) is not None:
            raise StoreUnavailable("Another process has created an invitation with the same id; try again.")
        return IssuedInvitation(invitation, text)

    async def find(self, text: Secret) -> Invitation | None:
        """See ``Invitations.find``."""
        its_id = invitation_id_of(text.reveal())
        if its_id is None:
            return None
        stored = self._opened(its_id, await self._store.read(f"{INVITATIONS}{its_id}"))
        if stored is None or not hmac.compare_digest(stored.digest, _digest(text)):
            return None
        return stored.invitation

    async def redeem(self, text: Secret) -> Invitation:
        """See ``Invitations.redeem``."""
        invitation = await self.find(text)
        if invitation is None or not await self._store.delete(f"{INVITATIONS}{invitation.id}", expected=1):
            raise UnknownInvitation(
                "This invitation is unknown, has expired, or was used already. Ask the administrator for another one."
            )
        return invitation

    async def all(self) -> list[Invitation]:
        """See ``Invitations.all``. Two round trips, for commands."""
        names = await self._store.names(INVITATIONS)
        records = await self._store.read_many(names)
        stored = [self._opened(name.removeprefix(INVITATIONS), one) for name, one in zip(names, records, strict=True)]
        found = [one.invitation for one in stored if one is not None]
        return sorted(found, key=lambda one: (one.name, one.created_at))

    async def withdraw(self, name_or_id: str) -> Invitation:
        """See ``Invitations.withdraw``. Of several with the name, the newest."""
        found = [one for one in await self.all() if name_or_id in (one.id, one.name)]
        for one in sorted(found, key=lambda one: (one.id == name_or_id, one.created_at), reverse=True):
            if await self._store.delete(f"{INVITATIONS}{one.id}", expected=1):
                return one
        raise UnknownInvitation(f"There is no open invitation with the name or id {name_or_id!r}.")

    def _opened(self, its_id: str, record: Record | None) -> _Stored | None:
        if record is None:
            return None
        with suppress(SealBroken):
            name = f"{INVITATIONS}{its_id}"
            stored = _DECODE.decode(self._sealer.open(record.value, kind=_KIND, name=name, version=record.version))
            # Beside the expiry of the record, which another tool may have changed.
            return stored if self._clock() < stored.invitation.expires_at else None
        return None


def _random(characters: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(characters))


def _digest(text: Secret) -> str:
    return hashlib.sha256(text.reveal().encode("utf-8", "surrogatepass")).hexdigest()
