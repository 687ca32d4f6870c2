"""``gptmock store migrate`` as people run it, between files and a real Redis."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptmock.simulator.accounts import TokenRegistry
from gptmock.simulator.options import SimulatorOptions
from tests.cli.inside import run
from tests.cli.test_commands import run as run_process
from tests.harness import write_login
from tests.ports import free_port
from tests.stores.servers import DEBIAN_REDIS, binary_of, running

PASSWORD = "planted-password"
KEY = base64.b64encode(bytes(range(32))).decode()
BOOK = TokenRegistry(SimulatorOptions)


@pytest.fixture
def redis_url() -> Iterator[str]:
    kind = "valkey" if binary_of("valkey") is not None else "redis"
    if binary_of(kind) is None:
        pytest.skip(f"no server here, not even {DEBIAN_REDIS}")
    with running(kind, "--requirepass", PASSWORD) as server:
        yield f"unix://:{PASSWORD}@{server.path}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one account in its embedded store."""
    made = tmp_path / "home"
    file = write_login(made, BOOK.issue(email="ada@example.test").auth_json())
    assert run(made, "info").returncode == 0
    # An empty store would take it over again, which is not what is tested here.
    file.unlink()
    return made


def test_help_has_an_example(tmp_path: Path):
    shown = run(tmp_path, "store", "migrate", "--help")
    assert shown.returncode == 0
    assert "gptmock store migrate embedded redis" in shown.stdout.partition("example:")[2]
    shown = run(tmp_path, "store", "--help")
    assert (shown.returncode, "migrate" in shown.stdout, "example:" in shown.stdout) == (0, True, True)


def test_a_login_moves_into_redis_and_back_and_is_never_shown(home: Path, tmp_path: Path, redis_url: str):
    variables = {"GPTMOCK_REDIS_URL": redis_url, "GPTMOCK_ENCRYPTION_KEYS_FILE": str(home / "encryption.key")}
    assert run(home, "invite", "bob", "--url", "http://127.0.0.1:8000").returncode == 0
    tried = run(home, "store", "migrate", "embedded", "redis", "--dry-run", "--json", **variables)
    assert tried.returncode == 0, tried.stderr
    assert json.loads(run(home, "info", "--json", **variables).stdout)["accounts"] == []
    moved = run(home, "store", "migrate", "embedded", "redis", "--json", **variables)
    told = json.loads(moved.stdout)
    assert {**json.loads(tried.stdout), "dry_run": False} == told
    assert told["accounts"] == {"carried": 1, "same": 0, "kept": 0}
    assert told["invitations_left"] == 1
    assert (told["from"], told["dry_run"]) == (str(home / "state.db"), False)
    (account,) = json.loads(run(home, "info", "--json", **variables).stdout)["accounts"]
    assert (account["label"], account["default"]) == ("ada@example.test", True)
    again = run(home, "store", "migrate", "embedded", redis_url, **variables)
    assert "accounts  0 copied, 1 the same" in again.stdout
    assert "Open invitations are not copied: 1." in again.stdout
    assert "refresh tokens are single-use" in again.stdout
    assert "gptmock: records: " in again.stderr
    back = run(home, "store", "migrate", "redis", str(tmp_path / "other" / "state.db"), **variables)
    assert "accounts  1 copied" in back.stdout
    said = "".join(one.stdout + one.stderr for one in (tried, moved, again, back))
    assert PASSWORD not in said
    assert "Traceback" not in said


def test_between_two_homes_the_key_goes_by_hand_and_that_is_said(home: Path, tmp_path: Path):
    shown = run_process(home, "store", "migrate", "embedded", str(tmp_path / "other.db"))
    assert (shown.returncode, f"GPTMOCK_ENCRYPTION_KEYS_FILE={home / 'encryption.key'}" in shown.stdout) == (0, True)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("embedded", "embedded", "the same place"),
        ("nowhere.db", "embedded", "no state file"),
        ("embedded", "redis", "GPTMOCK_REDIS_URL, which is not set"),
        ("embedded", f"http://:{PASSWORD}@h", "begins with redis://"),
        ("embedded", f"redis://:{PASSWORD}/@h:1", "begins with redis://"),
    ],
)
def test_a_place_that_will_not_do_is_wrong_usage(home: Path, source: str, target: str, said: str):
    shown = run(home, "store", "migrate", source, target)
    (line,) = shown.stderr.splitlines()
    assert (shown.returncode, shown.stdout) == (2, "")
    assert said in line
    assert PASSWORD not in line


@pytest.mark.parametrize(
    "arguments", [(), ("migrate",), ("migrate", "a"), ("migrate", "a", "b", f"redis://:{PASSWORD}@h")]
)
def test_wrong_usage_repeats_no_password(tmp_path: Path, arguments: tuple[str, ...]):
    shown = run(tmp_path, "store", *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert PASSWORD not in shown.stderr


def test_another_key_is_wrong_usage_and_nothing_is_touched(home: Path, tmp_path: Path):
    other = tmp_path / "other" / "state.db"
    key = base64.b64encode(os.urandom(32)).decode()
    shown = run(home, "store", "migrate", "embedded", str(other), GPTMOCK_ENCRYPTION_KEYS=key)
    (line,) = shown.stderr.splitlines()
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "Nothing was changed" in line
    assert key not in line
    assert not other.parent.exists()


def test_a_redis_that_is_away_is_one_clear_line(home: Path):
    url = f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0"
    key_file = str(home / "encryption.key")
    shown = run(home, "store", "migrate", "embedded", url, GPTMOCK_ENCRYPTION_KEYS_FILE=key_file)
    (line,) = shown.stderr.splitlines()
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "Redis cannot be reached" in line
    assert PASSWORD not in line
