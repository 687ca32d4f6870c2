"""What may come on the wire in the place of a WebSocket, and in it; TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from gptmock.accounts import Secret
from gptmock.errors import AccountUnusable, GptmockError, UpstreamBroken, UpstreamRefused
from gptmock.protocol.events import ErrorEvent, OutputTextDelta, ResponseCompleted
from gptmock.protocol.reader import Received
from gptmock.simulator.server import Simulator
from gptmock.upstream.codex import CodexUpstream, UpstreamDeadlines
from gptmock.upstream.direct import DirectTransport
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.websocket import WebSocketUpstream, is_idle_message
from gptmock.upstream.websocket_body import WebSocketBody
from gptmock.upstream.websocket_events import error_code, framed, headers_in, kind_of
from tests.harness import NO_TLS
from tests.playbook import events_in
from tests.simulator.wire import user
from tests.upstream.raw import HEAD, LAST_CHUNK, RawServer, chunk, read_request
from tests.upstream.test_codex import CREDENTIAL, TEXT, batches_of
from tests.upstream.test_websocket import asking, new_credential
from tests.upstream.test_websocket_law import Socket, never

Messages = Callable[[ServerProtocol], None]
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
CANARY = "planted-account-canary"
BY_HTTP = HEAD + chunk(TEXT) + LAST_CHUNK
CREATED = '{"type":"response.created","response":{"id":"resp_1"}}'
DELTA = '{"type":"response.output_text.delta","delta":"Hi"}'
DONE = '{"type":"response.done","response":{"id":"resp_1","output":[]}}'


def socket_server(say: Messages, *, accepts: bytes | None = None, over_http: bytes = BY_HTTP) -> RawServer:
    """Accepts every handshake, or answers it with these bytes, and says the same for each message; HTTP has a text."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await read_request(reader)
        if b"upgrade: websocket" not in head.lower():
            writer.write(over_http)
            return
        if accepts is not None:
            writer.write(accepts)
            return
        core = ServerProtocol()
        core.receive_data(head)
        while True:
            for event in core.events_received():
                if isinstance(event, Request):
                    core.send_response(core.accept(event))
                elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    say(core)
            written = core.data_to_send()
            writer.write(b"".join(written))
            await writer.drain()
            # An empty block is the end of what the core says.
            data = await reader.read(65536) if b"" not in written else b""
            if not data:
                return
            core.receive_data(data)

    return RawServer(handle)


@asynccontextmanager
async def upstream_at(url: str, told: list[str] | None = None) -> AsyncIterator[WebSocketUpstream]:
    transport = DirectTransport(tls=NO_TLS)
    settings: dict[str, Any] = {
        "identity": ClientIdentity(),
        "deadlines": UpstreamDeadlines(head=10.0),
        "clock": time.time,
    }
    by_socket = WebSocketUpstream(
        CodexUpstream(transport, url, **settings), url, told=(told if told is not None else []).append, **settings
    )
    try:
        yield by_socket
    finally:
        by_socket.close()
        await transport.aclose()


async def heard(
    say: Messages, *, accepts: bytes | None = None, over_http: bytes = BY_HTTP, turns: int = 1
) -> tuple[list[Received], list[str]]:
    told: list[str] = []
    found: list[Received] = []
    served = socket_server(say, accepts=accepts, over_http=over_http)
    async with served as server, upstream_at(server.url, told) as upstream:
        for _ in range(turns):
            async with upstream.open(asking(user("Hello")), CREDENTIAL) as stream:
                found += [one async for batch in batches_of(stream) for one in events_in(batch)]
    return found, told


def texts(*messages: str) -> Messages:
    def say(core: ServerProtocol) -> None:
        for message in messages:
            core.send_text(message.encode())

    return say


async def test_the_alias_of_the_terminal_event_is_the_event():
    events, told = await heard(texts(CREATED, DELTA, DONE), turns=2)
    assert [type(one.event) for one in events[1:3]] == [OutputTextDelta, ResponseCompleted]
    assert events[2].document()["type"] == "response.completed"
    assert told == ["whole", "whole"]


