"""The browser guard and forwarding headers, by the tables of ``tests/server/guard``; each table may only grow."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import subprocess
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from multidict import CIMultiDict

from gptmock.errors import ForeignOrigin, HostNotAllowed
from gptmock.server.context import ServerOptions
from gptmock.server.cors import CorsPolicy
from gptmock.server.forwarding import ClientView, TrustedProxies
from gptmock.server.guard import Guard, guard_of_scrapes
from gptmock.simulator.server import Simulator
from tests.harness import CHAT_PATH, chat, serving_simulator
from tests.harness import client as open_client

TABLES = Path(__file__).parent / "guard"
Row = dict[str, Any]
TRUSTED = ("10.0.0.0/8", "2001:db8::/32", "192.0.2.7", "unix")
GENERATE = {"model": "gpt-5.5", "prompt": "scene:text", "stream": False}
BODIES = {
    "/api/generate": GENERATE,
    "/v1/completions": GENERATE,
    "/v1/responses": {"model": "gpt-5.5", "input": "scene:text", "stream": False},
}
ADDRESS = "203.0.113.9"


def table(name: str, *, at_least: int) -> list[Row]:
    rows: list[Row] = json.loads((TABLES / f"{name}.json").read_text())
    assert len(rows) >= at_least
    return rows


async def ask(
    base_url: str, row: Row, *more: tuple[str, str], hosts: tuple[str, ...] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Send the bytes of a row, and nothing that it does not name; returns status, headers and body."""
    own = base_url.removeprefix("http://")
    address, port = own.split(":")
    method, path = row.get("method", "GET"), row.get("path", "/v1/models")
    body = json.dumps(BODIES.get(path, chat("scene:text"))) if method == "POST" else ""
    pairs = [*(("host", host) for host in ((row["host"],) if hosts is None else hosts)), *row.get("headers", []), *more]
    lines = [f"{name}: {value}".replace("{own}", own).replace("{port}", port) for name, value in pairs]
    if not any(name == "connection" for name, _ in pairs):
        lines.append("connection: close")
    if body:
        lines.append(f"content-length: {len(body)}")
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(f"{method} {path} HTTP/1.1\r\n".encode() + "\r\n".join([*lines, "", body]).encode())
    async with asyncio.timeout(30):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        answered = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])
            if value or name
        }
        content = await reader.readexactly(int(answered["content-length"])) if method != "HEAD" else b""
    writer.close()
    return int(head.split(" ")[1]), answered, content


def of_cors(headers: dict[str, str]) -> set[str]:
    return {name for name in headers if name.startswith("access-control-")}


# --- The tables -----------------------------------------------------------------------------


async def test_no_request_of_a_foreign_page_reaches_the_upstream(base_url: str, simulator: Simulator):
    wrong = []
    for row in table("browser_requests", at_least=47):
        status, headers, body = await ask(base_url, row)
        if status != row["status"] or of_cors(headers):
            wrong.append((row["what"], status, headers))
        elif row["method"] != "HEAD":
            error = json.loads(body)["error"]
            is_ollama = row["path"].startswith("/api/")
            assert isinstance(error, str) if is_ollama else set(error) == {"message", "type", "param", "code"}
        assert headers["x-request-id"]
    assert wrong == []
    assert simulator.state.model_call_count == 0


async def test_a_loopback_bind_answers_to_loopback_names_only(base_url: str):
    rows = table("hosts", at_least=57)
    answered = [(row["host"], (await ask(base_url, row))[0]) for row in rows]
    assert answered == [(row["host"], row["status"]) for row in rows]


def test_the_guard_alone_refuses_what_the_check_of_heads_refuses_before():
    guard = Guard(ServerOptions(), CorsPolicy(()))
    for row in table("hosts", at_least=57):
        host = row["host"].replace("{port}", "8000") or None
        with nullcontext() if row["status"] == 200 else pytest.raises(HostNotAllowed):
            guard.check("GET", "/v1/models", CIMultiDict(), ClientView("127.0.0.1", "http", host))


