"""The page in a real Chromium by keyboard: the order of Tab, copy buttons, actions on accounts, and the focus."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from gptmock.simulator.server import Simulator
from tests.devtools import CHROMIUM, SHIFT, Tab, chromium
from tests.server.test_client_keys import second_account
from tests.server.test_dashboard import RETURN, holds, press, text_of, write

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium in the PATH")
FOCUS = """(() => { const one = document.activeElement;
  return one.id || one.dataset.id?.split(' ')[0] || one.className || one.tagName; })()"""
"""The focused element: its id, the action of its row, its class, or its tag."""
CATCH = """
  window.copied = [];
  window.later = [];
  navigator.clipboard.writeText = async (text) => {
    if (window.refuses) throw new Error('refused');
    copied.push(text);
  };
  window.setTimeout = (call) => later.push(call);
"""
"""Records what is copied, and what is to happen after a time: a test lets that happen by ``PASS``."""
PASS = "later.splice(0).forEach((call) => call())"


@pytest.fixture
async def state(home: Path) -> AsyncIterator[State]:
    """Another process on the store of the server."""
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as opened:
        yield opened


@pytest.fixture
async def tab(base_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Tab]:
    """A browser with the page; whatever it complains of fails the test. It is closed before the server."""
    caplog.set_level(logging.INFO, "gptmock")
    async with chromium(tmp_path / "profile") as opened:
        await opened.open(f"{base_url}/dashboard")
        await opened.until(f"{holds('models', 'gpt-')} && {holds('accounts', 'default')}")
        yield opened
        assert opened.complaints == []


async def walk(tab: Tab, steps: int, *, back: bool = False) -> list[str]:
    """What has the focus after each press of Tab."""
    stops = []
    for _ in range(steps):
        await tab.key("Tab", 9, modifiers=SHIFT if back else 0)
        stops.append(await tab.run(FOCUS))
    return stops


async def walk_to(tab: Tab, place: str) -> None:
    """Press Tab until ``place`` has the focus."""
    for _ in range(60):
        if (await walk(tab, 1)) == [place]:
            return
    raise AssertionError(f"Tab does not reach {place}")


async def test_tab_goes_through_the_page_and_a_dialog_gives_the_focus_back(tab: Tab):
    before = ["skip", "connect", "theme", "pause", "add-account", "now"]
    after = ["invite", "new-key", "models", "problems", "workers", "try-model", "try-effort", "try-text", "main"]
    stops = [*before, *["day"] * 14, *after]
    assert await walk(tab, len(stops)) == stops
    assert await walk(tab, len(stops) - 2, back=True) == stops[-2:0:-1]
    # A dialog is entered, walked through and left by keys.
    assert await tab.run(FOCUS) == "connect"
    await tab.key("Enter", RETURN)
    await tab.until("document.getElementById('connect-dialog').open")
    assert await tab.run(FOCUS) == "tab-0"
    assert await walk(tab, 3) == ["tab-panel", "tab-copy", "quiet"]
    await tab.key("Escape", 27)
    await tab.until("!document.getElementById('connect-dialog').open")
    assert await tab.run(FOCUS) == "connect"
    await walk_to(tab, "new-key")
    await tab.key("Enter", RETURN)
    await tab.until("document.getElementById('key-dialog').open")
    assert await tab.run(FOCUS) == "key-name"
    await tab.key("Escape", 27)
    await tab.until("!document.getElementById('key-dialog').open")
    assert await tab.run(FOCUS) == "new-key"


async def test_the_copy_buttons_copy_what_is_shown(tab: Tab):
    await press(tab, "connect")
    await tab.until("document.getElementById('connect-dialog').open")
    await tab.run(CATCH)
    shown = []
    for number in range(await tab.run("document.getElementById('tabs').children.length")):
        await tab.run(f"document.getElementById('tab-{number}').click()")
        shown.append(await tab.run("document.getElementById('tab-code').textContent"))
        await press(tab, "tab-copy")
        await tab.until(f"copied.length === {number + 1} && {text_of('tab-copy')} === 'Copied'")
    assert len(set(shown)) == len(shown)
    assert await tab.run("copied") == shown
    # Pressed again before the time is over, it has its own label again all the same.
    await tab.run(PASS)
    assert await tab.run(text_of("tab-copy")) == "Copy"
    await tab.run("window.refuses = true; copied.length = 0")
    await press(tab, "tab-copy")
    await tab.until(f"{text_of('tab-copy')} === 'Select it and copy it'")
    await tab.run(PASS)
    assert await tab.run(text_of("tab-copy")) == "Copy"

    # The code of a sign-in, and a new key.
    await tab.run("window.refuses = false")
    await tab.key("Escape", 27)
    await press(tab, "add-account")
    await tab.until(f"{text_of('login-code')}.length > 5")
    await press(tab, "login-copy")
    await tab.until(f"copied.length === 1 && copied[0] === {text_of('login-code')}")
    await tab.key("Escape", 27)
    await press(tab, "new-key")
    await write(tab, "key-name", "ada")
    await tab.key("Enter", RETURN)
    await tab.until(f"document.getElementById('shown-dialog').open && {text_of('shown-key')}.startsWith('gm_')")
    await press(tab, "shown-copy")
    await tab.until(f"copied.length === 2 && copied[1] === {text_of('shown-key')}")


async def test_accounts_are_paused_resumed_and_made_the_default(
    tab: Tab, state: State, simulator: Simulator, tmp_path: Path
):
    (ada,) = await state.vault.logins()
    bob = await second_account(state, simulator, tmp_path)
    await tab.until(holds("accounts", "bob"))

    async def act(action: str, shown: str) -> None:
        await tab.run(f"document.querySelector('[data-id=\"{action} {bob.id}\"]').focus()")
        await tab.key("Enter", RETURN)
        await tab.until(f"{FOCUS} === '{shown}'")
        assert await tab.run(f"document.activeElement.dataset.id === '{shown} {bob.id}'"), "the focus stays in its row"

    assert await state.vault.default() == ada.account.id
    await act("pause", "resume")
    assert [await state.vault.is_paused(one) for one in (ada.account.id, bob.id)] == [False, True]
    assert "paused" in await tab.run(text_of("accounts"))
    await act("resume", "pause")
    assert not await state.vault.is_paused(bob.id)
    await act("default", "pause")
    assert await state.vault.default() == bob.id
    assert await tab.run("document.querySelectorAll('#accounts [data-id^=default]').length") == 1


async def test_the_focus_is_not_lost_with_the_row_of_a_key(tab: Tab, client: httpx.AsyncClient, state: State):
    await state.keys.create("ada", KeyTerms())
    await tab.until(holds("keys", "ada"))
    await walk_to(tab, "rotate")
    await tab.key("Enter", RETURN)
    await tab.until("document.getElementById('ask-dialog').open")
    # The row is drawn again while the question is open.
    await client.patch("/admin/keys/ada", json={"rpm": 60})
    await tab.until(holds("keys", "60"))
    await press(tab, "ask-yes")
    await tab.until("document.getElementById('shown-dialog').open && !document.getElementById('ask-dialog').open")
    await tab.key("Escape", 27)
    await tab.until(f"{FOCUS} === 'rotate'")
    assert await walk(tab, 1) == ["revoke"]
    await tab.key("Enter", RETURN)
    await tab.until("document.getElementById('ask-dialog').open")
    await press(tab, "ask-yes")
    await tab.until(holds("keys", "No keys yet"))
    await tab.until(f"{FOCUS} === 'keys-head'")


async def test_the_focus_stays_on_send_while_an_answer_streams(tab: Tab):
    await tab.run("document.getElementById('try-text').value = 'Say something'")
    await tab.run("document.getElementById('try-text').focus()")
    assert await walk(tab, 1) == ["main"]
    await tab.key("Enter", RETURN)
    await tab.until(f"{text_of('try-answer')}.length > 3 && !document.querySelector('#try button').ariaDisabled")
    assert await tab.run(FOCUS) == "main"