@pytest.mark.check(255)
@pytest.mark.parametrize(
    "answer",
    [
        b"no HTTP at all\r\n\r\n",
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        SWITCHING + b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 302 Found\r\nLocation: https://sign-in.test/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_a_broken_handshake_is_no_answer(answer: bytes):
    events, told = await heard(texts(), accepts=answer)
    assert isinstance(events[-1].event, ResponseCompleted)
    assert told == ["handshake"]


@pytest.mark.check(332)
async def test_a_refused_handshake_does_not_tell_the_token():
    credential = replace(CREDENTIAL, access_token=Secret(CANARY))
    body = b'{"detail":"%b is not for you"}' % CANARY.encode()
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with socket_server(texts(), accepts=head + body) as server, upstream_at(server.url) as upstream:
        with pytest.raises(AccountUnusable, match="is not for you") as caught:
            async with upstream.open(asking(user("Hello")), credential):
                pass
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("value", ["a\r\nx-other: b", "a\nb", "a\0"])
async def test_a_header_with_a_line_end_is_sent_by_nobody(value: str):
    async with socket_server(texts(CREATED, DONE)) as server, upstream_at(server.url) as upstream:
        with pytest.raises(GptmockError, match="LocalProtocolError"):
            async with upstream.open(asking(user("Hello")), CREDENTIAL, headers={"originator": value}):
                pass
        assert server.connections == 0


@pytest.mark.check(254)
@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013])
@pytest.mark.parametrize(
    "messages",
    [
        [],
        [CREATED],
        [CREATED, DELTA],
        ['{"type":"codex.rate_limits","rate_limits":{}}'],
        ['{"type":"response.metadata","headers":{}}'],
        ['{"type":"codex.rate_limits","rate_limits":{}}', CREATED],
        ["{"],
    ],
)
async def test_a_turn_is_sent_again_only_before_its_first_message(code: int, messages: list[str]):
    sent = 0

    def say(core: ServerProtocol) -> None:
        nonlocal sent
        sent += 1
        texts(*messages)(core)
        core.send_close(code)

    found, told = await heard(say)
    if messages:
        assert (sent, told) == (1, ["whole"])
        assert len(found) == sum(one in (CREATED, DELTA) for one in messages)
    else:
        assert (sent, told) == (2, ["closed"])
        assert isinstance(found[-1].event, ResponseCompleted)


@pytest.mark.check(254)
@pytest.mark.parametrize(
    "begins",
    [b"\x81\x7e\x01\x00{", b"\x01\x02{}", b"\x82\x02{}", b"\x81\x7f" + (17 * 1024 * 1024).to_bytes(8), b"\x80\x01x"],
    ids=["a cut frame", "a cut message", "binary", "oversized", "continuation"],
)
async def test_a_turn_is_not_sent_again_behind_part_of_a_message(begins: bytes):
    sent = 0

    def say(core: ServerProtocol) -> None:
        nonlocal sent
        sent += 1
        core.writes.append(begins)
        core.writes.append(b"")

    with pytest.raises(UpstreamBroken):
        await heard(say)
    assert sent == 1


@pytest.mark.check(254)
async def test_each_time_that_a_turn_is_sent_again_is_told():
    tries = 1

    def again() -> None:
        nonlocal tries
        tries += 1

    def say(core: ServerProtocol) -> None:
        core.send_close(1011)

    async with socket_server(say) as server, upstream_at(server.url) as upstream:
        async with upstream.open(asking(user("Hello")), CREDENTIAL, sent_again=again) as stream:
            assert [batch async for batch in batches_of(stream)]
        assert tries == 3
    async with socket_server(texts(), accepts=b"") as server, upstream_at(server.url) as upstream:
        async with upstream.open(asking(user("Hello")), CREDENTIAL, sent_again=again) as stream:
            assert [batch async for batch in batches_of(stream)]
        assert tries == 3, "no message was sent on a connection that was not opened"


async def test_messages_in_fragments_and_with_line_breaks_between_members():
    def say(core: ServerProtocol) -> None:
        core.send_text(CREATED.replace(",", ",\r\n ").encode())
        for place, piece in enumerate([DELTA[:9].encode(), b"", DELTA[9:].encode()]):
            if place == 0:
                core.send_text(piece, fin=False)
            else:
                core.send_ping(b"between")
                core.send_continuation(piece, fin=place == 2)
        core.send_text(DONE.encode())

    events, _ = await heard(say)
    assert [type(one.event).__name__ for one in events] == ["ResponseCreated", "OutputTextDelta", "ResponseCompleted"]


@pytest.mark.parametrize("kind", ["binary", "continuation", "oversized", "reserved"])
async def test_what_no_upstream_may_send_breaks_the_turn_and_is_not_repeated(kind: str):
    def say(core: ServerProtocol) -> None:
        core.send_text(CREATED.encode())
        core.send_text(DELTA.encode())
        match kind:
            case "binary":
                core.send_binary(b"{}")
            case "continuation":
                core.writes.append(b"\x80\x01x")
            case "oversized":
                core.writes.append(b"\x81\x7f" + (17 * 1024 * 1024).to_bytes(8))
            case _:
                core.writes.append(b"\xf1\x01x")

    with pytest.raises(UpstreamBroken):
        await heard(say)


async def test_garbage_between_events_is_passed_by():
    events, _ = await heard(texts(CREATED, "{", "[]", '"x"', '{"no":"type"}', DELTA, DONE))
    assert len(events) == 3


async def test_headers_of_an_error_in_the_middle_stay_here():
    error = {"type": "error", "status": 400, "headers": {"x-codex-plan-type": CANARY}, "error": {"message": "No."}}
    events, told = await heard(texts(CREATED, DELTA, json.dumps(error)), turns=2)
    assert isinstance(events[-1].event, ErrorEvent)
    assert CANARY.encode() not in events[-1].data
    assert told == ["whole", "whole"]


