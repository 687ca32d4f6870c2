"""
The pid file of a running server, which ``gptmock reload`` finds it by. The lock on the file is the truth, and not the
number in it: the kernel lets go of it when the server ends, and tells its holder as this process would call it, so
that the pid of another container is never signalled.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NAME = "server{}.pid"
_MAX_SERVERS = 32
"""That share a home."""
_LINUX, _BSD = "hhqqi", "qqihh"
"""``struct flock``: type, whence, start, length, pid; BSD has type and whence last."""


@dataclass(frozen=True, slots=True)
class PidFile:
    """A file that this process has locked."""

    path: Path
    descriptor: int

    @classmethod
    def claimed(cls, path: str | None, home: str | None) -> PidFile | None:
        """
        Make the file that the operator has named, or else the first one in the home that no living server has.

        Returns ``None`` if that cannot be done: the server can be reloaded by SIGHUP all the same.
        """
        names = [Path(path)] if path is not None else names_in(Path(home)) if home is not None else []
        for name in names:
            try:
                descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError:
                return None
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
            except OSError:
                os.close(descriptor)
                continue
            return cls(name, descriptor)
        return None

    def remove(self) -> None:
        """Take the number out, and let go of the lock. The file stays: to remove it would race with a start."""
        with suppress(OSError):
            os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)


def names_in(home: Path) -> list[Path]:
    """Where servers of a home have their files, in the order in which they take them."""
    return [home / NAME.format(f"-{number}" if number > 1 else "") for number in range(1, _MAX_SERVERS + 1)]


def running(path: Path) -> int | None:
    """
    The pid of the server that holds a pid file; ``None`` if none does, or not in this pid namespace.

    Raises:
        OSError: the file exists and cannot be read.
    """
    is_linux = sys.platform == "linux"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        asked = (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0) if is_linux else (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_LINUX if is_linux else _BSD, *asked))
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise
    finally:
        os.close(descriptor)
    if is_linux:
        kind, _, _, _, pid = struct.unpack(_LINUX, answer)
    else:
        _, _, pid, kind, _ = struct.unpack(_BSD, answer)
    return pid if kind != fcntl.F_UNLCK and pid > 0 else None
