"""Starts ``tests/stores/worker.py``, and what processes of another user need."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENT_SECONDS = 280.0
"""Long, since workers that take turns wait for the processor at each step on a busy machine."""


def start(address: str, task: str, *arguments: object) -> subprocess.Popen[str]:
    """One worker; its standard output is read by the caller."""
    command = [sys.executable, "-W", "error", "-m", "tests.stores.worker", address, task, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def run_together(number: int, address: str, task: str, *arguments: object) -> list[str]:
    """
    So many workers at once, until all have ended.

    Raises:
        AssertionError: one of them failed.
    """
    workers = [start(address, task, *arguments) for _ in range(number)]
    said = [worker.communicate(timeout=PATIENT_SECONDS)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * number
    return said


async def say(script: str, *arguments: object) -> str:
    """
    What a script prints.

    Raises:
        AssertionError: it failed.
    """
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode().strip()


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that other users may enter, which those of pytest are not."""
    directory = Path(tempfile.mkdtemp(prefix="gm-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
