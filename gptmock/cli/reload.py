"""``gptmock reload``: restarts the workers of a running server one by one, with the settings as they are now."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from gptmock.cli.errors import CommandFailed
from gptmock.cli.settings import given_settings
from gptmock.supervision.pid_file import names_in, running

_EPILOG = """example:
  gptmock reload
  gptmock reload --pid-file /run/gptmock.pid

Finds the server by its lock on server.pid in GPTMOCK_HOME. New workers read
.env, key files and certificates again, and serve before the old ones finish:
no stream is cut and no connection refused. The address stays. If the new
settings cannot be used, the log says so and the old workers go on.
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--pid-file",
        metavar="PATH",
        help="that of the server (GPTMOCK_PID_FILE, default: all servers of GPTMOCK_HOME)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Signal each server."""
    settings = given_settings({"pid_file": options.pid_file})
    files = [settings.pid_file] if settings.pid_file is not None else names_in(settings.home)
    pids = [pid for file in files if (pid := _running(file)) is not None]
    if not pids:
        where = settings.pid_file or f"GPTMOCK_HOME {settings.home}"
        raise CommandFailed(f"no server is running here that belongs to {where}. Start one: gptmock serve")
    for pid in pids:
        try:
            os.kill(pid, signal.SIGHUP)
        except PermissionError as error:
            raise CommandFailed(f"the server with pid {pid} belongs to another user") from error
        print(f"The server with pid {pid} restarts its workers.")
    return 0


def _running(file: Path) -> int | None:
    try:
        return running(file)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from error
