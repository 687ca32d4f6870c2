"""
The supervisor: the first process of a server. It imports no application and stays small. It holds the listening
sockets, starts workers through a starter (``supervision.starter``), replaces those that die, and passes on stops.

    supervisor (this process)
    └── starter                has imported the application; a reload starts another one
        ├── worker 0           one Sanic server on the shared socket
        └── worker 1

    SIGTERM, SIGINT            drain: not ready, no new connections after a delay, streams finish within a grace
    again                      end at once
    SIGHUP                     reload: a new starter with new settings, then worker by worker; each old one drains
                               when its successor serves, for as long as a turn may last. If the new starter or its
                               first worker fails, nothing changes
    a worker dies              it is replaced, after a pause if it has lived for seconds only. The server gives up when
                               its workers fail to start ``MAX_FAILED_ROUNDS`` times, not when they are killed
    the supervisor dies        its links close: the starter ends, and the workers drain and end
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from gptmock.supervision.children import Children
from gptmock.supervision.fleet import Deaths, Fleet, Worker
from gptmock.supervision.link import Link
from gptmock.supervision.listening import activated_sockets, remove_socket_file, socket_file
from gptmock.supervision.pid_file import PidFile
from gptmock.supervision.plan import Inherited, Load
from gptmock.supervision.service_manager import ServiceManager
from gptmock.supervision.signals import Signals
from gptmock.supervision.starting import RunCommand, Starter, fork_starter

LOOK_SECONDS = 0.5
"""The longest time between two looks at deadlines."""
STOP_LINGER_SECONDS, RELOAD_LINGER_SECONDS = 0.2, 1.0
"""Idle connections are closed when they have been idle for so long: a request may be on its way. At a reload nobody
waits for that."""
_STOPS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTED = 130
_KILLED = 128
"""Exit codes above it are those of signals."""


class Ending(Enum):
    """How a server ended that had been told to serve; for others see ``Supervisor.run``."""

    STOPPED = "stopped"
    START_FAILED = "start failed"
    WORKERS_KEEP_DYING = "workers keep dying"


ExitCode: TypeAlias = int


class Supervisor:
    """
    Runs a server until it is stopped.

    Args:
        load: called in the starter; see ``supervision.plan``.
        run_command: see ``supervision.starting``.
    """

    def __init__(self, load: Load, run_command: RunCommand) -> None:
        self._load = load
        self._run_command = run_command
        self._service = ServiceManager()
        self._sockets = activated_sockets()
        self._is_activated = bool(self._sockets)
        self._socket_file: tuple[Path, tuple[int, int]] | None = None
        """Which we have made, and remove."""
        self._folder: Path | None = None
        self._lock: int | None = None
        """That of the folder: held by all processes of the server, which inherit it."""
        self._had_terminal = os.isatty(0)
        self._selector = selectors.DefaultSelector()
        self._fleet = Fleet()
        self._deaths = Deaths()
        self._generation = 0
        self._starter: Starter | None = None
        """The one whose workers serve."""
        self._candidate: Starter | None = None
        """One that is to take its place: it loads, or its first worker starts."""
        self._children = Children()
        self._pid_file: PidFile | None = None
        self._has_served = False
        self._workers: int | None = None
        self._reload_again = False
        self._rolled_generation = 0
        """That whose workers are all there are."""
        self._stops = 0
        self._delay = self._grace = 0.0
        """Seconds, by the plan that holds."""
        self._closes_at = float("inf")
        self._ending: Ending | ExitCode | None = None
        self._ends_as: Ending | ExitCode = Ending.STOPPED

    def run(self) -> Ending | ExitCode:
        """Returns how the server ended, or the exit code of a starter that has ended and printed why."""
        self._signals = Signals()
        self._selector.register(self._signals, selectors.EVENT_READ, self._hear)
        self._launch()
        try:
            while self._ending is None:
                for key, _ in self._selector.select(self._patience()):
                    # What was heard before may have closed this one.
                    if self._selector.get_map().get(key.fd) is key:
                        key.data()
                self._look()
        finally:
            self._clean()
        return self._ending

    # --- Signals -----------------------------------------------------------------------

    def _hear(self) -> None:
        for number in self._signals.take():
            if number == signal.SIGCHLD:
                self._children.reap()
            elif number in _STOPS:
                self._stop(signal.Signals(number))
            elif number == signal.SIGHUP:
                # Of a terminal that is gone, or of an operator.
                if self._had_terminal and not os.isatty(0):
                    self._stop(signal.SIGTERM)
                else:
                    self._reload()

    def _stop(self, number: signal.Signals) -> None:
        self._stops += 1
        if self._stops > 1:
            self._end_now()
            return
        self._service.stopping()
        candidate, self._candidate = self._candidate, None
        if candidate is not None and self._starter is None and not self._fleet.workers:
            self._ends_as = _INTERRUPTED if number == signal.SIGINT else Ending.STOPPED
        if candidate is not None:
            self._dismiss(candidate)
        self._closes_at = time.monotonic() + self._delay
        for worker in self._fleet.workers:
            worker.drain(delay=self._delay, grace=self._grace, linger=STOP_LINGER_SECONDS)

    def _end_now(self) -> None:
        self._fleet.kill()
        self._ending = self._ends_as

    def _give_up(self, ending: Ending) -> None:
        self._ends_as = ending
        if not self._stops:
            self._stop(signal.SIGTERM)

    def _reload(self) -> None:
        if self._stops or (self._starter is None and self._candidate is not None):
            return
        if self._candidate is not None or self._is_rolling():
            self._reload_again = True
            return
        self._service.reloading()
        self._log("server.reloading", "INFO")
        self._launch()

    # --- Starters ----------------------------------------------------------------------

    def _launch(self) -> None:
        self._generation += 1
        inherited = Inherited(self._sockets, self._is_activated, self._folder, self._workers)
        others = [self._starter.link] if self._starter is not None else []
        others += [worker.link for worker in self._fleet.workers]
        pid, link = fork_starter(self._signals, self._load, self._run_command, inherited, others)
        self._children.add(pid)
        self._candidate = Starter(pid, link, self._generation)
        self._listen(link, partial(self._hear_starter, self._candidate))

    def _hear_starter(self, starter: Starter) -> None:
        try:
            messages = starter.link.receive()
        except EOFError:
            self._forget(starter.link)
            self._starter_ended(starter)
            return
        for message in messages:
            starter.plan = message
            self._planned(starter)

    def _planned(self, starter: Starter) -> None:
        if self._folder is None:
            self._folder, self._lock = Path(starter.told("folder")), starter.link.descriptors.pop(0)
        if not self._sockets:
            self._sockets = [socket.socket(fileno=one) for one in starter.link.descriptors]
            starter.link.descriptors.clear()
            self._socket_file = socket_file(self._sockets[0])
        self._workers = starter.told("workers")
        if self._pid_file is None:
            self._pid_file = PidFile.claimed(starter.told("pid_file"), starter.told("home"))
        if self._starter is None and not self._fleet.workers:
            self._promote(starter)
        else:
            self._start_worker(starter)

    def _starter_ended(self, starter: Starter) -> None:
        if starter not in (self._starter, self._candidate) or self._stops:
            return
        code = self._children.exit_code(starter.pid)
        if starter is self._candidate:
            self._candidate = None
            if not self._has_served and starter.plan is None:
                self._ending = code
                return
            self._reload_failed(starter)
        else:
            self._starter = None
        if self._starter is None:
            has_failed = starter.plan is None and code < _KILLED
            self._note_death(1.0, is_failed_start=has_failed or not self._has_served)

    def _reload_failed(self, candidate: Starter) -> None:
        for worker in self._fleet.of(candidate.generation):
            worker.drain(delay=0.0, grace=0.0, linger=0.0)
        self._log("server.reload_failed", "ERROR")
        self._service.ready()

    def _promote(self, starter: Starter) -> None:
        """Its workers are those that serve from now on."""
        before, self._starter, self._candidate = self._starter, starter, None
        self._delay, self._grace = starter.told("delay"), starter.told("grace")
        if before is not None:
            self._dismiss(before)

    def _dismiss(self, starter: Starter) -> None:
        self._forget(starter.link)
        starter.dismiss(self._children)

    # --- Workers -----------------------------------------------------------------------

    def _start_worker(self, starter: Starter) -> None:
        ours, theirs = Link.pair()
        worker = Worker(ours, self._fleet.free_place(starter.generation), starter.generation)
        starter.link.send({"start": worker.place}, theirs.fileno())
        theirs.close()
        self._fleet.workers.append(worker)
        self._listen(ours, partial(self._hear_worker, worker))

    def _hear_worker(self, worker: Worker) -> None:
        try:
            messages = worker.link.receive()
        except EOFError:
            self._worker_ended(worker)
            return
        for message in messages:
            if "pid" in message:
                worker.pid = message["pid"]
            elif "failed" in message:
                worker.failed = True
            elif "serving" in message:
                worker.serving_since = time.monotonic()
                self._serves(worker)

    def _serves(self, worker: Worker) -> None:
        self._deaths.served()
        if self._candidate is not None and worker.generation == self._candidate.generation:
            self._promote(self._candidate)
        if not self._has_served and self._starter is not None:
            self._has_served = True
            print(self._starter.told("announcement"), flush=True)  # noqa: T201 - the one line of a start
            self._service.ready()

    def _worker_ended(self, worker: Worker) -> None:
        self._forget(worker.link)
        self._fleet.workers.remove(worker)
        if worker.draining or self._stops:
            return
        if self._candidate is not None and worker.generation == self._candidate.generation:
            candidate, self._candidate = self._candidate, None
            self._reload_failed(candidate)
            self._dismiss(candidate)
            return
        if worker.failed and not self._has_served:
            self._give_up(Ending.START_FAILED)
            return
        self._log("server.worker_died", "ERROR", worker=worker.place, died_pid=worker.pid)
        if not worker.settled:
            self._note_death(1 / (self._workers or 1), is_failed_start=worker.failed or not self._has_served)

    def _note_death(self, part: float, *, is_failed_start: bool) -> None:
        if not self._deaths.note(part, is_failed_start=is_failed_start and not self._fleet.serves):
            self._log("server.gave_up", "ERROR", failed_rounds=round(self._deaths.failed_rounds, 1))
            self._give_up(Ending.WORKERS_KEEP_DYING)

    # --- Time --------------------------------------------------------------------------

    def _patience(self) -> float:
        waits = [LOOK_SECONDS, max(0.0, self._closes_at - time.monotonic())]
        if self._deaths.pause:
            waits.append(self._deaths.pause)
        return min(waits)

    def _look(self) -> None:
        if self._ending is not None:
            return
        for worker in self._fleet.workers:
            if worker.overdue:
                worker.ends_by = float("inf")
                self._log("server.worker_stuck", "ERROR", worker=worker.place, stuck_pid=worker.pid)
                worker.kill()
        if self._stops:
            self._look_at_the_stop()
        elif self._starter is not None:
            self._look_at_the_workers(self._starter)
        elif self._candidate is None and not self._deaths.pause:
            self._launch()

    def _look_at_the_stop(self) -> None:
        if time.monotonic() >= self._closes_at:
            self._closes_at = float("inf")
            self._close_sockets()
        if not self._fleet.workers:
            self._ending = self._ends_as

    def _look_at_the_workers(self, starter: Starter) -> None:
        """Start what is missing: at a reload one by one, and each that serves replaces an old one."""
        wanted = starter.told("workers")
        current, old = self._fleet.of(starter.generation), self._fleet.before(starter.generation)
        serving = [one for one in current if one.serving]
        for worker in old[: max(0, len(serving) + len(old) - wanted)]:
            worker.drain(delay=0.0, grace=starter.told("turn"), linger=RELOAD_LINGER_SECONDS)
        missing = wanted - len(current)
        if missing <= 0:
            if len(serving) == wanted and not self._fleet.before(starter.generation):
                self._rolled()
            return
        if self._deaths.pause or (old and len(serving) < len(current)):
            return
        for _ in range(1 if old else missing):
            self._start_worker(starter)

    def _is_rolling(self) -> bool:
        return self._starter is not None and bool(self._fleet.before(self._starter.generation))

    def _rolled(self) -> None:
        if self._starter is None or self._candidate is not None or self._rolled_generation == self._starter.generation:
            return
        self._rolled_generation = self._starter.generation
        if self._starter.generation > 1:
            self._log("server.reloaded", "INFO", workers=self._starter.told("workers"))
            self._service.ready()
        if self._reload_again:
            self._reload_again = False
            self._reload()

    # --- The rest ----------------------------------------------------------------------

    def _listen(self, link: Link, heard: Callable[[], None]) -> None:
        link.set_blocking(False)
        self._selector.register(link, selectors.EVENT_READ, heard)

    def _forget(self, link: Link) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(link)
        link.close()

    def _log(self, event: str, level: str, **fields: Any) -> None:
        for starter in (self._starter, self._candidate):
            if starter is not None and starter.plan is not None:
                starter.link.send({"log": event, "level": level, **fields})
                return

    def _close_sockets(self) -> None:
        """From here on nobody can connect; all processes that hold a socket let go of it."""
        for one in self._sockets:
            one.close()
        self._sockets = []
        if self._socket_file is not None:
            remove_socket_file(*self._socket_file)
        if self._starter is not None:
            self._starter.link.send({"close": True})

    def _clean(self) -> None:
        self._close_sockets()
        for starter in filter(None, (self._starter, self._candidate)):
            self._dismiss(starter)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._pid_file is not None:
            self._pid_file.remove()
