"""``gptmock audit``: what commands have administered, and on whose behalf."""

from __future__ import annotations

import asyncio
import getpass
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gptmock.audit import Actor, AuditEvent
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.stores.audit import StoreAuditLog
from tests.cli.inside import run
from tests.cli.test_commands import run as run_process
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
    assert [event["detail"] for event in found[1:4]] == ["ci; rpm: 5", "bob, from auth.json", "bob"]
    assert key not in str(found)
    assert len(events(tmp_path, "--count", "2")) == 2
    with at_terminal(tmp_path, "audit", COLUMNS="160") as terminal:
        assert terminal.ended() == 0
        assert "key.revoked" in terminal.text


def test_times_are_local_for_people_and_iso_for_programs(tmp_path: Path):
    run(tmp_path, "keys", "create", "ci", "--expires", "2999-01-31T12:00:00+00:00")
    run(tmp_path, "keys", "update", "ci", "--expires", "2999-02-01T12:00:00+00:00")
    run(tmp_path, "keys", "rotate", "ci", "--overlap", "1h")
    rotated, updated, created = events(tmp_path)
    assert created["detail"] == "ci; expires_at: 2999-01-31T12:00:00Z"
    assert updated["detail"] == "ci; expires_at: 2999-01-31T12:00:00Z -> 2999-02-01T12:00:00Z"
    assert re.fullmatch(r"ci; the old key is valid until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rotated["detail"])
    assert re.match(r"\d{4}-\d\d-\d\dT.*Z", created["at"])
    shown = run_process(tmp_path, "audit", TZ="Asia/Tokyo").stdout
    assert "ci; expires_at: 2999-01-31 21:00 -> 2999-02-01 21:00" in shown
    # The id of a key is made up, and may look like any of these.
    assert not re.search(r"none ->|\dT\d|\d{10}|Z\b", shown.replace(created["target"], ""))


def test_events_of_before_are_as_readable(tmp_path: Path):
    async def note() -> None:
        async with open_state(load_settings({"home": str(tmp_path)}, environ={}, directory=tmp_path)) as state:
            detail = "ci; rpm: none -> 5, expires_at: none -> 32475600000.5"
            await StoreAuditLog(state.store).record(AuditEvent(1.0, Actor("ada", "x"), "key.created", "id", detail))
            detail = "ci; expires_at: 1800000000.0 -> 1900000000.0, owner: none -> Bob"
            await StoreAuditLog(state.store).record(AuditEvent(2.0, Actor("ada", "x"), "key.updated", "id", detail))

    asyncio.run(note())
    newer, older = run_process(tmp_path, "audit", TZ="UTC").stdout.splitlines()[1:]
    assert newer.endswith("ci; expires_at: 2027-01-15 08:00 -> 2030-03-17 17:46, owner: Bob")
    assert "rpm: 5" in older


@pytest.mark.parametrize("count", ["0", "x", "10001"])
def test_a_wrong_count_is_wrong_usage(tmp_path: Path, count: str):
    shown = run(tmp_path, "audit", "--count", count)
    assert (shown.returncode, shown.stdout) == (2, "")
