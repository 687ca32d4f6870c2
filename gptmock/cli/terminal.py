"""
Output of commands: tables, bars and colours on a terminal, plain lines elsewhere. Knows no account.

``NO_COLOR`` (no-color.org) removes the colours only.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

BAR_CELLS = 16
"""Chosen so that the longest line of ``info`` fits a panel of 80 columns."""
MOST_PERCENT, MUCH_PERCENT = 90.0, 70.0
"""Above these a window is shown in red, and in yellow."""


def person_looks() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def console() -> Console:
    """A Rich console without highlighting, markup and emoji codes."""
    return Console(highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    """Replace unprintable characters, so that foreign text holds no terminal control sequences."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def show_document(document: Any) -> None:
    """Print a document as JSON, for ``--json``."""
    print(json.dumps(document, indent=2))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """
    Print a table; on a pipe as aligned columns for tools like ``awk``.

    Args:
        columns: titles.
        rows: cells, in the order of the columns.
        numbers: the titles of right-aligned columns.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if person_looks():
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in columns:
            table.add_column(title, justify="right" if title in numbers else "left", overflow="fold")
        for row in cells:
            table.add_row(*row)
        console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        aligned = (
            cell.rjust(width) if title in numbers else cell.ljust(width)
            for title, cell, width in zip(columns, row, widths, strict=True)
        )
        print("  ".join(aligned).rstrip())


def bar(used_percent: float, *, ascii_only: bool) -> Text:
    """A usage bar of ``BAR_CELLS`` cells, green, yellow or red."""
    filled = round(min(max(used_percent, 0.0), 100.0) / 100 * BAR_CELLS)
    full, empty = ("#", ".") if ascii_only else ("█", "░")
    style = "red" if used_percent >= MOST_PERCENT else "yellow" if used_percent >= MUCH_PERCENT else "green"
    return Text.assemble((full * filled, style), (empty * (BAR_CELLS - filled), "dim"))


def sparkline(values: Sequence[int], *, ascii_only: bool) -> str:
    """One character for each value, from nothing to the largest."""
    steps = " .:-=+*#" if ascii_only else " ▁▂▃▄▅▆▇█"
    most = max(values, default=0)
    # The smallest amount is seen, too.
    return "".join(steps[0] if not one else steps[max(1, round(one / most * (len(steps) - 1)))] for one in values)


def local(seconds: float) -> str:
    """Unix seconds as local date and time, to the minute."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def duration(seconds: float) -> str:
    """Seconds as text with the two largest units: ``3 d 2 h``, ``12 min``, ``40 s``."""
    whole = max(0, int(seconds))
    units = ((whole // 86400, "d"), (whole % 86400 // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60, "s"))
    first = next((place for place, (amount, _) in enumerate(units) if amount), 3)
    shown = [f"{amount} {unit}" for amount, unit in units[first : first + 2] if amount]
    # Minutes are shown without seconds.
    return " ".join(shown[:1] if first >= 2 else shown) or "0 s"


def relative(seconds: float) -> str:
    """Unix seconds relative to now: ``in 3 h 20 min``, ``12 min ago``."""
    left = seconds - time.time()
    return f"in {duration(left)}" if left > 0 else f"{duration(-left)} ago"
