from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gptmock.accounts import Account, Login
from gptmock.errors import AccountsExhausted, AuthUnknown, NotLoggedIn
from gptmock.gateway.account_selection import CACHE_SECONDS, LISTED_SECONDS, UNKNOWN_USED_PERCENT, AccountSelector
from gptmock.limits import RateLimitSnapshot, RateLimitWindow
from gptmock.stores.limits_and_usage import SharedLimits
from tests.gateway.memory import Site, tokens

NAMES = ("ada", "bob", "cyd")
ACCOUNTS = {name: Account(f"w-{name}", f"u-{name}") for name in NAMES}
A_SECOND = CACHE_SECONDS + 0.2


class House(Site):
    """Some accounts, and a worker that chooses."""

    def __init__(self, *pool: str) -> None:
        super().__init__()
        self.one = self.worker()
        self.board = SharedLimits(self.one.store)
        self.chooser = AccountSelector(self.one.vault, self.board, pool=pool, clock=self.clock)

    async def sign_in(self, *names: str) -> None:
        for number, name in enumerate(names):
            login = replace(tokens(number, expires_at=None), account=ACCOUNTS[name])
            await self.worker().vault.enroll(login, label=name)

    async def used(self, name: str, percent: float) -> None:
        windows = (RateLimitWindow(percent, 300, None),)
        await self.board.post(ACCOUNTS[name].id, RateLimitSnapshot(self.clock.now, windows))

    async def park(self, name: str, seconds: float) -> None:
        await self.board.park(ACCOUNTS[name].id, until=self.clock.now + seconds, now=self.clock.now)

    async def order(self, conversation: str = "c", *, bound: str | None = None) -> list[str]:
        account_id = ACCOUNTS[bound].id if bound is not None else None
        ids = await self.chooser.candidates(conversation, account_id=account_id)
        return [name for one in ids for name in NAMES if ACCOUNTS[name].id == one]


async def test_without_a_pool_the_default_serves_alone():
    house = House()
    await house.sign_in("ada", "bob")
    await house.used("ada", 99.0)
    await house.board.stick("c", ACCOUNTS["bob"].id, now=house.clock.now)
    assert await house.order() == ["ada"]
    await house.worker().vault.make_default(ACCOUNTS["bob"].id)
    house.clock.now += A_SECOND
    assert await house.order() == ["bob"]


async def test_nobody_is_said_as_it_is_and_looked_for_again_at_once():
    house = House()
    with pytest.raises(NotLoggedIn, match="gptmock login"):
        await house.order()
    await house.sign_in("ada")
    assert await house.order() == ["ada"]


async def test_a_pool_of_nobody_names_whom_it_misses():
    house = House("bob", "cyd")
    await house.sign_in("ada")
    with pytest.raises(NotLoggedIn, match="bob, cyd"):
        await house.order()


async def test_a_pool_serves_with_those_that_are_signed_in(caplog: pytest.LogCaptureFixture):
    house = House("bob", "ada", "cyd")
    await house.sign_in("ada", "bob")
    assert await house.order() == ["bob", "ada"], "the operator's order, while nothing is known"
    (record,) = caplog.records
    assert (record.getMessage(), vars(record)["labels"]) == ("account.pool_incomplete", "cyd")
    await house.worker().vault.forget(ACCOUNTS["bob"].id)
    house.clock.now += A_SECOND
    assert await house.order() == ["ada"]


async def test_a_pool_serves_by_headroom():
    house = House(*NAMES)
    await house.sign_in(*NAMES)
    await house.used("ada", 80.0)
    await house.used("cyd", 10.0)
    assert await house.order() == ["cyd", "bob", "ada"]
    await house.used("bob", UNKNOWN_USED_PERCENT + 31)
    assert await house.order() == ["cyd", "ada", "bob"]


