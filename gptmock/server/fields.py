"""
The fields of a log record (its ``extra``), with credentials redacted.

Our own credentials are ``Secret`` and never logged. Clients may put credentials into bodies, which ``--verbose`` logs:
anything with the shape of a credential is redacted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from gptmock.protocol.quotation import CREDENTIALS

_AT_TERMINAL = "at_terminal"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", _AT_TERMINAL}


_SHORTEST_CREDENTIAL = 10
"""Characters; the pattern matches nothing shorter."""


def redacted(text: str) -> str:
    """Replace anything that has the shape of a credential by ``[redacted]``."""
    return text if len(text) < _SHORTEST_CREDENTIAL else CREDENTIALS.sub("[redacted]", text)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record that are not ``None``, redacted."""
    return {
        name: redacted(value) if isinstance(value, str) else value
        for name, value in vars(record).items()
        if name not in _STANDARD and value is not None
    }


def terminal_fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """Fields for terminal lines only: the record's ``at_terminal``."""
    return getattr(record, _AT_TERMINAL, None) or {}


def shown(value: object) -> str:
    """A value for a text line; quoted as JSON if it is empty, or has spaces or unprintable characters."""
    text = str(value)
    return json.dumps(text) if not text.isprintable() or " " in text or not text else text
