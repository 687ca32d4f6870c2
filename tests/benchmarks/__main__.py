"""
What the server costs, beside nginx and a plain build, as ratios inside one run.

    python -m tests.benchmarks --quick              under a minute, for daily work
    python -m tests.benchmarks                      everything; writes tests/benchmarks/results
    python -m tests.benchmarks --before ../other    also the server of another checkout of this repository
    python -m tests.benchmarks --cells fast,bulk    only some

Exit code 1: the rounds of some cell disagreed by more than 25 % to the end, or deltas came late even through nginx.
Run it again on a quieter machine, all of it or those ``--cells``; a part is written to ``.cache/benchmarks``.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from tests.benchmarks import native, plot, replies, report, targets
from tests.benchmarks.cells import ACTIVE, BESIDE, FAST, FULL, LARGE, QUICK, WAITING, Cell, held
from tests.benchmarks.processes import cores
from tests.benchmarks.report import TWO_WORKERS
from tests.benchmarks.results import Memory, Report
from tests.benchmarks.runner import Runner, say
from tests.harness import PROGRAM, plain_environment

RESULTS = Path(__file__).parent / "results"
LADDER = "held"
MEMORY = "memory"
LARGE_BODIES = "large"
START = "start"
ALONE = "none"
"""Beside the large requests: what the delays are without one."""
NOT_READY = 2


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    try:
        programs = native.build()
    except native.NoCompiler as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return NOT_READY
    _raise_file_limit()
    cells = [cell for cell in (QUICK if options.quick else FULL) if options.cells is None or cell.name in options.cells]
    if options.before is not None:
        cells = [replace(cell, targets=(*cell.targets, "before")) for cell in cells]
    with tempfile.TemporaryDirectory(prefix="gptmock-benchmark-") as directory:
        made = _measure(options, programs, cells, Path(directory))
    _write(made, options.output or (native.CACHE / "quick" if options.quick or options.cells else RESULTS))
    return 0 if all(cell.steady for cell in made.cells) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="CPU per frame, as ratios.")
    parser.add_argument("--quick", action="store_true", help="two cells, under a minute")
    names = ", ".join([*(cell.name for cell in FULL), LADDER, MEMORY, LARGE_BODIES, START])
    parser.add_argument("--cells", type=lambda text: text.split(","), help=f"only these, by comma: {names}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--extra-rounds", type=int, default=4, help="for each cell, in place of refused ones")
    parser.add_argument("--before", type=Path, help="another checkout of this repository, to compare with")
    parser.add_argument("--store", choices=("redis", "embedded"), default="redis", help="redis if there is a server")
    parser.add_argument("--output", type=Path, help="directory for report.md, report.svg and report.json")
    return parser.parse_args()


def _measure(options: argparse.Namespace, programs: native.Programs, cells: list[Cell], directory: Path) -> Report:
    path = directory / "replies"
    path.mkdir()
    every = [*cells, WAITING, ACTIVE, BESIDE, FAST, held(1)]
    replies.write(path, sorted({(cell.kind, cell.deltas, cell.rate > 0) for cell in every} | {("text", 1, False)}))
    with ExitStack() as stack:
        upstream, port = stack.enter_context(native.running_upstream(programs, path))
        redis = stack.enter_context(targets.redis_url()) if options.store == "redis" else None
        servers = Servers(directory, upstream, port, redis, options.before)
        runner = Runner(
            programs=programs,
            directory=directory,
            upstream=upstream,
            targets={},
            rounds=options.rounds,
            extra_rounds=1 if options.quick else options.extra_rounds,
        )
        memory = _memory(runner, servers) if _wants(options, MEMORY) else {}
        names = {name for cell in cells for name in cell.targets}
        if _wants(options, LARGE_BODIES) or _wants(options, LADDER):
            names |= {"nginx", "plain", "ours"}
        runner = replace(runner, targets=stack.enter_context(servers.running(names)))
        runner.warm()
        done = [runner.cell(cell) for cell in cells]
        return Report(
            made_at=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            python=platform.python_version(),
            cores=len(cores()),
            store="Redis" if redis else "the embedded store",
            cells=done,
            memory=memory,
            held=_held(runner) if _wants(options, LADDER) else {},
            stalls=_stalls(runner) if _wants(options, LARGE_BODIES) else {},
            start_cpu=_start_cpu(directory, options.rounds) if _wants(options, START) else (),
        )


def _held(runner: Runner) -> dict[str, list[int]]:
    names = [name for name in ("nginx", "plain", "before", "ours") if name in runner.targets]
    levels: dict[str, list[int]] = {name: [] for name in names}
    for _ in range(runner.rounds):
        for name in names:
            levels[name].append(runner.held(name))
    return levels


def _stalls(runner: Runner) -> dict[str, list[float]]:
    stalls: dict[str, list[float]] = {}
    for _ in range(runner.rounds):
        for large in (None, *LARGE):
            stalls.setdefault(large.name if large else ALONE, []).append(runner.stall("ours", large))
    say(f"stalls: {stalls}")
    return stalls


def _start_cpu(directory: Path, rounds: int) -> list[float]:
    """In a home without an account: what is counted is imports and the store."""
    home = directory / "start"
    home.mkdir()
    environment = plain_environment(GPTMOCK_HOME=str(home))
    seconds = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [*PROGRAM, "info", "--offline"]
        subprocess.run(
            command, cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return seconds


def _wants(options: argparse.Namespace, name: str) -> bool:
    return not options.quick if options.cells is None else name in options.cells


@dataclass(slots=True)
class Servers:
    """Starts the servers by name; those that cannot run here are left out."""

    directory: Path
    upstream: int
    port: int
    redis: str | None
    other: Path | None
    """Another checkout."""
    states: dict[str, targets.State] = field(default_factory=dict)
    """By the name of the home: all servers of one checkout share their state, as a cluster does."""

    @contextmanager
    def running(self, names: Collection[str]) -> Iterator[dict[str, targets.Target]]:
        """All of these at once, each ready."""
        with ExitStack() as stack:
            found = {}
            for name in names:
                try:
                    found[name] = stack.enter_context(self._start(name))
                except FileNotFoundError as missing:
                    say(f"{name} is left out: {missing} is not installed")
            yield found

    def _start(self, name: str) -> AbstractContextManager[targets.Target]:
        if name == "direct":
            return nullcontext(targets.direct(self.port, self.upstream))
        if name == "plain":
            return targets.plain(self.port)
        if name == "nginx":
            return targets.nginx(self.port, Path(tempfile.mkdtemp(dir=self.directory)))
        source = self.other if name == "before" else None
        redis = f"{self.redis}?db=1" if self.redis and source else self.redis
        home = "before" if source else "home"
        if home not in self.states:
            self.states[home] = asyncio.run(targets.new_state(self.directory / home, self.port, redis))
        return targets.ours(self.states[home], workers=2 if name == TWO_WORKERS else 1, name=name, source=source)


def _memory(runner: Runner, servers: Servers) -> dict[str, Memory]:
    """Of servers that have done nothing else yet."""
    found = {}
    for name in ("plain", "ours"):
        with servers.running([name]) as alone:
            found[name] = replace(runner, targets=alone).memory(name)
    return found


def _write(made: Report, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    text = report.markdown(made)
    (directory / "report.md").write_text(text)
    (directory / "report.svg").write_text(plot.svg(made), encoding="utf-8")
    (directory / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    print(text)  # noqa: T201 - a command
    print(f"written to {directory}")  # noqa: T201 - a command


def _raise_file_limit() -> None:
    """Everything that is started inherits it: a thousand streams are two thousand sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
