"""Checks whether a port can be bound before a server starts, for a clear message instead of a traceback."""

from __future__ import annotations

import errno
import socket

from gptmock.cli.errors import CommandFailed


def check_port(host: str, port: int) -> None:
    """
    Check that an address can be bound now.

    Raises:
        CommandFailed: it cannot; the message says why.
    """
    if (error := _problem(host, port)) is None:
        return
    if error.errno == errno.EADDRINUSE:
        raise CommandFailed(
            f"port {port} on {host} is in use by another program. Stop that program, or choose another port: "
            f"gptmock serve --port {port + 1 if port < 65535 else 8000}"
        )
    raise CommandFailed(f"cannot bind {host}:{port}: {error.strerror or error}")


def is_free(host: str, port: int) -> bool:
    """Whether an address can be bound now."""
    return _problem(host, port) is None


def free_port(host: str, wanted: int) -> int:
    """``wanted`` if it is free and not 0, else any free port."""
    if wanted and _problem(host, wanted) is None:
        return wanted
    with _listening(host, 0) as probe:
        return int(probe.getsockname()[1])


def _problem(host: str, port: int) -> OSError | None:
    try:
        _listening(host, port).close()
    except OSError as error:
        return error
    return None


def _listening(host: str, port: int) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    probe = socket.socket(family, kind)
    try:
        # As the server does: connections of an earlier server in TIME_WAIT must not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    except OSError:
        probe.close()
        raise
    return probe
