"""The start of a server, in a process of its own: checks the settings, offers the login, prepares the state, binds."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gptmock import shared_state, wiring
from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.cli.login import first_login
from gptmock.cli.ports import bound_sockets
from gptmock.cli.settings import given_settings, prepare_state, run_async
from gptmock.settings import Settings
from gptmock.supervision.pid_file import running
from gptmock.supervision.plan import Inherited, Plan


def plan_of(flags: Mapping[str, Any], inherited: Inherited) -> Plan:
    """
    What a start or a reload comes to.

    Raises:
        WrongUsage: settings that cannot be used.
        CommandFailed: the address cannot be bound.
    """
    settings = given_settings(flags)
    sockets = inherited.sockets or _bound(settings)
    if settings.pid_file is not None and not inherited.is_reload:
        _check_pid_file(settings.pid_file)
    notes = prepare_state(settings)
    if not inherited.is_reload and _is_somebody_there() and not run_async(shared_state.has_account(settings)):
        first_login(settings)
        notes = prepare_state(settings)
    for note in notes:
        print(f"gptmock: {note}", file=sys.stderr)
    wiring.start_logs(settings)
    return Plan(
        work=partial(wiring.serve, settings, inherited.memory),
        sockets=sockets,
        workers=inherited.workers or settings.worker_count,
        announcement=announcement(settings, sockets[0]),
        grace_seconds=settings.shutdown_grace,
        drain_delay_seconds=settings.drain_delay,
        pid_file=settings.pid_file,
        home=settings.home,
    )


def announcement(settings: Settings, listening: socket.socket) -> str:
    """The base URL for clients."""
    port = listening.getsockname()[1]
    shown = settings.host if ":" not in settings.host else f"[{settings.host}]"
    workers = settings.worker_count
    return f"gptmock serves http://{shown}:{port}/v1 with {workers} worker{'s' if workers > 1 else ''}"


def _bound(settings: Settings) -> list[socket.socket]:
    return bound_sockets(settings.host, settings.port, workers=settings.worker_count)


def _check_pid_file(path: Path) -> None:
    try:
        holder = running(path)
        path.touch(mode=0o600)
    except OSError as error:
        raise WrongUsage(f"GPTMOCK_PID_FILE: {path} cannot be written: {error.strerror}") from error
    if holder is not None:
        raise CommandFailed(f"{path} belongs to the running server with pid {holder}. Choose another --pid-file.")


def _is_somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
