"""The workers of a server, as its supervisor knows them, and what follows from their deaths."""

from __future__ import annotations

import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from gptmock.supervision.link import Link

MAX_FAILED_ROUNDS = 5
"""The server gives up when all its workers have failed to start more often than this, and none serves."""
DEATH_WINDOW_SECONDS = 60.0
"""Early deaths within it make the next start later."""
SETTLED_SECONDS = 5.0
"""A worker that has served for so long did not die of its start: its death is not counted."""
START_SECONDS = 60.0
"""A worker that does not serve after so long is replaced."""
DRAIN_MARGIN_SECONDS = 20.0
"""On top of a worker's grace: for a refresh that is under way, and for closing what it holds."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
"""With a start, less than the two seconds in which a killed worker is to be replaced."""


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
        """
        Tell it to finish: after ``delay`` it accepts nothing, after ``grace`` more it ends what still streams. Told
        again, it takes the earlier end.
        """
        ends_by = time.monotonic() + delay + grace + DRAIN_MARGIN_SECONDS
        self.ends_by = min(self.ends_by, ends_by) if self.draining else ends_by
        self.draining = True
        self.link.send({"drain": True, "delay": delay, "grace": grace, "linger": linger})

    def kill(self) -> None:
        """End it at once."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


@dataclass(slots=True)
class Deaths:
    """
    Early deaths, in rounds: one worker of four is a quarter of a round, all workers and the starter are one each.

    They make the next start later. A server whose workers serve, and are killed, goes on for as long as that lasts.
    """

    clock: Callable[[], float] = time.monotonic
    _recent: deque[tuple[float, float]] = field(default_factory=deque)
    """Times and parts of a round."""
    failed_rounds: float = 0.0
    """Of starts since a worker has served."""
    next_start: float = 0.0
    """When the next worker may be started."""

    def note(self, part: float, *, is_failed_start: bool) -> bool:
        """
        Count one; returns whether the server may go on.

        Args:
            part: of a round.
            is_failed_start: it could not start, and no worker serves.
        """
        now = self.clock()
        self._recent.append((now, part))
        while self._recent[0][0] < now - DEATH_WINDOW_SECONDS:
            self._recent.popleft()
        rounds = math.ceil(round(sum(one for _, one in self._recent), 6))
        # A float has no power of two beyond 1023.
        self.next_start = now + min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(rounds - 1, 10))
        if is_failed_start:
            self.failed_rounds += part
        return round(self.failed_rounds, 6) <= MAX_FAILED_ROUNDS

    def served(self) -> None:
        """A worker serves: starts succeed."""
        self.failed_rounds = 0.0

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

    @property
    def serves(self) -> bool:
        """Whether one takes connections."""
        return any(one.serving for one in self.workers)

    def free_place(self, generation: int) -> int:
        """The lowest place that no worker of a starter has."""
        taken = {one.place for one in self.of(generation)}
        return next(place for place in range(len(taken) + 1) if place not in taken)

    def kill(self) -> None:
        """End all at once."""
        for worker in self.workers:
            worker.kill()
