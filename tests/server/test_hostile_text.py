"""Scripts, headers and requests that somebody else chose: see ``tests/server/hostile.py``."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.login import pages
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from gptmock.simulator.catalogue import Catalogue, Model
from gptmock.simulator.server import Simulator
from gptmock.stores.auth_file import read_login
from tests.devtools import CHROMIUM, Tab, chromium
from tests.harness import CHAT_PATH, chat, client, serving_simulator, write_login
from tests.server import hostile
from tests.server.hostile import LINES, PLACES, Reflected, Shown, shown_cases
from tests.upstream.test_webhook import NOTICE, webhook

STATIC = "sk-planted-static-0123456789"
CASES = shown_cases()


def test_there_are_as_many_cases_as_promised():
    assert hostile.TOTAL >= 60
    assert len({case.number for case in CASES}) == len(CASES) == len(PLACES) * len(hostile.PAYLOADS)


@pytest.fixture
async def state(home: Path) -> AsyncIterator[State]:
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as opened:
        yield opened


def at(place: str) -> list[Shown]:
    return [case for case in CASES if case.place == place]


# --- What the page shows ----------------------------------------------------------------------


async def plant(state: State, simulator: Simulator, home: Path) -> None:
    """What the store holds before the page is opened."""
    for name, owner, models in zip(at("key.name"), at("key.owner"), at("key.models"), strict=True):
        await state.keys.create(name.text, KeyTerms(owner=owner.text, models=(models.text,)))
    for number, (label, plan) in enumerate(zip(at("account.label"), at("account.plan"), strict=True)):
        document = simulator.state.logins.issue(email=f"{number}@example.test", plan=plan.text).auth_json()
        login = read_login(write_login(home / f"account-{number}", document))
        assert login is not None
        await state.vault.enroll(login, label=label.text)
    catalogue = simulator.state.catalogue
    entry = catalogue.models["gpt-5.5"].entry
    made = {case.text: Model({**entry, "slug": case.text, "display_name": case.text}) for case in at("catalogue.model")}
    simulator.state.catalogue = Catalogue({**catalogue.models, **made})


async def fail(opened: httpx.AsyncClient) -> None:
    """Calls of hostile models, and errors with hostile codes."""
    for case in at("request.model"):
        assert (await opened.post(CHAT_PATH, json=chat(model=case.text))).status_code == 404
    for case in at("upstream.error_code"):
        await opened.post(CHAT_PATH, json=chat(f"scene:failed-mid:{case.text}"))


TEXT = """[document.body.textContent, ...[...document.querySelectorAll('*')].flatMap(
    (one) => [one.ariaLabel ?? '', one.title ?? '', one.value ?? ''])].join('\\n')"""


async def answered(tab: Tab, case: Shown) -> None:
    """The model says what it was asked to."""
    await tab.run(f"document.getElementById('try-text').value = {json.dumps('Say ' + case.text)}")
    await tab.run("document.querySelector('#try button').click()")
    await tab.until(
        f"document.getElementById('try-answer').textContent.includes({json.dumps(case.text)})"
        " && !document.querySelector('#try button').ariaDisabled"
    )


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium in the PATH")
async def test_the_page_shows_all_of_them_as_text(
    simulator: Simulator, home: Path, state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "gptmock")
    await plant(state, simulator, home)
    async with serving_simulator(simulator, home) as url, client(url) as opened, chromium(tmp_path / "profile") as tab:
        await tab.open(f"{url}/dashboard")
        await fail(opened)
        shown = [case for case in CASES if case.place not in ("upstream.error_code", "model.answer")]
        for case in shown:
            await tab.until(f"{TEXT}.includes({json.dumps(case.text)})")
        for case in at("model.answer"):
            await answered(tab, case)
        problems = (await opened.get("/admin/problems")).json()["problems"]
        codes = {one["code"] for one in problems}
        # An unknown code of the upstream may be shown or not; what is shown is text, too.
        for case in at("upstream.error_code"):
            if case.text in codes:
                await tab.until(f"{TEXT}.includes({json.dumps(case.text)})")
        taken = await tab.run("[...document.querySelectorAll('[id^=xss-]')].map((one) => one.outerHTML)")
        assert taken == []
        assert (
            await tab.run("document.querySelectorAll('iframe, main img, main script, dialog script, base').length") == 0
        )
        assert await tab.run("document.title") == "gptmock"
        assert tab.complaints == [], "nor was anything stopped by the policy alone"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium in the PATH")
async def test_the_page_of_a_sign_in_shows_the_issuers_words_as_text(tmp_path: Path):
    """The page is at a port of its own, and its text is the issuer's."""
    shown = [pages.failed(one.text) for one in CASES[:8]] + [pages.signed_in(one.text) for one in CASES[8:16]]
    served = iter(shown)

    connections: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A browser also opens connections that it does not use.
        connections.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(next(served).response() if head.startswith(b"GET /auth") else pages.NOT_FOUND.response())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, chromium(tmp_path / "profile") as tab:
        for number, case in enumerate(CASES[:16]):
            await tab.open(f"http://127.0.0.1:{port}/auth/{number}")
            await tab.until(f"location.pathname === '/auth/{number}' && {TEXT}.includes({json.dumps(case.text)})")
            assert await tab.run("document.querySelectorAll('[id^=xss-], script, img, iframe').length") == 0
        assert [one for one in tab.complaints if not one.startswith("Failed to load resource")] == []
    for connection in connections:
        connection.close()
        with suppress(ConnectionError):
            await connection.wait_closed()


