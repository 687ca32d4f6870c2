"""F8, F10 to F12, F27: what happens to the one refresh token when many want it at once."""

from __future__ import annotations

import asyncio
import stat
import time
from itertools import accumulate
from pathlib import Path

import httpx
import pytest

from gptmock.accounts import TokenSet
from gptmock.gateway.issuer_backoff import STEPS_SECONDS
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from tests.faults.state import LOOK_SECONDS, exchanges, spent_twice, statuses
from tests.harness import (
    CHAT_PATH,
    SimulatorProcess,
    chat,
    client,
    get,
    server_process,
    until,
    until_all_serve,
    wait_until_ready,
    write_login,
)
from tests.timing import generous

pytestmark = pytest.mark.faults
REQUESTS = 400


async def saved(home: Path) -> TokenSet:
    """The tokens as they rest, whoever's they are."""
    for path in (home / "state.db", home / "encryption.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state:
        (login,) = await state.vault.logins()
        return await state.vault.load(login.account.id)


def due(simulator: SimulatorProcess, home: Path) -> None:
    """A login that lives for minutes and is due for a refresh: whoever needs it does not wait for that."""
    document = simulator.new_login(expires_in=200)
    write_login(home, {**document, "last_refresh": "2026-01-01T00:00:00Z"})


async def test_a_herd_at_expiry_spends_one_refresh_token(simulator: SimulatorProcess, tmp_path: Path):
    replayed = spent_twice(simulator)
    write_login(tmp_path, simulator.new_login(expires_in=-5))
    simulator.options(refresh_delay_seconds=0.3)
    with server_process(tmp_path, simulator.base_url, workers=2) as server:
        await until_all_serve(server, 2)
        assert await statuses(server.base_url, REQUESTS) == {200: REQUESTS}
        assert exchanges(simulator) == {"ok": 1, "refused": 0}
        assert spent_twice(simulator) == replayed
        assert len(server.logs("account.renewed")) == 1
        turns = [line for line in server.logs("turn") if line["status"] == 200]
        assert len(turns) == REQUESTS
        assert {line["pid"] for line in turns} == server.workers(), "both workers have served"
        first = await saved(tmp_path)
    with server_process(tmp_path, simulator.base_url, workers=2) as server:
        assert await statuses(server.base_url, 20) == {200: 20}
    assert exchanges(simulator) == {"ok": 1, "refused": 0}
    assert await saved(tmp_path) == first


async def test_a_herd_of_refused_tokens_spends_one_refresh_token_and_no_client_sees_it(
    simulator: SimulatorProcess, home: Path
):
    replayed = spent_twice(simulator)
    with server_process(home, simulator.base_url, workers=2) as server:
        for number in range(1, 4):
            # A request tries two tokens at most: the first must not be one that was renewed meanwhile.
            await asyncio.sleep(LOOK_SECONDS)
            simulator.expire()
            assert await statuses(server.base_url, 50, stream=number == 2) == {200: 50}
            assert exchanges(simulator) == {"ok": number, "refused": 0}
    assert spent_twice(simulator) == replayed


async def test_a_refresh_that_has_begun_outlives_the_clients_that_wait_for_it(
    simulator: SimulatorProcess, tmp_path: Path
):
    write_login(tmp_path, simulator.new_login(expires_in=-5))
    simulator.options(refresh_delay_seconds=1.0)
    with server_process(tmp_path, simulator.base_url, workers=2) as server:
        async with client(server.base_url) as opened:
            for _ in range(10):
                with pytest.raises(httpx.TimeoutException):
                    await opened.post(CHAT_PATH, json=chat("scene:text"), timeout=0.05)
        await until(lambda: len(server.logs("account.renewed")) == 1)
        assert await statuses(server.base_url, 10) == {200: 10}
        assert {line["ended"] for line in server.logs("turn")} == {"client_gone", "ok"}
    assert exchanges(simulator) == {"ok": 1, "refused": 0}


async def test_a_refresh_that_has_begun_is_saved_before_the_server_stops(simulator: SimulatorProcess, tmp_path: Path):
    path = write_login(tmp_path, simulator.new_login(expires_in=-5))
    given = path.read_bytes()
    simulator.options(refresh_delay_seconds=1.0)
    with server_process(tmp_path, simulator.base_url, workers=1) as server:
        async with client(server.base_url) as opened:
            with pytest.raises(httpx.TimeoutException):
                await opened.post(CHAT_PATH, json=chat("scene:text"), timeout=0.3)
        assert await asyncio.to_thread(server.stop) == 0
    kept = await saved(tmp_path)
    assert kept.refused is None
    assert kept.expires_at is not None
    assert kept.expires_at > time.time()
    assert path.read_bytes() == given, "auth.json is read, never written"
    assert exchanges(simulator) == {"ok": 1, "refused": 0}


async def test_a_login_that_has_ended_is_tried_once_in_all(simulator: SimulatorProcess, tmp_path: Path):
    login = simulator.new_login(expires_in=-5)
    write_login(tmp_path, login)
    simulator.token_faults("401")
    with server_process(tmp_path, simulator.base_url, workers=2, wait_ready=False) as server:
        await until(lambda: _healthy(server.base_url), seconds=30)
        async with client(server.base_url) as opened:
            asked = (opened.post(CHAT_PATH, json=chat("scene:text", stream=True)) for _ in range(100))
            answers = await asyncio.gather(*asked)
            assert {answer.status_code for answer in answers} == {503}
            assert {answer.json()["error"]["code"] for answer in answers} == {"login_required"}
            # A worker may believe its last look for a moment.
            async with asyncio.timeout(generous(LOOK_SECONDS)):
                while (await opened.get("/readyz")).status_code != 503:  # noqa: ASYNC110 - what is awaited knows no event
                    await asyncio.sleep(0.05)
            assert exchanges(simulator) == {"ok": 0, "refused": 1}
            assert simulator.stats()["model_calls"] == 0
            write_login(tmp_path, simulator.new_login())
            await asyncio.to_thread(wait_until_ready, server)
            async with asyncio.timeout(generous(LOOK_SECONDS)):
                while await statuses(server.base_url, 20) != {200: 20}:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        for planted in login["tokens"].values():
            assert planted not in server.text()


@pytest.mark.parametrize("fault", ["500", "403-html", "429"])
async def test_an_issuer_in_trouble_is_left_alone_and_fails_nobody_whose_token_lives(
    simulator: SimulatorProcess, tmp_path: Path, fault: str
):
    due(simulator, tmp_path)
    simulator.token_faults(*[fault] * 100)
    began = time.monotonic()
    with server_process(tmp_path, simulator.base_url, workers=4) as server:
        await until_all_serve(server, 4)
        for _ in range(4):
            assert await statuses(server.base_url, 50) == {200: 50}
    # One call for each pause, by all workers together.
    pauses = sum(end <= time.monotonic() - began for end in accumulate(STEPS_SECONDS))
    assert 1 <= exchanges(simulator)["refused"] <= 1 + pauses
    assert exchanges(simulator)["ok"] == 0


async def test_an_issuer_in_trouble_is_a_503_for_those_whose_token_has_died(
    simulator: SimulatorProcess, tmp_path: Path
):
    write_login(tmp_path, simulator.new_login(expires_in=-5))
    simulator.token_faults(*["500"] * 100)
    with server_process(tmp_path, simulator.base_url, workers=2) as server:
        async with client(server.base_url) as opened:
            answers = await asyncio.gather(*(opened.post(CHAT_PATH, json=chat()) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["error"]["code"] for answer in answers} == {"auth_unavailable"}
        assert all(5 <= int(answer.headers["retry-after"]) <= 60 for answer in answers)
    assert exchanges(simulator)["refused"] <= 2


async def test_a_lost_answer_costs_one_replay_at_most_and_no_request_while_the_token_lives(
    simulator: SimulatorProcess, tmp_path: Path
):
    replayed = spent_twice(simulator)
    due(simulator, tmp_path)
    simulator.token_faults("lost")
    with server_process(tmp_path, simulator.base_url, workers=1) as server:
        for _ in range(3):
            assert await statuses(server.base_url, 20) == {200: 20}
            await asyncio.sleep(2.6)
        assert await statuses(server.base_url, 20) == {200: 20}
    assert spent_twice(simulator) <= replayed + 1
    assert exchanges(simulator)["refused"] <= 1


def _healthy(base_url: str) -> bool:
    try:
        return get(f"{base_url}/health").status_code == 200
    except httpx.HTTPError:
        return False
