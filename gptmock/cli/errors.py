"""Exceptions that end a command with an exit code, and how they are told."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable


class CommandFailed(Exception):
    """The command failed: one line on stderr, exit code 1."""


class WrongUsage(Exception):
    """Wrong options or settings: one line on stderr for each mistake, exit code 2."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def exit_code_of(work: Callable[[], int | None]) -> int:
    """Run what a command does, and print why it failed. Returns 0, 1, 2, or 130 after Ctrl-C."""
    try:
        code = int(work() or 0)
        # Here, so that a closed pipe is handled below and gives no traceback.
        sys.stdout.flush()
    except WrongUsage as error:
        for mistake in error.mistakes:
            print(f"gptmock: {mistake}", file=sys.stderr)
        return 2
    except CommandFailed as error:
        print(f"gptmock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the pipe has left, as ``head`` does.
        _discard_stdout()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_stdout()
        print(f"gptmock: {error.strerror}", file=sys.stderr)
        return 1
    else:
        return code


def _discard_stdout() -> None:
    """Redirect stdout to /dev/null, since Python flushes it again at exit and would report the error once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
