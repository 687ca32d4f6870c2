"""``gptmock info``: at a terminal, piped and as a document."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from gptmock.cli.terminal import BAR_CELLS, bar, duration, printable
from gptmock.overview import span
from gptmock.simulator.accounts import TokenRegistry
from gptmock.simulator.jwt import encode_jwt
from gptmock.simulator.options import SimulatorOptions
from tests.cli.inside import run
from tests.harness import SimulatorProcess, write_login
from tests.ports import free_port
from tests.terminal import at_terminal

BOOK = TokenRegistry(SimulatorOptions)


def document(directory: Path, *arguments: str, **variables: str) -> dict[str, Any]:
    shown = run(directory, "info", "--json", *arguments, **variables)
    assert (shown.returncode, shown.stderr) == (0, "")
    return dict(json.loads(shown.stdout))


def test_the_first_run_tells_what_to_do(tmp_path: Path):
    shown = run(tmp_path, "info")
    assert shown.returncode == 0
    assert shown.stdout.lower().count("signed in") == 1, "said once"
    for command in ("gptmock login", "gptmock login --headless", "gptmock demo"):
        assert f"  {command}" in shown.stdout
    assert str(tmp_path / "state.db") in shown.stdout
    machine = document(tmp_path)
    assert machine["accounts"] == []
    (note,) = machine["notes"]
    assert "No ChatGPT account" in note


@pytest.mark.parametrize(("expires_in", "words"), [(3 * 86400 + 7200, "valid until"), (-60, "expired")])
def test_an_account_offline(tmp_path: Path, expires_in: int, words: str):
    login = BOOK.issue(email="ada@example.test", plan="pro", expires_in=expires_in)
    write_login(tmp_path, login.auth_json())
    shown = run(tmp_path, "info", "--offline")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert all(word in shown.stdout for word in ("ada@example.test", "pro", "Personal", login.account_id, words))
    assert "AES-256-GCM, 1 key from" in shown.stdout
    assert "nothing is known yet" in shown.stdout
    machine = document(tmp_path, "--offline")
    assert machine["notes"] == []
    assert machine["store"] == "sqlite"
    (account,) = machine["accounts"]
    for name in ("access_token_expires_at", "id_token_expires_at", "last_refresh"):
        assert account.pop(name).endswith("Z")
    assert len(account.pop("id")) == 16
    assert account == {
        "label": "ada@example.test",
        "email": "ada@example.test",
        "plan": "pro",
        "organization": "Personal",
        "account_id": login.account_id,
        "user_id": login.user_id,
        "default": True,
        "member": False,
        "paused": False,
        "refused": None,
        "renewable": True,
        "parked_until": None,
        "today": {},
        "in_flight": 0,
        "not_asked": None,
        "windows_as_of": None,
        "windows": [],
    }
    for token in (login.access_token, login.refresh_token, login.id_token):
        assert token not in shown.stdout + json.dumps(machine)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"OPENAI_API_KEY": "sk-planted"}'])
def test_a_file_that_is_no_login_is_no_traceback(tmp_path: Path, content: str):
    (tmp_path / "auth.json").write_text(content)
    for arguments in (("info",), ("info", "--json")):
        shown = run(tmp_path, *arguments)
        assert shown.returncode == 0
        assert "Traceback" not in shown.stderr
        assert "sk-planted" not in shown.stdout
    (note,) = json.loads(shown.stdout)["notes"]
    assert "auth.json" in note


# --- Asking the upstream ------------------------------------------------------------------


def test_the_windows_are_asked_for_and_kept(tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    write_login(tmp_path, simulator.new_login(email="ada@example.test"))
    simulator.options(used_percent=72.0)
    shown = run(tmp_path, "info", **issuer)
    (five, week) = [line for line in shown.stdout.splitlines() if line.startswith("Window")]
    assert re.search(r"5 hours +#{12}\.{4}  72 %  resets \d{4}-\d\d-\d\d \d\d:\d\d \(in \d+ \w+", five)
    assert re.search(r"7 days +\.{16}   3 %  resets", week)
    offline = document(tmp_path, "--offline", **issuer)["accounts"][0]
    assert [(one["name"], one["used_percent"]) for one in offline["windows"]] == [("5 hours", 72.0), ("7 days", 3.0)]
    assert len(simulator.requests("/backend-api/wham/usage")) == 1


def test_an_upstream_that_is_away_is_said_and_what_is_known_is_shown(
    tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str]
):
    write_login(tmp_path, simulator.new_login())
    run(tmp_path, "info", **issuer)
    shown = run(tmp_path, "info", **(issuer | {"GPTMOCK_UPSTREAM_URL": f"http://127.0.0.1:{free_port()}/x"}))
    assert shown.returncode == 0
    assert "Not asked     The upstream could not be reached" in shown.stdout
    assert "12 %" in shown.stdout


def test_an_expired_token_is_renewed_on_the_way(tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    write_login(tmp_path, simulator.new_login(expires_in=-5))
    (account,) = document(tmp_path, **issuer)["accounts"]
    assert account["not_asked"] is None
    assert len(account["windows"]) == 2
    assert simulator.stats()["refresh_tokens_spent_twice"] == 0
    # A token that the upstream has had enough of, too.
    simulator.expire()
    (account,) = document(tmp_path, **issuer)["accounts"]
    assert account["not_asked"] is None


def test_a_login_that_has_ended_is_said(tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    login = simulator.new_login(expires_in=-5)
    write_login(tmp_path, login)
    simulator.control.post("/oauth/revoke", json={"token": login["tokens"]["refresh_token"]}).raise_for_status()
    shown = run(tmp_path, "info", **issuer)
    assert shown.returncode == 0
    assert "Ended" in shown.stdout
    assert "sign in again" in shown.stdout
    assert "gptmock login" in shown.stdout


# --- Where a person looks -----------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str]) -> Path:
    """A home with two accounts."""
    for name in ("ada", "bob"):
        path = write_login(tmp_path / name, simulator.new_login(email=f"{name}@example.test"))
        assert run(tmp_path, "accounts", "import", str(path), **issuer).returncode == 0
    return tmp_path


def test_several_accounts_stand_side_by_side(two: Path, issuer: dict[str, str]):
    with at_terminal(two, "info", COLUMNS="170", **issuer) as terminal:
        assert terminal.ended() == 0
        (line,) = [line for line in terminal.text.splitlines() if "5 hours" in line]
        assert line.count("12 %") == 2
        assert "█" in line
        assert "\x1b[" in terminal.raw
    with at_terminal(two, "info", COLUMNS="90", **issuer) as terminal:
        assert terminal.ended() == 0
        assert len([line for line in terminal.text.splitlines() if "5 hours" in line]) == 2
        assert all(len(line) <= 90 for line in terminal.text.splitlines())


def test_a_panel_of_80_columns_has_each_window_on_one_line(
    two: Path, simulator: SimulatorProcess, issuer: dict[str, str]
):
    simulator.options(used_percent=100.0)
    with at_terminal(two, "info", COLUMNS="80", **issuer) as terminal:
        assert terminal.ended() == 0
        lines = terminal.text.splitlines()
    assert max(map(len, lines)) <= 80
    windows = [line for line in lines if "resets" in line]
    assert len(windows) == 4
    assert all(")" in line for line in windows)
    longest = "10 minutes " + "x" * BAR_CELLS + " 100 %  resets 2026-11-27 19:23 (in 23 h 59 min)"
    assert len(longest) <= 80 - len("│ " + " │")


def test_colours_tell_the_level_unless_they_are_not_wanted(
    two: Path, simulator: SimulatorProcess, issuer: dict[str, str]
):
    for used, code in ((12.0, "32"), (75.0, "33"), (95.0, "31")):
        simulator.options(used_percent=used)
        with at_terminal(two, "info", **issuer) as terminal:
            assert terminal.ended() == 0
            assert f"\x1b[{code}m█" in terminal.raw
    with at_terminal(two, "info", NO_COLOR="1", **issuer) as terminal:
        assert terminal.ended() == 0
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.raw)
        assert "█" in terminal.raw


def test_what_a_token_claims_cannot_drive_the_terminal(tmp_path: Path):
    login = BOOK.issue().auth_json()
    claims = {
        "email": "a\x1b]0;owned\x07\x1b[2J@example.test",
        "exp": int(time.time()) + 3600,
        "https://api.openai.com/auth": {
            "chatgpt_account_id": "w\x1b[31m",
            "chatgpt_user_id": "u",
            "chatgpt_plan_type": "plus\r\nSTATE fake",
            "organizations": [{"title": "\x1b[1mevil", "is_default": True}],
        },
    }
    login["tokens"]["id_token"] = encode_jwt(claims)
    write_login(tmp_path, login)
    for command in (("info", "--offline"), ("accounts", "list")):
        shown = run(tmp_path, *command)
        assert shown.returncode == 0
        assert all(line.isprintable() for line in shown.stdout.splitlines())
        with at_terminal(tmp_path, *command) as terminal:
            assert terminal.ended() == 0
            assert "\x1b]0;" not in terminal.raw
            assert "\x1b[2J" not in terminal.raw


def test_keys_in_the_environment_are_counted_and_not_shown(tmp_path: Path):
    keys = [base64.b64encode(bytes(range(start, start + 32))).decode() for start in (0, 50)]
    shown = run(tmp_path, "info", GPTMOCK_ENCRYPTION_KEYS=",".join(keys))
    assert "AES-256-GCM, 2 keys from GPTMOCK_ENCRYPTION_KEYS" in shown.stdout
    assert not any(key in shown.stdout for key in keys)


# --- Pieces ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (300, "5 hours"),
        (10080, "7 days"),
        (60, "1 hour"),
        (1440, "1 day"),
        (90, "90 minutes"),
        (1, "1 minute"),
        (43200, "30 days"),
    ],
)
def test_a_window_is_named_by_its_length(minutes: int, words: str):
    assert span(minutes) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (40, "40 s"),
        (60, "1 min"),
        (119, "1 min"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (90000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_durations(seconds: float, words: str):
    assert duration(seconds) == words


@pytest.mark.parametrize(("used", "cells"), [(-5, 0), (0, 0), (12, 2), (50, 8), (99.9, 16), (100, 16), (250, 16)])
def test_bars(used: float, cells: int):
    assert bar(used, ascii_only=True).plain == "#" * cells + "." * (16 - cells)


def test_printable():
    assert printable("a\x1b[1mb\u202ec") == "a\N{REPLACEMENT CHARACTER}[1mb\N{REPLACEMENT CHARACTER}c"
