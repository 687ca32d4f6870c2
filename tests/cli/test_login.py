"""``gptmock login`` and the login of ``serve``: in a pseudo-terminal and piped, with an HTTP client as the browser."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cli.inside import run
from tests.harness import (
    CHAT_PATH,
    PROGRAM,
    SimulatorProcess,
    chat,
    get,
    plain_environment,
    processes_of,
    wait_until,
)
from tests.ports import free_port
from tests.terminal import Terminal, at_terminal, the_login_ports

AUTHORIZE = r"https?://\S+/oauth/authorize\?\S+"


@pytest.fixture
def ports() -> Iterator[None]:
    with the_login_ports():
        yield


def browse(url: str, **more: str) -> httpx.Response:
    """A browser that follows redirects."""
    params = {**dict(httpx.URL(url).params), **more}
    return get(url, params=params, follow_redirects=True, timeout=30)


def redirect_of(url: str, **more: str) -> str:
    """What a browser would show in its address bar in the end."""
    params = {**dict(httpx.URL(url).params), **more}
    return get(url, params=params, timeout=30).headers["location"]


def accounts(home: Path) -> list[dict[str, object]]:
    shown = run(home, "info", "--json", "--offline")
    assert shown.returncode == 0
    return list(json.loads(shown.stdout)["accounts"])


def piped(home: Path, *arguments: str, stdin: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        env=plain_environment(GPTMOCK_HOME=str(home), **variables),
        cwd=home,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@contextmanager
def waiting(home: Path, *arguments: str, **variables: str) -> Iterator[tuple[Terminal, str]]:
    """A login at a terminal that has shown its URL."""
    with at_terminal(home, *arguments, **variables) as terminal:
        url = terminal.until(AUTHORIZE)[0]
        terminal.until("press Enter")
        yield terminal, url


# --- With a browser -------------------------------------------------------------------------


@pytest.mark.usefixtures("ports")
def test_a_login_at_a_terminal(tmp_path: Path, issuer: dict[str, str]):
    with waiting(tmp_path, "login", **issuer) as (terminal, url):
        assert "redirect_uri=http%3A%2F%2Flocalhost%3A1455%2Fauth%2Fcallback" in url
        page = browse(url, login_hint="ada@example.test")
        assert page.status_code == 200
        assert "ada@example.test" in page.text
        terminal.until(r"Signed in as ada@example\.test \(plus\)")
        assert terminal.ended() == 0
    (account,) = accounts(tmp_path)
    assert account["label"] == "ada@example.test"
    assert account["default"] is True


@pytest.mark.usefixtures("ports")
def test_a_login_with_a_pasted_url_and_a_label(tmp_path: Path, issuer: dict[str, str]):
    with waiting(tmp_path, "login", "--account", "work", "--no-browser", **issuer) as (terminal, url):
        terminal.type("is it this?")
        terminal.until("Paste the whole URL")
        terminal.type(redirect_of(url))
        terminal.until("Signed in as work")
        assert terminal.ended() == 0
    (account,) = accounts(tmp_path)
    assert account["label"] == "work"


@pytest.mark.usefixtures("ports")
def test_a_login_through_a_pipe(tmp_path: Path, issuer: dict[str, str]):
    """As a script does it: the URL from stdout, the redirect into stdin."""
    process = subprocess.Popen(
        [*PROGRAM, "login"],
        env=plain_environment(GPTMOCK_HOME=str(tmp_path), **issuer),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        shown = ""
        while "press Enter" not in shown:
            shown += process.stdout.readline()
        url = re.search(AUTHORIZE, shown)
        assert url is not None
        out, error = process.communicate(redirect_of(url[0]) + "\n", timeout=30)
    assert (process.returncode, error) == (0, "")
    assert "Signed in as demo@example.test" in out
    assert "\x1b" not in shown + out


@pytest.mark.usefixtures("ports")
def test_the_browser_is_opened_unless_told_not_to(tmp_path: Path, issuer: dict[str, str]):
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(0o755)
    for arguments, expected in ((("login",), True), (("login", "--no-browser"), False)):
        with waiting(tmp_path, *arguments, BROWSER=str(browser), **issuer) as (terminal, url):
            if expected:
                wait_until(lambda: opened.exists() and bool(opened.read_text()))
                assert opened.read_text() == url
                assert "Your browser should open" in terminal.text
                opened.unlink()
            browse(url)
            assert terminal.ended() == 0
        assert not opened.exists()


@pytest.mark.usefixtures("ports")
def test_a_denied_login_is_exit_code_1(tmp_path: Path, issuer: dict[str, str]):
    with waiting(tmp_path, "login", **issuer) as (terminal, url):
        assert browse(url, deny="1").status_code == 400
        terminal.until("gptmock: The sign-in was declined in the browser")
        assert terminal.ended() == 1
        assert "Traceback" not in terminal.text


@pytest.mark.usefixtures("ports")
def test_a_callback_of_somebody_else_changes_nothing(tmp_path: Path, issuer: dict[str, str]):
    with waiting(tmp_path, "login", **issuer) as (terminal, url):
        forged = httpx.URL(redirect_of(url)).copy_set_param("state", "x" * 43)
        assert get(str(forged)).status_code == 400
        assert terminal.process.poll() is None
        browse(url)
        assert terminal.ended() == 0


@pytest.mark.usefixtures("ports")
def test_the_next_login_takes_over(tmp_path: Path, issuer: dict[str, str]):
    with waiting(tmp_path, "login", **issuer) as (first, _), waiting(tmp_path, "login", **issuer) as (second, url):
        assert "%3A1455%2F" in url
        first.until("another login took over")
        assert first.ended() == 1
        browse(url)
        assert second.ended() == 0


@pytest.mark.usefixtures("ports")
def test_ports_in_use(tmp_path: Path, issuer: dict[str, str]):
    with kept_port(1455):
        with waiting(tmp_path, "login", **issuer) as (terminal, url):
            assert "%3A1457%2F" in url
            assert browse(url).status_code == 200
            assert terminal.ended() == 0
        with kept_port(1457):
            shown = piped(tmp_path, "login", **issuer)
    (line,) = shown.stderr.splitlines()
    assert shown.returncode == 1
    assert line.startswith("gptmock: Ports 1455 and 1457 on 127.0.0.1 are in use")
    assert "--headless" in line


@contextmanager
def kept_port(port: int) -> Iterator[None]:
    """A program that is not ours and listens there."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", port))
        kept.listen()
        yield


