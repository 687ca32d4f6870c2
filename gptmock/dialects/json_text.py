"""
JSON as clients read it: U+0085, U+2028 and U+2029 are written as escapes.

httpx's ``iter_lines`` cuts lines there, so a raw U+2028 inside a frame kills ollama-python (measured). Go's encoder
escapes the latter two by itself; msgspec and orjson do not.
"""

from __future__ import annotations

from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()
_SEPARATORS = (("\u0085".encode(), b"\\u0085"), ("\u2028".encode(), b"\\u2028"), ("\u2029".encode(), b"\\u2029"))


def json_bytes(value: Any) -> bytes:
    """The value as one line of JSON."""
    data = _ENCODER.encode(value)
    # Most text is ASCII, and then there is nothing to look for.
    if data.isascii():
        return data
    for raw, escaped in _SEPARATORS:
        if raw in data:
            data = data.replace(raw, escaped)
    return data
