"""
Ends a block of a task early: ``asyncio.timeout`` at half its price, for the blocks that every turn enters. Must
not know what is interrupted.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Interrupted(Exception):
    """The block was ended by ``Interruption.interrupt``, or its time is over."""


class Interruption:
    """
    A context manager, entered once by the task whose block is to be ended.

    A cancellation of the task by others passes through, also if it comes together with an interruption.

    Args:
        seconds: how long the block may last; ``None`` starts no timer.

    Raises:
        Interrupted: on leaving.
    """

    __slots__ = ("_came", "_cancelling", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cancelling = 0
        self._came = False

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task()
        assert task is not None  # noqa: S101 - no coroutine runs outside of one
        self._cancelling = task.cancelling()
        if self._seconds is not None:
            self._timer = task.get_loop().call_later(self._seconds, self.interrupt)
        return self

    def interrupt(self) -> bool:
        """End the block now. Returns whether it does; not before the block, after it, or a second time."""
        if self._task is None or self._came:
            return False
        self._came = True
        self._task.cancel()
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
        if self._came and task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise Interrupted from error
