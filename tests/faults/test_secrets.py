"""Figures 8 and 22: what rests is sealed, what was tampered with is noticed, and no token lies about in clear."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sqlite3
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from gptmock.errors import SealBroken
from gptmock.stores.changes import count_change
from tests.faults.state import KEY, LOOK_SECONDS, Place, load, login_again, report, spent_twice, statuses, times
from tests.harness import (
    PROGRAM,
    SimulatorProcess,
    plain_environment,
    server_process,
    until_all_serve,
    write_login,
)

pytestmark = pytest.mark.faults
NEW_KEY = base64.b64encode(bytes(range(100, 132))).decode()


# --- The key -----------------------------------------------------------------------------


def served(place: Place, **variables: str) -> subprocess.CompletedProcess[str]:
    """A ``serve`` that is expected to end at once."""
    variables = {"GPTMOCK_HOME": str(place.home), **place.env, **variables}
    return subprocess.run(
        [*PROGRAM, "serve", "--port", "0"],
        env={name: value for name, value in plain_environment(**variables).items() if value},
        cwd=place.home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (NEW_KEY, "Nothing was changed."),
        ("short", "GPTMOCK_ENCRYPTION_KEYS"),
        (base64.b64encode(bytes(32)).decode(), "GPTMOCK_ENCRYPTION_KEYS"),
    ],
    ids=["foreign", "no-key", "weak"],
)
async def test_a_key_that_cannot_be_right_stops_the_start_and_touches_nothing(
    simulator: SimulatorProcess, place: Place, keys: str, said: str
):
    await place.enroll(simulator.new_login())
    async with place.opened() as state:
        await state.vault.check_key()
    before = everything(place)
    done = await asyncio.to_thread(served, place, GPTMOCK_ENCRYPTION_KEYS=keys)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert keys not in done.stderr + done.stdout
    assert everything(place) == before


async def test_a_shared_store_without_a_key_is_refused(simulator: SimulatorProcess, redis_place: Place):
    await redis_place.enroll(simulator.new_login())
    before = everything(redis_place)
    done = await asyncio.to_thread(served, redis_place, GPTMOCK_ENCRYPTION_KEYS="")
    assert done.returncode == 2
    assert "GPTMOCK_ENCRYPTION_KEYS" in done.stderr
    assert everything(redis_place) == before


async def test_keys_change_under_load_and_nobody_notices(simulator: SimulatorProcess, redis_place: Place):
    """Two servers on one store, restarted one after the other: first with both keys, then with the new one alone."""
    place = redis_place
    account = await place.enroll(simulator.new_login())
    replayed = spent_twice(simulator)
    total: Counter[int] = Counter()
    for keys in (KEY, f"{NEW_KEY},{KEY}", NEW_KEY):
        env = {**place.env, "GPTMOCK_ENCRYPTION_KEYS": keys}
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(server_process(place.home, simulator.base_url, env=env)) for _ in range(2)]
            async with load(servers[0].base_url, lines=2) as first, load(servers[1].base_url, lines=2) as second:
                await asyncio.sleep(LOOK_SECONDS)
                simulator.expire()
                await asyncio.sleep(LOOK_SECONDS)
                if keys.startswith(NEW_KEY):
                    await until_resealed(place)
            total += first.statuses + second.statuses
            for server in servers:
                assert await asyncio.to_thread(server.stop) == 0
                assert [line for line in server.logs() if line["level"] == "error"] == []
    assert set(total) == {200}
    assert spent_twice(simulator) == replayed
    place.keys = NEW_KEY
    assert (await place.stored(account.id)).refused is None
    report(requests=total[200])


async def until_resealed(place: Place) -> None:
    """Wait until the new key alone opens everything."""
    new = replace(place, keys=NEW_KEY)
    async with asyncio.timeout(60), new.opened() as state:
        while True:
            with contextlib.suppress(SealBroken):
                await state.vault.check_key()
                if not await state.vault.broken():
                    return
            await asyncio.sleep(0.2)


# --- Tampering ------------------------------------------------------------------------------


def everything(place: Place) -> dict[str, Any]:
    """All records as they rest: name to version and bytes."""
    if place.redis is None:
        with contextlib.closing(sqlite3.connect(place.home / "state.db")) as db:
            return {
                name: (version, value)
                for name, version, value in db.execute("SELECT name, version, value FROM records")
            }
    with Redis.from_url(place.redis.url) as raw:
        return {name.decode(): raw.hgetall(name) for name in raw.scan_iter(match="gptmock:record:*")}


def tamper(place: Place, account_id: str, change: bytes | None, *, at: int) -> None:
    """Flip a bit of the tokens' record, or put ``change`` in its place."""
    name = f"acct:{{{account_id}}}:tokens"
    if place.redis is None:
        with contextlib.closing(sqlite3.connect(place.home / "state.db", timeout=5, isolation_level=None)) as db:
            (value,) = db.execute("SELECT value FROM records WHERE name = ?", (name,)).fetchone()
            db.execute("UPDATE records SET value = ? WHERE name = ?", (_changed(value, change, at), name))
        return
    with Redis.from_url(place.redis.url) as raw:
        value = raw.hget(f"gptmock:record:{name}", "b")
        assert isinstance(value, bytes)
        raw.hset(f"gptmock:record:{name}", "b", _changed(value, change, at))


