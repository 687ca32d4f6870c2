from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gptmock.accounts import IssuedTokens, Secret, TokenSet
from gptmock.errors import LockBusy, NotLoggedIn, StoreUnavailable
from gptmock.simulator.accounts import IssuedLogin, LoginBook
from gptmock.simulator.options import SimulatorOptions
from gptmock.stores.auth_file import AuthFileLock, AuthFileVault, write_private
from tests.harness import wait_until, write_login

BOOK = LoginBook(SimulatorOptions)
HOLDER = """
import asyncio, sys
from pathlib import Path
from gptmock.stores.auth_file import AuthFileLock

async def hold():
    async with AuthFileLock(Path(sys.argv[1])).hold():
        print("held", flush=True)
        sys.stdin.readline()

asyncio.run(hold())
"""
COUNTER = """
import asyncio, sys, time
from pathlib import Path
from gptmock.stores.auth_file import AuthFileLock

async def count(home, file):
    for _ in range(25):
        async with AuthFileLock(home, wait_seconds=60).hold():
            number = int(file.read_text())
            await asyncio.sleep(0.001)
            file.write_text(str(number + 1))

asyncio.run(count(Path(sys.argv[1]), Path(sys.argv[2])))
"""
CRASHER = """
import asyncio, os, sys
from pathlib import Path

def crash(*_):
    os._exit(9)

Path.replace = crash
from gptmock.stores.auth_file import write_private
write_private(Path(sys.argv[1]), b"half of something new")
"""


def issued(login: IssuedLogin) -> IssuedTokens:
    return IssuedTokens(Secret(login.access_token), Secret(login.refresh_token), Secret(login.id_token))


def document(home: Path) -> dict[str, Any]:
    return dict(json.loads((home / "auth.json").read_text()))


def names_in(home: Path) -> list[str]:
    return sorted(each.name for each in home.iterdir())


@pytest.fixture
def login() -> IssuedLogin:
    return BOOK.issue(email="ada@example.test", plan="pro", expires_in=3600)


@pytest.fixture
def vault(tmp_path: Path, login: IssuedLogin) -> AuthFileVault:
    write_login(tmp_path, login.auth_json())
    return AuthFileVault(tmp_path)


# --- load ------------------------------------------------------------------------------


async def test_a_login_of_codex_is_read_with_its_account_and_expiry(vault: AuthFileVault, login: IssuedLogin):
    tokens = await vault.load()
    assert tokens.access_token.reveal() == login.access_token
    assert tokens.refresh_token == Secret(login.refresh_token)
    assert tokens.id_token == Secret(login.id_token)
    assert (tokens.account.workspace_id, tokens.account.user_id) == (login.account_id, login.user_id)
    assert (tokens.account.email, tokens.account.plan) == ("ada@example.test", "pro")
    assert tokens.expires_at == pytest.approx(time.time() + 3600, abs=10)
    assert tokens.last_refresh == pytest.approx(time.time(), abs=10)


async def test_no_token_is_in_the_repr_of_what_was_read(vault: AuthFileVault, login: IssuedLogin):
    shown = repr(await vault.load())
    assert all(token not in shown for token in (login.access_token, login.refresh_token, login.id_token))


async def test_without_a_file_nobody_is_logged_in(tmp_path: Path):
    with pytest.raises(NotLoggedIn, match="GPTMOCK_HOME"):
        await AuthFileVault(tmp_path).load()


async def test_a_file_that_appears_later_is_seen(tmp_path: Path, login: IssuedLogin):
    vault = AuthFileVault(tmp_path)
    with pytest.raises(NotLoggedIn):
        await vault.load()
    write_login(tmp_path, login.auth_json())
    assert (await vault.load()).access_token.reveal() == login.access_token


