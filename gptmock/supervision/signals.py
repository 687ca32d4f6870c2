"""Signals as readable events for a selector, and a fork that inherits no handler."""

from __future__ import annotations

import os
import signal
import socket
from types import FrameType
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


class Signals:
    """From its creation on, these signals only make the object readable."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        self._before: dict[int, Any] = {number: signal.signal(number, _noted) for number in _NUMBERS}
        # A stop from before, which ``cli`` has left pending.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NUMBERS)

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._read.fileno()

    def take(self) -> bytes:
        """The numbers of the signals that came."""
        try:
            return self._read.recv(4096)
        except BlockingIOError:
            return b""

    def fork(self) -> int:
        """Fork; the child has the handlers from before. A signal that comes meanwhile waits."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number, handler in self._before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            self._read.close()
            self._write.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return pid


def _noted(_number: int, _frame: FrameType | None) -> None:
    """The descriptor tells it."""
