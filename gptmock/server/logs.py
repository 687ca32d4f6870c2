"""
Log lines as events with fields, as text for people or JSON for machines. Must not know what is logged.

Credentials never get here: they are ``Secret`` until the one line that sends them. But clients write what they like
into their bodies, and ``--verbose`` logs bodies: a second net takes out what has the shape of a credential.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CREDENTIALS = re.compile(
    r"""
    \beyJ[\w-]{8,}\.[\w-]+\.[\w-]+                            # a JWT, as access and id tokens are
    | \b(?:sk|rt|ac)[_-][\w-]{16,}                              # API keys, refresh tokens, authorization codes
    | \bgm_[0-9A-Za-z]{8}_\w{16,}                              # keys of our own
    | (?<=\bBearer[ ])[\w.~+/-]{8,}=*
    | (?i:(?<="authorization":")|(?<="authorization":[ ]"))[^"\\]{8,}
    """,
    re.VERBOSE,
)


def redacted(text: str) -> str:
    """The text without anything that has the shape of a credential."""
    return _CREDENTIALS.sub("[redacted]", text)


def configure_logs(log_format: str) -> None:
    """Send everything to stderr, once per process; Sanic's own chatter only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("gptmock").setLevel(logging.INFO)
    for name in ("sanic.root", "sanic.error", "sanic.server", "sanic.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name: redacted(value) if isinstance(value, str) else value
        for name, value in vars(record).items()
        if name not in _STANDARD and value is not None
    }


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """``time`` (RFC 3339, UTC), ``level``, ``pid`` (which worker), ``event``, and the fields."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "pid": record.process,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """``12:00:00 info turn model=... status=200``."""

    def format(self, record: logging.LogRecord) -> str:
        """Local time, level, event, fields; a traceback below."""
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = " ".join(f"{name}={_shown(value)}" for name, value in _fields(record).items())
        line = f"{clock} {record.levelname.lower()} {record.getMessage()} {fields}".rstrip()
        return f"{line}\n{redacted(self.formatException(record.exc_info))}" if record.exc_info else line


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text.isprintable() or " " in text or not text else text
