"""A login made beside the servers: two of them on one Redis, with two workers each, see it within a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.accounts import Secret, TokenSet
from gptmock.command_services import open_command_services
from tests.faults.state import Place, a_redis, spent_twice, statuses
from tests.harness import ServerProcess, SimulatorProcess, get, server_process, simulator_process, until, write_login

pytestmark = pytest.mark.faults
SEEN_SECONDS = 1.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with a_redis() as redis:
        yield Place("redis", tmp_path, redis)


def state_of(server: ServerProcess) -> int:
    try:
        return get(f"{server.base_url}/readyz").status_code
    except httpx.HTTPError:
        return 0


async def test_a_login_is_seen_everywhere_and_wins_over_a_refresh(place: Place, tmp_path: Path):
    with simulator_process() as simulator:
        env = place.env | {"GPTMOCK_HOME": str(place.home)}
        with (
            server_process(place.home, simulator.base_url, env=env, wait_ready=False) as one,
            server_process(place.home, simulator.base_url, env=env, wait_ready=False) as other,
        ):
            servers = (one, other)
            await until(lambda: all(state_of(server) == 503 for server in servers), seconds=60)
            # Short-lived, so that the servers refresh as soon as anybody asks; and the issuer takes its time.
            simulator.options(refresh_delay_seconds=3.0)
            account_id = await signed_in(place, simulator.new_login(email="ada@example.test", expires_in=20), tmp_path)
            await asyncio.sleep(SEEN_SECONDS)
            asked = [asyncio.get_running_loop().create_task(statuses(server.base_url, 4)) for server in servers]
            await until(lambda: refreshes(simulator) > 0)
            newer = simulator.new_login(**whose(await place.stored(account_id)))
            await signed_in(place, newer, tmp_path)
            began = time.monotonic()
            assert [set(answers) for answers in await asyncio.gather(*asked)] == [{200}, {200}]
            await asyncio.sleep(max(0.0, SEEN_SECONDS - (time.monotonic() - began)))
            for server in servers:
                assert set(await statuses(server.base_url, 8)) == {200}
            held = await place.stored(account_id)
            assert held.access_token == Secret(newer["tokens"]["access_token"])
            assert held.refresh_token == Secret(newer["tokens"]["refresh_token"])
            assert spent_twice(simulator) == 0


async def signed_in(place: Place, document: dict[str, Any], folder: Path) -> str:
    """By a process of its own, as ``gptmock accounts import`` does it."""
    async with open_command_services(place.settings) as services:
        # To the microsecond: a refresh may end in the second in which the person signs in.
        made = {**document, "last_refresh": datetime.now(UTC).isoformat()}
        path = write_login(folder / document["tokens"]["refresh_token"][-8:], made)
        return (await services.import_login(path, label=None)).account.id


def refreshes(simulator: SimulatorProcess) -> int:
    return len(simulator.requests("/oauth/token"))


def whose(held: TokenSet) -> dict[str, str]:
    """The same person's next login."""
    return {"email": "ada@example.test", "account_id": held.account.workspace_id, "user_id": held.account.user_id or ""}
