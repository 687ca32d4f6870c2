from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import random
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard

from gptmock import __version__
from gptmock.catalog import ModelCatalog
from gptmock.dialects.dialect import Defaults, Terms
from gptmock.gateway.admission import Admission
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.server.context import ServerOptions, Services
from gptmock.simulator.server import Simulator
from gptmock.stores.client_keys import StoreClientKeys
from gptmock.stores.memory import MemoryStore
from gptmock.stores.seal import Sealer
from tests.gateway.memory import KEY as SEALING_KEY
from tests.harness import CHAT_PATH, chat, serving, serving_simulator, until_ready, write_login
from tests.harness import client as open_client

BODY = json.dumps(chat("scene:text")).encode()
KEY = "sk-planted-0123456789abcd"
KEYS = StoreClientKeys(MemoryStore(), Sealer([SEALING_KEY]), clock=time.time)


async def exchanged(base_url: str, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes and read until the server closes: status, headers, body of the last answer."""
    reader, writer = await asyncio.open_connection(*base_url.removeprefix("http://").split(":"))
    writer.write(data)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split(" ")[1]), headers, body


def envelope(body: bytes) -> dict[str, Any]:
    """The error inside an answer that has exactly the four members that clients rely on."""
    document = json.loads(body)
    assert set(document) == {"error"}
    assert set(document["error"]) == {"message", "type", "param", "code"}
    assert document["error"]["message"]
    return dict(document["error"])


# --- What cannot be read -------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_400_in_our_shape(base_url: str, request_bytes: bytes):
    status, headers, body = await exchanged(base_url, request_bytes)
    assert status == 400
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
    assert headers["connection"] == "close"
    error = envelope(body)
    assert (error["type"], error["code"]) == ("invalid_request_error", "bad_request")


async def test_a_header_without_end_is_a_431_in_our_shape(base_url: str):
    status, headers, body = await exchanged(base_url, b"GET /health HTTP/1.1\r\nX: " + b"x" * 40_000)
    assert (status, envelope(body)["code"]) == (431, "headers_too_large")
    assert headers["x-request-id"]


@pytest.mark.parametrize("path", [b"/%00", b"/v1/%ff%00%0d%0a", b"/*", b"/v1/%1b[31m"])
async def test_a_path_that_makes_no_sense_does_not_exist(base_url: str, path: bytes):
    status, _, body = await exchanged(
        base_url, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    assert (status, envelope(body)["code"]) == (404, "unknown_url")
    assert "\x1b" not in body.decode()


async def test_a_client_that_leaves_in_the_middle_of_its_head_is_no_error(
    base_url: str, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
):
    for data in (
        b"GET /heal",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    ):
        _, writer = await asyncio.open_connection(*base_url.removeprefix("http://").split(":"))
        writer.write(data)
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.05)
    assert (await client.get("/health")).status_code == 200
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_bytes_in_headers_that_are_no_utf8_are_no_fault_of_ours(base_url: str):
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Session-Id: \xff\xfe\r\n"
        b"Authorization: Bearer \xff\r\nUser-Agent: \xe9\r\nX-Request-Id: \xff\r\nContent-Length: %d\r\n\r\n"
    )
    status, headers, _ = await exchanged(base_url, head % len(BODY) + BODY)
    assert status == 200
    assert headers["x-request-id"].isascii()


# --- Routes --------------------------------------------------------------------------------


@pytest.mark.check(83)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/nowhere", "/v1/nowhere", "/v1/v1/chat/completions", "/v1/nowhere/x/y"])
async def test_an_unknown_route_is_a_404_in_our_shape(client: httpx.AsyncClient, method: str, path: str):
    response = await client.request(method, path)
    assert response.status_code == 404
    assert response.headers["x-request-id"]
    if method != "HEAD":
        error = envelope(response.content)
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "unknown_url", None)
        assert f"{method} {path}" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT_PATH, {"POST"}),
        ("DELETE", "/chat/completions", {"POST"}),
        ("POST", "/v1/models", {"GET", "HEAD"}),
        ("OPTIONS", "/v1/models", {"GET", "HEAD"}),
        ("DELETE", "/v1/models/gpt-5.5", {"GET", "HEAD"}),
        ("PUT", "/health", {"GET", "HEAD"}),
        ("TRACE", "/readyz", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: set[str]
):
    response = await client.request(method, path)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == allowed
    assert envelope(response.content)["code"] == "method_not_allowed"
    assert response.headers["x-request-id"]


@pytest.mark.check(83)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/api/nowhere", "//api/nowhere/", "/api/v1/models"])
async def test_an_unknown_route_of_ollamas_is_a_404_in_its_shape(client: httpx.AsyncClient, method: str, path: str):
    response = await client.request(method, httpx.URL(str(client.base_url)).copy_with(raw_path=path.encode()))
    assert response.status_code == 404
    assert response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
    said = response.json()
    assert set(said) == {"error"}
    assert said["error"].startswith(f"Unknown request URL: {method} /api/")


@pytest.mark.check(88)
@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings", "/v1/embeddings/", "/v1/audio/transcriptions"])
async def test_what_cannot_be_had_is_named_and_not_asked_for_again(client: httpx.AsyncClient, path: str):
    response = await client.post(path, json={"model": "text-embedding-3-small", "input": "x"})
    assert (response.status_code, response.headers["x-should-retry"]) == (404, "false")
    error = envelope(response.content)
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "unsupported_endpoint", None)


@pytest.mark.parametrize("path", ["/health", "/readyz", "/v1/models", "/models", "/v1/models/gpt-5.5"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str):
    got, headed = await client.get(path), await client.head(path)
    assert (got.status_code, headed.status_code) == (200, 200)
    assert headed.content == b""
    assert headed.headers["content-length"] == str(len(got.content))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/chat/completions/",
        "/v1//chat/completions",
        "//chat//completions",
    ],
)
async def test_clients_may_put_the_slashes_where_they_like(client: httpx.AsyncClient, base_url: str, path: str):
    response = await client.post(httpx.URL(base_url).copy_with(raw_path=path.encode()), content=BODY)
    assert response.status_code == 200


async def test_the_health_of_a_worker(client: httpx.AsyncClient):
    assert (await client.get("/health")).json() == {"status": "ok", "version": __version__}


async def test_readiness_is_a_matter_of_the_login(simulator: Simulator, tmp_path: Path):
    async with serving_simulator(simulator, tmp_path) as url, open_client(url) as client:
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["reasons"][0].startswith("login_required: ")
        assert (await client.get("/health")).status_code == 200
        answer = await client.post(CHAT_PATH, json=chat())
        assert (answer.status_code, envelope(answer.content)["code"]) == (503, "login_required")
        assert simulator.state.model_call_count == 0
        write_login(tmp_path, simulator.state.logins.issue().auth_json())
        await until_ready(client)
        assert (await client.get("/readyz")).json() == {"status": "ready", "reasons": []}
        assert (await client.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200


async def test_a_dead_login_is_not_ready(simulator: Simulator, tmp_path: Path):
    login = simulator.state.logins.issue(expires_in=-5).auth_json()
    login["tokens"]["refresh_token"] = ""
    write_login(tmp_path, login)
    async with serving_simulator(simulator, tmp_path) as url, open_client(url) as client:
        assert (await client.get("/readyz")).status_code == 503


async def test_a_redirect_of_the_issuer_names_its_host(simulator: Simulator, tmp_path: Path):
    write_login(tmp_path, simulator.state.logins.issue(expires_in=-5).auth_json())
    simulator.state.token_faults.extend(["302"] * 5)
    async with serving_simulator(simulator, tmp_path) as url, open_client(url) as client:
        answer = await client.post(CHAT_PATH, json=chat())
    error = envelope(answer.content)
    assert (answer.status_code, error["code"]) == (503, "auth_unavailable")
    assert "redirects (302) to sign-in.example.test" in error["message"]
    assert "planted" not in answer.text


# --- Request ids ---------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["abc", "req_0123-ABC.def:1/2+3=4@5", "x" * 128])
async def test_a_sane_request_id_is_kept(client: httpx.AsyncClient, given: str):
    for method, path in (("GET", "/health"), ("GET", "/nowhere"), ("POST", CHAT_PATH)):
        response = await client.request(method, path, headers={"x-request-id": given})
        assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", [b"", b"a b", b"x" * 129, b"a\tb", b"\xc3\xa9", b"<script>", b'"'])
async def test_any_other_request_id_is_replaced_by_one_that_the_log_has_too(
    client: httpx.AsyncClient, given: bytes, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="gptmock")
    response = await client.post(CHAT_PATH, content=BODY, headers=[(b"x-request-id", given)])
    shown = response.headers["x-request-id"]
    assert shown
    assert shown.encode() != given
    (record,) = (each for each in caplog.records if each.getMessage() == "turn")
    assert vars(record)["request_id"] == shown


async def test_two_requests_have_two_ids(client: httpx.AsyncClient):
    ids = {(await client.get("/health")).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


# --- Bodies --------------------------------------------------------------------------------


@pytest.mark.check(92)
async def test_a_body_over_the_limit_is_a_413_in_our_shape():
    options = ServerOptions(max_body_bytes=1000)
    async with serving_services(options) as url:
        padded = chat("x" * 1000)
        status, headers, body = await exchanged(url, _post(json.dumps(padded).encode()))
        assert (status, envelope(body)["code"]) == (413, "request_too_large")
        assert headers["x-request-id"]
        chunked = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n"
        status, _, body = await exchanged(url, chunked + b"x" * 1024 + b"\r\n0\r\n\r\n")
        assert (status, envelope(body)["code"]) == (413, "request_too_large")


def _post(body: bytes) -> bytes:
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        % len(body)
        + body
    )


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"17", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000]
)
async def test_a_body_that_is_no_object_is_a_400(client: httpx.AsyncClient, body: bytes):
    response = await client.post(CHAT_PATH, content=body)
    assert response.status_code == 400
    assert envelope(response.content)["type"] == "invalid_request_error"


async def test_chunked_bodies_and_expectations_are_served(base_url: str):
    half = len(BODY) // 2
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    chunks = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (half, BODY[:half], len(BODY) - half, BODY[half:])
    assert (await exchanged(base_url, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks))[0] == 200
    expecting = head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    assert (await exchanged(base_url, expecting + BODY))[0] == 200


@pytest.mark.check(92)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "identity", "gzip, zstd"])
async def test_compressed_bodies_are_served(client: httpx.AsyncClient, simulator: Simulator, coding: str):
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": zstandard.compress,
        "identity": bytes,
        "gzip, zstd": lambda data: zstandard.compress(gzip.compress(data)),
    }
    response = await client.post(CHAT_PATH, content=packers[coding](BODY), headers={"content-encoding": coding})
    assert response.status_code == 200
    assert "content-encoding" not in response.headers
    # The upstream gets a body of our own, whatever the client's was.
    assert "scene:text" in str(simulator.state.model_calls()[-1].body)


@pytest.mark.check(92)
@pytest.mark.parametrize(
    ("coding", "body", "said"),
    [
        ("br", BODY, (415, "unsupported_encoding")),
        ("gzip", BODY, (400, "invalid_encoding")),
        ("zstd", BODY, (400, "invalid_encoding")),
        ("gzip", gzip.compress(b"\0" * 2_000_000, mtime=0), (413, "request_too_large")),
        ("zstd", zstandard.compress(b"\0" * 2_000_000), (413, "request_too_large")),
        ("deflate", zlib.compress(b"\0" * 2_000_000), (413, "request_too_large")),
        ("gzip", gzip.compress(b"{", mtime=0), (400, "invalid_json")),
    ],
)
async def test_a_body_that_cannot_be_unpacked_says_why(
    simulator: Simulator, home: Path, coding: str, body: bytes, said: tuple[int, str]
):
    async with (
        serving_simulator(simulator, home, options=ServerOptions(max_body_bytes=1_000_000)) as url,
        open_client(url) as client,
    ):
        response = await client.post(CHAT_PATH, content=body, headers={"content-encoding": coding})
        assert (response.status_code, envelope(response.content)["code"]) == said
        assert response.headers["x-request-id"]
        assert (response.headers.get("accept-encoding") == "gzip, deflate, zstd") is (said[0] == 415)
        # The connection, and the worker, go on.
        assert (await client.post(CHAT_PATH, content=BODY)).status_code == 200
        ollama = await client.post("/api/nowhere", content=body, headers={"content-encoding": coding})
        assert set(ollama.json()) == {"error"}
    assert simulator.state.model_call_count == 1


@pytest.mark.check(92)
@pytest.mark.parametrize("coding", [None, "gzip"])
async def test_an_image_of_twenty_megabytes_arrives(
    client: httpx.AsyncClient, simulator: Simulator, coding: str | None
):
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(0).randbytes(15_000_000)).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    message = {"role": "user", "content": [{"type": "text", "text": "scene:text"}, part]}
    body = json.dumps({"model": "gpt-5.5", "messages": [message]}).encode()
    assert len(body) > 20_000_000
    headers = {"content-encoding": coding} if coding else {}
    response = await client.post(CHAT_PATH, content=gzip.compress(body, 1) if coding else body, headers=headers)
    assert response.status_code == 200
    assert simulator.state.model_call_count == 1


# --- Faults of our own ---------------------------------------------------------------------


class BrokenGateway:
    """A planted fault."""

    @asynccontextmanager
    async def open(self, *_: object, **__: object) -> AsyncIterator[Any]:
        yield 1 / int("a planted prompt")

    async def compact(self, *_: object, **__: object) -> Any:
        return 1 / int("a planted prompt")

    async def relay(self, *_: object, **__: object) -> Any:
        return 1 / int("a planted prompt")


@asynccontextmanager
async def broken_services() -> AsyncIterator[Services]:
    async def ready() -> list[str]:
        raise ZeroDivisionError("a planted reason")

    terms = Terms(ModelCatalog(), Defaults())
    yield Services(BrokenGateway(), Admission(None, KEYS), terms, ready, ConversationKeeper(None))


def serving_services(options: ServerOptions) -> Any:
    return serving(broken_services, options)


@pytest.mark.parametrize(("method", "path"), [("POST", CHAT_PATH), ("GET", "/readyz")])
async def test_a_fault_of_our_own_is_a_500_whose_reason_is_in_the_log_only(
    method: str, path: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="gptmock")
    async with serving_services(ServerOptions()) as url, open_client(url) as client:
        response = await client.request(method, path, json=chat(stream=True) if method == "POST" else None)
    assert response.status_code == 500
    error = envelope(response.content)
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert response.headers["x-request-id"] in error["message"]
    assert "planted" not in response.text
    (record,) = (each for each in caplog.records if each.getMessage() == "server.error")
    assert vars(record)["request_id"] == response.headers["x-request-id"]
    assert record.exc_info is not None
    if method == "POST":
        (turn,) = (each for each in caplog.records if each.getMessage() == "turn")
        assert (vars(turn)["status"], vars(turn)["ended"]) == (500, "internal_error")


# --- Keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": "x"}, {"api-key": KEY[:-1]}])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", CHAT_PATH), ("POST", "/chat/completions"), ("GET", "/v1/models")]
)
async def test_without_the_key_nobody_comes_in(
    simulator: Simulator, home: Path, method: str, path: str, headers: dict[str, str]
):
    async with serving_simulator(simulator, home, api_key=KEY) as url, open_client(url) as client:
        response = await client.request(method, path, headers=headers, json=chat() if method == "POST" else None)
        assert response.status_code == 401
        assert envelope(response.content)["code"] == "invalid_api_key"
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["x-request-id"]
        assert KEY not in response.text
        for probe in ("/health", "/readyz"):
            assert (await client.get(probe)).status_code == 200
    assert simulator.state.model_call_count == 0


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}, {"api-key": KEY}],
)
async def test_with_the_key_one_comes_in_and_the_key_goes_no_further(
    simulator: Simulator, home: Path, headers: dict[str, str]
):
    async with serving_simulator(simulator, home, api_key=KEY) as url, open_client(url) as client:
        assert (await client.post(CHAT_PATH, json=chat("scene:text"), headers=headers)).status_code == 200
        assert (await client.get("/v1/models", headers=headers)).status_code == 200
    assert KEY not in str(dict(simulator.state.model_calls()[-1].headers))


# --- The log ---------------------------------------------------------------------------------


@pytest.fixture
async def keyed(simulator: Simulator, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A server that wants a key, and a client that has none."""
    async with serving_simulator(simulator, home, api_key=KEY) as url, open_client(url) as client:
        yield client


@pytest.mark.parametrize(
    ("asked", "status", "ended"),
    [
        (("GET", "/wp-admin/setup.php?key=planted"), 404, "unknown_url"),
        (("POST", "/v1/embeddings"), 404, "unsupported_endpoint"),
        (("DELETE", "/v1/chat/completions"), 405, "method_not_allowed"),
        (("GET", "/v1/models"), 401, "invalid_api_key"),
        (("GET", "/api/tags"), 401, "invalid_api_key"),
    ],
)
async def test_what_is_refused_outside_of_turns_has_one_line_too(
    keyed: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, asked: tuple[str, str], status: int, ended: str
):
    method, path = asked
    caplog.set_level(logging.INFO, logger="gptmock")
    assert (await keyed.request(method, path, headers={"x-request-id": "mine"})).status_code == status
    (line,) = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    expected = {"request_id": "mine", "method": method, "path": path.partition("?")[0], "status": status}
    assert {**expected, "ended": ended}.items() <= line.items()
    assert "planted" not in str(line)


async def test_a_refused_turn_has_its_own_line_and_no_other(keyed: httpx.AsyncClient, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="gptmock")
    assert (await keyed.post(CHAT_PATH, content=BODY)).status_code == 401
    assert (await keyed.get("/health")).status_code == 200
    said = [record.getMessage() for record in caplog.records]
    assert (said.count("turn"), said.count("request")) == (1, 0)
