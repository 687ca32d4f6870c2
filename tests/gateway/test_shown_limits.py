from __future__ import annotations

import pytest

from gptmock.accounts import Account, Credential, Secret
from gptmock.errors import AccountsExhausted, UpstreamUnavailable
from gptmock.gateway.shown_limits import ASK_SECONDS, ShownLimits
from gptmock.limits import RateLimitSnapshot, RateLimitWindow
from gptmock.stores.limits_and_usage import SharedLimits
from gptmock.stores.memory import MemoryPlace, MemoryStore
from tests.gateway.memory import Clock


def used(percent: float) -> RateLimitSnapshot:
    return RateLimitSnapshot(taken_at=1.0, windows=(RateLimitWindow(percent, 300, 99.0),), plan="plus")


class Pool:
    """Two accounts, of which a conversation has its own; and the upstream's usage of each."""

    def __init__(self) -> None:
        self.exhausted = False
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def candidates(self, conversation: str, *, account_id: str | None = None) -> list[str]:
        if self.exhausted:
            raise AccountsExhausted("All of them wait.")
        return [account_id] if account_id else ["b", "a"] if conversation == "of b" else ["a", "b"]

    async def account_ids(self) -> list[str]:
        return ["a", "b"]

    async def lease(self, account_id: str) -> Credential:
        return Credential(Account(account_id), Secret("access"), version=1)

    async def renew(self, refused: Credential) -> Credential:
        raise AssertionError(refused)

    async def windows(self, credential: Credential) -> RateLimitSnapshot:
        self.asked.append(credential.account.workspace_id)
        if self.error is not None:
            raise self.error
        return used({"a": 10.0, "b": 90.0}[credential.account.workspace_id])


@pytest.fixture
def board() -> SharedLimits:
    return SharedLimits(MemoryStore(MemoryPlace()))


@pytest.mark.check(354)
async def test_of_a_pool_it_is_the_account_that_would_serve(board: SharedLimits):
    pool = Pool()
    shown = ShownLimits(pool, pool.account_ids, board, pool, pool, clock=Clock())
    assert await shown.of("") == used(10.0)
    assert await shown.of("of b") == used(90.0)
    assert await shown.of("", account_id="b") == used(90.0)
    pool.exhausted = True
    assert await shown.of("of b") == used(10.0)
    assert await shown.of("", account_id="b") == used(90.0)
    assert pool.asked == ["a", "b"]


async def test_the_upstream_is_asked_once_a_minute(board: SharedLimits):
    pool, clock = Pool(), Clock()
    shown = ShownLimits(pool, pool.account_ids, board, pool, pool, clock=clock)
    pool.error = UpstreamUnavailable("It is away.")
    with pytest.raises(UpstreamUnavailable):
        await shown.of("")
    assert await shown.of("") is None
    pool.error = None
    clock.now += ASK_SECONDS
    assert await shown.of("") == used(10.0)
    assert pool.asked == ["a", "a"]