async def test_probes_answer_under_any_name(base_url: str):
    # A Host that is none is no HTTP.
    for row in (row for row in table("hosts", at_least=57) if row["status"] != 400):
        for path in ("/health", "/readyz", "/health/"):
            assert (await ask(base_url, {**row, "path": path}))[0] == 200
    for path in ("/healthz", "/health/x", "/v1/health", "/"):
        assert (await ask(base_url, {"host": "evil.test", "path": path}))[0] == 421


async def test_clients_that_are_no_browsers_notice_nothing(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, allowed_hosts="host.docker.internal, gptmock.internal") as url:
        rows = table("clients", at_least=18)
        answered = [(row["what"], (await ask(url, row))[0]) for row in rows]
    assert answered == [(row["what"], row["status"]) for row in rows]
    assert simulator.state.model_call_count == sum(row["method"] == "POST" for row in rows)


@pytest.mark.parametrize("row", table("forwarded", at_least=53), ids=lambda row: row["what"])
def test_forwarding_headers_are_believed_from_trusted_proxies_only(row: Row):
    headers = CIMultiDict(row["headers"])
    seen = ClientView(row["peer"], "http", "gptmock:8000")
    found = TrustedProxies(TRUSTED).view(headers, seen)
    assert found == ClientView(row["address"], row["scheme"], row["host"])
    # Without trusted proxies nothing is read at all.
    assert TrustedProxies(()).view(headers, seen) == seen


async def test_no_forwarding_header_makes_a_foreign_request_ours(base_url: str, simulator: Simulator):
    page = (("origin", "http://evil.test"), ("content-type", "application/json"))
    for row in table("forwarded", at_least=53):
        asked = {"method": "POST", "path": CHAT_PATH, "headers": row["headers"], "host": "evil.test"}
        assert (await ask(base_url, asked))[0] == 421, row["what"]
        for origin in ("https://chat.example", "http://localhost", "http://chat.example"):
            shown = (("origin", origin), page[1])
            assert (await ask(base_url, {**asked, "host": "{own}"}, *shown))[0] == 403, row["what"]
    assert simulator.state.model_call_count == 0


# --- Hosts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hosts", [(), ("localhost", "evil.test"), ("evil.test", "localhost"), ("localhost", "localhost")]
)
async def test_there_is_one_host(base_url: str, hosts: tuple[str, ...]):
    assert (await ask(base_url, {}, hosts=hosts))[0] == 400


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://{own}/v1/models", "{own}", 200),
        ("http://LOCALHOST:{port}/v1/models", "localhost:{port}", 200),
        ("http://localhost:80/v1/models", "localhost", 200),
        ("http://evil.test/v1/models", "evil.test", 421),
        ("http://evil.test/v1/models", "{own}", 400),
        ("http://{own}/v1/models", "evil.test", 400),
        ("http:///v1/models", "{own}", 400),
    ],
)
async def test_a_host_in_the_target_is_the_same(base_url: str, target: str, host: str, status: int):
    own = base_url.removeprefix("http://")
    path = target.replace("{own}", own).replace("{port}", own.partition(":")[2])
    assert (await ask(base_url, {"host": host, "path": path}))[0] == status


async def test_the_refusal_says_which_setting_lets_the_name_in(base_url: str):
    _, headers, body = await ask(base_url, {"host": "Box.Internal:{port}"})
    error = json.loads(body)["error"]
    assert (error["code"], headers["x-should-retry"]) == ("host_not_allowed", "false")
    assert "GPTMOCK_ALLOWED_HOSTS=box.internal" in error["message"]


EXPOSED = ServerOptions(bound_host="192.0.2.5", is_exposed=True, requires_key=True)
OPEN = ServerOptions(bound_host="0.0.0.0", is_exposed=True)
NAMED = ServerOptions(
    bound_host="0.0.0.0", is_exposed=True, requires_key=True, allowed_hosts=("gptmock.team", "10.1.2.3")
)
BOUND = ServerOptions(bound_host="::1", allowed_hosts=("2001:db8::5",))


