"""The page in a real Chromium: sign-in, live numbers, keys, themes, widths, Try it and sign-in by device code."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.simulator.server import Simulator
from tests.devtools import CHROMIUM, Tab, chromium
from tests.harness import CHAT_PATH, chat, serving_simulator
from tests.harness import client as open_client

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium in the PATH")
ADMIN = "sk-planted-admin-0123456789"
STATIC = "sk-planted-static-0123456789"
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"
RETURN = 13


@pytest.fixture
async def tab(base_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Tab]:
    """A browser; whatever it complains of fails the test. It is closed before the server at ``base_url``."""
    assert base_url
    # The page is told of failed calls by what the log is told.
    caplog.set_level(logging.INFO, "gptmock")
    async with chromium(tmp_path / "profile") as opened:
        yield opened
        assert opened.complaints == []


def text_of(place: str) -> str:
    return f"document.getElementById('{place}').innerText"


def holds(place: str, text: str) -> str:
    return f"{text_of(place)}.includes({text!r})"


async def press(tab: Tab, place: str) -> None:
    """By keyboard."""
    await tab.run(f"document.getElementById('{place}').focus()")
    await tab.key("Enter", RETURN)


async def write(tab: Tab, place: str, text: str) -> None:
    await tab.run(f"document.getElementById('{place}').focus()")
    await tab.type(text)


async def test_the_operators_page(tab: Tab, client: httpx.AsyncClient, simulator: Simulator):
    await tab.open(f"{client.base_url}/")
    await tab.until("location.pathname === '/dashboard'")
    await tab.until(holds("state-text", "ready"))
    await tab.until(holds("accounts", "default"))
    assert await tab.run("document.getElementById('sign-in-open').hidden"), "the operator needs no key"
    await tab.until(holds("models", "gpt-"))
    # A key, by keyboard, whose name is hostile; its text is shown once.
    await press(tab, "new-key")
    await tab.until("document.getElementById('key-dialog').open")
    await write(tab, "key-name", HOSTILE)
    await write(tab, "key-rpm", "60")
    await tab.key("Enter", RETURN)
    await tab.until("document.getElementById('shown-dialog').open")
    key = await tab.run(text_of("shown-key"))
    assert key.startswith("gm_")
    await tab.run("document.querySelector('#shown-dialog [data-close]').click()")
    await tab.until(holds("keys", HOSTILE))
    # Live: a call of this key, and one that fails.
    headers = {"authorization": f"Bearer {key}"}
    assert (await client.post(CHAT_PATH, json=chat(), headers=headers)).status_code == 200
    simulator.state.scenes.extend(["429-usage"])
    assert (await client.post(CHAT_PATH, json=chat(), headers=headers)).status_code == 429
    await tab.until(holds("problems", "usage_limit_reached"))
    await tab.until(holds("problems", HOSTILE))
    await tab.until(f"!{holds('chart-text', 'today 0 in')}")
    # It is revoked after a question, and the focus comes back.
    await tab.run("document.querySelector('[data-id^=revoke]').focus()")
    await tab.key("Enter", RETURN)
    await tab.until("document.getElementById('ask-dialog').open")
    await press(tab, "ask-yes")
    await tab.until(holds("keys", "No keys yet"))
    assert (await client.get("/v1/models", headers=headers)).status_code == 401
    assert await tab.run("document.title") == "gptmock"
    assert not await tab.run("document.querySelector('main img, main script, dialog img')")


async def test_how_to_connect_and_both_themes_at_all_widths(tab: Tab, client: httpx.AsyncClient):
    await tab.prefers("dark")
    await tab.open(f"{client.base_url}/dashboard")
    await tab.until(holds("models", "gpt-"))
    papers = [await tab.run("getComputedStyle(document.body).backgroundColor")]
    await press(tab, "theme")
    papers.append(await tab.run("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(20, 22, 26)", "rgb(245, 246, 248)"]
    await tab.open(f"{client.base_url}/dashboard")
    await tab.until(holds("models", "gpt-"))
    assert await tab.run("getComputedStyle(document.body).backgroundColor") == papers[1], "the choice is kept"
    for width in (360, 400, 640, 1024, 1600):
        await tab.size(width, 800)
        assert await tab.run("document.documentElement.scrollWidth") <= width
    await press(tab, "connect")
    await tab.until("document.getElementById('connect-dialog').open")
    count = await tab.run("document.getElementById('tabs').children.length")
    assert "Claude Code" in await tab.run(text_of("tabs"))
    for _ in range(count):
        code = await tab.run(text_of("tab-code"))
        assert str(client.base_url).rstrip("/") in code
        if await tab.run("document.querySelector('[aria-selected=true]').innerText") == "Claude Code":
            told = (await client.get("/admin/clients")).json()["clients"]
            assert code == next(one for one in told if one["name"] == "claude")["snippets"][0]["text"]
            assert "ANTHROPIC_BASE_URL" in code
        await tab.run("document.querySelector('[aria-selected=true]').focus()")
        await tab.key("ArrowRight", 39)
    await tab.key("Escape", 27)
    await tab.until("!document.getElementById('connect-dialog').open")
    assert await tab.run("document.activeElement.id") == "connect"
    nameless = """[...document.querySelectorAll('button, input, select, a')].filter((one) => one.offsetParent
        && !(one.innerText || one.ariaLabel || one.labels?.length)).map((one) => one.outerHTML)"""
    assert await tab.run(nameless) == []


async def test_an_answer_streams_and_an_account_is_added(tab: Tab, client: httpx.AsyncClient, simulator: Simulator):
    await tab.open(f"{client.base_url}/dashboard")
    await tab.until(holds("models", "gpt-"))
    await write(tab, "try-text", "Say something")
    await tab.key("Enter", RETURN)
    await tab.until(f"{text_of('try-answer')}.length > 3 && !document.querySelector('#try button').ariaDisabled")
    assert simulator.state.model_call_count == 1
    await press(tab, "add-account")
    await tab.until(f"{text_of('login-code')}.length > 5")
    code = await tab.run(text_of("login-code"))
    decision = {"user_code": code, "email": "bob@example.test"}
    async with httpx.AsyncClient(trust_env=False) as issuer:
        decided = await issuer.post(f"{simulator.issuer_url}/simulator/device/approve", json=decision)
        assert decided.json() == {"decided": 1}
    await tab.until(holds("login-state", "Signed in as bob@example.test"))
    await tab.until(holds("accounts", "bob@example.test"))
    await tab.run("document.querySelector('#login-dialog [data-close]').click()")


async def test_a_member_signs_in_and_sees_its_own(tab: Tab, simulator: Simulator, home: Path):
    async with (
        open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state,
        serving_simulator(simulator, home, api_key=STATIC) as url,
        open_client(url) as opened,
    ):
        key = (await state.keys.create("ada", KeyTerms(rpm=5))).text.reveal()
        await state.keys.create("other", KeyTerms())
        await tab.open(f"{url}/dashboard")
        await tab.until("!document.getElementById('sign-in').hidden")
        await write(tab, "sign-in-key", "gm_wrong")
        await tab.key("Enter", RETURN)
        await tab.until(holds("sign-in-error", "Incorrect API key"))
        await tab.run("document.getElementById('sign-in-key').value = ''")
        await write(tab, "sign-in-key", key)
        await tab.key("Enter", RETURN)
        await tab.until(holds("who", "ada (user)"))
        await tab.until(holds("keys", "ada"))
        shown = await tab.run("document.body.innerText")
        assert "other" not in shown
        assert "ada@" not in shown
        assert not await tab.run("document.getElementById('new-key').offsetParent")
        assert key not in await tab.run(
            "document.documentElement.outerHTML + document.cookie + JSON.stringify(localStorage)"
        )
        assert (await opened.post(CHAT_PATH, json=chat(), headers={"authorization": f"Bearer {key}"})).is_success
        await tab.until(holds("keys", "today 1 requests"))
        await state.keys.revoke("ada")
        await tab.until("!document.getElementById('sign-in').hidden")
        assert not await tab.run("document.getElementById('keys').children.length")
    # The refusals of the two wrong keys, which the browser reports itself.
    tab.complaints[:] = [one for one in tab.complaints if "status of 401" not in one]


async def test_where_no_key_is_needed_a_reader_can_sign_in_with_one(tab: Tab, simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, admin_key=ADMIN) as url:
        await tab.open(f"{url}/dashboard")
        await tab.until(holds("models", "gpt-"))
        assert await tab.run("document.getElementById('sign-in').hidden")
        assert "not signed in" in await tab.run(text_of("who"))
        await press(tab, "sign-in-open")
        assert await tab.run("document.activeElement.id") == "sign-in-key"
        for width in (360, 1024):
            await tab.size(width, 800)
            assert await tab.run("document.documentElement.scrollWidth") <= width
        await press(tab, "sign-in-open")
        assert await tab.run("document.getElementById('sign-in').hidden"), "the same button closes it"
        await press(tab, "sign-in-open")
        await write(tab, "sign-in-key", ADMIN)
        await tab.key("Enter", RETURN)
        await tab.until(holds("who", "GPTMOCK_ADMIN_KEY (admin)"))
        await tab.until(holds("accounts", "default"))
        assert await tab.run("document.getElementById('sign-in').hidden")
        assert await tab.run("document.getElementById('sign-in-open').hidden")
        await press(tab, "new-key")
        await write(tab, "key-name", "ada")
        await tab.key("Enter", RETURN)
        await tab.until("document.getElementById('shown-dialog').open")
        key = await tab.run(text_of("shown-key"))
        await tab.run("document.querySelector('#shown-dialog [data-close]').click()")
        await tab.until(holds("keys", "ada"))
        # Nothing of what the admin saw is left for the next reader, who needs no key.
        await press(tab, "sign-out")
        await tab.until("!document.getElementById('sign-in-open').hidden")
        await tab.until("document.activeElement.id === 'main'")
        await tab.until(holds("models", "gpt-"))
        await press(tab, "connect")
        await tab.until("document.getElementById('connect-dialog').open")
        shown = await tab.run("document.body.innerText")
        assert key not in shown
        assert "ada" not in shown
        # The server ends before the browser: no stream is left for it to cut.
        await tab.open("about:blank")
