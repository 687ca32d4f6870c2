"""
The fields of a log record (its ``extra``), with credentials redacted.

Our own credentials are ``Secret`` and never logged. Clients may put credentials into bodies, which ``--verbose`` logs:
anything with the shape of a credential is redacted.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

_AT_TERMINAL = "at_terminal"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", _AT_TERMINAL}
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
    """Replace anything that has the shape of a credential by ``[redacted]``."""
    return _CREDENTIALS.sub("[redacted]", text)


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