@pytest.mark.parametrize(
    ("options", "host", "is_page", "passes"),
    [
        (EXPOSED, "any.example", False, True),
        (EXPOSED, "any.example", True, True),
        (EXPOSED, "", False, True),
        (NAMED, "gptmock.team:8000", True, True),
        (NAMED, "GPTMOCK.team.", False, True),
        (NAMED, "10.1.2.3", False, True),
        (NAMED, "localhost", False, True),
        (NAMED, "10.1.2.4", False, True),
        (NAMED, "[2001:db8::1]:8000", True, True),
        (BOUND, "10.1.2.4", False, False),
        (NAMED, "sub.gptmock.team", False, False),
        (NAMED, "any.example", False, False),
        # Without keys, a page whose name was rebound must not get through; addresses cannot be rebound.
        (OPEN, "any.example", False, True),
        (OPEN, "any.example", True, False),
        (OPEN, "192.168.1.7:8000", True, True),
        (OPEN, "[2001:db8::1]", True, True),
        (OPEN, "localhost:8000", True, True),
        (BOUND, "[::1]:8000", False, True),
        (BOUND, "[2001:db8:0::5]:8000", False, True),
        (BOUND, "any.example", False, False),
    ],
)
def test_where_the_server_listens_decides_which_names_are_its_own(
    options: ServerOptions, host: str, *, is_page: bool, passes: bool
):
    headers = CIMultiDict({"sec-fetch-site": "same-origin"} if is_page else {})
    guard = Guard(options, CorsPolicy(()))
    with nullcontext() if passes else pytest.raises(HostNotAllowed):
        guard.check("GET", "/v1/models", headers, ClientView("192.0.2.9", "http", host))


# --- Origins --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "is_own"),
    [
        ("http", "localhost:8000", "http://localhost:8000", True),
        ("http", "LOCALHOST:8000", "http://localhost:8000", True),
        ("http", "localhost", "http://localhost", True),
        ("http", "localhost:80", "http://localhost", True),
        ("https", "chat.example", "https://chat.example", True),
        ("https", "chat.example:443", "https://chat.example", True),
        ("https", "chat.example:8443", "https://chat.example:8443", True),
        ("http", "[::1]:8000", "http://[::1]:8000", True),
        ("https", "chat.example", "http://chat.example", False),
        ("https", "chat.example", "https://chat.example:80", False),
        ("http", "localhost:8000", "http://localhost:8001", False),
        ("http", "localhost:8000", "ws://localhost:8000", False),
        (None, "localhost:8000", "http://localhost:8000", False),
        ("http", None, "http://localhost:8000", False),
        ("http", "", "http://", False),
    ],
)
def test_our_own_origin_is_the_one_that_the_client_sees(
    scheme: str | None, host: str | None, origin: str, *, is_own: bool
):
    guard = Guard(EXPOSED, CorsPolicy(()))
    with nullcontext() if is_own else pytest.raises(ForeignOrigin):
        guard.check("GET", "/", CIMultiDict({"origin": origin}), ClientView("192.0.2.9", scheme, host))


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("https://chat.example:8443", "gptmock serve --cors-origins https://chat.example:8443"),
        ("chrome-extension://abc", "--cors-origins chrome-extension://abc"),
        ("null", "local file or a sandboxed frame"),
        ("http://x\tevil", "local file or a sandboxed frame"),
    ],
)
async def test_the_refusal_says_which_setting_lets_the_page_in(base_url: str, origin: str, said: str):
    _, _, body = await ask(base_url, {"host": "{own}", "headers": [["origin", origin]]})
    error = json.loads(body)["error"]
    assert error["code"] == "origin_not_allowed"
    assert said in error["message"]
    assert "GPTMOCK_CORS_ORIGINS" in error["message"]


async def test_a_configured_page_may_do_what_others_may_not(simulator: Simulator, home: Path):
    page = "http://localhost:3000"
    async with serving_simulator(simulator, home, cors_origins=page) as url:
        for kind in ("application/json", "text/plain"):
            headers = [["origin", page], ["content-type", kind], ["sec-fetch-site", "same-site"]]
            asked = {"method": "POST", "path": CHAT_PATH, "host": "{own}", "headers": headers}
            status, said, _ = await ask(url, asked)
            assert (status, said["access-control-allow-origin"]) == (200, page)
        for row in table("browser_requests", at_least=47):
            if ["origin", page] not in row["headers"]:
                status, said, _ = await ask(url, row)
                assert (status, of_cors(said)) == (row["status"], set()), row["what"]
    assert simulator.state.model_call_count == 2


# --- Real clients ---------------------------------------------------------------------------

