"""One value in a file without a name, which all workers of a server have open; it ends with the last of them."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_HEADER = struct.Struct("!QQ")
"""Where the value begins, and its length; zeros before the first one."""
_HALF_BYTES = 1 << 30
"""The file is sparse: what is not written takes no memory."""


class SharedFile:
    """
    Writes and reads the value. A writer that is killed leaves the one from before: the halves of the file take turns.

    Args:
        descriptor: of the file, shared by fork; it stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, value: bytes) -> None:
        """
        Replace the value.

        Raises:
            OSError: there is no room.
        """
        with self._locked(fcntl.LOCK_EX):
            start, _ = self._header()
            other = _HALF_BYTES if start < _HALF_BYTES else _HEADER.size
            written = 0
            while written < len(value):
                written += os.pwrite(self._descriptor, value[written:], other + written)
            os.pwrite(self._descriptor, _HEADER.pack(other, len(value)), 0)
            if start > other:
                os.ftruncate(self._descriptor, other + len(value))

    def read(self) -> bytes | None:
        """
        The value; ``None`` if none was written.

        Raises:
            OSError: it cannot be read.
        """
        with self._locked(fcntl.LOCK_SH):
            start, length = self._header()
            return os.pread(self._descriptor, length, start) if length else None

    def _header(self) -> tuple[int, int]:
        found = os.pread(self._descriptor, _HEADER.size, 0)
        start, length = _HEADER.unpack(found) if len(found) == _HEADER.size else (0, 0)
        return start, length

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        # A lock of POSIX, which belongs to a process; one of BSD would belong to the file that all have inherited.
        fcntl.lockf(self._descriptor, kind)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
