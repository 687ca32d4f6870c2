"""Looks at how accounts stand are answered from memory for a moment, and never across a change of this process."""

import asyncio

import pytest

from gptmock.errors import StoreUnavailable
from gptmock.gateway.recent_limits import LOOK_SECONDS, RecentLimits
from gptmock.limits import Standing, Standings
from gptmock.stores.limits_and_usage import SharedLimits
from gptmock.stores.memory import MemoryPlace, MemoryStore


class CountedLimits(SharedLimits):
    """Counts how often the store is looked at."""

    looks = 0
    broken = False

    async def look(self, account_ids, *, conversation):
        self.looks += 1
        await asyncio.sleep(0)
        if self.broken:
            raise StoreUnavailable("down")
        return await super().look(account_ids, conversation=conversation)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def recent():
    clock, limits = Clock(), CountedLimits(MemoryStore(MemoryPlace()))
    return RecentLimits(limits, clock=clock), limits, clock


async def test_the_store_is_looked_at_once_in_a_moment():
    board, limits, clock = recent()
    for _ in range(5):
        assert await board.look(("a",), conversation=None) == Standings((Standing("a"),))
    assert limits.looks == 1
    clock.now += 2 * LOOK_SECONDS
    await board.look(("a",), conversation=None)
    assert limits.looks == 2


async def test_turns_that_come_together_share_a_look():
    board, limits, _ = recent()
    many = [board.look(("a",), conversation=None) for _ in range(50)]
    assert set(await asyncio.gather(*many)) == {Standings((Standing("a"),))}
    assert limits.looks == 1


async def test_who_leaves_takes_the_look_from_nobody_and_a_failed_one_is_made_again():
    board, limits, _ = recent()
    first = asyncio.ensure_future(board.look(("a",), conversation=None))
    second = asyncio.ensure_future(board.look(("a",), conversation=None))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == Standings((Standing("a"),))
    limits.broken = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await board.look(("b",), conversation=None)
    limits.broken = False
    assert await board.look(("b",), conversation=None) == Standings((Standing("b"),))


async def test_a_look_from_before_a_change_is_not_remembered():
    board, _, _ = recent()
    early = asyncio.ensure_future(board.look(("a",), conversation=None))
    await asyncio.sleep(0)
    await board.park("a", until=2e9, now=1e9)
    await early
    assert (await board.look(("a",), conversation=None)).accounts[0].parked_until == 2e9


async def test_other_accounts_and_conversations_are_looked_at_anew():
    board, limits, _ = recent()
    await board.stick("c", "a", now=1.0)
    for ids, conversation in ((("a",), None), (("a", "b"), None), (("a", "b"), "c"), (("a", "b"), "c")):
        await board.look(ids, conversation=conversation)
    assert limits.looks == 4
    assert (await board.look(("a", "b"), conversation="c")).sticky == "a"


async def test_what_this_process_changes_is_seen_at_once():
    board, _, _ = recent()
    await board.look(("a",), conversation=None)
    await board.park("a", until=2e9, now=1e9)
    assert (await board.look(("a",), conversation=None)).accounts[0].parked_until == 2e9
    await board.unpark("a", now=1e9 + 1)
    assert (await board.look(("a",), conversation=None)).accounts[0].parked_until is None
