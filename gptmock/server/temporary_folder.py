"""
The temporary folder of ``multiprocessing``, which holds the sockets of the server's processes. A killed server leaves
it behind; the next server that starts removes it. Knows files and locks, no server.

    gptmock-mp-XXXXXXXX/lock      locked (``flock``) for as long as any process of the server lives, by the kernel
    gptmock-mp-XXXXXXXX/...       whatever multiprocessing makes

Only a process that holds a folder's lock removes it; pids are no evidence where containers share a directory.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from multiprocessing.managers import dispatch  # type: ignore[attr-defined]
from multiprocessing.util import Finalize, get_temp_dir
from pathlib import Path

PREFIX = "gptmock-mp-"
LOCK_FILE = "lock"
_LISTENERS = "listener-*"
_SHORT_DIRECTORY = "/tmp"  # noqa: S108 - mkdtemp makes a folder of its own in it
"""Where the folder is made if ``TMPDIR`` is too long for the sockets in it."""
_MAX_SOCKET_PATH_BYTES = 103
"""Of ``sockaddr_un`` without its last zero; macOS has the least. Linux has 107."""
_LAST = -101
"""Multiprocessing removes a folder of its own at priority -100, after all that uses it has ended."""


def use_own_folder() -> Path:
    """
    Give this process and those that it starts a temporary folder that the next server can tell from all others.

    Returns the folder; it is removed when this process ends by itself.

    Raises:
        OSError: the temporary directory cannot be written.
    """
    folder, descriptor = _claimed()
    # What ``multiprocessing.util.get_temp_dir`` looks at first; children copy it. No public name sets it.
    multiprocessing.process.current_process()._config["tempdir"] = str(folder)  # type: ignore[attr-defined] # noqa: SLF001
    Finalize(None, _remove, args=(folder, descriptor), exitpriority=_LAST)
    return folder


def clear_left_folders() -> list[Path]:
    """Remove what servers of this user left that live no more. Returns what was removed."""
    removed = []
    for folder in Path(_directory()).glob(f"{PREFIX}*"):
        with suppress(OSError), _locked(folder) as is_left:
            if is_left:
                shutil.rmtree(folder)
                removed.append(folder)
    return removed


def end_state_process() -> None:
    """
    Tell the process that holds Sanic's shared state (a ``multiprocessing.Manager``) to end, if nobody else has: without
    the one that started it, it would stay for ever. For a child of the process with the folder.
    """
    for address in Path(get_temp_dir()).glob(_LISTENERS):
        with (
            suppress(OSError, EOFError, AuthenticationError),
            Client(str(address), authkey=multiprocessing.current_process().authkey) as connection,
        ):
            dispatch(connection, None, "shutdown")


def _directory() -> str:
    """The temporary directory, unless a socket in a folder of it would have too long a path."""
    directory = tempfile.gettempdir()
    listener = Path(directory, f"{PREFIX}XXXXXXXX", "listener-XXXXXXXX")
    is_short = len(os.fsencode(listener)) <= _MAX_SOCKET_PATH_BYTES
    return directory if is_short or not os.access(_SHORT_DIRECTORY, os.W_OK) else _SHORT_DIRECTORY


def _claimed() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_directory()))
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between the two lines above another server may have taken it for one that was left.
            if (folder / LOCK_FILE).stat().st_ino == os.fstat(descriptor).st_ino:
                return folder, descriptor
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Yield whether the folder is this user's and its lock was free; the lock is held meanwhile."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
        yield False
        return
    # Never made here: a folder without a lock is just being claimed, or is somebody else's.
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    finally:
        os.close(descriptor)


def _remove(folder: Path, descriptor: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)