async def test_a_file_that_goes_away_is_missed(vault: AuthFileVault):
    await vault.load()
    vault.path.unlink()
    with pytest.raises(NotLoggedIn):
        await vault.load()


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
async def test_a_file_without_a_chatgpt_login_says_so_and_not_what_it_holds(tmp_path: Path, content: bytes):
    (tmp_path / "auth.json").write_bytes(content)
    with pytest.raises(NotLoggedIn) as caught:
        await AuthFileVault(tmp_path).load()
    assert "GPTMOCK_HOME" in caught.value.message
    assert "sk-planted" not in caught.value.message


async def test_tokens_that_name_no_account_are_no_login(tmp_path: Path):
    (tmp_path / "auth.json").write_text('{"tokens": {"access_token": "opaque", "refresh_token": "r"}}')
    with pytest.raises(NotLoggedIn, match="which account"):
        await AuthFileVault(tmp_path).load()


async def test_an_opaque_token_beside_an_account_id_is_used_and_tells_no_expiry(tmp_path: Path):
    (tmp_path / "auth.json").write_text('{"tokens": {"access_token": "opaque", "account_id": "w-1"}}')
    tokens = await AuthFileVault(tmp_path).load()
    assert (tokens.account.workspace_id, tokens.expires_at, tokens.refresh_token) == ("w-1", None, None)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"not json", b'{"tokens": {"access_token": "\xff"}}'])
async def test_garbage_in_the_file_is_the_stores_fault(tmp_path: Path, content: bytes):
    (tmp_path / "auth.json").write_bytes(content)
    with pytest.raises(StoreUnavailable, match="not valid JSON"):
        await AuthFileVault(tmp_path).load()


async def test_a_folder_in_the_place_of_the_file_is_the_stores_fault(tmp_path: Path):
    (tmp_path / "auth.json").mkdir()
    with pytest.raises(StoreUnavailable, match="could not be read"):
        await AuthFileVault(tmp_path).load()


@pytest.mark.parametrize("moment", [17, None, "", "yesterday", [], "2026-11-23T12:00:00.123456789Z"])
async def test_an_odd_last_refresh_is_no_obstacle(tmp_path: Path, login: IssuedLogin, moment: object):
    write_login(tmp_path, {**login.auth_json(), "last_refresh": moment})
    assert (await AuthFileVault(tmp_path).load()).access_token.reveal() == login.access_token


async def test_what_has_not_changed_is_answered_from_memory(vault: AuthFileVault):
    assert await vault.load() is await vault.load()


