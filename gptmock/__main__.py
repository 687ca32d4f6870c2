"""The program's entry. It hears a stop before it imports the rest, which takes half a second."""

from __future__ import annotations

import os
import signal
import sys

_INTERRUPTED = 130
"""The exit code of a program that Ctrl-C has ended, as shells count."""

_ON_WINDOWS = "gptmock: Windows itself is not supported; install gptmock in WSL 2, or run its Docker image.\n"


def main() -> int:
    """Run one command; see ``gptmock.cli.main``. A stop while it is imported ends the process at once."""
    if os.name == "nt":
        sys.stderr.write(_ON_WINDOWS)
        return 1
    signal.signal(signal.SIGTERM, leave_at_once)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave_at_once)
    from gptmock.cli import main as run  # noqa: PLC0415 - a stop is heard before it is imported

    return run()


def leave_at_once(number: int, _frame: object) -> None:
    """The answer to a stop while modules are imported."""
    # No exception: an import may take it for its own failure and go on. There is nothing to tidy up yet.
    os._exit(_INTERRUPTED if number == signal.SIGINT else 0)


if __name__ == "__main__":
    sys.exit(main())
