"""
What a log record says beside its event: fields, without anything that has the shape of a credential.

Credentials never get here: they are ``Secret`` until the one line that sends them. But clients write what they like
into their bodies, and ``--verbose`` logs bodies: a second net takes them out.
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
    """The text without anything that has the shape of a credential."""
    return text if len(text) < _SHORTEST_CREDENTIAL else CREDENTIALS.sub("[redacted]", text)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that have a value."""
    return {
        name: redacted(value) if isinstance(value, str) else value
        for name, value in vars(record).items()
        if name not in _STANDARD and value is not None
    }


def hidden_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """What only a terminal shows: the record's ``at_terminal``."""
    return getattr(record, _AT_TERMINAL, None) or {}


def shown(value: object) -> str:
    """A value in a line of text: quoted where it has to be."""
    text = str(value)
    return json.dumps(text) if not text.isprintable() or " " in text or not text else text