# --- What an answer repeats -------------------------------------------------------------------


@pytest.mark.parametrize("case", hostile.REFLECTED, ids=lambda case: f"{case.method} {case.path}")
async def test_what_an_answer_repeats_is_json(base_url: str, case: Reflected):
    async with client(base_url) as opened:
        for shown in CASES[: len(hostile.PAYLOADS)]:
            path = case.path.replace("TEXT", quote(shown.text, safe=""))
            body = json.loads(json.dumps(case.body).replace('"TEXT"', json.dumps(shown.text))) if case.body else None
            # As a browser that was led there.
            headers = {"accept": "text/html,*/*;q=0.8", "sec-fetch-mode": "navigate"}
            answer = await opened.request(case.method, path, json=body, headers=headers)
            kinds = ("application/json", "application/x-ndjson")
            assert answer.headers["content-type"] in kinds, (path, answer.status_code)
            assert answer.status_code >= 400 or case.path == "/api/pull", path
            assert isinstance(json.loads(answer.text.splitlines()[0]), dict)


@pytest.mark.parametrize(("what", "path", "members"), hostile.HEADER_CASES, ids=lambda one: str(one)[:40])
async def test_no_string_of_a_request_makes_a_header(
    client: httpx.AsyncClient, simulator: Simulator, what: str, path: str, members: dict[str, Any]
):
    body: dict[str, Any] = {"model": "gpt-5.5", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    if path == "/v1/responses":
        body = {"model": "gpt-5.5", "input": "x"}
    if path == "/v1/completions":
        body = {"model": "gpt-5.5", "prompt": "x"}
    for text in LINES:
        given = json.loads(json.dumps(members).replace('"TEXT"', json.dumps(text)))
        answer = await client.post(path, json={**body, **given})
        assert answer.status_code in (200, 400, 404), (what, answer.text)
        assert not {"set-cookie", "x-planted"} & set(answer.headers)
        assert all(value.isprintable() for value in answer.headers.values())
    for call in simulator.state.model_calls():
        assert "x-planted" not in call.headers
        assert all(value.isprintable() for value in call.headers.values())


@pytest.mark.parametrize("text", LINES)
async def test_no_name_of_a_key_or_account_has_a_line_end(client: httpx.AsyncClient, text: str):
    for members in ({"name": text}, {"name": "ada", "owner": text}, {"name": "ada", "models": [text]}):
        assert (await client.post("/admin/keys", json=members)).status_code == 400, members
    headers = {"accept": "text/event-stream"}
    if text[1] in "\r\n\x00":
        refused = await client.post("/admin/login/device", json={"label": text}, headers=headers)
        assert refused.status_code == 400
    # What a client calls its request is repeated in a header only if it is a plain word.
    answer = await client.get("/v1/models", headers={"x-request-id": quote(text, safe="")})
    assert answer.headers["x-request-id"].isprintable()


async def test_the_webhook_is_told_in_json_whatever_an_account_is_called():
    hook, requests = webhook(*[204] * (len(LINES) + len(hostile.PAYLOADS)))
    for text in (*LINES, *hostile.PAYLOADS):
        await hook.send(type(NOTICE)(NOTICE.type, NOTICE.at, {"account": text, "message": text}))
    for request, text in zip(requests, (*LINES, *hostile.PAYLOADS), strict=True):
        assert json.loads(request.content)["data"]["account"] == text
        assert set(request.headers) & {"set-cookie", "x-planted"} == set()
        assert b"\n" not in request.content


# --- Requests of other pages, and cookies of others -------------------------------------------


@pytest.fixture
async def browser(simulator: Simulator, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A browser whose reader has signed in as an admin."""
    async with (
        serving_simulator(simulator, home, admin_key=STATIC) as url,
        client(url, headers={"sec-fetch-site": "same-origin", "origin": url}) as opened,
    ):
        yield opened


async def test_another_page_changes_nothing_with_the_readers_cookie(browser: httpx.AsyncClient, state: State):
    await state.keys.create("ada", KeyTerms())
    assert (await browser.post("/admin/session", json={"key": STATIC})).status_code == 200
    for what, headers in hostile.FOREIGN:
        sent = {**browser.headers, "content-type": "application/json", **headers}
        sent = {name: value for name, value in sent.items() if value}
        for method, path in hostile.CHANGES:
            request = httpx.Request(method, browser.base_url.join(path), headers=sent, content=b'{"name": "x"}')
            request.headers["cookie"] = f"gptmock_session={browser.cookies['gptmock_session']}"
            refused = await browser.send(request)
            assert refused.status_code in (403, 415, 421), (what, path, refused.text)
            assert "access-control-allow-origin" not in refused.headers
    (key,) = await state.keys.all()
    assert (key.name, key.rotated_at) == ("ada", None)
    assert [login.paused for login in await state.vault.logins()] == [False]
    assert (await browser.get("/admin/session")).json()["role"] == "admin", "nor was the reader signed out"


@pytest.mark.parametrize(("what", "cookie"), hostile.FIXED)
async def test_a_session_from_before_the_sign_in_is_not_the_readers(
    browser: httpx.AsyncClient, state: State, what: str, cookie: str
):
    own = (await state.keys.create("mallory", KeyTerms(role="user"))).text.reveal()
    attackers = (await browser.post("/admin/session", json={"key": own})).cookies["gptmock_session"]
    browser.cookies.clear()
    planted = cookie.replace("OWN", attackers)
    signed_in = await browser.post("/admin/session", json={"key": STATIC}, headers={"cookie": planted})
    assert signed_in.status_code == 200
    value = signed_in.cookies["gptmock_session"]
    assert value not in planted, what
    assert attackers != value
    browser.cookies.clear()
    for text in (planted, f"gptmock_session={attackers}"):
        seen = await browser.get("/admin/session", headers={"cookie": text})
        assert seen.status_code == 401 or seen.json()["role"] == "user", (what, "the attacker is not the reader")
    seen = await browser.get("/admin/session", headers={"cookie": f"gptmock_session={value}"})
    assert seen.json()["role"] == "admin"
