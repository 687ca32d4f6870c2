"""
``x-gptmock-ignored``: names of parameters that had no effect, comma-separated. Clients choose some of them, so they are
bounded, and written with the characters of an HTTP token (RFC 9110 5.6.2) only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from urllib.parse import quote

IGNORED = "x-gptmock-ignored"
MAX_NAMES = 32
"""More than any dialect's own tables name at once; the names that are too many become ``...+<how many>``."""
MAX_NAME_CHARACTERS = 64
"""Of a name as it is written; one that was longer ends in ``...``."""
_PLAIN = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~-]{1,64}", re.ASCII)
_SAFE = "!#$&'*+.^_`|~-"


def ignored_header(names: Iterable[str]) -> str:
    """
    The value of the header, at most about 2 KiB: each name once, in the order given.

    What is no token character stands percent-encoded, as UTF-8; ``%`` does too. The empty name is ``''``.
    """
    distinct = dict.fromkeys(names)
    written = list(dict.fromkeys(map(_written, islice(distinct, MAX_NAMES))))
    if len(distinct) > MAX_NAMES:
        written.append(f"...+{len(distinct) - MAX_NAMES}")
    return ",".join(written)


def _written(name: str) -> str:
    if _PLAIN.fullmatch(name) is not None:
        return name
    text = ""
    for character in name:
        encoded = quote(character, safe=_SAFE, errors="replace")
        if len(text) + len(encoded) > MAX_NAME_CHARACTERS:
            return f"{text}..."
        text += encoded
    return text or "''"
