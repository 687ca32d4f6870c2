"""Puts the cells on the servers: pins processes, interleaves rounds, refuses those that disagree."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from tests.benchmarks.cells import ACTIVE, BESIDE, FAST, HELD_LEVELS, HELD_SECONDS, WAITING, Cell, Large, held
from tests.benchmarks.native import Order, Programs, Run, finish_load, start_load
from tests.benchmarks.processes import cores, cpu_seconds, pin, proportional_bytes, resident_bytes
from tests.benchmarks.results import CellResult, Memory, Sample, gather
from tests.benchmarks.targets import Target

_SAMPLE_SECONDS = 0.1
_SETTLE_SECONDS = 1.0
_BEFORE_LARGE_SECONDS = 1.5
"""All streams speak by then, and for as long again."""


@dataclass(frozen=True, slots=True)
class Machine:
    """How the cores are shared: one for the server, the last for all else."""

    server: Sequence[int]
    load: Sequence[int]
    everything: Sequence[int]

    @classmethod
    def here(cls) -> Machine:
        """With one core nothing is pinned, and figures are worth less."""
        found = cores()
        return cls(found[:1], found[-1:], found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Everything that a run needs; the servers run already."""

    programs: Programs
    directory: Path
    upstream: int
    """Its process."""
    targets: Mapping[str, Target]
    rounds: int = 3
    extra_rounds: int = 4
    """For each cell, in place of those that were refused."""

    def cell(self, cell: Cell) -> CellResult:
        """All rounds of a cell."""
        names = [name for name in cell.targets if name in self.targets]

        def make() -> dict[str, Sample]:
            return {name: self.sample(cell, self.targets[name]) for name in names}

        rounds = gather(make, wanted=self.rounds, extra=self.extra_rounds)
        result = CellResult(
            name=cell.name,
            title=cell.title,
            unit=cell.unit,
            gates=cell.gates or {},
            rounds=rounds.kept,
            refused=rounds.refused,
            steady=rounds.steady,
        )
        say(_line(result))
        return result

    def sample(self, cell: Cell, target: Target) -> Sample:
        """One load on one server."""
        processes = target.processes()
        self._place(cell, processes)
        before, upstream_before = cpu_seconds(processes), cpu_seconds([self.upstream])
        run = finish_load(self._start(cell, target))
        # A worker that was started meanwhile counts from its start.
        server = cpu_seconds(target.processes()) - before
        units = max(1, run.requests * (cell.deltas if cell.unit == "frame" else 1))
        upstream = cpu_seconds([self.upstream]) - upstream_before
        return Sample(server / units, upstream / units, run.cpu / units, run)

    def warm(self) -> None:
        """Some requests for every server: imports, caches and connections are there."""
        for target in self.targets.values():
            self.sample(replace(FAST, seconds=0.5), target)

    def memory(self, name: str) -> Memory:
        """What a server that is just started needs, and each stream."""
        target = self.targets[name]
        time.sleep(_SETTLE_SECONDS)
        idle = self._resident(target)
        own = sum(proportional_bytes(pid) for pid in target.workers())
        self.sample(replace(FAST, seconds=0.5), target)
        warm = self._resident(target)
        waiting = (self._peak(WAITING, target) - warm) / WAITING.connections
        active = (self._peak(ACTIVE, target) - warm) / ACTIVE.connections
        memory = Memory(idle, own, warm, waiting, active)
        streams = f"waiting {waiting / 1e3:.1f} kB, active {active / 1e3:.1f} kB"
        say(f"memory {name}: idle {idle / 1e6:.1f} MB (PSS {own / 1e6:.1f}), {streams}")
        return memory

    def held(self, name: str) -> int:
        """The most streams whose deltas arrive in time; a level fails when it fails twice."""
        most = 0
        for level in HELD_LEVELS:
            if not (self._holds(level, name) or self._holds(level, name)):
                break
            most = level
        say(f"held {name}: {most}")
        return most

    def stall(self, name: str, large: Large | None) -> float:
        """The longest delay, in seconds, of any delta of other streams while a large request passes, or none."""
        target = self.targets[name]
        self._place(BESIDE, target.processes())
        others = self._start(BESIDE, target)
        time.sleep(_BEFORE_LARGE_SECONDS)
        beside = None if large is None else self.large(large, target)
        run = finish_load(others)
        if run.delay is None or run.failed or (beside is not None and beside.failed):
            say(f"{large}: {run.fault or beside}")
            return math.inf
        return run.delay.max

    def large(self, large: Large, target: Target) -> Run:
        """One large request."""
        body = self.directory / "large.json"
        body.write_bytes(msgspec.json.encode(large.body()))
        order = Order(port=target.port, path=large.path, headers=target.headers, options=large.options())
        process = start_load(self.programs, body, order)
        pin([process.pid], Machine.here().load)
        return finish_load(process)

    def _holds(self, level: int, name: str) -> bool:
        run = self.sample(held(level), self.targets[name]).run
        return not run.failed and run.delay is not None and run.delay.p99 < HELD_SECONDS

    def _place(self, cell: Cell, processes: set[int]) -> None:
        machine = Machine.here()
        pin(processes - {self.upstream}, machine.server if cell.pinned else machine.everything)
        pin([self.upstream], machine.load if cell.pinned else machine.everything)

    def _start(self, cell: Cell, target: Target) -> subprocess.Popen[bytes]:
        dialect = cell.spoken(target.dialects)
        body = self.directory / "body.json"
        body.write_bytes(msgspec.json.encode(cell.body(dialect)))
        order = Order(port=target.port, path=cell.path(dialect), headers=target.headers, options=cell.options(dialect))
        process = start_load(self.programs, body, order)
        if cell.pinned:
            pin([process.pid], Machine.here().load)
        return process

    def _peak(self, cell: Cell, target: Target) -> int:
        self._place(cell, target.processes())
        process, peak = self._start(cell, target), 0
        while process.poll() is None:
            peak = max(peak, self._resident(target))
            time.sleep(_SAMPLE_SECONDS)
        run = finish_load(process)
        if run.failed:
            say(f"{cell.name} {target.name}: {run.failed} failed, {run.fault}")
        return peak

    def _resident(self, target: Target) -> int:
        return sum(resident_bytes(pid) for pid in target.workers())


def say(text: str) -> None:
    """A line for whoever watches."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201 - a command


def _line(result: CellResult) -> str:
    costs = [f"{name} {(result.cpu(name) or 0) * 1e6:.2f}" for name in result.targets]
    remark = "" if result.steady else ", NOT STEADY"
    return f"{result.name}: {', '.join(costs)} us/{result.unit}; {result.refused} rounds refused{remark}"
