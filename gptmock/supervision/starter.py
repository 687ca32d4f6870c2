"""
The starter: the process that has imported the application, and forks a worker when the supervisor asks for one. It has
one thread, serves nothing, and ends with the supervisor. Workers share the memory of what it has imported.

    supervisor -> starter   {"start": place} with the worker's link    {"log": event, "level": level, ...fields}
                            {"close": true}: nobody can connect any more    {"end": true}: its work is done
    starter -> supervisor   {"workers": ..., ...} once, with the sockets: it is ready
    worker -> supervisor    {"pid": pid}    {"serving": true}    {"failed": true}
    supervisor -> worker    {"drain": true, "delay": seconds, "grace": seconds, "linger": seconds}
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

from gptmock.supervision.link import Link, Message
from gptmock.supervision.plan import Inherited, Load, Plan

log = logging.getLogger("gptmock.server")

_THREAD_SECONDS = 10.0


def run_starter(link: Link, load: Load, inherited: Inherited) -> int:
    """Load the application, then fork workers until the supervisor is gone; returns an exit code."""
    plan = load(inherited)
    if _is_stop_waiting():
        if plan.lock is not None:
            shutil.rmtree(plan.folder, ignore_errors=True)
        return 0
    _be_ready_to_fork()
    link.send(
        {
            "workers": plan.workers,
            "announcement": plan.announcement,
            "grace": plan.grace_seconds,
            "turn": plan.turn_seconds,
            "delay": plan.drain_delay_seconds,
            "pid_file": str(plan.pid_file) if plan.pid_file is not None else None,
            "folder": str(plan.folder),
            "home": str(plan.home) if plan.home is not None else None,
        },
        *([plan.lock] if plan.lock is not None else []),
        *([] if inherited.sockets else [one.fileno() for one in plan.sockets]),
    )
    while True:
        try:
            messages = link.receive()
        except EOFError:
            _clean_up(plan.folder)
            return 0
        for message in messages:
            if "end" in message:
                return 0
            if "start" in message:
                _fork(link, Link(socket.socket(fileno=link.descriptors.pop(0))), plan, message["start"])
            elif "close" in message:
                for one in plan.sockets:
                    one.close()
            else:
                _write(message)


def _is_stop_waiting() -> bool:
    """A stop that came while something swallowed the exception of its handler (``cli`` leaves it pending)."""
    return not signal.sigpending().isdisjoint({signal.SIGINT, signal.SIGTERM})


def _be_ready_to_fork() -> None:
    # A terminal's Ctrl-C, and a service manager that signals all processes, are the supervisor's to answer.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    # The kernel takes note of workers that end; the supervisor knows by their links.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for thread in threading.enumerate():
        # Of the store that was checked: a child has none of the threads, and would wait for their locks.
        if thread is not threading.current_thread():
            thread.join(_THREAD_SECONDS)
    gc.collect()
    gc.freeze()


def _clean_up(folder: Path) -> None:
    """The supervisor was killed: when its workers have ended, nothing is left but the folder."""
    with suppress(ChildProcessError):
        # Waits for all of them, since their end is ignored.
        os.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _fork(link: Link, worker: Link, plan: Plan, place: int) -> None:
    sys.stdout.flush()
    if os.fork():
        worker.close()
        return
    code = 1
    try:
        link.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        worker.send({"pid": os.getpid()})
        code = plan.work(_only(plan.sockets, place), worker)
    except BaseException:
        log.exception("server.worker_failed")
        worker.send({"failed": True})
    finally:
        logging.shutdown()
        os._exit(code)


def _only(sockets: list[socket.socket], place: int) -> socket.socket:
    """
    The socket of a worker; closes its copies of the others.

    The kernel closes a listening socket with its last copy. Until then it accepts connections, and the worker that
    drains with a stream would keep the sockets of those that have ended.
    """
    own = sockets[place % len(sockets)]
    for one in sockets:
        if one is not own:
            one.close()
    return own


def _write(message: Message) -> None:
    """What the supervisor has to tell: the format of the log is known here."""
    event, level = message.pop("log"), message.pop("level")
    log.log(logging.getLevelNamesMapping()[level], event, extra=message)
