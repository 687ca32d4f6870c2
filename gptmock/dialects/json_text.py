"""
Encodes JSON with U+0085, U+2028 and U+2029 escaped.

httpx's ``iter_lines`` splits lines at these characters, so a raw U+2028 inside a frame makes ollama-python fail
(measured). Go's encoder escapes the latter two; msgspec and orjson do not.
"""

from __future__ import annotations

from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()
_SEPARATORS = (("\u0085".encode(), b"\\u0085"), ("\u2028".encode(), b"\\u2028"), ("\u2029".encode(), b"\\u2029"))


def json_bytes(value: Any) -> bytes:
    """The value as one line of JSON."""
    data = _ENCODER.encode(value)
    # Fast path: ASCII text has none of these characters.
    if data.isascii():
        return data
    for raw, escaped in _SEPARATORS:
        if raw in data:
            data = data.replace(raw, escaped)
    return data