async def test_who_served_a_conversation_before_comes_first():
    house = House(*NAMES)
    await house.sign_in(*NAMES)
    await house.used("ada", 99.0)
    await house.board.stick("c", ACCOUNTS["ada"].id, now=house.clock.now)
    assert await house.order() == ["ada", "bob", "cyd"]
    assert await house.order("another") == ["bob", "cyd", "ada"]


async def test_a_parked_account_is_not_tried_not_even_where_it_served_before():
    house = House("ada", "bob")
    await house.sign_in("ada", "bob")
    await house.board.stick("c", ACCOUNTS["ada"].id, now=house.clock.now)
    await house.park("ada", 600)
    assert await house.order() == ["bob"]
    house.clock.now += 601
    assert await house.order() == ["ada", "bob"], "by the clock, should the store be late"


@pytest.mark.parametrize("pool", [(), NAMES])
async def test_when_all_are_parked_the_first_to_be_back_is_named(pool: tuple[str, ...]):
    house = House(*pool)
    await house.sign_in(*NAMES)
    for name, seconds in (("ada", 3600), ("bob", 7200), ("cyd", 5400)):
        await house.park(name, seconds)
    house.clock.now += 600
    with pytest.raises(AccountsExhausted) as caught:
        await house.order()
    error = caught.value
    assert (error.code, error.status_hint, error.should_retry) == ("usage_limit_reached", 429, False)
    assert error.retry_after_seconds == pytest.approx(3000)
    assert "50 min" in error.message


@pytest.mark.parametrize("pool", [(), ("bob", "ada")])
async def test_while_the_store_is_away_those_known_serve_and_limits_are_unknown(pool: tuple[str, ...]):
    house = House(*pool)
    await house.sign_in("ada", "bob")
    expected = await house.order()
    await house.park(expected[0], 600)
    house.place.fail()
    for _ in range(3):
        assert await house.order() == expected
        house.clock.now += A_SECOND


@pytest.mark.parametrize("pool", [(), ("bob", "ada")])
async def test_nothing_known_and_no_store_says_when_to_come_again(pool: tuple[str, ...]):
    house = House(*pool)
    house.place.fail()
    with pytest.raises(AuthUnknown) as caught:
        await house.order()
    assert (caught.value.code, caught.value.status_hint) == ("auth_unavailable", 503)
    assert caught.value.retry_after_seconds is not None


async def test_while_the_store_is_away_limits_are_what_was_last_seen_of_them():
    house = House(*NAMES)
    await house.sign_in(*NAMES)
    await house.park("ada", 600)
    await house.used("cyd", 10.0)
    await house.chooser.reload()
    house.place.fail()
    assert await house.order() == ["cyd", "bob"]
    house.clock.now += 601
    assert await house.order() == ["cyd", "ada", "bob"]


async def test_what_is_confirmed_is_not_looked_for_and_what_was_reloaded_is_known():
    house = House()
    await house.sign_in("ada", "bob")
    assert await house.chooser.reload() == (ACCOUNTS["ada"].id,)
    house.clock.now += 10 * A_SECOND
    house.chooser.confirm(house.clock.now)
    before = house.place.calls
    assert await house.chooser.account_ids() == (ACCOUNTS["ada"].id,)
    assert house.place.calls == before
    house.chooser.confirm(house.clock.now - 5 * A_SECOND)
    assert await house.chooser.account_ids() == (ACCOUNTS["ada"].id,)
    assert house.place.calls == before, "an older confirmation makes nothing older"


@pytest.mark.parametrize("pool", [(), ("ada",)])
async def test_an_emptied_store_does_not_sign_out_who_is_known(pool: tuple[str, ...]):
    house = House(*pool)
    await house.sign_in("ada")
    assert await house.order() == ["ada"]
    house.place.forget()
    house.clock.now += A_SECOND
    assert await house.order() == ["ada"]


async def test_the_accounts_are_looked_up_once_in_a_while():
    house = House()
    await house.sign_in("ada")
    await house.order()
    before = house.place.calls
    for _ in range(10):
        await house.order()
    assert house.place.calls == before + 10, "the board each time, the vault not"


