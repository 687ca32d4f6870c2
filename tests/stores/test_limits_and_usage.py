from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from gptmock.limits import RateLimitSnapshot, RateLimitWindow, Standing, Standings
from gptmock.stores.limits_and_usage import SharedLimits, SharedUsage
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.usage import AccountUsage, TurnUsage, UsageRow
from tests.stores.conftest import Place
from tests.stores.logins import ADA, BOB, NOW, Time


def snapshot(*used: float, taken_at: float = NOW) -> RateLimitSnapshot:
    windows = tuple(RateLimitWindow(one, 300 * (n + 1), NOW + 60) for n, one in enumerate(used))
    return RateLimitSnapshot(taken_at, windows, plan="pro", active_limit="primary", reached_type=None)


def turn(account_id: str = ADA.id, *, failed: bool = False) -> TurnUsage:
    return TurnUsage(account_id, "gpt-5.5", failed=failed, input_tokens=100, cached_tokens=40, output_tokens=7)


# --- Limits ----------------------------------------------------------------------------


async def test_at_first_nothing_is_known(near_place: Place):
    board = SharedLimits(near_place.open())
    assert await board.look([ADA.id], conversation="c") == Standings((Standing(ADA.id),), None)
    assert await board.look([], conversation=None) == Standings((), None)
    assert await board.snapshot(ADA.id) is None


async def test_what_one_worker_posts_all_see(near_place: Place):
    await SharedLimits(near_place.open()).post(ADA.id, snapshot(10.0, 70.5))
    board = SharedLimits(near_place.open())
    standings = await board.look([BOB.id, ADA.id], conversation=None)
    assert [(one.account_id, one.used_percent) for one in standings.accounts] == [(BOB.id, None), (ADA.id, 70.5)]
    assert await board.snapshot(ADA.id) == snapshot(10.0, 70.5)


async def test_an_older_snapshot_never_covers_a_newer_one(near_place: Place):
    board = SharedLimits(near_place.open())
    await board.post(ADA.id, snapshot(50.0, taken_at=NOW))
    await board.post(ADA.id, snapshot(10.0, taken_at=NOW - 1))
    assert await board.snapshot(ADA.id) == snapshot(50.0)
    await board.post(ADA.id, snapshot(taken_at=NOW + 1))
    assert (await board.look([ADA.id], conversation=None)).accounts == (Standing(ADA.id),)


async def test_a_parked_account_is_parked_for_all_until_it_is_not(near_place: Place):
    mine, yours = SharedLimits(near_place.open()), SharedLimits(near_place.open())
    await mine.park(ADA.id, until=NOW + 600, now=NOW)
    assert (await yours.look([ADA.id], conversation=None)).accounts == (Standing(ADA.id, parked_until=NOW + 600),)
    await yours.unpark(ADA.id, now=NOW + 1)
    assert (await mine.look([ADA.id], conversation=None)).accounts == (Standing(ADA.id),)


async def test_a_park_ends_with_its_window(near_place: Place):
    board = SharedLimits(near_place.open())
    await board.park(ADA.id, until=NOW - 5, now=NOW)
    async with asyncio.timeout(10):
        while (await board.look([ADA.id], conversation=None)).accounts[0].parked_until is not None:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)


async def test_who_served_a_conversation_is_remembered(near_place: Place):
    mine, yours = SharedLimits(near_place.open()), SharedLimits(near_place.open())
    await mine.stick("one", ADA.id, now=NOW)
    await mine.stick("two", BOB.id, now=NOW)
    assert (await yours.look([ADA.id], conversation="one")).sticky == ADA.id
    await mine.stick("one", BOB.id, now=NOW + 1)
    assert (await yours.look([ADA.id, BOB.id], conversation="one")).sticky == BOB.id
    assert (await yours.look([ADA.id], conversation="three")).sticky is None
    assert (await yours.look([ADA.id], conversation=None)).sticky is None


async def test_a_look_is_one_round_trip():
    store = MemoryStore()
    await SharedLimits(store).look([ADA.id, BOB.id], conversation="c")
    assert store.place.calls == 1


# --- Usage -----------------------------------------------------------------------------


async def test_turns_are_counted_by_day_and_in_flight_over_all_workers(near_place: Place):
    clock = Time()
    ledgers = [SharedUsage(near_place.open(), clock=clock) for _ in range(2)]
    for ledger in ledgers:
        for _ in range(3):
            ledger.began(ADA.id)
        ledger.ended(turn())
        ledger.ended(turn(failed=True))
        await ledger.settle()
    today = {"requests": 4, "failed": 2, "input_tokens": 400, "cached_tokens": 160, "output_tokens": 28}
    assert await ledgers[0].read(ADA.id) == AccountUsage(today, in_flight=2)
    assert await ledgers[1].read(BOB.id) == AccountUsage({}, in_flight=0)
    clock.now += 24 * 3600
    for ledger in ledgers:
        ledger.ended(turn())
        await ledger.settle()
    assert await ledgers[0].read(ADA.id) == AccountUsage(
        {"requests": 2, "input_tokens": 200, "cached_tokens": 80, "output_tokens": 14}, in_flight=0
    )
    total = await near_place.open().totals(f"acct:{{{ADA.id}}}:usage")
    assert total["requests"] == 6


