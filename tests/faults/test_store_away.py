"""A store that stops answering before a worker has served anybody: what it loaded at its start is enough."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from gptmock.clients import KeyTerms
from gptmock.stores.limits_and_usage import SharedLimits
from gptmock.stores.snapshot import FILE_NAME
from tests.faults.state import LOOK_SECONDS, Place, exchanges, report
from tests.faults.test_store_faults import answers
from tests.harness import CHAT_PATH, ServerProcess, SimulatorProcess, chat, client, server_process, until_all_serve
from tests.harness import until as until_true
from tests.stores.servers import RedisServer
from tests.timing import generous

pytestmark = pytest.mark.faults
REQUESTS = 20


@asynccontextmanager
async def started(place: Place, simulator: SimulatorProcess, **env: str) -> AsyncIterator[ServerProcess]:
    """Two workers that run; no request has needed the store yet."""
    with server_process(place.home, simulator.base_url, env={**place.env, **env}, wait_ready=False) as server:
        async with client(server.base_url) as opened:
            assert await answers(opened, "/health") == 200
        await until_all_serve(server, 2)
        yield server


async def asked(server: ServerProcess, *, key: str | None = None) -> Counter[tuple[int, str]]:
    """Statuses of turns and the codes of their errors; a connection each, so that every worker is met."""
    found: Counter[tuple[int, str]] = Counter()
    headers = {"authorization": f"Bearer {key}"} if key is not None else {}
    for _ in range(REQUESTS):
        async with client(server.base_url, headers=headers) as opened:
            answer = await opened.post(CHAT_PATH, json=chat("scene:text"))
        found[answer.status_code, "" if answer.status_code == 200 else answer.json()["error"]["code"]] += 1
    return found


@pytest.mark.timeout(120)
async def test_a_store_that_freezes_before_the_first_request_costs_nobody_anything(
    simulator: SimulatorProcess, redis_place: Place
):
    assert redis_place.redis is not None
    await redis_place.enroll(simulator.new_login())
    async with started(redis_place, simulator) as server:
        with redis_place.redis.frozen():
            assert await asked(server) == {(200, ""): REQUESTS}


@pytest.mark.timeout(120)
async def test_the_same_of_a_pool_of_which_one_account_is_parked(simulator: SimulatorProcess, redis_place: Place):
    assert redis_place.redis is not None
    accounts = [await redis_place.enroll(simulator.new_login(), label=name) for name in ("ada", "bob", "cyd")]
    async with redis_place.opened() as state:
        now = time.time()
        await SharedLimits(state.store).park(accounts[0].id, until=now + 600, now=now)
    async with started(redis_place, simulator, GPTMOCK_ACCOUNT_POOL="ada,bob,cyd") as server:
        with redis_place.redis.frozen():
            assert await asked(server) == {(200, ""): REQUESTS}
        served = Counter(line["account"] for line in server.logs("turn") if line["status"] == 200)
        assert accounts[0].id not in served


@pytest.mark.timeout(120)
async def test_the_same_of_client_keys_that_nobody_has_shown_yet(simulator: SimulatorProcess, redis_place: Place):
    assert redis_place.redis is not None
    await redis_place.enroll(simulator.new_login(), label="ada")
    other = await redis_place.enroll(simulator.new_login(), label="bob")
    async with redis_place.opened() as state:
        issued = await state.keys.create("free", KeyTerms())
        bound = await state.keys.create("bound", KeyTerms(account_id=other.id))
        revoked = await state.keys.create("revoked", KeyTerms())
        await state.keys.revoke("revoked")
    async with started(redis_place, simulator) as server:
        with redis_place.redis.frozen():
            for key in (issued, bound):
                assert await asked(server, key=key.text.reveal()) == {(200, ""): REQUESTS}
            assert await asked(server, key=revoked.text.reveal()) == {(401, "invalid_api_key"): REQUESTS}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_a_worker_that_is_respawned_meanwhile_serves_with_what_its_sibling_knows(
    simulator: SimulatorProcess, redis_place: Place, how: str
):
    assert redis_place.redis is not None
    await redis_place.enroll(simulator.new_login(), label="ada")
    other = await redis_place.enroll(simulator.new_login(), label="bob")
    async with redis_place.opened() as state:
        key = await state.keys.create("bound", KeyTerms(account_id=other.id))
    async with started(redis_place, simulator) as server:
        with away(redis_place.redis, how):
            await respawned(server)
            began = time.monotonic()
            found = await asked(server)
            took = time.monotonic() - began
            assert found == {(200, ""): REQUESTS}
            assert await asked(server, key=key.text.reveal()) == {(200, ""): REQUESTS}
        report(seconds=took / REQUESTS)
        # The first call of a worker that finds the store away waits half a second for it, every second at most.
        assert took < generous(REQUESTS * 0.5)
        assert exchanges(simulator)["ok"] == 0


@pytest.mark.timeout(120)
async def test_it_follows_the_store_again_when_that_is_back_and_a_clean_stop_leaves_no_copy(
    simulator: SimulatorProcess, redis_place: Place
):
    assert redis_place.redis is not None
    document = simulator.new_login()
    account = await redis_place.enroll(document)
    async with redis_place.opened() as state:
        key = await state.keys.create("k", KeyTerms())
    # A short name, for sockets.
    with tempfile.TemporaryDirectory(prefix="gm-") as temporary:
        async with started(redis_place, simulator, TMPDIR=temporary) as server:
            (copy,) = below(temporary, FILE_NAME)
            assert copy.stat().st_mode & 0o777 == 0o600
            assert not [one for one in document["tokens"].values() if one.encode() in copy.read_bytes()]
            with redis_place.redis.frozen():
                await respawned(server)
                assert await asked(server, key=key.text.reveal()) == {(200, ""): REQUESTS}
            await until_true(lambda: len(server.logs("store.available")) == 2)
            before = copy.stat().st_ino
            async with redis_place.opened() as state:
                await state.keys.revoke("k")
                await state.vault.describe(account, label="renamed")
            await until_true(lambda: copy.stat().st_ino != before)
            await asyncio.sleep(2 * LOOK_SECONDS)
            assert await asked(server, key=key.text.reveal()) == {(401, "invalid_api_key"): REQUESTS}
            assert server.stop() == 0
        assert below(temporary, "*") == []


def below(folder: str, pattern: str) -> list[Path]:
    """What lies in a folder, however deep."""
    return list(Path(folder).rglob(pattern))


@contextmanager
def away(redis: RedisServer, how: str) -> Iterator[None]:
    """The store does not answer: its process is stopped, or has been killed."""
    if how == "frozen":
        with redis.frozen():
            yield
    else:
        redis.stop()
        yield


async def respawned(server: ServerProcess, *, workers: int = 2) -> None:
    """One worker is killed; its successor has answered."""
    before = server.workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    await until_true(lambda: len(server.workers() - {victim}) == workers)
    (successor,) = server.workers() - before
    async with asyncio.timeout(30):
        while successor not in {line["pid"] for line in server.logs("turn")}:
            async with client(server.base_url) as opened:
                await opened.post(CHAT_PATH, content=b"{")
