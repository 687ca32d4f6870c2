"""The programs in C that play the upstream and make the load: compiled once for each state of their source."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

SOURCES = Path(__file__).parent / "native"
CACHE = Path(__file__).parent.parent.parent / ".cache" / "benchmarks"
FLAGS = ("-O2", "-Wall", "-Wextra")


class NoCompiler(Exception):
    """There is no C compiler here, or this is not Linux."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the compiled programs are."""

    upstream: Path
    load: Path


def compiler() -> list[str]:
    """
    The command of a C compiler: ``$CC``, the system's, or the one of the package ``ziglang``.

    Raises:
        NoCompiler: none was found.
    """
    if not sys.platform.startswith("linux"):
        raise NoCompiler("The benchmark uses epoll and /proc; run it on Linux.")
    if given := os.environ.get("CC"):
        return shlex.split(given)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise NoCompiler("There is no C compiler here; install gcc, or one from the package index: pip install ziglang")


def build(cache: Path = CACHE) -> Programs:
    """
    The programs, compiled unless they lie in the cache.

    Raises:
        NoCompiler: see ``compiler``.
        subprocess.CalledProcessError: they do not compile.
    """
    command = compiler()
    sources = {path.name: path.read_bytes() for path in sorted(SOURCES.iterdir())}
    state = hashlib.sha256(msgspec.json.encode([command, sources])).hexdigest()[:16]
    directory = cache / state
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("upstream", "load"):
        if not (directory / name).exists():
            # Moved into place when whole: another run may look for it at this moment.
            made = directory / f"{name}.{os.getpid()}"
            subprocess.run([*command, *FLAGS, "-o", made, SOURCES / f"{name}.c"], check=True)
            made.replace(directory / name)
    return Programs(directory / "upstream", directory / "load")


@contextmanager
def running_upstream(programs: Programs, replies: Path) -> Iterator[tuple[int, int]]:
    """The upstream with the replies of a directory (``replies.write``). Yields its process id and its port."""
    with subprocess.Popen([programs.upstream, replies], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


class Times(msgspec.Struct, frozen=True):
    """Seconds."""

    p50: float
    p99: float
    max: float


class Run(msgspec.Struct, frozen=True):
    """What the load generator counted."""

    requests: int
    """Answered whole and well."""
    failed: int
    frames: int
    stamps: int
    bytes: int
    first_frame: Times | None
    latency: Times | None
    delay: Times | None
    """From the write of a delta at the upstream to its arrival here."""
    seconds: float
    cpu: float
    """Of the load generator itself."""
    fault: str
    """What was wrong with the first answer that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A run of the load generator; see ``native/load.c`` for the options."""

    port: int
    path: str
    headers: Sequence[str] = ()
    options: Mapping[str, Any]


def start_load(programs: Programs, body: Path, order: Order) -> subprocess.Popen[bytes]:
    """The load generator at work; ``finish_load`` takes its result."""
    options: list[str] = ["--port", str(order.port), "--path", order.path, "--body", str(body)]
    for header in order.headers:
        options += ["--header", header]
    for name, value in order.options.items():
        options += [f"--{name}", str(value)]
    return subprocess.Popen([programs.load, *options], stdout=subprocess.PIPE)


def finish_load(process: subprocess.Popen[bytes]) -> Run:
    """
    Wait for the end of a run.

    Raises:
        subprocess.CalledProcessError: the load generator could not run.
    """
    with process:
        output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return msgspec.json.decode(output, type=Run)
