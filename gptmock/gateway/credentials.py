"""
One living credential for any number of requests, and one refresh at a time. Knows contracts, no file and no HTTP.

The procedure, for every reason to refresh: one shared task per process; take the lock; load again, since somebody
else may have refreshed; still stale? spend the refresh token; save before anybody uses the result; release.
(oauth2-proxy ``pkg/middleware/stored_session.go``, with types where it searches texts.)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gptmock.accounts import (
    SIGN_IN_HINT,
    Credential,
    IssuedTokens,
    RefreshLock,
    TokenIssuer,
    TokenSet,
    TokenVault,
    account_of,
)
from gptmock.errors import GptmockError, RefreshRejected, RefreshUnavailable
from gptmock.protocol.failures import credential_refused

log = logging.getLogger("gptmock.account")

EARLY_SECONDS = 300.0
"""Refresh this long before expiry, as Codex does."""
NEEDED_SECONDS = 30.0
"""Below this much life a request waits for the refresh: its token must still live when it arrives."""
PAUSE_SECONDS = 5.0
"""After the issuer could not be asked: not again before this has passed."""


class CredentialKeeper:
    """
    Leases credentials of the one account that the vault holds.

    Args:
        vault: where the tokens rest.
        lock: what makes refreshes exclusive over all workers.
        issuer: who exchanges them.
        clock: Unix seconds.
    """

    def __init__(
        self, vault: TokenVault, lock: RefreshLock, issuer: TokenIssuer, *, clock: Callable[[], float]
    ) -> None:
        self._vault = vault
        self._lock = lock
        self._issuer = issuer
        self._clock = clock
        self._flight: asyncio.Task[TokenSet] | None = None
        self._failure: tuple[float, RefreshUnavailable] | None = None
        self._unsaved: tuple[str, IssuedTokens] | None = None
        """Issued in the place of that version and not yet in the vault, which could not be written."""

    async def lease(self) -> Credential:
        """
        A credential that lives long enough for one request to be accepted.

        Raises:
            NotLoggedIn: there is no account.
            RefreshRejected: somebody has to log in again.
            RefreshUnavailable: the token has died and no new one can be had now.
            LockBusy, StoreUnavailable: the place of the tokens is in trouble.
        """
        tokens = await self._vault.load()
        left = self._seconds_left(tokens)
        if left > EARLY_SECONDS:
            return _credential(tokens)
        if left > NEEDED_SECONDS:
            # The token lives: this request does not wait, and does not fail if the refresh does.
            if tokens.refresh_token is not None:
                self._refresh_in_background(tokens)
            return _credential(tokens)
        return _credential(await self._refreshed(tokens))

    async def renew(self, refused: Credential) -> Credential:
        """
        Another credential in the place of one that the upstream answered with 401.

        Raises:
            As ``lease``; ``CredentialRefused`` when there is nothing else to try.
        """
        tokens = await self._vault.load()
        if tokens.version == refused.version:
            tokens = await self._refreshed(tokens)
        if tokens.version == refused.version:
            raise credential_refused()
        return _credential(tokens)

    async def close(self) -> None:
        """Wait for a refresh under way: a token that is spent has to be saved."""
        if self._flight is not None:
            await asyncio.wait({self._flight})

    def _seconds_left(self, tokens: TokenSet) -> float:
        # A token that does not tell its expiry is used until the upstream says 401.
        return float("inf") if tokens.expires_at is None else tokens.expires_at - self._clock()

    async def _refreshed(self, seen: TokenSet) -> TokenSet:
        if self._failure is not None:
            until, failure = self._failure
            if self._clock() < until:
                raise RefreshUnavailable(failure.message, retry_after_seconds=failure.retry_after_seconds)
        # Shielded: a client that leaves must not stop an exchange whose refresh token may be spent already.
        return await asyncio.shield(self._shared_flight(seen))

    def _refresh_in_background(self, seen: TokenSet) -> None:
        if self._failure is None or self._clock() >= self._failure[0]:
            self._shared_flight(seen)

    def _shared_flight(self, seen: TokenSet) -> asyncio.Task[TokenSet]:
        if self._flight is None:
            self._flight = asyncio.get_running_loop().create_task(self._refresh(seen), name="refresh")
            self._flight.add_done_callback(self._landed)
        return self._flight

    def _landed(self, flight: asyncio.Task[TokenSet]) -> None:
        self._flight = None
        error = None if flight.cancelled() else flight.exception()
        if isinstance(error, RefreshUnavailable):
            self._failure = (self._clock() + PAUSE_SECONDS, error)
        else:
            self._failure = None
        if isinstance(error, GptmockError):
            log.warning("account.refresh_failed", extra={"code": error.code, "reason": error.message})
        elif error is not None:
            # A background refresh has nobody else to tell.
            log.error("account.refresh_broken", exc_info=error)

    async def _refresh(self, seen: TokenSet) -> TokenSet:
        async with self._lock.hold():
            tokens = await self._vault.load()
            if tokens.version != seen.version and self._seconds_left(tokens) > NEEDED_SECONDS:
                return tokens
            issued = await self._issued_for(tokens)
            # Kept until it is saved: the old refresh token is spent, and a full disk must not cost the login.
            self._unsaved = (tokens.version, issued)
            saved = await self._vault.save(tokens, issued, now=self._clock())
            self._unsaved = None
        log.info("account.renewed", extra={"expires_at": saved.expires_at})
        return saved

    async def _issued_for(self, tokens: TokenSet) -> IssuedTokens:
        if self._unsaved is not None and self._unsaved[0] == tokens.version:
            return self._unsaved[1]
        if tokens.refresh_token is None:
            raise RefreshRejected(f"The access token has expired and there is no refresh token. {SIGN_IN_HINT}")
        try:
            issued = await self._issuer.refresh(tokens.refresh_token)
        except RefreshRejected as error:
            await self._vault.reject(tokens, reason=error.message)
            raise
        account = account_of(issued)
        if account is not None and account.workspace_id != tokens.account.workspace_id:
            raise RefreshUnavailable("The issuer answered with tokens of another account; they were not taken.")
        return issued


def _credential(tokens: TokenSet) -> Credential:
    return Credential(account=tokens.account, access_token=tokens.access_token, version=tokens.version)
