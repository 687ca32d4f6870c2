from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from gptmock.accounts import AUTH_CLAIM, PROFILE_CLAIM, ROTATION_STEP, IssuedTokens, Secret, TokenSet, Trouble
from gptmock.errors import NotLoggedIn, RefreshRejected, RefreshUnanswered, RefreshUnavailable, StoreUnavailable
from gptmock.gateway import refresh as procedure
from gptmock.gateway.issuer_backoff import LAST_SECONDS
from gptmock.gateway.refresh import EXCHANGE_SECONDS, STORE_BACKOFF_SECONDS, Refresher
from gptmock.simulator.jwt import encode_jwt
from tests.gateway.memory import ACCOUNT, FIRST_PAUSE, LIFE_SECONDS, Site, Worker, access, name_of
from tests.harness import until


class House(Site):
    """A machine with a login and a worker that has seen it."""

    one: Worker
    seen: TokenSet

    @property
    def refresher(self) -> Refresher:
        return self.one.refresher

    async def refreshed(self, worker: Worker | None = None) -> str:
        return name_of((await (worker or self.one).refresher.refresh(self.seen)).access_token)

    async def held_name(self) -> str:
        return name_of((await self.held()).access_token)


@pytest.fixture
async def house() -> House:
    made = House()
    made.seen = await made.login(1, left_seconds=0)
    made.one = made.worker()
    return made


class Lease:
    """A lease whose results the test sets."""

    def __init__(self, *, left: float = 15.0, renewable: bool = True, stop: Callable[[], None] = lambda: None) -> None:
        self.left = left
        self.renewable = renewable
        self.stop = stop
        self.released = 0

    async def acquire(self) -> bool:
        return True

    async def renew(self) -> bool:
        return self.renewable

    async def left_seconds(self) -> float:
        self.stop()
        return self.left

    async def release(self) -> None:
        self.released += 1

    async def trouble(self) -> Trouble:
        return Trouble()

    async def report(self, trouble: Trouble) -> None:
        pass


def under(house: House, lease: Lease) -> Refresher:
    return Refresher(house.one.vault, lambda _: lease, house.issuer, house.escrow, clock=house.clock)


# --- One exchange ----------------------------------------------------------------------


async def test_a_refresh_is_one_exchange_and_leaves_nothing_behind(house: House):
    tokens = await house.refresher.refresh(house.seen)
    assert house.issuer.calls == ["refresh-1"]
    assert await house.held() == tokens
    assert tokens.version == house.seen.version + ROTATION_STEP
    assert tokens.last_refresh == house.clock.now
    assert tokens.expires_at == house.clock.now + LIFE_SECONDS
    assert (house.escrow.puts, house.escrow.kept) == (1, {})
    assert not house.lease_is_taken()


async def test_a_process_asks_once_for_all_who_want_it(house: House):
    house.issuer.gate.clear()
    waiting = [asyncio.ensure_future(house.refreshed()) for _ in range(100)]
    await until(lambda: bool(house.issuer.calls))
    house.refresher.start(house.seen)
    house.issuer.gate.set()
    assert await asyncio.gather(*waiting) == ["access-2"] * 100
    assert house.issuer.calls == ["refresh-1"]


async def test_a_flight_for_older_tokens_is_not_the_answer_to_those_it_brings_home(house: House):
    """The upstream refuses the refreshed token, too, while callers wait: a second exchange is needed."""
    house.issuer.gate.clear()
    first = asyncio.ensure_future(house.refresher.refresh(house.seen))
    await until(lambda: bool(house.issuer.calls))
    # Another process learnt of them first, used them and was told 401; it asks here while the flight still lands.
    newer = replace(
        house.seen,
        version=house.seen.version + ROTATION_STEP,
        access_token=access("access-2", house.clock.now + LIFE_SECONDS),
        refresh_token=Secret("refresh-2"),
    )
    second = asyncio.ensure_future(house.refresher.refresh(newer))
    await asyncio.sleep(0)
    house.issuer.gate.set()
    assert name_of((await first).access_token) == "access-2"
    assert name_of((await second).access_token) == "access-3"
    assert house.issuer.calls == ["refresh-1", "refresh-2"]


