"""Listening sockets: bound to a TCP address or to a path, or taken from systemd (``LISTEN_FDS``)."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path

_FIRST_DESCRIPTOR = 3
"""The first one that a service manager passes on (``sd_listen_fds``)."""


class Unlistenable(Exception):
    """An address that cannot be listened on; the message says why."""


def activated_sockets() -> list[socket.socket]:
    """
    The sockets that a service manager has opened for this very process; takes the variables away.

    Raises:
        Unlistenable: a descriptor is none of a socket.
    """
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    sockets = []
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count)):
        try:
            os.set_inheritable(descriptor, False)
            sockets.append(socket.socket(fileno=descriptor))
        except OSError as error:
            raise Unlistenable(f"LISTEN_FDS: descriptor {descriptor} is no socket ({error.strerror})") from error
    return sockets


def bind_tcp(host: str, port: int) -> socket.socket:
    """
    A bound socket, which does not listen yet.

    Raises:
        OSError: the address cannot be bound.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name such as localhost may have both; what is printed and what most clients try first is IPv4.
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    bound = socket.socket(family, kind, protocol)
    try:
        # Connections of an earlier server in TIME_WAIT must not matter.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def bind_tcp_for(workers: int, host: str, port: int) -> list[socket.socket]:
    """
    A socket for each worker, all at one address: the kernel spreads connections evenly over them, which it does not
    over processes that wait at one socket. One for all where the system cannot do that.

    Raises:
        OSError: the address cannot be bound.
    """
    # Without the option, so that a port which another server uses is refused.
    sockets = [bind_tcp(host, port)]
    if sys.platform != "linux" or workers == 1:
        return sockets
    sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        for _ in range(workers - 1):
            bound = socket.socket(sockets[0].family, sockets[0].type)
            sockets.append(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(sockets[0].getsockname())
    except OSError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def bind_unix(path: Path, *, mode: int, owner: tuple[int, int] | None = None) -> socket.socket:
    """
    A socket at a path. One that a server has left there which lives no more is replaced.

    Args:
        path: where.
        mode: permissions: whoever may write may connect.
        owner: user id and group id, -1 for one that stays; else this process's.

    Raises:
        Unlistenable: something else is there, or a server that lives.
        OSError: it cannot be made.
    """
    _clear(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o777)
        try:
            bound.bind(str(path))
        finally:
            os.umask(before)
        if owner is not None:
            os.chown(path, *owner)
        path.chmod(mode)
    except OSError:
        bound.close()
        raise
    return bound


def _clear(path: Path) -> None:
    try:
        about = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(about.st_mode):
        raise Unlistenable(f"{path} exists and is no socket. Remove it, or choose another path.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno != errno.ECONNREFUSED:
                raise
        else:
            raise Unlistenable(f"{path} is in use by another program. Stop that program, or choose another path.")
    path.unlink()


def socket_file(bound: socket.socket) -> tuple[Path, tuple[int, int]] | None:
    """The path of a Unix socket, and what tells it from a later one there; ``None`` for other sockets."""
    name = bound.getsockname() if bound.family == socket.AF_UNIX else None
    if not isinstance(name, str) or not name.startswith("/"):
        return None
    with suppress(OSError):
        return Path(name), _identity(Path(name))
    return None


def remove_socket_file(path: Path, identity: tuple[int, int]) -> None:
    """Remove what ``socket_file`` has told, unless another server has taken the path since."""
    with suppress(OSError):
        if _identity(path) == identity:
            path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    # An inode is used again, sometimes at once.
    about = path.lstat()
    return about.st_ino, about.st_mtime_ns
