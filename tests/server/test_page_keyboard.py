"""The page in a real Chromium by keyboard: the order of Tab, copy buttons, and the focus."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.devtools import CHROMIUM, SHIFT, Tab, chromium
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
