"""Ports of servers: bound, or checked before another process binds them; with clear messages."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

import httpx

from gptmock.cli.errors import CommandFailed
from gptmock.supervision.listening import bind_tcp, bind_tcp_for

PROBE_SECONDS = 1.0


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
            other = f"choose another port: gptmock serve --port {port + 1 if port < 65535 else 8000}"
            version = served_version(host, port)
            if version is not None:
                raise CommandFailed(
                    f"port {port} on {host} is served by gptmock {version} already. Use that server, or {other}"
                ) from error
            raise CommandFailed(
                f"port {port} on {host} is in use by another program. Stop that program, or {other}"
            ) from error
        raise CommandFailed(f"cannot bind {host}:{port}: {error.strerror or error}") from error


def served_version(host: str, port: int) -> str | None:
    """The version of the gptmock that answers at an address of this machine; ``None`` if none does."""
    for scheme in ("http", "https"):
        with suppress(httpx.HTTPError, ValueError):
            url = f"{scheme}://{reachable_host(host)}:{port}/health"
            # Its certificate may be for another name. It is asked who it is, and nothing is sent.
            answer = httpx.get(url, timeout=PROBE_SECONDS, trust_env=False, verify=False)  # noqa: S501
            found = answer.json()
            if isinstance(found, dict) and found.get("status") == "ok":
                return str(found.get("version", "unknown"))
    return None


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
        bind_tcp(host, port).close()
    except OSError:
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
