"""The browser login against the simulator's issuer: redirects, pasted URLs, cancels, ports, forged requests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import httpx
import pytest

from gptmock.errors import LoginRefused, LoginUnavailable
from gptmock.login.callback import CallbackServer
from gptmock.login.flow import LoginSkipped
from tests.harness import until
from tests.login.site import Site, Waiting
from tests.ports import free_port

Callback = Callable[[Site, Waiting, str], Awaitable[httpx.Response]]


def exchanges(site: Site) -> tuple[int, int]:
    """Codes that the issuer took, and codes that it refused."""
    return site.simulator.state.tokens_ok, site.simulator.state.tokens_refused


async def test_a_browser_that_comes_back_signs_in(site: Site):
    async with site.waiting() as waiting:
        page = await site.browser.get(waiting.attempt.url, follow_redirects=True)
        login = await waiting.result
    assert page.status_code == 200
    assert "Signed in" in page.text
    assert "demo@example.test" in page.text
    assert login.label == "demo@example.test"
    held = await site.another_process().load(login.account.id)
    assert site.simulator.state.logins.find(held.access_token.reveal()) is not None
    for secret in (held.access_token, held.refresh_token, waiting.attempt._attempt.state):
        assert secret is not None
        assert secret.reveal() not in page.text


async def test_the_url_asks_for_what_codex_asks_for(site: Site):
    async with site.waiting() as waiting:
        params = dict(httpx.URL(waiting.attempt.url).params)
    assert params.pop("state")
    assert len(params.pop("code_challenge")) == 43
    assert params == {
        "response_type": "code",
        "client_id": "app_EMoamEEZ73f0CkXaXp7hrann",
        "redirect_uri": waiting.attempt.redirect_uri,
        "scope": "openid profile email offline_access",
        "code_challenge_method": "S256",
        "id_token_add_organizations": "true",
        "codex_cli_simplified_flow": "true",
        "originator": "gptmock",
    }
    assert waiting.attempt.redirect_uri.startswith("http://localhost:")
    assert "scope=openid%20profile" in waiting.attempt.url


# --- The matrix: 20 callbacks, one of them accepted ------------------------------------------


def _with(url: str, **changes: str | None) -> str:
    params = {**dict(httpx.URL(url).params), **changes}
    return str(httpx.URL(url, params={name: value for name, value in params.items() if value is not None}))


def _raw(request: bytes) -> Callback:
    async def send(_: Site, waiting: Waiting, right: str) -> httpx.Response:
        target = httpx.URL(right).raw_path
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(waiting.base_url).port)
        try:
            writer.write(request.replace(b"TARGET", target))
            head = await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.close()
        return httpx.Response(int(head.split()[1]))

    return send


def _get(change: Callable[[str], str], **more: str) -> Callback:
    return lambda site, _, right: site.browser.get(change(right), headers=more)


def _method(method: str) -> Callback:
    return lambda site, _, right: site.browser.request(method, right)


STRAY: dict[str, tuple[Callback, int]] = {
    "no-state": (_get(lambda url: _with(url, state=None)), 400),
    "empty-state": (_get(lambda url: _with(url, state="")), 400),
    "another-state": (_get(lambda url: _with(url, state="x" * 43)), 400),
    "shorter-state": (_get(lambda url: _with(url, state=httpx.URL(url).params["state"][:-1])), 400),
    "state-twice": (_get(lambda url: f"{url}&state=other"), 400),
    "code-twice": (_get(lambda url: f"{url}&code=other"), 400),
    "no-query": (_get(lambda url: url.partition("?")[0]), 400),
    "error-without-state": (_get(lambda url: url.partition("?")[0] + "?error=access_denied"), 400),
    "error-of-another-state": (_get(lambda url: url.partition("?")[0] + "?error=access_denied&state=other"), 400),
    "post": (_method("POST"), 405),
    "put": (_method("PUT"), 405),
    "head": (_method("HEAD"), 405),
    "options": (_method("OPTIONS"), 405),
    "another-path": (_get(lambda url: url.replace("/auth/callback", "/auth/callback/")), 404),
    "the-root": (_get(lambda url: url.replace("/auth/callback", "/")), 404),
    "the-ancestors-success": (_get(lambda url: url.replace("/auth/callback", "/success")), 404),
    "a-host-in-the-path": (_raw(b"GET //localhostTARGET HTTP/1.1\r\n\r\n"), 404),
    "cancel-by-a-web-page": (
        _get(lambda url: url.replace("/auth/callback", "/cancel"), origin="https://evil.test"),
        404,
    ),
    "no-http": (_raw(b"GET TARGET\r\n\r\n"), 400),
}


async def test_of_twenty_callbacks_only_the_right_one_is_accepted(site: Site):
    assert len(STRAY) == 19
    accepted = []
    async with site.waiting() as waiting:
        right = await site.redirect(waiting.attempt.url)
        for name, (send, status) in STRAY.items():
            answer = await send(site, waiting, right)
            assert answer.status_code == status, name
            assert not waiting.result.done(), name
            accepted += [name] if await site.vault.logins() else []
        assert exchanges(site) == (0, 0)
        assert (await site.browser.get(right)).status_code == 200
        assert (await waiting.result).label == "demo@example.test"
    assert accepted == []


async def test_a_right_callback_is_good_once(site: Site):
    async with site.waiting() as waiting:
        right = await site.redirect(waiting.attempt.url)
        pages = await asyncio.gather(*(site.browser.get(right) for _ in range(8)))
        again = await site.browser.get(right)
        await waiting.result
    assert sorted(page.status_code for page in pages) == [200, *[409] * 7]
    assert again.status_code == 409
    assert exchanges(site) == (1, 0)


async def test_a_request_that_never_ends_holds_nobody_up(site: Site):
    async with site.waiting() as waiting:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(waiting.base_url).port)
        writer.write(b"GET /auth/callback?" + b"x" * 20_000)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        slow_reader, slow = await asyncio.open_connection("127.0.0.1", httpx.URL(waiting.base_url).port)
        slow.write(b"GET /auth")
        await site.browser.get(await site.redirect(waiting.attempt.url))
        await waiting.result
        slow.close()
        writer.close()
    assert await slow_reader.read() == b""


async def test_pages_load_nothing_and_are_kept_by_nobody(site: Site):
    async with site.waiting() as waiting:
        page = await site.browser.get(f"{waiting.base_url}/")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text


# --- What the issuer says ---------------------------------------------------------------------


async def test_a_denied_login_ends_and_says_so(site: Site):
    async with site.waiting() as waiting:
        page = await site.browser.get(await site.redirect(waiting.attempt.url, deny="1"))
        with pytest.raises(LoginRefused, match="declined in the browser"):
            await waiting.result
    assert page.status_code == 400
    assert "declined in the browser" in page.text
    assert await site.vault.logins() == []


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("400", LoginRefused, "could not be processed"),
        ("401", LoginRefused, "Your session has ended"),
        ("403-html", LoginUnavailable, "answered 403"),
        ("429", LoginUnavailable, "answered 429"),
        ("500", LoginUnavailable, "answered 500"),
        ("502-html", LoginUnavailable, "answered 502"),
        ("lost", LoginUnavailable, "could not be asked"),
    ],
)
async def test_an_exchange_that_fails_is_told_on_page_and_terminal(site: Site, fault: str, kind: type, words: str):
    async with site.waiting() as waiting:
        right = await site.redirect(waiting.attempt.url)
        site.simulator.state.token_faults.append(fault)
        page = await site.browser.get(right)
        with pytest.raises(kind, match=words):
            await waiting.result
    assert page.status_code == 400
    assert words in page.text
    assert await site.vault.logins() == []


async def test_a_page_quotes_nothing_as_html(site: Site):
    async with site.waiting() as waiting:
        state = httpx.URL(waiting.attempt.url).params["state"]
        evil = quote("<img src=x onerror=alert(1)>")
        page = await site.browser.get(
            f"{waiting.attempt.redirect_uri}?error=server_error&error_description={evil}&state={state}"
        )
        with pytest.raises(LoginRefused):
            await waiting.result
    assert "<img" not in page.text
    assert "&lt;img" in page.text


async def test_a_slow_person_finds_the_attempt_expired(site: Site):
    async with site.waiting(seconds=0.2) as waiting:
        right = await site.redirect(waiting.attempt.url)
        with pytest.raises(LoginRefused, match="Nobody finished the sign-in"):
            await waiting.result
    with pytest.raises(httpx.ConnectError):
        await site.browser.get(right)
    assert exchanges(site) == (0, 0)


async def test_a_slow_issuer_is_waited_for(site: Site):
    site.simulator.state.options = type(site.simulator.state.options)(any_redirect_port=True, refresh_delay_seconds=0.5)
    async with site.waiting(seconds=0.4) as waiting:
        page = await site.browser.get(await site.redirect(waiting.attempt.url))
        # Its time ends with the answer, not with the exchange.
        assert (await waiting.result).label == "demo@example.test"
    assert page.status_code == 200


# --- The keyboard -----------------------------------------------------------------------------


async def test_a_pasted_url_signs_in(site: Site):
    async with site.waiting() as waiting:
        waiting.keyboard.type(await site.redirect(waiting.attempt.url))
        assert (await waiting.result).label == "demo@example.test"
    assert waiting.said == []


async def test_what_is_pasted_wrongly_is_told_and_the_login_goes_on(site: Site):
    async with site.waiting() as waiting, site.waiting() as other:
        right = await site.redirect(waiting.attempt.url)
        waiting.keyboard.type("what?")
        waiting.keyboard.type(_with(right, state=None))
        waiting.keyboard.type(await site.redirect(other.attempt.url))
        await until(lambda: len(waiting.said) == 3)
        assert not waiting.result.done()
        assert "State mismatch" in waiting.said[2]
        waiting.keyboard.type(right)
        await waiting.result
    assert exchanges(site) == (1, 0)


async def test_a_pasted_denial_ends_the_login(site: Site):
    async with site.waiting() as waiting:
        waiting.keyboard.type(await site.redirect(waiting.attempt.url, deny="1"))
        with pytest.raises(LoginRefused, match="declined"):
            await waiting.result


async def test_paste_and_browser_at_once_are_one_login(site: Site):
    async with site.waiting() as waiting:
        right = await site.redirect(waiting.attempt.url)
        waiting.keyboard.type(right)
        page = await site.browser.get(right)
        await waiting.result
    assert page.status_code in (200, 409)
    assert exchanges(site) == (1, 0)


async def test_the_end_of_input_leaves_the_browser_its_time(site: Site):
    async with site.waiting() as waiting:
        waiting.keyboard.close()
        await asyncio.sleep(0.05)
        await site.browser.get(await site.redirect(waiting.attempt.url))
        await waiting.result


async def test_an_empty_line_skips_where_that_is_offered(site: Site):
    async with site.waiting() as waiting:
        waiting.keyboard.type("")
        with pytest.raises(LoginSkipped):
            await waiting.result
        assert (await site.browser.get(await site.redirect(waiting.attempt.url))).status_code == 409


# --- Ports ------------------------------------------------------------------------------------


def nobody_comes() -> CallbackServer:
    async def on_redirect(_: str) -> object:
        raise AssertionError

    return CallbackServer(on_redirect, lambda: None)  # type: ignore[arg-type]


async def test_the_next_login_takes_the_port_over(site: Site):
    async with site.waiting() as waiting:
        port = httpx.URL(waiting.base_url).port
        assert port is not None
        taking = asyncio.get_running_loop().create_task(_listen_for_a_moment(port))
        with pytest.raises(LoginRefused, match="another login took over"):
            await waiting.result
        # As the command does when its login has ended.
        await site.browser.aclose()
    assert await taking == port


async def _listen_for_a_moment(*ports: int) -> int:
    async with nobody_comes().listen("127.0.0.1", ports) as port:
        return port


async def test_a_port_that_somebody_keeps_is_left_to_them():
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        kept.listen()
        second = free_port()
        assert await _listen_for_a_moment(kept.getsockname()[1], second) == second
        with kept.accept()[0] as connection:
            heard = connection.recv(1000)
    assert heard.startswith(b"GET /cancel HTTP/1.1\r\n")


async def test_when_both_ports_are_kept_the_message_says_what_to_do():
    with socket.socket() as first, socket.socket() as second:
        for kept in (first, second):
            kept.bind(("127.0.0.1", 0))
            kept.listen()
        ports = [kept.getsockname()[1] for kept in (first, second)]
        with pytest.raises(LoginUnavailable) as caught:
            await _listen_for_a_moment(*ports)
    assert all(str(port) in caught.value.message for port in ports)
    assert "gptmock login --headless" in caught.value.message


async def test_an_address_that_is_not_ours_is_said():
    with pytest.raises(LoginUnavailable, match="GPTMOCK_LOGIN_BIND"):
        async with nobody_comes().listen("192.0.2.1", (free_port(), free_port())):
            pass
