"""A server for as long as a client runs: ``gptmock serve`` on a free port of loopback, with its log in a file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

from gptmock.cli.child import child_command
from gptmock.cli.errors import CommandFailed
from gptmock.cli.launch_target import FoundServer, ask_server
from gptmock.cli.ports import check_port, free_port
from gptmock.settings import Settings

START_SECONDS = 60.0
LOG_BYTES = 4 * 1024 * 1024
"""A longer log is begun anew by the next server."""
_HOST = "127.0.0.1"
_LISTENING = ("GPTMOCK_UNIX_SOCKET", "GPTMOCK_TLS_CERT", "GPTMOCK_TLS_KEY", "GPTMOCK_PID_FILE")
"""Not for this server, which is reached at its port by one client only."""


@contextmanager
def own_server(settings: Settings, wanted_port: int = 0) -> Iterator[FoundServer]:
    """
    A server with the user's settings that is stopped with the context, and when this process is killed.

    Args:
        settings: the user's.
        wanted_port: where it has to listen; 0 for any free port.

    Raises:
        CommandFailed: it does not start, and the message names its log; or the port is taken.
    """
    if wanted_port:
        check_port(_HOST, wanted_port)
    port = free_port(_HOST, wanted_port)
    url = f"http://{_HOST}:{port}{settings.base_path or ''}"
    log_path = settings.home / "launch" / "server.log"
    environment = {"GPTMOCK_HOST": _HOST, "GPTMOCK_PORT": str(port), **dict.fromkeys(_LISTENING, "")}
    with _log(log_path) as log:
        print(f"gptmock: no server answers, so one is started at {url}; its log: {log_path}", file=sys.stderr)
        with child_command("serve", environment=environment, stdout=log, stderr=log) as process:
            yield _started(process, url, settings, log_path)
            print(f"gptmock: the server at {url} stops", file=sys.stderr)


@contextmanager
def _log(path: Path) -> Iterator[IO[bytes]]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise CommandFailed(f"the log {path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "ab") as log:
        if log.tell() > LOG_BYTES:
            log.truncate(0)
        yield log


def _started(process: subprocess.Popen[bytes], url: str, settings: Settings, log_path: Path) -> FoundServer:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CommandFailed(f"the server stopped while it started; see {log_path}")
        try:
            return ask_server(url, settings)
        except (httpx.HTTPError, ValueError, TypeError, KeyError):
            time.sleep(0.1)
    raise CommandFailed(f"the server did not answer within {START_SECONDS:.0f} seconds; see {log_path}")
