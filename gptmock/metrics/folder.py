"""
The folder in which the workers of one server keep their counters, and the place in it that each worker takes.

``prometheus_client`` keeps the values of each process in memory-mapped files that any worker of the server can read and
add up. It names them after the process id, so that they would pile up as workers are restarted. Here a worker takes the
lowest free number, by a lock that the kernel releases with the process, and goes on with the files of its predecessor:
counters never go back, and there are as many files as there were workers at one time.

    metrics/0.lock                     locked (``flock``) for as long as the worker lives
    metrics/counter_0.db               its counters, which outlive it
    metrics/gauge_livesum_0.db         its gauges, which do not
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_LOCK = ".lock"
_GAUGES = "gauge_live*_{}.db"


class WorkerPlace:
    """The place of this process in the folder of its server, held until the process ends."""

    def __init__(self, folder: Path, number: int, descriptor: int) -> None:
        self.folder = folder
        self.number = number
        self._descriptor = descriptor

    def is_lowest(self) -> bool:
        """
        Whether no living worker of the server has a lower place. Changes: workers end, and others take their places.

        Raises:
            OSError: the folder cannot be read.
        """
        return not any(_is_held(self.folder / f"{number}{_LOCK}") for number in range(self.number))

    def drop_gauges_of_the_dead(self) -> None:
        """Remove the gauges of workers that have ended."""
        for number, descriptor in _free_places(self.folder):
            if number != self.number:
                _remove_gauges(self.folder, number)
            os.close(descriptor)


def take_place(folder: Path) -> WorkerPlace:
    """
    Take the lowest free place; makes the folder, mode 0700, if there is none.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    number = 0
    while (descriptor := _lock(folder / f"{number}{_LOCK}")) is None:
        number += 1
    _remove_gauges(folder, number)
    return WorkerPlace(folder, number, descriptor)


def _free_places(folder: Path) -> Iterator[tuple[int, int]]:
    """The numbers of those places that nobody holds, each with a descriptor that holds it now."""
    for lock in folder.glob(f"*{_LOCK}"):
        descriptor = _lock(lock)
        if descriptor is not None:
            yield int(lock.stem), descriptor


def _is_held(path: Path) -> bool:
    # Shared: two workers that look at once are no holders to one another.
    descriptor = _lock(path, fcntl.LOCK_SH)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def _lock(path: Path, kind: int = fcntl.LOCK_EX) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_gauges(folder: Path, number: int) -> None:
    for path in folder.glob(_GAUGES.format(number)):
        path.unlink(missing_ok=True)
