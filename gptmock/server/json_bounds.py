"""
Bounds on the number of values in a JSON body, checked before it is decoded: decoding is one call that holds the
interpreter lock (GIL), and makes of two bytes an object of a hundred. Knows no member by name.

The numbers: a conversation of 20,000 messages with tool calls has 140,000 values and 110,000 keys, and twice that
passes. At the limit, the longest step of decoding takes some 150 ms.
"""

from __future__ import annotations

from gptmock.errors import BadRequest

MAX_VALUES = 300_000
"""Members of all objects and arrays, and brackets."""
MAX_KEYS = 250_000
_MIN_VALUE_BYTES = 1
"""An opening bracket."""
WINDOW_BYTES = 256 * 1024
"""What is looked at in one step, some 1 ms."""


def check_json_bounds(
    body: bytes, *, max_values: int = MAX_VALUES, max_keys: int = MAX_KEYS, window_bytes: int = WINDOW_BYTES
) -> None:
    """
    Check a body without decoding it; it need not be valid JSON.

    Raises:
        BadRequest: ``invalid_json``, it has more values or keys.
    """
    fewest = min(max_values, max_keys)
    if len(body) < _MIN_VALUE_BYTES * fewest or _at_most(body) <= fewest:
        return
    values = keys = position = 0
    within_string = 0
    while position < len(body):
        end = position + window_bytes
        window = body[position:end]
        if (len(window) - len(window.rstrip(b"\\"))) % 2:
            # Its last character is escaped by a backslash, and stands in the next window.
            end += 1
            window = body[position:end]
        position = end
        pieces = window.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(pieces[within_string::2])
        within_string ^= (len(pieces) - 1) % 2
        values += _separators(outside)
        keys += outside.count(b":")
        if values > max_values or keys > max_keys:
            raise BadRequest(
                f"The request body has more than {max_values} JSON values or {max_keys} keys.", code="invalid_json"
            )


def _at_most(body: bytes) -> int:
    """No fewer than there are values, and so keys: separators in strings are counted too."""
    windows = range(0, len(body), WINDOW_BYTES)
    return sum(_separators(body[begin : begin + WINDOW_BYTES]) for begin in windows)


def _separators(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")
