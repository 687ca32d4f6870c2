from __future__ import annotations

import time

import pytest

from gptmock.supervision.fleet import (
    DEATH_WINDOW_SECONDS,
    DRAIN_MARGIN_SECONDS,
    MAX_FAILED_ROUNDS,
    SETTLED_SECONDS,
    Deaths,
    Fleet,
    Worker,
)
from gptmock.supervision.link import Link


def worker(place: int = 0, generation: int = 1) -> Worker:
    ours, theirs = Link.pair()
    ours.close()
    theirs.close()
    return Worker(ours, place, generation)


def test_each_round_of_early_deaths_makes_the_next_start_later():
    now = 1000.0
    deaths = Deaths(clock=lambda: now)
    assert deaths.pause == 0
    pauses = []
    for part in (1.0, 0.25, 0.75, 1.0, 1.0, 1.0, 1.0):
        assert deaths.note(part, is_failed_start=False)
        pauses.append(round(deaths.pause, 3))
    assert pauses == [0.1, 0.2, 0.2, 0.4, 0.8, 1.0, 1.0]
    for _ in range(2000):
        assert deaths.note(1.0, is_failed_start=False)
    assert round(deaths.pause, 3) == 1.0


@pytest.mark.parametrize("workers", [1, 6, 7, 64])
def test_a_server_gives_up_when_all_workers_have_failed_to_start_too_often(workers: int):
    deaths = Deaths(clock=lambda: 1000.0)
    for _ in range(2):
        for _ in range(MAX_FAILED_ROUNDS * workers):
            assert deaths.note(1 / workers, is_failed_start=True)
        deaths.served()
    for _ in range(MAX_FAILED_ROUNDS * workers):
        assert deaths.note(1 / workers, is_failed_start=True)
    assert not deaths.note(1 / workers, is_failed_start=True)


def test_deaths_of_long_ago_do_not_make_a_start_later():
    now = 1000.0
    deaths = Deaths(clock=lambda: now)
    for _ in range(5):
        assert deaths.note(1.0, is_failed_start=False)
    now += DEATH_WINDOW_SECONDS + 1
    assert deaths.pause == 0
    assert deaths.note(1.0, is_failed_start=False)
    assert round(deaths.pause, 3) == 0.1


def test_a_worker_that_has_served_for_a_while_is_settled():
    one = worker()
    assert (one.serving, one.settled) == (False, False)
    one.serving_since = time.monotonic()
    assert (one.serving, one.settled) == (True, False)
    one.serving_since -= SETTLED_SECONDS
    assert one.settled


def test_a_worker_that_does_not_start_or_does_not_end_is_overdue():
    starting, serving, draining = (worker() for _ in range(3))
    serving.serving_since = draining.serving_since = time.monotonic()
    draining.drain(delay=0, grace=0, linger=0)
    assert [one.overdue for one in (starting, serving, draining)] == [False] * 3
    for one in (starting, serving, draining):
        one.ends_by = time.monotonic() - 1
    assert [one.overdue for one in (starting, serving, draining)] == [True, False, True]


def test_a_worker_that_is_told_twice_to_finish_takes_the_earlier_end():
    one = worker()
    one.drain(delay=0, grace=3600, linger=0)
    one.drain(delay=0, grace=10, linger=0)
    sooner = one.ends_by
    assert sooner <= time.monotonic() + 10 + DRAIN_MARGIN_SECONDS
    one.drain(delay=0, grace=3600, linger=0)
    assert one.ends_by == sooner


def test_places_are_filled_from_the_lowest_one_for_each_generation():
    fleet = Fleet([worker(0, 1), worker(2, 1), worker(0, 2)])
    assert (fleet.free_place(1), fleet.free_place(2), fleet.free_place(3)) == (1, 1, 0)
    fleet.workers[0].draining = True
    assert fleet.free_place(1) == 0
    assert (len(fleet.of(1)), len(fleet.before(2)), len(fleet.before(3))) == (1, 1, 2)