async def test_a_rewrite_with_the_same_size_and_mtime_is_seen(vault: AuthFileVault):
    before, stat = await vault.load(), vault.path.stat()
    other = vault.path.read_text().replace(before.access_token.reveal(), before.access_token.reveal()[::-1])
    vault.path.write_text(other)
    while vault.path.stat().st_ctime_ns == stat.st_ctime_ns:
        # The kernel's clock moves in ticks.
        os.utime(vault.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.utime(vault.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert vault.path.stat().st_mtime_ns == stat.st_mtime_ns
    assert vault.path.stat().st_size == stat.st_size
    assert (await vault.load()).version != before.version


# --- save ------------------------------------------------------------------------------


async def test_saved_tokens_are_in_the_file_and_private(vault: AuthFileVault, tmp_path: Path, login: IssuedLogin):
    newer = BOOK.rotate(login.refresh_token)
    now = 1_790_000_000.0
    saved = await vault.save(await vault.load(), issued(newer), now=now)
    assert saved.access_token.reveal() == newer.access_token
    assert (await AuthFileVault(tmp_path).load()) == saved
    assert vault.path.stat().st_mode & 0o777 == 0o600
    assert document(tmp_path)["last_refresh"] == datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
    assert names_in(tmp_path) == ["auth.json"]


async def test_a_file_that_everybody_could_read_becomes_private(vault: AuthFileVault, login: IssuedLogin):
    vault.path.chmod(0o644)
    await vault.save(await vault.load(), issued(BOOK.rotate(login.refresh_token)), now=0)
    assert vault.path.stat().st_mode & 0o777 == 0o600


async def test_members_that_are_not_ours_are_kept(tmp_path: Path, login: IssuedLogin):
    strange = {**login.auth_json(), "OPENAI_API_KEY": "sk-kept", "agent": {"deep": [1, "\u2028"]}}
    strange["tokens"] = {**strange["tokens"], "scope": "kept"}
    write_login(tmp_path, strange)
    vault = AuthFileVault(tmp_path)
    await vault.save(await vault.load(), issued(BOOK.rotate(login.refresh_token)), now=0)
    after = document(tmp_path)
    assert (after["OPENAI_API_KEY"], after["agent"]) == ("sk-kept", {"deep": [1, "\u2028"]})
    assert (after["tokens"]["scope"], after["tokens"]["account_id"]) == ("kept", login.account_id)


async def test_what_the_issuer_left_out_keeps_its_old_value(vault: AuthFileVault, login: IssuedLogin):
    saved = await vault.save(await vault.load(), IssuedTokens(None, Secret("rt_next"), None), now=0)
    assert saved.access_token.reveal() == login.access_token
    assert saved.refresh_token == Secret("rt_next")
    assert saved.id_token == Secret(login.id_token)


async def test_a_login_made_meanwhile_wins_over_a_refresh(vault: AuthFileVault, tmp_path: Path, login: IssuedLogin):
    old = await vault.load()
    newer = BOOK.issue(email="new@example.test")
    write_login(tmp_path, newer.auth_json())
    held = await vault.save(old, issued(BOOK.rotate(login.refresh_token)), now=0)
    assert held.access_token.reveal() == newer.access_token
    assert document(tmp_path)["tokens"] == newer.auth_json()["tokens"]


async def test_a_logout_made_meanwhile_stays_a_logout(vault: AuthFileVault, login: IssuedLogin):
    old = await vault.load()
    vault.path.unlink()
    with pytest.raises(NotLoggedIn):
        await vault.save(old, issued(BOOK.rotate(login.refresh_token)), now=0)
    assert not vault.path.exists()


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "auth.json"
    write_private(path, b"old")
    crashed = subprocess.run([sys.executable, "-c", CRASHER, str(path)], check=False)
    assert crashed.returncode == 9
    assert path.read_bytes() == b"old"
    for each in tmp_path.iterdir():
        assert each.stat().st_mode & 0o777 == 0o600, "what a crash leaves is private too"


async def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    vault: AuthFileVault, tmp_path: Path, login: IssuedLogin, monkeypatch: pytest.MonkeyPatch
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before, tokens = vault.path.read_bytes(), await vault.load()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left on device") as caught:
        await vault.save(tokens, issued(BOOK.rotate(login.refresh_token)), now=0)
    assert str(tmp_path) not in caught.value.message
    assert caught.value.retry_after_seconds == 5.0
    assert vault.path.read_bytes() == before
    assert names_in(tmp_path) == ["auth.json"]


# --- reject ----------------------------------------------------------------------------


async def test_a_refused_refresh_token_is_given_out_no_more(vault: AuthFileVault, tmp_path: Path, login: IssuedLogin):
    tokens = await vault.load()
    await vault.reject(tokens, reason="reused")
    for each in (vault, AuthFileVault(tmp_path)):
        left = await each.load()
        assert left.refresh_token is None
        assert left.access_token.reveal() == login.access_token, "the access token is used to its end"
        assert left.version == tokens.version
    assert document(tmp_path)["tokens"] == login.auth_json()["tokens"], "nothing is thrown away"
    mark = json.dumps(document(tmp_path)["gptmock"])
    assert login.refresh_token not in mark
    assert "reused" in mark
    assert vault.path.stat().st_mode & 0o777 == 0o600


async def test_a_new_login_is_not_hurt_by_an_old_refusal(vault: AuthFileVault, tmp_path: Path):
    old = await vault.load()
    newer = BOOK.issue()
    write_login(tmp_path, newer.auth_json())
    await vault.reject(old, reason="reused")
    assert "gptmock" not in document(tmp_path)
    assert (await vault.load()).refresh_token == Secret(newer.refresh_token)


async def test_a_mark_that_was_left_behind_does_not_touch_the_next_login(vault: AuthFileVault, tmp_path: Path):
    await vault.reject(await vault.load(), reason="reused")
    newer = BOOK.issue()
    write_login(tmp_path, {**document(tmp_path), **newer.auth_json()})
    assert (await vault.load()).refresh_token == Secret(newer.refresh_token)


async def test_a_login_without_refresh_token_has_nothing_to_reject(tmp_path: Path, login: IssuedLogin):
    without = login.auth_json()
    without["tokens"] = {**without["tokens"], "refresh_token": ""}
    path = write_login(tmp_path, without)
    before = path.read_bytes()
    vault = AuthFileVault(tmp_path)
    await vault.reject(await vault.load(), reason="none")
    assert path.read_bytes() == before


# --- lock ------------------------------------------------------------------------------


def holder(home: Path) -> subprocess.Popen[bytes]:
    """Another process that holds the lock until a line or its end comes."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def closed(process: subprocess.Popen[bytes]) -> int:
    process.communicate(timeout=30)
    return process.returncode


async def test_one_lock_is_held_once_in_a_process(tmp_path: Path):
    inside = most = 0

    async def visit() -> None:
        nonlocal inside, most
        async with AuthFileLock(tmp_path).hold():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.005)
            inside -= 1

    await asyncio.gather(*(visit() for _ in range(10)))
    assert most == 1


async def test_a_lock_held_by_another_process_is_busy(tmp_path: Path):
    other = await asyncio.to_thread(holder, tmp_path)
    try:
        began = time.monotonic()
        with pytest.raises(LockBusy) as caught:
            async with AuthFileLock(tmp_path, wait_seconds=0.3).hold():
                pytest.fail("held twice")
        assert 0.25 <= time.monotonic() - began < 5
        assert (caught.value.code, caught.value.retry_after_seconds) == ("auth_unavailable", 5.0)
    finally:
        assert await asyncio.to_thread(closed, other) == 0
    async with AuthFileLock(tmp_path, wait_seconds=0.3).hold():
        assert (tmp_path / "auth.json.lock").stat().st_mode & 0o777 == 0o600


async def test_a_waiter_gets_the_lock_as_soon_as_its_holder_is_killed(tmp_path: Path):
    other = await asyncio.to_thread(holder, tmp_path)
    lock = AuthFileLock(tmp_path, wait_seconds=30)

    async def wait() -> float:
        async with lock.hold():
            return time.monotonic()

    waiting = asyncio.get_running_loop().create_task(wait())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    other.send_signal(signal.SIGKILL)
    await asyncio.to_thread(closed, other)
    killed = time.monotonic()
    assert await waiting - killed < 2


async def test_a_cancelled_waiter_leaves_no_lock_behind(tmp_path: Path):
    async with AuthFileLock(tmp_path).hold():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), AuthFileLock(tmp_path).hold():
                pytest.fail("held twice")
    async with AuthFileLock(tmp_path, wait_seconds=0.3).hold():
        pass


async def test_a_home_that_cannot_be_written_is_the_stores_fault(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="could not be locked"):
        async with AuthFileLock(tmp_path / "file").hold():
            pytest.fail("there is nothing to lock")


def test_no_count_is_lost_between_four_processes(tmp_path: Path):
    counted = tmp_path / "count"
    counted.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNTER, str(tmp_path), str(counted)]) for _ in range(4)]
    wait_until(lambda: all(each.poll() is not None for each in processes), seconds=60)
    assert [each.returncode for each in processes] == [0] * 4
    assert counted.read_text() == "100"


def test_versions_differ_where_tokens_differ(tmp_path: Path):
    seen: set[str] = set()
    for _ in range(3):
        write_login(tmp_path, BOOK.issue().auth_json())
        tokens: TokenSet = asyncio.run(AuthFileVault(tmp_path).load())
        seen.add(tokens.version)
    assert len(seen) == 3
