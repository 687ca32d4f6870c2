from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from gptmock.accounts import AUTH_CLAIM, IssuedTokens, Secret, TokenSet
from gptmock.errors import (
    CredentialRefused,
    NotLoggedIn,
    RefreshRejected,
    RefreshUnavailable,
    StoreUnavailable,
)
from gptmock.gateway.credentials import CACHE_SECONDS, EARLY_JITTER, EARLY_SECONDS, NEEDED_SECONDS, CredentialKeeper
from gptmock.simulator.jwt import encode_jwt
from gptmock.stores.lease import StoreLease
from tests.gateway.memory import ACCOUNT, FIRST_PAUSE, Site, Worker, name_of
from tests.harness import until

A_SECOND = CACHE_SECONDS + 0.2
DUE_SECONDS = EARLY_SECONDS * (1 - EARLY_JITTER) - 1
"""A remaining lifetime at which every worker refreshes early, whatever its jitter."""


class House(Site):
    """A machine with one worker and a login."""

    one: Worker

    @property
    def keeper(self) -> CredentialKeeper:
        return self.one.keeper

    async def leased(self, worker: Worker | None = None) -> str:
        return await (worker or self.one).leased()

    async def login(self, number: int, *, left_seconds: float | None = 864_000) -> TokenSet:
        held = await super().login(number, left_seconds=left_seconds)
        self.clock.now += A_SECOND
        return held

    async def held_name(self) -> str:
        return name_of((await self.held()).access_token)


async def house_with(left_seconds: float | None) -> House:
    house = House()
    await Site.login(house, 1, left_seconds=left_seconds)
    house.one = house.worker()
    return house


# --- When ------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [EARLY_SECONDS * (1 + EARLY_JITTER) + 1, 864_000, None])
async def test_a_fresh_token_is_leased_and_nobody_is_asked(left: float | None):
    house = await house_with(left)
    assert await house.leased() == "access-1"
    await house.keeper.close()
    assert (house.issuer.calls, house.place.leases) == ([], {})


@pytest.mark.parametrize("left", [DUE_SECONDS, NEEDED_SECONDS + 1])
async def test_near_expiry_the_request_does_not_wait_for_the_refresh(left: float):
    house = await house_with(left)
    house.issuer.gate.clear()
    assert await house.leased() == "access-1"
    assert await house.leased() == "access-1"
    house.issuer.gate.set()
    await house.keeper.close()
    house.clock.now += A_SECOND
    assert await house.leased() == "access-2"
    assert house.issuer.calls == ["refresh-1"]


@pytest.mark.parametrize("left", [NEEDED_SECONDS, 0, -1_000_000])
async def test_an_expired_token_is_never_leased(left: float):
    house = await house_with(left)
    assert await house.leased() == "access-2"
    assert await house.held_name() == "access-2"


async def test_nobody_logged_in_is_said_as_it_is():
    house = House()
    house.one = house.worker()
    with pytest.raises(NotLoggedIn):
        await house.keeper.lease(ACCOUNT.id)


# --- Once ------------------------------------------------------------------------------


async def test_a_hundred_waiters_share_one_exchange():
    house = await house_with(0)
    house.issuer.gate.clear()
    waiting = [asyncio.ensure_future(house.leased()) for _ in range(100)]
    await until(lambda: bool(house.issuer.calls))
    house.issuer.gate.set()
    assert await asyncio.gather(*waiting) == ["access-2"] * 100
    assert (house.issuer.calls, house.escrow.puts) == (["refresh-1"], 1)
    assert await house.held_name() == "access-2"


async def test_workers_share_one_exchange_through_the_lock():
    house = await house_with(0)
    workers = [house.worker() for _ in range(4)]
    leased = await asyncio.gather(*(house.leased(worker) for worker in workers for _ in range(25)))
    assert leased == ["access-2"] * 100
    assert house.issuer.calls == ["refresh-1"]


