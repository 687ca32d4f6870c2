"""Starts ``tests/stores/worker.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
    said = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * number
    return said