NODE = """
const [url, body] = process.argv.slice(1)
fetch(url, {method: "POST", body}).then(async (answer) => console.log(answer.status, await answer.text()))
"""


async def test_curl_and_node_are_no_browsers(base_url: str, simulator: Simulator):
    body, url = json.dumps(chat("scene:text")), base_url + CHAT_PATH
    commands = [
        ["curl", "-sS", "-w", "%{http_code}", "--noproxy", "*", url, "-d", body],
        ["node", "-e", NODE, url, body],
    ]
    for command in commands:
        if shutil.which(command[0]) is None:
            continue
        ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
        assert "200" in (ran.stdout[:3], ran.stdout[-3:]), (ran.stdout, ran.stderr)
        assert "chat.completion" in ran.stdout
    assert simulator.state.model_call_count == sum(shutil.which(command[0]) is not None for command in commands)


# --- Behind a proxy -------------------------------------------------------------------------


async def test_behind_a_trusted_proxy_the_client_decides(
    simulator: Simulator, home: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "gptmock")
    asked = {"method": "POST", "path": CHAT_PATH, "host": "upstream:8000"}
    page = [["origin", "https://chat.example"], ["content-type", "application/json"]]
    proxy = [["x-forwarded-for", f"127.0.0.1, {ADDRESS}"], ["x-forwarded-proto", "https"]]
    host = ["x-forwarded-host", "localhost, chat.example"]
    trusting = serving_simulator(simulator, home, trusted_proxies="127.0.0.0/8", allowed_hosts="chat.example")
    async with trusting as url:
        assert (await ask(url, {**asked, "headers": [*page, *proxy, host]}))[0] == 200
        assert (await ask(url, {**asked, "headers": [*page, proxy[0], host]}))[0] == 403
        assert (await ask(url, {**asked, "headers": [*page, *proxy]}))[0] == 421
        assert (await ask(url, {**asked, "headers": [*proxy, ["x-forwarded-host", "evil.test"]]}))[0] == 421
        malformed = {**asked, "host": "localhost", "headers": [*proxy, ["x-forwarded-host", "local host"]]}
        assert (await ask(url, malformed))[0] == 421
    lines = [(record.message, vars(record)["client"]) for record in caplog.records if hasattr(record, "client")]
    assert lines == [("turn", ADDRESS)] + [("request", ADDRESS)] * 4
    assert simulator.state.model_call_count == 1


async def test_a_page_whose_name_was_rebound_is_no_proxy(simulator: Simulator, home: Path):
    """On the machine of a proxy that is trusted. A browser sends neither Origin nor Sec-Fetch-Site with such a GET."""
    names = "llm.example, gptmock.internal"
    told = ([["x-forwarded-host", "localhost"]], [["forwarded", "host=llm.example"]], [["x-forwarded-host", "b ad"]])
    async with serving_simulator(simulator, home, trusted_proxies="127.0.0.0/8", allowed_hosts=names) as url:
        for headers in told:
            assert (await ask(url, {"host": "evil.test:{port}", "headers": headers}))[0] == 421, headers
            assert (await ask(url, {"host": "127.0.0.1.evil.test", "headers": headers}))[0] == 421, headers
        for host in ("{own}", "localhost", "gptmock.internal", "upstream", "10.1.2.3:8000", "[2001:db8::1]"):
            assert (await ask(url, {"host": host, "headers": told[0]}))[0] == 200, host
        assert (await ask(url, {"host": "evil.test", "headers": told[0], "path": "/health"}))[0] == 200


@pytest.mark.parametrize(
    ("options", "address", "passes"),
    [
        (ServerOptions(), "127.0.0.1", False),
        (ServerOptions(requires_key=True), "127.0.0.1", False),
        (ServerOptions(is_exposed=True, allowed_hosts=("llm.example",)), "10.0.0.1", False),
        # A page has no key, and a proxy may have any name for its upstream.
        (ServerOptions(is_exposed=True, allowed_hosts=("llm.example",), requires_key=True), "10.0.0.1", True),
        (ServerOptions(is_exposed=True), "10.0.0.1", True),
        (ServerOptions(bound_host=""), "", True),
    ],
)
def test_the_host_that_a_proxy_replaces_is_checked_where_a_page_could_use_it(
    options: ServerOptions, address: str, *, passes: bool
):
    guard = Guard(options, CorsPolicy(()))
    with nullcontext() if passes else pytest.raises(HostNotAllowed):
        guard.check_replaced_host("/v1/models", ClientView(address, "http", "gptmock.internal.example"))


