"""Sign-in to the page: sessions, their cookie, requests from foreign pages, and what the page may never say."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.gateway.page_sessions import MAX_ATTEMPTS
from gptmock.server.dashboard import SECURITY_HEADERS
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from gptmock.simulator.server import Simulator
from gptmock.stores.audit import StoreAuditLog
from tests.harness import client, serving_simulator

STATIC = "sk-planted-static-0123456789"
PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "sec-fetch-site": "none", "sec-fetch-mode": "navigate"}


@pytest.fixture
async def state(home: Path) -> AsyncIterator[State]:
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as opened:
        yield opened


@pytest.fixture
async def browser(simulator: Simulator, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A browser's requests to a server that requires keys."""
    async with (
        serving_simulator(simulator, home, api_key=STATIC, trusted_proxies="127.0.0.1") as url,
        client(url, headers={"sec-fetch-site": "same-origin", "origin": url}) as opened,
    ):
        yield opened


async def signed_in(browser: httpx.AsyncClient, key: str) -> httpx.Response:
    return await browser.post("/admin/session", json={"key": key})


async def test_a_session_from_sign_in_to_sign_out(browser: httpx.AsyncClient, state: State):
    key = (await state.keys.create("ada", KeyTerms(role="admin"))).text.reveal()
    assert (await browser.get("/admin/session")).status_code == 401
    answer = await signed_in(browser, key)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(r"gptmock_session=[\w-]{43}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", cookie)
    assert (await browser.get("/admin/session")).json() == {"role": "admin", "name": "ada", "signed_in": True}
    value = browser.cookies["gptmock_session"]
    assert value not in key
    assert not [name for name in await state.store.names("") if value in name]
    again = await signed_in(browser, key)
    assert again.cookies["gptmock_session"] != value
    assert (await browser.delete("/admin/session")).status_code == 200
    assert "gptmock_session" not in browser.cookies
    # The first one ended with the second sign-in, and the second with the sign-out.
    for kept in (value, again.cookies["gptmock_session"]):
        seen = await browser.get("/admin/session", headers={"cookie": f"gptmock_session={kept}"})
        assert seen.status_code == 401


async def test_sign_ins_and_sign_outs_are_in_the_audit_log(browser: httpx.AsyncClient, state: State):
    issued = await state.keys.create("ada", KeyTerms())
    values = []
    for _ in range(3):
        await signed_in(browser, issued.text.reveal())
        values.append(browser.cookies["gptmock_session"])
    await signed_in(browser, "wrong")
    for _ in range(2):
        await browser.delete("/admin/session")
    events = [one for one in await StoreAuditLog(state.store).latest(10) if one.action.startswith("page.")]
    assert [(one.action, one.actor.name, one.target) for one in events] == [
        ("page.signed_out", "ada", issued.key.id),
        ("page.signed_in", "ada", issued.key.id),
    ]
    assert not [secret for secret in (issued.text.reveal(), *values) if secret in str(events)]


async def test_a_session_ends_with_the_text_of_its_key(browser: httpx.AsyncClient, state: State):
    issued = await state.keys.create("ada", KeyTerms(role="admin"))
    await signed_in(browser, issued.text.reveal())
    assert (await browser.get("/admin/session")).status_code == 200
    await state.keys.rotate("ada")
    async with asyncio.timeout(10):
        while (await browser.get("/admin/session")).status_code != 401:  # noqa: ASYNC110 - a cached key lives a second
            await asyncio.sleep(0.1)


async def test_a_session_by_a_replaced_text_ends_with_the_overlap(browser: httpx.AsyncClient, state: State):
    old = (await state.keys.create("ada", KeyTerms(role="admin"))).text.reveal()
    new = (await state.keys.rotate("ada", overlap_seconds=4.0)).text.reveal()
    assert (await signed_in(browser, old)).status_code == 200
    by_old = {"cookie": f"gptmock_session={browser.cookies['gptmock_session']}"}
    browser.cookies.clear()
    assert (await browser.get("/admin/session", headers=by_old)).json()["role"] == "admin"
    assert (await signed_in(browser, new)).status_code == 200
    by_new = {"cookie": f"gptmock_session={browser.cookies['gptmock_session']}"}
    browser.cookies.clear()
    async with asyncio.timeout(20):
        while (await browser.get("/admin/session", headers=by_old)).status_code != 401:  # noqa: ASYNC110 - time passes
            await asyncio.sleep(0.1)
    assert (await browser.get("/admin/session", headers=by_new)).json()["role"] == "admin"


async def test_over_tls_the_cookie_is_bound_to_the_host(browser: httpx.AsyncClient):
    url = str(browser.base_url).replace("http:", "https:")
    headers = {"x-forwarded-proto": "https", "origin": url}
    answer = await browser.post("/admin/session", json={"key": STATIC}, headers=headers)
    assert re.fullmatch(
        r"__Host-gptmock=[\w-]{43}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure",
        answer.headers["set-cookie"],
    )
    value = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    # A cookie that any page of the network can set over plain HTTP is not taken over TLS.
    for name, status in (("__Host-gptmock", 200), ("gptmock_session", 401)):
        seen = await browser.get("/admin/session", headers={**headers, "cookie": f"{name}={value}"})
        assert seen.status_code == status


