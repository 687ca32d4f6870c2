"""Round trips that admissions and settlements of one worker share, at limits whose answers a test lets go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import pytest

from gptmock.clients import BegunTurn, ClientKey, EndedTurn, KeyTerms, LimitAnswer
from gptmock.errors import StoreUnavailable
from gptmock.gateway.limit_exchanges import TOGETHER_SECONDS, LimitExchanges
from gptmock.stores.key_limits import StoreKeyLimits
from gptmock.stores.memory import MemoryPlace, MemoryStore
from tests.virtual_time import VirtualLoop

KEY = ClientKey("k" * 8, "ada", 0.0, KeyTerms(rpm=99))
ADMITTED = LimitAnswer(admitted=True, states=())


class HeldLimits(StoreKeyLimits):
    """Each round trip ends when the test says how."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(MemoryPlace()))
        self.trips: list[tuple[list[str], list[str], asyncio.Future[None]]] = []
        """The turns that ended and began, and the end of the trip."""

    async def exchange(self, ended: Sequence[EndedTurn], begun: Sequence[BegunTurn]) -> list[LimitAnswer]:
        """See ``KeyLimits.exchange``."""
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.trips.append(([one.turn_id for one in ended], [one.turn_id for one in begun], end))
        await end
        return [ADMITTED for _ in begun]

    @property
    def carried(self) -> list[tuple[list[str], list[str]]]:
        return [(ended, begun) for ended, begun, _ in self.trips]


class Bench:
    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.limits = HeldLimits()
        self.owed: list[EndedTurn] = []
        self.exchanges = LimitExchanges(self.limits, owe=self.owed.extend)

    def admit(self, *names: str) -> list[asyncio.Task[LimitAnswer]]:
        tasks = [self.loop.create_task(self.exchanges.admit(BegunTurn(KEY, name))) for name in names]
        self.loop.pass_turns(3)
        return tasks

    def settle(self, *names: str, at_once: bool = False) -> None:
        async def settle() -> None:
            for name in names:
                self.exchanges.settle(EndedTurn(KEY, name, 1), at_once=at_once)

        self.loop.run_until_complete(settle())
        self.loop.pass_turns(3)

    def end(self, trip: int, error: BaseException | None = None) -> None:
        end = self.limits.trips[trip][2]
        if error is None:
            end.set_result(None)
        else:
            end.set_exception(error)
        self.loop.pass_turns(5)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.loop.end()


def test_those_that_come_in_one_turn_of_the_loop_share_a_trip(bench: Bench):
    waiting = bench.admit("a", "b", "c")
    assert bench.limits.carried == [([], ["a", "b", "c"])]
    bench.end(0)
    assert [one.result() for one in waiting] == [ADMITTED] * 3


def test_those_that_come_while_one_is_under_way_share_the_next(bench: Bench):
    bench.admit("a")
    waiting = bench.admit("b", "c")
    bench.settle("x", "y")
    assert bench.limits.carried == [([], ["a"])]
    bench.end(0)
    assert bench.limits.carried[1:] == [(["x", "y"], ["b", "c"])]
    bench.end(1)
    assert all(one.done() for one in waiting)


def test_a_trip_that_lasts_holds_nobody_up(bench: Bench):
    bench.admit("a")
    (waiting,) = bench.admit("b")
    bench.loop.pass_time(1.5 * TOGETHER_SECONDS)
    assert bench.limits.carried[1:] == [([], ["b"])]
    bench.end(1)
    assert waiting.done()


def test_a_settlement_waits_for_company_only_for_a_moment(bench: Bench):
    bench.settle("x")
    bench.loop.pass_time(0.5 * TOGETHER_SECONDS)
    assert bench.limits.carried == []
    bench.settle("y")
    bench.loop.pass_time(TOGETHER_SECONDS)
    assert bench.limits.carried == [(["x", "y"], [])]


def test_an_urgent_settlement_leaves_at_once_or_right_after_what_is_under_way(bench: Bench):
    bench.settle("x", at_once=True)
    bench.settle("y", at_once=True)
    assert bench.limits.carried == [(["x"], [])]
    bench.end(0)
    assert bench.limits.carried[1:] == [(["y"], [])]
    bench.end(1)
    bench.loop.pass_time(1)
    assert len(bench.limits.trips) == 2


def test_a_failure_is_told_to_all_that_wait_and_what_ended_is_owed(bench: Bench):
    waiting = bench.admit("a", "b")
    bench.settle("x", "y")
    bench.end(0, StoreUnavailable("gone"))
    for one in waiting:
        assert isinstance(one.exception(), StoreUnavailable)
    bench.loop.pass_time(1)
    bench.end(1, StoreUnavailable("gone"))
    assert [one.turn_id for one in bench.owed] == ["x", "y"]


@pytest.mark.parametrize(
    ("error", "seen"), [(RuntimeError("a defect"), RuntimeError), (asyncio.CancelledError(), asyncio.CancelledError)]
)
def test_after_a_defect_nobody_waits_for_ever(bench: Bench, error: BaseException, seen: type[BaseException]):
    told: list[dict[str, object]] = []
    bench.loop.set_exception_handler(lambda _, context: told.append(context))
    (waiting,) = bench.admit("a")
    bench.settle("x")
    bench.end(0, error)
    with pytest.raises(seen):
        waiting.result()
    bench.loop.pass_time(1)
    assert bench.limits.carried[1:] == [(["x"], [])]


def test_one_that_left_is_no_fault(bench: Bench):
    leaving, staying = bench.admit("a", "b")
    leaving.cancel()
    bench.loop.pass_turns(2)
    bench.end(0)
    assert leaving.cancelled()
    assert staying.result() is ADMITTED


@pytest.mark.parametrize("end", [lambda bench: bench.end(0), lambda bench: bench.end(0, StoreUnavailable("gone"))])
def test_closing_sends_what_waits(bench: Bench, end: Callable[[Bench], None]):
    bench.settle("x")
    closing = bench.loop.create_task(bench.exchanges.close())
    bench.loop.pass_turns(3)
    assert bench.limits.carried == [(["x"], [])]
    end(bench)
    assert closing.done()