async def test_an_ended_task_whose_callback_has_not_run_is_not_joined(house: House, monkeypatch: pytest.MonkeyPatch):
    landed, loop = house.refresher._finished, asyncio.get_running_loop()
    monkeypatch.setattr(house.refresher, "_finished", lambda *flight: loop.call_soon(landed, *flight))
    newer = await house.refresher.refresh(house.seen)
    # A second ago it was the newest; the upstream refused it meanwhile, and the loop has not turned since.
    assert name_of((await house.refresher.refresh(newer)).access_token) == "access-3"


async def test_workers_ask_once_for_all_of_them(house: House):
    workers = [house.worker() for _ in range(8)]
    names = await asyncio.gather(*(house.refreshed(worker) for worker in workers for _ in range(10)))
    assert names == ["access-2"] * 80
    assert house.issuer.calls == ["refresh-1"]
    assert house.escrow.puts == 1


async def test_each_account_has_a_flight_of_its_own(house: House):
    other = replace(house.seen, account=replace(ACCOUNT, user_id="u-2"), refresh_token=Secret("refresh-other"))
    house.issuer.living |= {"refresh-other"}
    enrolled = await house.one.vault.enroll(other)
    house.issuer.gate.clear()
    flights = [asyncio.ensure_future(house.refresher.refresh(one)) for one in (house.seen, enrolled)]
    await until(lambda: len(house.issuer.calls) == 2)
    house.issuer.gate.set()
    await asyncio.gather(*flights)
    assert sorted(house.issuer.calls) == ["refresh-1", "refresh-other"]


# --- The lease -------------------------------------------------------------------------


async def test_newer_tokens_found_while_waiting_for_the_lease_are_taken(house: House):
    other = house.worker()
    lease = other.lease_of(ACCOUNT.id)
    assert await lease.acquire()
    waiting = asyncio.ensure_future(house.refreshed())
    await asyncio.sleep(0.05)
    await other.vault.replace(house.seen, replace(house.seen, version=house.seen.version + 9, access_token=Secret("x")))
    assert await waiting == "x"
    assert house.issuer.calls == []


async def test_newer_tokens_found_under_the_lease_are_taken(house: House):
    other = house.worker()
    await house.refreshed(other)
    assert await house.refreshed() == "access-2"
    assert house.issuer.calls == ["refresh-1"]
    assert not house.lease_is_taken()


async def test_the_same_tokens_under_another_version_are_not_newer(house: House):
    await house.worker().vault.replace(house.seen, replace(house.seen, version=house.seen.version + 1))
    assert await house.refreshed() == "access-2"


async def test_a_login_that_was_refused_meanwhile_is_not_asked_for_again(house: House):
    await house.worker().vault.refuse(house.seen, reason="ended")
    with pytest.raises(RefreshRejected, match="ended"):
        await house.refreshed()
    assert house.issuer.calls == []


async def test_a_lease_that_was_lost_sends_nothing(house: House):
    lease = Lease(left=0.0, renewable=False)
    with pytest.raises(RefreshUnavailable, match="before anything was sent"):
        await under(house, lease).refresh(house.seen)
    assert house.issuer.calls == []
    assert lease.released == 1


@pytest.mark.parametrize(("left", "asked"), [(EXCHANGE_SECONDS / 2, ["refresh-1"]), (15.0, ["refresh-1"])])
async def test_a_lease_that_runs_short_is_renewed_before_anything_is_sent(house: House, left: float, asked: list[str]):
    await under(house, Lease(left=left)).refresh(house.seen)
    assert house.issuer.calls == asked


async def test_a_process_that_was_stopped_after_its_last_look_sends_nothing(house: House):
    loop = asyncio.get_running_loop()
    stopped = [0.0]
    real, moment = loop.time, loop.time()

    def stop() -> None:
        stopped[0] = 20.0

    lease = Lease(left=15.0, stop=stop)
    loop.time = lambda: real() + stopped[0]  # type: ignore[method-assign] # a process that sleeps does not see it
    try:
        with pytest.raises(RefreshUnavailable, match="before anything was sent"):
            await under(house, lease).refresh(house.seen)
    finally:
        loop.time = real  # type: ignore[method-assign]
    assert loop.time() - moment < 20
    assert house.issuer.calls == []


