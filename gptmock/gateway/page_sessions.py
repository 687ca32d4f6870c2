"""Sessions of people who have signed in to the page with a client key. Knows contracts, no cookie."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

from gptmock.accounts import Secret
from gptmock.clients import Client
from gptmock.errors import TooManyRequests, Unauthorized

SESSION_SECONDS = 12 * 3600.0
MAX_ATTEMPTS = 20
ATTEMPT_SECONDS = 300.0
"""A source may try to sign in so often in this time, on all servers together."""
_BYTES = 32


class SessionRecords(Protocol):
    """The stored sessions, shared by all workers. Every method may raise ``StoreUnavailable``."""

    async def save(self, digest: str, tenant: str, *, ttl_seconds: float) -> None:
        """Store a session."""

    async def load(self, digest: str) -> str | None:
        """The tenant of a session; ``None`` if it is unknown or has expired."""

    async def delete(self, digest: str) -> None:
        """End a session."""

    async def attempt(self, source: str, *, limit: int, window_seconds: float) -> float | None:
        """Count an attempt of a source. Returns the seconds to wait if there were ``limit`` in the window."""


class ChecksKeys(Protocol):
    """Authenticates (``gateway.admission.Admission``)."""

    async def admit(self, headers: Mapping[str, str], *, source: str | None = None) -> Client:
        """Check the client key; raises ``Unauthorized``, and ``TooManyRequests`` if ``source`` guesses."""

    async def known(self, tenant: str) -> Client | None:
        """The caller of a tenant whose key is still valid."""


class PageSessions:
    """
    Signs people in and out. The value of a session is random and stored as its hash only.

    Args:
        records: the stored sessions.
        keys: checks client keys. A session ends with its key.
        clock: Unix seconds.
    """

    def __init__(self, records: SessionRecords, keys: ChecksKeys, *, clock: Callable[[], float]) -> None:
        self._records = records
        self._keys = keys
        self._clock = clock

    async def sign_in(self, key: Secret, *, source: str) -> str:
        """
        Begin a session; returns its value.

        Args:
            key: the text of a client key.
            source: the address of the person, whose attempts are limited.

        Raises:
            TooManyRequests: there were too many attempts from this source.
            Unauthorized: it is no valid key.
            StoreError: the store does not answer.
        """
        try:
            client = await self._holder_of(key, source)
        except Unauthorized:
            # Only failures count: whoever shares an address with a guesser can sign in all the same.
            wait = await self._records.attempt(source, limit=MAX_ATTEMPTS, window_seconds=ATTEMPT_SECONDS)
            if wait is None:
                raise
            raise TooManyRequests(
                "Too many attempts to sign in. Try again in some minutes.", retry_after_seconds=wait
            ) from None
        value = secrets.token_urlsafe(_BYTES)
        holder = f"{client.tenant} {_generation(client)}"
        await self._records.save(_digest(value), holder, ttl_seconds=self._lifetime(client))
        return value

    def _lifetime(self, client: Client) -> float:
        """In seconds: a session that began with a replaced text ends with that text."""
        ends_at = client.key.text_ends_at if client.key is not None else None
        return SESSION_SECONDS if ends_at is None else min(SESSION_SECONDS, ends_at - self._clock())

    async def _holder_of(self, key: Secret, source: str) -> Client:
        client = await self._keys.admit({"authorization": f"Bearer {key.reveal()}"}, source=source)
        if not client.tenant:
            # A server that requires no key takes any text for one.
            raise Unauthorized("This is not a key of this server.")
        return client

    async def client_of(self, value: str) -> Client | None:
        """The caller with this session; ``None`` if it has ended, or its key has, or was replaced."""
        tenant, _, generation = (await self._records.load(_digest(value)) or "").partition(" ")
        client = await self._keys.known(tenant) if tenant else None
        return client if client is not None and _generation(client) == generation else None

    async def sign_out(self, value: str) -> None:
        """End a session."""
        await self._records.delete(_digest(value))


def _generation(client: Client) -> str:
    """Changes when the caller's key gets another text."""
    return "" if client.key is None else str(client.key.rotated_at)


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()