async def test_a_turn_over_midnight_counts_where_it_ended(near_place: Place):
    clock = Time()
    ledger = SharedUsage(near_place.open(), clock=clock)
    ledger.began(ADA.id)
    clock.now += 24 * 3600
    ledger.ended(turn())
    await ledger.settle()
    day = datetime.fromtimestamp(clock.now, UTC).date().isoformat()
    assert (await near_place.open().totals(f"acct:{{{ADA.id}}}:usage:{day}"))["requests"] == 1


async def test_what_cannot_be_counted_now_is_counted_once_later():
    store = MemoryStore()
    ledger = SharedUsage(store, clock=Time())
    store.place.fail()
    for _ in range(3):
        ledger.began(ADA.id)
        ledger.ended(turn())
        await ledger.settle()
    store.place.recover()
    for _ in range(3):
        await ledger.settle()
    assert (await ledger.read(ADA.id)).today["requests"] == 3


async def test_counting_costs_nothing_while_nothing_happens():
    store = MemoryStore()
    ledger = SharedUsage(store, clock=Time())
    for _ in range(10):
        await ledger.settle()
    assert store.place.calls == 0
    for _ in range(100):
        ledger.began(ADA.id)
        ledger.ended(turn())
    await ledger.settle()
    assert store.place.calls == 1


async def test_a_stop_in_the_middle_of_an_addition_loses_and_doubles_nothing():
    store = MemoryStore()
    ledger = SharedUsage(store, clock=Time())
    ledger.began(ADA.id)
    ledger.ended(turn())
    store.place.hang(seconds=30)
    running = asyncio.ensure_future(ledger.run())
    async with asyncio.timeout(20):
        while store.place.calls == 0:  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    last = asyncio.ensure_future(ledger.settle())
    await asyncio.sleep(0)
    store.place.recover()
    await last
    assert (await ledger.read(ADA.id)).today["requests"] == 1


async def test_the_turns_of_a_dead_worker_are_not_under_way_for_long():
    now = 0.0
    store = MemoryStore()
    store.place.clock = lambda: now
    dead, living = (SharedUsage(store, clock=Time()) for _ in range(2))
    for ledger in (dead, living):
        ledger.began(ADA.id)
        await ledger.settle()
    now += 9
    await living.settle()
    assert (await living.read(ADA.id)).in_flight == 2
    now += 9
    assert (await living.read(ADA.id)).in_flight == 1
    now += 9
    await living.settle()
    await living.settle()
    assert (await living.read(ADA.id)).in_flight == 1, "after its own record has expired too"


async def test_a_key_has_its_own_usage_by_day_and_model(near_place: Place):
    clock = Time()
    ledgers = [SharedUsage(near_place.open(), clock=clock) for _ in range(2)]
    days = []
    for ledger in ledgers:
        days.append(datetime.fromtimestamp(clock.now, UTC).date().isoformat())
        for tenant, account, model in (
            ("ada", ADA.id, "m"),
            ("ada", BOB.id, "m"),
            ("bob", ADA.id, "n"),
            ("", ADA.id, "m"),
        ):
            ledger.ended(TurnUsage(account, model, tenant, input_tokens=10, cached_tokens=4, output_tokens=2))
        await ledger.settle()
        clock.now += 24 * 3600
    counted = {"requests": 2, "input_tokens": 20, "cached_tokens": 8, "output_tokens": 4}
    assert await ledgers[0].report_of("ada", days) == [UsageRow(day, "ada", "", "m", counted) for day in days]
    (row,) = await ledgers[1].report_of("bob", days[1:])
    assert (row.day, row.model, row.amounts["requests"]) == (days[1], "n", 1)
    assert [row.amounts["requests"] for row in await ledgers[1].report_of("", days)] == [1, 1]
    assert await ledgers[1].report_of("cyd", days) == []


async def test_usage_is_kept_as_long_as_the_operator_says():
    clock = Time()
    place = MemoryPlace(clock)
    ledger = SharedUsage(MemoryStore(place), clock=clock, kept_seconds=3 * 24 * 3600)
    today = datetime.fromtimestamp(clock.now, UTC).date().isoformat()
    ledger.ended(TurnUsage(ADA.id, "m", "ada"))
    await ledger.settle()
    clock.now += 3 * 24 * 3600 - 1
    assert len(await ledger.report([today])) == len(await ledger.report_of("ada", [today])) == 1
    clock.now += 2
    assert await ledger.report([today]) == await ledger.report_of("ada", [today]) == []