async def test_a_lease_that_never_comes_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(procedure, "WAIT_SECONDS", 0.1)
    assert await house.worker().lease_of(ACCOUNT.id).acquire()
    with pytest.raises(RefreshUnavailable, match="does not finish"):
        await house.refreshed()
    assert house.issuer.calls == []


async def test_a_lease_is_renewed_while_an_exchange_lasts(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(procedure, "LEASE_SECONDS", 0.03)
    renewals = 0

    class Counting(Lease):
        async def renew(self) -> bool:
            nonlocal renewals
            renewals += 1
            return True

    house.issuer.gate.clear()
    refreshing = asyncio.ensure_future(under(house, Counting()).refresh(house.seen))
    await until(lambda: renewals > 3)
    assert not refreshing.done()
    house.issuer.gate.set()
    await refreshing


# --- The escrow ------------------------------------------------------------------------


def left_behind(house: House, *, expires_in: float = LIFE_SECONDS, steps: int = 1) -> TokenSet:
    """Tokens that a dead process had got from the issuer."""
    expires_at = house.clock.now + expires_in
    return replace(
        house.seen,
        access_token=access("rescued", expires_at),
        refresh_token=Secret("refresh-rescued"),
        expires_at=expires_at,
        version=house.seen.version + steps * ROTATION_STEP,
    )


async def test_what_somebody_left_in_the_escrow_is_put_in_place_and_nothing_is_spent(house: House):
    house.issuer.living = {"refresh-rescued"}
    await house.escrow.put(left_behind(house))
    assert await house.refreshed() == "rescued"
    assert await house.held_name() == "rescued"
    assert (house.issuer.calls, house.escrow.kept) == ([], {})


async def test_what_was_rescued_keeps_its_version_so_that_nobody_pushes_older_ones_over_it(house: House):
    peer = house.worker()
    rescued = left_behind(house, steps=3)
    await house.escrow.put(rescued)
    await peer.vault.replace(house.seen, replace(rescued, access_token=Secret("older"), version=rescued.version - 1))
    await house.worker().store.delete(f"acct:{{{ACCOUNT.id}}}:tokens")
    await house.worker().vault.enroll(house.seen, made_at=0)
    await house.refresher.refresh(house.seen)
    assert await peer.vault.load(ACCOUNT.id) == rescued
    assert await house.held() == rescued


async def test_what_was_rescued_and_has_expired_is_renewed_at_once(house: House):
    house.issuer.living = {"refresh-rescued"}
    await house.escrow.put(left_behind(house, expires_in=-1))
    assert await house.refreshed() == "access-2"
    assert house.issuer.calls == ["refresh-rescued"]
    assert house.escrow.kept == {}


async def test_an_escrow_that_is_older_than_the_vault_is_of_no_interest(house: House):
    await house.escrow.put(replace(house.seen, access_token=Secret("old"), version=house.seen.version - 1))
    assert await house.refreshed() == "access-2"
    assert house.escrow.kept == {}


async def test_an_escrow_that_cannot_be_written_does_not_lose_the_tokens(
    house: House, caplog: pytest.LogCaptureFixture
):
    house.escrow.error = StoreUnavailable("no space left")
    assert await house.refreshed() == "access-2"
    assert await house.held_name() == "access-2"
    assert "account.not_escrowed" in [record.getMessage() for record in caplog.records]


async def test_a_round_brings_home_what_was_left_and_drops_what_has_arrived(house: House):
    house.issuer.living = {"refresh-rescued"}
    await house.refresher.recover_escrowed(ACCOUNT.id)
    await house.escrow.put(left_behind(house))
    await house.refresher.recover_escrowed(ACCOUNT.id)
    await house.refresher.close()
    assert await house.held_name() == "rescued"
    await house.escrow.put(left_behind(house))
    await house.refresher.recover_escrowed(ACCOUNT.id)
    assert (house.escrow.kept, house.issuer.calls) == ({}, [])


async def test_a_round_drops_nothing_that_the_store_has_not_got(house: House):
    house.issuer.spent = house.place.fail
    await house.refreshed()
    with pytest.raises(StoreUnavailable):
        await house.refresher.recover_escrowed(ACCOUNT.id)
    assert len(house.escrow.kept) == 1
    house.place.recover()
    await house.refresher.close()


async def test_a_round_in_an_emptied_store_leaves_the_only_copy_alone(house: House):
    await house.escrow.put(left_behind(house))
    house.place.forget()
    with pytest.raises(NotLoggedIn):
        await house.worker().refresher.recover_escrowed(ACCOUNT.id)
    assert len(house.escrow.kept) == 1


# --- The store -------------------------------------------------------------------------


async def test_without_a_store_that_can_be_written_nothing_is_spent(house: House):
    async def probe() -> None:
        raise StoreUnavailable("read-only")

    house.one.store.probe = probe  # type: ignore[method-assign]
    with pytest.raises(RefreshUnavailable, match="read-only"):
        await house.refreshed()
    assert house.issuer.calls == []
    assert not house.lease_is_taken()


async def test_while_the_store_is_away_nothing_is_spent_and_it_is_tried_again_soon(house: House):
    house.place.fail()
    before = house.place.calls
    for _ in range(10):
        with pytest.raises(RefreshUnavailable) as caught:
            await house.refreshed()
        assert caught.value.code == "auth_unavailable"
    assert house.place.calls == before + 1
    assert house.issuer.calls == []
    house.place.recover()
    house.clock.now += STORE_BACKOFF_SECONDS
    assert await house.refreshed() == "access-2"


async def test_tokens_that_the_store_would_not_take_serve_and_are_delivered_later(
    house: House, caplog: pytest.LogCaptureFixture
):
    house.issuer.spent = house.place.fail
    assert await house.refreshed() == "access-2"
    assert [name_of(one.access_token) for one in house.escrow.kept.values()] == ["access-2"]
    assert "account.undelivered" in [record.getMessage() for record in caplog.records]
    house.place.recover()
    await house.refresher.close()
    assert await house.held_name() == "access-2"
    assert house.escrow.kept == {}
    assert house.issuer.calls == ["refresh-1"]


async def test_a_process_that_dies_before_it_could_deliver_leaves_the_escrow_to_the_next(house: House):
    house.issuer.spent = house.place.fail
    await house.refreshed()
    for task in asyncio.all_tasks():
        if task.get_name() == "delivery":
            task.cancel()
    house.issuer.spent = lambda: None
    house.place.recover()
    house.place.leases.clear()  # it has ended by itself
    assert await house.held_name() == "access-1"
    assert await house.refreshed(house.worker()) == "access-2"
    assert await house.held_name() == "access-2"
    assert (house.issuer.calls, house.escrow.kept) == (["refresh-1"], {})


async def test_a_login_made_before_the_delivery_wins_and_the_escrow_is_dropped(house: House):
    house.issuer.spent = house.place.fail
    await house.refreshed()
    house.issuer.spent = lambda: None
    house.place.recover()
    await house.login(7)
    await house.refresher.close()
    assert await house.held_name() == "access-7"
    assert house.escrow.kept == {}


@pytest.mark.parametrize("moment", ["during the exchange", "before the delivery"])
async def test_a_logout_is_not_undone_by_what_was_on_its_way(house: House, moment: str):
    if moment == "during the exchange":
        house.issuer.gate.clear()
        refreshing = asyncio.ensure_future(house.refreshed())
        await until(lambda: bool(house.issuer.calls))
        await house.worker().vault.forget(ACCOUNT.id)
        house.issuer.gate.set()
        with pytest.raises(NotLoggedIn):
            await refreshing
    else:
        house.issuer.spent = house.place.fail
        await house.refreshed()
        house.place.recover()
        await house.worker().vault.forget(ACCOUNT.id)
    await house.refresher.close()
    with pytest.raises(NotLoggedIn):
        await house.held()
    assert house.escrow.kept == {}, "nothing is kept of who left"


# --- Refusals --------------------------------------------------------------------------


async def test_a_refusal_marks_the_login_once_for_all(house: House):
    house.issuer.living = set()
    workers = [house.worker() for _ in range(4)]
    told: list[tuple[str, str]] = []

    async def tell(account_id: str, reason: str) -> None:
        told.append((account_id, reason))

    for worker in workers:
        worker.refresher.on_ended = tell
    ended = await asyncio.gather(*(house.refreshed(worker) for worker in workers), return_exceptions=True)
    assert all(isinstance(one, RefreshRejected) for one in ended)
    assert house.issuer.calls == ["refresh-1"]
    held = await house.held()
    assert (held.refused, held.has_tokens_of(house.seen)) == ("reused", True)
    assert told == [(ACCOUNT.id, "reused")]


async def test_a_refusal_after_somebodys_success_adopts_it(house: House):
    house.issuer.gate.clear()
    refreshing = asyncio.ensure_future(house.refreshed())
    await until(lambda: bool(house.issuer.calls))
    await house.worker().vault.replace(house.seen, left_behind(house))
    house.issuer.living = set()
    house.issuer.gate.set()
    assert await refreshing == "rescued"
    assert (await house.held()).refused is None


async def test_a_refusal_after_a_success_that_lies_in_the_escrow_puts_it_in_place(house: House):
    house.issuer.gate.clear()
    refreshing = asyncio.ensure_future(house.refreshed())
    await until(lambda: bool(house.issuer.calls))
    await house.escrow.put(left_behind(house))
    house.issuer.living = set()
    house.issuer.gate.set()
    assert await refreshing == "rescued"
    assert await house.held_name() == "rescued"
    assert house.escrow.kept == {}


async def test_a_refusal_does_not_mark_a_login_made_meanwhile(house: House):
    house.issuer.gate.clear()
    refreshing = asyncio.ensure_future(house.refreshed())
    await until(lambda: bool(house.issuer.calls))
    await house.login(7)
    house.issuer.living = set()
    house.issuer.gate.set()
    assert await refreshing == "access-7"
    assert (await house.held()).refused is None


async def test_a_store_that_dies_with_a_refusal_is_asked_to_remember_it_later(house: House):
    house.issuer.gate.clear()
    house.issuer.living = set()
    refreshing = asyncio.ensure_future(house.refreshed())
    await until(lambda: bool(house.issuer.calls))
    house.place.fail()
    house.issuer.gate.set()
    with pytest.raises(RefreshUnavailable):
        await refreshing
    house.place.recover()
    house.place.leases.clear()  # it has ended by itself
    house.clock.now += FIRST_PAUSE
    with pytest.raises(RefreshRejected):
        await house.refreshed()
    assert (await house.held()).refused == "reused"


async def test_an_issuer_that_cannot_be_asked_is_left_alone_for_a_while(house: House):
    house.issuer.errors = [RefreshUnavailable("down", retry_after_seconds=10)]
    for _ in range(5):
        with pytest.raises(RefreshUnavailable, match="down") as caught:
            await house.refreshed()
        assert caught.value.retry_after_seconds == FIRST_PAUSE
    house.refresher.start(house.seen)
    await house.refresher.close()
    assert len(house.issuer.calls) == 1
    assert (await house.held()).refused is None
    house.clock.now += FIRST_PAUSE
    assert await house.refreshed() == "access-3"


# --- An issuer in trouble, told by each worker to the others -------------------------------


DOWN = RefreshUnavailable("down", retry_after_seconds=10)
LOST = RefreshUnanswered("lost", retry_after_seconds=10)


async def test_workers_leave_an_issuer_in_trouble_alone_together(house: House):
    """F10: ten minutes of it, four workers, each of them asked ten times a second."""
    house.issuer.errors = [DOWN] * 100
    workers, asked_at, told = [house.worker() for _ in range(4)], list[float](), set[float]()
    began = house.clock.now
    while house.clock.now < began + 600:
        before = len(house.issuer.calls)
        ended = await asyncio.gather(*(house.refreshed(one) for one in workers), return_exceptions=True)
        assert all(isinstance(one, RefreshUnavailable) and one.code == "auth_unavailable" for one in ended)
        told |= {one.retry_after_seconds or 0.0 for one in ended if isinstance(one, RefreshUnavailable)}
        asked_at += [house.clock.now - began] * (len(house.issuer.calls) - before)
        house.clock.now += 0.5
    pauses = [later - earlier for earlier, later in pairwise(asked_at)]
    assert pauses[:6] == pytest.approx([5, 10, 20, 40, 60, 60], abs=1.5)
    assert len(asked_at) <= 14
    assert all(5 <= seconds <= 60 for seconds in told)
    house.issuer.errors = []
    house.clock.now += 60
    assert len(set(await asyncio.gather(*(house.refreshed(one) for one in workers)))) == 1


async def test_after_a_success_the_first_pause_is_short_again(house: House):
    for _ in range(2):
        house.issuer.errors = [DOWN] * 3
        for pause in (5, 10, 20):
            with pytest.raises(RefreshUnavailable):
                await house.refreshed()
            house.clock.now += pause
        house.seen = await house.refresher.refresh(house.seen)
    assert len(house.issuer.calls) == 8


async def test_a_store_that_cannot_be_told_does_not_hide_the_trouble(house: House):
    house.issuer.gate.clear()
    house.issuer.errors = [DOWN]
    refreshing = asyncio.ensure_future(house.refreshed())
    await until(lambda: bool(house.issuer.calls))
    house.place.fail()
    house.issuer.gate.set()
    with pytest.raises(RefreshUnavailable, match="down"):
        await refreshing


async def test_a_new_login_is_not_held_up_by_what_the_old_one_met(house: House):
    house.issuer.errors = [LOST]
    with pytest.raises(RefreshUnavailable):
        await house.refreshed()
    house.clock.now += FIRST_PAUSE
    house.seen = await house.login(7, left_seconds=0)
    assert await house.refreshed() == "access-3"
    assert house.issuer.calls == ["refresh-1", "refresh-7"]


@pytest.mark.parametrize("fate", ["spent", "not spent", "lost again"])
async def test_a_lost_answer_is_tried_once_more_near_the_end_and_never_again(house: House, fate: str):
    """F12: no request fails before the tokens end, and the refresh token is sent twice at most."""
    house.seen = await house.login(1, left_seconds=3000)
    house.issuer.errors = [LOST, LOST] if fate == "lost again" else [LOST]
    workers = [house.worker() for _ in range(4)]
    if fate != "not spent":
        house.issuer.living = set()
    ends = house.clock.now + 3000
    while house.clock.now < ends - 10:
        for one in workers:
            one.refresher.start(house.seen)
            await one.refresher.close()
        if ends - house.clock.now > LAST_SECONDS:
            assert len(house.issuer.calls) == 1
        house.clock.now += 20
    assert house.issuer.calls == ["refresh-1"] * 2
    held = await house.held()
    assert name_of(held.access_token) == ("access-3" if fate == "not spent" else "access-1")
    assert (held.refused is None) == (fate == "not spent")
    if fate == "lost again":
        assert "two refreshes of this login were lost" in (held.refused or "")


async def test_a_lost_answer_does_not_keep_those_waiting_whose_token_is_refused(house: House):
    """The upstream refuses the unexpired old token: the second try is made now."""
    house.seen = await house.login(1, left_seconds=LIFE_SECONDS)
    house.issuer.errors = [LOST]
    house.refresher.start(house.seen)
    await house.refresher.close()
    house.clock.now += FIRST_PAUSE
    house.refresher.start(house.seen)
    assert await house.refreshed() == "access-3", "also while one that is not needed is under way"
    assert house.issuer.calls == ["refresh-1", "refresh-1"]


async def test_what_was_lost_and_lies_in_an_escrow_is_brought_home_instead(house: House):
    house.issuer.errors = [LOST]
    with pytest.raises(RefreshUnavailable):
        await house.refreshed()
    house.issuer.living = {"refresh-rescued"}
    await house.escrow.put(left_behind(house))
    house.clock.now += FIRST_PAUSE
    assert await house.refreshed() == "rescued"
    assert house.issuer.calls == ["refresh-1"]


# --- What is issued --------------------------------------------------------------------


@pytest.mark.parametrize("left_out", ["access", "refresh", "id"])
async def test_what_the_issuer_leaves_out_keeps_its_value(house: House, left_out: str):
    await house.one.vault.enroll(replace(house.seen, id_token=Secret("id-1")))
    house.seen = await house.held()
    full = IssuedTokens(access("access-9", house.clock.now + 60), Secret("refresh-9"), Secret("id-9"))
    house.issuer.answers = [replace(full, **{f"{left_out}_token": None})]
    saved = await house.refresher.refresh(house.seen)
    for member in ("access", "refresh", "id"):
        expected = house.seen if member == left_out else full
        assert getattr(saved, f"{member}_token") == getattr(expected, f"{member}_token")
    assert saved.expires_at == (house.seen.expires_at if left_out == "access" else house.clock.now + 60)
    assert await house.held() == saved


async def test_without_an_access_token_in_the_answer_workers_still_ask_once(house: House):
    house.issuer.answers = [IssuedTokens(None, Secret("refresh-2"), None)]
    workers = [house.worker() for _ in range(4)]
    await asyncio.gather(*(worker.refresher.refresh(house.seen) for worker in workers))
    assert house.issuer.calls == ["refresh-1"]


async def test_tokens_of_another_account_are_not_taken(house: House):
    other = Secret(encode_jwt({AUTH_CLAIM: {"chatgpt_account_id": "w-2"}}))
    house.issuer.answers = [IssuedTokens(other, Secret("refresh-2"), None)]
    with pytest.raises(RefreshUnavailable, match="another account"):
        await house.refreshed()
    assert await house.held() == house.seen
    assert house.escrow.puts == 0


async def test_what_the_tokens_say_of_plan_and_mail_is_news_and_who_they_are_for_is_not(house: House):
    claims = {
        AUTH_CLAIM: {"chatgpt_account_id": "w-1", "chatgpt_user_id": "u-9", "chatgpt_plan_type": "team"},
        PROFILE_CLAIM: {"email": "new@example.test"},
    }
    house.issuer.answers = [IssuedTokens(Secret(encode_jwt(claims)), Secret("refresh-2"), None)]
    account = (await house.refresher.refresh(house.seen)).account
    assert (account.id, account.plan, account.email) == (ACCOUNT.id, "team", "new@example.test")


async def test_a_login_without_refresh_token_is_not_sent_anywhere(house: House):
    house.seen = await house.one.vault.enroll(replace(house.seen, refresh_token=None))
    with pytest.raises(RefreshRejected, match="no refresh token"):
        await house.refreshed()
    assert house.issuer.calls == []
    assert (await house.held()).refused is None


# --- Who leaves ------------------------------------------------------------------------


async def test_a_waiter_that_leaves_stops_nothing(house: House):
    house.issuer.gate.clear()
    leaving = asyncio.ensure_future(house.refreshed())
    await until(lambda: bool(house.issuer.calls))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    house.issuer.gate.set()
    await house.refresher.close()
    assert await house.held_name() == "access-2"
    assert house.issuer.calls == ["refresh-1"]
    assert house.escrow.kept == {}


async def test_closing_waits_for_an_exchange_and_for_the_delivery_that_it_leaves(house: House):
    house.issuer.gate.clear()
    house.issuer.spent = house.place.fail
    house.refresher.start(house.seen)
    await until(lambda: bool(house.issuer.calls))
    closing = asyncio.ensure_future(house.refresher.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    house.issuer.gate.set()
    await until(lambda: bool(house.escrow.kept))
    await asyncio.sleep(0.05)
    assert not closing.done()
    house.place.recover()
    await closing
    assert await house.held_name() == "access-2"
    assert house.escrow.kept == {}


async def test_closing_does_not_wait_for_ever(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(procedure, "LEASE_SECONDS", 0.1)
    house.issuer.gate.clear()
    house.refresher.start(house.seen)
    await until(lambda: bool(house.issuer.calls))
    await house.refresher.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("refresh")]
