from __future__ import annotations

import pytest

from gptmock.accounts import Account, Credential, Secret
from gptmock.errors import UpstreamUnavailable
from gptmock.gateway.limit_polling import LimitPoller
from gptmock.limits import RateLimitSnapshot, RateLimitWindow
from gptmock.stores.limits_and_usage import SharedLimits
from gptmock.stores.memory import MemoryPlace, MemoryStore

TOLD = RateLimitSnapshot(taken_at=1.0, windows=(RateLimitWindow(40.0, 300, 99.0),), plan="plus")


class OneKeeper:
    async def lease(self, account_id: str) -> Credential:
        return Credential(Account(account_id), Secret("access"), version=1)

    async def renew(self, refused: Credential) -> Credential:
        raise AssertionError(refused)


class Usage:
    def __init__(self, error: Exception | None = None) -> None:
        self.asked = 0
        self.error = error

    async def windows(self, credential: Credential) -> RateLimitSnapshot:
        assert credential.account.workspace_id == "a"
        self.asked += 1
        if self.error is not None:
            raise self.error
        return TOLD


async def ids() -> list[str]:
    return ["a"]


def watch(board: SharedLimits, usage: Usage) -> LimitPoller:
    return LimitPoller(board, OneKeeper(), usage, ids)


async def test_an_unknown_account_is_asked_about_once():
    board, usage = SharedLimits(MemoryStore(MemoryPlace())), Usage()
    machine = watch(board, usage)
    await machine.fill("a")
    await machine.fill("a")
    assert usage.asked == 1
    assert await board.snapshot("a") == TOLD


async def test_what_another_worker_has_heard_is_enough():
    place = MemoryPlace()
    await SharedLimits(MemoryStore(place)).post("a", TOLD)
    usage = Usage()
    await watch(SharedLimits(MemoryStore(place)), usage).fill("a")
    assert usage.asked == 0


async def test_trouble_is_not_asked_about_again_and_again():
    usage = Usage(UpstreamUnavailable("away"))
    machine = watch(SharedLimits(MemoryStore(MemoryPlace())), usage)
    with pytest.raises(UpstreamUnavailable):
        await machine.fill("a")
    await machine.fill("a")
    assert usage.asked == 1
