"""What processes cost: CPU time to the nanosecond, memory, and on which cores they may run. Linux only."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

_CPU_CLOCK = 2
"""CPUCLOCK_SCHED of the kernel's ``posix-timers.h``: all threads of a process, those that have ended too."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """What living processes have used since their start; one that is gone counts as nothing."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            # clock_getcpuclockid(3) by hand; /proc/PID/stat counts in ticks of 10 ms.
            total += time.clock_gettime(~pid << 3 | _CPU_CLOCK)
    return total


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM, what it shares with others included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def proportional_bytes(pid: int) -> int:
    """As ``resident_bytes``, but of what it shares with others only its part: Linux's PSS, which adds up."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def cores() -> list[int]:
    """Those that this process may use."""
    return sorted(os.sched_getaffinity(0))


def pin(pids: Iterable[int], to: Iterable[int]) -> None:
    """Bind all threads of processes to cores; what they start later inherits it."""
    allowed = set(to)
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), allowed)
