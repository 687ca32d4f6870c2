from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from gptmock.accounts import AUTH_CLAIM, IssuedTokens, Secret
from gptmock.errors import (
    CredentialRefused,
    LockBusy,
    NotLoggedIn,
    RefreshRejected,
    RefreshUnavailable,
    StoreUnavailable,
)
from gptmock.gateway.credentials import EARLY_SECONDS, NEEDED_SECONDS, PAUSE_SECONDS, CredentialKeeper
from gptmock.simulator.jwt import encode_jwt
from tests.gateway.memory import Clock, MemoryIssuer, MemoryLock, MemoryVault, tokens
from tests.harness import until


class House:
    """A keeper and all that it knows."""

    def __init__(self, left_seconds: float | None) -> None:
        self.clock = Clock()
        expires_at = None if left_seconds is None else self.clock.now + left_seconds
        self.vault = MemoryVault(tokens(1, expires_at=expires_at))
        self.lock = MemoryLock()
        self.issuer = MemoryIssuer()
        self.keeper = self.worker()

    def worker(self) -> CredentialKeeper:
        """Another process would have its own keeper, and share the rest."""
        return CredentialKeeper(self.vault, self.lock, self.issuer, clock=self.clock)

    async def leased(self, keeper: CredentialKeeper | None = None) -> str:
        return (await (keeper or self.keeper).lease()).access_token.reveal()


# --- When ------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [EARLY_SECONDS + 1, 864_000, None])
async def test_a_fresh_token_is_leased_and_nobody_is_asked(left: float | None):
    house = House(left)
    assert await house.leased() == "access-1"
    await house.keeper.close()
    assert (house.issuer.calls, house.lock.holds) == ([], 0)


@pytest.mark.parametrize("left", [EARLY_SECONDS, NEEDED_SECONDS + 1])
async def test_near_expiry_the_request_does_not_wait_for_the_refresh(left: float):
    house = House(left)
    house.issuer.gate.clear()
    assert await house.leased() == "access-1"
    assert await house.leased() == "access-1"
    house.issuer.gate.set()
    await house.keeper.close()
    assert await house.leased() == "access-2"
    assert house.issuer.calls == ["refresh-1"]


@pytest.mark.parametrize("left", [NEEDED_SECONDS, 0, -1_000_000])
async def test_an_expired_token_is_never_leased(left: float):
    house = House(left)
    assert await house.leased() == "access-2"
    assert house.vault.saves == 1


async def test_nobody_logged_in_is_said_as_it_is():
    house = House(0)
    house.vault.held = None
    with pytest.raises(NotLoggedIn):
        await house.keeper.lease()


# --- Once ------------------------------------------------------------------------------


async def test_a_hundred_waiters_share_one_exchange():
    house = House(0)
    house.issuer.gate.clear()
    waiting = [asyncio.ensure_future(house.leased()) for _ in range(100)]
    await until(lambda: bool(house.issuer.calls))
    house.issuer.gate.set()
    assert await asyncio.gather(*waiting) == ["access-2"] * 100
    assert (house.issuer.calls, house.lock.holds, house.vault.saves) == (["refresh-1"], 1, 1)


async def test_workers_share_one_exchange_through_the_lock():
    house = House(0)
    workers = [house.worker() for _ in range(4)]
    leased = await asyncio.gather(*(house.leased(worker) for worker in workers for _ in range(25)))
    assert leased == ["access-2"] * 100
    assert house.issuer.calls == ["refresh-1"]


async def test_workers_share_one_refusal_through_the_vault():
    house = House(0)
    house.issuer.living = "another"
    workers = [house.worker() for _ in range(4)]
    leased = await asyncio.gather(
        *(house.leased(worker) for worker in workers for _ in range(25)), return_exceptions=True
    )
    assert all(isinstance(each, RefreshRejected) for each in leased)
    assert house.issuer.calls == ["refresh-1"]
    assert house.vault.rejected == ["reused"]


async def test_a_waiter_that_leaves_does_not_stop_the_exchange():
    house = House(0)
    house.issuer.gate.clear()
    leaving, staying = asyncio.ensure_future(house.leased()), asyncio.ensure_future(house.leased())
    await until(lambda: bool(house.issuer.calls))
    leaving.cancel()
    await asyncio.wait({leaving})
    assert leaving.cancelled()
    house.issuer.gate.set()
    assert await staying == "access-2"
    assert house.issuer.calls == ["refresh-1"]


