from __future__ import annotations

import asyncio

from gptmock.stores.guesses import StoreGuesses
from tests.stores.conftest import Place


async def test_different_guesses_are_counted_once_over_all_processes(place: Place):
    workers = [StoreGuesses(place.open()) for _ in range(4)]

    async def count(number: int, source: str = "192.0.2.1") -> float | None:
        return await workers[number % 4].count(source, f"guess-{number % 10}", limit=10, window_seconds=60.0)

    assert await asyncio.gather(*(count(number) for number in range(40))) == [None] * 40
    refused = await asyncio.gather(
        *(
            one.count("192.0.2.1", f"other-{number}", limit=10, window_seconds=60.0)
            for number, one in enumerate(workers)
        )
    )
    assert all(left is not None and 0 < left <= 60 for left in refused)
    assert await count(3) is None, "one that was counted is not refused by the count"
    assert await count(3, "192.0.2.2") is None
    begun = await asyncio.gather(*(one.begin_burst("192.0.2.1", ttl_seconds=60.0) for one in workers))
    assert sorted(begun) == [False, False, False, True]
    assert await workers[0].begin_burst("192.0.2.2", ttl_seconds=60.0)