@pytest.mark.usefixtures("ports")
def test_an_interrupted_login_leaves_no_trace(tmp_path: Path, issuer: dict[str, str]):
    with waiting(tmp_path, "login", **issuer) as (terminal, _):
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 130
        assert "Traceback" not in terminal.text
    assert accounts(tmp_path) == []


@pytest.mark.usefixtures("ports")
def test_an_exchange_that_fails_is_one_line(tmp_path: Path, issuer: dict[str, str], simulator: SimulatorProcess):
    with waiting(tmp_path, "login", **issuer) as (terminal, url):
        simulator.token_faults("500")
        assert browse(url).status_code == 400
        terminal.until("gptmock: The OAuth issuer answered 500")
        assert terminal.ended() == 1


# --- With a device code ---------------------------------------------------------------------


def decide(simulator: SimulatorProcess, decision: str, code: str, **more: str) -> None:
    simulator.control.post(f"/simulator/device/{decision}", json={"user_code": code, **more}).raise_for_status()


def test_a_device_login_shows_a_code_and_counts_down(
    tmp_path: Path, issuer: dict[str, str], simulator: SimulatorProcess
):
    with at_terminal(tmp_path, "login", "--headless", "--account", "phone", **issuer) as terminal:
        code = terminal.until(r"\b[A-Z]{4}-[A-Z]{4}\b")[0]
        assert f"{simulator.base_url}/codex/device" in terminal.text
        terminal.until(r"14:5\d left")
        decide(simulator, "approve", code, email="ada@example.test")
        terminal.until("Signed in as phone")
        assert terminal.ended() == 0
    assert [account["email"] for account in accounts(tmp_path)] == ["ada@example.test"]


