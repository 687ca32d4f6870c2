r"""
Halves of surrogate pairs in JSON text. Must not know what the text says.

JSON can escape each half of a pair alone (``\ud83d``), and languages with UTF-16 strings do so when they cut a string
inside an emoji. UTF-8 cannot carry a half, so no JSON decoder with UTF-8 strings can read it.
"""

from __future__ import annotations

import re

_HALF = re.compile(
    rb"\\(?:\\|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)
"""A half is the group. An escaped backslash and a whole pair are matched too, so that no half is found inside them."""


def without_halves(text: bytes) -> bytes:
    """
    The same JSON text with the escape of U+FFFD in the place of each half of a pair that stands alone; the very same
    object if there is none.
    """
    if b"\\ud" not in text and b"\\uD" not in text:
        return text
    return _HALF.sub(_whole, text)


def _whole(match: re.Match[bytes]) -> bytes:
    return match[0] if match[1] is None else rb"\ufffd"