async def test_workers_share_one_refusal_through_the_vault():
    house = await house_with(0)
    house.issuer.living = {"another"}
    workers = [house.worker() for _ in range(4)]
    leased = await asyncio.gather(
        *(house.leased(worker) for worker in workers for _ in range(25)), return_exceptions=True
    )
    assert all(isinstance(each, RefreshRejected) for each in leased)
    assert house.issuer.calls == ["refresh-1"]
    assert (await house.held()).refused == "reused"


async def test_a_waiter_that_leaves_does_not_stop_the_exchange():
    house = await house_with(0)
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
    house = await house_with(0)
    house.issuer.gate.clear()
    leaving = asyncio.ensure_future(house.leased())
    await until(lambda: bool(house.issuer.calls))
    leaving.cancel()
    await asyncio.wait({leaving})
    house.issuer.gate.set()
    await house.keeper.close()
    assert await house.held_name() == "access-2"
    assert await house.leased() == "access-2"


async def test_closing_waits_until_a_spent_token_is_saved():
    house = await house_with(DUE_SECONDS)
    house.issuer.gate.clear()
    await house.leased()
    await until(lambda: bool(house.issuer.calls))
    closing = asyncio.ensure_future(house.keeper.close())
    await asyncio.sleep(0)
    assert not closing.done()
    house.issuer.gate.set()
    await closing
    assert await house.held_name() == "access-2"


# --- Failures --------------------------------------------------------------------------


async def test_a_refusal_for_good_is_remembered_and_not_repeated():
    house = await house_with(0)
    house.issuer.errors = [RefreshRejected("the login has ended")]
    for _ in range(3):
        with pytest.raises(RefreshRejected) as caught:
            await house.keeper.lease(ACCOUNT.id)
        assert caught.value.code == "login_required"
    assert house.issuer.calls == ["refresh-1"]
    assert (await house.held()).refused == "the login has ended"


async def test_after_a_refusal_the_living_token_serves_on_in_silence(caplog: pytest.LogCaptureFixture):
    house = await house_with(DUE_SECONDS)
    house.issuer.errors = [RefreshRejected("the login has ended")]
    for _ in range(20):
        assert await house.leased() == "access-1"
        await house.keeper.close()
        house.clock.now += 0.1
    assert house.issuer.calls == ["refresh-1"]
    assert [record.getMessage() for record in caplog.records] == ["account.refresh_failed"]


async def test_a_new_login_after_a_refusal_serves_at_once():
    house = await house_with(0)
    house.issuer.errors = [RefreshRejected("the login has ended")]
    with pytest.raises(RefreshRejected):
        await house.keeper.lease(ACCOUNT.id)
    await house.login(7)
    assert await house.leased() == "access-7"


async def test_a_transient_failure_is_not_remembered_in_the_vault():
    house = await house_with(0)
    house.issuer.errors = [RefreshUnavailable("down", retry_after_seconds=10)]
    with pytest.raises(RefreshUnavailable) as caught:
        await house.keeper.lease(ACCOUNT.id)
    assert (caught.value.code, caught.value.status_hint) == ("auth_unavailable", 503)
    assert (await house.held()).refused is None


async def test_after_a_transient_failure_the_issuer_is_left_alone_for_a_while():
    house = await house_with(0)
    house.issuer.errors = [RefreshUnavailable("down", retry_after_seconds=10)]
    for _ in range(10):
        with pytest.raises(RefreshUnavailable) as caught:
            await house.keeper.lease(ACCOUNT.id)
        assert caught.value.retry_after_seconds == FIRST_PAUSE
    assert len(house.issuer.calls) == 1
    house.clock.now += FIRST_PAUSE
    assert (await house.leased()).startswith("access-")
    assert len(house.issuer.calls) == 2


async def test_no_request_fails_while_its_token_lives_and_the_issuer_is_down():
    house = await house_with(DUE_SECONDS)
    house.issuer.errors = [RefreshUnavailable("down") for _ in range(100)]
    for _ in range(20):
        assert await house.leased() == "access-1"
        await house.keeper.close()
    assert len(house.issuer.calls) == 1
    house.clock.now += FIRST_PAUSE
    await house.leased()
    await house.keeper.close()
    assert len(house.issuer.calls) == 2


