from __future__ import annotations

import pytest

from gptmock.accounts import Secret
from gptmock.clients import KeyTerms, key_text
from gptmock.errors import TooManyRequests, Unauthorized
from gptmock.gateway.admission import Admission
from gptmock.gateway.guesses import GUESS_SECONDS, MAX_GUESSES, Guesses, source_of
from gptmock.stores.audit import StoreAuditLog
from gptmock.stores.client_keys import StoreClientKeys
from gptmock.stores.guesses import StoreGuesses
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer
from tests.gateway.memory import KEY as SEALING_KEY
from tests.gateway.memory import Clock

WEAK, STRONG = "hunter2-hunter2", "sk-planted-0123456789abcdef"
ALICE, MALLORY = "192.0.2.1", "198.51.100.7"


class House:
    """Workers of servers on one store."""

    def __init__(self, api_key: str = WEAK) -> None:
        self.clock = Clock()
        self.place = MemoryPlace(self.clock)
        self.events = StoreAuditLog(MemoryStore(self.place))
        self.keys = StoreClientKeys(MemoryStore(self.place), Sealer([SEALING_KEY]), clock=self.clock)
        self.workers = [self._worker(api_key) for _ in range(2)]

    def _worker(self, api_key: str) -> Admission:
        store, alone = MemoryStore(self.place), MemoryStore(MemoryPlace(self.clock))
        guesses = Guesses(StoreGuesses(store), StoreGuesses(alone), self.events, clock=self.clock, timer=self.clock)
        return Admission(Secret(api_key), self.keys, guesses=guesses)

    async def refusals(self, count: int, *, source: str = MALLORY, start: int = 0) -> list[int]:
        """The statuses of so many different guesses, by all workers in turn."""
        statuses = []
        for number in range(start, start + count):
            with pytest.raises((Unauthorized, TooManyRequests)) as caught:
                await self.admit(f"guess-{number}", source, worker=number % 2)
            statuses.append(caught.value.status_hint)
        return statuses

    async def admit(self, key: str, source: str, *, worker: int = 0) -> None:
        header = ("authorization", f"Bearer {key}") if worker else ("x-api-key", key)
        await self.workers[worker].admit(dict([header]), source=source)


async def test_guesses_are_counted_over_all_workers_and_end_in_one_entry_of_the_log():
    house = House()
    assert await house.refusals(MAX_GUESSES) == [401] * MAX_GUESSES
    assert await house.events.latest(10) == []
    assert await house.refusals(50, start=MAX_GUESSES) == [429] * 50
    (event,) = await house.events.latest(10)
    assert (event.action, event.actor.origin, event.at) == ("keys.guessed", MALLORY, house.clock.now)
    assert "guess-" not in str(event)
    assert await house.refusals(5, source=ALICE) == [401] * 5
    house.clock.now += GUESS_SECONDS
    assert await house.refusals(MAX_GUESSES, start=500) == [401] * MAX_GUESSES
    assert await house.refusals(9, start=900) == [429] * 9
    assert len(await house.events.latest(10)) == 2, "another burst"


async def test_a_refusal_says_when_and_no_sdk_repeats_it_by_itself():
    house = House()
    await house.refusals(MAX_GUESSES)
    house.clock.now += 100
    with pytest.raises(TooManyRequests) as caught:
        await house.admit("guess", MALLORY)
    assert caught.value.retry_after_seconds == pytest.approx(GUESS_SECONDS - 100, abs=1)
    assert caught.value.should_retry is False
    assert "guess" not in caught.value.message


async def test_an_old_key_that_is_repeated_is_no_guess():
    house = House()
    for number in range(5 * MAX_GUESSES):
        with pytest.raises(Unauthorized):
            await house.admit("of-last-year", MALLORY, worker=number % 2)
    assert await house.events.latest(10) == []


async def test_a_key_that_can_be_guessed_is_not_tried_during_a_burst():
    house = House()
    await house.admit(WEAK, MALLORY)
    await house.refusals(MAX_GUESSES + 2)
    for worker in (0, 1):
        with pytest.raises(TooManyRequests):
            await house.admit(WEAK, MALLORY, worker=worker)
        await house.admit(WEAK, ALICE, worker=worker)
    house.clock.now += GUESS_SECONDS
    await house.admit(WEAK, MALLORY)


async def test_who_shares_the_address_of_a_guesser_goes_on():
    house = House(STRONG)
    issued = await house.keys.create("ada", KeyTerms())
    await house.refusals(MAX_GUESSES + 2)
    for worker in (0, 1):
        await house.admit(STRONG, MALLORY, worker=worker)
        await house.admit(issued.text.reveal(), MALLORY, worker=worker)
        with pytest.raises(TooManyRequests):
            await house.admit(key_text(issued.key.id, "x" * 43).reveal(), MALLORY, worker=worker)


async def test_a_right_key_costs_no_round_trip_more():
    house = House(STRONG)
    issued = await house.keys.create("ada", KeyTerms())
    await house.admit(issued.text.reveal(), MALLORY)
    await house.refusals(MAX_GUESSES + 2)
    before = house.place.calls
    for key in (issued.text.reveal(), STRONG):
        await house.admit(key, MALLORY)
    with pytest.raises(TooManyRequests):
        await house.admit("guess-again", MALLORY)
    assert house.place.calls == before, "nor a guess during a burst"


async def test_without_the_store_each_worker_counts_alone():
    house = House()
    house.place.fail()
    statuses = await house.refusals(2 * MAX_GUESSES + 4)
    assert statuses == [401] * 2 * MAX_GUESSES + [429] * 4
    house.place.recover()


async def test_the_login_of_a_codex_and_no_key_at_all_are_no_guesses():
    house = House()
    jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0."
    for number in range(2 * MAX_GUESSES):
        for headers in ({"authorization": f"Bearer {jwt}{number}"}, {}):
            with pytest.raises(Exception, match="key") as caught:
                await house.workers[0].admit(headers, source=MALLORY)
            assert caught.value.status_hint in (401, 403)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_what_is_counted_together(address: str, source: str):
    assert source_of(address) == source
