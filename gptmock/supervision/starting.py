"""A starter as the supervisor knows it, and its fork."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from gptmock.supervision.children import Children
from gptmock.supervision.link import Link, Message
from gptmock.supervision.plan import Inherited, Load
from gptmock.supervision.signals import Signals
from gptmock.supervision.starter import run_starter

RunCommand: TypeAlias = Callable[[Callable[[], int]], int]
"""Runs what the starter does, prints the errors that it knows, and returns an exit code."""

STOP_SECONDS = 0.5
"""What a starter that is told to stop may take before it is killed."""


@dataclass(eq=False, slots=True)
class Starter:
    """The process that forks workers."""

    pid: int
    link: Link
    generation: int
    """From 1; a reload is one more."""
    plan: Message | None = None
    """What it has told when it was ready: see ``supervision.starter``."""

    def told(self, name: str) -> Any:
        """A part of its plan; only of one that is ready."""
        assert self.plan is not None  # noqa: S101 - see above
        return self.plan[name]

    def dismiss(self, children: Children) -> None:
        """End it. Its workers stay; whoever is the parent of orphans takes note of their end."""
        self.link.send({"end": True})
        # One that is ready writes the log that it was given, and ends; another one may be in the middle of a login.
        self.link.close()
        with suppress(ProcessLookupError):
            if self.plan is None:
                os.kill(self.pid, signal.SIGTERM)
            if not children.ends_within(STOP_SECONDS, self.pid):
                os.kill(self.pid, signal.SIGKILL)


def fork_starter(
    signals: Signals, load: Load, run_command: RunCommand, inherited: Inherited, others: Iterable[Link]
) -> tuple[int, Link]:
    """
    Start a starter; returns its pid and the link to it.

    Args:
        signals: of this process.
        load: see ``supervision.plan``.
        run_command: see above.
        inherited: what it begins with.
        others: this process's links to others: their ends must not stay open in the new process.
    """
    ours, theirs = Link.pair()
    pid = signals.fork()
    if pid:
        theirs.close()
        return pid, ours
    code = 1
    try:
        for link in (ours, *others):
            link.close()
        code = run_command(partial(run_starter, theirs, load, inherited))
        sys.stdout.flush()
    except SystemExit as end:
        # A stop; see ``cli``.
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - the outermost edge of a process
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
