"""``gptmock accounts`` and ``gptmock logout``, as a script and a person use them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import stat
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.command_services import open_command_services
from gptmock.settings_sources import load_settings
from tests.cli.inside import run
from tests.cli.test_commands import run as run_process
from tests.harness import (
    CHAT_PATH,
    CONSOLE_SCRIPT,
    SimulatorProcess,
    chat,
    client,
    get,
    plain_environment,
    server_process,
    until,
    wait_until,
    write_login,
)
from tests.ports import free_port
from tests.terminal import at_terminal


@pytest.fixture
def home(tmp_path: Path, simulator: SimulatorProcess) -> Path:
    """A home with the accounts ``ada`` (the default) and ``work``."""

    async def fill() -> None:
        async with open_command_services(
            load_settings({"home": str(tmp_path)}, environ={}, directory=tmp_path)
        ) as services:
            for label in ("ada", "work"):
                path = write_login(tmp_path / "files" / label, simulator.new_login(email=f"{label}@example.test"))
                await services.import_login(path, label=label)

    asyncio.run(fill())
    return tmp_path


def listed(home: Path) -> list[dict[str, Any]]:
    shown = run(home, "accounts", "list", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    return list(json.loads(shown.stdout)["accounts"])


def labels(home: Path) -> list[str]:
    return [account["label"] for account in listed(home)]


def tokens_in(folder: Path) -> set[str]:
    """Every token of the files that were imported."""
    documents = [json.loads(path.read_text()) for path in folder.rglob("auth.json")]
    return {token for document in documents for name, token in document["tokens"].items() if name != "account_id"}


# --- Looking --------------------------------------------------------------------------------


def test_the_list_at_a_terminal_and_piped(home: Path):
    piped = run(home, "accounts", "list")
    head, ada, work = piped.stdout.splitlines()
    assert head.split() == ["LABEL", "PLAN", "WORKSPACE", "STATE", "TOKEN", "ENDS"]
    assert ada.startswith("ada ")
    assert " default " in ada
    assert " ready " in work
    with at_terminal(home, "accounts", "list") as terminal:
        assert terminal.ended() == 0
        assert "default" in terminal.text
        assert "\x1b[1m" in terminal.raw
        shown = piped.stdout + terminal.raw
    assert not any(token in shown for token in tokens_in(home / "files"))


def test_a_label_that_the_terminal_cannot_show_is_shown_all_the_same(home: Path, simulator: SimulatorProcess):
    path = write_login(home / "more", simulator.new_login())
    assert run(home, "accounts", "import", str(path), "--account", "wörk two").returncode == 0
    for command in (("accounts", "list"), ("info", "--offline")):
        shown = run_process(home, *command, PYTHONIOENCODING="ascii")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert r"w\xf6rk two" in shown.stdout
    # What is to be typed can be typed.
    exported = run(home, "accounts", "export", "wörk two", "--output", "given.json")
    assert "accounts remove 'wörk two' --keep-login" in exported.stderr


@pytest.mark.parametrize("arguments", [("accounts", "list"), ("info", "--offline", "--json")])
def test_where_nothing_can_be_written_it_says_so(home: Path, arguments: tuple[str, ...]):
    with Path("/dev/full").open("w") as full:
        shown = subprocess.run(
            [CONSOLE_SCRIPT, *arguments],
            env=plain_environment(GPTMOCK_HOME=str(home)),
            cwd=home,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (shown.returncode, shown.stderr) == (1, "gptmock: No space left on device\n")


def test_nobody_is_said_in_words(tmp_path: Path):
    shown = run(tmp_path, "accounts", "list")
    assert (shown.returncode, shown.stdout) == (0, "No ChatGPT account is signed in. Sign in with: gptmock login\n")
    assert listed(tmp_path) == []


@pytest.mark.parametrize("command", ["default", "pause", "resume", "remove", "export"])
def test_an_unknown_label_is_one_line_that_names_the_known(home: Path, command: str):
    more = ("--output", "x.json") if command == "export" else ()
    shown = run(home, "accounts", command, "nobody", *more)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == "gptmock: There is no account nobody. Accounts: ada, work\n"
    assert not (home / "x.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("accounts",),
        ("accounts", "nonsense"),
        ("accounts", "default"),
        ("accounts", "export", "ada"),
        ("accounts", "import"),
        ("accounts", "import", "x", "--account", ""),
        ("accounts", "import", "x", "--account", "a,b"),
        ("accounts", "import", "x", "--account", "a\x1b[2J"),
        ("login", "--account", "a\nb"),
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]):
    shown = run(tmp_path, *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "usage: gptmock" in shown.stderr
    assert "Traceback" not in shown.stderr
    assert "\x1b" not in shown.stderr


@pytest.mark.parametrize("command", ["list", "default", "import", "export", "remove", "pause", "resume"])
def test_every_subcommand_has_help(tmp_path: Path, command: str):
    shown = run(tmp_path, "accounts", command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"usage: gptmock accounts {command}" in shown.stdout


# --- Choosing -------------------------------------------------------------------------------


def test_the_default_is_chosen_by_label_id_or_address(home: Path):
    by_id = {account["label"]: account["id"] for account in listed(home)}
    for name, label in (("work", "work"), (by_id["ada"], "ada"), ("work@example.test", "work")):
        shown = run(home, "accounts", "default", name)
        assert (shown.returncode, shown.stdout) == (0, f"{label} is the default account now.\n")
        assert [account["label"] for account in listed(home) if account["default"]] == [label]


async def test_a_running_server_follows(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    """Each change is seen by two workers within a second."""

    def used() -> str:
        return str(simulator.requests("/backend-api/codex/responses")[-1]["headers"]["chatgpt-account-id"])

    shown = await asyncio.to_thread(run_process, home, "accounts", "list", "--json")
    workspaces = {account["label"]: account["account_id"] for account in json.loads(shown.stdout)["accounts"]}
    with server_process(home, simulator.base_url, workers=2) as server:
        async with client(server.base_url) as asked:

            async def status() -> int:
                return (await asked.post(CHAT_PATH, json=chat())).status_code

            assert await status() == 200
            assert used() == workspaces["ada"]
            for arguments, expected in (
                (("accounts", "default", "work"), (200, "work")),
                (("accounts", "pause", "work"), (503, None)),
                (("accounts", "resume", "work"), (200, "work")),
                (("logout", "work"), (200, "ada")),
                (("logout", "ada"), (503, None)),
            ):
                assert (await asyncio.to_thread(run_process, home, *arguments, **issuer)).returncode == 0
                await until_so(status, expected[0])
                assert expected[1] is None or used() == workspaces[expected[1]]
            reasons = (await asked.get("/readyz")).json()["reasons"]
            assert "gptmock login" in reasons[0]


async def until_so(ask: Any, status: int) -> None:
    """Wait until all workers answer so, within a second and many times in a row."""
    await asyncio.sleep(1.0)
    assert [await ask() for _ in range(10)] == [status] * 10


def test_a_paused_default_is_explained(home: Path):
    shown = run(home, "accounts", "pause", "ada")
    assert shown.stdout.startswith("ada is paused.\nIt is the default account")
    assert run(home, "accounts", "pause", "work").stdout == "work is paused.\n"
    assert [account["paused"] for account in listed(home)] == [True, True]
    assert "paused" in run(home, "accounts", "list").stdout
    assert run(home, "accounts", "resume", "ada").stdout == "ada is in service.\n"
    assert [account["paused"] for account in listed(home)] == [False, True]


# --- Records that cannot be decrypted ------------------------------------------------------------------


def spoil(home: Path, label: str) -> str:
    """Flip one bit of an account's stored token record; returns the account's id."""
    account_id = next(str(account["id"]) for account in listed(home) if account["label"] == label)
    with contextlib.closing(sqlite3.connect(home / "state.db", isolation_level=None)) as db:
        name = f"acct:{{{account_id}}}:tokens"
        (value,) = db.execute("SELECT value FROM records WHERE name = ?", (name,)).fetchone()
        db.execute("UPDATE records SET value = ? WHERE name = ?", (value[:-1] + bytes([value[-1] ^ 1]), name))
    return account_id


def test_an_account_that_does_not_open_stops_no_other(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    account_id = spoil(home, "ada")
    shown = run(home, "accounts", "list")
    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["LABEL", "work", "ada"]
    assert "cannot be decrypted" in shown.stdout
    assert shown.stderr.startswith("ada: A stored tokens record was changed or moved by somebody else. Sign in to it")
    document = json.loads(run(home, "accounts", "list", "--json").stdout)
    assert [account["label"] for account in document["accounts"]] == ["work"]
    assert [(broken["label"], broken["id"]) for broken in document["broken"]] == [("ada", account_id)]
    for command in (("info", "--offline"), ("doctor",)):
        shown = run(home, *command, **issuer)
        assert "was changed or moved" in shown.stdout
        assert "gptmock accounts remove" in shown.stdout
        assert "work" in shown.stdout
    assert json.loads(run(home, "info", "--offline", "--json").stdout)["broken"] == document["broken"]
    with server_process(home, simulator.base_url, wait_ready=False) as server:
        wait_until(lambda: "event" in server.text())
        assert "ada: A stored tokens record was changed" in server.text()
        assert run(home, "accounts", "default", "work").returncode == 0
        # Each worker finds out by itself, within a second.
        asked = (f"{server.base_url}{CHAT_PATH}", chat())
        wait_until(lambda: {httpx.post(asked[0], json=asked[1]).status_code for _ in range(10)} == {200})


@pytest.mark.parametrize("mend", ["remove", "login"])
def test_an_account_that_does_not_open_is_mended_or_taken_away(
    home: Path, simulator: SimulatorProcess, issuer: dict[str, str], mend: str
):
    ada = next(account for account in listed(home) if account["label"] == "ada")
    spoil(home, "ada")
    if mend == "remove":
        shown = run(home, "accounts", "remove", "ada", **issuer)
        assert (shown.returncode, shown.stdout) == (0, "Signed out of ada.\nThe default account is work now.\n")
        assert "could not be revoked at the issuer" in shown.stderr
        assert labels(home) == ["work"]
    else:
        again = simulator.new_login(account_id=ada["account_id"], user_id=ada["user_id"])
        path = write_login(home / "again", again)
        assert run(home, "accounts", "import", str(path), "--account", "ada").returncode == 0
        assert labels(home) == ["ada", "work"]
    assert json.loads(run(home, "accounts", "list", "--json").stdout)["broken"] == []


def test_the_only_account_does_not_open(home: Path, issuer: dict[str, str]):
    assert run(home, "logout", "work", **issuer).returncode == 0
    spoil(home, "ada")
    shown = run(home, "info", "--offline")
    assert shown.stdout.startswith("ada: A stored tokens record was changed")
    assert "Nobody is signed in" not in shown.stdout
    assert run(home, "logout", **issuer).stdout == "Signed out of ada.\n"
    told = run(home, "info", "--offline").stdout
    assert ("Nobody is signed in" in told, "No ChatGPT account" in told) == (True, False), "once"


# --- Leaving --------------------------------------------------------------------------------


def test_a_logout_revokes(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    shown = run(home, "logout", "ada", **issuer)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == "Signed out of ada.\nThe default account is work now.\n"
    (revocation,) = simulator.requests("/oauth/revoke")
    assert revocation["body"]["token_type_hint"] == "refresh_token"
    assert labels(home) == ["work"]
    assert run(home, "logout", **issuer).stdout == "Signed out of work.\n"
    shown = run(home, "logout", **issuer)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == "gptmock: No ChatGPT account is signed in.\n"


def test_a_logout_of_several_asks_which(home: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    shown = run(home, "logout", **issuer)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == "gptmock: there are several accounts; say which: ada, work\n"
    assert simulator.requests("/oauth/revoke") == []


def test_a_logout_without_the_issuer_is_told(home: Path):
    shown = run(home, "logout", "ada", GPTMOCK_ISSUER=f"http://127.0.0.1:{free_port()}")
    assert shown.returncode == 0
    assert "deleted here, but it could not be revoked" in shown.stderr
    assert labels(home) == ["work"]


def test_a_logout_stays_a_logout(tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str]):
    path = write_login(tmp_path, simulator.new_login(email="ada@example.test"))
    assert labels(tmp_path) == ["ada@example.test"]
    assert run(tmp_path, "logout", **issuer).returncode == 0
    assert path.exists()
    assert labels(tmp_path) == []


def test_a_removal_may_leave_the_login_to_another_program(
    home: Path, simulator: SimulatorProcess, issuer: dict[str, str]
):
    assert run(home, "accounts", "remove", "ada", "--keep-login", **issuer).returncode == 0
    assert simulator.requests("/oauth/revoke") == []
    assert run(home, "accounts", "remove", "work", **issuer).returncode == 0
    assert len(simulator.requests("/oauth/revoke")) == 1
    assert labels(home) == []


# --- In and out -----------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["codex", "chatmock"])
def test_an_import_says_that_the_login_changes_hands(tmp_path: Path, simulator: SimulatorProcess, format_: str):
    document = simulator.new_login(email="ada@example.test")
    if format_ == "chatmock":
        # GPTMock's as well.
        document = {name: value for name, value in document.items() if name in ("tokens", "last_refresh")}
    path = write_login(tmp_path / "theirs", document)
    before = path.read_bytes()
    shown = run(tmp_path, "accounts", "import", str(path))
    assert (shown.returncode, shown.stdout) == (0, "Imported ada@example.test (plus).\n")
    assert "only with gptmock from now on" in shown.stderr
    assert "single-use" in shown.stderr
    assert path.read_bytes() == before
    again = run(tmp_path, "accounts", "import", str(path))
    assert again.returncode == 1
    assert "imported before" in again.stderr


def test_an_import_does_not_take_the_label_of_another(home: Path, simulator: SimulatorProcess):
    before = listed(home)
    path = write_login(home / "more", simulator.new_login(email="bob@example.test"))
    shown = run(home, "accounts", "import", str(path), "--account", "work")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "The label work belongs to another account than the one of this login (bob@example.test)" in shown.stderr
    assert listed(home) == before
    # The file was not used up by it.
    assert run(home, "accounts", "import", str(path), "--account", "bob").returncode == 0
    assert labels(home) == ["ada", "bob", "work"]


def test_a_file_in_the_home_may_be_the_one_that_is_imported(tmp_path: Path, simulator: SimulatorProcess):
    path = write_login(tmp_path, simulator.new_login(email="ada@example.test"))
    assert run(tmp_path, "accounts", "import", str(path), "--account", "ada").returncode == 0
    assert labels(tmp_path) == ["ada"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no file"),
        ("{", "is not valid JSON"),
        ('{"OPENAI_API_KEY": "sk-planted"}', "holds no ChatGPT login"),
    ],
)
def test_what_cannot_be_imported_is_one_line(tmp_path: Path, content: str | None, words: str):
    if content is not None:
        (tmp_path / "given.json").write_text(content)
    shown = run(tmp_path, "accounts", "import", "given.json")
    (line,) = shown.stderr.splitlines()
    assert (shown.returncode, shown.stdout) == (1, "")
    assert words in line
    assert "sk-planted" not in line


def test_an_export_is_private_and_complete(home: Path, issuer: dict[str, str]):
    shown = run(home, "accounts", "export", "work", "--output", "out/work.json", **issuer)
    assert (shown.returncode, shown.stdout) == (0, "Wrote the login of work to out/work.json.\n")
    assert "sign each other out" in shown.stderr
    assert "--keep-login" in shown.stderr
    path = home / "out" / "work.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written, given = json.loads(path.read_text()), json.loads((home / "files" / "work" / "auth.json").read_text())
    assert written["tokens"] == given["tokens"]
    assert not any(token in shown.stdout + shown.stderr for token in tokens_in(home / "files"))
    # Another home takes it over.
    other = home / "other"
    other.mkdir()
    assert run(other, "accounts", "import", str(path)).returncode == 0
    assert labels(other) == ["work@example.test"]


@pytest.mark.parametrize("output", ["-", "stdout", "file-link", "dangling", "pipe", "full.json", "folder"])
def test_an_export_goes_to_a_new_plain_file_only(home: Path, output: str):
    # Stand-ins for what lies in /dev: were one replaced, it would be one of the test's own.
    (home / "stdout").symlink_to("/proc/self/fd/1")
    (home / "empty").touch()
    (home / "file-link").symlink_to(home / "empty")
    (home / "dangling").symlink_to(home / "nothing")
    os.mkfifo(home / "pipe")
    (home / "folder").mkdir()
    (home / "full.json").write_text("mine")
    before = {path.name: path.lstat().st_ino for path in home.iterdir() if not path.name.startswith("state.db")}
    shown = run(home, "accounts", "export", "work", "--output", output)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("gptmock: --output: ")
    assert (home / "full.json").read_text() == "mine"
    assert {path.name: path.lstat().st_ino for path in home.iterdir() if path.name in before} == before


def test_an_export_at_a_terminal_shows_no_token(home: Path):
    (home / "stdout").symlink_to("/proc/self/fd/1")
    with at_terminal(home, "accounts", "export", "work", "--output", "stdout") as terminal:
        assert terminal.ended() == 2
        assert "never written to a terminal" in terminal.text
        shown = terminal.raw
    assert not any(token in shown for token in tokens_in(home / "files"))
    assert (home / "stdout").is_symlink()


def test_an_empty_file_made_for_it_is_filled(home: Path):
    (home / "made.json").touch(mode=0o644)
    assert run(home, "accounts", "export", "work", "--output", "made.json").returncode == 0
    assert stat.S_IMODE((home / "made.json").stat().st_mode) == 0o600


async def test_an_import_is_seen_by_a_server_that_waits(
    tmp_path: Path, simulator: SimulatorProcess, issuer: dict[str, str]
):
    path = write_login(tmp_path / "theirs", simulator.new_login())
    with server_process(tmp_path, simulator.base_url, workers=1, wait_ready=False) as server:
        async with client(server.base_url) as asked:
            states: list[int] = []

            def healthy() -> bool:
                try:
                    states.append(get(f"{server.base_url}/readyz").status_code)
                except httpx.HTTPError:
                    return False
                return True

            await until(healthy, seconds=40)
            assert states == [503]
            imported = await asyncio.to_thread(run_process, tmp_path, "accounts", "import", str(path), **issuer)
            assert imported.returncode == 0
            await until_so(lambda: _ready(asked), 200)


async def _ready(asked: Any) -> int:
    return int((await asked.get("/readyz")).status_code)


@pytest.mark.parametrize("command", ["list", "default", "import", "export", "remove", "pause", "resume"])
def test_each_help_has_an_example(tmp_path: Path, command: str):
    shown = run(tmp_path, "accounts", command, "--help")
    assert shown.stdout.partition("example:\n")[2].strip().startswith(f"gptmock accounts {command}")
