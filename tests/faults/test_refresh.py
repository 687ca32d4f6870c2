"""F8, F10 to F12, F27: what happens to the one refresh token when many want it at once."""

from __future__ import annotations

import asyncio
import json
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import CHAT_PATH, SimulatorProcess, chat, client, server_process, until, until_all_serve, write_login

pytestmark = pytest.mark.faults
REQUESTS = 400


async def statuses(base_url: str, count: int, *, stream: bool = False) -> Counter[int]:
    """So many requests at once, each on a connection of its own."""
    async with client(base_url) as opened:
        asked = (opened.post(CHAT_PATH, json=chat("scene:text", stream=stream)) for _ in range(count))
        answers = await asyncio.gather(*asked)
    for answer in answers:
        if answer.status_code == 200 and stream:
            assert answer.content.endswith(b"data: [DONE]\n\n")
    return Counter(answer.status_code for answer in answers)


def exchanges(simulator: SimulatorProcess) -> dict[str, int]:
    return dict(simulator.stats()["token_exchanges"])


def saved(home: Path) -> dict[str, Any]:
    assert stat.S_IMODE((home / "auth.json").stat().st_mode) == 0o600
    return dict(json.loads((home / "auth.json").read_text()))


async def test_a_herd_at_expiry_spends_one_refresh_token(simulator: SimulatorProcess, tmp_path: Path):
    write_login(tmp_path, simulator.new_login(expires_in=-5))
    simulator.options(refresh_delay_seconds=0.3)
    with server_process(tmp_path, simulator.base_url, workers=2) as server:
        await until_all_serve(server, 2)
        assert await statuses(server.base_url, REQUESTS) == {200: REQUESTS}
        assert exchanges(simulator) == {"ok": 1, "refused": 0}
        assert simulator.stats()["refresh_tokens_spent_twice"] == 0
        assert len(server.logs("account.renewed")) == 1
        turns = [line for line in server.logs("turn") if line["status"] == 200]
        assert len(turns) == REQUESTS
        assert {line["pid"] for line in turns} == server.workers(), "both workers have served"
        first = saved(tmp_path)
    with server_process(tmp_path, simulator.base_url, workers=2) as server:
        assert await statuses(server.base_url, 20) == {200: 20}
    assert exchanges(simulator) == {"ok": 1, "refused": 0}
    assert saved(tmp_path) == first


async def test_a_herd_of_refused_tokens_spends_one_refresh_token_and_no_client_sees_it(
    simulator: SimulatorProcess, home: Path
):
    with server_process(home, simulator.base_url, workers=2) as server:
        for number in range(1, 4):
            simulator.expire()
            assert await statuses(server.base_url, 50, stream=number == 2) == {200: 50}
            assert exchanges(simulator) == {"ok": number, "refused": 0}
    assert simulator.stats()["refresh_tokens_spent_twice"] == 0


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
    before = path.read_bytes()
    simulator.options(refresh_delay_seconds=1.0)
    with server_process(tmp_path, simulator.base_url, workers=1) as server:
        async with client(server.base_url) as opened:
            with pytest.raises(httpx.TimeoutException):
                await opened.post(CHAT_PATH, json=chat("scene:text"), timeout=0.3)
        assert await asyncio.to_thread(server.stop) == 0
    assert path.read_bytes() != before
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
            assert (await opened.get("/readyz")).status_code == 503
            assert exchanges(simulator) == {"ok": 0, "refused": 1}
            assert simulator.stats()["model_calls"] == 0
            write_login(tmp_path, simulator.new_login())
            assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
        for planted in login["tokens"].values():
            assert planted not in server.text()


@pytest.mark.parametrize("fault", ["500", "403-html", "429"])
async def test_an_issuer_in_trouble_is_left_alone_and_fails_nobody_whose_token_lives(
    simulator: SimulatorProcess, tmp_path: Path, fault: str
):
    write_login(tmp_path, simulator.new_login(expires_in=200))
    simulator.token_faults(*[fault] * 100)
    with server_process(tmp_path, simulator.base_url, workers=2) as server:
        for _ in range(4):
            assert await statuses(server.base_url, 50) == {200: 50}
    # One call for each worker and pause.
    assert 1 <= exchanges(simulator)["refused"] <= 4
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
    write_login(tmp_path, simulator.new_login(expires_in=200))
    simulator.token_faults("lost")
    with server_process(tmp_path, simulator.base_url, workers=1) as server:
        for _ in range(3):
            assert await statuses(server.base_url, 20) == {200: 20}
            await asyncio.sleep(2.6)
        assert await statuses(server.base_url, 20) == {200: 20}
    assert simulator.stats()["refresh_tokens_spent_twice"] <= 1
    assert exchanges(simulator)["refused"] <= 1


def _healthy(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
