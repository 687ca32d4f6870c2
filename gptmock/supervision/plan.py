"""What the starter tells the supervisor: how many workers, on which sockets, and how to stop them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from gptmock.supervision.link import Link

Work: TypeAlias = Callable[[socket.socket, Link], int]
"""What a worker does, on its listening socket, with its link to the supervisor; returns an exit code."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a server has had since its start, and a reload goes on with."""

    sockets: list[socket.socket]
    """Bound; empty at the start, unless a service manager passes one."""
    is_activated: bool
    """A service manager has bound it, and the settings do not tell its address."""
    folder: Path | None
    """For what its workers share; ``None`` at the start."""
    workers: int | None
    """How many there are; ``None`` at the start. A socket for each of them has been bound."""

    @property
    def is_reload(self) -> bool:
        """Whether there is a server already."""
        return self.workers is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one start or reload."""

    work: Work
    sockets: list[socket.socket]
    """One for all workers, or one for each."""
    workers: int
    folder: Path
    """For what the workers share; removed at the end of the server."""
    lock: int | None
    """The descriptor of a lock that keeps the folder for as long as a process of the server lives; at the start."""
    announcement: str
    """Printed when the server answers."""
    grace_seconds: float = 60.0
    """How long streams may go on after a stop."""
    turn_seconds: float = 3600.0
    """How long they may go on after a reload: the longest that one lasts."""
    drain_delay_seconds: float = 0.0
    """How long connections are accepted after a stop."""
    pid_file: Path | None = None
    home: Path | None = None
    """Where the pid file is made if none is named."""


Load: TypeAlias = Callable[[Inherited], Plan]
"""Imports the application, checks the settings and binds the sockets; whatever it raises ends the start."""
