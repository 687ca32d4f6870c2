"""Ports of servers: bound, or checked before another process binds them; with clear messages."""

from __future__ import annotations

import errno
import socket

from gptmock.cli.errors import CommandFailed
from gptmock.supervision.listening import bind_tcp, bind_tcp_for


def bound_sockets(host: str, port: int, *, workers: int) -> list[socket.socket]:
    """
    Sockets that are bound to an address, for so many workers.

    Raises:
        CommandFailed: it cannot be; the message says why.
    """
    try:
        return bind_tcp_for(workers, host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandFailed(
                f"port {port} on {host} is in use by another program. Stop that program, or choose another port: "
                f"gptmock serve --port {port + 1 if port < 65535 else 8000}"
            ) from error
        raise CommandFailed(f"cannot bind {host}:{port}: {error.strerror or error}") from error


def check_port(host: str, port: int) -> None:
    """
    Check that an address can be bound now.

    Raises:
        CommandFailed: it cannot; the message says why.
    """
    for bound in bound_sockets(host, port, workers=1):
        bound.close()


def is_free(host: str, port: int) -> bool:
    """Whether an address can be bound now."""
    try:
        check_port(host, port)
    except CommandFailed:
        return False
    return True


def free_port(host: str, wanted: int) -> int:
    """``wanted`` if it is free and not 0, else any free port."""
    if wanted and is_free(host, wanted):
        return wanted
    with bind_tcp(host, 0) as probe:
        return int(probe.getsockname()[1])


def reachable_host(host: str) -> str:
    """The host of URLs for clients on this machine, of a server that listens on ``host``."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - a comparison
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
