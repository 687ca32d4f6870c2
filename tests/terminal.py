"""Runs the console script in a pseudo-terminal, types input and reads the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from tests.harness import MARK, PROGRAM, end_tree, new_mark, plain_environment

LINES = 40
_DESKTOP = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
_SIZE = ("COLUMNS", "LINES")
"""Where readline is loaded, as in a process of pytest-xdist, it puts the size of another terminal there."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r")


class Terminal:
    """A command that runs at a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, mark: str) -> None:
        self.process = process
        self.mark = mark
        self._master = master
        self._shown = b""

    @property
    def raw(self) -> str:
        """All that it has shown so far, control sequences included."""
        self._read(0)
        return self._shown.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """The same without control sequences."""
        return _CONTROL.sub("", self.raw)

    def until(self, pattern: str, *, seconds: float = 40.0) -> re.Match[str]:
        """Wait until the text has it."""
        deadline = time.monotonic() + seconds
        while True:
            if found := re.search(pattern, self.text):
                return found
            assert time.monotonic() < deadline, f"{pattern!r} was not shown:\n{self.text}"
            if not self._read(0.1) and self.process.poll() is not None:
                assert re.search(pattern, self.text), f"ended without {pattern!r}:\n{self.text}"

    def type(self, line: str) -> None:
        """A line and Enter."""
        os.write(self._master, line.encode() + b"\n")

    def ended(self, *, seconds: float = 40.0) -> int:
        """Wait for its end; the exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running:\n{self.text}"
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            block = os.read(self._master, 65536)
        except OSError:
            # Linux says so when the last process of a terminal has gone.
            return False
        self._shown += block
        return bool(block)


@contextmanager
def at_terminal(directory: Path, *arguments: str, **variables: str) -> Iterator[Terminal]:
    """The console script at a terminal, ``COLUMNS`` wide; all that it started is gone afterwards."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, int(variables.pop("COLUMNS", "100")), 0, 0))
    mark = new_mark()
    variables = {"GPTMOCK_HOME": str(directory), "TERM": "xterm-256color", MARK: mark, **variables}
    environment = plain_environment(**variables)
    # No test opens a window on anybody's desktop.
    left_out = _SIZE if "BROWSER" in variables else (*_SIZE, *_DESKTOP)
    environment = {name: value for name, value in environment.items() if name not in left_out}
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        env=environment,
        cwd=directory,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master, mark)
    finally:
        end_tree(process, mark)
        os.close(master)


@contextmanager
def the_login_ports() -> Iterator[None]:
    """1455 and 1457 for this test alone: logins of one machine take them from each other."""
    with filelock.FileLock(Path(tempfile.gettempdir()) / "gptmock-test-login-ports.lock", timeout=240):
        yield