async def test_a_lease_of_another_worker_is_waited_for_by_those_who_need_it_and_no_others():
    house = await house_with(DUE_SECONDS)
    other = StoreLease(house.worker().store, ACCOUNT.id, owner="other", ttl_seconds=2 * EARLY_SECONDS)
    assert await other.acquire()
    assert await house.leased() == "access-1"
    house.clock.now += EARLY_SECONDS - NEEDED_SECONDS
    waiting = asyncio.ensure_future(house.leased())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert house.issuer.calls == []
    await other.release()
    assert await waiting == "access-2"
    assert house.issuer.calls == ["refresh-1"]


async def test_an_unforeseen_failure_in_the_background_is_in_the_log(caplog: pytest.LogCaptureFixture):
    house = await house_with(DUE_SECONDS)
    house.issuer.errors = [ZeroDivisionError("planted")]
    assert await house.leased() == "access-1"
    await house.keeper.close()
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert record.getMessage() == "account.refresh_broken"
    assert record.exc_info is not None
    house.clock.now += A_SECOND
    assert await house.leased() == "access-1"
    await house.keeper.close()
    house.clock.now += A_SECOND
    assert await house.leased() == "access-3", "the next one works"


async def test_tokens_that_could_not_be_saved_serve_are_saved_later_and_nothing_is_spent_twice():
    house = await house_with(0)
    house.issuer.spent = house.place.fail
    for _ in range(20):
        assert await house.leased() == "access-2"
        house.clock.now += A_SECOND
    assert (house.issuer.calls, house.escrow.puts) == (["refresh-1"], 1)
    house.issuer.spent = lambda: None
    house.place.recover()
    house.place.leases.clear()  # it has ended by itself
    assert await house.leased() == "access-2"
    assert await house.held_name() == "access-2"
    await house.keeper.close()
    assert house.escrow.kept == {}
    house.clock.now += 900_000
    assert await house.leased() == "access-3"
    assert house.issuer.calls == ["refresh-1", "refresh-2"]


async def test_tokens_that_were_never_saved_do_not_overwrite_a_new_login():
    house = await house_with(0)
    house.issuer.spent = house.place.fail
    assert await house.leased() == "access-2"
    house.issuer.spent = lambda: None
    house.place.recover()
    house.place.leases.clear()  # it has ended by itself
    await house.login(7)
    assert await house.leased() == "access-7"
    await house.keeper.close()
    assert await house.held_name() == "access-7"
    house.clock.now += 864_000
    assert await house.leased() == "access-3"
    assert house.issuer.calls == ["refresh-1", "refresh-7"]


# --- What is taken ---------------------------------------------------------------------


def jwt_of(workspace: str) -> Secret:
    return Secret(encode_jwt({AUTH_CLAIM: {"chatgpt_account_id": workspace}}))


async def test_tokens_of_another_account_are_not_taken():
    house = await house_with(0)
    house.issuer.answers = [IssuedTokens(jwt_of("w-2"), Secret("refresh-2"), None)]
    with pytest.raises(RefreshUnavailable, match="another account"):
        await house.keeper.lease(ACCOUNT.id)
    assert await house.held_name() == "access-1"
    assert (await house.held()).refused is None


async def test_tokens_of_the_same_account_are_taken():
    house = await house_with(0)
    house.issuer.answers = [IssuedTokens(jwt_of("w-1"), Secret("refresh-2"), None)]
    credential = await house.keeper.lease(ACCOUNT.id)
    assert (await house.held()).access_token == credential.access_token == jwt_of("w-1")


async def test_without_a_refresh_token_the_access_token_serves_to_its_end():
    house = await house_with(DUE_SECONDS)
    await house.worker().vault.enroll(replace(await house.held(), refresh_token=None))
    assert await house.leased() == "access-1"
    house.clock.now += EARLY_SECONDS
    with pytest.raises(RefreshRejected, match="gptmock login"):
        await house.keeper.lease(ACCOUNT.id)
    assert house.issuer.calls == []


