from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptmock.server.request_head import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_LINE_BYTES,
    refusal,
    refusal_of_part,
    target_of,
)
from tests.server.made_heads import heads

SDK_HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nAccept-Encoding: gzip, deflate\r\n"
    b"Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
    b"User-Agent: OpenAI/Python 1.99.9\r\nX-Stainless-Lang: python\r\nAuthorization: Bearer sk-0123456789\r\n"
    b"x-stainless-read-timeout: 600\r\nContent-Length: 312\r\n\r\n"
)


def is_accepted_by_h11(head: bytes) -> bool:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1024 * 1024)
    connection.receive_data(head)
    try:
        return isinstance(connection.next_event(), h11.Request)
    except h11.RemoteProtocolError:
        return False


# --- Against h11 ---------------------------------------------------------------------------


@given(head=heads)
@example(head=SDK_HEAD)
@example(head=b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 123456789012345678901\r\n\r\n")
def test_what_is_accepted_is_accepted_by_h11(head: bytes):
    if refusal(head) is None:
        assert is_accepted_by_h11(head), head


@given(data=st.data())
def test_no_change_of_a_good_head_makes_h11_refuse_what_is_accepted(data: st.DataObject):
    at = data.draw(st.integers(0, len(SDK_HEAD)))
    taken = data.draw(st.integers(0, 3))
    put = data.draw(st.binary(max_size=3) | st.sampled_from([b"\r\n", b"\n", b"\0", b" :", b"\r\nHost: y"]))
    head = SDK_HEAD[:at] + put + SDK_HEAD[at + taken :]
    if b"\r\n\r\n" in head and refusal(head := head[: head.index(b"\r\n\r\n") + 4]) is None:
        assert is_accepted_by_h11(head), head


@given(head=heads, cut=st.integers(0, 200))
def test_no_part_of_an_accepted_head_is_refused(head: bytes, cut: int):
    if refusal(head) is None:
        assert refusal_of_part(head[:cut], checked=max(0, cut - 1)) is None


# --- What is accepted ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        SDK_HEAD,
        b"GET / HTTP/1.1\r\nhOST:x\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /a?b={c|d}^\"'[] HTTP/1.1\r\nHost: my_service.local:8000\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \t [fe80::1%25eth0]:80 \r\nX-Empty:\r\nX-Text: a\tb \xc3\xa9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\ncontent-LENGTH:  007\t\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://X:80/v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET HTTPS://x?q HTTP/1.1\r\nHost: X:443\r\n\r\n",
        b"GET http://[::1]:8000/ HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
    ],
)
def test_accepted(head: bytes):
    assert refusal(head) is None
    assert is_accepted_by_h11(head)


# --- What is refused, and why --------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "its first line is no request line of HTTP/1.1"),
        (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", "a line ends with LF instead of CRLF"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", "a header field is folded over several lines"),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", "a header field has an invalid name, or a space before its colon"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", "the value of a header field has a control character"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", "the value of a header field has a control character"),
        (b"GET / HTTP/1.1\r\n\r\n", "there is no Host"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", "there is more than one Host"),
        (b"GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", "its Host is invalid"),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", "this server is no proxy: CONNECT has no meaning here"),
        (b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", "this server is no proxy: CONNECT has no meaning here"),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", "its target is '*', which OPTIONS alone may have"),
        (b"GET x:443 HTTP/1.1\r\nHost: x\r\n\r\n", "its target is neither a path nor an http URL"),
        (b"GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", "the host in its target is invalid"),
        (b"GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n", "the host in its target is invalid"),
        (b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", "its Host and the host in its target differ"),
        (b"GET http://x:443/ HTTP/1.1\r\nHost: x\r\n\r\n", "its Host and the host in its target differ"),
        (b"GET http://x/ HTTP/1.0\r\n\r\n", "its Host and the host in its target differ"),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "it has more than one Content-Length or Transfer-Encoding",
        ),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", "its Content-Length is no number of bytes"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n", "its Transfer-Encoding is not 'chunked'"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 has no Transfer-Encoding"),
    ],
)
def test_refused(head: bytes, reason: str):
    refused = refusal(head)
    assert refused is not None
    assert (refused.status, refused.code, refused.reason) == (400, "bad_request", reason)


def _head(*, target: bytes = b"/", fields: int = 0, padding: int = 0) -> bytes:
    more = b"".join(b"X-%d: y\r\n" % number for number in range(fields))
    return b"GET %b HTTP/1.1\r\nHost: x\r\n%bX: %b\r\n\r\n" % (target, more, b"x" * padding)


@pytest.mark.parametrize("name", ["line", "fields", "head"])
def test_limits_are_exact(name: str):
    if name == "line":
        other = len(b"GET  HTTP/1.1")
        fits, exceeds = (_head(target=b"/" + b"x" * (MAX_LINE_BYTES - other - 1 + more)) for more in (0, 1))
    elif name == "fields":
        fits, exceeds = (_head(fields=MAX_FIELDS - 2 + more) for more in (0, 1))
    else:
        fits, exceeds = (_head(padding=MAX_HEAD_BYTES - len(_head()) + more) for more in (0, 1))
    assert refusal(fits) is None
    refused = refusal(exceeds)
    assert refused is not None
    assert (refused.status, refused.code) == ((414, "uri_too_long") if name == "line" else (431, "headers_too_large"))


# --- Parts of a head -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b" GET", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET /\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\n\n", 400),
        (b"GET /" + b"x" * MAX_LINE_BYTES, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES, 431),
    ],
)
def test_what_can_never_become_a_head_is_not_awaited(part: bytes, status: int):
    refused = refusal_of_part(part)
    assert refused is not None
    assert refused.status == status


@pytest.mark.parametrize(
    "part", [b"", b"G", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r"]
)
def test_what_may_become_a_head_is_awaited(part: bytes):
    assert refusal_of_part(part) is None


def test_a_bare_line_feed_is_found_where_two_reads_meet():
    part = b"GET / HTTP/1.1\r\nHost: x\n"
    assert refusal_of_part(part, checked=len(part) - 1) is not None


@pytest.mark.parametrize(
    ("head", "target"),
    [
        (b"POST /api/chat HTTP/1.1\r\n", "/api/chat"),
        (b"POST /api/\xff HTTP/9\r\n", "/api/\\xff"),
        (b"garbage", ""),
        (b"", ""),
        (b"GET /" + b"x" * 10_000, "/" + "x" * 199),
    ],
)
def test_the_target_as_far_as_there_is_one(head: bytes, target: str):
    assert target_of(head) == target
