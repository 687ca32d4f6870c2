"""``gptmock keys``: what each subcommand prints, and what the store holds afterwards."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gptmock.accounts import Secret
from gptmock.clients import KeyDefaults, KeyTerms, key_id_of
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from tests.cli.inside import run
from tests.cli.test_commands import run as run_process
from tests.harness import SimulatorProcess, write_login
from tests.terminal import at_terminal

T = TypeVar("T")


def with_state(home: Path, work: Callable[[State], Awaitable[T]]) -> T:
    async def done() -> T:
        async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state:
            return await work(state)

    return asyncio.run(done())


def terms_of(home: Path, name: str) -> KeyTerms:
    return with_state(home, lambda state: state.keys.show(name)).terms


def document(home: Path, *arguments: str) -> Any:
    shown = run(home, "keys", *arguments, "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    return json.loads(shown.stdout)


def is_valid(home: Path, text: str) -> bool:
    return with_state(home, lambda state: state.keys.find(Secret(text))) is not None


def test_a_command_waits_for_a_state_file_that_another_process_holds(tmp_path: Path):
    """
    A server must answer its client after two seconds; a person would only have to type the command again. A process of
    its own, since all that this one opens waits long.
    """
    assert run(tmp_path, "keys", "create", "before").returncode == 0
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(3.0, holder.rollback)
    release.start()
    made = run_process(tmp_path, "keys", "create", "meanwhile")
    release.join()
    holder.close()
    assert made.returncode == 0, made.stderr


def test_a_key_is_created_shown_once_listed_and_revoked(tmp_path: Path):
    created = run(tmp_path, "keys", "create", "ci")
    text = created.stdout.strip()
    assert (created.returncode, key_id_of(text) is not None) == (0, True)
    assert "only time" in created.stderr
    assert is_valid(tmp_path, text)
    for arguments in (("list",), ("list", "--json"), ("show", "ci"), ("show", "ci", "--json")):
        shown = run(tmp_path, "keys", *arguments)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "ci" in shown.stdout
        assert text[12:] not in shown.stdout
    assert run(tmp_path, "keys", "revoke", "ci").stdout.startswith("ci is revoked")
    assert not is_valid(tmp_path, text)
    assert document(tmp_path, "list") == {"keys": []}
    (listed,) = document(tmp_path, "list", "--all")["keys"]
    assert (listed["name"], listed["state"]) == ("ci", "revoked")
    assert "gptmock keys list --all" in run(tmp_path, "keys", "list").stdout


def test_all_terms(tmp_path: Path, simulator: SimulatorProcess):
    write_login(tmp_path, simulator.new_login(email="ada@example.test"))
    account = json.loads(run(tmp_path, "accounts", "list", "--json").stdout)["accounts"][0]["id"]
    made = document(
        tmp_path, "create", "ci", "--models", "gpt-6*, gpt-5.5", "--rpm", "60", "--tokens-per-day", "2M",
        "--tokens-per-week", "500k", "--concurrency", "4", "--account", "ada@example.test", "--role", "viewer",
        "--owner", "Ada", "--reasoning-compat", "current", "--reasoning-effort", "high", "--web-search", "on",
        "--expires", "2100-01-31",
    )  # fmt: skip
    assert terms_of(tmp_path, made["id"]) == KeyTerms(
        role="viewer",
        owner="Ada",
        models=("gpt-6*", "gpt-5.5"),
        rpm=60,
        tokens_per_day=2_000_000,
        tokens_per_week=500_000,
        concurrency=4,
        expires_at=4_105_036_800.0,
        account_id=account,
        defaults=KeyDefaults("legacy", "high", web_search=True),
    )
    assert (made["account"], made["expires_at"]) == ("ada@example.test", "2100-01-31T00:00:00Z")
    assert key_id_of(made["key"]) == made["id"]


def test_update_changes_what_is_given_and_nothing_else(tmp_path: Path):
    text = document(tmp_path, "create", "ci", "--rpm", "60", "--concurrency", "4", "--reasoning-effort", "high")["key"]
    updated = document(tmp_path, "update", "ci", "--rpm", "none", "--web-search", "off", "--admin")
    assert (updated["rpm"], updated["concurrency"], updated["role"]) == (None, 4, "admin")
    assert updated["defaults"] == {"reasoning_style": None, "reasoning_effort": "high", "web_search": False}
    assert "key" not in updated
    document(tmp_path, "update", "ci", "--reasoning-effort", "default", "--models", "x", "--expires", "1h")
    terms = terms_of(tmp_path, "ci")
    assert (terms.defaults.reasoning_effort, terms.models, terms.rpm) == (None, ("x",), None)
    assert terms.expires_at is not None
    document(tmp_path, "update", "ci", "--models", "all", "--expires", "never")
    assert (terms_of(tmp_path, "ci").models, terms_of(tmp_path, "ci").expires_at) == ((), None)
    assert is_valid(tmp_path, text)


def test_rotate_gives_a_new_secret_and_an_overlap_if_wanted(tmp_path: Path):
    first = document(tmp_path, "create", "ci")["key"]
    rotated = document(tmp_path, "rotate", "ci", "--overlap", "1h")
    second, until = rotated["key"], datetime.fromisoformat(rotated["old_key_until"])
    assert (until - datetime.fromisoformat(rotated["rotated_at"])).total_seconds() == pytest.approx(3600, abs=1)
    assert is_valid(tmp_path, first)
    assert is_valid(tmp_path, second)
    told = run(tmp_path, "keys", "rotate", "ci", "--overlap", "2d").stderr
    assert re.search(r"The old key stays valid until \d{4}-\d\d-\d\d \d\d:\d\d \(in 1 d 23 h\)\.", told)
    ended = run(tmp_path, "keys", "rotate", "ci")
    third = ended.stdout.strip()
    assert "The old key has ended" in ended.stderr
    assert [is_valid(tmp_path, text) for text in (first, second, third)] == [False, False, True]


@pytest.mark.parametrize("command", ["create", "list", "show", "update", "rotate", "revoke"])
def test_each_help_has_an_example_that_is_understood(tmp_path: Path, command: str):
    shown = run(tmp_path, "keys", command, "--help")
    example = shown.stdout.partition("example:\n")[2].strip()
    assert example.startswith(f"gptmock keys {command}")
    if command not in ("create", "list"):
        run(tmp_path, "keys", "create", "ci")
    assert run(tmp_path, *shlex.split(example)[1:]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create",), "NAME"),
        (("create", " ci"), "a name has"),
        (("create", "a\x1bb"), "a name has"),
        (("create", "ci", "--rpm", "0"), "a whole number"),
        (("create", "ci", "--tokens-per-day", "-5"), "a whole number"),
        (("create", "ci", "--tokens-per-day", "2G"), "a whole number"),
        (("create", "ci", "--models", ","), "model names"),
        (("create", "ci", "--expires", "soon"), "a duration"),
        (("create", "ci", "--expires", "2020-01-01"), "in the past"),
        (("create", "ci", "--role", "root"), "invalid choice"),
        (("create", "ci", "--reasoning-compat", "loud"), "one of: think-tags"),
        (("create", "ci", "--reasoning-effort", "most"), "one of: none"),
        (("create", "ci", "--web-search", "maybe"), "one of: on"),
        (("rotate", "ci", "--overlap", "1"), "a duration"),
        (("update", "ci"), "say what to change"),
        ((), "COMMAND"),
    ],
)
def test_wrong_words_are_wrong_usage(tmp_path: Path, arguments: tuple[str, ...], said: str):
    shown = run(tmp_path, "keys", *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert said in shown.stderr


@pytest.mark.parametrize("name", ["GPTMOCK_ADMIN_KEY", " ci", "ci\x1b[31m"])
def test_a_name_that_is_none_makes_no_key(tmp_path: Path, name: str):
    refused = run(tmp_path, "keys", "create", name)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "a name has 1 to 100 printable characters" in refused.stderr
    assert document(tmp_path, "list", "--all") == {"keys": []}


def test_errors_say_what_to_do(tmp_path: Path):
    assert "gptmock keys create" in run(tmp_path, "keys", "list").stdout
    for command in (("show", "ci"), ("revoke", "ci"), ("rotate", "ci"), ("update", "ci", "--rpm", "1")):
        failed = run(tmp_path, "keys", *command)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert failed.stderr == (
            "gptmock: There is no key with the name or id 'ci'. All keys are in: gptmock keys list\n"
        )
    document(tmp_path, "create", "ci")
    taken = run(tmp_path, "keys", "create", "ci")
    assert (taken.returncode, "choose another name" in taken.stderr) == (1, True)
    nobody = run(tmp_path, "keys", "create", "other", "--account", "bob")
    assert (nobody.returncode, "There is no account bob" in nobody.stderr) == (1, True)
    assert len(document(tmp_path, "list")["keys"]) == 1
    run(tmp_path, "keys", "revoke", "ci")
    assert "was revoked; create another one" in run(tmp_path, "keys", "update", "ci", "--rpm", "1").stderr


def test_a_person_sees_a_table(tmp_path: Path):
    document(tmp_path, "create", "ci", "--rpm", "60", "--tokens-per-day", "2M", "--concurrency", "3")
    with at_terminal(tmp_path, "keys", "list", COLUMNS="160") as terminal:
        assert terminal.ended() == 0
        assert "60/min, 2000000 tokens/day, 3 at once" in terminal.text
    shown = run(tmp_path, "keys", "show", "ci").stdout
    assert "LIMITS      60/min, 2000000 tokens/day, 3 at once" in shown


def test_without_the_pepper_of_its_keys_a_server_does_not_start_and_commands_go_on(tmp_path: Path):
    with_pepper = {"GPTMOCK_KEY_PEPPER": "planted-pepper-0123456789abcdefghi"}
    assert run(tmp_path, "keys", "create", "ci", **with_pepper).returncode == 0
    started = run_process(tmp_path, "serve", "--port", "0")
    assert (started.returncode, started.stdout) == (2, "")
    (line,) = started.stderr.splitlines()
    assert line.startswith("gptmock: GPTMOCK_KEY_PEPPER: 1 client keys were stored with another pepper, such as")
    assert run(tmp_path, "keys", "list").stdout.count("ci") == 1
    assert run(tmp_path, "keys", "revoke", "ci").returncode == 0
    assert "planted" not in started.stderr
