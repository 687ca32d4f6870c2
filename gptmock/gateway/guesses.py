"""
Bounds guesses at client keys: counts the wrong keys of each source, shared by all workers. Knows contracts.

    wrong key      counted once, however often it is repeated: a client with an old key is no guesser
    MAX_GUESSES    different ones in GUESS_SECONDS begin a burst: one entry of the audit log, and until the window ends
                   every wrong key of the source is a 429
    right key      costs nothing. It is accepted during a burst too, since others may have the same address, unless it
                   is a static one that is short enough to be found by guessing

A source is an address, or the network that one IPv6 customer has. While the store is unavailable each worker counts
alone.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Protocol, TypeVar

from gptmock.accounts import Secret
from gptmock.audit import Actor, AuditEvent, AuditLog
from gptmock.errors import StoreError, StoreUnavailable, TooManyRequests

log = logging.getLogger("gptmock.audit")

MAX_GUESSES = 20
GUESS_SECONDS = 300.0
UNGUESSABLE_CHARACTERS = 24
"""Of a static key: with so many, of at least ten kinds, it is taken for a random one."""
_DISTINCT_CHARACTERS = 10
_MAX_REMEMBERED = 4096
"""Sources, and wrong keys, that this process remembers."""


_Key = TypeVar("_Key")


class GuessRecords(Protocol):
    """The counted guesses, shared by all workers. Every method may raise ``StoreUnavailable``."""

    async def count(self, source: str, digest: str, *, limit: int, window_seconds: float) -> float | None:
        """
        Count a guess of a source once, however often it is repeated. Returns the seconds until the window ends if it
        has had ``limit`` others already; then nothing is counted.
        """

    async def begin_burst(self, source: str, *, ttl_seconds: float) -> bool:
        """Whether this caller is the first to say so since the last burst of the source has ended."""


class Guesses:
    """
    Counts guesses and refuses what is too many.

    Args:
        records: shared by all workers.
        alone: of this process, for while the shared ones are unavailable.
        events: the audit log.
        clock: Unix seconds.
        timer: seconds that only grow.
    """

    def __init__(
        self,
        records: GuessRecords,
        alone: GuessRecords,
        events: AuditLog,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._alone = alone
        self._events = events
        self._clock = clock
        self._timer = timer
        # So that a stored hash of a mistyped key tells nothing about the key.
        self._salt = secrets.token_bytes(16)
        self._until: dict[str, float] = {}
        """The sources in a burst, and its end by ``timer``."""
        self._counted: dict[tuple[str, str], float] = {}
        """The guesses that were counted, and until when."""

    def may_try(self, address: str, static: Secret) -> bool:
        """Whether a static key is compared with what comes from there: not during a burst, if it can be guessed."""
        return not self._until or self._left(source_of(address)) is None or _is_unguessable(static)

    async def wrong(self, address: str, texts: Sequence[str]) -> None:
        """
        Count wrong keys from an address.

        Raises:
            TooManyRequests: the source has sent too many.
        """
        source = source_of(address)
        for text in texts:
            wait = self._left(source)
            if wait is None:
                wait = await self._count(source, self._digest(text))
            if wait is not None:
                raise TooManyRequests(
                    "Too many wrong API keys came from your address. Check the key, and try again in some minutes.",
                    retry_after_seconds=max(1.0, wait),
                    should_retry=False,
                )

    def _digest(self, text: str) -> str:
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._salt, digest_size=8).hexdigest()

    def _left(self, source: str) -> float | None:
        until = self._until.get(source)
        left = until - self._timer() if until is not None else 0.0
        return left if left > 0 else None

    async def _count(self, source: str, digest: str) -> float | None:
        now, guess = self._timer(), (source, digest)
        if self._counted.get(guess, 0.0) > now:
            return None
        records = self._records
        try:
            wait = await records.count(source, digest, limit=MAX_GUESSES, window_seconds=GUESS_SECONDS)
        except StoreUnavailable:
            records = self._alone
            wait = await records.count(source, digest, limit=MAX_GUESSES, window_seconds=GUESS_SECONDS)
        if wait is None:
            _remember(self._counted, guess, now + GUESS_SECONDS)
        else:
            _remember(self._until, source, now + wait)
            await self._note(records, source, wait)
        return wait

    async def _note(self, records: GuessRecords, source: str, wait: float) -> None:
        """Record the burst, unless another request has."""
        detail = f"{MAX_GUESSES} wrong keys; more are refused for {wait:.0f} s"
        try:
            if await records.begin_burst(source, ttl_seconds=wait):
                log.warning("keys.guessed", extra={"origin": source, "detail": detail})
                actor = Actor("unknown client", source)
                await self._events.record(AuditEvent(self._clock(), actor, "keys.guessed", "client keys", detail))
        except StoreError as error:
            # The refusal does not depend on it.
            log.warning("audit.unwritten", extra={"action": "keys.guessed", "reason": error.message})


def source_of(address: str) -> str:
    """Whose guesses are counted together: those of an address, or of the network that one IPv6 customer has."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network(f"{found}/64", strict=False))
    return str(found)


def _remember(known: dict[_Key, float], key: _Key, until: float) -> None:
    known.pop(key, None)
    if len(known) >= _MAX_REMEMBERED:
        del known[next(iter(known))]
    known[key] = until


def _is_unguessable(key: Secret) -> bool:
    text = key.reveal()
    return len(text) >= UNGUESSABLE_CHARACTERS and len(set(text)) >= _DISTINCT_CHARACTERS
