"""The refresh lease on every store, and the failures and backoff that its holders report."""

from __future__ import annotations

from gptmock.accounts import RefreshLease, Trouble
from gptmock.stores.lease import StoreLease
from tests.stores.conftest import Place
from tests.stores.contract import until
from tests.stores.logins import ADA, BOB

LONG = 600.0
MET = Trouble(failures=3, message="down", unanswered="0123456789abcdef", left_seconds=60.0)


def lease_on(place: Place, owner: str = "me", account_id: str = ADA.id) -> RefreshLease:
    return StoreLease(place.open(), account_id, owner=owner, ttl_seconds=LONG)


async def test_one_worker_refreshes_an_account_at_a_time(place: Place):
    mine, yours, other = lease_on(place), lease_on(place, "you"), lease_on(place, "you", BOB.id)
    assert await mine.acquire()
    assert not await yours.acquire()
    assert await other.acquire()
    assert 0 < await mine.left_seconds() <= LONG
    assert await mine.renew()
    await mine.release()
    assert await yours.acquire()


async def test_trouble_is_told_with_what_is_left_of_the_pause(place: Place):
    assert await lease_on(place).trouble() == Trouble()
    await lease_on(place).report(MET)
    found = await lease_on(place, "you").trouble()
    assert (found.failures, found.message, found.unanswered) == (3, "down", "0123456789abcdef")
    assert 30 < found.left_seconds <= 60
    assert await lease_on(place, "you", BOB.id).trouble() == Trouble()


async def test_a_pause_ends_by_itself_and_the_count_stays(place: Place):
    lease = lease_on(place)
    await lease.report(Trouble(failures=1, message="down", left_seconds=0.1))

    async def over() -> bool:
        return (await lease.trouble()).left_seconds == 0.0

    await until(over)
    assert (await lease.trouble()).failures == 1
    await lease.report(Trouble(failures=2, message="down", left_seconds=60.0))
    assert (await lease.trouble()).left_seconds > 30


async def test_the_end_of_trouble_ends_its_pause(place: Place):
    await lease_on(place).report(MET)
    await lease_on(place, "you").report(Trouble())
    assert await lease_on(place).trouble() == Trouble()


async def test_a_pause_that_stands_gives_way_to_the_next(place: Place):
    """A holder that fails during a backoff reports a new one, which starts at once."""
    await lease_on(place).report(MET)
    await lease_on(place, "you").report(Trouble(failures=4, message="down", left_seconds=600.0))
    found = await lease_on(place).trouble()
    assert found.failures == 4
    assert 300 < found.left_seconds <= 600
