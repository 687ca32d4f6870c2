"""The page in a real Chromium by keyboard: the order of Tab, and the focus."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.devtools import CHROMIUM, SHIFT, Tab, chromium
from tests.server.test_dashboard import RETURN, holds

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium in the PATH")
FOCUS = """(() => { const one = document.activeElement;
  return one.id || one.dataset.id?.split(' ')[0] || one.className || one.tagName; })()"""
"""The focused element: its id, the action of its row, its class, or its tag."""


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
