"""
Log configuration and formats: one JSON object or text line per event with fields; ``server.terminal_lines`` has the
format for terminals. Must not know single events.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from gptmock.server.fields import fields_of, redacted, shown
from gptmock.server.terminal_lines import MAX_COLUMNS, TerminalLines


def configure_logs(log_format: str) -> None:
    """Log to stderr: gptmock from INFO on, libraries from ERROR on. To be called once per process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_lines(log_format))
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)
    logging.getLogger("gptmock").setLevel(logging.INFO)
    # No format shows these two, and each record asks for them (Python's documentation, "Optimization").
    logging.logThreads = logging.logMultiprocessing = False
    for name in ("sanic.root", "sanic.error", "sanic.server", "sanic.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.ERROR)


def _lines(log_format: str) -> logging.Formatter:
    if log_format == "json":
        return JsonLines()
    if sys.stderr.isatty():
        return TerminalLines(_columns, colour=has_colours(os.environ))
    return TextLines()


def has_colours(environment: Mapping[str, str]) -> bool:
    """Whether to use colours: not with ``NO_COLOR`` (no-color.org) or ``TERM=dumb``."""
    return not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def _columns() -> int:
    try:
        # 0 columns: the size is unknown.
        return os.get_terminal_size(sys.stderr.fileno()).columns or MAX_COLUMNS
    except (OSError, ValueError):
        return MAX_COLUMNS


_ENCODE_FAST = msgspec.json.Encoder(enc_hook=str).encode
_ENCODE_ANY = json.JSONEncoder(default=str, separators=(",", ":")).encode


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._clock = ""
        """The time of ``_second``: most lines come within the second of the one before."""

    def format(self, record: logging.LogRecord) -> str:
        """``time`` (RFC 3339, UTC), ``level``, ``pid`` (which worker), ``event``, and the fields."""
        second = int(record.created)
        if second != self._second:
            self._second, self._clock = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        line: dict[str, Any] = {
            "time": f"{self._clock}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname.lower(),
            "pid": record.process,
            "event": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["traceback"] = redacted(self.formatException(record.exc_info))
        return _json_of(line)


def _json_of(line: dict[str, Any]) -> str:
    # Not all that a field may be is known to msgspec, and it escapes less: a line is to be safe on any terminal.
    try:
        encoded = _ENCODE_FAST(line)
    except (TypeError, ValueError, OverflowError):
        return _ENCODE_ANY(line)
    return encoded.decode() if encoded.isascii() else _ENCODE_ANY(line)


class TextLines(logging.Formatter):
    """``12:00:00 info turn model=... status=200``."""

    def format(self, record: logging.LogRecord) -> str:
        """Local time, level, event, fields; a traceback below."""
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = " ".join(f"{name}={shown(value)}" for name, value in fields_of(record).items())
        line = f"{clock} {record.levelname.lower()} {record.getMessage()} {fields}".rstrip()
        return f"{line}\n{redacted(self.formatException(record.exc_info))}" if record.exc_info else line
