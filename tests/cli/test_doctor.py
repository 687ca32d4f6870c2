"""``gptmock doctor``: every check passing and failing, its messages, and the exit code."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from gptmock.command_services import open_command_services
from gptmock.diagnostics import Finding, examine
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from tests.cli.inside import run
from tests.harness import SimulatorProcess, write_login
from tests.ports import free_port
from tests.terminal import at_terminal
from tests.upstream.raw import RawServer, answering


@pytest.fixture
def home(tmp_path: Path, simulator: SimulatorProcess) -> Path:
    """A home whose account is fine."""
    sign_in(tmp_path, simulator.new_login(email="ada@example.test"))
    return tmp_path


def sign_in(home: Path, document: dict[str, Any], **variables: str) -> None:
    async def work() -> None:
        async with open_command_services(
            load_settings({"home": str(home)}, environ=variables, directory=home)
        ) as services:
            await services.import_login(write_login(home / "files", document), label=None)

    asyncio.run(work())


def healthy(**more: str) -> dict[str, str]:
    return {"GPTMOCK_PORT": str(free_port()), **more}


def checks(home: Path, **variables: str) -> tuple[int, dict[str, tuple[str, str, str | None]]]:
    """The exit code; each check's verdict, what was found, and what to do."""
    shown = run(home, "doctor", "--json", **variables)
    assert shown.stderr == ""
    document = json.loads(shown.stdout)
    assert document["healthy"] is (shown.returncode == 0)
    return shown.returncode, {one["check"]: (one["verdict"], one["found"], one["todo"]) for one in document["checks"]}


# --- In health --------------------------------------------------------------------------------


def test_all_is_well(home: Path, issuer: dict[str, str]):
    code, found = checks(home, **healthy(**issuer))
    assert code == 0
    assert list(found) == [
        "store",
        "encryption key",
        "client keys",
        "account ada@example.test",
        "protocol version",
        "issuer",
        "upstream",
        "clock",
        "port",
    ]
    assert {verdict for verdict, _, _ in found.values()} == {"ok"}
    assert {todo for _, _, todo in found.values()} == {None}
    assert found["account ada@example.test"][1] == "accepted by the upstream"
    assert found["protocol version"][1] == "Codex 0.171.0, the default; new enough for all models"
    assert found["clock"][1] == "agrees with the upstream's"


def test_one_line_each_for_people(home: Path, issuer: dict[str, str]):
    variables = healthy(**issuer)
    shown = run(home, "doctor", **variables)
    *lines, empty, last = shown.stdout.splitlines()
    assert (shown.returncode, shown.stderr, empty) == (0, "", "")
    assert len(lines) == 9
    assert all(line.startswith("ok   ") for line in lines)
    assert last == "9 checks: 0 failed, 0 with a warning."
    with at_terminal(home, "doctor", **variables) as terminal:
        assert terminal.ended() == 0
        assert "\x1b[32mok  \x1b[0m \x1b[1mstore\x1b[0m: " in terminal.raw
    with at_terminal(home, "doctor", NO_COLOR="1", GPTMOCK_ISSUER=f"http://127.0.0.1:{free_port()}") as terminal:
        assert terminal.ended() == 1
        assert "fail issuer: 127.0.0.1:" in terminal.text
        assert "\x1b[3" not in terminal.raw


def test_a_long_line_goes_on_below_its_text_at_a_terminal(home: Path, issuer: dict[str, str]):
    nobody = f"http://127.0.0.1:{free_port()}"
    with at_terminal(home, "doctor", COLUMNS="80", **healthy(**{**issuer, "GPTMOCK_ISSUER": nobody})) as terminal:
        assert terminal.ended() == 1
        lines = terminal.text.splitlines()
    assert max(map(len, lines)) <= 80
    place = next(number for number, line in enumerate(lines) if line.startswith("fail issuer"))
    assert lines[place + 1].startswith("     ")
    said = " ".join(line.strip() for line in lines[place : place + 3])
    assert "-> is this machine online, and does it need GPTMOCK_UPSTREAM_PROXY or SSL_CERT_FILE?" in said