async def test_a_session_ends_with_its_key(browser: httpx.AsyncClient, state: State):
    await signed_in(browser, (await state.keys.create("ada", KeyTerms(role="viewer"))).text.reveal())
    assert (await browser.get("/admin/workers")).status_code == 200
    await state.keys.update("ada", lambda _: KeyTerms(role="user"))
    assert (await browser.get("/admin/workers")).status_code == 403
    await state.keys.revoke("ada")
    assert (await browser.get("/admin/keys")).status_code == 401


@pytest.mark.parametrize("value", ["", "x", "x" * 43, "x" * 5000, "../../keys", "ü", '"quoted"', "a;b", "{tag}"])
async def test_made_up_sessions_are_nobody(browser: httpx.AsyncClient, value: str):
    cookie = f"gptmock_session={value}".encode()
    assert (await browser.get("/admin/session", headers=[(b"cookie", cookie)])).status_code == 401


async def test_the_session_is_not_a_key_for_model_calls(browser: httpx.AsyncClient):
    await signed_in(browser, STATIC)
    assert (await browser.get("/admin/models")).status_code == 200
    assert (await browser.get("/v1/models")).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site", "origin": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"host": "evil.test"},
    ],
)
async def test_a_foreign_page_can_do_nothing_with_the_cookie(
    browser: httpx.AsyncClient, state: State, headers: dict[str, str]
):
    await signed_in(browser, (await state.keys.create("ada", KeyTerms(role="admin"))).text.reveal())
    sent = {"content-type": "application/json", **headers}
    for method, path in (("POST", "/admin/keys"), ("POST", "/admin/session"), ("PATCH", "/admin/keys/ada")):
        refused = await browser.request(method, path, content=b'{"name": "x"}', headers=sent)
        assert refused.status_code in (403, 415, 421), (path, refused.text)
    assert [key.name for key in await state.keys.all()] == ["ada"]


async def test_attempts_to_sign_in_are_limited(browser: httpx.AsyncClient):
    for _ in range(MAX_ATTEMPTS):
        assert (await signed_in(browser, "gm_wrong")).status_code == 401
    refused = await signed_in(browser, "gm_wrong")
    assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (429, True)
    # Whoever shares the address with a guesser gets in all the same, and another address has attempts of its own.
    assert (await signed_in(browser, STATIC)).status_code == 200
    other = await browser.post("/admin/session", json={"key": "gm_wrong"}, headers={"x-forwarded-for": "192.0.2.7"})
    assert other.status_code == 401


async def test_the_addresses_of_one_ipv6_network_are_one_source(browser: httpx.AsyncClient):
    statuses = []
    for number in range(MAX_ATTEMPTS + 1):
        headers = {"x-forwarded-for": f"2001:db8::{number + 1:x}"}
        statuses.append((await browser.post("/admin/session", json={"key": "gm_wrong"}, headers=headers)).status_code)
    assert statuses == [401] * MAX_ATTEMPTS + [429]


async def test_where_no_key_is_needed_any_text_is_not_one(client: httpx.AsyncClient):
    assert (await client.post("/admin/session", json={"key": "anything"})).status_code == 401
    assert (await client.get("/admin/session")).json() == {"role": "admin", "name": None, "signed_in": False}


# --- The page --------------------------------------------------------------------------------


async def test_a_browser_is_led_to_the_page_and_others_are_greeted(client: httpx.AsyncClient):
    led = await client.get("/", headers=PAGE)
    assert (led.status_code, led.headers["location"], led.headers["vary"]) == (302, "/dashboard", "accept")
    greeted = await client.get("/")
    assert (greeted.status_code, greeted.text) == (200, "Ollama is running")


async def test_the_page_and_its_files(client: httpx.AsyncClient):
    page = await client.get("/dashboard", headers=PAGE)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for name, value in SECURITY_HEADERS.items():
        assert page.headers[name] == value
    assert "unsafe" not in page.headers["content-security-policy"]
    # Nothing inline, nothing from elsewhere.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?://", page.text)
    found = re.findall(r'(?:href|src)="(/dashboard/[^"]+)"', page.text)
    assert len(found) == 2
    for path in found:
        file = await client.get(path)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", file.text)
    assert (await client.get("/dashboard/dashboard.js")).status_code == 404


HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'-alert(1)-'",
    "javascript:alert(1)",
    "</title><script>alert(1)</script>",
    "{{base}}",
    "${alert(1)}",
    "<!--",
    "]]>",
)


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_names_stay_text_in_json(client: httpx.AsyncClient, text: str):
    made = await client.post("/admin/keys", json={"name": text, "owner": text, "models": [text], "tokens_per_day": 5})
    assert made.status_code == 200
    for path in ("/admin/keys", "/admin/events", "/admin/audit", "/admin/usage", "/admin/problems"):
        seen = await client.get(path)
        assert seen.headers["content-type"] == "application/json"
        assert isinstance(seen.json(), dict)
    page = await client.get("/dashboard")
    assert text not in page.text or text in ("<!--", "]]>")


async def test_the_stream_begins_with_everything(client: httpx.AsyncClient):
    async with client.stream("GET", "/admin/events", headers={"accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        text = ""
        async for piece in stream.aiter_text():
            text += piece
            if "\n\n" in text:
                break
    assert text.startswith("event: state\ndata: {")
    sections: Any = {"now", "status", "accounts", "problems", "keys", "invitations", "workers", "usage", "models"}
    assert set(json.loads(text.partition("data: ")[2])) == sections
