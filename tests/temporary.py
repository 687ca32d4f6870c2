"""
Where the temporary files of a test run rest: in memory, where the system has room for them there. A disk that is busy,
for example with the packages that other tests install, can hold up an ``fsync`` for seconds. Whoever waits for a store
on such a disk is answered with a 503, as promised; tests of other promises must not see that.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory on every Linux
ROOM_BYTES = 1 << 30
"""Ten times what a whole run holds at once."""


def rest_in_memory() -> None:
    """Sets TMPDIR for this process and all that it starts, unless it is set; once, before temporary files are made."""
    if "TMPDIR" not in os.environ and _has_room(MEMORY):
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # It may have been looked up before.


def _has_room(folder: Path) -> bool:
    """Containers often have 64 MB there, from which nothing may be started."""
    try:
        found = os.statvfs(folder)
        memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    except OSError:
        return False
    free = min(found.f_bavail * found.f_frsize, int(memory["MemAvailable"].split()[0]) * 1024)
    return free >= ROOM_BYTES and not found.f_flag & os.ST_NOEXEC and os.access(folder, os.W_OK)
