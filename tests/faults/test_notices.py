"""The operator's webhook is told by real servers, once."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gptmock.stores.notices import StoreToldRecord
from tests.faults.state import Place
from tests.harness import ServerProcess, SimulatorProcess, server_process, until

pytestmark = pytest.mark.faults


class Receiver:
    """A webhook's receiver; ``told`` has the bodies."""

    def __init__(self) -> None:
        told: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.told = told
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook-T0K3N"

    def env(self, place: Place) -> dict[str, str]:
        """For a server that tells it."""
        return {**place.env, "GPTMOCK_WEBHOOK_URL": self.url, "GPTMOCK_WEBHOOK_SECRET": "whsec_" + "QUJD" * 10}

    def has_told(self, count: int) -> bool:
        """Whether so many notices have come."""
        return len(self.told) >= count


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, daemon=True)
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


async def test_an_ended_login_is_told_once_by_two_servers_with_four_workers(
    simulator: SimulatorProcess, redis_place: Place, receiver: Receiver
):
    login = simulator.new_login()
    account = await redis_place.enroll(login, label="work")
    env = receiver.env(redis_place)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(server_process(redis_place.home, simulator.base_url, workers=2, env=env))
            for _ in range(2)
        ]
        async with redis_place.opened() as state:
            record = StoreToldRecord(state.store)
            for count in (1, 2):
                await state.vault.refuse(await state.vault.load(account.id), reason="refresh_token_reused")
                await until(partial(receiver.has_told, count))
                await redis_place.enroll(login)
                # All is well again, and known to be: the next end is news.
                await until_told(record, f"login:{account.id}", "fine")
        assert [notice["type"] for notice in receiver.told] == ["account.login_ended"] * 2
        assert receiver.told[0]["data"]["label"] == "work"
        assert not any("T0K3N" in server.text() for server in servers)


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_new_workers_of_a_reload_go_on_to_tell(
    simulator: SimulatorProcess, redis_place: Place, receiver: Receiver, workers: int
):
    login = simulator.new_login()
    account = await redis_place.enroll(login, label="work")
    with server_process(redis_place.home, simulator.base_url, workers=workers, env=receiver.env(redis_place)) as server:
        async with redis_place.opened() as state:
            record = StoreToldRecord(state.store)
            for reloads in range(3):
                if reloads:
                    server.process.send_signal(signal.SIGHUP)
                    await until(partial(has_reloaded, server, reloads, workers))
                await state.vault.refuse(await state.vault.load(account.id), reason="refresh_token_reused")
                await until(partial(receiver.has_told, reloads + 1))
                await redis_place.enroll(login)
                await until_told(record, f"login:{account.id}", "fine")
        assert server.stop() == 0
    assert [notice["type"] for notice in receiver.told] == ["account.login_ended"] * 3


def has_reloaded(server: ServerProcess, count: int, workers: int) -> bool:
    return len(server.logs("server.reloaded")) == count and len(server.workers()) == workers


async def until_told(record: StoreToldRecord, subject: str, level: str) -> None:
    async with asyncio.timeout(30):
        while (await record.load())[0].get(subject) != level:  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.1)
