"""Host names as requests carry them: parses an authority strictly, and recognizes loopback. Knows no setting."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

_AUTHORITY = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})))(?::(?P<port>[0-9]{0,5}))?\Z"
)
_DOTTED = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}\Z")
_CACHED = 1024


@dataclass(frozen=True, slots=True)
class Authority:
    """A host with an optional port."""

    name: str
    """In lower case without a trailing dot; an IPv6 address in brackets, in its shortest form."""
    port: int | None
    is_loopback: bool
    """``localhost``, ``127.0.0.0/8`` or ``[::1]``: names that reach this machine only, whatever a name server says."""
    is_address: bool
    """An IP address: no name server can make it mean another machine."""


@lru_cache(_CACHED)
def authority_of(text: str) -> Authority | None:
    """
    The authority in a ``Host`` header; ``None`` if it is none.

    Numbers that browsers would rewrite to an IPv4 address (``127.1``, ``0x7f000001``, ``2130706433``) count as names.
    Source: RFC 9110, 7.2; RFC 3986, 3.2, without user information and percent-encoding.
    """
    found = _AUTHORITY.match(text)
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > 65535:
        return None
    name = (found["name"] or "").lower().removesuffix(".")
    if found["six"] is None and not _DOTTED.match(name):
        return None if not name or ".." in name else Authority(name, port, name == "localhost", is_address=False)
    try:
        address = ipaddress.ip_address(found["six"] or name)
    except ValueError:
        return None
    if address.version == 4:
        # The brackets hold an IPv6 address, or nothing valid.
        return None if found["six"] else Authority(str(address), port, address.is_loopback, is_address=True)
    # Not ``is_loopback``: newer Python versions include ``::ffff:127.0.0.1``.
    return Authority(f"[{address}]", port, address == ipaddress.IPv6Address(1), is_address=True)
