"""A menu at a terminal: arrow keys, Enter, q. Knows nothing of what is chosen."""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gptmock.cli.terminal import printable

_ESCAPE_SECONDS = 0.1
"""Within this time the rest of an arrow key follows; Escape alone is followed by nothing."""
_UP, _DOWN, _ENTER, _LEAVE = "up", "down", "enter", "leave"
_KEYS = {
    b"\x1b[A": _UP,
    b"\x1bOA": _UP,
    b"k": _UP,
    b"\x1b[B": _DOWN,
    b"\x1bOB": _DOWN,
    b"j": _DOWN,
    b"\n": _ENTER,
    b"\r": _ENTER,
    b"q": _LEAVE,
    b"\x04": _LEAVE,
    b"": _LEAVE,
}
_LONGEST_KEY = 12
_MARGIN_LINES = 3
"""The title, the help below the rows, and the line that the cursor is in."""


def can_choose() -> bool:
    """Whether a menu can be shown: a terminal on both sides that moves its cursor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def choose(title: str, rows: Sequence[str], *, first: int = 0) -> int | None:
    """
    Let the user choose a row.

    Args:
        title: shown above the rows.
        rows: at least one; each is cut to the width of the terminal.
        first: the row that is chosen at the beginning.

    Returns the index of the row; ``None`` if the user left.
    """
    at = first
    with _keys_unbuffered():
        shown = 0
        while True:
            shown = _draw(title, rows, at, above=shown)
            match _key():
                case "up":
                    at = (at - 1) % len(rows)
                case "down":
                    at = (at + 1) % len(rows)
                case "enter":
                    return at
                case "leave":
                    return None


@contextmanager
def _keys_unbuffered() -> Iterator[None]:
    """Keys arrive at once and are not shown; Ctrl-C stays an interrupt."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    sys.stdout.write("\x1b[?25l")
    try:
        tty.setcbreak(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        sys.stdout.write("\x1b[?25h")
        sys.stdout.flush()


def _draw(title: str, rows: Sequence[str], at: int, *, above: int) -> int:
    """Draw over the ``above`` lines that were drawn before. Returns the number of lines."""
    columns, height = shutil.get_terminal_size()
    room = max(1, min(len(rows), height - _MARGIN_LINES))
    begin = min(max(0, at - room // 2), len(rows) - room)
    lines = [title[: columns - 1]]
    for place in range(begin, begin + room):
        text = printable(f"{'>' if place == at else ' '} {rows[place]}")[: columns - 1]
        lines.append(f"\x1b[7m{text}\x1b[0m" if place == at and "NO_COLOR" not in os.environ else text)
    lines.append("up and down to choose, Enter to go on, q to leave"[: columns - 1])
    back = f"\x1b[{above}A" if above else ""
    sys.stdout.write(back + "".join(f"\r\x1b[2K{line}\n" for line in lines))
    sys.stdout.flush()
    return len(lines)


def _key() -> str | None:
    """The next key; ``None`` for one without a meaning."""
    descriptor = sys.stdin.fileno()
    read = os.read(descriptor, 1)
    if read == b"\x1b":
        read += _following(descriptor)
        if read[1:2] not in (b"[", b"O"):
            return _LEAVE
        # A key with a modifier has parameters; its last character is no digit.
        while len(read) < _LONGEST_KEY and (len(read) == len(b"\x1b[") or not read[-1:].isalpha()):
            following = _following(descriptor)
            if not following:
                break
            read += following
    return _KEYS.get(read)


def _following(descriptor: int) -> bytes:
    """The next character of a key, if there is one."""
    return os.read(descriptor, 1) if select.select([descriptor], [], [], _ESCAPE_SECONDS)[0] else b""
