"""
The log format for terminals: one short line for each model call or request, with colours.

    12:00:00 200 chat        gpt-5.5 high           1.2k→345 tok  0.41s  3.20s ada@example.test
    12:00:07 200 chat        gpt-5.5                 client_gone  0.41s  1.90s ada@example.test
    12:00:09 404 GET /v1/embeddings unsupported_endpoint

The columns of a model call: status, dialect, model and effort, tokens in and out or the error code, time to first byte,
whole time, account. ``server.logs`` has the other formats.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from gptmock.server.fields import fields_of, redacted, shown, terminal_fields_of

MAX_COLUMNS = 100
MIN_COLUMNS = 40
_DIALECT_CELLS, _MODEL_CELLS, _MIDDLE_CELLS, _SECONDS_CELLS = 11, 20, 15, 6
_LEAST_CELLS = 6
"""A column that would be cut to fewer cells is left out."""
_DIM, _BOLD, _GREEN, _YELLOW, _RED = "2", "1", "32", "33", "31"
_LEVELS = {"warning": _YELLOW, "error": _RED, "critical": _RED}
_Part = tuple[str, str]
"""A text and its colour; ``""`` for none."""


class TerminalLines(logging.Formatter):
    """
    One line per record; model calls and requests are cut to the width of the terminal.

    Args:
        columns: the current width of the terminal.
        colour: whether to use colours.
    """

    def __init__(self, columns: Callable[[], int], *, colour: bool) -> None:
        super().__init__()
        self._columns = columns
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Local time, then the columns or the event with its fields; a traceback below."""
        fields = fields_of(record)
        event = record.getMessage()
        width = max(MIN_COLUMNS, min(MAX_COLUMNS, self._columns()))
        if event == "turn":
            parts = _turn(fields, terminal_fields_of(record), width - len(_clock(record)) - 1)
        elif event == "request":
            parts = _request(fields, width - len(_clock(record)) - 1)
        else:
            level = record.levelname.lower()
            rest = " ".join(f"{name}={shown(value)}" for name, value in fields.items())
            parts = [(level, _LEVELS.get(level, _DIM)), (event, _BOLD), (rest, "")]
        line = " ".join(self._painted(part) for part in [(_clock(record), _DIM), *parts] if part[0])
        return f"{line}\n{redacted(self.formatException(record.exc_info))}" if record.exc_info else line

    def _painted(self, part: _Part) -> str:
        text, colour = part
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour and colour and text.strip() else text


def _clock(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")


def _turn(fields: Mapping[str, Any], hidden: Mapping[str, Any], room: int) -> list[_Part]:
    status, ended = int(fields["status"]), str(fields["ended"])
    model = " ".join(filter(None, (str(fields.get("model") or "-"), hidden.get("effort"))))
    tokens, outcome = _tokens(fields), ("" if ended == "ok" else ended)
    parts: list[_Part] = [
        (str(status), _status_colour(status, ended)),
        (str(fields["dialect"]).ljust(_DIALECT_CELLS), _DIM),
        (_cut(_plain(model), _MODEL_CELLS).ljust(_MODEL_CELLS), ""),
        (tokens.rjust(_MIDDLE_CELLS), "") if tokens or not outcome else (outcome.rjust(_MIDDLE_CELLS), _RED),
        (_seconds(fields.get("first_seconds")).rjust(_SECONDS_CELLS), _DIM),
        (_seconds(fields.get("seconds")).rjust(_SECONDS_CELLS), ""),
        (outcome if tokens else "", _RED),
        (_plain(str(hidden.get("label") or fields.get("account") or "")), _DIM),
    ]
    return _fitted([part for part in parts if part[0]], room)


def _request(fields: Mapping[str, Any], room: int) -> list[_Part]:
    status, ended = int(fields["status"]), str(fields["ended"])
    asked = _plain(f"{fields['method']} {fields['path']}")
    asked = _cut(asked, max(10, room - len(ended) - 6))
    return _fitted([(str(status), _status_colour(status, ended)), (asked, ""), (ended, _RED)], room)


def _tokens(fields: Mapping[str, Any]) -> str:
    into, out = fields.get("input_tokens"), fields.get("output_tokens")
    return "" if into is None or out is None else f"{_amount(int(into))}→{_amount(int(out))} tok"


def _fitted(parts: list[_Part], room: int) -> list[_Part]:
    """Cut the parts to ``room`` cells, from the end."""
    fitted: list[_Part] = []
    for text, colour in parts:
        if _cells(text) > room < _LEAST_CELLS:
            break
        fitted.append((_cut(text, room), colour))
        room -= _cells(fitted[-1][0]) + 1
    return fitted


def _status_colour(status: int, ended: str) -> str:
    if status >= 500:
        return _RED
    return _GREEN if status < 400 and ended == "ok" else _YELLOW


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in redacted(text))


def _cells(text: str) -> int:
    """The width of a text in terminal cells; East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _cut(text: str, cells: int) -> str:
    if _cells(text) <= cells:
        return text
    while text and _cells(text) >= cells:
        text = text[:-1]
    return f"{text}…"


def _amount(count: int) -> str:
    """``999``, ``1.2k``, ``45k``, ``1.2M``: at most five characters."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}{letter}" if count < 10 * size else f"{count // size}{letter}"
    return str(count)


def _seconds(seconds: float | None) -> str:
    """``0.41s``, ``12.3s``, ``4m05s``: at most six characters for anything below 17 minutes."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.2f}s"
    if seconds < 60:
        return f"{seconds:.1f}s"
    return f"{int(seconds) // 60}m{int(seconds) % 60:02}s"
