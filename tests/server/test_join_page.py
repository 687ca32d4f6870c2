"""The page of an invitation in a real Chromium, from the admin's dialog to the member's own page, by keyboard."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gptmock.clients import invitation_text
from gptmock.simulator.server import Simulator
from tests.devtools import CHROMIUM, Tab, chromium
from tests.harness import client as open_client
from tests.harness import serving_simulator
from tests.server.test_dashboard import RETURN, holds, press, text_of, write
from tests.server.test_invitations import ADMIN, approve, bearer, fast_polls, invited
from tests.server.test_page_keyboard import CATCH, PASS

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium in the PATH"),
    pytest.mark.usefixtures("fast_polls"),
]
__all__ = ["fast_polls"]
BASE = "/team"
WIDTHS = (360, 400, 1024, 1600)
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
FOCUS = "document.activeElement.id"
CONTRAST = """(() => {
  const light = (text) => { const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = light(getComputedStyle(document.querySelector('.step')).backgroundColor);
  return [...document.querySelectorAll('.step:not([hidden]) :is(h2, p, li, dt, dd, a)')].map((one) => {
    const ink = light(getComputedStyle(one).color);
    return [(Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05), one.outerHTML.slice(0, 80)];
  }).filter(([ratio]) => ratio < 4.5);
})()"""


@pytest.fixture
async def guest(simulator: Simulator, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key, of a server below a base path."""
    async with (
        serving_simulator(simulator, home, admin_key=ADMIN, api_key="sk-planted-static", base_path=BASE) as url,
        open_client(f"{url}{BASE}") as opened,
    ):
        yield opened


@pytest.fixture
async def tab(guest: httpx.AsyncClient, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Tab]:
    """A browser; whatever it complains of fails the test. It is closed before the server of ``guest``."""
    assert not guest.is_closed
    caplog.set_level(logging.INFO, "gptmock")
    async with chromium(tmp_path / "profile") as opened:
        yield opened
        assert opened.complaints == []


def address(guest: httpx.AsyncClient, path: str) -> str:
    return f"{str(guest.base_url).rstrip('/')}/{path}"


async def assert_readable(tab: Tab) -> None:
    """In both themes and at all widths; the contrast is that of WCAG 2.1, 1.4.3."""
    for scheme in ("light", "dark"):
        await tab.prefers(scheme)
        assert await tab.run(CONTRAST) == [], scheme
        for width in WIDTHS:
            await tab.size(width, 800)
            assert await tab.run(FITS), width


async def link_from_the_dashboard(tab: Tab, guest: httpx.AsyncClient) -> str:
    """The operator signs in, invites, gets the link once, and signs out."""
    await tab.open(address(guest, "dashboard"))
    await tab.until("!document.getElementById('sign-in').hidden")
    await write(tab, "sign-in-key", ADMIN)
    await tab.key("Enter", RETURN)
    await tab.until(holds("models", "gpt-"))
    await press(tab, "invite")
    await tab.until("document.getElementById('invite-dialog').open")
    await write(tab, "invite-name", "grace <b>")
    await write(tab, "invite-rpm", "60")
    await tab.key("Enter", RETURN)
    await tab.until("document.getElementById('shown-dialog').open")
    link = await tab.run(text_of("shown-key"))
    assert link.startswith(f"{address(guest, 'join')}#gi_")
    await tab.run("document.querySelector('#shown-dialog [data-close]').click()")
    await tab.until(holds("invitations", "grace <b>"))
    await tab.until("document.getElementById('shown-key').textContent === ''")
    await tab.run("document.getElementById('sign-out').click()")
    await tab.until("!document.getElementById('sign-in').hidden")
    return str(link)


async def test_from_the_admins_link_to_the_members_own_page(tab: Tab, guest: httpx.AsyncClient, simulator: Simulator):
    link = await link_from_the_dashboard(tab, guest)
    # The member opens it, and signs in by device code.
    await tab.open(link)
    await tab.until(f"{FOCUS} === 'offer-head'")
    assert "grace <b>" in await tab.run(text_of("offer"))
    assert "60 requests a minute" in await tab.run(text_of("offer-terms"))
    await assert_readable(tab)
    await press(tab, "begin")
    await tab.until(f"{text_of('device-code')}.length > 5")
    assert await tab.run(FOCUS) == "device-head"
    assert await tab.run("document.getElementById('device-link').rel") == "noopener noreferrer"
    await assert_readable(tab)
    # A reload loses nothing: the invitation is still in the address.
    await tab.send("Page.reload")
    await tab.until(f"{FOCUS} === 'offer-head'")
    await press(tab, "begin")
    await tab.until(f"{text_of('device-code')}.length > 5")
    await approve(simulator, await tab.run(text_of("device-code")), "grace@member.test")
    await tab.until(f"{FOCUS} === 'done-head'")
    key = await tab.run(text_of("done-key"))
    assert key.startswith("gm_")
    assert "grace@member.test" in await tab.run(text_of("done-facts"))
    await assert_readable(tab)
    await tab.run(CATCH)
    for count in (1, 2):
        await press(tab, "done-copy")
        await tab.until(f"copied.length === {count} && {text_of('done-copy')} === 'Copied'")
    await tab.run(PASS)
    assert await tab.run(text_of("done-copy")) == "Copy the key"
    assert await tab.run("copied") == [key, key]
    assert await tab.run("location.href") == address(guest, "join")
    assert not await tab.run("document.querySelector('main b')")
    # Their own page, without typing the key.
    await press(tab, "done-open")
    await tab.until(holds("who", "grace <b> (user)"))
    await tab.until(holds("accounts", "grace@member.test"))
    shown = await tab.run("document.documentElement.outerHTML + document.cookie + JSON.stringify({...localStorage})")
    assert key not in shown
    assert "ada@" not in shown
    # Used up, told by a page that says what to do.
    await tab.open("about:blank")
    await tab.open(link)
    await tab.until(f"{FOCUS} === 'ended-head'")
    assert "Ask whoever sent you the link for another one" in await tab.run(text_of("ended"))
    await assert_readable(tab)
    # The refusals, which the browser reports itself.
    tab.complaints[:] = [one for one in tab.complaints if "status of 401" not in one and "status of 404" not in one]


async def test_links_that_are_wrong_or_cut_say_what_to_do(
    tab: Tab, guest: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
):
    wrong = invitation_text("a" * 8, "b" * 43).reveal()
    for token, said in (("", "not complete"), (wrong, "Ask whoever"), ("gi_<b>x</b>", "Ask whoever")):
        await tab.open("about:blank")
        await tab.open(address(guest, f"join#{token}" if token else "join"))
        await tab.until(f"{FOCUS} === 'ended-head'")
        assert said in await tab.run(text_of("ended"))
        assert not await tab.run("document.getElementById('ended-again').offsetParent")
    # One that is right is read from the same tab.
    token = await invited(guest, "ada")
    await tab.run(f"location.hash = '{token}'")
    await tab.until(f"{FOCUS} === 'offer-head'")
    # Revoked while the page is open.
    assert (await guest.delete("/admin/invitations/ada", headers=bearer(ADMIN))).status_code == 200
    await press(tab, "begin")
    await tab.until(f"{FOCUS} === 'ended-head'")
    assert wrong[12:] not in caplog.text
    assert token[12:] not in caplog.text
    tab.complaints[:] = [one for one in tab.complaints if "status of 404" not in one]
