"""
Where the time of our server goes in one cell, in microseconds for each frame.

    python -m tests.benchmarks.profile fast
    python -m tests.benchmarks.profile paced-200 --seconds 12 --lines 60

Needs py-spy (``pip install py-spy``), which is no dependency of this project. The server runs as in the benchmark;
samples are shared out over the CPU time that it used, so the kernel's part stands with the call that asked for it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.benchmarks import native, replies, targets
from tests.benchmarks.cells import FULL, Cell
from tests.benchmarks.runner import Runner, say

RATE = 250
"""Samples a second."""
_FRAME = re.compile(r"^(?P<function>.*) \((?P<place>.*)\)$")
_PREFIXES = (str(Path(__file__).parent.parent.parent), sys.prefix, sys.base_prefix)


def main() -> int:
    """Measure one cell and print three tables: rooms, functions, lines."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.profile")
    parser.add_argument("cell", choices=[cell.name for cell in FULL])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--lines", type=int, default=40)
    options = parser.parse_args()
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if program is None:
        print("py-spy is not installed: pip install py-spy", file=sys.stderr)  # noqa: T201 - a command
        return 2
    cell = next(cell for cell in FULL if cell.name == options.cell)
    if cell.rate:
        cell = replace(cell, deltas=int(options.seconds * cell.rate))
    else:
        cell = replace(cell, seconds=options.seconds, requests=0)
    stacks, cost = _profiled(program, cell, options.seconds)
    _print(cell, stacks, cost, options.lines)
    return 0


def _profiled(program: str, cell: Cell, seconds: float) -> tuple[list[tuple[list[str], int]], float]:
    """Stacks, outermost call first, each with its samples; and the CPU seconds for each unit."""
    with tempfile.TemporaryDirectory(prefix="gptmock-benchmark-") as name, ExitStack() as stack:
        directory = Path(name)
        replies.write(directory, [(cell.kind, cell.deltas, cell.rate > 0), ("text", 200, False)])
        programs = native.build()
        upstream, port = stack.enter_context(native.running_upstream(programs, directory))
        redis = stack.enter_context(targets.redis_url())
        state = asyncio.run(targets.new_state(directory / "home", port, redis))
        ours = stack.enter_context(targets.ours(state))
        runner = Runner(programs=programs, directory=directory, upstream=upstream, targets={"ours": ours})
        runner.warm()
        output = directory / "stacks"
        (worker,) = ours.workers()
        options = ["--pid", str(worker), "--duration", str(int(seconds)), "--rate", str(RATE), "--native"]
        command = [program, "record", *options, "--format", "raw", "--output", str(output)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spy:
            time.sleep(1.0)
            sample = runner.sample(cell, ours)
            spy.wait()
        say(f"{sample.run}")
        stacks = [_stack(line) for line in output.read_text().splitlines()]
        return [(frames, count) for frames, count in stacks if not _is_idle(frames)], sample.cpu


def _stack(line: str) -> tuple[list[str], int]:
    text, _, count = line.rpartition(" ")
    return text.split(";"), int(count)


def _is_idle(frames: list[str]) -> bool:
    """The loop waits for events, or a thread of a pool waits for work: py-spy takes both for busy."""
    return "epoll_" in frames[-1] or "_worker (concurrent" in _innermost(frames)


def _innermost(frames: list[str]) -> str:
    """The innermost call of Python, if there is any."""
    return next((frame for frame in reversed(frames) if ".py:" in frame), frames[-1])


def _print(cell: Cell, stacks: list[tuple[list[str], int]], cost: float, lines: int) -> None:
    total = sum(count for _, count in stacks)
    unit = cost * 1e6 / total
    print(f"{cell.title}: {cost * 1e6:.2f} us per {cell.unit} under the profiler, {total} samples")  # noqa: T201
    own, inside, places, rooms = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for frames, count in stacks:
        innermost = _innermost(frames)
        own[_function(innermost)] += count
        places[f"{_function(frames[-1])}  <-  {_place(innermost)}"] += count
        rooms[_room(innermost)] += count
        for function in {_function(frame) for frame in frames if ".py:" in frame}:
            inside[function] += count
    _table("packages and rooms, own time", rooms, unit, lines)
    _table("functions, own time with the C code they call", own, unit, lines)
    _table("functions, with all that they call", inside, unit, lines)
    _table("innermost call and the Python line that it came from", places, unit, lines)


def _table(title: str, counts: Counter[str], unit: float, lines: int) -> None:
    print(f"\n{title} (us)")  # noqa: T201 - a command
    for name, count in counts.most_common(lines):
        print(f"{count * unit:8.2f}  {name}")  # noqa: T201 - a command


def _function(frame: str) -> str:
    """Without the line, which differs within one function."""
    found = _FRAME.match(_short(frame))
    return f"{found['function']} ({found['place'].rpartition(':')[0] or found['place']})" if found else _short(frame)


def _place(frame: str) -> str:
    found = _FRAME.match(_short(frame))
    return found["place"] if found else _short(frame)


def _room(frame: str) -> str:
    """A package, ours by its rooms."""
    parts = _place(frame).rpartition(":")[0].split("/")
    return "/".join(parts[:2]) if parts[0] == "gptmock" else parts[0]


def _short(frame: str) -> str:
    for prefix in _PREFIXES:
        frame = frame.replace(f"{prefix}/", "")
    return re.sub(r"lib/python3\.\d+/(site-packages/)?", "", frame)


if __name__ == "__main__":
    sys.exit(main())
