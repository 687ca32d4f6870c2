"""
A recorded terminal session as an animated SVG: what was shown, when, and the picture that replays it.

``Session`` types commands into real shells and notes the time of everything that they show; ``picture`` draws it. A
viewer that shows no animation, and a reader who prefers reduced motion, see the last frame.
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from tests.harness import MARK, end_tree, new_mark

TYPING_SECONDS = 0.04
HOLD_SECONDS = 6.0
"""How long the last frame stays before the picture starts again."""
CELL, LINE, MARGIN, BAR = 8.0, 18, 12, 25
"""Pixels: the width of a letter, the height of a line, the space around a pane's text, the height of its title bar."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_INTERACTIVE = 'exec bash --norc --noprofile -i <>"$0" >&0 2>&1'
"""The first terminal that a session opens becomes its controlling terminal, which job control needs."""
_STYLE = """\
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#c9d1d9;white-space:pre}
.typed{fill:#fff;font-weight:600}.title{fill:#8b949e;font-size:12px}
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """Text that a terminal showed, without control sequences but carriage return and newline."""

    seconds: float
    """Since the recording began."""
    text: str
    typed: bool = False
    """Whether it is the echo of a command."""


@dataclass(frozen=True, slots=True)
class Pane:
    """What one terminal showed, oldest first."""

    title: str
    shown: Sequence[Shown]


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of letters on one row that appeared at one moment."""

    seconds: float
    row: int
    column: int
    text: str
    typed: bool


@dataclass(slots=True)
class Shell:
    """A shell at a terminal of its own."""

    title: str
    master: int
    shown: list[Shown] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All that it has shown so far."""
        return "".join(one.text for one in self.shown)


class Session:
    """Shells that are recorded together, by one clock."""

    def __init__(self) -> None:
        self.shells: list[Shell] = []
        self._began = time.monotonic()

    def watch(self, *, seconds: float, typed: bool = False) -> None:
        """Note what the shells show in this time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([shell.master for shell in self.shells], [], [], left)
            now = time.monotonic() - self._began
            for shell in self.shells:
                if shell.master in ready:
                    text = _CONTROL.sub("", os.read(shell.master, 65536).decode())
                    shell.shown.append(Shown(now, text, typed))

    def type(self, shell: Shell, command: str) -> None:
        """Type a command letter by letter, then Enter."""
        for letter in command:
            os.write(shell.master, letter.encode())
            self.watch(seconds=TYPING_SECONDS, typed=True)
        self.watch(seconds=0.3, typed=True)
        os.write(shell.master, b"\n")

    def until(self, shell: Shell, pattern: str, *, seconds: float = 60.0) -> None:
        """Watch until a shell has shown it."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, shell.text):
            assert time.monotonic() < deadline, f"{pattern!r} was not shown:\n{shell.text}"
            self.watch(seconds=0.05)

    def panes(self) -> list[Pane]:
        """What was recorded so far."""
        return [Pane(shell.title, tuple(shell.shown)) for shell in self.shells]

    @contextmanager
    def shell(self, title: str, directory: Path, environment: Mapping[str, str], *, columns: int) -> Iterator[Shell]:
        """An interactive bash; all that it started is gone afterwards."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        mark = new_mark()
        process = subprocess.Popen(
            ["sh", "-c", _INTERACTIVE, os.ttyname(slave)],
            env={**environment, MARK: mark, "PS1": "$ ", "TERM": "xterm-256color"},
            cwd=directory,
            start_new_session=True,
        )
        shell = Shell(title, master)
        self.shells.append(shell)
        try:
            self.until(shell, r"\$ ")
            os.close(slave)
            yield shell
        finally:
            end_tree(process, mark)
            os.close(master)


def picture(panes: Sequence[Pane], *, columns: int) -> str:
    """The SVG that replays a recording, the panes one below the other; nothing in it is fetched from elsewhere."""
    placed = [(pane, list(pieces(pane.shown, columns=columns))) for pane in panes]
    moments = sorted({piece.seconds for _, found in placed for piece in found})
    whole = moments[-1] + HOLD_SECONDS
    names = {moment: f"t{number}" for number, moment in enumerate(moments)}
    rules = [_rule(names[moment], moment / whole * 100, whole) for moment in moments]
    width = round(columns * CELL + 2 * MARGIN)
    drawn, top = [], 0
    for pane, found in placed:
        height = BAR + (max(piece.row for piece in found) + 1) * LINE + MARGIN
        drawn.append(_pane(pane.title, found, names, top=top, width=width, height=height))
        top += height + 8
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top - 8}" role="img" xml:space="preserve">',
            f"<title>{html.escape(' and '.join(pane.title for pane in panes))}</title>",
            f"<style>\n{_STYLE}{''.join(rules)}",
            "@media (prefers-reduced-motion:reduce){text{animation:none!important}}</style>",
            *drawn,
            "</svg>\n",
        ]
    )


def pieces(shown: Sequence[Shown], *, columns: int) -> Iterator[Piece]:
    """Where the letters of a terminal stand, in runs; a row that is full goes on in the next."""
    row = column = 0
    for one in shown:
        cells = []
        for letter in one.text:
            if letter == "\r":
                column = 0
            elif letter == "\n":
                row += 1
            else:
                if column == columns:
                    row, column = row + 1, 0
                cells.append((row, column, letter))
                column += 1
        for line, run in groupby(cells, key=lambda cell: cell[0]):
            found = list(run)
            text = "".join(letter for _, _, letter in found)
            if text.strip():
                indent = len(text) - len(text.lstrip())
                yield Piece(one.seconds, line, found[0][1] + indent, text.strip(), one.typed)


def _rule(name: str, percent: float, whole: float) -> str:
    """Hidden until its moment, then shown until the picture starts again."""
    return (
        f".{name}{{animation:{name} {whole:.2f}s step-end infinite}}"
        f"@keyframes {name}{{0%{{opacity:0}}{percent:.3f}%{{opacity:1}}}}\n"
    )


def _pane(title: str, found: Sequence[Piece], names: Mapping[float, str], *, top: int, width: int, height: int) -> str:
    lines = [
        f'<g transform="translate(0 {top})">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117" stroke="#30363d"/>',
        *(f'<circle cx="{18 + 16 * place}" cy="14" r="5" fill="#30363d"/>' for place in range(3)),
        f'<text class="title" x="{width / 2:.0f}" y="18" text-anchor="middle">{html.escape(title)}</text>',
    ]
    for piece in found:
        x, y = MARGIN + piece.column * CELL, BAR + (piece.row + 1) * LINE - 3
        look = f"{names[piece.seconds]} typed" if piece.typed else names[piece.seconds]
        # The browser's own font may be wider or narrower: columns stay where they are.
        size = f' textLength="{len(piece.text) * CELL:g}" lengthAdjust="spacingAndGlyphs"'
        lines.append(f'<text class="{look}" x="{x:g}" y="{y}"{size}>{html.escape(piece.text)}</text>')
    return "\n".join([*lines, "</g>"])
