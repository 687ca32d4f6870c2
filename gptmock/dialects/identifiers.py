"""
Shortens tool names and call ids to what the upstream accepts. Pure functions of the client's value: a call and its
output get the same id, so no table is needed across requests.

The upstream allows 64 characters, in names only letters, digits, ``_`` and ``-``. MCP servers use dots and slashes, and
some clients use ids of a hundred characters.
"""

from __future__ import annotations

import hashlib
import re

MAX_CHARACTERS = 64
_LEGAL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")


def upstream_name(name: str) -> str:
    """The tool name to send upstream: unchanged if legal, else a readable prefix and a hash."""
    if _LEGAL_NAME.match(name):
        return name
    return f"{_ILLEGAL.sub('_', name)[:51]}_{_digest(name, 12)}"


def upstream_call_id(call_id: str) -> str:
    """The ``call_id`` to send upstream: unchanged if short enough, else a prefix and a hash."""
    if len(call_id) <= MAX_CHARACTERS:
        return call_id
    return f"{call_id[:39]}_{_digest(call_id, 24)}"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
