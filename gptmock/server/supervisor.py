"""
Corrections of Sanic's worker manager, on its instance and with public hooks where there are any. Sanic is pinned to
a minor version because of this module; each correction has a test with real processes that tells when Sanic has it.

    early SIGTERM   while workers start, the manager re-sends the stop message to itself for ever (sanic #2997)
    killpg          a failed start SIGKILLs the manager's own process group, and with it the shell or the test run
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from sanic.exceptions import ServerKilled
from sanic.worker.manager import WorkerManager

from gptmock.server.context import App

log = logging.getLogger("gptmock.server")


def supervise(app: App) -> None:
    """Put the corrections on an app before it is served."""
    app.register_listener(_correct, "main_process_ready")


async def _correct(app: App) -> None:
    manager = app.manager
    _stop_while_starting(manager)
    _kill_workers_only(manager)


def _stop_while_starting(manager: WorkerManager) -> None:
    """A manager that has been told to stop does not wait for workers to come up."""
    # No public hook; see the module's first lines.
    all_acknowledged: Callable[[], bool] = manager._all_workers_ack  # noqa: SLF001

    def acknowledged_or_stopping() -> bool:
        return manager._shutting_down or all_acknowledged()  # noqa: SLF001

    manager._all_workers_ack = acknowledged_or_stopping  # type: ignore[method-assign] # noqa: SLF001


def _kill_workers_only(manager: WorkerManager) -> None:
    """Kill the workers one by one, never the process group that the manager shares with whoever started it."""

    def kill() -> None:
        for process in manager.processes:
            if process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        raise ServerKilled

    manager.kill = kill  # type: ignore[method-assign]
