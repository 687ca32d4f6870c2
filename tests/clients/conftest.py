"""One server and one simulator for all clients; each client in an environment of its own, made when first asked for."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path

import pytest

from gptmock.gateway.recent_limits import LOOK_SECONDS
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.stores.limits_and_usage import SharedLimits
from tests.clients.checks import Client, Server, node_command, python_command
from tests.clients.environments import (
    CLAUDE,
    Node,
    NotInstalled,
    client_claude,
    client_node,
    client_opencode,
    client_python,
)
from tests.harness import SimulatorProcess, server_process, simulator_process, write_login

API_KEY = "sk-for-the-clients-0001"


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorProcess]:
    with simulator_process() as running:
        yield running


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def nobody_stays_parked(home: Path) -> Iterator[None]:
    """A usage limit outlives its check by hours, as it should; the next check begins without it."""
    yield
    asyncio.run(_unpark(home))


async def _unpark(home: Path) -> None:
    async with open_state(load_settings({"home": str(home)}, environ={})) as state:
        board = SharedLimits(state.store)
        ids = [login.account.id for login in await state.vault.logins()]
        standings = await board.look(ids, conversation=None)
        parked = [one.account_id for one in standings.accounts if one.parked_until]
        for account_id in parked:
            await board.unpark(account_id, now=time.time())
    if parked:
        # The workers may remember for so long what they saw before.
        await asyncio.sleep(2 * LOOK_SECONDS)


@pytest.fixture(scope="session")
def server(simulator: SimulatorProcess, home: Path) -> Iterator[Server]:
    write_login(home, simulator.new_login())
    env = {"GPTMOCK_API_KEY": API_KEY, "GPTMOCK_TRANSCRIPTION": "1"}
    with server_process(home, simulator.base_url, workers=2, env=env) as running:
        yield Server(running.base_url, API_KEY, simulator.base_url)


@pytest.fixture(scope="session")
def client_of(server: Server, installed: Callable[[str], Path | Node]) -> Iterator[Callable[[str, str], Client]]:
    """Gives the client of an environment and a script; started once."""
    with ExitStack() as stack:

        @cache
        def start(name: str, script: str) -> Client:
            place = installed(name)
            command = node_command(place, script) if isinstance(place, Node) else python_command(place, script)
            return stack.enter_context(closing(Client(command, server)))

        yield start


@pytest.fixture(scope="session")
def installed(pytestconfig: pytest.Config) -> Callable[[str], Path | Node]:
    """Gives an environment by name, installed when it is first asked for."""

    @cache
    def tried(name: str) -> Path | Node | NotInstalled:
        """An installation that failed is not tried again for each check."""
        try:
            if name in CLAUDE:
                return client_claude(name, tell=tell)
            if name == "opencode":
                return client_opencode(tell=tell)
            return client_node(tell=tell) if name == "node" else client_python(name, tell=tell)
        except NotInstalled as error:
            return error

    def tell(words: str) -> None:
        """Says it at once: people who wait want to know for what."""
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n{words}", file=sys.stderr, flush=True)  # noqa: T201

    def give(name: str) -> Path | Node:
        if os.environ.get("GPTMOCK_SKIP_CLIENTS") == "1":
            pytest.skip("GPTMOCK_SKIP_CLIENTS=1")
        found = tried(name)
        if isinstance(found, NotInstalled):
            words = f"{name} cannot be installed; GPTMOCK_SKIP_CLIENTS=1 skips the clients.\n{found}"
            pytest.fail(words, pytrace=False)
        return found

    return give
