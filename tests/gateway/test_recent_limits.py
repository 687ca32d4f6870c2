"""Looks at how accounts stand are answered from memory for a moment, and never across a change of this process."""

from gptmock.gateway.recent_limits import LOOK_SECONDS, RecentLimits
from gptmock.limits import Standing, Standings
from gptmock.stores.limits_and_usage import SharedLimits
from gptmock.stores.memory import MemoryPlace, MemoryStore


class CountedLimits(SharedLimits):
    """Counts how often the store is looked at."""

    looks = 0

    async def look(self, account_ids, *, conversation):
        self.looks += 1
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
