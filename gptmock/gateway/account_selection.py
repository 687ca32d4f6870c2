"""
Selects the account for a turn: the default account, or one of the pool if the operator has configured one.

In a pool, the account that served the conversation before comes first (sticky), then the others by headroom; parked
accounts (usage limit reached) are skipped. Knows contracts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gptmock.accounts import SIGN_IN_HINT, TokenVault
from gptmock.errors import (
    AccountError,
    AccountsExhausted,
    AccountUnusable,
    AuthUnknown,
    NotLoggedIn,
    StoreError,
    StoreUnavailable,
)
from gptmock.limits import LimitStore, Standing, Standings
from gptmock.protocol.failures import spoken_duration

log = logging.getLogger("gptmock.account")

CACHE_SECONDS = 0.8
"""How old the cached account ids may be."""
LISTED_SECONDS = 30.0
"""How old a pool's list may be while the vault's revision is unchanged; listing is expensive for the store."""
UNKNOWN_USED_PERCENT = 50.0
"""Assumed usage of an account without a snapshot, between idle and busy ones."""


class AccountSelector:
    """
    Lists the accounts for a turn, in the order in which they are tried.

    Args:
        vault: has the default account and the labels.
        limits: has each account's usage and parking.
        pool: labels of the accounts that share the load; empty for no pool.
        clock: Unix seconds.
    """

    def __init__(
        self, vault: TokenVault, limits: LimitStore, *, pool: tuple[str, ...], clock: Callable[[], float]
    ) -> None:
        self._vault = vault
        self._limits = limits
        self._pool = pool
        self._clock = clock
        self._ids: tuple[str, ...] = ()
        self._read_at = float("-inf")
        self._is_paused = False
        self._listed_at = float("-inf")
        self._revision: int | None = None
        self._missing: list[str] = []
        self._standings: dict[str, Standing] = {}
        """The last known ones, for while the store is unavailable."""
        self._labels: dict[str, str] = {}

    async def candidates(self, conversation: str, *, account_id: str | None = None) -> list[str]:
        """
        Account ids, the first to be tried first; never empty.

        Args:
            conversation: a key that all turns of a conversation share.
            account_id: the only account allowed, if the client key is bound to one.

        Raises:
            NotLoggedIn: there is no account, or none of the pool.
            AccountsExhausted: all of them are parked.
            AuthUnknown: no account is cached yet, and the store does not answer.
        """
        account_ids = (account_id,) if account_id is not None else await self.account_ids()
        if not account_ids:
            raise self.nobody()
        shared = len(account_ids) > 1
        try:
            standings = await self._read_standings(account_ids, conversation=conversation if shared else None)
        except StoreError:
            # The last known standings decide the order only; the upstream decides whether a limit is reached.
            standings = Standings(tuple(self._standings.get(one, Standing(one)) for one in account_ids))
            return self._free(standings) or list(account_ids)
        return self._ordered(standings)

    async def account_ids(self) -> tuple[str, ...]:
        """The accounts that may serve, in the operator's order."""
        now = self._clock()
        if now - self._read_at >= CACHE_SECONDS:
            if self._ids:
                # One caller reads; concurrent ones use the cached ids.
                self._read_at = now
            try:
                self._ids = await self._read_account_ids()
            except StoreError as error:
                if not self._ids and isinstance(error, StoreUnavailable):
                    raise AuthUnknown.because(error) from error
                if not self._ids:
                    raise
            self._read_at = now if self._ids else float("-inf")
        return self._ids

    async def reload(self) -> tuple[str, ...]:
        """
        Load the accounts and their standings into the cache. Returns the accounts that may serve.

        Raises:
            StoreError: the store does not answer; the cache stays as it is.
        """
        now = self._clock()
        self._ids = await self._read_account_ids()
        self._read_at = now if self._ids else float("-inf")
        if self._ids:
            await self._read_standings(self._ids, conversation=None)
        self._labels = {login.account.id: login.label for login in await self._vault.logins()}
        return self._ids

    def label_of(self, account_id: str | None) -> str | None:
        """The cached label of an account."""
        return self._labels.get(account_id) if account_id is not None else None

    def confirm(self, seen_at: float) -> None:
        """Mark the cache as fresh at ``seen_at`` (Unix seconds): the store had no change up to then."""
        if self._ids:
            self._read_at = max(self._read_at, seen_at)

    async def _read_standings(self, account_ids: tuple[str, ...], *, conversation: str | None) -> Standings:
        standings = await self._limits.look(account_ids, conversation=conversation)
        self._standings.update((one.account_id, one) for one in standings.accounts)
        return standings

    async def _read_account_ids(self) -> tuple[str, ...]:
        if not self._pool:
            default = await self._vault.default()
            self._is_paused = default is not None and await self._vault.is_paused(default)
            return (default,) if default is not None and not self._is_paused else ()
        revision = await self._vault.revision()
        if revision == self._revision and self._ids and self._clock() - self._listed_at < LISTED_SECONDS:
            return self._ids
        by_label = {login.label: login for login in await self._vault.logins() if not login.paused}
        missing = [label for label in self._pool if label not in by_label]
        if missing and missing != self._missing:
            log.warning("account.pool_incomplete", extra={"labels": ", ".join(missing)})
        # The revision was read before the list, so a change in between causes another listing.
        self._listed_at, self._revision, self._missing = self._clock(), revision, missing
        return tuple(by_label[label].account.id for label in self._pool if label in by_label)

    def _ordered(self, standings: Standings) -> list[str]:
        free = self._free(standings)
        if not free:
            now = self._clock()
            raise exhausted(min(one.parked_until or now for one in standings.accounts) - now)
        return free

    def _free(self, standings: Standings) -> list[str]:
        now = self._clock()
        free = [one for one in standings.accounts if one.parked_until is None or one.parked_until <= now]
        return [one.account_id for one in sorted(free, key=lambda one: _rank(one, standings.sticky))]

    async def serves_members(self) -> bool:
        """
        Whether there is no account for everybody, by intent, but at least one of a member, for the keys bound to it.

        Raises:
            StoreError: the accounts cannot be read.
        """
        if self._pool or self._is_paused:
            return False
        return any(one.member and not one.paused and one.refused is None for one in await self._vault.logins())

    def nobody(self) -> AccountError:
        """The error to raise when ``account_ids`` is empty."""
        if self._pool:
            return NotLoggedIn(f"No account of the pool ({', '.join(self._pool)}) is signed in. {SIGN_IN_HINT}")
        if self._is_paused:
            return AccountUnusable(
                "The default account is paused. The operator of this server can resume it, or choose another: "
                "gptmock accounts"
            )
        return NotLoggedIn(f"No ChatGPT account is signed in. {SIGN_IN_HINT}")


def exhausted(seconds: float) -> AccountsExhausted:
    """The 429 when every account is parked; ``seconds`` until the first one is usable again."""
    return AccountsExhausted(
        f"The usage limit of this server's account has been reached. It resets in {spoken_duration(seconds)}.",
        retry_after_seconds=max(1.0, seconds),
        should_retry=False,
    )


def _rank(standing: Standing, sticky: str | None) -> tuple[bool, float]:
    used = standing.used_percent
    return standing.account_id != sticky, UNKNOWN_USED_PERCENT if used is None else used
