"""The end of child processes."""

from __future__ import annotations

import os
import time
from contextlib import suppress

_LOOK_SECONDS = 0.01


class Children:
    """Takes note of children that end, so that none stays a zombie."""

    def __init__(self) -> None:
        self._awaited: set[int] = set()
        self._statuses: dict[int, int] = {}

    def add(self, pid: int) -> None:
        """Remember how this one ends, for ``exit_code``."""
        self._awaited.add(pid)

    def reap(self) -> None:
        """Also what is not ours: as PID 1 of a container this process is the parent of all orphans."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                pid, status = found
                if pid in self._awaited:
                    self._awaited.discard(pid)
                    self._statuses[pid] = status

    def exit_code(self, pid: int) -> int:
        """Wait for the end of a child. Of one that a signal has ended it is what a shell says."""
        if pid not in self._statuses:
            with suppress(ChildProcessError):
                self._statuses[pid] = os.waitpid(pid, 0)[1]
        code = os.waitstatus_to_exitcode(self._statuses.pop(pid, 1 << 8))
        return code if code >= 0 else 128 - code

    def ends_within(self, seconds: float, pid: int) -> bool:
        """Wait for the end of a child, but no longer than that."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if os.waitpid(pid, os.WNOHANG) != (0, 0):
                    return True
            except ChildProcessError:
                return True
            time.sleep(_LOOK_SECONDS)
        return False