def _changed(value: bytes, change: bytes | None, at: int) -> bytes:
    if change is not None:
        return change
    place = at % len(value)
    return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


async def test_tampered_tokens_of_a_running_server_are_no_500(simulator: SimulatorProcess, place: Place):
    account = await place.enroll(simulator.new_login())
    answered: Counter[int] = Counter()
    with server_process(place.home, simulator.base_url, env=place.env) as server:
        await until_all_serve(server, 2)
        for number in range(times(3, 20)):
            tamper(place, account.id, b"" if number == 1 else None, at=number * 37)
            # Seen by all workers at once, and not within the half minute in which uncounted changes are.
            async with place.opened() as state:
                await count_change(state.store)
            await asyncio.sleep(LOOK_SECONDS)
            answered += await statuses(server.base_url, 20)
            assert set(answered) <= {200, 503}, answered
            await place.enroll(login_again(simulator, account))
            await asyncio.sleep(LOOK_SECONDS)
            assert await statuses(server.base_url, 20) == {200: 20}
        # Detected every time, by whoever looked; told once by each until it is mended.
        rounds = number + 1
        assert rounds <= len(server.logs("account.record_broken")) <= 2 * rounds
        assert server.logs("server.error") == []
    report(store=place.kind, answered=dict(answered))


# --- In clear ----------------------------------------------------------------------------------


def resting(place: Place) -> dict[str, bytes]:
    """All files of the home but the one that a person put there."""
    return {
        str(path.relative_to(place.home)): path.read_bytes()
        for path in place.home.rglob("*")
        if path.is_file() and path.name != "auth.json"
    }


def of_processes(pids: set[int]) -> dict[str, bytes]:
    found = {}
    for pid in pids:
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                found[f"{pid}/{name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    return found


async def test_no_token_rests_in_clear_anywhere(simulator: SimulatorProcess, place: Place):
    document = simulator.new_login()
    write_login(place.home, document)
    with server_process(place.home, simulator.base_url, env=place.env, args=["--verbose"]) as server:
        await until_all_serve(server, 2)
        for _ in range(3):
            await asyncio.sleep(LOOK_SECONDS)
            simulator.expire()
            assert await statuses(server.base_url, 20) == {200: 20}
        simulator.scenes("401-always", "401-always")
        await statuses(server.base_url, 1)
        (login,) = await logins(place)
        kept = await place.stored(login)
        clear = resting(place) | of_processes(server.tree()) | {"output": server.output.read_bytes()}
        if place.redis is not None:
            place.redis.say("SAVE")
            clear |= {path.name: path.read_bytes() for path in place.redis.path.parent.rglob("*") if path.is_file()}
    assert kept.refresh_token is not None
    assert kept.id_token is not None
    tokens = {*document["tokens"].values(), kept.access_token.reveal(), kept.refresh_token.reveal()}
    tokens = {token for token in (*tokens, kept.id_token.reveal()) if len(token) > 40}
    assert len(tokens) == 6
    found = [
        (name, token[:12])
        for name, content in clear.items()
        for token in tokens
        # A part of one is as bad: the claims of a token, and its signature.
        for part in (token, *token.split("."))
        if len(part) > 60 and part.encode() in content
    ]
    assert found == []
    assert sum(map(len, clear.values())) > 1000
    report(store=place.kind, scanned=len(clear), bytes=sum(map(len, clear.values())), tokens=len(tokens))


async def logins(place: Place) -> list[str]:
    async with place.opened() as state:
        return [login.account.id for login in await state.vault.logins()]
