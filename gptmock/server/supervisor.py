"""
Works around defects of Sanic's worker manager, by patching its instance where there is no public hook. Sanic is pinned
to a minor version because of this module; each workaround has a test with real processes.

    in the manager
      early SIGTERM   while workers start, it re-sends the stop message to itself for ever (sanic #2997)
      stop in a call  its signal handler calls the shared state, perhaps in the middle of such a call: the manager
                      breaks, never stops its workers, and waits for them
      killpg          a failed start SIGKILLs its own process group, and with it the shell or the test run
      respawn         a worker that dies is not restarted, and nothing is logged (sanic #3062)
      early death     while workers start, it re-sends a worker's restart message for ever
      drain           it waits 10 seconds for each worker, whatever the configured grace, and then exits
      lost stop       a worker that is starting misses the signal: it is sent again until the worker exits
    in each worker
      Ctrl-C          a terminal signals the whole process group, so workers get SIGINT twice and cut their streams
      orphans         when the manager is killed, workers go on serving and hold the port, and the process of the
                      shared state never exits
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.util import Finalize

from sanic.exceptions import ServerKilled
from sanic.worker.manager import WorkerManager

from gptmock.server.context import App
from gptmock.server.temporary_folder import end_state_process

log = logging.getLogger("gptmock.server")

WATCH_SECONDS = 0.2
ASK_AGAIN_SECONDS = 0.5
MAX_DEATHS = 5
"""More deaths than this within ``DEATH_WINDOW_SECONDS`` are no accident: the server gives up and says so."""
DEATH_WINDOW_SECONDS = 60.0
DRAIN_MARGIN_SECONDS = 10.0
"""On top of the workers' own grace, for closing what they hold."""
_WORKER_NAME = "Sanic-Server"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def supervise(app: App) -> None:
    """Put the corrections on an app before it is served."""
    if multiprocessing.parent_process() is not None:
        _leave_the_terminal()
        _expect_the_loop()
    app.ctx.gave_up = app.ctx.is_up = app.ctx.has_lost_workers = False
    app.register_listener(_correct_manager, "main_process_ready")
    app.register_listener(_wait_for_workers, "main_process_stop")
    app.register_listener(_follow_manager, "after_server_start")
    app.register_listener(_drain_in_peace, "before_server_stop")


def gave_up(app: App) -> bool:
    """Whether the server stopped because its workers kept dying."""
    return bool(app.ctx.gave_up)


# --- In the manager ---------------------------------------------------------------------


async def _correct_manager(app: App) -> None:
    manager = app.manager
    _wait_for_the_living(app, manager)
    _kill_workers_only(manager)
    watch = _Watch(app, manager)
    _hear_stops(manager, watch)
    threading.Thread(target=watch.run, name="worker-watch", daemon=True).start()


def _wait_for_the_living(app: App, manager: WorkerManager) -> None:
    """A manager that has been told to stop does not wait for workers to come up, nor for one that was killed."""
    # No public hook; see the module's first lines.
    all_acknowledged: Callable[[], bool] = manager._all_workers_ack  # noqa: SLF001

    def waited_enough() -> bool:
        app.ctx.is_up = manager._shutting_down or app.ctx.has_lost_workers or all_acknowledged()  # noqa: SLF001
        return bool(app.ctx.is_up)

    manager._all_workers_ack = waited_enough  # type: ignore[method-assign] # noqa: SLF001


def _kill_workers_only(manager: WorkerManager) -> None:
    """Kill the workers one by one, never the process group that the manager shares with whoever started it."""

    def kill() -> None:
        for process in manager.processes:
            if process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        raise ServerKilled

    manager.kill = kill  # type: ignore[method-assign]


def _hear_stops(manager: WorkerManager, watch: _Watch) -> None:
    """The signal handler only sets a flag; the watch thread acts on it, where no call can be interrupted."""

    def stop(_number: int, _frame: object) -> None:
        if watch.told_to_stop:
            with suppress(ServerKilled):
                manager.kill()  # type: ignore[no-untyped-call]
        watch.told_to_stop = True

    for number in _STOP_SIGNALS:
        signal.signal(number, stop)