def test_nothing_is_spent_or_taken(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    write_login(home, simulator.new_login())
    before = simulator.stats()["token_exchanges"]
    assert checks(home, **healthy(**issuer))[0] == 0
    assert simulator.stats()["token_exchanges"] == before
    (account,) = json.loads(run(home, "accounts", "list", "--json").stdout)["accounts"]
    assert account["label"] == "ada@example.test"


# --- Credentials ------------------------------------------------------------------------------


def test_nobody_is_signed_in(tmp_path: Path, issuer: dict[str, str], simulator: SimulatorProcess):
    code, found = checks(tmp_path, **healthy(**issuer))
    assert code == 1
    assert found["credentials"] == ("fail", "nobody is signed in", "sign in with: gptmock login")
    write_login(tmp_path, simulator.new_login())
    code, found = checks(tmp_path, **healthy(**issuer))
    assert (code, found["credentials"][0]) == (0, "warn")
    assert "auth.json" in found["credentials"][1]


def test_a_token_that_the_upstream_refuses(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    simulator.expire()
    code, found = checks(home, **healthy(**issuer))
    assert code == 0
    assert found["account ada@example.test"][:2] == ("warn", "the upstream refuses its token")


def test_a_login_that_has_ended(tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    login = simulator.new_login(email="ada@example.test", expires_in=-5)
    sign_in(tmp_path, login)
    code, found = checks(tmp_path, **healthy(**issuer))
    assert (code, found["account ada@example.test"][:2]) == (
        0,
        ("ok", "its token has expired; the next request renews it"),
    )
    simulator.control.post("/oauth/revoke", json={"token": login["tokens"]["refresh_token"]}).raise_for_status()
    # Somebody tries, and the issuer says no.
    run(tmp_path, "info", **issuer)
    code, found = checks(tmp_path, **healthy(**issuer))
    verdict, words, todo = found["account ada@example.test"]
    assert (code, verdict, todo) == (1, "fail", "sign in again with: gptmock login")
    assert "refresh_token_invalidated" in words


def test_a_paused_account_and_a_pool_that_lacks_somebody(home: Path, issuer: dict[str, str]):
    assert run(home, "accounts", "pause", "ada@example.test").returncode == 0
    code, found = checks(home, **healthy(**issuer), GPTMOCK_ACCOUNT_POOL="ada@example.test, bob")
    assert code == 0
    assert found["account ada@example.test"][:2] == ("warn", "accepted by the upstream, but paused")
    assert found["account pool"][:2] == ("warn", "not signed in: bob")


# --- Protocol version -------------------------------------------------------------------------

MODELS = "/backend-api/codex/models"


def shown_to(home: Path, version: str) -> None:
    """A Codex client of that version has used the server once."""

    async def work() -> None:
        async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state:
            await state.codex_version.save(version)

    asyncio.run(work())


def version_finding(home: Path, **variables: str) -> tuple[str, str, str | None]:
    code, found = checks(home, **healthy(**variables))
    assert code == 0
    return found["protocol version"]


def test_models_that_need_a_newer_version(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    simulator.options(model_versions={"gpt-6-sol": "0.172.0", "gpt-6-luna": "0.173.1", "codex-auto-review": "0.190.0"})
    assert version_finding(home, **issuer) == (
        "warn",
        "Codex 0.171.0, the default; too old for gpt-6-sol (0.172.0), gpt-6-luna (0.173.1)",
        "set GPTMOCK_CODEX_VERSION=0.173.1 or update gptmock, or let Codex 0.173.1 or newer use this server once",
    )
    (request,) = simulator.requests(MODELS)
    assert (request["query"], request["headers"]["version"]) == ({"client_version": "999.0.0"}, "0.171.0")
    shown_to(home, "0.172.0")
    verdict, found, _ = version_finding(home, **issuer)
    assert (verdict, found) == ("warn", "Codex 0.172.0, shown by a Codex client; too old for gpt-6-luna (0.173.1)")
    shown_to(home, "0.173.1")
    found = "Codex 0.173.1, shown by a Codex client; new enough for all models"
    assert version_finding(home, **issuer) == ("ok", found, None)


def test_the_operators_version_is_the_one_that_counts(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    shown_to(home, "0.172.0")
    assert version_finding(home, **issuer, GPTMOCK_CODEX_VERSION="0.170.0") == (
        "warn",
        "Codex 0.170.0, set by GPTMOCK_CODEX_VERSION; too old for gpt-6.2-sol (0.171.0), gpt-6.2-astra (0.171.0)",
        "set GPTMOCK_CODEX_VERSION=0.171.0",
    )
    simulator.options(model_versions={"gpt-6-sol": "1.2.0"})
    verdict, _, todo = version_finding(home, **issuer)
    # A client of such a version would not be believed.
    assert (verdict, todo) == ("warn", "set GPTMOCK_CODEX_VERSION=1.2.0 or update gptmock")


def test_models_for_newer_versions_fit_a_terminal(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    simulator.options(model_versions={"gpt-6-sol": "0.172.0", "gpt-6-luna": "0.173.1"})
    with at_terminal(home, "doctor", COLUMNS="80", **healthy(**issuer)) as terminal:
        assert terminal.ended() == 0
        lines = terminal.text.splitlines()
    assert max(map(len, lines)) <= 80
    place = next(number for number, line in enumerate(lines) if line.startswith("warn protocol version"))
    said = " ".join(line.strip() for line in lines[place : place + 4])
    assert "gpt-6-sol (0.172.0), gpt-6-luna (0.173.1) -> set GPTMOCK_CODEX_VERSION=0.173.1 or update gptmock" in said


def test_without_a_token_nobody_is_asked(tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    sign_in(tmp_path, simulator.new_login(expires_in=-5))
    verdict, found, todo = version_finding(tmp_path, **issuer)
    assert (verdict, todo) == ("ok", None)
    assert "without a valid token" in found
    assert simulator.requests(MODELS) == []


def test_a_backend_that_does_not_tell(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    simulator.expire()
    verdict, found, _ = version_finding(home, **issuer)
    assert verdict == "warn"
    assert found.startswith("Codex 0.171.0, the default; whether it is new enough cannot be told: ")


# --- Store and key ----------------------------------------------------------------------------


def test_a_store_that_is_away(tmp_path: Path, issuer: dict[str, str]):
    key = base64.b64encode(os.urandom(32)).decode()
    url = f"redis://:planted@127.0.0.1:{free_port()}"
    code, found = checks(tmp_path, **healthy(**issuer), GPTMOCK_REDIS_URL=url, GPTMOCK_ENCRYPTION_KEYS=key)
    assert (code, found["store"][0], found["store"][2]) == (1, "fail", "see GPTMOCK_REDIS_URL")
    assert "planted" not in str(found)
    # The rest is looked at all the same.
    assert {"issuer", "upstream", "clock", "port"} <= set(found)


@pytest.mark.parametrize(
    ("key", "words"),
    [("c2hvcnQ=", "has 5 bytes"), (base64.b64encode(bytes(range(9, 41))).decode(), "sealed with a key")],
)
def test_a_key_that_does_not_fit(home: Path, issuer: dict[str, str], key: str, words: str):
    code, found = checks(home, **healthy(**issuer), GPTMOCK_ENCRYPTION_KEYS=key)
    assert (code, found["encryption key"][0]) == (1, "fail")
    assert words in found["encryption key"][1]
    assert key not in str(found)


# --- Network, clock, port ---------------------------------------------------------------------


def test_an_issuer_out_of_reach(home: Path, issuer: dict[str, str]):
    code, found = checks(home, **healthy(**(issuer | {"GPTMOCK_ISSUER": f"http://127.0.0.1:{free_port()}"})))
    assert (code, found["issuer"][0], found["upstream"][0]) == (1, "fail", "ok")
    assert "GPTMOCK_UPSTREAM_PROXY" in str(found["issuer"][2])


async def clock_of(tmp_path: Path, date: str | None, *, status: int = 200) -> dict[str, Finding]:
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n" + (f"Date: {date}\r\n" if date else "")
    async with RawServer(answering(f"{head}\r\n".encode())) as server:
        flags = {"home": str(tmp_path), "issuer": server.url, "upstream_url": f"{server.url}/backend-api"}
        settings = load_settings(flags, environ={}, directory=tmp_path)
        return {one.check: one async for one in examine(settings, lambda: Finding("port", "ok", ""))}


@pytest.mark.parametrize(
    ("ahead", "verdict", "words"),
    [
        (0, "ok", "agrees"),
        (60, "warn", "60 s behind"),
        (-60, "warn", "60 s ahead"),
        (3600, "fail", "behind"),
        (-3600, "fail", "ahead"),
    ],
)
async def test_clocks(tmp_path: Path, ahead: int, verdict: str, words: str):
    finding = (await clock_of(tmp_path, formatdate(time.time() + ahead, usegmt=True)))["clock"]
    assert finding.verdict == verdict
    close = finding.found.replace("61 s", "60 s").replace("59 s", "60 s")
    assert words in close


@pytest.mark.parametrize("date", [None, "yesterday"])
async def test_a_clock_that_nobody_tells(tmp_path: Path, date: str | None):
    assert (await clock_of(tmp_path, date))["clock"].verdict == "warn"


async def test_an_upstream_in_trouble(tmp_path: Path):
    found = await clock_of(tmp_path, None, status=503)
    assert (found["upstream"].verdict, found["upstream"].found.split(" ", 1)[1]) == ("warn", "answers 503")


def test_a_port_that_is_taken(home: Path, issuer: dict[str, str]):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, found = checks(home, **issuer, GPTMOCK_PORT=str(taken.getsockname()[1]))
    assert (code, found["port"][0]) == (1, "fail")
    assert "in use by another program" in found["port"][1]


def test_a_port_where_a_server_of_ours_answers(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    # The simulator's /health has the same words.
    code, found = checks(home, **issuer, GPTMOCK_PORT=simulator.base_url.rpartition(":")[2])
    assert (code, found["port"][0]) == (0, "ok")
    assert "a server is running" in found["port"][1]


def test_wrong_settings_are_wrong_usage(tmp_path: Path):
    shown = run(tmp_path, "doctor", GPTMOCK_PORT="x")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "GPTMOCK_PORT" in shown.stderr
