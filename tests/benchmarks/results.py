"""What was measured: samples, rounds and whether they agree. Knows no process and no file."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tests.benchmarks.native import Run

MAX_SPREAD = 1.25
"""Rounds of a cell whose figures differ by more than this are no measurement: something else ran."""


class Sample(msgspec.Struct, frozen=True):
    """One load on one server."""

    cpu: float
    """Seconds of the server for each unit of the cell."""
    upstream_cpu: float
    load_cpu: float
    run: Run

    @property
    def requests_per_second(self) -> float:
        """Answered requests over the whole run."""
        return self.run.requests / self.run.seconds


Round = Mapping[str, Sample]
"""By target."""
_CHEAP = ("direct", "nginx")
_DISTURBED_SECONDS = 0.020


class CellResult(msgspec.Struct, frozen=True):
    """The rounds of one cell that were kept."""

    name: str
    title: str
    unit: str
    gates: Mapping[str, float]
    rounds: Sequence[Mapping[str, Sample]]
    refused: int
    """Rounds that were thrown away."""
    steady: bool
    """The kept rounds agree and nothing failed; else the figures are for reading, not for comparing."""

    @property
    def targets(self) -> list[str]:
        """In the order in which they were asked."""
        return list(self.rounds[0]) if self.rounds else []

    def samples(self, target: str) -> list[Sample]:
        """Those of one target."""
        return [one[target] for one in self.rounds if target in one]

    def cpu(self, target: str) -> float | None:
        """The median, in seconds a unit."""
        return statistics.median(sample.cpu for sample in found) if (found := self.samples(target)) else None

    def ratio(self, target: str, to: str) -> float | None:
        """The median of what a round says of the one as a multiple of the other."""
        found = [one[target].cpu / one[to].cpu for one in self.rounds if target in one and to in one]
        return statistics.median(found) if found else None

    def speed_ratio(self, target: str, to: str) -> float | None:
        """As ``ratio``, of requests a second."""
        pairs = [(one[target], one[to]) for one in self.rounds if target in one and to in one]
        found = [this.requests_per_second / other.requests_per_second for this, other in pairs]
        return statistics.median(found) if found else None


class Memory(msgspec.Struct, frozen=True):
    """Bytes in RAM of the processes that answer."""

    idle: int
    """After the start."""
    own: int
    """After the start, of what is shared with other processes only its part (PSS)."""
    warm: int
    """After some requests."""
    waiting: float
    """More than warm, for each stream that waits."""
    active: float
    """More than warm, for each stream at work, at the peak."""


class Report(msgspec.Struct, frozen=True):
    """A whole run of the benchmark."""

    made_at: str
    python: str
    cores: int
    store: str
    cells: Sequence[CellResult]
    memory: Mapping[str, Memory]
    held: Mapping[str, Sequence[int]]
    """Streams held, by target, one number for each round."""
    stalls: Mapping[str, Sequence[float]] = {}
    """Seconds that a large request holds up other streams, by its name, one number for each round."""
    start_cpu: Sequence[float] = ()
    """CPU seconds of ``gptmock info --offline``, one number for each round."""


def agree(rounds: Sequence[Round]) -> bool:
    """Whether no target's figures differ by more than ``MAX_SPREAD`` between the rounds."""
    return all(max(values) <= MAX_SPREAD * min(values) for values in _by_target(rounds).values())


def disturbed(made: Round) -> bool:
    """Whether deltas came late where hardly any work is done: then something else had the cores."""
    delays = [made[name].run.delay for name in _CHEAP if name in made]
    return any(delay is not None and delay.p99 > _DISTURBED_SECONDS for delay in delays)


def strangest(rounds: Sequence[Round]) -> int:
    """The round that is farthest from the medians."""
    medians = {target: statistics.median(values) for target, values in _by_target(rounds).items()}

    def distance(number: int) -> float:
        return max(abs(math.log(sample.cpu / medians[target])) for target, sample in rounds[number].items())

    return max(range(len(rounds)), key=distance)


class Rounds(msgspec.Struct, frozen=True):
    """What came of asking for rounds until they agree."""

    kept: Sequence[Mapping[str, Sample]]
    refused: int
    steady: bool


def gather(make: Callable[[], Round], *, wanted: int, extra: int) -> Rounds:
    """
    Make rounds until ``wanted`` of them agree.

    A round in which anything failed or that was disturbed is refused, and so is, while they disagree, the one that is
    farthest from the medians. After ``extra`` refused ones the rest is kept as it is, and is not steady.
    """
    kept: list[Round] = []
    refused = 0
    while len(kept) < wanted:
        made = make()
        if any(sample.run.failed or not sample.run.requests for sample in made.values()):
            refused += 1
            if refused > extra:
                return Rounds(kept, refused, steady=False)
            continue
        if disturbed(made) and refused < extra:
            refused += 1
            continue
        kept.append(made)
        if len(kept) == wanted and not agree(kept) and refused < extra:
            refused += 1
            del kept[strangest(kept)]
    return Rounds(kept, refused, steady=agree(kept) and not any(map(disturbed, kept)))


def _by_target(rounds: Sequence[Round]) -> dict[str, list[float]]:
    return {target: [one[target].cpu for one in rounds] for target in rounds[0]}


def digits(value: float) -> str:
    """Three of them, and none of them an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
