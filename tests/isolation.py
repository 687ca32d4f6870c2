"""
A readers-writer lock between the processes of one test run: ordinary tests run side by side, a test marked ``alone``
runs while no other process runs one. The lock is made of two locked files, so that a process which dies releases it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class RunLock:
    """One process's side of the lock. Every process of a run gives the same folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._queue = _opened(folder / "queue")
        self._running = _opened(folder / "running")
        self._alone = False
        """Whether this process holds the lock for itself."""

    def enter(self, *, alone: bool) -> None:
        """Wait until a test of this kind may run."""
        if self._alone:
            return
        # The queue is held while a process waits for its turn alone: those behind it cannot overtake it for ever.
        fcntl.flock(self._queue, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._queue, fcntl.LOCK_UN)
        self._alone = alone

    def leave(self, *, next_alone: bool) -> None:
        """The test has ended; ``next_alone`` keeps the lock for the next test, that nobody waits twice."""
        if self._alone and next_alone:
            return
        fcntl.flock(self._running, fcntl.LOCK_UN)
        self._alone = False


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
