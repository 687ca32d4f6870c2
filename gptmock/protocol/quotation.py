"""Others' words, fit to stand in an error of ours: bounded, without control characters, credentials and account ids."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MAX_MESSAGE_CHARACTERS = 2000
MAX_NAME_CHARACTERS = 100
_LOOKED_AT_CHARACTERS = 2 * MAX_MESSAGE_CHARACTERS
"""Longer than what is shown, since what is taken out may be longer than what stands in its place."""

CREDENTIALS = re.compile(
    r"""
    \beyJ[\w-]{8,}\.[\w-]+\.[\w-]+                            # a JWT, as access and id tokens are
    | \b(?:sk|rt|ac)[_-][\w-]{16,}                              # API keys, refresh tokens, authorization codes
    | \bg[mi]_[0-9A-Za-z]{8}_\w{16,}                           # keys and invitations of our own
    | (?<=\bBearer[ ])[\w.~+/-]{8,}=*
    | (?i:(?<="authorization":")|(?<="authorization":[ ]"))[^"\\]{8,}
    """,
    re.VERBOSE,
)
_ACCOUNTS = re.compile(
    r"\b(?:user|org|acct|account|proj)[_-](?=[\w-]*\d)[\w-]{8,}|\b[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"
)
"""Ids of users, organizations and projects, and mail addresses."""
_NAME = re.compile(rf"[A-Za-z0-9_.:-]{{1,{MAX_NAME_CHARACTERS}}}\Z")
_HOST = re.compile(r"[a-z0-9._:-]{1,253}\Z")


def quoted(text: str) -> str:
    """A message as it may be shown; empty when nothing of it may."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text[:_LOOKED_AT_CHARACTERS]).strip()
    for pattern in (CREDENTIALS, _ACCOUNTS):
        plain = pattern.sub("[redacted]", plain)
    return plain[:MAX_MESSAGE_CHARACTERS]


def quoted_name(name: object) -> str:
    """A code or a type as it may be shown; empty when it is no name."""
    text = str(name)
    return text if _NAME.match(text) and not CREDENTIALS.search(text) else ""


def destination(location: str | None) -> str:
    """The host that a ``Location`` header points to: no user, port, path or query."""
    if not location:
        return "a place that it does not name"
    try:
        parts = urlsplit(location)
        host = parts.hostname
    except ValueError:
        return "a place that cannot be read"
    if not parts.scheme and not parts.netloc:
        return "another path of the same host"
    return host if host is not None and _HOST.match(host) else "a place that cannot be read"
