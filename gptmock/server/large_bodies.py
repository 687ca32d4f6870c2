"""
Decodes large request bodies beside the event loop, so that other streams of the worker go on meanwhile. Knows sizes, no
dialect.

A thread helps because decoding is a row of steps: the loop gets its turn between two of them. Each step has to be short,
since most of them hold the interpreter lock (GIL).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

LARGE_BYTES = 256 * 1024
"""A smaller body is decoded sooner than a thread would begin with it."""

_Result = TypeVar("_Result")


class LargeBodies:
    """
    One thread of a worker. Several would compete with the loop for the interpreter lock, and hold more copies at once.
    """

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
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Take no more work. What has begun ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)
