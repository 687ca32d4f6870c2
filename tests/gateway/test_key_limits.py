"""Limits of client keys: what is admitted, what is settled, and what happens while the store is unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gptmock.clients import Client, ClientKey, KeyTerms, LimitState
from gptmock.errors import TooManyRequests
from gptmock.gateway import key_limits, limit_exchanges
from gptmock.gateway.key_limits import Grant, KeyLimiter
from gptmock.gateway.limit_words import ratelimit_headers, refusal
from gptmock.stores.key_limits import LEASE_SECONDS, StoreKeyLimits
from gptmock.stores.memory import MemoryPlace, MemoryStore
from tests.virtual_time import VirtualLoop


def client_of(**terms: Any) -> Client:
    key = ClientKey("k" * 8, "ada", 0.0, KeyTerms(**terms))
    return Client(key.id, key)


class House:
    """Workers on one place, in a loop whose time jumps."""

    def __init__(self, workers: int = 1) -> None:
        self.loop = VirtualLoop()
        self.place = MemoryPlace(self.loop.time)
        self.limits = StoreKeyLimits(MemoryStore(self.place))
        self.workers = [
            KeyLimiter(
                StoreKeyLimits(MemoryStore(self.place)),
                lambda: StoreKeyLimits(MemoryStore(MemoryPlace(self.loop.time))),
                workers=workers,
                clock=self.loop.time,
            )
            for _ in range(workers)
        ]
        self.tasks = [self.loop.create_task(worker.run()) for worker in self.workers]

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def began(self, client: Client, *, worker: int = 0) -> Grant:
        """A turn that was admitted, and runs."""

        async def begin() -> Grant:
            grant = self.workers[worker].begin(client)
            await grant.admitted()
            return grant

        grant: Grant = self.run(begin())
        return grant

    def end(self, grant: Grant, *, tokens: int = 0) -> None:
        async def end() -> None:
            grant.end(tokens=tokens)

        self.run(end())

    def used(self, client: Client) -> dict[str, int]:
        assert client.key is not None
        return {state.kind: state.used for state in self.run(self.limits.states(client.key))}

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*self.tasks, return_exceptions=True))
        self.loop.close()


@pytest.fixture
def house_of(request: pytest.FixtureRequest) -> Callable[[int], House]:
    def made(workers: int = 1) -> House:
        house = House(workers)
        request.addfinalizer(house.close)
        return house

    return made


async def turn(worker: KeyLimiter, client: Client, *, tokens: int = 0) -> bool:
    """A whole turn; whether it was admitted."""
    grant = worker.begin(client)
    try:
        await grant.admitted()
    except TooManyRequests:
        return False
    finally:
        grant.end(tokens=tokens)
    return True


def test_a_caller_without_limits_costs_no_round_trip(house_of: Callable[..., House]):
    house = house_of()
    before = house.place.calls
    for client in (Client(""), client_of(models=("x",), account_id="a")):
        for _ in range(3):
            assert house.run(turn(house.workers[0], client))
    house.loop.pass_time(100)
    assert house.place.calls == before


def test_requests_per_minute(house_of: Callable[..., House]):
    house, client = house_of(2), client_of(rpm=3)
    admitted = [house.run(turn(house.workers[n % 2], client)) for n in range(5)]
    assert admitted == [True, True, True, False, False]
    house.loop.pass_time(61)
    assert house.run(turn(house.workers[0], client))
    assert house.used(client) == {"requests": 1}


def test_admission_is_one_round_trip_and_settlement_another(house_of: Callable[..., House]):
    house, client = house_of(), client_of(rpm=3, concurrency=2, tokens_per_day=100, tokens_per_week=100)
    assert house.run(turn(house.workers[0], client, tokens=5))
    house.loop.pass_time(0)
    house.loop.pass_turns(5)
    assert house.place.calls == 2
    assert house.used(client) == {"turns": 0, "requests": 1, "tokens_per_day": 5, "tokens_per_week": 5}


def test_turns_that_end_together_are_settled_together_while_their_key_is_far_from_its_limits(
    house_of: Callable[..., House],
):
    house, client = house_of(), client_of(rpm=20, concurrency=20, tokens_per_day=1000)
    *grants, last = [house.began(client) for _ in range(10)]
    before = house.place.calls
    for grant in grants:
        house.end(grant, tokens=5)
    house.loop.pass_time(2 * limit_exchanges.TOGETHER_SECONDS)
    assert house.place.calls == before + 1
    assert house.used(client) == {"turns": 1, "requests": 10, "tokens_per_day": 45}
    house.end(last, tokens=5)
    house.loop.pass_time(0)
    house.loop.pass_turns(5)
    assert house.used(client) == {"turns": 0, "requests": 10, "tokens_per_day": 50}, "at once, since nothing else runs"


@pytest.mark.parametrize("terms", [{"concurrency": 3}, {"concurrency": 30, "tokens_per_day": 10}])
def test_near_a_limit_each_turn_is_settled_at_once(house_of: Callable[..., House], terms: dict[str, int]):
    house, client = house_of(), client_of(**terms)
    house.run(turn(house.workers[0], client, tokens=6))
    house.loop.pass_time(1)
    grants = [house.began(client) for _ in range(2)]
    before = house.place.calls
    for grant in grants:
        house.end(grant, tokens=1)
    house.loop.pass_time(0)
    house.loop.pass_turns(5)
    assert house.place.calls == before + 2


def test_tokens_are_counted_at_the_end_and_refuse_from_then_on(house_of: Callable[..., House]):
    house, client = house_of(), client_of(tokens_per_day=100, tokens_per_week=1000)
    worker = house.workers[0]
    assert house.run(turn(worker, client, tokens=99))
    house.loop.pass_time(1)
    # Both are in flight before either is settled.
    grants = [house.began(client) for _ in range(2)]
    for grant in grants:
        house.end(grant, tokens=50)
    house.loop.pass_time(1)
    assert not house.run(turn(worker, client))
    assert house.used(client) == {"tokens_per_day": 199, "tokens_per_week": 199}
    house.loop.pass_time(24 * 3600)
    assert house.run(turn(worker, client))
    house.loop.pass_time(1)
    assert house.used(client) == {"tokens_per_day": 0, "tokens_per_week": 199}


def test_a_place_is_free_for_the_next_request_of_one_client(house_of: Callable[..., House]):
    house, client = house_of(2), client_of(concurrency=1)
    for number in range(6):
        # The former one is settled in the background, perhaps after this one has come.
        assert house.run(turn(house.workers[number % 2], client))


def test_places_are_held_as_long_as_the_turn_and_expire_with_the_worker(house_of: Callable[..., House]):
    house, client = house_of(2), client_of(concurrency=1)
    grant = house.began(client)
    house.loop.pass_time(10 * LEASE_SECONDS)
    assert not house.run(turn(house.workers[1], client))
    house.tasks[0].cancel()
    house.loop.pass_time(LEASE_SECONDS - 1.5 * key_limits.RENEW_SECONDS)
    assert not house.run(turn(house.workers[1], client))
    house.loop.pass_time(2 * key_limits.RENEW_SECONDS)
    assert house.run(turn(house.workers[1], client))
    # Its end still counts, and takes nothing from the other.
    house.began(client, worker=1)
    house.end(grant, tokens=7)
    house.loop.pass_time(1)
    assert house.used(client) == {"turns": 1}


def test_one_that_leaves_before_it_is_admitted_gives_its_place_back(house_of: Callable[..., House]):
    house, client = house_of(), client_of(concurrency=1)

    async def leave() -> None:
        grant = house.workers[0].begin(client)
        grant.end(tokens=0)

    house.run(leave())
    house.loop.pass_time(1)
    assert house.used(client) == {"turns": 0}


def test_a_settlement_that_fails_is_repeated_and_counted_once(house_of: Callable[..., House]):
    house, client = house_of(), client_of(tokens_per_day=100, rpm=10, concurrency=5)
    grant = house.began(client)
    house.place.fail()
    house.end(grant, tokens=30)
    house.loop.pass_time(600)
    house.place.recover()
    house.loop.pass_time(5)
    # The minute of the request has passed meanwhile.
    assert house.used(client) == {"turns": 0, "requests": 0, "tokens_per_day": 30}


def test_without_the_store_each_worker_admits_its_share_of_what_was_left(house_of: Callable[..., House]):
    house, client = house_of(4), client_of(rpm=22)
    for worker in (*house.workers, *house.workers[:2]):
        assert house.run(turn(worker, client))
    house.place.fail()
    # The last two workers have heard of 3 and 4 of the six; each has a quarter of what it believes to be left.
    counts = [sum(house.run(turn(worker, client)) for _ in range(20)) for worker in house.workers]
    assert counts == [5, 4, 5, 5]
    assert sum(counts) + 6 <= 22 + 4
    house.place.recover()
    house.loop.pass_time(5)
    assert house.used(client) == {"requests": 25}
    assert not house.run(turn(house.workers[0], client))


def test_turns_that_were_admitted_alone_hold_their_places_when_the_store_is_back(house_of: Callable[..., House]):
    house, client = house_of(2), client_of(concurrency=4, tokens_per_day=1000)
    house.place.fail()
    grants = [house.began(client) for _ in range(2)]
    assert not house.run(turn(house.workers[0], client))
    house.place.recover()
    house.loop.pass_time(key_limits.RENEW_SECONDS + 2)
    assert house.used(client) == {"turns": 2, "tokens_per_day": 0}
    for grant in grants:
        house.end(grant, tokens=10)
    house.loop.pass_time(2)
    assert house.used(client) == {"turns": 0, "tokens_per_day": 20}


def test_closing_settles_what_is_under_way(house_of: Callable[..., House]):
    house, client = house_of(), client_of(tokens_per_day=100)
    grant = house.began(client)
    house.end(grant, tokens=5)
    house.run(house.workers[0].close())
    assert house.used(client) == {"tokens_per_day": 5}


def test_crowds_get_as_many_places_as_there_are(house_of: Callable[..., House]):
    house, client = house_of(4), client_of(concurrency=7)

    async def crowd() -> int:
        grants = [house.workers[n % 4].begin(client) for n in range(200)]
        done = await asyncio.gather(*(grant.admitted() for grant in grants), return_exceptions=True)
        return done.count(None)

    assert house.run(crowd()) == 7


# --- Words ----------------------------------------------------------------------------------


def test_the_headers_are_those_of_openai():
    states = (
        LimitState("turns", 4, 1),
        LimitState("requests", 60, 59, 0.25),
        LimitState("tokens_per_day", 1000, 400, 86399.5),
        LimitState("tokens_per_week", 5000, 4900, 360.2),
    )
    assert ratelimit_headers(states) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "250ms",
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "100",
        "x-ratelimit-reset-tokens": "6m1s",
    }
    assert ratelimit_headers((LimitState("tokens_per_day", 5, 9, 86399.5),)) == {
        "x-ratelimit-limit-tokens": "5",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "24h0m0s",
    }
    assert ratelimit_headers(()) == {}


@pytest.mark.parametrize(
    ("state", "said", "seconds", "retry"),
    [
        (LimitState("turns", 4, 4), "4 concurrent requests. Try again in 1 s.", 1.0, None),
        (LimitState("requests", 60, 60, 12.3), "60 requests per minute. Try again in 13 s.", 12.3, None),
        (LimitState("tokens_per_day", 9, 10, 7200.0), "9 tokens in 24 hours. Try again in 2 h.", 7200.0, False),
        (LimitState("tokens_per_week", 9, 10, 90000.0), "9 tokens in 7 days. Try again in 1 d 1 h.", 90000.0, False),
    ],
)
def test_a_refusal_says_which_limit_and_until_when(state: LimitState, said: str, seconds: float, retry: Any):
    error = refusal((LimitState("requests", 99, 1, 99999.0), state))
    assert error.message == f"The limit of your API key is reached: {said}"
    assert (error.status_hint, error.code, error.retry_after_seconds) == (429, "rate_limit_exceeded", seconds)
    assert error.should_retry is retry
