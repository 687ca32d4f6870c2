"""
Living credentials for any number of requests, out of memory while they live. Knows contracts, no file and no HTTP.

The store is asked at most once a second for each account; while it does not answer, what is known serves until it
expires. Refreshing is ``gateway.refresh``; here is only decided when.
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
"""How old a look at the store may be: a login in one worker is seen by all others within a second."""
NEEDED_SECONDS = 30.0
"""Below this much life a request waits for the refresh: its token must still live when it arrives."""
EARLY_SECONDS = 300.0
EARLY_SHARE = 0.1
EARLY_JITTER = 0.2
"""Refresh that long before expiry: five minutes or a tenth of the life, jittered so that workers differ."""
YOUNG_SECONDS = 60.0
"""Tokens this young are left alone by everybody but a request that needs others."""
TIMER_SECONDS = 10.0


@dataclass(slots=True)
class _Known:
    tokens: TokenSet
    looked_at: float
    refresh_at: float | None


class CredentialKeeper:
    """
    Leases credentials.

    Args:
        vault: where the tokens rest.
        refresher: who renews them.
        clock: Unix seconds.
    """

    def __init__(self, vault: TokenVault, refresher: Refresher, *, clock: Callable[[], float]) -> None:
        self._vault = vault
        self._refresher = refresher
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._looks: dict[str, asyncio.Task[TokenSet]] = {}
        self._broken: set[str] = set()
        """Accounts whose record does not open; each is complained of once."""
        # Also what nobody waited for: the store may be away when those who need it come.
        refresher.renewed = self._learn

    async def lease(self, account_id: str) -> Credential:
        """
        A credential that lives long enough for one request to be accepted.

        Raises:
            NotLoggedIn: there is no such login.
            RefreshRejected: it has ended; somebody has to log in again.
            RefreshUnavailable: the token has died and no new one can be had now.
            AuthUnknown: nothing is known of the account, and the store does not answer.
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
            # Short of life is not dead, and newer tokens may have come meanwhile: the upstream may take them.
            known = self._known.get(account_id)
            if known is not None and self._seconds_left(known.tokens) > 0:
                return known.tokens.credential()
            raise

    async def renew(self, refused: Credential) -> Credential:
        """
        Another credential in the place of one that the upstream answered with 401.

        Raises:
            As ``lease``; ``CredentialRefused`` when there is nothing else to try.
        """
        known = self._known.get(refused.account.id)
        if known is not None and known.tokens.version > refused.version:
            tokens = known.tokens
        else:
            tokens = await self._look(refused.account.id)
        # By the token, not by the version: a mark or another seal makes a new version of the same tokens.
        if tokens.access_token == refused.access_token:
            if tokens.refused is not None:
                raise credential_refused()
            tokens = self._learn(await self._refresher.refresh(tokens)).tokens
        if tokens.access_token == refused.access_token:
            raise credential_refused()
        return tokens.credential()

    async def reload(self, account_ids: Sequence[str]) -> None:
        """
        Look now at these accounts, and at all others that are known.

        Raises:
            StoreUnavailable: the store does not answer; what is known stays.
        """
        for account_id in dict.fromkeys((*account_ids, *self._known)):
            try:
                await self._look(account_id)
            except StoreUnavailable:
                raise
            except GptmockError:
                # Logged out, or broken: whoever asks for this account is told.
                continue

    def confirm(self, seen_at: float) -> None:
        """Nothing has changed in the store up to this moment (Unix seconds): what is known counts as looked at then."""
        for known in self._known.values():
            known.looked_at = max(known.looked_at, seen_at)

    async def problem(self, account_id: str) -> GptmockError | None:
        """Why this account could not serve a turn now; ``None`` when it could, or may find out."""
        try:
            tokens = await self._current(account_id)
        except GptmockError as error:
            return error
        if tokens.refused is not None and self._seconds_left(tokens) <= 0:
            return RefreshRejected(tokens.refused)
        return None

    async def watch(self, account_ids: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Refresh early, also while nobody asks: runs until it is cancelled, beside the server."""
        while True:
            await asyncio.sleep(TIMER_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
            with suppress(GptmockError):
                for account_id in await account_ids():
                    tokens = await self._current(account_id)
                    await self._refresher.rescue(account_id)
                    self._refresh_early(tokens)

    async def close(self) -> None:
        """Wait for a refresh under way: a token that is spent has to be saved."""
        await self._refresher.close()

    # --- What is known --------------------------------------------------------------------

    async def _current(self, account_id: str) -> TokenSet:
        known = self._known.get(account_id)
        if known is not None and self._clock() - known.looked_at < CACHE_SECONDS:
            return known.tokens
        try:
            return await self._look(account_id)
        except StoreError as error:
            if known is None and isinstance(error, StoreUnavailable):
                raise AuthUnknown.because(error) from error
            if known is None:
                raise
            # The store is in trouble; what lives goes on living.
            known.looked_at = self._clock()
            return known.tokens

    async def _look(self, account_id: str) -> TokenSet:
        """One look for all requests that want one now."""
        look = self._looks.get(account_id)
        if look is None:
            look = asyncio.get_running_loop().create_task(self._vault.load(account_id), name="look")
            self._looks[account_id] = look
            look.add_done_callback(lambda _: self._looks.pop(account_id, None))
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
            # Logged out, or never in: nothing known may serve any longer.
            self._known.pop(account_id, None)
            raise
        self._broken.discard(account_id)
        return self._learn(tokens).tokens

    def _learn(self, tokens: TokenSet) -> _Known:
        before = self._known.get(tokens.account.id)
        now = self._clock()
        if before is not None and before.tokens.version >= tokens.version:
            before.looked_at = now
            return before
        known = self._known[tokens.account.id] = _Known(tokens, now, self._refresh_at(tokens))
        return known

    # --- When ------------------------------------------------------------------------------

    def _seconds_left(self, tokens: TokenSet) -> float:
        # A token that does not tell its expiry is used until the upstream says 401.
        return float("inf") if tokens.expires_at is None else tokens.expires_at - self._clock()

    def _refresh_at(self, tokens: TokenSet) -> float | None:
        if tokens.expires_at is None:
            return None
        issued = tokens.last_refresh if tokens.last_refresh is not None else self._clock()
        early = max(EARLY_SECONDS, EARLY_SHARE * (tokens.expires_at - issued))
        jitter = random.uniform(1 - EARLY_JITTER, 1 + EARLY_JITTER)  # noqa: S311 - spreads workers, guards nothing
        return max(tokens.expires_at - early * jitter, issued + YOUNG_SECONDS)

    def _refresh_early(self, tokens: TokenSet) -> None:
        known = self._known.get(tokens.account.id)
        if known is None or known.refresh_at is None or self._clock() < known.refresh_at:
            return
        if tokens.refused is None and tokens.refresh_token is not None:
            # The token lives: nobody waits, and nobody fails if the refresh does. The next look tells how it went.
            known.refresh_at = self._clock() + CACHE_SECONDS
            self._refresher.start(tokens)
