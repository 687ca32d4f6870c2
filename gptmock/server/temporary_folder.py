"""
Temporary folders of servers and demos. One whose processes have all been killed leaves its folder behind; the next one
removes it.

    gptmock-server-XXXXXXXX/lock    locked (``flock``) for as long as a process of the server lives
    gptmock-server-XXXXXXXX/...     what its workers share: metrics, and the snapshot of a store elsewhere
    gptmock-demo-XXXXXXXX/lock      the same for a demo and the processes that it has started
    gptmock-demo-XXXXXXXX/...       the home of the demo's server

Only a process that holds a folder's lock removes it; pids are no evidence where containers share a directory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SERVER_PREFIX, DEMO_PREFIX = "gptmock-server-", "gptmock-demo-"
LOCK_FILE = "lock"


@dataclass(frozen=True, slots=True)
class ClaimedFolder:
    """A folder that nobody takes away while its lock is held."""

    path: Path
    lock: int
    """The descriptor that holds the lock; a process that inherits it holds the lock too."""

    def remove(self) -> None:
        """Remove the folder, and let go of the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


@contextmanager
def claimed_folder(prefix: str) -> Iterator[ClaimedFolder]:
    """
    A folder in the temporary directory, mode 0700, while the context lasts; removes those that others have left.

    Raises:
        OSError: the temporary directory cannot be written.
    """
    clear_left_folders()
    folder = claim_folder(prefix)
    try:
        yield folder
    finally:
        folder.remove()


def clear_left_folders() -> list[Path]:
    """Remove what servers and demos of this user left that live no more. Returns what was removed."""
    removed = []
    directory = Path(tempfile.gettempdir())
    for folder in (*directory.glob(f"{SERVER_PREFIX}*"), *directory.glob(f"{DEMO_PREFIX}*")):
        with suppress(OSError), _locked(folder) as is_left:
            if is_left:
                shutil.rmtree(folder)
                removed.append(folder)
    return removed


def claim_folder(prefix: str) -> ClaimedFolder:
    """
    A folder in the temporary directory, mode 0700; whoever has it removes it.

    Raises:
        OSError: the temporary directory cannot be written.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between the two lines above another process may have taken it for one that was left.
            if (folder / LOCK_FILE).stat().st_ino == os.fstat(descriptor).st_ino:
                return ClaimedFolder(folder, descriptor)
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