async def test_a_pool_is_listed_again_only_when_somebody_came_left_or_changed(monkeypatch: pytest.MonkeyPatch):
    house = House("ada", "bob", "cyd")
    await house.sign_in("ada", "bob")
    logins, listed = house.one.vault.logins, []

    async def counted() -> list[Login]:
        listed.append(house.clock.now)
        return await logins()

    monkeypatch.setattr(house.one.vault, "logins", counted)
    elsewhere = house.worker().vault
    changes = [
        (lambda: house.sign_in("cyd"), ["ada", "bob", "cyd"]),
        (lambda: elsewhere.describe(ACCOUNTS["ada"], paused=True), ["bob", "cyd"]),
        (lambda: elsewhere.forget(ACCOUNTS["bob"].id), ["cyd"]),
        (lambda: elsewhere.describe(ACCOUNTS["ada"], paused=False), ["ada", "cyd"]),
    ]
    assert await house.order() == ["ada", "bob"]
    for number, (change, expected) in enumerate(changes, start=2):
        await change()
        for _ in range(10):
            house.clock.now += A_SECOND
            assert await house.order() == expected
        assert len(listed) == number
    house.clock.now += LISTED_SECONDS
    await house.order()
    assert len(listed) == len(changes) + 2, "and now and then all the same"


async def test_a_pool_in_a_store_that_was_emptied_is_whole_again_for_who_knew_nothing():
    house = House("ada", "bob")
    await house.sign_in("ada", "bob")
    assert await house.order() == ["ada", "bob"]
    house.place.forget()
    newcomer = AccountSelector(house.worker().vault, house.board, pool=("ada", "bob"), clock=house.clock)
    assert await newcomer.account_ids() == ()
    house.clock.now += A_SECOND
    assert await house.order() == ["ada", "bob"]
    assert await newcomer.account_ids() == (ACCOUNTS["ada"].id, ACCOUNTS["bob"].id)


async def test_what_a_pool_misses_is_said_once(caplog: pytest.LogCaptureFixture):
    house = House("ada", "bob", "cyd")
    await house.sign_in("ada")
    for _ in range(5):
        house.clock.now += LISTED_SECONDS
        assert await house.order() == ["ada"]
    await house.sign_in("bob")
    house.clock.now += A_SECOND
    assert await house.order() == ["ada", "bob"]
    assert [vars(record)["labels"] for record in caplog.records] == ["bob, cyd", "cyd"]


async def test_one_look_serves_a_crowd_that_comes_while_it_lasts(monkeypatch: pytest.MonkeyPatch):
    house = House()
    await house.sign_in("ada")
    await house.order()
    default, looks = house.one.vault.default, []

    async def slowly() -> str | None:
        looks.append(house.clock.now)
        await asyncio.sleep(0)
        return await default()

    monkeypatch.setattr(house.one.vault, "default", slowly)
    house.clock.now += A_SECOND
    assert await asyncio.gather(*(house.order() for _ in range(20))) == [["ada"]] * 20
    assert len(looks) == 1


@pytest.mark.parametrize("pool", [(), ("ada", "bob")])
async def test_who_is_bound_to_an_account_is_served_by_no_other(pool: tuple[str, ...]):
    house = House(*pool)
    await house.sign_in(*NAMES)
    await house.board.stick("c", ACCOUNTS["ada"].id, now=house.clock.now)
    assert await house.order(bound="cyd") == ["cyd"]
    await house.park("cyd", 600)
    with pytest.raises(AccountsExhausted) as caught:
        await house.order(bound="cyd")
    assert caught.value.retry_after_seconds == pytest.approx(600)
    assert (await house.order())[0] == "ada"
    house.place.fail()
    assert await house.order(bound="cyd") == ["cyd"]


async def test_who_is_bound_costs_one_look_at_the_board():
    house = House()
    await house.sign_in(*NAMES)
    before = house.place.calls
    await house.order(bound="bob")
    assert house.place.calls == before + 1
