from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from gptmock.accounts import Secret, TokenSet
from gptmock.errors import NotLoggedIn, StoreUnavailable
from gptmock.simulator.accounts import IssuedLogin, TokenRegistry
from gptmock.simulator.options import SimulatorOptions
from gptmock.stores.auth_file import FILE_NAME, read_login, write_login, write_private
from tests.harness import write_login as written_by_others

BOOK = TokenRegistry(SimulatorOptions)
CRASHER = """
import asyncio, os, sys
from pathlib import Path

def crash(*_):
    os._exit(9)

Path.replace = crash
from gptmock.stores.auth_file import write_private
write_private(Path(sys.argv[1]), b"half of something new")
"""


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def read(home: Path) -> TokenSet:
    tokens = read_login(home / FILE_NAME)
    assert tokens is not None
    return tokens


@pytest.fixture
def login() -> IssuedLogin:
    return BOOK.issue(email="ada@example.test", plan="pro", expires_in=3600)


@pytest.fixture
def home(tmp_path: Path, login: IssuedLogin) -> Path:
    written_by_others(tmp_path, login.auth_json())
    return tmp_path


# --- What is read ------------------------------------------------------------------------------


def test_a_login_of_codex_is_read_with_its_account_and_expiry(home: Path, login: IssuedLogin):
    tokens = read(home)
    assert tokens.version == 0
    assert tokens.access_token.reveal() == login.access_token
    assert tokens.refresh_token == Secret(login.refresh_token)
    assert tokens.id_token == Secret(login.id_token)
    assert (tokens.account.workspace_id, tokens.account.user_id) == (login.account_id, login.user_id)
    assert (tokens.account.email, tokens.account.plan) == ("ada@example.test", "pro")
    assert tokens.expires_at == pytest.approx(time.time() + 3600, abs=10)
    assert tokens.last_refresh == pytest.approx(time.time(), abs=10)


def test_no_token_is_in_the_repr_of_what_was_read(home: Path, login: IssuedLogin):
    shown = repr(read(home))
    assert all(token not in shown for token in (login.access_token, login.refresh_token, login.id_token))


def test_without_a_file_nobody_is_logged_in(tmp_path: Path):
    assert read_login(tmp_path / FILE_NAME) is None


@pytest.mark.parametrize(
    "content",
    [
        b'{"OPENAI_API_KEY": "sk-planted", "tokens": null}',
        b'{"OPENAI_API_KEY": "sk-planted"}',
        b'{"tokens": []}',
        b'{"tokens": {}}',
        b'{"tokens": {"access_token": ""}}',
        b'{"tokens": {"access_token": 17}}',
        b"[]",
        b"null",
        b'"text"',
    ],
)
def test_a_file_without_a_chatgpt_login_says_so_and_not_what_it_holds(tmp_path: Path, content: bytes):
    (tmp_path / "auth.json").write_bytes(content)
    with pytest.raises(NotLoggedIn) as caught:
        read(tmp_path)
    assert "gptmock login" in caught.value.message
    assert "sk-planted" not in caught.value.message


def test_tokens_that_name_no_account_are_no_login(tmp_path: Path):
    (tmp_path / "auth.json").write_text('{"tokens": {"access_token": "opaque", "refresh_token": "r"}}')
    with pytest.raises(NotLoggedIn, match="which account"):
        read(tmp_path)


def test_an_opaque_token_beside_an_account_id_is_used_and_tells_no_expiry(tmp_path: Path):
    (tmp_path / "auth.json").write_text('{"tokens": {"access_token": "opaque", "account_id": "w-1"}}')
    tokens = read(tmp_path)
    assert (tokens.account.workspace_id, tokens.expires_at, tokens.refresh_token) == ("w-1", None, None)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"not json", b'{"tokens": {"access_token": "\xff"}}'])
def test_garbage_in_the_file_is_the_stores_fault(tmp_path: Path, content: bytes):
    (tmp_path / "auth.json").write_bytes(content)
    with pytest.raises(StoreUnavailable, match="not valid JSON"):
        read(tmp_path)


def test_a_folder_in_the_place_of_the_file_is_the_stores_fault(tmp_path: Path):
    (tmp_path / "auth.json").mkdir()
    with pytest.raises(StoreUnavailable, match="could not be read"):
        read(tmp_path)


@pytest.mark.parametrize("moment", [17, None, "", "yesterday", [], "2026-11-23T12:00:00.123456789Z"])
def test_an_odd_last_refresh_is_no_obstacle(tmp_path: Path, login: IssuedLogin, moment: object):
    written_by_others(tmp_path, {**login.auth_json(), "last_refresh": moment})
    assert (read(tmp_path)).access_token.reveal() == login.access_token


# --- What is written -------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_is_written_is_private_and_so_is_its_folder(tmp_path: Path, umask: int):
    path = tmp_path / "folder" / "file"
    before = os.umask(umask)
    try:
        write_private(path, b"secret")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"secret"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert names_in(path.parent) == ["file"]


def test_a_file_that_everybody_could_read_becomes_private(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "auth.json"
    write_private(path, b"old")
    crashed = subprocess.run([sys.executable, "-c", CRASHER, str(path)], check=False)
    assert crashed.returncode == 9
    assert path.read_bytes() == b"old"
    for each in tmp_path.iterdir():
        assert each.stat().st_mode & 0o777 == 0o600, "what a crash leaves is private too"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file"
    write_private(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_what_is_written_is_what_codex_keeps(home: Path, login: IssuedLogin, tmp_path: Path):
    tokens = read(home)
    path = tmp_path / "out" / "exported.json"
    write_login(path, tokens)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert datetime.fromisoformat(document.pop("last_refresh")).timestamp() == tokens.last_refresh
    assert document == {name: value for name, value in login.auth_json().items() if name != "last_refresh"}
    assert read_login(path) == tokens
    write_login(path, replace(tokens, last_refresh=None))
    assert read_login(path) == replace(tokens, last_refresh=None)
