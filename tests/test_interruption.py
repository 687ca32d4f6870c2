"""``Interruption``: what it ends, and what passes through it as through ``asyncio.timeout``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from gptmock.interruption import Interrupted, Interruption


def cancellations() -> int:
    """How many cancellations are left over, of which one would make the task look cancelled by others."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def wait_in(*blocks: Interruption, then: Callable[[], object] = lambda: None) -> None:
    """Wait inside blocks, the first one outermost; ``then`` is called inside all of them."""
    if not blocks:
        then()
        await asyncio.sleep(30)
        return
    with blocks[0]:
        await wait_in(*blocks[1:], then=then)


async def test_a_block_is_ended_by_another():
    interruption = Interruption()
    asyncio.get_running_loop().call_soon(interruption.interrupt)
    with pytest.raises(Interrupted):
        await wait_in(interruption)
    assert cancellations() == 0


async def test_a_block_is_ended_by_its_time():
    with pytest.raises(Interrupted):
        await wait_in(Interruption(0.01))
    assert cancellations() == 0


async def test_a_block_that_ends_in_time_is_left_alone():
    with Interruption(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)
    assert cancellations() == 0


async def test_only_the_first_interruption_inside_the_block_counts():
    interruption = Interruption()
    said = [interruption.interrupt()]
    with pytest.raises(Interrupted):
        await wait_in(interruption, then=lambda: said.extend([interruption.interrupt(), interruption.interrupt()]))
    assert [*said, interruption.interrupt()] == [False, True, False, False]
    assert cancellations() == 0


async def test_what_the_block_raises_itself_is_not_replaced():
    async def fail() -> None:
        with Interruption() as interruption:
            interruption.interrupt()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                raise KeyError from None

    with pytest.raises(KeyError):
        await fail()
    assert cancellations() == 0


async def test_a_block_may_end_well_although_it_was_interrupted():
    with Interruption() as interruption:
        interruption.interrupt()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
    assert cancellations() == 0


@pytest.mark.parametrize("order", [1, -1])
async def test_a_cancellation_by_others_passes_through(order: int):
    interruption = Interruption()
    task = asyncio.get_running_loop().create_task(wait_in(interruption))
    await asyncio.sleep(0)
    for call in (interruption.interrupt, task.cancel)[::order]:
        call()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("which", [0, 1])
async def test_of_nested_blocks_the_one_that_is_meant_ends(which: int):
    blocks = Interruption(), Interruption()

    async def work() -> str:
        try:
            with blocks[0]:
                try:
                    await wait_in(blocks[1], then=blocks[which].interrupt)
                except Interrupted:
                    return "inner"
        except Interrupted:
            return "outer"
        return "none"

    assert await work() == ("outer", "inner")[which]
    assert cancellations() == 0


async def test_a_timeout_around_it_is_told_from_it():
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_in(Interruption()), 0.01)
