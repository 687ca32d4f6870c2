"""
Decodes large request bodies in a thread, so that other streams of the worker go on meanwhile. Knows sizes, no dialect.

Decoding is a sequence of steps, and the event loop runs between two of them. Most of them hold the interpreter lock
(GIL), so each has to be short. The garbage collector would be the longest: a conversation of many messages makes a
million objects, and every further collection goes through all of them (120 ms, and half of the whole time). It is off
meanwhile; what is decoded has no cycles, and is freed without it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

LARGE_BYTES = 256 * 1024
"""A smaller body is decoded sooner than a thread would begin with it."""

_Result = TypeVar("_Result")


class LargeBodies:
    """The one thread of a worker for this; several would hold more bodies at once, and delay the event loop more."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gptmock-body")

    async def run(self, size_bytes: int, work: Callable[[], _Result]) -> _Result:
        """
        What ``work`` returns or raises.

        Args:
            size_bytes: of the body; a small one is worked on at once.
            work: must touch nothing that the loop changes.
        """
        if size_bytes < LARGE_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, _uncollected, work)

    def close(self) -> None:
        """Take no more work. What has begun ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _uncollected(work: Callable[[], _Result]) -> _Result:
    # For the whole process; there is one thread for this, so that no other turns it on meanwhile.
    gc.disable()
    try:
        return work()
    finally:
        gc.enable()
