from __future__ import annotations

import asyncio

import pytest

from gptmock.errors import GptmockError, UpstreamRefused
from gptmock.gateway.usage_recording import POST_SECONDS, UNKNOWN_RESET_SECONDS, TurnRecorder, is_quota
from gptmock.limits import RateLimitSnapshot, RateLimitWindow
from gptmock.protocol.items import InputTokensDetails, OutputTokensDetails, ResponseObject, ResponseUsage
from gptmock.stores.limits_and_usage import SharedLimits, SharedUsage
from tests.gateway.memory import ACCOUNT, Site

USAGE = ResponseUsage(
    input_tokens=100,
    input_tokens_details=InputTokensDetails(cached_tokens=40),
    output_tokens=9,
    output_tokens_details=OutputTokensDetails(reasoning_tokens=5),
)


class House(Site):
    """A ``TurnRecorder`` and its stores."""

    def __init__(self) -> None:
        super().__init__()
        store = self.worker().store
        self.board = SharedLimits(store)
        self.ledger = SharedUsage(store, clock=self.clock)
        self.books = TurnRecorder(self.board, self.ledger, clock=self.clock)

    async def today(self) -> dict[str, int]:
        await self.books.close()
        await self.ledger.settle()
        return (await self.ledger.read(ACCOUNT.id)).today

    async def parked_for(self) -> float | None:
        (standing,) = (await self.board.look([ACCOUNT.id], conversation=None)).accounts
        return None if standing.parked_until is None else standing.parked_until - self.clock.now

    def windows(self, used: float) -> RateLimitSnapshot:
        return RateLimitSnapshot(self.clock.now, (RateLimitWindow(used, 300, None),))


def limit(code: str = "usage_limit_reached", seconds: float | None = 600.0) -> GptmockError:
    return UpstreamRefused("no more", code=code, status=429, retry_after_seconds=seconds)


async def test_a_turn_is_counted_with_what_it_used():
    house = House()
    for _ in range(2):
        house.books.began(ACCOUNT.id)
    house.books.ended(ACCOUNT.id, "gpt-5.5", ResponseObject(usage=USAGE), failed=False)
    assert await house.today() == {
        "requests": 1,
        "input_tokens": 100,
        "cached_tokens": 40,
        "output_tokens": 9,
        "reasoning_tokens": 5,
    }
    assert (await house.ledger.read(ACCOUNT.id)).in_flight == 1


@pytest.mark.parametrize("response", [None, ResponseObject(), ResponseObject(usage=ResponseUsage())])
async def test_a_turn_that_says_nothing_of_its_use_is_a_turn(response: ResponseObject | None):
    house = House()
    house.books.began(ACCOUNT.id)
    house.books.ended(ACCOUNT.id, "gpt-5.5", response, failed=True)
    assert await house.today() == {"requests": 1, "failed": 1}


@pytest.mark.parametrize("seconds", [None, 0.0, 1.0, 600.0])
async def test_a_window_that_is_used_up_parks_the_account(seconds: float | None):
    house = House()
    await house.books.limited(ACCOUNT.id, "gpt-5.5", limit(seconds=seconds))
    assert await house.parked_for() == pytest.approx(seconds or UNKNOWN_RESET_SECONDS)
    assert await house.today() == {"requests": 1, "failed": 1, "rate_limited": 1}


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "usage_not_included", "insufficient_quota"])
async def test_any_other_429_parks_nobody(code: str):
    house = House()
    await house.books.limited(ACCOUNT.id, "gpt-5.5", limit(code))
    assert await house.parked_for() is None
    assert (await house.today())["rate_limited"] == 1


async def test_a_store_that_is_away_fails_nothing(caplog: pytest.LogCaptureFixture):
    house = House()
    house.place.fail()
    await house.books.limited(ACCOUNT.id, "gpt-5.5", limit())
    house.books.served("c", ACCOUNT.id, house.windows(10.0), shared=True)
    await house.books.close()
    events = [record.getMessage() for record in caplog.records]
    assert events == ["account.parked", "account.not_parked"]
    house.place.recover()
    assert (await house.today())["rate_limited"] == 1


async def test_windows_are_posted_once_in_a_while():
    house = House()
    for used in (10.0, 20.0):
        house.books.served("c", ACCOUNT.id, house.windows(used), shared=False)
    await house.books.close()
    (standing,) = (await house.board.look([ACCOUNT.id], conversation="c")).accounts
    assert standing.used_percent == 10.0
    house.clock.now += POST_SECONDS
    house.books.served("c", ACCOUNT.id, house.windows(30.0), shared=False)
    house.books.served("c", ACCOUNT.id, None, shared=False)
    await house.books.close()
    standings = await house.board.look([ACCOUNT.id], conversation="c")
    assert (standings.accounts[0].used_percent, standings.sticky) == (30.0, None)


async def test_windows_of_a_refusal_are_posted_at_once():
    house = House()
    house.books.served("c", ACCOUNT.id, house.windows(10.0), shared=False)
    house.books.refused(ACCOUNT.id, {"x-codex-primary-used-percent": "100", "x-codex-primary-window-minutes": "300"})
    house.books.refused(ACCOUNT.id, {})
    await house.books.close()
    (standing,) = (await house.board.look([ACCOUNT.id], conversation="c")).accounts
    assert standing.used_percent == 100.0


async def test_who_served_is_remembered_where_others_could_have():
    house = House()
    house.books.served("c", ACCOUNT.id, None, shared=True)
    await house.books.close()
    assert (await house.board.look([ACCOUNT.id], conversation="c")).sticky == ACCOUNT.id


async def test_closing_waits_for_what_is_being_written():
    house = House()
    house.place.hang(seconds=30)
    house.books.served("c", ACCOUNT.id, None, shared=True)
    closing = asyncio.ensure_future(house.books.close())
    await asyncio.sleep(0.02)
    assert not closing.done()
    house.place.recover()
    await closing
    assert (await house.board.look([ACCOUNT.id], conversation="c")).sticky == ACCOUNT.id


@pytest.mark.parametrize(
    ("code", "quota"),
    [("usage_limit_reached", True), ("usage_not_included", True), ("rate_limit_exceeded", False), ("x", False)],
)
def test_quota_is_what_another_account_may_have(code: str, quota: bool):  # noqa: FBT001
    assert is_quota(limit(code)) is quota
