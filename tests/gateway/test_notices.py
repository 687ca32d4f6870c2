from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from gptmock.accounts import Account, Secret, TokenSet
from gptmock.gateway.notices import STORE_SECONDS, NoticeWatch
from gptmock.limits import RateLimitSnapshot, RateLimitWindow
from gptmock.notices import TYPES, Notice
from gptmock.stores.breaker import GuardedStore
from gptmock.stores.limits_and_usage import SharedLimits
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.notices import StoreToldRecord
from tests.gateway.memory import Clock
from tests.stores.logins import vault_on


@dataclass
class Site:
    """One store, any number of servers, and what the webhook was told."""

    clock: Clock = field(default_factory=Clock)
    place: MemoryPlace = field(default_factory=MemoryPlace)
    told: list[Notice] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = GuardedStore(MemoryStore(self.place), clock=self.clock, open_seconds=0.0)
        self.vault = vault_on(self.store)
        self.limits = SharedLimits(self.store)

    async def send(self, notice: Notice) -> None:
        self.told.append(notice)

    def server(self, is_first: Callable[[], bool] = lambda: True) -> NoticeWatch:
        """Of one worker."""
        return NoticeWatch(
            self.vault,
            self.limits,
            StoreToldRecord(self.store),
            self,
            is_first=is_first,
            has_store=lambda: self.store.available,
            clock=self.clock,
        )

    async def sign_in(self) -> TokenSet:
        token = Secret("access")
        return await self.vault.enroll(
            TokenSet(Account("workspace"), token, token, None, version=1, expires_at=None), label="work"
        )

    async def use(self, account: str, *percents: float, resets_in: float | None = 3600.0) -> None:
        self.clock.now += 1
        at = self.clock.now
        windows = tuple(
            RateLimitWindow(percent, minutes, None if resets_in is None else at + resets_in)
            for percent, minutes in zip(percents, (300, 10080), strict=False)
        )
        await self.limits.post(account, RateLimitSnapshot(at, windows))

    @property
    def types(self) -> list[str]:
        return [notice.type for notice in self.told]


async def test_a_window_is_told_at_80_and_at_100_once_each_over_all_servers():
    site = Site()
    account = (await site.sign_in()).account.id
    servers = [site.server() for _ in range(4)]
    for percent in (10, 79.9, 80, 85, 99, 100, 100, 100):
        await site.use(account, percent)
        for _ in range(2):
            await asyncio.gather(*(server.look() for server in servers))
    assert site.types == ["account.window_80", "account.window_100"]
    first = site.told[0].data
    assert (first["label"], first["window_minutes"], first["used_percent"]) == ("work", 300, 80)
    assert first["message"] == "work has used 80 % of its window of 5 hours."


async def test_after_a_reset_it_is_told_again():
    site = Site()
    account = (await site.sign_in()).account.id
    server = site.server()
    await site.use(account, 90, resets_in=60)
    await server.look()
    site.clock.now += 120
    await server.look()
    await site.use(account, 5, 82)
    await server.look()
    await site.use(account, 81, 82)
    await server.look()
    assert site.types == ["account.window_80"] * 3
    assert [notice.data["window_minutes"] for notice in site.told] == [300, 10080, 300]


@pytest.mark.parametrize("resets", [True, False])
async def test_a_window_is_told_once_until_it_is_reset(*, resets: bool):
    site = Site()
    account = (await site.sign_in()).account.id
    end = site.clock.now + 3600
    for percents in ((85,), (), (85,), (79.9,), (80,), (79.9, 10), (80, 10), (0,), (99,), (100,), (), (99,), (100,)):
        await site.use(account, *percents, resets_in=end - site.clock.now - 1 if resets else None)
        for _ in range(2):
            await site.server().look()
    assert site.types == ["account.window_80", "account.window_100"]


async def test_a_later_reset_begins_a_new_window_and_so_does_the_time_of_the_reset():
    site = Site()
    account = (await site.sign_in()).account.id
    server = site.server()
    for resets_in in (1000.0, 990.0, 1010.0, 18_000.0):
        # The first three differ as clocks do; the last is a reset before its time.
        await site.use(account, 90, resets_in=resets_in)
        await server.look()
    assert site.types == ["account.window_80"] * 2
    await site.use(account)
    site.clock.now += 18_100
    await server.look()
    assert await StoreToldRecord(site.store).load() == ({f"login:{account}": "fine"}, 3)
    await site.use(account, 90)
    await server.look()
    assert site.types == ["account.window_80"] * 3


async def test_an_ended_login_is_told_once_also_by_a_server_that_starts_later():
    site = Site()
    tokens = await site.sign_in()
    await site.server().look()
    assert site.types == []
    await site.vault.refuse(tokens, reason="refresh_token_reused")
    for _ in range(3):
        await site.server().look()
    assert site.types == ["account.login_ended"]
    assert "refresh_token_reused" in str(site.told[0].data["message"])
    # A new login ends the trouble, and its own end is news.
    again = await site.sign_in()
    await site.server().look()
    await site.vault.refuse(replace(again), reason="expired")
    await site.server().look()
    assert site.types == ["account.login_ended"] * 2


async def test_a_store_that_is_away_is_told_once_and_its_return_too():
    site = Site()
    await site.sign_in()
    server = site.server()
    await server.look()
    site.place.fail()
    for _ in range(4):
        await server.look()
        site.clock.now += STORE_SECONDS / 2
    assert site.types == ["store.unavailable"]
    site.place.recover()
    for _ in range(3):
        await server.look()
        site.clock.now += 1
    assert site.types == ["store.unavailable", "store.available"]
    assert set(site.types) <= set(TYPES)


async def test_a_worker_that_becomes_the_first_goes_on_where_the_other_was():
    site, first = Site(), ["old"]
    tokens = await site.sign_in()
    old, new = site.server(lambda: first == ["old"]), site.server(lambda: first == ["new"])
    site.place.fail()
    for _ in range(4):
        await asyncio.gather(old.look(), new.look())
        site.clock.now += STORE_SECONDS / 2
    assert site.types == ["store.unavailable"]
    first[:] = ["new"]
    await asyncio.gather(old.look(), new.look())
    site.place.recover()
    for _ in range(3):
        await asyncio.gather(old.look(), new.look())
        site.clock.now += 1
    assert site.types == ["store.unavailable", "store.available"]
    await site.vault.refuse(tokens, reason="expired")
    await asyncio.gather(old.look(), new.look())
    assert site.types[2:] == ["account.login_ended"]


async def test_a_record_of_another_version_is_replaced():
    site = Site()
    await site.sign_in()
    await site.store.write("notices", b"[1]", expected=0)
    await site.server().look()
    assert (await StoreToldRecord(site.store).load())[0] != {}
