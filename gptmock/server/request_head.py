"""
Checks the head of an HTTP/1 request (request line and header fields) before Sanic parses it. Knows no Sanic.

Stricter than h11 in every respect: what two parsers may read in two ways is refused (request smuggling). Source: RFC
9112 (syntax, request targets, framing), RFC 9110 5.5 (field values) and 7.2 (Host).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

END = b"\r\n\r\n"
MAX_LINE_BYTES = 8 * 1024
"""Of the request line; RFC 9112 3 recommends at least 8000. No path or query of ours has more than some hundred."""
MAX_FIELDS = 100
"""SDKs send 10 to 25 header fields, and a chain of proxies adds some 20; Apache has this limit too."""
MAX_HEAD_BYTES = 16 * 1024
"""Of the whole head; the limit of Node. Clients with large tokens (JWTs) or many cookies need more than 8 KiB."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_TARGET = rb'[!"$-~]++'
"""Visible ASCII without ``#``: a fragment is no part of a request target."""
FIELD = rb"%b:[\t -~\x80-\xff]*+" % _TOKEN
"""A header field without its line end; control characters, DEL among them, have no place in a value."""
_LINE = rb"(%b) (%b) HTTP/1\.([01])" % (_TOKEN, _TARGET)
_HOST = rb"(?:[0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?\])(?::[0-9]{0,5})?"

