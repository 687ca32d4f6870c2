"""The workers of a server, as its supervisor knows them, and when too many have died."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from gptmock.supervision.link import Link

MAX_DEATHS = 5
"""More early deaths than this within ``DEATH_WINDOW_SECONDS`` are no accident: the server gives up and says so."""
DEATH_WINDOW_SECONDS = 60.0
SETTLED_SECONDS = 5.0
"""A worker that has served for so long did not die of its start: its death is not counted."""
START_SECONDS = 60.0
"""A worker that does not serve after so long is replaced."""
DRAIN_MARGIN_SECONDS = 20.0
"""On top of a worker's grace: for a refresh that is under way, and for closing what it holds."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0


@dataclass(eq=False, slots=True)
class Worker:
    """One process."""

    link: Link
    place: int
    """From 0: which of the workers it is, after a respawn and a reload too."""
    generation: int
    """That of its starter."""
    pid: int | None = None
    ends_by: float = field(default_factory=lambda: time.monotonic() + START_SECONDS)
    """When it has to serve, or to have ended; monotonic seconds."""
    serving_since: float | None = None
    draining: bool = False
    failed: bool = False
    """It has said that it cannot start."""

    @property
    def serving(self) -> bool:
        """Whether it takes connections."""
        return self.serving_since is not None and not self.draining

    @property
    def overdue(self) -> bool:
        """Whether it is stuck."""
        return not self.serving and time.monotonic() >= self.ends_by

    @property
    def settled(self) -> bool:
        """Whether it has served for a while."""
        return self.serving_since is not None and time.monotonic() - self.serving_since >= SETTLED_SECONDS

    def drain(self, *, delay: float, grace: float, linger: float) -> None:
        """Tell it to finish: after ``delay`` it accepts nothing, after ``grace`` more it ends what still streams."""
        self.draining = True
        self.ends_by = time.monotonic() + delay + grace + DRAIN_MARGIN_SECONDS
        self.link.send({"drain": True, "delay": delay, "grace": grace, "linger": linger})

    def kill(self) -> None:
        """End it at once."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


@dataclass(slots=True)
class Deaths:
    """Early deaths of late."""

    clock: Callable[[], float] = time.monotonic
    _times: deque[float] = field(default_factory=deque)
    next_start: float = 0.0
    """When the next worker may be started."""

    def note(self) -> bool:
        """Count one; returns whether the server may go on."""
        now = self.clock()
        self._times.append(now)
        while self._times[0] < now - DEATH_WINDOW_SECONDS:
            self._times.popleft()
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (len(self._times) - 1))
        self.next_start = now + pause
        return len(self._times) <= MAX_DEATHS

    @property
    def count(self) -> int:
        """Within the window."""
        return len(self._times)

    @property
    def pause(self) -> float:
        """Seconds until the next worker may be started."""
        return max(0.0, self.next_start - self.clock())


@dataclass(slots=True)
class Fleet:
    """All workers that live."""

    workers: list[Worker] = field(default_factory=list)

    def of(self, generation: int) -> list[Worker]:
        """Those of a starter that are to stay."""
        return [one for one in self.workers if one.generation == generation and not one.draining]

    def before(self, generation: int) -> list[Worker]:
        """Those of earlier starters that are to stay until a successor serves."""
        return [one for one in self.workers if one.generation < generation and not one.draining]

    def free_place(self, generation: int) -> int:
        """The lowest place that no worker of a starter has."""
        taken = {one.place for one in self.of(generation)}
        return next(place for place in range(len(taken) + 1) if place not in taken)

    def kill(self) -> None:
        """End all at once."""
        for worker in self.workers:
            worker.kill()
