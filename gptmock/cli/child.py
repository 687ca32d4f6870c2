"""Runs one of our own commands as a child process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

STOP_SECONDS = 10.0


@contextmanager
def child_command(
    *arguments: str,
    keeps: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """
    A command that ends with the context, or when this process is killed.

    Args:
        arguments: the command and its options.
        keeps: descriptors that it inherits, such as a lock.
        environment: variables besides those of this process.
        directory: where it runs; elsewhere it reads no ``.env`` of the user's.
        stdout: as of ``subprocess.Popen``; standard error by default.
        stderr: as of ``subprocess.Popen``; this process's by default.
    """
    # A program that is not installed is found all the same.
    package = Path(__file__).parents[2]
    python_path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "gptmock.cli.leash", *arguments],
        env={**os.environ, "PYTHONPATH": python_path, **(environment or {})},
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=stdout if stdout is not None else sys.stderr,
        stderr=stderr,
        pass_fds=keeps,
        # Ctrl-C is for this process; it stops the others in their order.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