async def test_a_login_made_while_waiting_for_the_lease_is_used():
    house = await house_with(0)
    other = house.worker().lease_of(ACCOUNT.id)
    assert await other.acquire()
    leasing = asyncio.ensure_future(house.leased())
    await asyncio.sleep(0.01)
    await house.login(7)
    assert await leasing == "access-7"
    assert house.issuer.calls == []


async def test_a_login_made_during_the_exchange_wins():
    house = await house_with(0)
    house.issuer.gate.clear()
    leasing = asyncio.ensure_future(house.leased())
    await until(lambda: bool(house.issuer.calls))
    await house.login(7)
    house.issuer.gate.set()
    assert await leasing == "access-7"
    assert await house.held_name() == "access-7"
    assert house.issuer.calls == ["refresh-1"]


# --- After a 401 -----------------------------------------------------------------------


async def test_a_refused_credential_is_renewed_once_for_all():
    house = await house_with(864_000)
    refused = await house.keeper.lease(ACCOUNT.id)
    renewed = await asyncio.gather(*(house.keeper.renew(refused) for _ in range(100)))
    assert {name_of(each.access_token) for each in renewed} == {"access-2"}
    assert house.issuer.calls == ["refresh-1"]


async def test_a_credential_refused_late_gets_the_newer_one_and_asks_nobody():
    house = await house_with(864_000)
    refused = await house.keeper.lease(ACCOUNT.id)
    await house.keeper.renew(refused)
    late = await house.keeper.renew(refused)
    assert name_of(late.access_token) == "access-2"
    assert house.issuer.calls == ["refresh-1"]


async def test_a_newer_token_of_another_worker_is_used_after_a_401():
    house = await house_with(864_000)
    refused = await house.keeper.lease(ACCOUNT.id)
    await house.worker().keeper.renew(refused)
    assert name_of((await house.keeper.renew(refused)).access_token) == "access-2"
    assert house.issuer.calls == ["refresh-1"]


async def test_workers_share_one_exchange_after_a_401():
    house = await house_with(864_000)
    workers = [house.worker() for _ in range(4)]
    refused = [await worker.keeper.lease(ACCOUNT.id) for worker in workers]
    renewed = await asyncio.gather(
        *(worker.keeper.renew(one) for worker, one in zip(workers, refused, strict=True) for _ in range(25))
    )
    assert {name_of(each.access_token) for each in renewed} == {"access-2"}
    assert house.issuer.calls == ["refresh-1"]


async def test_a_credential_that_stays_the_same_is_not_tried_again():
    house = await house_with(864_000)
    refused = await house.keeper.lease(ACCOUNT.id)
    house.issuer.answers = [IssuedTokens(None, Secret("refresh-2"), None)]
    with pytest.raises(CredentialRefused) as caught:
        await house.keeper.renew(refused)
    assert (caught.value.status_hint, caught.value.should_retry) == (503, False)


async def test_another_seal_over_the_same_tokens_is_no_renewal():
    house = await house_with(864_000)
    refused = await house.keeper.lease(ACCOUNT.id)
    held = await house.held()
    await house.worker().vault.replace(held, replace(held, version=held.version + 1))
    assert name_of((await house.keeper.renew(refused)).access_token) == "access-2"
    assert house.issuer.calls == ["refresh-1"]


async def test_a_401_with_nothing_to_renew_it_needs_a_login():
    house = await house_with(864_000)
    await house.worker().vault.enroll(replace(await house.held(), refresh_token=None))
    refused = await house.keeper.lease(ACCOUNT.id)
    with pytest.raises(RefreshRejected):
        await house.keeper.renew(refused)


# --- The store in trouble --------------------------------------------------------------


async def test_what_is_known_serves_while_the_store_is_away():
    house = await house_with(DUE_SECONDS)
    assert await house.leased() == "access-1"
    house.place.fail()
    for _ in range(10):
        house.clock.now += A_SECOND
        assert await house.leased() == "access-1"
        await house.keeper.close()
    assert house.issuer.calls == [], "no lease, no spending"
    house.clock.now += EARLY_SECONDS
    with pytest.raises(RefreshUnavailable) as caught:
        await house.leased()
    assert caught.value.code == "auth_unavailable"
    assert caught.value.retry_after_seconds == FIRST_PAUSE
    assert house.issuer.calls == []


