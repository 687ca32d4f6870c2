"""
``python -m gptmock.cli.leash COMMAND ...``: a command that ends with the process that has started it, also when that is
killed. Its standard input is a pipe, whose other end only that process holds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from gptmock.__main__ import main

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _follow() -> None:
    # Not through ``sys.stdin``: its lock, held at the end of the interpreter, is a fatal error.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _start() -> None:
    # The thread inherits the mask, so that a stop comes to whoever waits for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    threading.Thread(target=_follow, name="leash", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


if __name__ == "__main__":
    _start()
    sys.exit(main())
