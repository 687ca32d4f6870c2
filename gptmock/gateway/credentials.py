"""
Provides access tokens to requests from a cache, and decides when to refresh them. Knows contracts, no file and no HTTP.

The store is read at most about once a second for each account; while it is unavailable, cached tokens are used until
they expire. The refresh itself is ``gateway.refresh``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gptmock.accounts import Credential, TokenSet, TokenVault
from gptmock.errors import (
    AuthUnknown,
    GptmockError,
    RefreshRejected,
    RefreshUnavailable,
    SealBroken,
    StoreError,
    StoreUnavailable,
)
from gptmock.gateway.refresh import Refresher
from gptmock.protocol.failures import credential_refused

log = logging.getLogger("gptmock.account")

CACHE_SECONDS = 0.8
"""How old cached tokens may be: a login in one worker is seen by all others within a second."""
NEEDED_SECONDS = 30.0
"""With less remaining lifetime a request waits for the refresh, so that its token is valid when it arrives upstream."""
EARLY_SECONDS = 300.0
EARLY_SHARE = 0.1
EARLY_JITTER = 0.2
"""Refresh early: five minutes or a tenth of the lifetime before expiry, whichever is more, jittered over workers."""
YOUNG_SECONDS = 60.0
"""Tokens younger than this are not refreshed early."""
TIMER_SECONDS = 10.0


@dataclass(slots=True)
class _CacheEntry:
    tokens: TokenSet
    read_at: float
    refresh_at: float | None


class CredentialKeeper:
    """
    Provides credentials: an access token with its account.

    Args:
        vault: holds the tokens.
        refresher: renews them.
        clock: Unix seconds.
    """

    def __init__(self, vault: TokenVault, refresher: Refresher, *, clock: Callable[[], float]) -> None:
        self._vault = vault
        self._refresher = refresher
        self._clock = clock
        self._cache: dict[str, _CacheEntry] = {}
        self._loads: dict[str, asyncio.Task[TokenSet]] = {}
        self._broken: set[str] = set()
        """Accounts whose record cannot be decrypted, and was logged."""
        # Cache the result of background refreshes too: the store may be unavailable when a request needs it.
        refresher.on_renewed = self._learn

    async def lease(self, account_id: str) -> Credential:
        """
        A credential whose token is valid long enough for one request to be accepted.

        Raises:
            NotLoggedIn: there is no such login.
            RefreshRejected: the issuer has ended the login; the user has to sign in again.
            RefreshUnavailable: the token has expired, and cannot be refreshed now.
            AuthUnknown: the account is not cached, and the store does not answer.
        """
        tokens = await self._current(account_id)
        left = self._seconds_left(tokens)
        if left > NEEDED_SECONDS or (left > 0 and tokens.refused is not None):
            self._refresh_early(tokens)
            return tokens.credential()
        if tokens.refused is not None:
            raise RefreshRejected(tokens.refused)
        try:
            return self._learn(await self._refresher.refresh(tokens)).tokens.credential()
        except (RefreshRejected, RefreshUnavailable):
            # The token may be valid for some seconds yet, or newer ones may have been cached meanwhile.
            known = self._cache.get(account_id)
            if known is not None and self._seconds_left(known.tokens) > 0:
                return known.tokens.credential()
            raise

    async def renew(self, refused: Credential) -> Credential:
        """
        Another credential, after the upstream has answered 401 to ``refused``.

        Raises:
            As ``lease``; ``CredentialRefused`` when there is no other one.
        """
        known = self._cache.get(refused.account.id)
        if known is not None and known.tokens.version > refused.version:
            tokens = known.tokens
        else:
            tokens = await self._load(refused.account.id)
        # Compare tokens, not versions: a refusal or re-encryption makes a new version of the same tokens.
        if tokens.access_token == refused.access_token:
            if tokens.refused is not None:
                raise credential_refused()
            tokens = self._learn(await self._refresher.refresh(tokens)).tokens
        if tokens.access_token == refused.access_token:
            raise credential_refused()
        return tokens.credential()

    async def reload(self, account_ids: Sequence[str]) -> None:
        """
        Read the tokens of these accounts, and of all cached ones, into the cache.

        Raises:
            StoreUnavailable: the store does not answer; the cache stays as it is.
        """
        for account_id in dict.fromkeys((*account_ids, *self._cache)):
            try:
                await self._load(account_id)
            except StoreUnavailable:
                raise
            except GptmockError:
                # Logged out, or not decryptable: a request for this account gets the error.
                continue

    def confirm(self, seen_at: float) -> None:
        """Mark the cache as fresh at ``seen_at`` (Unix seconds): the store had no change up to then."""
        for known in self._cache.values():
            known.read_at = max(known.read_at, seen_at)

    async def problem(self, account_id: str) -> GptmockError | None:
        """Why this account cannot serve a turn now; ``None`` if it can, or if a request would try a refresh."""
        try:
            tokens = await self._current(account_id)
        except GptmockError as error:
            return error
        if tokens.refused is not None and self._seconds_left(tokens) <= 0:
            return RefreshRejected(tokens.refused)
        return None

    async def watch(self, account_ids: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Background task: refresh early, also without requests, until cancelled."""
        while True:
            await asyncio.sleep(TIMER_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
            with suppress(GptmockError):
                for account_id in await account_ids():
                    tokens = await self._current(account_id)
                    await self._refresher.recover_escrowed(account_id)
                    self._refresh_early(tokens)

    async def close(self) -> None:
        """Wait for a running refresh: the rotated tokens must be saved."""
        await self._refresher.close()

    # --- Cache ----------------------------------------------------------------------------

    async def _current(self, account_id: str) -> TokenSet:
        known = self._cache.get(account_id)
        if known is not None and self._clock() - known.read_at < CACHE_SECONDS:
            return known.tokens
        try:
            return await self._load(account_id)
        except StoreError as error:
            if known is None and isinstance(error, StoreUnavailable):
                raise AuthUnknown.because(error) from error
            if known is None:
                raise
            # The store is unavailable: use the cached tokens.
            known.read_at = self._clock()
            return known.tokens

    async def _load(self, account_id: str) -> TokenSet:
        """Load tokens; concurrent callers share one read."""
        look = self._loads.get(account_id)
        if look is None:
            look = asyncio.get_running_loop().create_task(self._vault.load(account_id), name="look")
            self._loads[account_id] = look
            look.add_done_callback(lambda _: self._loads.pop(account_id, None))
        try:
            tokens = await asyncio.shield(look)
        except SealBroken as error:
            if account_id not in self._broken:
                self._broken.add(account_id)
                log.warning(
                    "account.record_broken", extra={"account": account_id, "code": error.code, "reason": error.message}
                )
            raise
        except StoreError:
            raise
        except GptmockError:
            # Logged out, or never signed in: cached tokens must not be used any longer.
            self._cache.pop(account_id, None)
            raise
        self._broken.discard(account_id)
        return self._learn(tokens).tokens

    def _learn(self, tokens: TokenSet) -> _CacheEntry:
        before = self._cache.get(tokens.account.id)
        now = self._clock()
        if before is not None and before.tokens.version >= tokens.version:
            before.read_at = now
            return before
        known = self._cache[tokens.account.id] = _CacheEntry(tokens, now, self._refresh_at(tokens))
        return known

    # --- When to refresh ------------------------------------------------------------------------------

    def _seconds_left(self, tokens: TokenSet) -> float:
        # A token without an ``exp`` claim is used until the upstream answers 401.
        return float("inf") if tokens.expires_at is None else tokens.expires_at - self._clock()

    def _refresh_at(self, tokens: TokenSet) -> float | None:
        if tokens.expires_at is None:
            return None
        issued = tokens.last_refresh if tokens.last_refresh is not None else self._clock()
        early = max(EARLY_SECONDS, EARLY_SHARE * (tokens.expires_at - issued))
        jitter = random.uniform(1 - EARLY_JITTER, 1 + EARLY_JITTER)  # noqa: S311 - spreads workers, guards nothing
        return max(tokens.expires_at - early * jitter, issued + YOUNG_SECONDS)

    def _refresh_early(self, tokens: TokenSet) -> None:
        known = self._cache.get(tokens.account.id)
        if known is None or known.refresh_at is None or self._clock() < known.refresh_at:
            return
        if tokens.refused is None and tokens.refresh_token is not None:
            # The token is still valid: refresh in the background. If it fails, this is tried again after CACHE_SECONDS.
            known.refresh_at = self._clock() + CACHE_SECONDS
            self._refresher.start(tokens)
