from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import uvloop
import zstandard

from gptmock.simulator.server import Simulator
from gptmock.upstream.aiohttp_transport import AiohttpTransport
from gptmock.upstream.direct import DirectTransport
from gptmock.upstream.transport import open_client
from tests.harness import until
from tests.ports import free_port
from tests.timing import generous
from tests.upstream.raw import HEAD, LAST_CHUNK, Handler, Proxy, RawServer, answering, chunk, reset, serving_again

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


pytestmark = pytest.mark.filterwarnings("ignore:.*policy.*:DeprecationWarning")


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """A server has uvloop where there is one; commands have asyncio's loop."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


ENGINES = {"direct": DirectTransport, "aiohttp": AiohttpTransport}


@pytest.fixture(params=ENGINES)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(ENGINES[request.param]()) as opened:
        yield opened


async def body_of(client: httpx.AsyncClient, url: str) -> bytes:
    async with client.stream("POST", url, content=b"{}") as response:
        return b"".join([block async for block in response.aiter_raw()])


# --- Errors, row by row ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (answering(), httpx.RemoteProtocolError),
        (answering(then=reset), httpx.ReadError),
        (answering(b"SSH-2.0-OpenSSH\r\n\r\n"), httpx.RemoteProtocolError),
        (answering(HEAD[:20]), httpx.RemoteProtocolError),
        (answering(HEAD, chunk(b"x")), httpx.RemoteProtocolError),
        (answering(HEAD, b"1000\r\nabc"), httpx.RemoteProtocolError),
        (answering(HEAD, b"zz\r\nabc\r\n"), httpx.RemoteProtocolError),
        (answering(SIZED, b"x" * 99), httpx.RemoteProtocolError),
        (answering(HEAD, chunk(b"x"), then=reset), httpx.TransportError),
        (answering(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"), httpx.RemoteProtocolError),
    ],
    ids=[
        "closed before the head",
        "reset before the head",
        "no HTTP",
        "closed in the head",
        "closed between chunks",
        "closed in a chunk",
        "no chunk size",
        "closed before its length",
        "reset in the body",
        "endless header",
    ],
)
async def test_a_broken_connection_is_an_error_of_httpx(
    client: httpx.AsyncClient, handler: Handler, expected: type[Exception]
):
    async with RawServer(handler) as server:
        with pytest.raises(expected):
            await body_of(client, server.url)


async def test_what_came_before_a_reset_is_delivered(client: httpx.AsyncClient):
    async with RawServer(answering(HEAD, chunk(b"first"), 0.1, then=reset)) as server:
        blocks = []
        with pytest.raises(httpx.TransportError):  # noqa: PT012 - what came before the error counts
            async with client.stream("POST", server.url) as response:
                async for block in response.aiter_raw():
                    blocks.append(block)  # noqa: PERF401 - an extend would lose what came before the error
        assert blocks == [b"first"]


@pytest.mark.parametrize("coding", [b"gzip", b"zstd, gzip"])
async def test_an_encoded_body_is_handed_over_decoded_and_says_so(client: httpx.AsyncClient, coding: bytes):
    body = gzip.compress(zstandard.compress(b"hello") if b"zstd" in coding else b"hello")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\nX-Kept: 1\r\n\r\n" % (coding, len(body))
    async with RawServer(answering(head, *(body[place : place + 1] for place in range(len(body))))) as server:
        response = await client.post(server.url)
    assert response.content == b"hello"
    assert dict(response.headers) == {"x-kept": "1"}


async def test_two_headers_with_encodings_are_one(client: httpx.AsyncClient):
    body = gzip.compress(zlib.compress(b"hello"))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    async with RawServer(answering(head % len(body) + body)) as server:
        assert (await client.post(server.url)).content == b"hello"


async def test_an_encoding_that_cannot_be_read_matters_only_where_there_is_a_body(client: httpx.AsyncClient):
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: compress\r\nContent-Length: "
    async with RawServer(answering(head + b"0\r\n\r\n")) as server:
        assert (await client.post(server.url)).content == b""
    async with RawServer(answering(head + b"1\r\n\r\nx")) as server:
        with pytest.raises(httpx.DecodingError, match="'compress'"):
            await client.post(server.url)


async def test_nobody_listening_is_a_connect_error(client: httpx.AsyncClient):
    with pytest.raises(httpx.ConnectError):
        await client.post(f"http://127.0.0.1:{free_port()}/")


async def test_a_name_that_does_not_exist_is_a_connect_error(client: httpx.AsyncClient):
    with pytest.raises(httpx.ConnectError):
        await client.post("http://nowhere.invalid/")


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_host_that_does_not_answer_is_a_connect_timeout(engine: str):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        async with httpx.AsyncClient(transport=ENGINES[engine](connect_seconds=0.3), timeout=None) as client:  # noqa: S113
            with pytest.raises(httpx.ConnectTimeout):
                await client.post(f"http://127.0.0.1:{full.getsockname()[1]}/")
        for each in waiting:
            each.close()


async def test_an_https_url_to_a_plain_server_is_a_connect_error(client: httpx.AsyncClient):
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with RawServer(handle) as server:
        with pytest.raises(httpx.ConnectError):
            await client.post(server.url.replace("http:", "https:"))


# --- What is sent ------------------------------------------------------------------------


async def test_only_the_headers_of_the_request_are_sent_and_no_cookie_comes_back(client: httpx.AsyncClient):
    heads = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(2)
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: __cf_bm=planted; Path=/\r\nContent-Length: 0\r\n\r\n")

    async with RawServer(handle) as server:
        for _ in range(2):
            response = await client.post(server.url, content=b"{}", headers={"x-one": "1"})
            assert response.headers["set-cookie"].startswith("__cf_bm=planted")
    names = {line.partition(b":")[0].lower() for line in heads[1].split(b"\r\n")[1:] if line}
    assert names == {
        b"host",
        b"accept",
        b"accept-encoding",
        b"connection",
        b"user-agent",
        b"x-one",
        b"content-length",
    }


async def test_redirects_are_not_followed(client: httpx.AsyncClient):
    async with RawServer(answering(b"HTTP/1.1 307 Moved\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")) as server:
        assert (await client.post(server.url)).status_code == 307
        assert server.connections == 1


async def test_what_is_not_in_its_encoding_cannot_be_read(client: httpx.AsyncClient):
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n"
    async with RawServer(answering(head + b"abc")) as server:
        with pytest.raises(httpx.DecodingError, match="it is not valid gzip"):
            await body_of(client, server.url)


# --- Connections -------------------------------------------------------------------------


async def test_a_finished_connection_is_used_again(client: httpx.AsyncClient):
    async with RawServer(serving_again(b"x")) as server:
        for _ in range(20):
            assert await body_of(client, server.url) == b"x"
        assert server.connections == 1


async def test_an_unfinished_answer_closes_its_connection(client: httpx.AsyncClient):
    async with RawServer(serving_again(b"x", end_after_seconds=30)) as server:
        for _ in range(2):
            async with client.stream("POST", server.url, content=b"{}") as response:
                assert await anext(response.aiter_raw()) == b"x"
        assert server.connections == 2


async def test_three_hundred_streams_are_open_at_once(client: httpx.AsyncClient):
    together = asyncio.Event()
    reached = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal reached
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + chunk(b"first"))
        reached += 1
        await together.wait()
        writer.write(chunk(b"last") + LAST_CHUNK)

    async with RawServer(handle) as server:
        asking = [asyncio.ensure_future(body_of(client, server.url)) for _ in range(300)]
        await until(lambda: reached == 300, seconds=30)
        together.set()
        assert set(await asyncio.gather(*asking)) == {b"firstlast"}


async def test_a_reader_that_pauses_stops_the_sender(client: httpx.AsyncClient):
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        while True:
            writer.write(chunk(b"x" * 65536))
            await writer.drain()
            sent += 65536

    async with RawServer(handle) as server, client.stream("POST", server.url) as response:
        blocks = response.aiter_raw()
        await anext(blocks)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 16 * 1024 * 1024
        for _ in range(200):
            await anext(blocks)
        assert sent > before


@pytest.mark.parametrize("leave", ["close", "cancel"])
async def test_a_reader_that_leaves_closes_the_connection_at_once(client: httpx.AsyncClient, leave: str):
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + chunk(b"first"))
        assert await reader.read() == b"{}"
        gone.set()

    async def ask(server: RawServer) -> None:
        async with client.stream("POST", server.url, content=b"{}") as response:
            async for _ in response.aiter_raw():
                if leave == "close":
                    return

    async with RawServer(handle) as server:
        asking = asyncio.ensure_future(ask(server))
        await until(lambda: server.connections == 1)
        await asyncio.sleep(0.05)
        asking.cancel()
        async with asyncio.timeout(generous(1)):
            await gone.wait()


# --- Proxies and TLS ---------------------------------------------------------------------


async def test_a_proxy_forwards_plain_http():
    async with Simulator() as simulator, Proxy() as proxy, open_client(proxy=proxy.url) as client:
        assert (await client.get(f"{simulator.base_url}/health")).json() == {"status": "ok"}
    assert proxy.seen == [f"GET {simulator.base_url}/health"]


async def test_the_password_of_a_proxy_is_sent_to_the_proxy():
    async with Simulator() as simulator, Proxy() as proxy:
        url = proxy.url.replace("//", "//ada:planted@")
        async with open_client(proxy=url) as client:
            assert (await client.get(f"{simulator.base_url}/health")).status_code == 200
    assert proxy.authorizations == ["Basic YWRhOnBsYW50ZWQ="]
    assert all("authorization" not in record.headers for record in simulator.state.requests)


async def test_ambient_proxies_are_not_picked_up(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with Simulator() as simulator, open_client() as client:
        assert (await client.get(f"{simulator.base_url}/health")).status_code == 200


async def test_a_proxy_that_is_not_there_is_a_proxy_error():
    async with open_client(proxy=f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(httpx.ProxyError):
            await client.post("http://127.0.0.1:9/")


async def test_a_proxy_that_refuses_the_tunnel_is_a_proxy_error():
    refused = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with RawServer(answering(refused)) as proxy, open_client(proxy=proxy.url) as client:
        with pytest.raises(httpx.ProxyError):
            await client.post("https://127.0.0.1:9/")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return folder


def tls_server(certificate: Path) -> RawServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return RawServer(answering(HEAD, chunk(b"secret"), LAST_CHUNK), tls=context)


async def test_https_goes_through_the_proxys_tunnel_with_the_roots_of_ssl_cert_file(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    async with tls_server(certificate) as server, Proxy() as proxy, open_client(proxy=proxy.url) as client:
        assert await body_of(client, server.url) == b"secret"
    assert proxy.seen == [f"CONNECT 127.0.0.1:{server.port}"]


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path, client: httpx.AsyncClient):
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with tls_server(certificate) as server:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await body_of(client, server.url)


def test_the_pool_is_made_in_the_loop_that_uses_it():
    async def once(make: Callable[[], httpx.AsyncClient]) -> int:
        async with RawServer(serving_again(b"x")) as server, make() as client:
            await body_of(client, server.url)
            return server.connections

    assert [asyncio.run(once(open_client)) for _ in range(2)] == [1, 1]