async def test_the_last_waiter_that_leaves_does_not_stop_the_exchange_either():
    house = House(0)
    house.issuer.gate.clear()
    leaving = asyncio.ensure_future(house.leased())
    await until(lambda: bool(house.issuer.calls))
    leaving.cancel()
    await asyncio.wait({leaving})
    house.issuer.gate.set()
    await house.keeper.close()
    assert house.vault.saves == 1
    assert await house.leased() == "access-2"


async def test_closing_waits_until_a_spent_token_is_saved():
    house = House(EARLY_SECONDS)
    house.issuer.gate.clear()
    await house.leased()
    await until(lambda: bool(house.issuer.calls))
    closing = asyncio.ensure_future(house.keeper.close())
    await asyncio.sleep(0)
    assert not closing.done()
    house.issuer.gate.set()
    await closing
    assert house.vault.saves == 1


# --- Failures --------------------------------------------------------------------------


async def test_a_refusal_for_good_is_remembered_and_not_repeated():
    house = House(0)
    house.issuer.errors = [RefreshRejected("the login has ended")]
    for _ in range(3):
        with pytest.raises(RefreshRejected) as caught:
            await house.keeper.lease()
        assert caught.value.code == "login_required"
    assert house.issuer.calls == ["refresh-1"]
    assert house.vault.rejected == ["the login has ended"]


async def test_after_a_refusal_the_living_token_serves_on_in_silence(caplog: pytest.LogCaptureFixture):
    house = House(EARLY_SECONDS)
    house.issuer.errors = [RefreshRejected("the login has ended")]
    for _ in range(20):
        assert await house.leased() == "access-1"
        await house.keeper.close()
    assert house.issuer.calls == ["refresh-1"]
    assert [record.getMessage() for record in caplog.records] == ["account.refresh_failed"]


async def test_a_new_login_after_a_refusal_serves_at_once():
    house = House(0)
    house.issuer.errors = [RefreshRejected("the login has ended")]
    with pytest.raises(RefreshRejected):
        await house.keeper.lease()
    house.vault.held = tokens(7, expires_at=house.clock.now + 864_000)
    assert await house.leased() == "access-7"


async def test_a_transient_failure_is_not_remembered_in_the_vault():
    house = House(0)
    house.issuer.errors = [RefreshUnavailable("down", retry_after_seconds=10)]
    with pytest.raises(RefreshUnavailable) as caught:
        await house.keeper.lease()
    assert (caught.value.code, caught.value.status_hint) == ("auth_unavailable", 503)
    assert house.vault.rejected == []


async def test_after_a_transient_failure_the_issuer_is_left_alone_for_a_while():
    house = House(0)
    house.issuer.errors = [RefreshUnavailable("down", retry_after_seconds=10)]
    for _ in range(10):
        with pytest.raises(RefreshUnavailable) as caught:
            await house.keeper.lease()
        assert caught.value.retry_after_seconds == 10
    assert len(house.issuer.calls) == 1
    house.clock.now += PAUSE_SECONDS
    assert (await house.leased()).startswith("access-")
    assert len(house.issuer.calls) == 2


async def test_no_request_fails_while_its_token_lives_and_the_issuer_is_down():
    house = House(EARLY_SECONDS)
    house.issuer.errors = [RefreshUnavailable("down") for _ in range(100)]
    for _ in range(20):
        assert await house.leased() == "access-1"
        await house.keeper.close()
    assert len(house.issuer.calls) == 1
    house.clock.now += PAUSE_SECONDS
    await house.leased()
    await house.keeper.close()
    assert len(house.issuer.calls) == 2


async def test_a_busy_lock_fails_those_who_need_it_and_no_others():
    house = House(EARLY_SECONDS)
    house.lock.busy = True
    assert await house.leased() == "access-1"
    await house.keeper.close()
    house.clock.now += EARLY_SECONDS
    with pytest.raises(LockBusy):
        await house.keeper.lease()
    assert house.issuer.calls == []


async def test_an_unforeseen_failure_in_the_background_is_in_the_log(caplog: pytest.LogCaptureFixture):
    house = House(EARLY_SECONDS)
    house.issuer.errors = [ZeroDivisionError("planted")]
    assert await house.leased() == "access-1"
    await house.keeper.close()
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert record.getMessage() == "account.refresh_broken"
    assert record.exc_info is not None
    assert await house.leased() == "access-1"
    await house.keeper.close()
    assert await house.leased() == "access-3", "the next one works"


async def test_tokens_that_could_not_be_saved_are_saved_later_and_nothing_is_spent_twice():
    house = House(0)
    house.vault.save_errors = [StoreUnavailable("full"), StoreUnavailable("still full")]
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await house.keeper.lease()
    assert await house.leased() == "access-2"
    assert house.issuer.calls == ["refresh-1"]
    house.clock.now += 900_000
    assert await house.leased() == "access-3"
    assert house.issuer.calls == ["refresh-1", "refresh-2"]


