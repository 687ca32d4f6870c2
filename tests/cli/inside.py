"""Runs a command inside the test process, which saves the start of an interpreter for each command."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
from pathlib import Path
from unittest import mock

from gptmock.cli import main
from tests.harness import plain_environment


def run(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """As ``tests.cli.test_commands.run``; not inside an event loop, since commands call ``asyncio.run``."""
    environment = plain_environment(**{"GPTMOCK_HOME": str(directory), **variables})
    out, error = io.StringIO(), io.StringIO()
    logger = logging.getLogger("gptmock")
    handlers, before = logger.handlers[:], signal.getsignal(signal.SIGTERM)
    try:
        with (
            mock.patch.dict(os.environ, environment, clear=True),
            contextlib.chdir(directory),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
        ):
            code = _code(arguments)
    finally:
        logger.handlers[:] = handlers
        signal.signal(signal.SIGTERM, before)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), error.getvalue())


def _code(arguments: tuple[str, ...]) -> int:
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
