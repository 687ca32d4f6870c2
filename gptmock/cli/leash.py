"""
``python -m gptmock.cli.leash COMMAND ...``: a command that ends with the process that has started it, also when that is
killed. Its standard input is a pipe, whose other end only that process holds.
"""

from __future__ import annotations

import os
import signal
import sys

from gptmock.__main__ import main

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _start() -> None:
    """A child waits for the end of the pipe. Not a thread: the server forks."""
    watched = os.getpid()
    if os.fork():
        # Not to be read by anybody else; the child has it.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        return
    # It ends with what it watches over, and not before.
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    if os.getppid() == watched:
        os.kill(watched, signal.SIGTERM)
    os._exit(0)


if __name__ == "__main__":
    _start()
    sys.exit(main())
