"""``gptmock audit``: what commands have administered, and on whose behalf."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.inside import run
from tests.harness import SimulatorProcess, write_login
from tests.terminal import at_terminal


def events(home: Path, *arguments: str) -> list[dict[str, Any]]:
    shown = run(home, "audit", "--json", *arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    return list(json.loads(shown.stdout)["events"])


def test_nothing_yet(tmp_path: Path):
    assert run(tmp_path, "audit").stdout == "Nothing was administered yet.\n"
    assert events(tmp_path) == []


def test_keys_and_accounts_are_recorded_with_who_and_where(
    tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str]
):
    write_login(tmp_path, simulator.new_login(email="ada@example.test"))
    imported = write_login(tmp_path / "files", simulator.new_login(email="bob@example.test"))
    key = run(tmp_path, "keys", "create", "ci", "--rpm", "5").stdout.strip()
    for words in (
        ("accounts", "import", str(imported), "--account", "bob"),
        ("accounts", "default", "bob"),
        ("accounts", "pause", "bob"),
        ("accounts", "resume", "bob"),
        ("accounts", "export", "bob", "--output", str(tmp_path / "out.json")),
        ("accounts", "remove", "bob"),
        ("keys", "revoke", "ci"),
    ):
        assert run(tmp_path, *words, **issuer).returncode == 0
    found = list(reversed(events(tmp_path)))
    assert [event["action"] for event in found] == [
        "account.imported",
        "key.created",
        "account.imported",
        "account.made_default",
        "account.paused",
        "account.resumed",
        "account.exported",
        "account.signed_out",
        "key.revoked",
    ]
    assert found[0]["actor"] == {"name": "server", "origin": "auth.json"}
    assert {event["actor"]["name"] for event in found[1:]} == {getpass.getuser()}
    assert [event["detail"] for event in found[1:4]] == ["ci; rpm: none -> 5", "bob, from auth.json", "bob"]
    assert key not in str(found)
    assert len(events(tmp_path, "--count", "2")) == 2
    with at_terminal(tmp_path, "audit", COLUMNS="160") as terminal:
        assert terminal.ended() == 0
        assert "key.revoked" in terminal.text


@pytest.mark.parametrize("count", ["0", "x", "10001"])
def test_a_wrong_count_is_wrong_usage(tmp_path: Path, count: str):
    shown = run(tmp_path, "audit", "--count", count)
    assert (shown.returncode, shown.stdout) == (2, "")