_REQUEST_LINE = re.compile(_LINE)
_HEAD = re.compile(rb"%b\r\n(?:%b\r\n)*+\r\n" % (_LINE, FIELD))
_FIELD = re.compile(FIELD)
_FIELD_NAME = re.compile(rb"%b:" % _TOKEN)
_LINE_BEGIN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]|\Z")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_AUTHORITY = re.compile(_HOST)
_ABSOLUTE = re.compile(rb"(https?)://([^/?]*)(?:[/?].*)?", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,15}")
_SLASH = ord("/")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a head is refused; the connection must be closed after the answer."""

    status: int
    """400, 414 (request line too long) or 431 (too many or too large fields)."""
    code: str
    reason: str
    """A clause without the full stop; repeats nothing of what the client sent."""


_LONG_LINE = Refusal(414, "uri_too_long", f"the request line has more than {MAX_LINE_BYTES} bytes")
_LARGE_HEAD = Refusal(431, "headers_too_large", f"the request head has more than {MAX_HEAD_BYTES} bytes")
_MANY_FIELDS = Refusal(431, "headers_too_large", f"the request has more than {MAX_FIELDS} header fields")


def refusal(head: bytes) -> Refusal | None:
    """
    Why a complete head is refused; ``None`` if Sanic may parse it.

    What is accepted has a target in origin, absolute or (for ``OPTIONS``) asterisk form, one valid ``Host`` (none is
    needed in HTTP/1.0) that agrees with it, and at most one of ``Content-Length`` and ``Transfer-Encoding``.

    Args:
        head: everything up to the empty line and with it.
    """
    if large := _size_fault(head):
        return large
    matched = _HEAD.fullmatch(head)
    if matched is None:
        return _malformed(_syntax_fault(head))
    method, target, minor = matched.groups()
    lowered = head.lower()
    hosts = _values(head, lowered, b"\r\nhost:")
    fault = (
        _host_fault(hosts, is_needed=minor == b"1")
        or (None if target[0] == _SLASH and method != b"CONNECT" else _target_fault(method, target, hosts))
        or _framing_fault(head, lowered, is_chunked_known=minor == b"1")
    )
    return _malformed(fault) if fault else None


def refusal_of_part(part: bytes, *, checked: int = 0) -> Refusal | None:
    """
    Why a head whose end has not arrived is refused already; ``None`` if more has to be awaited.

    Without it a head that can never end, as one with bare line feeds or the first bytes of TLS, would be awaited.

    Args:
        part: what has arrived.
        checked: how much of it an earlier call has seen.
    """
    line, ended, _ = part.partition(b"\r\n")
    if len(line) > MAX_LINE_BYTES:
        return _LONG_LINE
    if len(part) > MAX_HEAD_BYTES:
        return _LARGE_HEAD
    if not (_REQUEST_LINE.fullmatch(line) if ended else _LINE_BEGIN.match(line)):
        return _malformed("its first line is no request line of HTTP/1.1")
    if _BARE_LINE_FEED.search(part, max(0, checked - 1)):
        return _malformed("a line ends with LF instead of CRLF")
    return None


def target_of(head: bytes) -> str:
    """The request target as far as one can be made out, shortened: errors of a dialect need the path only."""
    words = head[:MAX_LINE_BYTES].partition(b"\r\n")[0].split(b" ", 2)
    return words[1][:200].decode("ascii", "backslashreplace") if len(words) > 1 else ""


def _malformed(reason: str) -> Refusal:
    return Refusal(400, "bad_request", reason)


def _size_fault(head: bytes) -> Refusal | None:
    if head.find(b"\r\n", 0, MAX_LINE_BYTES + 2) < 0:
        return _LONG_LINE
    if len(head) > MAX_HEAD_BYTES:
        return _LARGE_HEAD
    # All lines but the request line and the empty one.
    return _MANY_FIELDS if head.count(b"\r\n") - 2 > MAX_FIELDS else None


def _syntax_fault(head: bytes) -> str:
    line, *fields = head.removesuffix(END).split(b"\r\n")
    if _BARE_LINE_FEED.search(head):
        return "a line ends with LF instead of CRLF"
    if not _REQUEST_LINE.fullmatch(line):
        return "its first line is no request line of HTTP/1.1"
    bad = next(field for field in fields if not _FIELD.fullmatch(field))
    if bad[:1] in (b" ", b"\t"):
        return "a header field is folded over several lines"
    if _FIELD_NAME.match(bad):
        return "the value of a header field has a control character"
    return "a header field has an invalid name, or a space before its colon"


def _values(head: bytes, lowered: bytes, mark: bytes) -> list[bytes]:
    """
    The values of a field, without white space around them.

    Args:
        head: valid in its syntax.
        lowered: the same in lower case.
        mark: the field name in lower case between CRLF and the colon.
    """
    values = []
    place = lowered.find(mark)
    while place >= 0:
        begin = place + len(mark)
        place = head.index(b"\r\n", begin)
        values.append(head[begin:place].strip(b" \t"))
        place = lowered.find(mark, place)
    return values


def _host_fault(hosts: list[bytes], *, is_needed: bool) -> str | None:
    if len(hosts) != 1:
        if hosts:
            return "there is more than one Host"
        return "there is no Host" if is_needed else None
    return None if _AUTHORITY.fullmatch(hosts[0]) else "its Host is invalid"


def _target_fault(method: bytes, target: bytes, hosts: list[bytes]) -> str | None:
    """Of a target that is not in origin form, or of CONNECT. RFC 9112 3.2."""
    if method == b"CONNECT":
        return "this server is no proxy: CONNECT has no meaning here"
    if target == b"*":
        return None if method == b"OPTIONS" else "its target is '*', which OPTIONS alone may have"
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return "its target is neither a path nor an http URL"
    scheme, authority = absolute[1].lower(), absolute[2]
    if not _AUTHORITY.fullmatch(authority):
        return "the host in its target is invalid"
    # The target's authority replaces Host. Whoever looks at Host must not be deceived, so both have to name one server.
    if len(hosts) != 1 or _without_port(hosts[0], scheme) != _without_port(authority, scheme):
        return "its Host and the host in its target differ"
    return None


def _without_port(authority: bytes, scheme: bytes) -> bytes:
    return authority.lower().removesuffix(b":443" if scheme == b"https" else b":80").removesuffix(b":")


def _framing_fault(head: bytes, lowered: bytes, *, is_chunked_known: bool) -> str | None:
    lengths = _values(head, lowered, b"\r\ncontent-length:") if b"\r\ncontent-length:" in lowered else ()
    codings = _values(head, lowered, b"\r\ntransfer-encoding:") if b"\r\ntransfer-encoding:" in lowered else ()
    if len(lengths) + len(codings) > 1:
        return "it has more than one Content-Length or Transfer-Encoding"
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        return "its Content-Length is no number of bytes"
    if codings and codings[0] != b"chunked":
        return "its Transfer-Encoding is not 'chunked'"
    if codings and not is_chunked_known:
        return "HTTP/1.0 has no Transfer-Encoding"
    return None
