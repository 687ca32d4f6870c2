"""
What trusted proxies say of a request: the client's address, and the scheme and host that the client used. Headers of
anybody else are not read. Knows headers only.

All repeats of a header are joined and read from right to left, for as long as a trusted proxy wrote the entry. A fact
that is malformed, or that ``Forwarded`` and ``X-Forwarded-*`` tell differently, is unknown, and an unknown fact matches
no rule. Source: RFC 7239; the ``X-Forwarded-*`` headers have no standard.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from gptmock.server.hosts import authority_of

UNIX = "unix"
"""In a list of trusted proxies: whoever connects to the Unix socket."""
_CACHED = 1024
_UNKNOWN = ""
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_ADDRESS = re.compile(
    r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?\Z|(?P<six>[0-9A-Fa-f:.]+)\Z"
)
_PAIR = re.compile(
    r"[ \t]*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r'(?:(?P<token>[!#$%&\'*+.^_`|~0-9A-Za-z-]+)|"(?P<quoted>(?:[^"\\]|\\.)*)")[ \t]*(?P<end>[;,]|\Z)'
)


class RepeatedHeaders(Protocol):
    """Headers by lower-case name, each with all its values."""

    def getall(self, name: str, default: list[str], /) -> list[str]:
        """The values of all repeats, in order."""


@dataclass(frozen=True, slots=True)
class ClientView:
    """A request as its client sees it."""

    address: str
    """The client's IP address; ``""`` on a Unix socket."""
    scheme: str | None
    """``http`` or ``https``; ``None`` if it is unknown."""
    host: str | None
    """As in a ``Host`` header; ``""`` if there is none, ``None`` if it is unknown."""


@dataclass(slots=True)
class _Said:
    """What one kind of header says: ``None`` for nothing, ``_UNKNOWN`` for something malformed."""

    address: str | None = None
    scheme: str | None = None
    host: str | None = None

    def and_also(self, other: _Said) -> _Said:
        return _Said(
            _agreed(self.address, other.address), _agreed(self.scheme, other.scheme), _agreed(self.host, other.host)
        )


class TrustedProxies:
    """
    The proxies whose headers are believed.

    Args:
        listed: addresses, networks, or ``unix``.
    """

    def __init__(self, listed: tuple[str, ...]) -> None:
        self._networks = tuple(ipaddress.ip_network(one, strict=False) for one in listed if one != UNIX)
        self._unix = UNIX in listed
        self._trusts = lru_cache(_CACHED)(self._is_listed)

    def view(self, headers: RepeatedHeaders, seen: ClientView) -> ClientView:
        """
        The request as its client sees it.

        Args:
            headers: of the request.
            seen: the peer of the connection, and the scheme and host that it used.
        """
        if not (self._networks or self._unix) or not self._trusts(seen.address):
            return seen
        said = self._x_forwarded(headers).and_also(self._forwarded(headers))
        return ClientView(
            said.address or seen.address,
            seen.scheme if said.scheme is None else said.scheme or None,
            seen.host if said.host is None else said.host or None,
        )

    def _is_listed(self, address: str) -> bool:
        if not address:
            return self._unix
        try:
            ip = _plain(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        return any(ip in network for network in self._networks)

    def _x_forwarded(self, headers: RepeatedHeaders) -> _Said:
        addresses, hosts, schemes = (
            _joined(headers, name) for name in ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
        )
        said, hops = _Said(), 0
        for text in reversed(addresses):
            hops += 1
            said.address = _address(text)
            if said.address == _UNKNOWN or not self._trusts(said.address):
                break
        said.host = _host(_entry(hosts, hops, len(addresses)))
        said.scheme = _scheme(_entry(schemes, hops, len(addresses)))
        return said

    def _forwarded(self, headers: RepeatedHeaders) -> _Said:
        text = ",".join(headers.getall("forwarded", []))
        if not text:
            return _Said()
        try:
            elements = list(_elements(text))
        except ValueError:
            return _Said(_UNKNOWN, _UNKNOWN, _UNKNOWN)
        said = _Said()
        for element in reversed(elements):
            said.host = _host(element["host"]) if "host" in element else said.host
            said.scheme = _scheme(element["proto"]) if "proto" in element else said.scheme
            if "for" not in element:
                break
            said.address = _address(element["for"])
            if said.address == _UNKNOWN or not self._trusts(said.address):
                break
        return said


def _agreed(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return one if other is None else other
    return one if one == other else _UNKNOWN


def _joined(headers: RepeatedHeaders, name: str) -> list[str]:
    values = headers.getall(name, [])
    return [item.strip() for item in ",".join(values).split(",")] if values else []


def _entry(entries: list[str], hops: int, addresses: int) -> str | None:
    """The entry of the outermost trusted proxy, if each proxy has added one, else that of the nearest."""
    if not entries:
        return None
    return entries[-hops] if hops and len(entries) == addresses else entries[-1]


def _elements(text: str) -> Iterator[dict[str, str]]:
    """
    The elements of a ``Forwarded`` header, with their parameters by lower-case name.

    Raises:
        ValueError: it is malformed.
    """
    position, element, is_open = 0, dict[str, str](), True
    while is_open:
        pair = _PAIR.match(text, position)
        if pair is None or pair["name"].lower() in element:
            raise ValueError(text)
        value = pair["token"] if pair["quoted"] is None else re.sub(r"\\(.)", r"\1", pair["quoted"])
        element[pair["name"].lower()] = value
        position, is_open = pair.end(), bool(pair["end"])
        if pair["end"] != ";":
            yield element
            element = {}


def _host(text: str | None) -> str | None:
    return text if text is None or authority_of(text) is not None else _UNKNOWN


def _scheme(text: str | None) -> str | None:
    return None if text is None else _SCHEMES.get(text.lower(), _UNKNOWN)


def _address(text: str) -> str:
    found = _ADDRESS.match(text)
    try:
        return str(_plain(ipaddress.ip_address(found["bracketed"] or found["four"] or found["six"] if found else "")))
    except ValueError:
        return _UNKNOWN


def _plain(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """A socket for both versions shows IPv4 addresses as ``::ffff:192.0.2.1``."""
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip
