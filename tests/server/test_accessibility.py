"""The page as axe-core judges it, in a real Chromium: no serious and no critical finding in any of its states."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.simulator.server import Simulator
from tests.clients.environments import NotInstalled, client_axe
from tests.devtools import CHROMIUM, Tab, chromium
from tests.harness import CHAT_PATH, chat, serving_simulator
from tests.server.test_dashboard import holds, press, text_of, write

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium in the PATH")
STATIC = "sk-planted-static-0123456789"
GRAVE = ("serious", "critical")
FIND = """axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations.map((one) => (
    {id: one.id, impact: one.impact, help: one.help, nodes: one.nodes.map((node) => node.html.slice(0, 200))})))"""
Look: TypeAlias = Callable[[str], Awaitable[None]]


@pytest.fixture(scope="module")
def axe() -> str:
    try:
        return client_axe().read_text(encoding="utf-8")
    except NotInstalled as error:
        pytest.skip(f"axe-core could not be installed: {error}")


@pytest.fixture
async def tab(base_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Tab]:
    """A browser that is closed before the server at ``base_url``."""
    assert base_url
    caplog.set_level(logging.INFO, "gptmock")
    async with chromium(tmp_path / "profile") as opened:
        yield opened


@pytest.fixture
def look(tab: Tab, axe: str) -> Look:
    """Let axe-core judge what is shown now."""

    async def judge(state: str) -> None:
        if not await tab.run("typeof axe === 'object'"):
            await tab.run(f"{axe}; true")
        # Nothing that fades in has its final colour before its end.
        await tab.until("document.getAnimations().every((one) => one.playState !== 'running')")
        found: list[dict[str, Any]] = await tab.run(FIND)
        grave = [one for one in found if one["impact"] in GRAVE]
        assert grave == [], state

    return judge


async def test_the_page_and_its_dialogs_in_both_themes_and_at_two_widths(
    tab: Tab, look: Look, client: httpx.AsyncClient, home: Path
):
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state:
        terms = KeyTerms(owner="Ada", rpm=60, tokens_per_day=1000, models=("gpt-6*",))
        await state.keys.create("ci", terms)
    await client.post(CHAT_PATH, json=chat())
    await client.post(CHAT_PATH, json=chat(model="none-such"))
    for theme, width in (("light", 1600), ("dark", 360)):
        await tab.prefers(theme)
        await tab.size(width, 900)
        await tab.open(f"{client.base_url}/dashboard")
        await tab.until(f"{holds('keys', 'ci')} && {holds('models', 'gpt-')} && {holds('problems', 'model_not_found')}")
        await look(f"the page, {theme}, {width}")
        for button, dialog in (
            ("new-key", "key-dialog"),
            ("connect", "connect-dialog"),
            ("add-account", "login-dialog"),
        ):
            await press(tab, button)
            await tab.until(f"document.getElementById('{dialog}').open")
            await look(f"{dialog}, {theme}, {width}")
            await tab.run(f"document.getElementById('{dialog}').close()")
        await tab.run("document.querySelector('[data-id^=revoke]').click()")
        await tab.until("document.getElementById('ask-dialog').open")
        await look(f"a question, {theme}, {width}")


async def test_the_sign_in_and_a_key_that_is_shown(tab: Tab, look: Look, simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, admin_key=STATIC, api_key="sk-other-0123456789abcdef") as url:
        await tab.prefers("light")
        await tab.open(f"{url}/dashboard")
        await tab.until("!document.getElementById('sign-in').hidden")
        await look("the sign-in")
        await write(tab, "sign-in-key", "wrong")
        await tab.key("Enter", 13)
        await tab.until(holds("sign-in-error", "Incorrect"))
        await look("a wrong key")
        await tab.run("document.getElementById('sign-in-key').value = ''")
        await write(tab, "sign-in-key", STATIC)
        await tab.key("Enter", 13)
        await tab.until(holds("who", "admin"))
        await press(tab, "new-key")
        await tab.until("document.getElementById('key-dialog').open")
        await write(tab, "key-name", "ada")
        await tab.key("Enter", 13)
        await tab.until(f"document.getElementById('shown-dialog').open && {text_of('shown-key')}.startsWith('gm_')")
        await look("a key that is shown once")


async def test_the_sign_in_beside_the_board(tab: Tab, look: Look, simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, admin_key=STATIC) as url:
        await tab.prefers("light")
        await tab.open(f"{url}/dashboard")
        await tab.until(holds("models", "gpt-"))
        await press(tab, "sign-in-open")
        await look("the sign-in beside the board")
        await tab.open("about:blank")