@pytest.mark.parametrize(
    ("bound", "is_checked"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_the_listener_for_scrapes_is_guarded_on_loopback(bound: str, *, is_checked: bool):
    exposed = ServerOptions(bound_host="0.0.0.0", is_exposed=True, requires_key=True, metrics_address=(bound, 9464))
    assert guard_of_scrapes(ServerOptions()) is None
    guard = guard_of_scrapes(exposed)
    assert (guard is not None) == is_checked
    if guard is not None:
        with pytest.raises(HostNotAllowed):
            guard.check("GET", "/metrics", CIMultiDict(), ClientView("127.0.0.1", "http", "evil.test:9464"))


async def test_without_a_trusted_proxy_the_log_has_the_peer(
    caplog: pytest.LogCaptureFixture, client: httpx.AsyncClient
):
    caplog.set_level(logging.INFO, "gptmock")
    await client.get("/nowhere", headers={"x-forwarded-for": ADDRESS, "forwarded": f"for={ADDRESS}"})
    assert [vars(record)["client"] for record in caplog.records if record.message == "request"] == ["127.0.0.1"]


async def test_below_a_base_path_everything_is_served_and_nothing_beside_it(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, base_path="/llm/gptmock/") as url, open_client(url) as client:
        for path in ("/v1/models", "/health", "/readyz", "/api/tags", "/openapi.json", "/", "", "//v1/models?x=/y"):
            assert (await client.get(f"/llm/gptmock{path}")).status_code == 200, path
        answer = await client.post(f"/llm/gptmock{CHAT_PATH}", json=chat("scene:text"))
        assert answer.json()["object"] == "chat.completion"
        assert (await client.get("/llm/gptmock/openapi.json")).json()["servers"] == [{"url": "/llm/gptmock"}]
        outside = ("/v1/models", "/health", "/", "/llm", "/llm/gptmockx/health", "/LLM/gptmock/health", "/llm/health")
        for path in (*outside, "/llm/gptmock/../v1/models", "/llm/gptmock/llm/gptmock/health"):
            refused = await client.get(path)
            assert refused.status_code == 404, path
            assert refused.json()["error"]["code"] == "unknown_url"
        for path, status in (("/llm/gptmock/health", 200), ("/health", 404), ("", 404)):
            assert (await ask(url, {"host": "{own}", "path": f"{url}{path}"}))[0] == status
        assert "serves below /llm/gptmock" in (await client.get("/v1/models")).json()["error"]["message"]
        assert isinstance((await client.get("/llm/gptmock/api/nowhere")).json()["error"], str)
        assert (await client.get("/llm/gptmock/v1/models", headers={"host": "evil.test"})).status_code == 421
        assert (await client.get("/llm/gptmock/health", headers={"host": "evil.test"})).status_code == 200
        assert (await client.get("/health", headers={"host": "evil.test"})).status_code == 404
        assert (await client.post("/nowhere", headers={"origin": "https://evil.example"})).status_code == 403


async def test_without_a_base_path_the_document_names_no_server(client: httpx.AsyncClient):
    assert "servers" not in (await client.get("/openapi.json")).json()


# --- Cost -----------------------------------------------------------------------------------


@pytest.mark.alone
def test_the_guard_costs_a_few_microseconds():
    guard = Guard(ServerOptions(), CorsPolicy(()))
    headers = CIMultiDict({"host": "localhost:8000", "content-type": "application/json", "user-agent": "x"})
    for name in ("accept", "authorization", "x-stainless-lang", "x-request-id", "content-length"):
        headers[name] = "1"
    view = ClientView("127.0.0.1", "http", "localhost:8000")
    costs = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(500):
            guard.check("POST", CHAT_PATH, headers, view)
        costs.append((time.perf_counter() - started) / 500)
    # 1.5 microseconds were measured; the limit of the whole guard is 10.
    assert min(costs) < 50e-6