async def test_tokens_that_were_never_saved_do_not_overwrite_a_new_login():
    house = House(0)
    house.vault.save_errors = [StoreUnavailable("full")]
    with pytest.raises(StoreUnavailable):
        await house.keeper.lease()
    house.vault.held = tokens(7, expires_at=house.clock.now + 864_000)
    house.issuer.living = "refresh-7"
    assert await house.leased() == "access-7"
    house.clock.now += 864_000
    assert await house.leased() == "access-3"
    assert house.issuer.calls == ["refresh-1", "refresh-7"]


# --- What is taken ---------------------------------------------------------------------


def jwt_of(workspace: str) -> Secret:
    return Secret(encode_jwt({AUTH_CLAIM: {"chatgpt_account_id": workspace}}))


async def test_tokens_of_another_account_are_not_taken():
    house = House(0)
    house.issuer.answers = [IssuedTokens(jwt_of("w-2"), Secret("refresh-2"), None)]
    with pytest.raises(RefreshUnavailable, match="another account"):
        await house.keeper.lease()
    assert house.vault.saves == 0
    assert house.vault.rejected == []


async def test_tokens_of_the_same_account_are_taken():
    house = House(0)
    house.issuer.answers = [IssuedTokens(jwt_of("w-1"), Secret("refresh-2"), None)]
    await house.keeper.lease()
    assert house.vault.saves == 1


async def test_without_a_refresh_token_the_access_token_serves_to_its_end():
    house = House(EARLY_SECONDS)
    assert house.vault.held is not None
    house.vault.held = replace(house.vault.held, refresh_token=None)
    assert await house.leased() == "access-1"
    house.clock.now += EARLY_SECONDS
    with pytest.raises(RefreshRejected, match="GPTMOCK_HOME"):
        await house.keeper.lease()
    assert house.issuer.calls == []


async def test_a_login_made_while_waiting_for_the_lock_is_used():
    house = House(0)
    async with house.lock.hold():
        leasing = asyncio.ensure_future(house.leased())
        await asyncio.sleep(0.01)
        house.vault.held = tokens(7, expires_at=house.clock.now + 864_000)
    assert await leasing == "access-7"
    assert house.issuer.calls == []


async def test_a_login_made_during_the_exchange_wins():
    house = House(0)
    house.issuer.gate.clear()
    leasing = asyncio.ensure_future(house.leased())
    await until(lambda: bool(house.issuer.calls))
    house.vault.held = tokens(7, expires_at=house.clock.now + 864_000)
    house.issuer.gate.set()
    assert await leasing == "access-7"
    assert house.vault.saves == 0


# --- After a 401 -----------------------------------------------------------------------


async def test_a_refused_credential_is_renewed_once_for_all():
    house = House(864_000)
    refused = await house.keeper.lease()
    renewed = await asyncio.gather(*(house.keeper.renew(refused) for _ in range(100)))
    assert {each.access_token.reveal() for each in renewed} == {"access-2"}
    assert house.issuer.calls == ["refresh-1"]


async def test_a_credential_refused_late_gets_the_newer_one_and_asks_nobody():
    house = House(864_000)
    refused = await house.keeper.lease()
    await house.keeper.renew(refused)
    late = await house.keeper.renew(refused)
    assert late.access_token.reveal() == "access-2"
    assert house.issuer.calls == ["refresh-1"]


async def test_a_newer_token_of_another_worker_is_used_after_a_401():
    house = House(864_000)
    refused = await house.keeper.lease()
    await house.worker().renew(refused)
    assert (await house.keeper.renew(refused)).access_token.reveal() == "access-2"
    assert house.issuer.calls == ["refresh-1"]


async def test_a_credential_that_stays_the_same_is_not_tried_again():
    house = House(864_000)
    refused = await house.keeper.lease()
    house.issuer.answers = [IssuedTokens(None, None, None)]
    assert house.vault.held is not None
    house.vault.held = replace(house.vault.held, version="access-1/refresh-1")
    with pytest.raises(CredentialRefused) as caught:
        await house.keeper.renew(replace(refused, version="access-1/refresh-1"))
    assert (caught.value.status_hint, caught.value.should_retry) == (503, False)


async def test_a_401_with_nothing_to_renew_it_needs_a_login():
    house = House(864_000)
    assert house.vault.held is not None
    house.vault.held = replace(house.vault.held, refresh_token=None)
    with pytest.raises(RefreshRejected):
        await house.keeper.renew(await house.keeper.lease())