def test_a_denied_device_is_exit_code_1(tmp_path: Path, issuer: dict[str, str], simulator: SimulatorProcess):
    process = subprocess.Popen(
        [*PROGRAM, "login", "--headless"],
        env=plain_environment(GPTMOCK_HOME=str(tmp_path), **issuer),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        shown = ""
        while "if you started this login yourself" not in shown:
            shown += process.stdout.readline()
        code = re.search(r"\b[A-Z]{4}-[A-Z]{4}\b", shown)
        assert code is not None
        decide(simulator, "deny", code[0])
        out, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert error.startswith("gptmock: The OAuth issuer refused the login: The user denied")
    assert "left" not in out


def test_a_device_login_without_an_issuer(tmp_path: Path):
    shown = piped(tmp_path, "login", "--headless", GPTMOCK_ISSUER=f"http://127.0.0.1:{free_port()}")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == "gptmock: The OAuth issuer could not be asked (ConnectError).\n"


# --- Before a server starts -------------------------------------------------------------------


@pytest.mark.usefixtures("ports")
def test_one_run_signs_in_and_serves(tmp_path: Path, issuer: dict[str, str]):
    """The README's first run in a container, with the ports that it publishes."""
    port = free_port()
    variables = {
        **issuer,
        "GPTMOCK_ALLOW_UNAUTHENTICATED": "true",
        "GPTMOCK_LOGIN_BIND": "0.0.0.0",
        "GPTMOCK_HOST": "0.0.0.0",
        "GPTMOCK_WORKERS": "2",
        "GPTMOCK_PORT": str(port),
    }
    with waiting(tmp_path, "serve", "--verbose", **variables) as (terminal, url):
        assert "No ChatGPT account is signed in yet. Starting the login." in terminal.text
        terminal.until(r"Press Enter on an empty line to skip the login\.")
        assert browse(url).status_code == 200
        terminal.until("Signed in as demo@example")
        terminal.until(rf"gptmock serves http://0\.0\.0\.0:{port}/v1")
        wait_until(lambda: ready(port), seconds=40)
        answer = httpx.post(f"http://127.0.0.1:{port}{CHAT_PATH}", json=chat(), trust_env=False, timeout=30)
        assert answer.status_code == 200
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 0


@pytest.mark.usefixtures("ports")
@pytest.mark.parametrize("ending", ["skipped", "denied"])
def test_however_the_login_ends_the_server_starts(tmp_path: Path, issuer: dict[str, str], ending: str):
    port = free_port()
    with waiting(tmp_path, "serve", "--port", str(port), **issuer) as (terminal, url):
        if ending == "skipped":
            terminal.type("")
            terminal.until("Skipped. Sign in later with: gptmock login")
        else:
            browse(url, deny="1")
            terminal.until("declined in the browser")
        terminal.until("gptmock serves")
        wait_until(lambda: answers(port, "/health") == 200, seconds=40)
        assert answers(port, "/readyz") == 503
        # Nobody listens for a browser any more, and a login from elsewhere is seen at once.
        with waiting(tmp_path, "login", **issuer) as (elsewhere, another):
            browse(another)
            assert elsewhere.ended() == 0
        wait_until(lambda: ready(port), seconds=5)


def test_serve_does_not_ask_when_nobody_is_there(tmp_path: Path, issuer: dict[str, str]):
    """With stdout on a terminal but stdin elsewhere, no login is offered."""
    port = free_port()
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--port", str(port)],
        env=plain_environment(GPTMOCK_HOME=str(tmp_path), **issuer),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        wait_until(lambda: answers(port, "/health") == 200, seconds=40)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert "oauth/authorize" not in out
    assert "gptmock login" in out


@pytest.mark.usefixtures("ports")
def test_serve_with_an_account_does_not_ask(tmp_path: Path, issuer: dict[str, str]):
    with waiting(tmp_path, "login", **issuer) as (terminal, url):
        browse(url)
        assert terminal.ended() == 0
    port = free_port()
    with at_terminal(tmp_path, "serve", "--port", str(port), **issuer) as terminal:
        terminal.until("gptmock serves")
        wait_until(lambda: ready(port), seconds=40)
        assert "oauth/authorize" not in terminal.text
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 0
        wait_until(lambda: not processes_of(terminal.mark))


def answers(port: int, path: str) -> int:
    try:
        return get(f"http://127.0.0.1:{port}{path}").status_code
    except httpx.HTTPError:
        return 0


def ready(port: int) -> bool:
    return answers(port, "/readyz") == 200
