"""
Administration with an audit log: every change of a key or an account is recorded after it was made. Knows contracts.

A change whose record cannot be written is an error, except where the caller must get the text of a new key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime

from gptmock.audit import Action, Actor, AuditEvent, AuditLog
from gptmock.clients import ClientKey, ClientKeys, IssuedKey, KeyTerms
from gptmock.errors import StoreError, StoreUnavailable

log = logging.getLogger("gptmock.audit")

LATELY_SECONDS = 60.0


class AuditTrail:
    """
    Records what one actor does.

    Args:
        events: the shared log.
        actor: who administers.
        clock: Unix seconds.
    """

    def __init__(self, events: AuditLog, actor: Actor, *, clock: Callable[[], float]) -> None:
        self._events = events
        self._actor = actor
        self._clock = clock

    async def note(self, action: Action, target: str, detail: str = "") -> None:
        """
        Record an action that was carried out.

        Raises:
            StoreUnavailable: it could not be recorded; the action stands.
        """
        event = AuditEvent(self._clock(), self._actor, action, target, detail)
        fields_of_line = {"actor": event.actor.name, "origin": event.actor.origin, "target": target, "detail": detail}
        log.info(action, extra=fields_of_line)
        try:
            await self._events.record(event)
        except StoreError as error:
            log.exception("audit.unwritten", extra={"action": action, "target": target})
            raise StoreUnavailable(
                f"This was done, but it could not be written to the audit log. {error.message}"
            ) from error

    async def note_event(self, action: Action, target: str, detail: str = "") -> None:
        """Record an event that has happened whether it can be recorded or not; a failure is in the server's log."""
        with suppress(StoreUnavailable):
            await self.note(action, target, detail)

    async def note_lately(self, action: Action, target: str, detail: str = "", *, each: str) -> None:
        """As ``note_event``, over all servers once in ``LATELY_SECONDS`` for ``each`` subject of this action."""
        try:
            is_first = await self._events.is_first(f"{action} {each}", seconds=LATELY_SECONDS)
        except StoreError as error:
            log.warning("audit.unwritten", extra={"action": action, "target": target, "reason": error.message})
            return
        if is_first:
            await self.note_event(action, target, detail)


class KeyAdministration:
    """
    Administers client keys.

    Args:
        keys: the store of the keys.
        trail: records the changes.
    """

    def __init__(self, keys: ClientKeys, trail: AuditTrail) -> None:
        self._keys = keys
        self._trail = trail

    async def all(self) -> Sequence[ClientKey]:
        """See ``ClientKeys.all``."""
        return await self._keys.all()

    async def show(self, name_or_id: str) -> ClientKey:
        """See ``ClientKeys.show``."""
        return await self._keys.show(name_or_id)

    async def create(self, name: str, terms: KeyTerms) -> IssuedKey:
        """See ``ClientKeys.create``."""
        issued = await self._keys.create(name, terms)
        return await self._issued("key.created", issued, f"{name}; {changes(KeyTerms(), terms)}".removesuffix("; "))

    async def update(self, name_or_id: str, revise: Callable[[KeyTerms], KeyTerms]) -> ClientKey:
        """See ``ClientKeys.update``."""
        replaced: list[KeyTerms] = []

        def remembered(terms: KeyTerms) -> KeyTerms:
            replaced.append(terms)
            return revise(terms)

        key = await self._keys.update(name_or_id, remembered)
        await self._trail.note("key.updated", key.id, f"{key.name}; {changes(replaced[-1], key.terms)}")
        return key

    async def rotate(self, name_or_id: str, *, overlap_seconds: float = 0.0) -> IssuedKey:
        """See ``ClientKeys.rotate``."""
        issued = await self._keys.rotate(name_or_id, overlap_seconds=overlap_seconds)
        until = (issued.key.rotated_at or 0.0) + overlap_seconds
        old = f"the old key is valid until {_iso(until)}" if overlap_seconds else "the old key has ended"
        return await self._issued("key.rotated", issued, f"{issued.key.name}; {old}")

    async def revoke(self, name_or_id: str) -> ClientKey:
        """See ``ClientKeys.revoke``."""
        key = await self._keys.revoke(name_or_id)
        await self._trail.note("key.revoked", key.id, key.name)
        return key

    async def _issued(self, action: Action, issued: IssuedKey, detail: str) -> IssuedKey:
        try:
            await self._trail.note(action, issued.key.id, detail)
        except StoreUnavailable:
            # Logged. The text of the key exists only here.
            return issued
        return issued


def changes(old: KeyTerms, new: KeyTerms) -> str:
    """The terms that differ, such as ``rpm: 60``, ``rpm: 60 -> 90``, ``rpm: removed``. Times are RFC 3339."""
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in (one.name for one in fields(KeyTerms))]
    nested = [
        (one.name, getattr(old.defaults, one.name), getattr(new.defaults, one.name)) for one in fields(new.defaults)
    ]
    differing = [(name, was, now) for name, was, now in (*pairs, *nested) if name != "defaults" and was != now]
    return ", ".join(f"{name}: {_change(name, was, now)}" for name, was, now in differing)


def _change(name: str, was: object, now: object) -> str:
    if now in _NOTHING:
        return "removed"
    return _shown(name, now) if was in _NOTHING else f"{_shown(name, was)} -> {_shown(name, now)}"


_NOTHING = (None, "", ())
"""No limit, no owner, all models."""


def _shown(name: str, value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return _iso(value) if name == "expires_at" and isinstance(value, float) else str(value)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(round(seconds), UTC).isoformat().replace("+00:00", "Z")
