"""Request heads for Hypothesis: good ones, good ones with a change, and anything that looks like one."""

from __future__ import annotations

from hypothesis import strategies as st

_names = st.sampled_from(
    [b"Host", b"host", b"Content-Length", b"content-length", b"Transfer-Encoding", b"X-A", b"Connection", b"", b"X A"]
) | st.binary(max_size=6)
_values = st.sampled_from(
    [
        b"x",
        b"127.0.0.1:8000",
        b"[::1]:80",
        b"a@b",
        b"5",
        b"+5",
        b"5, 5",
        b"5,6",
        b"chunked",
        b"Chunked",
        b"gzip, chunked",
    ]
) | st.binary(max_size=12)
_white = st.sampled_from([b"", b" ", b"\t", b"  ", b"\x0b", b"\xa0"])
_ends = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\n\t", b"\n\r\n"])
_fields = st.builds(lambda *parts: b"".join(parts), _names, st.just(b":") | _white, _white, _values, _white, _ends)
_methods = st.sampled_from([b"GET", b"POST", b"OPTIONS", b"CONNECT", b"get", b"G(T", b""]) | st.binary(max_size=4)
_targets = st.sampled_from([b"/", b"/a?b=c", b"*", b"http://x/", b"https://x:443", b"x:80", b"//x", b"/#a", b"/ b"])
_versions = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.10", b"http/1.1", b"HTTP/0.9", b""])
_lines = st.builds(
    lambda *parts: b"".join(parts),
    *(_methods, st.sampled_from([b" "] * 9 + [b"\t", b"  "]), _targets | st.binary(max_size=6)),
    *(st.just(b" "), _versions, _ends),
)
_wild = st.builds(lambda line, fields: line + b"".join(fields) + b"\r\n", _lines, st.lists(_fields, max_size=5))

_good_lines = st.builds(
    b"%b %b HTTP/1.%b\r\n".__mod__,
    st.tuples(
        st.sampled_from([b"GET", b"POST", b"OPTIONS", b"HEAD", b"head", b"X!"]),
        st.sampled_from([b"/health", b"/", b"/api/chat?a=b", b"//v1//models", b"*", b"http://localhost/health"])
        | st.text("/?&=%:@{}[]|\\^`\"'<>.a1", max_size=8).map(lambda text: b"/" + text.encode()),
        st.sampled_from([b"1", b"1", b"1", b"0"]),
    ),
)
_good_fields = st.sampled_from(
    [
        *(b"X-A: b", b"X:", b"X: \xff\xc3", b"Connection: keep-alive, X", b"Upgrade: websocket", b"Cookie: a=b; c"),
        *(b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Content-Type: \t x", b"Origin: null", b"TE: trailers"),
        *(b"Content-Encoding: gzip", b"Range: bytes=0-", b"If-None-Match: *", b"Authorization: Basic \xe9", b"Date: x"),
    ]
)
good_heads = st.builds(
    lambda line, before, after: line + b"".join(each + b"\r\n" for each in [*before, b"Host: localhost", *after, b""]),
    _good_lines,
    st.lists(_good_fields, max_size=3),
    st.lists(_good_fields, max_size=3),
)


@st.composite
def changed_heads(draw: st.DrawFn) -> bytes:
    head: bytes = draw(good_heads)
    at = draw(st.integers(0, len(head)))
    put: bytes = draw(
        st.sampled_from([b"", b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\x85", b","]) | st.binary(max_size=2)
    )
    skipped = draw(st.integers(0, 2))
    return head[:at] + put + head[at + skipped :]


heads = good_heads | changed_heads() | _wild