@pytest.mark.parametrize(
    "refusal",
    [
        {"type": "error", "status": 400, "error": {"message": "No.", "code": "no"}},
        {"type": "error", "status_code": 400, "error": {"message": "No.", "code": "no"}},
        {"type": "error", "status": 400, "message": "No.", "code": "no"},
    ],
)
async def test_refusals_nested_or_flat(refusal: dict[str, Any]):
    with pytest.raises(UpstreamRefused) as caught:
        await heard(texts(json.dumps(refusal)))
    assert (caught.value.message, caught.value.code, caught.value.status_hint) == ("No.", "no", 400)


@pytest.mark.parametrize("where", ["error", "message before", "handshake", "http"])
async def test_a_refusal_tells_the_usage_windows(where: str):
    headers = {"X-Codex-Primary-Used-Percent": 100, "X-Codex-Primary-Window-Minutes": "300", "x-other": "y"}
    body: dict[str, Any] = {"error": {"type": "usage_limit_reached", "message": "No."}}
    before = {"type": "response.metadata", "headers": headers}
    error = {"type": "error", "status": 429, **body, **({"headers": headers} if where == "error" else {})}
    messages = [json.dumps(one) for one in ((before, error) if where == "message before" else (error,))]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    text = json.dumps(body)
    head = f"HTTP/1.1 429 Too Many\r\n{lines}Content-Length: {len(text)}\r\n\r\n{text}".encode()
    unsupported = b"HTTP/1.1 426 Use HTTP\r\nContent-Length: 0\r\n\r\n"
    accepts = {"handshake": head, "http": unsupported}.get(where)
    with pytest.raises(UpstreamRefused) as caught:
        await heard(texts(*messages), accepts=accepts, over_http=head)
    assert caught.value.limit_headers == {
        "x-codex-primary-used-percent": "100",
        "x-codex-primary-window-minutes": "300",
    }


@pytest.mark.parametrize(
    ("message", "is_usable"),
    [('{"type":"responsesapi.websocket_timing"}', True), (DELTA, False), ('{"type":"error"}', False), ("{", False)],
)
async def test_an_event_between_two_turns_ends_the_connection(message: str, is_usable: object):
    socket = Socket(deflate=False, idle=is_idle_message)
    body = WebSocketBody(socket.connection, refused=never, finished=lambda *_: None)
    await socket.connection.send(b"{}", body)
    for said in (CREATED, DONE):
        socket.core.send_text(said.encode())
    socket.connection.data_received(socket.written())
    assert socket.connection.is_usable
    socket.core.send_text(message.encode())
    socket.connection.data_received(socket.written())
    assert socket.connection.is_usable is is_usable
    socket.connection.connection_lost(None)


def test_what_a_message_is():
    assert kind_of(b'{"type":"response.created"}') == "response.created"
    assert kind_of(b'{"response":{"type":"other"}, "type":"response.created"}') == "response.created"
    assert kind_of(b'{"type":"a\\u0062c"}') == "abc"
    for other in (b"", b"{", b"[]", b'{"type":5}', b'{"type":"'):
        assert kind_of(other) is None


def test_headers_that_messages_stand_for():
    assert headers_in("response.metadata", b'{"headers":{"X-Models-Etag":"W/1","n":5,"l":[]}}') == {
        "x-models-etag": "W/1",
        "n": "5",
    }
    limits = b'{"plan_type":"plus","rate_limits":{"primary":{"used_percent":7.5,"window_minutes":300,"reset_at":9}}}'
    assert headers_in("codex.rate_limits", limits) == {
        "x-codex-plan-type": "plus",
        "x-codex-primary-used-percent": "7.5",
        "x-codex-primary-window-minutes": "300",
        "x-codex-primary-reset-at": "9",
    }
    for broken in (b"", b"{}", b'{"headers":5,"rate_limits":5}', b'{"rate_limits":{"primary":null}}'):
        for kind in ("response.metadata", "codex.rate_limits", "codex.other"):
            assert headers_in(kind, broken) == {}


def test_codes_and_frames_of_errors():
    assert error_code(b'{"error":{"code":"a"},"code":"b"}') == "a"
    assert error_code(b'{"code":"b"}') == "b"
    for other in (b"{", b'{"code":5}', b'{"error":{"code":null}}', b"[]"):
        assert error_code(other) is None
    assert framed("error", b'{"headers') == b'event: error\ndata: {"headers\n\n'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("trusted", [True, False])
async def test_wss_with_the_roots_of_ssl_cert_file(certificate: Path, monkeypatch: pytest.MonkeyPatch, trusted: object):
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    async with Simulator() as simulator:
        host, _, port = simulator.base_url.removeprefix("http://").partition(":")

        async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            below, above = await asyncio.open_connection(host, int(port))
            try:
                await asyncio.gather(_copy(reader, above), _copy(below, writer))
            finally:
                above.close()
                await above.wait_closed()

        told: list[str] = []
        async with (
            RawServer(pipe, tls=context) as server,
            upstream_at(f"{server.url}/backend-api", told) as upstream,
        ):
            try:
                async with upstream.open(asking(user("scene:text")), new_credential(simulator)) as stream:
                    assert [batch async for batch in batches_of(stream)]
            except GptmockError as error:
                assert error.code == "upstream_unreachable"  # noqa: PT017 - only one of the two cases fails
        assert told == (["whole"] if trusted else ["handshake"])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