async def test_tokens_renewed_for_nobody_serve_when_the_store_has_died_meanwhile():
    house = await house_with(DUE_SECONDS)
    house.issuer.spent = house.place.fail
    assert await house.leased() == "access-1"
    await until(lambda: bool(house.escrow.kept))
    await asyncio.sleep(0.01)
    house.clock.now += DUE_SECONDS
    assert await house.leased() == "access-2"
    house.place.recover()
    await house.keeper.close()
    assert await house.held_name() == "access-2"


async def test_a_401_for_an_old_token_is_answered_by_a_newer_one_without_the_store():
    house = await house_with(864_000)
    refused = await house.keeper.lease(ACCOUNT.id)
    await house.keeper.renew(refused)
    house.place.fail()
    assert name_of((await house.keeper.renew(refused)).access_token) == "access-2"


async def test_a_store_that_does_not_answer_is_asked_once_in_a_while():
    house = await house_with(864_000)
    await house.leased()
    house.place.fail()
    house.clock.now += A_SECOND
    asked = house.place.calls
    for _ in range(100):
        assert await house.leased() == "access-1"
    assert house.place.calls == asked + 1


async def test_nothing_known_and_no_store_is_the_stores_fault():
    house = await house_with(864_000)
    house.place.fail()
    with pytest.raises(StoreUnavailable):
        await house.leased()


@pytest.mark.parametrize("error", [RefreshUnavailable("down"), RefreshRejected("the login has ended")])
async def test_a_token_short_of_life_serves_when_no_other_can_be_had(error: Exception):
    house = await house_with(NEEDED_SECONDS - 1)
    house.issuer.errors = [error]
    assert await house.leased() == "access-1"
    assert await house.leased() == "access-1"
    house.clock.now += NEEDED_SECONDS
    house.issuer.errors = [error]
    with pytest.raises(type(error)):
        await house.leased()


@pytest.mark.parametrize("error", [RefreshUnavailable("down"), RefreshRejected("the login has ended")])
async def test_a_request_that_waited_in_vain_is_served_by_a_login_that_came_meanwhile(error: Exception):
    house = await house_with(-1)
    house.issuer.gate.clear()
    house.issuer.errors = [error]
    waiting = asyncio.ensure_future(house.leased())
    await until(lambda: bool(house.issuer.calls))
    await house.login(5, left_seconds=864_000)
    house.clock.now += A_SECOND
    # Another request looks at the store, and so learns of the login.
    assert await house.leased() == "access-5"
    house.issuer.gate.set()
    assert await waiting == "access-5"


async def test_a_logout_anywhere_is_seen_here_within_a_second():
    house = await house_with(864_000)
    await house.leased()
    await house.worker().vault.forget(ACCOUNT.id)
    house.clock.now += A_SECOND
    for _ in range(3):
        with pytest.raises(NotLoggedIn):
            await house.leased()


async def test_one_look_answers_all_who_want_one():
    house = await house_with(864_000)
    asked = house.place.calls
    assert await asyncio.gather(*(house.leased() for _ in range(100))) == ["access-1"] * 100
    assert house.place.calls == asked + 1


# --- Readiness -------------------------------------------------------------------------


async def test_a_problem_is_told_only_when_nothing_can_be_done():
    house = await house_with(0)
    assert await house.keeper.problem(ACCOUNT.id) is None, "it may be renewed"
    held = await house.held()
    await house.worker().vault.refuse(held, reason="ended")
    house.clock.now += A_SECOND
    problem = await house.keeper.problem(ACCOUNT.id)
    assert isinstance(problem, RefreshRejected)
    await house.login(7)
    assert await house.keeper.problem(ACCOUNT.id) is None
    await house.worker().vault.forget(ACCOUNT.id)
    house.clock.now += A_SECOND
    assert isinstance(await house.keeper.problem(ACCOUNT.id), NotLoggedIn)
