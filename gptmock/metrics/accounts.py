"""What is read for a scrape: the state, the tokens and the windows of each account. Knows contracts, no store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gptmock.accounts import Login, TokenVault
from gptmock.errors import GptmockError
from gptmock.limits import LimitStore
from gptmock.metrics.worker import Reading

STATES = ("active", "paused", "login_ended", "parked")
"""``parked``: a window is used up. Only the first that holds of the last three."""
_SECONDS_PER_MINUTE = 60.0


class AccountReadings:
    """
    Reads the accounts.

    Args:
        vault: has the logins.
        limits: has their windows.
        clock: Unix seconds.
    """

    def __init__(self, vault: TokenVault, limits: LimitStore, *, clock: Callable[[], float]) -> None:
        self._vault = vault
        self._limits = limits
        self._clock = clock

    async def __call__(self) -> Sequence[Reading]:
        """The readings of all accounts; none while the store cannot be read."""
        try:
            logins = await self._vault.logins()
            parked = await self._parked([login.account.id for login in logins])
            of_each = await asyncio.gather(*(self._read(login, parked.get(login.account.id)) for login in logins))
        except GptmockError:
            return ()
        return [reading for readings in of_each for reading in readings]

    async def _parked(self, account_ids: list[str]) -> dict[str, float | None]:
        if not account_ids:
            return {}
        standings = await self._limits.look(account_ids, conversation=None)
        return {one.account_id: one.parked_until for one in standings.accounts}

    async def _read(self, login: Login, parked_until: float | None) -> list[Reading]:
        now, account = self._clock(), login.account.id
        state = _state(login, is_parked=parked_until is not None and parked_until > now)
        readings = [
            Reading(
                "account_state", "1 for the state of the account.", {"account": account, "state": one}, one == state
            )
            for one in STATES
        ]
        if login.expires_at is not None:
            left = (login.expires_at - now) / _SECONDS_PER_MINUTE
            text = "Minutes until the access token expires; it is refreshed before."
            readings.append(Reading("account_token_minutes_left", text, {"account": account}, left))
        snapshot = await self._limits.snapshot(account)
        for window in snapshot.windows if snapshot is not None else ():
            labels = {"account": account, "window_minutes": str(window.window_minutes)}
            # A window that has been reset since is empty, whatever was last told of it.
            used = 0.0 if window.resets_at is not None and window.resets_at <= now else window.used_percent
            readings.append(Reading("account_window_used_percent", "Share of a usage window.", labels, used))
        return readings


def _state(login: Login, *, is_parked: bool) -> str:
    if login.paused:
        return "paused"
    if login.refused is not None:
        return "login_ended"
    return "parked" if is_parked else "active"
