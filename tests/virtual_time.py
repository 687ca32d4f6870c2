"""An event loop whose clock jumps to the next timer: hours pass in milliseconds, in the same order each time."""

from __future__ import annotations

import asyncio
import selectors


class _Selector(selectors.SelectSelector):
    """Never waits: where nothing is ready, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen")
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time`` is what the timers have added up to."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass, and all that happens in it."""
        self.run_until_complete(asyncio.sleep(seconds))

    def pass_turns(self, turns: int) -> None:
        """Let every task that can go on go on, so many times; no time passes."""
        self.run_until_complete(_turns(turns))

    def end(self) -> None:
        """Cancel what is left, as often as it takes, and close."""
        while left := asyncio.all_tasks(self):
            for task in left:
                task.cancel()
            self.pass_turns(5)
        self.close()


async def _turns(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