class _Watch:
    """A thread that lets the manager restart dead workers, and stops all workers after a stop signal."""

    def __init__(self, app: App, manager: WorkerManager) -> None:
        self._app = app
        self._manager = manager
        self._deaths: deque[float] = deque()
        self._seen: set[int] = set()
        """Pids whose death has been dealt with."""
        self.told_to_stop = False

    def run(self) -> None:
        while not self._manager._shutting_down:  # noqa: SLF001
            time.sleep(WATCH_SECONDS)
            if self.told_to_stop:
                # What Sanic's own handler does, in its order.
                self._manager.monitor_publisher.send(None)
                self._manager.shutdown()  # type: ignore[no-untyped-call]
                break
            for process in tuple(self._manager.transient_processes):
                pid = process.pid
                if pid is None or pid in self._seen or process.is_alive() or self._manager._shutting_down:  # noqa: SLF001
                    continue
                self._seen.add(pid)
                if not self._app.ctx.is_up and (process.exitcode or 0) >= 0:
                    # It could not start, and has told the manager so itself: that is the end.
                    continue
                if not self._dead(process.name, pid):
                    break
        self._ask_again()

    def _ask_again(self) -> None:
        """
        A worker that drains ignores it (``_drain_in_peace``); one that never heard it stops. For as long as the
        manager lives: told to stop before it has started its workers, it starts them all the same.
        """
        while True:
            time.sleep(ASK_AGAIN_SECONDS)
            for process in self._manager.processes:
                if process.pid is not None and process.is_alive():
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGTERM)

    def _dead(self, name: str, pid: int) -> bool:
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths[0] < now - DEATH_WINDOW_SECONDS:
            self._deaths.popleft()
        if len(self._deaths) > MAX_DEATHS:
            log.error("server.gave_up", extra={"deaths": len(self._deaths), "within_seconds": DEATH_WINDOW_SECONDS})
            self._app.ctx.gave_up = True
            os.kill(os.getpid(), signal.SIGTERM)
            return False
        log.error("server.worker_died", extra={"worker": name, "died_pid": pid})
        self._app.ctx.has_lost_workers = True
        # The message that ``app.m.restart(name)`` sends: the manager acts on it in its own loop, without a race.
        self._manager.monitor_publisher.send(f"{name}:")
        return True


async def _wait_for_workers(app: App) -> None:
    # Blocking: nothing else runs in the manager's loop, and its workers are all that it waits for.
    deadline = time.monotonic() + app.config.GRACEFUL_SHUTDOWN_TIMEOUT + DRAIN_MARGIN_SECONDS
    for child in multiprocessing.active_children():
        if child.name.startswith(_WORKER_NAME):
            child.join(max(0.0, deadline - time.monotonic()))


# --- In each worker -----------------------------------------------------------------------


def _leave_the_terminal() -> None:
    # A session of its own: a terminal's Ctrl-C reaches the manager, which stops the workers in their order.
    with suppress(PermissionError):
        os.setsid()


def _expect_the_loop() -> None:
    # Until the loop takes signals, Python's own answer would be a KeyboardInterrupt somewhere in a task.
    for stop in _STOP_SIGNALS:
        signal.signal(stop, signal.SIG_IGN)


async def _follow_manager(_: App) -> None:
    manager = multiprocessing.parent_process()
    if manager is None:
        return
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(manager.sentinel)
        log.error("server.orphaned")
        # At the exit of this worker: until then it speaks to it.
        Finalize(None, end_state_process, exitpriority=0)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(manager.sentinel, orphaned)


async def _drain_in_peace(app: App) -> None:
    """From here on no signal cuts what is being streamed; the manager's SIGKILL remains for who cannot wait."""
    app.ctx.services.draining = True
    if multiprocessing.parent_process() is None:
        return
    loop = asyncio.get_running_loop()
    for stop in _STOP_SIGNALS:
        loop.remove_signal_handler(stop)
        signal.signal(stop, signal.SIG_IGN)
