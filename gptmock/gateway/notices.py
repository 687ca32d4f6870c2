"""
Tells the operator's webhook what needs a person: a login that has ended, a usage window at 80 and at 100 percent, a
store that does not answer. Each once for each change, over all workers and servers. Knows contracts, no HTTP.

What was told last is a record in the shared store. Whoever replaces it by compare-and-set tells the difference; a
server that dies between the two tells nothing, so that nobody is told twice. Trouble of the store itself cannot be
shared: the first worker of each server tells it. All workers watch for it, so that one that becomes the first later
knows what was told.

The level of a usage window only rises until the window has been reset: neither a report without windows nor a lower
number begins it anew.

    window:ID:MINUTES          the highest level of the window that was reported last
    until:window:ID:MINUTES    when that window is reset, in Unix seconds, unless the level is ``fine``
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gptmock.accounts import SIGN_IN_HINT, Login, TokenVault
from gptmock.errors import GptmockError
from gptmock.limits import LimitStore, RateLimitWindow
from gptmock.notices import Notice, SendsNotices, ToldRecord

log = logging.getLogger("gptmock.notices")

LOOK_SECONDS = 5.0
STORE_SECONDS = 5.0
"""A store that is away for less is not worth a notice."""
LEVELS = ("fine", "80", "100", "ended")
"""In ascending order; only a rise is told."""
SAME_RESET_SECONDS = 60.0
"""Reports of one window differ by less in its reset: some say it in seconds from now, on the clock of a server."""
_UNTIL = "until:"


@dataclass(frozen=True, slots=True)
class _Found:
    """The state of one subject, and the notice that tells it."""

    subject: str
    level: str
    notice: Notice
    window: RateLimitWindow | None = None


class NoticeWatch:
    """
    Looks for changes and tells them.

    Args:
        vault: has the logins.
        limits: has their windows.
        told: what was told last.
        webhook: where notices go.
        is_first: whether this worker is the one of its server that tells, now.
        has_store: whether the store answers this worker.
        clock: Unix seconds.
    """

    def __init__(  # noqa: PLR0913 - one contract for each thing it brings together
        self,
        vault: TokenVault,
        limits: LimitStore,
        told: ToldRecord,
        webhook: SendsNotices,
        *,
        is_first: Callable[[], bool],
        has_store: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._vault = vault
        self._limits = limits
        self._told = told
        self._webhook = webhook
        self._is_first = is_first
        self._has_store = has_store
        self._clock = clock
        self._away_since: float | None = None
        self._told_away = False

    async def run(self) -> None:
        """Background task: look again and again until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads servers
            await self.look()

    async def look(self) -> None:
        """Look once, and tell what has become worse, if this worker is the first."""
        of_store = self._of_store()
        if not self._is_first():
            return
        if of_store is not None:
            await self._send(of_store)
        try:
            logins = await self._vault.logins()
            found = [one for login in logins for one in await self._of(login)]
            before, version = await self._told.load()
            now = self._clock()
            levels = _levels(found, before, now)
            if levels == before or not await self._told.replace(levels, version=version):
                return
        except GptmockError:
            return
        for one in found:
            if _rank(levels[one.subject]) > _rank(_held(one, before, now)):
                await self._send(one.notice)

    def _of_store(self) -> Notice | None:
        """What is to be told of the store; each notice is returned once."""
        now = self._clock()
        if self._has_store():
            self._away_since = None
            if not self._told_away:
                return None
            self._told_away = False
            return Notice("store.available", now, {"message": "The store answers again."})
        if self._away_since is None:
            self._away_since = now
        if self._told_away or now - self._away_since < STORE_SECONDS:
            return None
        self._told_away = True
        message = "The store does not answer. Requests are served from memory while tokens live: gptmock doctor."
        return Notice("store.unavailable", now, {"message": message})

    async def _of(self, login: Login) -> list[_Found]:
        """The state of the login and of each of its windows."""
        account, now = login.account.id, self._clock()
        base = {"account": account, "label": login.label}
        ended = Notice(
            "account.login_ended", now, {**base, "message": f"The login has ended: {login.refused}. {SIGN_IN_HINT}"}
        )
        found = [_Found(f"login:{account}", "ended" if login.refused is not None else "fine", ended)]
        snapshot = await self._limits.snapshot(account)
        for window in snapshot.windows if snapshot is not None else ():
            level = _level(window, now)
            notice = _window_notice(base, window, level, now)
            found.append(_Found(f"window:{account}:{window.window_minutes}", level, notice, window))
        return found

    async def _send(self, notice: Notice) -> None:
        log.info("notice", extra={"type": notice.type, "account": notice.data.get("account")})
        await self._webhook.send(notice)


def _level(window: RateLimitWindow, now: float) -> str:
    if window.resets_at is not None and window.resets_at <= now:
        return "fine"
    return "100" if window.used_percent >= 100 else "80" if window.used_percent >= 80 else "fine"


def _window_notice(base: Mapping[str, str], window: RateLimitWindow, level: str, now: float) -> Notice:
    data: dict[str, str | float] = {
        **base,
        "window_minutes": window.window_minutes,
        "used_percent": window.used_percent,
        "message": f"{base['label']} has used {window.used_percent:.0f} % of its window of {_spoken(window)}.",
    }
    if window.resets_at is not None:
        data["resets_at"] = window.resets_at
    return Notice(f"account.window_{level}", now, data)


def _spoken(window: RateLimitWindow) -> str:
    hours = window.window_minutes / 60
    return f"{hours / 24:.0f} days" if hours > 48 else f"{hours:.0f} hours"


def _levels(found: Iterable[_Found], before: Mapping[str, str], now: float) -> dict[str, str]:
    """What the record becomes: what was found, and the windows that nobody reports before they are reset."""
    levels: dict[str, str] = {}
    for subject, level in before.items():
        until = _until(subject, before)
        if until is not None and now < until + SAME_RESET_SECONDS:
            levels |= {subject: level, _UNTIL + subject: str(until)}
    for one in found:
        held = _held(one, before, now)
        levels.pop(_UNTIL + one.subject, None)
        levels[one.subject] = one.level if one.window is None else max(one.level, held, key=_rank)
        if one.window is not None and _rank(levels[one.subject]):
            known = _until(one.subject, before) if _rank(held) else None
            levels[_UNTIL + one.subject] = str(known or one.window.resets_at or now + one.window.window_minutes * 60)
    return levels


def _held(one: _Found, before: Mapping[str, str], now: float) -> str:
    """The level that was told before, if it still holds: a window has not been reset since."""
    level, until = before.get(one.subject, LEVELS[0]), _until(one.subject, before)
    if one.window is None or until is None:
        return level
    is_new = one.window.resets_at is not None and one.window.resets_at > until + SAME_RESET_SECONDS
    return LEVELS[0] if is_new or now >= until + SAME_RESET_SECONDS else level


def _until(subject: str, record: Mapping[str, str]) -> float | None:
    """When a window is reset, as the record has it."""
    try:
        return float(record[_UNTIL + subject])
    except (KeyError, ValueError):
        return None


def _rank(level: str | None) -> int:
    return LEVELS.index(level) if level in LEVELS else 0
